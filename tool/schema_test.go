package tool

import (
	"encoding/json"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/cairn-run/cairn"
)

func TestSchemaStaysInside(t *testing.T) {
	t.Parallel()
	for text, says := range map[string]string{
		`{"$ref":"https://example.com/s.json"}`: "outside the schema",
		`{"$ref":"file:///etc/passwd"}`:         "outside the schema",
		`{"$ref":"#/$defs/none"}`:               "$defs",
		`{"type":"object","properties":7}`:      "not a JSON Schema",
		`{"pattern":"(?<=a)b"}`:                 "not valid regex",
		`{`:                                     "not JSON",
	} {
		if _, err := compileSchema([]byte(text)); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v, want %q", text, err, says)
		}
	}
	for _, text := range []string{`{}`, `true`, `{"$schema":"http://json-schema.org/draft-07/schema#","type":"object"}`, `{"$ref":"#/$defs/a","$defs":{"a":{"type":"string"}}}`} {
		if _, err := compileSchema([]byte(text)); err != nil {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestProblemsAreShort(t *testing.T) {
	t.Parallel()
	s, err := compileSchema([]byte(`{"type":"array","items":{"enum":["` + strings.Repeat("x", 500) + `","b"]}}`))
	if err != nil {
		t.Fatal(err)
	}
	list := make([]any, 1000)
	for i := range list {
		list[i] = "q"
	}
	why := fits(s, list)
	if len(why) > maxProblemText+100 || !strings.Contains(why, "more") {
		t.Errorf("%d bytes: %.200s", len(why), why)
	}
}

func TestActionIsCanonical(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		args, err := cairn.Canonical([]byte(`{"a":` + string(must(json.Marshal(rapid.String().Draw(t, "a")))) + `,"b":[1e3,null]}`))
		if err != nil {
			t.Fatal(err)
		}
		b, err := action{
			Arguments: args, Definition: "sha256:1", Target: rapid.String().Draw(t, "target"), Tool: rapid.String().Draw(t, "tool"),
			Principal: principal{cairn.SessionID(rapid.String().Draw(t, "session")), "acme"},
		}.canonical()
		if err != nil {
			t.Fatal(err)
		}
		if c, err := cairn.Canonical(b); err != nil || string(c) != string(b) {
			t.Fatalf("%s is not canonical: %s %v", b, c, err)
		}
	})
}

func must(b []byte, err error) []byte {
	if err != nil {
		panic(err)
	}
	return b
}

func FuzzSchema(f *testing.F) {
	f.Add(`{"type":"object","properties":{"a":{"type":"integer","minimum":1}}}`, `{"a":0}`)
	f.Add(`{"anyOf":[{"type":"string"},{"$ref":"#"}]}`, `1`)
	f.Fuzz(func(t *testing.T, schema, text string) {
		s, err := compileSchema([]byte(schema))
		if err != nil {
			return
		}
		v, err := decodeValue([]byte(text))
		if err != nil {
			return
		}
		if why := fits(s, v); len(why) > maxProblemText+200 {
			t.Fatalf("%d bytes of problems", len(why))
		}
	})
}
