package config_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cairn-run/cairn/internal/config"
)

// TestLook: which files of a directory are agents.
func TestLook(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, text string
		want       config.Sort
	}{
		{"a.md", "---\nname: a\nmodel: script/a\n---\n", config.Agent},
		{"a.MD", "\ufeff---\r\nname: a\r\nmodel: script/a\r\n---\r\n", config.Agent},
		{"text.md", "# model: none\nmodel: x\n", config.Other},
		{"post.md", "---\ntitle: x\ndate: 2026-01-01\n---\n", config.Other},
		{"README.md", "# Agents\n", config.Other},
		{"AGENTS.md", "# Rules\n\n---\nmodel: x\n---\n", config.Other},
		{"README.md", "---\nname: a\nmodel: script/a\n---\n", config.Agent},
		{"SKILL.md", "---\nname: a\ndescription: x\nmodel: opus\n---\n", config.Other},
		{"open.md", "---\nname: a\nmodel: script/a\nNo end.\n", config.Agent},
		{"rule.md", "---\nText under a rule: x\n", config.Other},
		{"broken.md", "---\nname: a\nmodel: script/a\ntools: [\n---\n", config.Agent},
		{"typo.md", "---\nname: a\nmodell: script/a\n---\n", config.Agent},
		{"else.md", "---\nname: a\ndescription: x\ntools: Read, Grep\n---\n", config.Almost},
		{"a.yaml", "name: a\nmodel: script/a\n", config.Agent},
		{"flow.yaml", "{name: a, model: script/a}\n", config.Agent},
		{"bomb.yaml", "name: a\nmodel: &m script/a\n", config.Agent},
		{"script.yaml", "model: script/a\nreplies: [{text: hi}]\n", config.Other},
		{"cases.yml", "cases: []\nmodel: x\n", config.Other},
		{"compose.yaml", "name: a\nservices: {}\nmodels: {}\n", config.Other},
		{"deep.yaml", "a: {model: x}\n", config.Other},
		{"many.yaml", "---\nname: a\nmodel: script/a\n---\nname: b\n", config.Agent},
		{"a.json", `{"name": "a", "model": "script/a"}`, config.Agent},
		{"broken.json", `{"name": "a" "model": "script/a"}`, config.Agent},
		{"list.json", `[{"name": "a", "model": "script/a"}]`, config.Other},
		{"deep.json", `{"name": "a", "x": {"model": 1}}`, config.Other},
		{"data.json", `{"rows": [` + strings.Repeat(`{"name": "a", "model": "x"},`, 50_000) + `]}`, config.Other},
		{"large.json", `{"name": "a", "model": "script/a", "x": "` + strings.Repeat("x", config.MaxSize) + `"}`, config.Agent},
		{"nested.json", `{"x":` + strings.Repeat("[", 500_000), config.Other},
		{"latin.yaml", "name: \xff\nmodel: script/a\n", config.Agent},
		{"a.toml", "model = 'x'\n", config.Other},
		{"empty.yaml", "", config.Other},
	} {
		dir := t.TempDir()
		name := filepath.Join(dir, test.name)
		write(t, name, test.text)
		got, err := config.Look(name)
		if err != nil || got != test.want {
			t.Errorf("%s %.60q: %v %v, want %v", test.name, test.text, got, err, test.want)
		}
	}
	if _, err := config.Look("testdata/missing.md"); !os.IsNotExist(err) {
		t.Errorf("a file that is not there: %v", err)
	}
}

// FuzzLook checks that what parses as an agent looks like one.
func FuzzLook(f *testing.F) {
	f.Add(".md", []byte("---\nname: a\nmodel: script/a\n---\n"))
	f.Add(".json", []byte(`{"name":"a","model":"script/a","x":[{`))
	f.Add(".yaml", []byte("? a\n: b\nmodel: x\n"))
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, ext string, data []byte) {
		switch ext {
		case ".md", ".yaml", ".json":
		default:
			ext = ".yaml"
		}
		name := filepath.Join(dir, "agent"+ext)
		if err := os.WriteFile(name, data, 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := config.Look(name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := config.ParseAgent(name, data); err == nil && got != config.Agent {
			t.Fatalf("an agent looks like %v", got)
		}
	})
}
