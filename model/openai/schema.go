package openai

import (
	"bytes"
	"encoding/json"

	"github.com/cairn-run/cairn"
)

// maxSchemaDepth bounds how deep a schema is looked at; OpenAI takes ten levels.
const maxSchemaDepth = 64

// strictFormats are those of strings that strict mode knows.
var strictFormats = map[string]bool{
	"date-time": true, "time": true, "date": true, "duration": true, "email": true,
	"hostname": true, "ipv4": true, "ipv6": true, "uuid": true,
}

// strictable says whether a schema keeps to what the strict mode of structured
// outputs asks for: every object is closed and requires all its properties, and
// there are only members that the mode knows
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
			case "enum", "const", "required", "additionalProperties", "type", "title", "description", "$schema", "$ref", "pattern",
				"multipleOf", "maximum", "exclusiveMaximum", "minimum", "exclusiveMinimum", "minItems", "maxItems":
				continue
			case "format":
				if f, _ := child.(string); !strictFormats[f] {
					return false
				}
				continue
			case "properties", "$defs", "definitions":
				if !allClosed(child, depth+1) {
					return false
				}
				continue
			case "items":
			case "anyOf":
				if depth == 0 {
					return false
				}
			default:
				return false // "'oneOf' is not permitted"
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

// parameters are a tool's schema as the wire wants it. OpenAI refuses a whole
// request for one tool whose schema is not of the type object, names no properties,
// or combines schemas at its top, all of which MCP allows ("object schema missing
// properties", "schema must have type 'object' and not have
// 'oneOf'/'anyOf'/'allOf'/'enum'/'not' at the top level"). What is combined is told
// in words; the runtime checks calls against the schema as it was.
func parameters(t *cairn.ToolDef) json.RawMessage {
	o, err := parseObject(t.InputSchema)
	if err != nil && len(t.InputSchema) > 0 && !json.Valid(t.InputSchema) {
		return t.InputSchema // the request cannot be written
	}
	if err != nil {
		return json.RawMessage(`{"type":"object","properties":{}}`)
	}
	props, _ := parseObject(o.Get("properties")) // none: there may be some in the rules
	named := len(props)
	var rules Object
	for _, name := range []string{"oneOf", "anyOf", "allOf", "enum", "not"} {
		v := o.Get(name)
		if v == nil {
			continue
		}
		rules.Set(name, v)
		o.remove(name)
		if name == "enum" || name == "not" {
			continue
		}
		for _, it := range list(v) {
			branch, _ := parseObject(it)
			more, _ := parseObject(branch.Get("properties"))
			for _, m := range more {
				if props.Get(m.Name) == nil {
					props.Set(m.Name, m.Value)
				}
			}
		}
	}
	if isNull(o.Get("type")) {
		o = append(Object{{"type", json.RawMessage(`"object"`)}}, o...)
	} else if text(o.Get("type")) != "object" {
		o.Set("type", json.RawMessage(`"object"`))
	}
	if len(props) > named || isNull(o.Get("properties")) {
		o.Set("properties", props.raw())
	}
	if len(rules) > 0 {
		said := text(o.Get("description"))
		if said != "" {
			said += blankLine
		}
		o.Set("description", quote(said+"The arguments must also fit this JSON Schema: "+string(rules.raw())))
	}
	return o.raw()
}

// outputName is what the schema of an answer is called on the wire.
const outputName = "answer"
