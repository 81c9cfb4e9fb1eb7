package config

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"strconv"
	"strings"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/internal/yamltree"
)

// Schema is the JSON Schema (2020-12) of the agent file, generated from the Go
// types that read it.
func Schema() []byte {
	g := &schemaGen{defs: object()}
	root := object("$schema", text("https://json-schema.org/draft/2020-12/schema"),
		"title", text("Cairn agent"),
		"description", text("Definition of an agent: the front matter of a Markdown file, or a YAML or JSON file."))
	root.Fields = append(root.Fields, g.fields(reflect.TypeFor[cairn.Agent]()).Fields...)
	root.Fields = append(root.Fields, field{Name: "$defs", Value: g.defs})
	var b bytes.Buffer
	_ = json.Indent(&b, toJSON(root), "", "  ") // what a tree writes is JSON
	b.WriteByte('\n')
	return b.Bytes()
}

// Reference is the part of docs/agent-file.md that lists every field, in Markdown.
func Reference() string {
	var b strings.Builder
	done := map[reflect.Type]bool{}
	queue := []struct {
		path string
		t    reflect.Type
	}{{"", reflect.TypeFor[cairn.Agent]()}}
	for len(queue) > 0 {
		q := queue[0]
		queue = queue[1:]
		if done[q.t] {
			continue
		}
		done[q.t] = true
		if q.path == "" {
			b.WriteString("### The agent\n\n")
		} else {
			fmt.Fprintf(&b, "### `%s`\n\n", q.path)
		}
		b.WriteString("| field | holds | |\n|---|---|---|\n")
		for i := range q.t.NumField() {
			f := q.t.Field(i)
			r := rules[fieldKey(q.t, f)]
			note := about[fieldKey(q.t, f)]
			if len(r.enum) > 0 {
				note += " One of `" + strings.Join(r.enum, "`, `") + "`."
			}
			if r.required {
				note += " Required."
			}
			if r.preset != "" {
				note += " Default: " + r.preset + "."
			}
			fmt.Fprintf(&b, "| `%s` | %s | %s |\n", jsonName(f), holds(f.Type), note)
			inner, suffix := f.Type, ""
			for inner.Kind() == reflect.Pointer || inner.Kind() == reflect.Slice || inner.Kind() == reflect.Map {
				switch inner.Kind() {
				case reflect.Slice:
					suffix += "[]"
				case reflect.Map:
					suffix += ".NAME"
				}
				inner = inner.Elem()
			}
			if inner.Kind() == reflect.Struct {
				path := jsonName(f) + suffix
				if q.path != "" {
					path = q.path + "." + path
				}
				queue = append(queue, struct {
					path string
					t    reflect.Type
				}{path, inner})
			}
		}
		b.WriteString("\n")
	}
	return b.String()
}

// holds says in a word what a type is in a file.
func holds(t reflect.Type) string {
	switch t {
	case typeMoney:
		return "amount, `$0.50`"
	case typeDuration:
		return "duration, `30m`"
	case typeRaw:
		return "any value"
	case typeBytes:
		return "size, `512Mi`"
	case typeContent:
		return "base64"
	case typeSkill:
		return "folder, `./skills/pdf`, or fields"
	}
	switch t.Kind() {
	case reflect.Pointer:
		return holds(t.Elem())
	case reflect.Slice:
		return "list of " + holds(t.Elem())
	case reflect.Map:
		return "names to " + holds(t.Elem())
	case reflect.Struct:
		return "fields"
	case reflect.Bool:
		return "true or false"
	case reflect.Int, reflect.Int64:
		return "whole number"
	case reflect.Float64:
		return "number"
	}
	return "text"
}

type schemaGen struct{ defs *tree }

