package tool

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

const (
	// maxSchema bounds one schema, in bytes.
	maxSchema = 1 << 20
	// maxSchemas bounds the compiled schemas that are kept; when there are more
	// the cache starts anew.
	maxSchemas = 4096
	// maxProblems and maxProblemText bound what a model is told about bad arguments.
	maxProblems    = 5
	maxProblemText = 800
)

// schemas compiles JSON Schemas once. Every draft that a schema names in $schema
// is understood; without one it is 2020-12. References lead nowhere outside the
// schema.
type schemas struct {
	mu       sync.RWMutex
	compiled map[string]schemaOrError
}

type schemaOrError struct {
	schema *jsonschema.Schema
	err    error
}

// noLoader is a loader that loads nothing: a schema must not reach out.
type noLoader struct{}

// Load refuses.
func (noLoader) Load(url string) (any, error) {
	return nil, fmt.Errorf("%s is outside the schema; references must stay inside it", url)
}

func (s *schemas) compile(text []byte) (*jsonschema.Schema, error) {
	s.mu.RLock()
	c, ok := s.compiled[string(text)]
	s.mu.RUnlock()
	if ok {
		return c.schema, c.err
	}
	c.schema, c.err = compileSchema(text)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.compiled == nil || len(s.compiled) >= maxSchemas {
		s.compiled = map[string]schemaOrError{}
	}
	s.compiled[string(text)] = c
	return c.schema, c.err
}

func compileSchema(text []byte) (*jsonschema.Schema, error) {
	if len(text) > maxSchema {
		return nil, fmt.Errorf("the JSON Schema is longer than %d bytes", maxSchema)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		return nil, fmt.Errorf("not JSON: %w", err)
	}
	const at = "mem:///schema.json" // a scheme no loader knows
	c := jsonschema.NewCompiler()
	c.UseLoader(noLoader{})
	if err := c.AddResource(at, doc); err != nil {
		return nil, err
	}
	schema, err := c.Compile(at)
	if err != nil {
		if s, ok := errors.AsType[*jsonschema.SchemaValidationError](err); ok {
			if v, ok := errors.AsType[*jsonschema.ValidationError](s.Err); ok {
				return nil, fmt.Errorf("not a JSON Schema: %s", problems(v))
			}
		}
		return nil, errors.New(strings.ReplaceAll(err.Error(), at, "schema"))
	}
	return schema, nil
}

// fits says why decoded JSON, its numbers as json.Number, does not fit the schema,
// in a few words that a model can act on; empty: it does.
func fits(schema *jsonschema.Schema, v any) string {
	err := schema.Validate(v)
	if err == nil {
		return ""
	}
	if v, ok := errors.AsType[*jsonschema.ValidationError](err); ok {
		return problems(v)
	}
	return err.Error()
}

// problems says what is wrong, without the schema's structure around it.
func problems(v *jsonschema.ValidationError) string {
	var all []string
	var walk func(*jsonschema.ValidationError)
	walk = func(v *jsonschema.ValidationError) {
		for _, cause := range v.Causes {
			walk(cause)
		}
		if len(v.Causes) > 0 {
			return
		}
		unit := v.BasicOutput() // of an error without causes: itself
		if unit.Error == nil {
			return
		}
		text := unit.Error.String()
		if unit.InstanceLocation != "" {
			text = "at " + unit.InstanceLocation + ": " + text
		}
		if !slices.Contains(all, text) {
			all = append(all, text)
		}
	}
	walk(v)
	if len(all) == 0 {
		return "it does not fit the schema"
	}
	more := ""
	if len(all) > maxProblems {
		more = fmt.Sprintf("; and %d more", len(all)-maxProblems)
		all = all[:maxProblems]
	}
	text := strings.Join(all, "; ")
	if len(text) > maxProblemText {
		text = strings.ToValidUTF8(text[:maxProblemText], "") + "…"
	}
	return text + more
}
