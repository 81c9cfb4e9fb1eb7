package openai

import "testing"

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
