package config_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/internal/config"
)

// definition is the canonical JSON of an agent.
func definition(t *testing.T, a *cairn.Agent) []byte {
	t.Helper()
	b, err := json.Marshal(a)
	if err == nil {
		b, err = cairn.Canonical(b)
	}
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// readable is all sections of an agent.
func readable(t *testing.T, a *cairn.Agent) string {
	t.Helper()
	sections, err := config.Readable(definition(t, a))
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, s := range sections {
		b.WriteString(s.Text)
	}
	return b.String()
}

// TestReadable writes the example with every field as people read it, and compares
// two versions of it.
func TestReadable(t *testing.T) {
	t.Parallel()
	const golden = "testdata/readable.txt"
	dir := t.TempDir()
	unpack(t, dir, "testdata/full.txtar")
	before, err := config.ReadAgent(filepath.Join(dir, "agent.md"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "skills/pdf/scripts/blob"), []byte{0, 1, 2}, 0o755); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(dir, "agent.md"))
	if err != nil {
		t.Fatal(err)
	}
	changed := strings.NewReplacer("session: $5", "session: $7.50", "Never refund more", "Never, ever refund more",
		"reflect: { every: 5, prompt: Look back. }\n", "", "memory: 1Gi", "memory: 2Gi",
		"image: host", "image: other", "Check the order", "Check \u202ethe order").Replace(string(text))
	if err := os.WriteFile(filepath.Join(dir, "agent.md"), []byte(changed), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "skills/pdf/SKILL.md"), []byte("---\nname: pdf\ndescription: Reads PDF files.\n---\n# PDF\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	after, err := config.ReadAgent(filepath.Join(dir, "agent.md"))
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	b.WriteString(readable(t, before.Agent))
	changes, err := config.Compare(definition(t, before.Agent), definition(t, after.Agent))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range changes {
		b.WriteString("\n== " + c.Field + "\n" + c.Diff)
	}
	if *update {
		if err := os.WriteFile(golden, []byte(b.String()), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), b.String()); d != "" {
		t.Errorf("run with -update and read the difference (-want +got):\n%s", d)
	}
	same, err := config.Compare(definition(t, before.Agent), definition(t, before.Agent))
	if err != nil || len(same) != 0 {
		t.Errorf("a version differs from itself: %v %v", same, err)
	}
	all, err := config.Compare(nil, definition(t, after.Agent))
	if err != nil || len(all) == 0 || all[0].Field != "name" || all[0].Old != nil {
		t.Errorf("a new agent: %v %v", all, err)
	}
}

// unpack writes the files of an archive into a directory.
func unpack(t *testing.T, dir, archive string) {
	t.Helper()
	a, err := txtar.ParseFile(archive)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range a.Files {
		write(t, filepath.Join(dir, filepath.FromSlash(f.Name)), string(f.Data))
	}
}

// write writes a file and the folders above it.
func write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// FuzzCompare checks that no two texts do harm, and that a definition that can be
// read never differs from itself.
func FuzzCompare(f *testing.F) {
	f.Add([]byte(`{"name":"a","model":"script/a","budget":{"run":1}}`), []byte(`{"name":"a","skills":[{"name":"x","files":[{"path":"SKILL.md","content":"AA=="}]}]}`))
	f.Add([]byte(`{"a":"x\ny\n","b":[{"c":null},[]],"tools":[{"builtin":["bash"]}]}`), []byte(`[`))
	f.Fuzz(func(t *testing.T, a, b []byte) {
		_, _ = config.Compare(a, b)
		if changes, err := config.Compare(a, a); err == nil && len(changes) > 0 {
			t.Fatalf("%s differs from itself: %v", a, changes)
		}
	})
}
