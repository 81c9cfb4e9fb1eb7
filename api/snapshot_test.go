package api

import (
	"path"
	"strings"
	"testing"
)

func TestLayerPath(t *testing.T) {
	t.Parallel()
	for in, want := range map[string][2]string{
		"":                 {"workspace", "."},
		".":                {"workspace", "."},
		"a//b/":            {"workspace/a/b", "a/b"},
		"./a/./b":          {"workspace/a/b", "a/b"},
		"/":                {".", "/"},
		"/workspace":       {"workspace", "."},
		"/workspace/a":     {"workspace/a", "a"},
		"/workspaces/a":    {"workspaces/a", "/workspaces/a"},
		"//tmp///x":        {"tmp/x", "/tmp/x"},
		"...":              {"workspace/...", "..."},
		"workspace/a":      {"workspace/workspace/a", "workspace/a"},
		"name\xff \n/\x01": {"workspace/name\xff \n/\x01", "name\xff \n/\x01"},
	} {
		got, err := layerPath(in)
		if err != nil || got != want[0] || shownPath(got) != want[1] {
			t.Errorf("%q: %q, shown %q, %v; want %q", in, got, shownPath(got), err, want)
		}
	}
	for _, in := range []string{"..", "a/../b", "/..", "a\x00", strings.Repeat("x", 4097)} {
		if got, err := layerPath(in); err == nil {
			t.Errorf("%q is taken as %q", in, got)
		}
	}
}

// FuzzLayerPath: a path that is taken is clean and stays below the root, and what
// is shown of it names the same place.
func FuzzLayerPath(f *testing.F) {
	for _, s := range []string{"", "/", "a/b", "/tmp/x", "../x", "/workspace/..", "a\x00"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, in string) {
		got, err := layerPath(in)
		if err != nil {
			return
		}
		if path.IsAbs(got) || path.Clean(got) != got || got == ".." || strings.HasPrefix(got, "../") {
			t.Fatalf("%q became %q", in, got)
		}
		if again, err := layerPath(shownPath(got)); err != nil || again != got {
			t.Fatalf("%q is shown as %q, which is %q, %v", got, shownPath(got), again, err)
		}
	})
}
