package api

import (
	"encoding/json"
	"net/http"
	"reflect"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/cairn-run/cairn"
	v1 "github.com/cairn-run/cairn/api/v1"
)

const schemaPrefix = "#/components/schemas/"

// humaConfig is how huma is set up: JSON only and read strictly, no pages of its
// own, the API's own errors. Nothing is set globally, so that a program which
// embeds Cairn may use huma as it likes.
func humaConfig() huma.Config {
	format := huma.Format{Marshal: huma.DefaultJSONFormat.Marshal, Unmarshal: v1.Decode}
	return huma.Config{
		OpenAPI: &huma.OpenAPI{
			OpenAPI: "3.1.0",
			Info: &huma.Info{
				Title:       "Cairn",
				Version:     "v1",
				Description: "Agents that survive crashes, ask before they do harm and keep to their budget.",
				License:     &huma.License{Name: "Apache-2.0", Identifier: "Apache-2.0"},
			},
			Components: &huma.Components{
				Schemas: registry(schemaPrefix),
				SecuritySchemes: map[string]*huma.SecurityScheme{
					"bearer": {Type: "http", Scheme: "bearer"},
				},
			},
			Security: []map[string][]string{{"bearer": {}}},
		},
		Formats:                      map[string]huma.Format{"application/json": format, "json": format},
		DefaultFormat:                "application/json",
		RejectUnknownQueryParameters: true,
		Transformers:                 []huma.Transformer{humaError},
	}
}

// registry makes schemas from Go types; what reads and prints itself has its
// schema here.
func registry(prefix string) huma.Registry {
	r := huma.NewMapRegistry(prefix, huma.DefaultSchemaNamer)
	r.RegisterTypeAlias(reflect.TypeFor[cairn.Money](), reflect.TypeFor[moneySchema]())
	r.RegisterTypeAlias(reflect.TypeFor[cairn.Duration](), reflect.TypeFor[durationSchema]())
	r.RegisterTypeAlias(reflect.TypeFor[v1.Content](), reflect.TypeFor[contentSchema]())
	r.RegisterTypeAlias(reflect.TypeFor[json.RawMessage](), reflect.TypeFor[anySchema]())
	return r
}

type (
	moneySchema    struct{}
	durationSchema struct{}
	contentSchema  struct{}
	anySchema      struct{}
)

// The alternatives below stand in extensions: huma publishes them as they are
// and leaves the checking to the types' own methods, whose errors say more than
// "matches none of the schemas".

// Schema of an amount as the API writes it.
func (moneySchema) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{Type: huma.TypeInteger, Format: "int64", Description: "nano-dollars"}
}

// amount is the schema of an amount as requests may write it.
func amount() *huma.Schema {
	return &huma.Schema{
		Description: "nano-dollars, or dollars as a string like \"$1.25\"",
		Extensions: map[string]any{"oneOf": []any{
			map[string]any{"type": "integer", "format": "int64", "minimum": 0},
			map[string]any{"type": "string", "pattern": `^\$?[0-9]+(\.[0-9]{1,9})?$`},
		}},
	}
}

// Schema of a duration.
func (durationSchema) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{Type: huma.TypeString, Description: "a duration like 30s, 5m or 2h", Examples: []any{"30m"}}
}

// Schema of a message.
func (contentSchema) Schema(r huma.Registry) *huma.Schema {
	return &huma.Schema{
		Description: "text, or a list of parts",
		Extensions: map[string]any{"oneOf": []any{
			map[string]any{"type": "string", "minLength": 1},
			map[string]any{"type": "array", "minItems": 1, "items": r.Schema(reflect.TypeFor[v1.Part](), true, "Part")},
		}},
	}
}

// Schema of any JSON value.
func (anySchema) Schema(huma.Registry) *huma.Schema { return &huma.Schema{} }

