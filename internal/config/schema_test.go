package config_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/cairn-run/cairn/internal/config"
)

const (
	schemaFile = "../../spec/agent.schema.json"
	guideFile  = "../../docs/agent-file.md"
)

// TestSchema holds the committed schema and the reference of the guide equal to
// what the types say. Run with -update after a change.
func TestSchema(t *testing.T) {
	t.Parallel()
	const from, to = "<!-- generated: go test ./internal/config -update -->\n", "<!-- end -->\n"
	guide, err := os.ReadFile(guideFile)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(guide), from)
	_, after, ok2 := strings.Cut(rest, to)
	if !ok || !ok2 {
		t.Fatalf("%s has no generated part", guideFile)
	}
	want := before + from + config.Reference() + to + after
	if *update {
		if err := os.WriteFile(schemaFile, config.Schema(), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(guideFile, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if d := cmp.Diff(want, string(guide)); d != "" {
		t.Errorf("%s is not up to date: go test ./internal/config -update (-want +committed):\n%s", guideFile, d)
	}
	committed, err := os.ReadFile(schemaFile)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(config.Schema()), string(committed)); d != "" {
		t.Errorf("%s is not up to date: go test ./internal/config -update (-want +committed):\n%s", schemaFile, d)
	}
}

// TestSchemaAccepts checks the schema against every file of testdata: what the
// reader accepts, the schema accepts.
func TestSchemaAccepts(t *testing.T) {
	t.Parallel()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(config.Schema()))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("agent", doc); err != nil {
		t.Fatal(err)
	}
	schema, err := c.Compile("agent")
	if err != nil {
		t.Fatal(err)
	}
	accepted := 0
	archives, _ := filepath.Glob("testdata/*.txtar")
	for _, path := range archives {
		a, err := txtar.ParseFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range a.Files {
			if !strings.HasPrefix(f.Name, "agent") || strings.HasSuffix(f.Name, ".toml") {
				continue
			}
			front := string(f.Data)
			if strings.HasSuffix(f.Name, ".md") {
				parts := strings.SplitN(front, "---\n", 3)
				if len(parts) < 3 {
					continue
				}
				front = parts[1]
			}
			var v any
			if err := yaml.Unmarshal([]byte(front), &v); err != nil {
				continue
			}
			b, err := json.Marshal(v)
			if err != nil {
				continue
			}
			instance, err := jsonschema.UnmarshalJSON(bytes.NewReader(b))
			if err != nil {
				t.Fatal(err)
			}
			verdict := schema.Validate(instance)
			// A schema file beside the agent is not there: only inline ones are read.
			if _, err := config.ParseAgent(f.Name, f.Data); err == nil || path == "testdata/full.txtar" {
				accepted++
				if verdict != nil {
					t.Errorf("%s: %s is refused by the schema: %v", path, f.Name, verdict)
				}
			} else if strings.HasSuffix(path, "unknown_field.txtar") && verdict == nil {
				t.Errorf("%s: %s has an unknown field that the schema accepts", path, f.Name)
			}
		}
	}
	if accepted == 0 {
		t.Error("no file was accepted")
	}
}
