package builtin_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/tool"
	"github.com/cairn-run/cairn/tool/builtin"
)

// TestTools: every built-in tool is there, with what the engine needs to know of it.
func TestTools(t *testing.T) {
	t.Parallel()
	type row struct {
		Name    string
		Host    cairn.ToolHost
		Class   cairn.EffectClass
		Files   cairn.Access
		Timeout time.Duration
		Retries int
	}
	c := tool.New(tool.Options{Builtin: builtin.Tools()})
	a := agent()
	if err := c.Validate(a); err != nil {
		t.Fatal(err)
	}
	var got []row
	for _, s := range c.Static(a) {
		got = append(got, row{s.Name, s.Host, s.Class, s.Files, time.Duration(s.Timeout), s.Retries})
		if !slices.Contains(cairn.Builtins, s.Name) {
			t.Errorf("%s is no name of a built-in tool", s.Name)
		}
		if s.Description == "" || len(s.Description) > 400 || strings.ContainsAny(s.Description, "\n\t") || !json.Valid(s.InputSchema) || s.Digest != s.ToolDef.Digest() {
			t.Errorf("%s: %+v", s.Name, s)
		}
		// What some providers refuse in a tool's schema.
		for _, word := range []string{"oneOf", "anyOf", "allOf", "$ref"} {
			if strings.Contains(string(s.InputSchema), word) {
				t.Errorf("%s: the schema has %s", s.Name, word)
			}
		}
	}
	want := []row{
		{"ask_person", cairn.HostPerson, cairn.ClassRead, cairn.AccessNone, time.Minute, 0},
		{"bash", cairn.HostRuntime, cairn.ClassWorkspace, cairn.AccessWrite, 11 * time.Minute, 2},
		{"edit", cairn.HostRuntime, cairn.ClassWorkspace, cairn.AccessWrite, time.Minute, 2},
		{"http", cairn.HostRuntime, cairn.ClassRead, cairn.AccessNone, time.Minute, 2},
		{"list", cairn.HostRuntime, cairn.ClassRead, cairn.AccessRead, time.Minute, 2},
		{"plan", cairn.HostEngine, cairn.ClassRead, cairn.AccessNone, time.Minute, 0},
		{"python", cairn.HostRuntime, cairn.ClassWorkspace, cairn.AccessWrite, 11 * time.Minute, 2},
		{"read", cairn.HostRuntime, cairn.ClassRead, cairn.AccessRead, time.Minute, 2},
		{"read_result", cairn.HostRuntime, cairn.ClassRead, cairn.AccessNone, time.Minute, 2},
		{"search", cairn.HostRuntime, cairn.ClassRead, cairn.AccessRead, time.Minute, 2},
		{"write", cairn.HostRuntime, cairn.ClassWorkspace, cairn.AccessWrite, time.Minute, 2},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	for _, name := range cairn.Builtins {
		if _, ok := builtin.Tools()[name]; !ok {
			t.Errorf("%s is missing", name)
		}
	}
}

// TestNoSandbox: without a sandbox, tools that touch files say so and do nothing.
func TestNoSandbox(t *testing.T) {
	t.Parallel()
	d := builtin.New(builtin.Options{})
	defer func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	}()
	for _, name := range []string{"read", "list", "search", "write", "edit", "bash", "python"} {
		_, err := d.Call(t.Context(), tool.Call{Tool: name, Args: json.RawMessage(`{"command":"true","code":"1"}`), Left: &tool.Left{}, Definition: agent()})
		if e := cairn.AsError(err); err == nil || e.Code != cairn.CodeDenied || !e.NotDone {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestTidy: what a killed process left in the temporary directory is removed.
func TestTidy(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	own := filepath.Join("view-1", "work", "work") // overlayfs' own directory
	for _, p := range []string{"view-1/upper", filepath.Join(own, "incompat"), "other"} {
		if err := os.MkdirAll(filepath.Join(dir, p), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(filepath.Join(dir, own), 0); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "output-1"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := builtin.New(builtin.Options{TempDir: dir}).Close(); err != nil {
		t.Error(err)
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 1 || left[0].Name() != "other" {
		t.Errorf("%v, %v", left, err)
	}
}