// finishSpec makes the description say what is true here: errors have the API's
// own form, lists are never null, requests may write amounts as strings, and
// what is only read may get new fields.
func finishSpec(o *huma.OpenAPI) {
	errors := map[string]*huma.MediaType{"application/json": {
		Schema: o.Components.Schemas.Schema(reflect.TypeFor[v1.ErrorBody](), true, ""),
	}}
	schemas := o.Components.Schemas.Map()
	delete(schemas, "ErrorModel")
	delete(schemas, "ErrorDetail")
	sent := map[string]bool{"Part": true} // only Content refers to it, in an extension
	for _, item := range o.Paths {
		for _, op := range []*huma.Operation{item.Get, item.Post} {
			if op == nil {
				continue
			}
			op.Responses["default"] = &huma.Response{Description: "Error", Content: errors}
			if op.Security == nil {
				op.Responses["401"] = &huma.Response{Description: http.StatusText(http.StatusUnauthorized), Content: errors}
			}
			if op.RequestBody != nil {
				for _, m := range op.RequestBody.Content {
					reach(schemas, m.Schema, sent)
				}
			}
		}
	}
	for name, s := range schemas {
		neverNull(s)
		if !sent[name] {
			openObject(s)
		}
	}
	for name, properties := range map[string][]string{"Budget": {"run", "session", "agent"}, "SessionBudget": {"run", "session"}} {
		for _, p := range properties {
			schemas[name].Properties[p] = amount()
		}
	}
}

// reach marks the schemas that s refers to.
func reach(schemas map[string]*huma.Schema, s *huma.Schema, seen map[string]bool) {
	if s == nil {
		return
	}
	if name, ok := strings.CutPrefix(s.Ref, schemaPrefix); ok {
		if !seen[name] {
			seen[name] = true
			reach(schemas, schemas[name], seen)
		}
		return
	}
	reach(schemas, s.Items, seen)
	for _, p := range s.Properties {
		reach(schemas, p, seen)
	}
	if m, ok := s.AdditionalProperties.(*huma.Schema); ok {
		reach(schemas, m, seen)
	}
}

func neverNull(s *huma.Schema) {
	if s == nil || s.Ref != "" {
		return
	}
	s.Nullable = false
	neverNull(s.Items)
	for _, p := range s.Properties {
		neverNull(p)
	}
	if m, ok := s.AdditionalProperties.(*huma.Schema); ok {
		neverNull(m)
	}
}

// OpenAPI is the description of the API as JSON, indented.
func OpenAPI() ([]byte, error) {
	a := &API{}
	a.routes()
	return indent(a.huma.OpenAPI())
}

// EventSchemas is a JSON Schema (draft 2020-12) of the data of every durable
// event type and of what a stream carries besides, indented.
func EventSchemas() ([]byte, error) {
	const prefix = "#/$defs/"
	r := registry(prefix)
	types := map[string]any{}
	for _, t := range cairn.EventTypes() {
		data, err := dataType(t)
		if err != nil {
			return nil, err
		}
		types[string(t)] = r.Schema(data, true, data.Name())
	}
	delta := r.Schema(reflect.TypeFor[v1.Delta](), true, "")
	for _, name := range v1.Deltas {
		types[name] = delta
	}
	types[v1.StreamEndName] = r.Schema(reflect.TypeFor[v1.StreamEnd](), true, "")
	envelope := r.Schema(reflect.TypeFor[v1.Event](), true, "")
	for _, s := range r.Map() {
		neverNull(s)
		openObject(s)
	}
	return indent(map[string]any{
		"$schema":     "https://json-schema.org/draft/2020-12/schema",
		"title":       "Events of a session",
		"description": "envelope is the form of an event; types holds, by its type, the schema of its data. What is not stored has no id: " + strings.Join(append(slices.Clone(v1.Deltas), v1.StreamEndName), ", ") + ". A reader must ignore types and fields it does not know.",
		"envelope":    envelope,
		"types":       types,
		"$defs":       r.Map(),
	})
}

// dataType finds the Go type of an event's data by decoding an empty one.
func dataType(t cairn.EventType) (reflect.Type, error) {
	var e cairn.Event
	b, err := json.Marshal(map[string]any{"seq": 1, "type": t, "data": struct{}{}})
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(b, &e); err != nil {
		return nil, err
	}
	return reflect.TypeOf(e.Data), nil
}

// openObject lets later versions add fields to what is read.
func openObject(s *huma.Schema) {
	if closed, ok := s.AdditionalProperties.(bool); ok && !closed {
		s.AdditionalProperties = nil
	}
}

func indent(v any) ([]byte, error) {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return nil, err
	}
	return append(b, '\n'), nil
}
