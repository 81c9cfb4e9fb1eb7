package config_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/internal/config"
)

var update = flag.Bool("update", false, "write what was found as what is expected")

// TestFiles reads every archive in testdata: one agent file each (and the files
// beside it), with what reading it gives: the definition or the error.
func TestFiles(t *testing.T) {
	t.Parallel()
	archives, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(archives) == 0 {
		t.Fatalf("no archives in testdata: %v", err)
	}
	for _, path := range archives {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txtar"), func(t *testing.T) {
			t.Parallel()
			a, err := txtar.ParseFile(path)
			if err != nil {
				t.Fatal(err)
			}
			dir := t.TempDir()
			var got, want []byte
			var kept []txtar.File
			for _, f := range a.Files {
				if f.Name == "want" {
					want = f.Data
					continue
				}
				kept = append(kept, f)
				name := filepath.Join(dir, filepath.FromSlash(f.Name))
				if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(name, f.Data, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			for _, f := range kept {
				if !strings.HasPrefix(f.Name, "agent") {
					continue
				}
				read, err := config.ReadAgent(filepath.Join(dir, f.Name))
				if err != nil {
					text := strings.ReplaceAll(err.Error(), dir+string(filepath.Separator), "")
					got = append(got, text...)
				} else {
					b, err := json.MarshalIndent(read.Agent, "", "  ")
					if err != nil {
						t.Fatal(err)
					}
					got = append(got, b...)
				}
				got = append(got, '\n')
			}
			if *update {
				kept = append(kept, txtar.File{Name: "want", Data: got})
				a.Files = kept
				if err := os.WriteFile(path, txtar.Format(a), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if d := cmp.Diff(string(want), string(got)); d != "" {
				t.Errorf("run with -update and read the difference (-want +got):\n%s", d)
			}
		})
	}
}

// TestAgain checks that the JSON of a definition, as the API shows it, reads
// back as the same version.
func TestAgain(t *testing.T) {
	t.Parallel()
	a, err := txtar.ParseFile("testdata/full.txtar")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range a.Files {
		if f.Name != "want" {
			continue
		}
		again, err := config.ParseAgent("agent.json", f.Data)
		if err != nil {
			t.Fatal(err)
		}
		b, err := json.MarshalIndent(again, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(string(f.Data), string(b)+"\n"); d != "" {
			t.Errorf("(-first +again):\n%s", d)
		}
		return
	}
	t.Fatal("no definition in the archive")
}

// TestFormats checks that the three forms of one agent are one version, however
// the lines end.
func TestFormats(t *testing.T) {
	t.Parallel()
	forms := map[string]string{
		"a.md":   "---\nname: a\nmodel: script/a\nbudget: {run: $1.50}\n---\n\nDo it.\nWell.\n",
		"b.md":   "\uFEFF---\r\nname: a\r\nmodel: script/a\r\nbudget: {run: $1.50}\r\n---\r\nDo it.\r\nWell.\r\n",
		"a.yaml": "name: a\nmodel: script/a\nbudget: {run: \"1.5\"}\ninstructions: |-\n  Do it.\n  Well.\n",
		"a.json": `{"name":"a","model":"script/a","budget":{"run":1500000000},"instructions":"Do it.\nWell."}`,
	}
	digests := map[cairn.Digest][]string{}
	for name, text := range forms {
		a, err := config.ParseAgent(name, []byte(text))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		digests[a.Digest()] = append(digests[a.Digest()], name)
	}
	if len(digests) != 1 {
		t.Errorf("the forms are different versions: %v", digests)
	}
}

// TestBounds checks that large and deep files are refused, and soon.
func TestBounds(t *testing.T) {
	t.Parallel()
	deep := func(open string) string { return "name: a\nmodel: s/a\non_exit: " + strings.Repeat(open, 100_000) }
	for name, text := range map[string]string{
		"large.yaml":   "name: " + strings.Repeat("a", config.MaxSize),
		"flow.yaml":    deep("["),
		"mapping.yaml": deep("{a: "),
		"block.yaml":   "name: a\non_exit:\n" + strings.Repeat("- ", 100_000),
		"key.yaml":     strings.Repeat("? ", 100_000),
		"deep.json":    `{"name":` + strings.Repeat("[", 100_000),
		"key.json":     `{"name":` + strings.Repeat(`{"a":`, 100_000),
	} {
		_, err := config.ParseAgent(name, []byte(text))
		if _, ok := errors.AsType[*config.Error](err); !ok {
			t.Errorf("%s: got %v, want an error with a place", name, err)
		} else if len(err.Error()) > 1000 {
			t.Errorf("%s: the message has %d bytes", name, len(err.Error()))
		}
	}
	long := "---\nname: a\nmodel: s/a\n---\n" + strings.Repeat("Do it well.\n", 80_000)
	if a, err := config.ParseAgent("long.md", []byte(long)); err != nil || len(a.Instructions) != 12*80_000-1 {
		t.Errorf("long instructions: %v", err)
	}
}

// FuzzParse checks that no text, in any form, does anything but give a valid
// definition or an error with a place inside the file.
func FuzzParse(f *testing.F) {
	archives, err := filepath.Glob("testdata/*.txtar")
	if err != nil {
		f.Fatal(err)
	}
	for _, path := range archives {
		a, err := txtar.ParseFile(path)
		if err != nil {
			f.Fatal(err)
		}
		for _, file := range a.Files {
			f.Add(filepath.Ext(file.Name), file.Data)
		}
	}
	f.Fuzz(func(t *testing.T, ext string, data []byte) {
		switch ext {
		case ".md", ".yaml", ".json":
		default:
			ext = ".yaml"
		}
		name := "testdata/agent" + ext
		a, err := config.ParseAgent(name, data)
		if err != nil {
			e, ok := errors.AsType[*config.Error](err)
			if !ok {
				t.Fatalf("an error without a place: %v", err)
			}
			if lines := bytes.Count(data, []byte("\n")) + 1; e.Line < 1 || e.Line > lines || e.Column < 1 {
				t.Fatalf("place %d:%d in a file of %d lines", e.Line, e.Column, lines)
			}
			return
		}
		if err := a.Validate(); err != nil {
			t.Fatalf("accepted, but not valid: %v", err)
		}
		text, err := json.Marshal(a)
		if err != nil {
			t.Fatalf("accepted, but not JSON: %v", err)
		}
		again, err := config.ParseAgent("agent.json", text)
		if err != nil {
			t.Fatalf("the JSON of an accepted file is refused: %v\n%s", err, text)
		}
		if again.Digest() != a.Digest() {
			t.Fatalf("the JSON of a definition is another version:\n%s", text)
		}
		readable := readable(t, a)
		if len(a.Skills) > 0 {
			return // of skills the readable form has only names
		}
		again, err = config.ParseAgent("agent.yaml", []byte(readable))
		if err != nil {
			t.Fatalf("the readable form of a definition is refused: %v\n%s", err, readable)
		}
		if again.Digest() != a.Digest() {
			t.Fatalf("the readable form of a definition is another version:\n%s\n%s", text, readable)
		}
	})
}
