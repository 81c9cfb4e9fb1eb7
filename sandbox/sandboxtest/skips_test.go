package sandboxtest

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestSkipsAreUsed holds skips.txt to what the suite really may leave out.
func TestSkipsAreUsed(t *testing.T) {
	t.Parallel()
	list, err := os.ReadFile("skips.txt")
	if err != nil {
		t.Fatal(err)
	}
	listed := map[string]bool{}
	for line := range strings.Lines(string(list)) {
		if line = strings.TrimSpace(line); line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		key, why, _ := strings.Cut(line, " ")
		if len(strings.TrimSpace(why)) < 10 {
			t.Errorf("%s has no reason", key)
		}
		listed[key] = false
	}
	files, err := filepath.Glob("*_linux*.go")
	if err != nil {
		t.Fatal(err)
	}
	call := regexp.MustCompile(`\bskip\(t, "([^"]*)"\)`)
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range call.FindAllStringSubmatch(string(b), -1) {
			if _, ok := listed[m[1]]; !ok {
				t.Errorf("%s skips by %q, which is not in skips.txt", f, m[1])
			}
			listed[m[1]] = true
		}
	}
	for key, used := range listed {
		if !used {
			t.Errorf("nothing skips by %q", key)
		}
	}
}
