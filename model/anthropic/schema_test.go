package anthropic

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestOutputSchema(t *testing.T) {
	t.Parallel()
	tests := map[string]struct{ in, want string }{
		"closed": {
			`{"type": "object", "properties": {"b": {"type": "string"}, "a": {"type": "integer"}}, "required": ["b"]}`,
			`{"type":"object","properties":{"b":{"type":"string"},"a":{"type":"integer"}},"required":["b"],"additionalProperties":false}`,
		},
		"as it is": {
			`{"type":"object","properties":{},"additionalProperties":false}`, `{"type":"object","properties":{},"additionalProperties":false}`,
		},
		"open": {`{"type":"object","properties":{},"additionalProperties":true}`, `{"type":"object","properties":{},"additionalProperties":false}`},
		"dictionary": {
			`{"type":"object","additionalProperties":{"type":"object","properties":{}}}`,
			`{"type":"object","additionalProperties":{"type":"object","properties":{},"additionalProperties":false}}`,
		},
		"rules": {
			`{"type":"integer","description":"Age.","minimum":0,"maximum":150}`,
			`{"type":"integer","description":"Age.\n\nIt must also fit this JSON Schema: {\"minimum\":0,\"maximum\":150}"}`,
		},
		"formats": {
			`{"anyOf":[{"type":"string","format":"email"},{"type":"string","format":"phone"}]}`,
			`{"anyOf":[{"type":"string","format":"email"},{"type":"string","description":"It must also fit this JSON Schema: {\"format\":\"phone\"}"}]}`,
		},
		"arrays": {
			`{"type":"array","items":{"type":"object"},"minItems":2}`,
			`{"type":"array","items":{"type":"object","additionalProperties":false},"description":"It must also fit this JSON Schema: {\"minItems\":2}"}`,
		},
		"one of": {`{"oneOf":[{"type":"string"},{"type":"null"}]}`, `{"anyOf":[{"type":"string"},{"type":"null"}]}`},
		"both": {
			`{"oneOf":[{"type":"string"}],"anyOf":[{"type":"string"}]}`,
			`{"anyOf":[{"type":"string"}],"description":"It must also fit this JSON Schema: {\"oneOf\":[{\"type\":\"string\"}]}"}`,
		},
		"references": {
			`{"$schema":"x","$defs":{"n":{"type":"object","properties":{"n":{"$ref":"#/$defs/n","description":"x"}}}},"$ref":"#/$defs/n"}`,
			`{"$defs":{"n":{"type":"object","properties":{"n":{"$ref":"#/$defs/n"}},"additionalProperties":false}},"$ref":"#/$defs/n"}`,
		},
		"booleans":    {`true`, `true`},
		"no schema":   {`{"properties":5,"anyOf":{}}`, `{"properties":5,"anyOf":{},"additionalProperties":false}`},
		"const, enum": {`{"enum":["a"],"const":"<b>"}`, `{"enum":["a"],"const":"<b>"}`},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := string(outputSchema(json.RawMessage(test.in)))
			if got != test.want {
				t.Errorf("%s\nwant %s", got, test.want)
			}
			if again := string(outputSchema(json.RawMessage(got))); again != got {
				t.Errorf("once more: %s", again)
			}
		})
	}
	deep := strings.Repeat(`{"items":`, 9000) + "{}" + strings.Repeat("}", 9000)
	if got := outputSchema(json.RawMessage(deep)); !json.Valid(got) {
		t.Error("a deep schema is no JSON any more")
	}
}

// TestToolSchema: what MCP allows and the API refuses at the top of a schema.
func TestToolSchema(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		``:                                       `{"type":"object"}`,
		`true`:                                   `{"type":"object"}`,
		`{}`:                                     `{"type":"object"}`,
		`{ "type": "object"}`:                    `{ "type": "object"}`, // as it is
		`{"properties":{"a":{"oneOf":[{},{}]}}}`: `{"type":"object","properties":{"a":{"oneOf":[{},{}]}}}`,
		`{"type":"object","description":"d","anyOf":[{"properties":{"a":{"type":"string"}},"required":["a"]},{"properties":{"b":{},"a":{}}},true]}`: `{"type":"object",` +
			`"description":"d\n\nThe input must also fit this JSON Schema: {\"anyOf\":[{\"properties\":{\"a\":{\"type\":\"string\"}},\"required\":[\"a\"]},{\"properties\":{\"b\":{},\"a\":{}}},true]}",` +
			`"properties":{"a":{"type":"string"},"b":{}}}`,
		`{"type":"object","properties":{"a":{}},"oneOf":[{"required":["a"]}],"allOf":1}`: `{"type":"object","properties":{"a":{}},` +
			`"description":"The input must also fit this JSON Schema: {\"oneOf\":[{\"required\":[\"a\"]}],\"allOf\":1}"}`,
	} {
		if got := string(toolSchema(json.RawMessage(in))); got != want {
			t.Errorf("%s\n got %s\nwant %s", in, got, want)
		}
	}
}
