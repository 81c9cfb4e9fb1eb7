package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/cairn-run/cairn"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

// check looks at what Validate leaves to those who use a field: that schemas
// are schemas.
func (f *File) check() error {
	a := f.Agent
	for i, t := range a.Tools {
		path := fmt.Sprintf("tools[%d]", i)
		if t.HTTP != nil {
			if err := f.schema(path+".http.input_schema", t.HTTP.InputSchema); err != nil {
				return err
			}
		}
		if t.Client != nil {
			if err := f.schema(path+".client.input_schema", t.Client.InputSchema); err != nil {
				return err
			}
		}
	}
	if a.Output != nil {
		if err := f.schema("output.schema", a.Output.Schema); err != nil {
			return err
		}
	}
	return nil
}

// schema compiles a JSON Schema as it is used later: nothing outside it is read.
func (f *File) schema(path string, raw json.RawMessage) error {
	if len(raw) == 0 {
		return nil
	}
	bad := func(format string, args ...any) error {
		return f.Locate(&cairn.FieldError{Path: path, Problem: fmt.Sprintf(format, args...)})
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	if err != nil {
		return bad("not a JSON Schema: %v", err)
	}
	if _, ok := doc.(map[string]any); !ok {
		return bad("expected a JSON Schema, a mapping such as {type: object, properties: …}")
	}
	c := jsonschema.NewCompiler()
	c.UseLoader(closed{})
	if err := c.AddResource(schemaURL, doc); err != nil {
		return bad("not a JSON Schema: %v", err)
	}
	if _, err := c.Compile(schemaURL); err != nil {
		return bad("not a JSON Schema: %s", schemaProblem(err))
	}
	return nil
}

// schemaURL is the name a schema has while it is compiled.
const schemaURL = "cairn:schema"

// closed loads nothing.
type closed struct{}

// Load implements jsonschema.URLLoader.
func (closed) Load(url string) (any, error) {
	return nil, fmt.Errorf("a $ref to another document (%s) is not followed: put it under $defs", short(url))
}

// schemaProblem is the innermost thing wrong with a schema, on one line.
func schemaProblem(err error) string {
	if e, ok := errors.AsType[*jsonschema.LoadURLError](err); ok {
		return e.Err.Error()
	}
	if e, ok := errors.AsType[*jsonschema.SchemaValidationError](err); ok {
		if v, ok := errors.AsType[*jsonschema.ValidationError](e.Err); ok {
			for len(v.Causes) > 0 {
				v = v.Causes[0]
			}
			lines := strings.Split(strings.TrimSpace(v.Error()), "\n")
			at := strings.TrimPrefix(strings.TrimSpace(lines[len(lines)-1]), "- ")
			return at
		}
	}
	return strings.ReplaceAll(strings.TrimPrefix(err.Error(), "jsonschema "), "\n", "; ")
}
