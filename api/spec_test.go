package api_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/api"
)

func TestSpecIsUpToDate(t *testing.T) {
	t.Parallel()
	for name, describe := range map[string]func() ([]byte, error){"openapi.json": api.OpenAPI, "events.json": api.EventSchemas} {
		want, err := describe()
		if err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(filepath.Join("..", "spec", name))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("spec/%s is not what the Go types say: run go run ./api/gen", name)
		}
	}
}

func TestSpecIsServed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.call("GET", "/v1/openapi.json", tokenAnn, "")
	var served, committed any
	want, err := api.OpenAPI()
	if err != nil {
		t.Fatal(err)
	}
	if json.Unmarshal(a.body, &served) != nil || json.Unmarshal(want, &committed) != nil {
		t.Fatalf("status %d: %.200s", a.status, a.body)
	}
	one, _ := json.Marshal(served)
	two, _ := json.Marshal(committed)
	if !bytes.Equal(one, two) {
		t.Error("the description that is served is not the one that is published")
	}
}

// TestEventSchemas compiles the schema of every type and checks it against the
// smallest event of that type.
func TestEventSchemas(t *testing.T) {
	t.Parallel()
	b, err := api.EventSchemas()
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("events.json", doc); err != nil {
		t.Fatal(err)
	}
	for _, typ := range cairn.EventTypes() {
		schema, err := c.Compile("events.json#/types/" + string(typ))
		if err != nil {
			t.Fatal(err)
		}
		var e cairn.Event
		if err := json.Unmarshal([]byte(`{"seq":1,"type":"`+string(typ)+`","data":{}}`), &e); err != nil {
			t.Fatal(err)
		}
		data, err := json.Marshal(e.Data)
		if err != nil {
			t.Fatal(err)
		}
		data = bytes.ReplaceAll(data, []byte(":null"), []byte(":[]")) // an empty list is never written as null by the engine
		v, err := jsonschema.UnmarshalJSON(strings.NewReader(string(data)))
		if err != nil {
			t.Fatal(err)
		}
		if err := schema.Validate(v); err != nil {
			t.Errorf("%s: %s: %v", typ, data, err)
		}
	}
}
