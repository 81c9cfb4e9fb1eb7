package tool

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/policy"
)

// Defaults of what a tool does not declare.
const (
	DefaultTimeout       = 60 * time.Second // of one attempt
	DefaultClientTimeout = 24 * time.Hour   // of a client-executed tool
	DefaultRetries       = 2                // of a repeatable class
)

// definition is what is compiled once for a version of an agent.
type definition struct {
	digest cairn.Digest
	static []cairn.ToolSpec
	rules  *policy.Rules
	output *jsonschema.Schema
	// err is why the definition cannot be used; its calls are all refused.
	err error
}

// definitions keeps compiled definitions, by the agent's address and then by its
// digest: an Agent is immutable, and hashing it for each call would cost more
// than the call's checks.
type definitions struct {
	mu        sync.RWMutex
	byAddress map[*cairn.Agent]*definition
	byDigest  map[cairn.Digest]*definition
	max       int
}

func (d *definitions) get(a *cairn.Agent, compile func(*cairn.Agent) *definition) *definition {
	d.mu.RLock()
	def := d.byAddress[a]
	d.mu.RUnlock()
	if def != nil {
		return def
	}
	digest := a.Digest()
	d.mu.Lock()
	defer d.mu.Unlock()
	if def = d.byDigest[digest]; def == nil {
		def = compile(a)
		def.digest = digest
	}
	if len(d.byAddress) >= d.max || d.byAddress == nil {
		d.byAddress = map[*cairn.Agent]*definition{}
	}
	if len(d.byDigest) >= d.max || d.byDigest == nil {
		d.byDigest = map[cairn.Digest]*definition{}
	}
	d.byAddress[a], d.byDigest[digest] = def, def
	return def
}

// compile reads what an agent declares. It reports the first thing wrong as a
// *cairn.FieldError in err.
func (c *Catalog) compile(a *cairn.Agent) *definition {
	def := &definition{}
	if def.rules, def.err = policy.Compile(a.Policy); def.err != nil {
		return def
	}
	var where map[string]string
	if def.static, where, def.err = c.static(a); def.err != nil {
		return def
	}
	if a.Output != nil {
		schema, err := c.schemas.compile(a.Output.Schema)
		if err != nil {
			def.err = &cairn.FieldError{Path: "output.schema", Problem: err.Error()}
			return def
		}
		def.output = schema
	}
	def.err = c.checkStatic(a, def, where)
	return def
}

// static lists the tools that the definition itself declares, by name, and in
// which field each was declared.
func (c *Catalog) static(a *cairn.Agent) ([]cairn.ToolSpec, map[string]string, error) {
	var specs []cairn.ToolSpec
	where := map[string]string{}
	add := func(field string, s cairn.ToolSpec) error {
		if other, ok := where[s.Name]; ok {
			return &cairn.FieldError{Path: field, Problem: fmt.Sprintf("the tool %q is declared in %s already", s.Name, other)}
		}
		where[s.Name] = field
		specs = append(specs, finish(a, s))
		return nil
	}
	for i := range a.Tools {
		e := &a.Tools[i]
		field := fmt.Sprintf("tools[%d]", i)
		if d := c.driver(e); d != nil {
			if err := d.Validate(e); err != nil {
				return nil, nil, under(field, err)
			}
		}
		var err error
		switch {
		case e.HTTP != nil:
			s := cairn.ToolSpec{
				ToolDef: cairn.ToolDef{Name: e.HTTP.Name, Description: e.HTTP.Description, InputSchema: httpSchema(e.HTTP)},
				Host:    cairn.HostRuntime, Source: i, Class: cairn.ClassIrreversible,
			}
			if m := method(e.HTTP); m == "GET" || m == "HEAD" {
				s.Class = cairn.ClassRead
			}
			err = add(field+".http", s)
		case e.Client != nil:
			s := cairn.ToolSpec{
				ToolDef: cairn.ToolDef{Name: e.Client.Name, Description: e.Client.Description, InputSchema: schemaOr(e.Client.InputSchema)},
				Host:    cairn.HostClient, Source: i, Class: cairn.ClassIrreversible, Timeout: e.Client.Timeout,
			}
			err = add(field+".client", s)
		default:
			for j, name := range e.Builtin {
				f := fmt.Sprintf("%s.builtin[%d]", field, j)
				s, ok := c.builtin[name]
				if !ok {
					return nil, nil, &cairn.FieldError{Path: f, Problem: fmt.Sprintf("no built-in tool is called %q", name)}
				}
				s.Source = i
				if err = add(f, s); err != nil {
					break
				}
			}
		}
		if err != nil {
			return nil, nil, err
		}
	}
	slices.SortFunc(specs, byName)
	return specs, where, nil
}

func byName(a, b cairn.ToolSpec) int { return strings.Compare(a.Name, b.Name) }

// finish gives a tool what the agent declares of its effects, and the defaults.
func finish(a *cairn.Agent, s cairn.ToolSpec) cairn.ToolSpec {
	d := a.Effects[s.Name]
	if d == nil {
		d = &cairn.EffectDecl{}
	}
	if d.Class != "" {
		s.Class = d.Class
	}
	s.Key, s.Reconcile = d.IdempotencyKey, d.Reconcile
	if d.Timeout > 0 {
		s.Timeout = d.Timeout
	}
	if s.Timeout <= 0 {
		s.Timeout = cairn.Duration(DefaultTimeout)
		if s.Host == cairn.HostClient {
			s.Timeout = cairn.Duration(DefaultClientTimeout)
		}
	}
	if s.Class.Repeatable() && s.Host == cairn.HostRuntime {
		s.Retries = DefaultRetries
		if d.Retries != nil {
			s.Retries = *d.Retries
		}
	}
	s.Digest = s.ToolDef.Digest()
	return s
}

// method is the HTTP method of a tool, in capitals.
func method(t *cairn.HTTPTool) string {
	if t.Method == "" {
		return "POST"
	}
	return strings.ToUpper(t.Method)
}

// anyObject is the schema of a tool that declares none.
var anyObject = json.RawMessage(`{"type":"object"}`)

func schemaOr(s json.RawMessage) json.RawMessage {
	if len(s) == 0 {
		return anyObject
	}
	return s
}

// httpSchema is the declared schema, or one that asks for what the URL names.
func httpSchema(t *cairn.HTTPTool) json.RawMessage {
	if len(t.InputSchema) > 0 {
		return t.InputSchema
	}
	template, err := ParseTemplate(t.URL)
	if err != nil || len(template.Names()) == 0 {
		return anyObject
	}
	properties := map[string]any{}
	for _, name := range template.Names() {
		properties[name] = map[string]any{"type": "string", "minLength": 1}
	}
	b, err := json.Marshal(map[string]any{"type": "object", "properties": properties, "required": template.Names()})
	if err != nil { // maps of strings always encode
		return anyObject
	}
	return b
}

// under puts the path of an entry before the path inside it.
func under(field string, err error) error {
	if f, ok := err.(*cairn.FieldError); ok { //nolint:errorlint // Driver.Validate returns this very type
		return &cairn.FieldError{Path: field + "." + f.Path, Problem: f.Problem}
	}
	return &cairn.FieldError{Path: field, Problem: err.Error()}
}