// of is the schema of a type.
func (g *schemaGen) of(t reflect.Type) *tree {
	switch t {
	case typeMoney:
		return object("oneOf", list(
			object("type", text("string"), "pattern", text(`^\$?[0-9]+(\.[0-9]{1,9})?$`), "examples", list(text("$0.50"))),
			object("type", text("integer"), "minimum", number(0), "description", text("Nano-dollars; in JSON files only."))))
	case typeDuration:
		return object("type", text("string"), "pattern", text(`^([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h))+$|^0$`), "examples", list(text("30m")))
	case typeRaw:
		return object()
	case typeBytes:
		return object("oneOf", list(
			object("type", text("string"), "pattern", text(`^[0-9]+(Ki|Mi|Gi|Ti)?$`), "examples", list(text("512Mi"))),
			object("type", text("integer"), "minimum", number(0), "description", text("Bytes."))))
	case typeContent:
		return object("type", text("string"), "contentEncoding", text("base64"))
	case typeSkill:
		return object("oneOf", list(object("type", text("string"), "description", text("A folder at or below the directory of the agent file, with a SKILL.md.")), g.ref(t)))
	case typeMCP:
		return object("oneOf", list(object("type", text("string"), "description", text("URL of the server.")), g.ref(t)))
	}
	switch t.Kind() {
	case reflect.Pointer:
		return g.of(t.Elem())
	case reflect.Slice:
		return object("type", text("array"), "items", g.of(t.Elem()))
	case reflect.Map:
		return object("type", text("object"), "additionalProperties", g.of(t.Elem()))
	case reflect.Struct:
		return g.ref(t)
	case reflect.Bool:
		return object("type", text("boolean"))
	case reflect.Int, reflect.Int64:
		return object("type", text("integer"), "minimum", number(0))
	case reflect.Float64:
		return object("type", text("number"))
	}
	return object("type", text("string"))
}

func (g *schemaGen) ref(t reflect.Type) *tree {
	known := false
	for _, f := range g.defs.Fields {
		known = known || f.Name == t.Name()
	}
	if !known {
		def := object()
		g.defs.Fields = append(g.defs.Fields, field{Name: t.Name(), Value: def})
		*def = *g.fields(t)
	}
	return object("$ref", text("#/$defs/"+t.Name()))
}

// fields is the schema of a struct.
func (g *schemaGen) fields(t reflect.Type) *tree {
	properties, required := object(), list()
	for i := range t.NumField() {
		f := t.Field(i)
		r := rules[fieldKey(t, f)]
		s := g.of(f.Type)
		switch {
		case t == typeOutput && jsonName(f) == "schema":
			s = object("oneOf", list(object("type", text("object")), object("type", text("string"), "description", text("Name of a file."))))
		case jsonName(f) == "input_schema":
			s = object("type", text("object"))
		}
		r.restrict(s)
		note := about[fieldKey(t, f)]
		if r.preset != "" {
			note += " Default: " + r.preset + "."
		}
		s.Fields = append(s.Fields, field{Name: "description", Value: text(note)})
		properties.Fields = append(properties.Fields, field{Name: jsonName(f), Value: s})
		if r.required {
			required.Items = append(required.Items, text(jsonName(f)))
		}
	}
	s := object("type", text("object"), "properties", properties)
	if len(required.Items) > 0 {
		s.Fields = append(s.Fields, field{Name: "required", Value: required})
	}
	return append1(s, "additionalProperties", &tree{Kind: yamltree.Bool, Text: "false"})
}

// restrict puts what a field may hold beyond its type into its schema; of a list,
// that is said of its items.
func (r rule) restrict(s *tree) {
	for j, f := range s.Fields {
		switch {
		case f.Name == "items" && f.Value.Kind == yamltree.Mapping:
			if r.items > 0 {
				s.Fields = append(s.Fields, field{Name: "maxItems", Value: number(r.items)})
			}
			s = f.Value
		case f.Name == "minimum" && r.min > 0:
			s.Fields[j].Value = number(r.min)
		}
	}
	if r.max > 0 {
		append1(s, "maximum", number(r.max))
	}
	if r.pattern != "" {
		append1(s, "pattern", text(r.pattern))
	}
	if len(r.enum) > 0 {
		values := list()
		for _, v := range r.enum {
			values.Items = append(values.Items, text(v))
		}
		append1(s, "enum", values)
	}
}

func append1(t *tree, name string, v *tree) *tree {
	t.Fields = append(t.Fields, field{Name: name, Value: v})
	return t
}

func object(pairs ...any) *tree {
	t := &tree{Kind: yamltree.Mapping}
	for i := 0; i+1 < len(pairs); i += 2 {
		name, _ := pairs[i].(string)
		value, _ := pairs[i+1].(*tree)
		append1(t, name, value)
	}
	return t
}

func list(items ...*tree) *tree { return &tree{Kind: yamltree.List, Items: items} }
func text(s string) *tree       { return &tree{Kind: yamltree.Text, Text: s} }
func number(n int64) *tree      { return &tree{Kind: yamltree.Number, Text: strconv.FormatInt(n, 10)} }
