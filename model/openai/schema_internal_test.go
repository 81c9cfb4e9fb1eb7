package openai

import (
	"testing"

	"github.com/cairn-run/cairn"
)

func TestStrictable(t *testing.T) {
	t.Parallel()
	for schema, want := range map[string]bool{
		`{"type":"object","properties":{"a":{"type":"string"}},"required":["a"],"additionalProperties":false}`:                                         true,
		`{"type":"object","properties":{},"additionalProperties":false}`:                                                                               true,
		`{"type":"object","properties":{"a":{"type":"string"}},"required":[],"additionalProperties":false}`:                                            false,
		`{"type":"object","properties":{"a":{"type":"string"}},"required":["a"]}`:                                                                      false,
		`{"type":"object","properties":{"a":{"type":"array","items":{"type":"object"}}},"required":["a"],"additionalProperties":false}`:                false,
		`{"type":"object","properties":{"a":{"$ref":"#/$defs/b"}},"required":["a"],"additionalProperties":false,"$defs":{"b":{"type":"object"}}}`:      false,
		`{"type":"object","properties":{"not":{"type":"string"},"enum":{"type":"object"}},"required":["not","enum"],"additionalProperties":false}`:     false,
		`{"type":"object","properties":{"not":{"type":"string"}},"required":["not"],"additionalProperties":false}`:                                     true,
		`{"type":"object","properties":{"a":{"allOf":[{"type":"string"}]}},"required":["a"],"additionalProperties":false}`:                             false,
		`{"type":"object","properties":{"a":{"anyOf":[{"type":"string"},{"type":"null"}],"enum":[{}]}},"required":["a"],"additionalProperties":false}`: true,
		`{"type":"array","items":{"type":"string"}}`:                                                                                                   false,
		`true`: false,
		`{`:    false,
	} {
		if got := strictable([]byte(schema)); got != want {
			t.Errorf("%s: %t", schema, got)
		}
	}
}

// TestNotStrict: what strict mode refuses is sent without it.
func TestNotStrict(t *testing.T) {
	t.Parallel()
	for _, schema := range []string{`{"oneOf":[{"type":"string"}]}`, `{"type":"string","format":"uri"}`, `{"type":"string","minLength":1}`, `{"type":"array","uniqueItems":true}`, `{"default":1}`} {
		if strictable([]byte(`{"type":"object","properties":{"a":` + schema + `},"required":["a"],"additionalProperties":false}`)) {
			t.Error(schema)
		}
	}
	if strictable([]byte(`{"type":"object","anyOf":[{"type":"object","properties":{},"additionalProperties":false}],"additionalProperties":false}`)) {
		t.Error("anyOf at the top")
	}
}

// TestParameters: what MCP allows and OpenAI refuses of a tool's schema.
func TestParameters(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		``:                                 `{"type":"object","properties":{}}`,
		`true`:                             `{"type":"object","properties":{}}`,
		`{}`:                               `{"type":"object","properties":{}}`,
		`{"type":"object"}`:                `{"type":"object","properties":{}}`,
		`{"type":["object","null"]}`:       `{"type":"object","properties":{}}`,
		`{"properties": {"a": {}}, "x":1}`: `{"type":"object","properties":{"a":{}},"x":1}`,
		`{"type":"object","properties":{"a":{"anyOf":[{},{}]}},"anyOf":[{"required":["a"]}],"not":{}}`: `{"type":"object","properties":{"a":{"anyOf":[{},{}]}},` +
			`"description":"The arguments must also fit this JSON Schema: {\"anyOf\":[{\"required\":[\"a\"]}],\"not\":{}}"}`,
		`{"description":"d","oneOf":[{"properties":{"a":{"type":"string"}}},{"properties":{"a":{},"b":{}}}]}`: `{"type":"object",` +
			`"description":"d\n\nThe arguments must also fit this JSON Schema: {\"oneOf\":[{\"properties\":{\"a\":{\"type\":\"string\"}}},{\"properties\":{\"a\":{},\"b\":{}}}]}",` +
			`"properties":{"a":{"type":"string"},"b":{}}}`,
	} {
		if got := string(parameters(&cairn.ToolDef{InputSchema: []byte(in)})); got != want {
			t.Errorf("%s\n got %s\nwant %s", in, got, want)
		}
	}
}
