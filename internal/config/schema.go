package config

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"strconv"
	"strings"

	"github.com/cairn-run/cairn"
)

// Schema is the JSON Schema (2020-12) of the agent file, generated from the Go
// types that read it.
func Schema() []byte {
	g := &schemaGen{defs: object()}
	root := object("$schema", text("https://json-schema.org/draft/2020-12/schema"),
		"title", text("Cairn agent"),
		"description", text("Definition of an agent: the front matter of a Markdown file, or a YAML or JSON file."))
	root.fields = append(root.fields, g.fields(reflect.TypeFor[cairn.Agent]()).fields...)
	root.fields = append(root.fields, field{name: "$defs", value: g.defs})
	var b bytes.Buffer
	_ = json.Indent(&b, root.json(), "", "  ") // what a tree writes is JSON
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
	for _, f := range g.defs.fields {
		known = known || f.name == t.Name()
	}
	if !known {
		def := object()
		g.defs.fields = append(g.defs.fields, field{name: t.Name(), value: def})
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
		for j := range s.fields {
			if s.fields[j].name == "minimum" && r.min > 0 {
				s.fields[j].value = number(r.min)
			}
		}
		if r.max > 0 {
			s.fields = append(s.fields, field{name: "maximum", value: number(r.max)})
		}
		if r.pattern != "" {
			s.fields = append(s.fields, field{name: "pattern", value: text(r.pattern)})
		}
		if len(r.enum) > 0 {
			values := list()
			for _, v := range r.enum {
				values.items = append(values.items, text(v))
			}
			s.fields = append(s.fields, field{name: "enum", value: values})
		}
		note := about[fieldKey(t, f)]
		if r.preset != "" {
			note += " Default: " + r.preset + "."
		}
		s.fields = append(s.fields, field{name: "description", value: text(note)})
		properties.fields = append(properties.fields, field{name: jsonName(f), value: s})
		if r.required {
			required.items = append(required.items, text(jsonName(f)))
		}
	}
	s := object("type", text("object"), "properties", properties)
	if len(required.items) > 0 {
		s.fields = append(s.fields, field{name: "required", value: required})
	}
	return append1(s, "additionalProperties", &tree{kind: kindBool, text: "false"})
}

func append1(t *tree, name string, v *tree) *tree {
	t.fields = append(t.fields, field{name: name, value: v})
	return t
}

func object(pairs ...any) *tree {
	t := &tree{kind: kindMapping}
	for i := 0; i+1 < len(pairs); i += 2 {
		name, _ := pairs[i].(string)
		value, _ := pairs[i+1].(*tree)
		append1(t, name, value)
	}
	return t
}

func list(items ...*tree) *tree { return &tree{kind: kindList, items: items} }
func text(s string) *tree       { return &tree{kind: kindText, text: s} }
func number(n int64) *tree      { return &tree{kind: kindNumber, text: strconv.FormatInt(n, 10)} }
