package openai

import (
	"bytes"
	"encoding/json"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/model/wire"
)

// maxSchemaDepth bounds how deep a schema is looked at; OpenAI takes ten levels.
const maxSchemaDepth = 64

// strictable says whether a schema keeps to what the strict mode of structured
// outputs asks for: every object is closed and requires all its properties
// (https://platform.openai.com/docs/guides/structured-outputs). A schema that does
// not is refused in strict mode, so that it is sent without.
func strictable(schema json.RawMessage) bool {
	var root any
	dec := json.NewDecoder(bytes.NewReader(schema))
	if dec.Decode(&root) != nil {
		return false
	}
	m, ok := root.(map[string]any)
	return ok && m["type"] == "object" && closed(root, 0)
}

func closed(node any, depth int) bool {
	if depth > maxSchemaDepth {
		return false
	}
	switch v := node.(type) {
	case map[string]any:
		props, has := v["properties"].(map[string]any)
		if v["type"] == "object" || has {
			if v["additionalProperties"] != false || !requiresAll(v["required"], props) {
				return false
			}
		}
		for name, child := range v {
			switch name {
			case "enum", "const", "default", "examples", "required", "additionalProperties":
				continue
			case "properties", "$defs", "definitions":
				if !allClosed(child, depth+1) {
					return false
				}
				continue
			case "allOf", "not", "if", "then", "else", "dependentRequired", "dependentSchemas", "patternProperties":
				return false // not supported in strict mode
			}
			if !closed(child, depth+1) {
				return false
			}
		}
	case []any:
		for _, child := range v {
			if !closed(child, depth+1) {
				return false
			}
		}
	}
	return true
}

// allClosed looks at schemas by name.
func allClosed(named any, depth int) bool {
	m, _ := named.(map[string]any)
	for _, child := range m {
		if !closed(child, depth) {
			return false
		}
	}
	return true
}

func requiresAll(required any, props map[string]any) bool {
	list, _ := required.([]any)
	named := map[string]bool{}
	for _, r := range list {
		if s, ok := r.(string); ok {
			named[s] = true
		}
	}
	for p := range props {
		if !named[p] {
			return false
		}
	}
	return true
}

// parameters are a tool's schema as the wire wants it: there always is one.
func parameters(t *cairn.ToolDef) json.RawMessage {
	if isNull(t.InputSchema) {
		return json.RawMessage(`{"type":"object","properties":{}}`)
	}
	return wire.Compact(t.InputSchema)
}

// outputName is what the schema of an answer is called on the wire.
const outputName = "answer"
