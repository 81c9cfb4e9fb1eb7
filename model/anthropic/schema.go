package anthropic

import (
	"encoding/json"
	"slices"

	"github.com/cairn-run/cairn/model/wire"
)

// What structured outputs take of JSON Schema
// (https://platform.claude.com/docs/en/build-with-claude/structured-outputs#json-schema-limitations
// and the official Go SDK, schemautil.go).
var (
	schemaMembers = map[string]bool{
		"$ref": true, "$defs": true, "definitions": true, "type": true, "anyOf": true, "allOf": true, "description": true, "title": true,
		"enum": true, "const": true, "properties": true, "additionalProperties": true, "required": true,
		"items": true, "minItems": true, "format": true, "pattern": true,
	}
	stringFormats = []string{
		`"date-time"`, `"time"`, `"date"`, `"duration"`, `"email"`, `"hostname"`, `"uri"`, `"ipv4"`, `"ipv6"`, `"uuid"`,
	}
)

// maxSchemaDepth is deeper than any schema that the API takes.
const maxSchemaDepth = 64

// outputSchema rewrites a schema so that the API takes it: objects allow no other
// properties, oneOf becomes anyOf, and the rules it does not know go into the
// description, for the model to read. The runtime checks the answer against the
// schema as it was.
func outputSchema(raw json.RawMessage) json.RawMessage { return strict(raw, maxSchemaDepth) }

func strict(raw json.RawMessage, depth int) json.RawMessage {
	in, ok := parseObject(raw)
	if !ok || depth == 0 {
		return raw
	}
	if ref := in.get("$ref"); ref != nil && in.get("$defs") == nil && in.get("definitions") == nil {
		return object{{"$ref", ref}}.encode() // nothing may stand beside it
	}
	var out, rules object
	for _, m := range in {
		switch m.key {
		case "$schema", "$id", "$comment":
			continue // says nothing of values
		case "oneOf":
			if in.get("anyOf") == nil {
				out.set("anyOf", strictList(m.value, depth))
				continue
			}
		case "anyOf", "allOf":
			m.value = strictList(m.value, depth)
		case "properties", "$defs", "definitions":
			m.value = strictMembers(m.value, depth)
		case "items", "additionalProperties":
			m.value = strict(m.value, depth-1)
		}
		if takes(m) {
			out.set(m.key, m.value)
		} else {
			rules.set(m.key, m.value)
		}
	}
	closeObject(&out)
	if len(rules) > 0 {
		text := out.text("description")
		if text != "" {
			text += "\n\n"
		}
		out.setText("description", text+"It must also fit this JSON Schema: "+string(rules.encode()))
	}
	return out.encode()
}

// takes says whether the API takes this member with this value.
func takes(m member) bool {
	switch m.key {
	case "minItems":
		return string(m.value) == "0" || string(m.value) == "1"
	case "format":
		return slices.Contains(stringFormats, string(m.value))
	}
	return schemaMembers[m.key]
}

// closeObject forbids properties that a schema of an object does not name. One
// that names none and has a schema for all of them is a dictionary, and stays one.
func closeObject(o *object) {
	var kind string
	_ = json.Unmarshal(o.get("type"), &kind) // a list of types stays open
	if kind != "object" && o.get("properties") == nil {
		return
	}
	if o.get("properties") == nil && isObject(o.get("additionalProperties")) {
		return
	}
	o.set("additionalProperties", json.RawMessage("false"))
}

func strictList(raw json.RawMessage, depth int) json.RawMessage {
	var list []json.RawMessage
	if json.Unmarshal(raw, &list) != nil {
		return raw
	}
	for i := range list {
		list[i] = strict(list[i], depth-1)
	}
	out, err := wire.Encode(list)
	if err != nil {
		return raw
	}
	return out
}

func strictMembers(raw json.RawMessage, depth int) json.RawMessage {
	o, ok := parseObject(raw)
	if !ok {
		return raw
	}
	for i := range o {
		o[i].value = strict(o[i].value, depth-1)
	}
	return o.encode()
}

// toolSchema rewrites a tool's schema so that the API takes it: it refuses a whole
// request for one tool whose schema does not say that it is of an object, or
// combines schemas at its top, which MCP allows ("input_schema does not support
// oneOf, allOf, or anyOf at the top level"). What is combined is told in words; the
// runtime checks calls against the schema as it was.
func toolSchema(raw json.RawMessage) json.RawMessage {
	in, ok := parseObject(raw)
	if !ok {
		return anyObject
	}
	var out, rules object
	props, _ := parseObject(in.get("properties")) // none: there may be some in the rules
	named := len(props)
	for _, m := range in {
		switch m.key {
		case "oneOf", "anyOf", "allOf":
			rules.set(m.key, m.value)
			props = gather(props, m.value)
		default:
			out = append(out, m)
		}
	}
	if out.get("type") == nil {
		out = append(object{{"type", quote("object")}}, out...)
	}
	if len(rules) == 0 {
		if len(out) == len(in) {
			return raw
		}
		return out.encode()
	}
	if len(props) > named {
		out.set("properties", props.encode())
	}
	text := out.text("description")
	if text != "" {
		text += "\n\n"
	}
	out.setText("description", text+"The input must also fit this JSON Schema: "+string(rules.encode()))
	return out.encode()
}

// gather adds the properties that a list of schemas names.
func gather(props object, list json.RawMessage) object {
	var all []json.RawMessage
	_ = json.Unmarshal(list, &all) // what is no list names none
	for _, s := range all {
		o, _ := parseObject(s)
		more, _ := parseObject(o.get("properties"))
		for _, m := range more {
			if props.get(m.key) == nil {
				props = append(props, m)
			}
		}
	}
	return props
}
