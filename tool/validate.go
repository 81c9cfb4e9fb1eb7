package tool

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/policy"
)

// checkStatic looks at what the fields of a definition say of each other. What
// depends on tools that are discovered is checked when they are.
func (c *Catalog) checkStatic(a *cairn.Agent, def *definition, where map[string]string) error {
	for _, s := range def.static {
		if _, err := c.schemas.compile(s.InputSchema); err != nil {
			return &cairn.FieldError{Path: where[s.Name] + ".input_schema", Problem: err.Error()}
		}
	}
	for i := range a.Tools {
		for j, g := range a.Tools[i].Allow {
			if _, err := policy.CompileGlob(g); err != nil || g == "" {
				return &cairn.FieldError{Path: fmt.Sprintf("tools[%d].allow[%d]", i, j), Problem: fmt.Sprintf("%q is not a glob over tool names", g)}
			}
		}
	}
	closed := !c.NeedsDiscovery(a) // every tool is known now
	for _, name := range sortedNames(a.Effects) {
		if err := c.checkEffect(a, name, def.static, closed); err != nil {
			return err
		}
	}
	for i, h := range a.OnExit {
		if err := c.checkHook(fmt.Sprintf("on_exit[%d]", i), h, def.static, closed); err != nil {
			return err
		}
	}
	if closed {
		var err error
		def.rules.Tools(func(field, tool string) {
			if err == nil && find(def.static, tool) == nil {
				err = &cairn.FieldError{Path: field, Problem: "no tool is called " + unknownName(tool, def.static)}
			}
		})
		return err
	}
	return nil
}

// checkEffect looks at one entry of effects; closed says that tools holds every
// tool the agent has.
func (c *Catalog) checkEffect(a *cairn.Agent, name string, tools []cairn.ToolSpec, closed bool) error {
	d := a.Effects[name]
	bad := func(field, format string, args ...any) error {
		return &cairn.FieldError{Path: "effects." + name + field, Problem: fmt.Sprintf(format, args...)}
	}
	if d == nil {
		return bad("", "empty")
	}
	if d.MaxOutput > maxMaxOutput {
		return bad(".max_output", "more than %d bytes", maxMaxOutput)
	}
	spec := find(tools, name)
	if spec == nil && closed {
		return bad("", "no tool is called %s", unknownName(name, tools))
	}
	if d.IdempotencyKey != "" {
		t, err := ParseTemplate(d.IdempotencyKey)
		if err != nil {
			return bad(".idempotency_key", "%v", err)
		}
		if spec != nil {
			if missing := undeclared(t.Names(), spec.InputSchema); missing != "" {
				return bad(".idempotency_key", "{%s} is not an argument of %s", missing, name)
			}
		}
	}
	if spec != nil && d.Retries != nil && *d.Retries > 0 && !spec.Class.Repeatable() {
		return bad(".retries", "a call of class %s is never repeated by itself", spec.Class)
	}
	r := d.Reconcile
	if r == nil {
		return nil
	}
	for _, field := range sortedNames(r.Arguments) {
		names, err := placeholders(r.Arguments[field])
		if err != nil {
			return bad(".reconcile.arguments."+field, "%v", err)
		}
		names = slices.DeleteFunc(names, func(n string) bool { return n == keyPlaceholder })
		if spec != nil {
			if missing := undeclared(names, spec.InputSchema); missing != "" {
				return bad(".reconcile.arguments."+field, "{%s} is not an argument of %s", missing, name)
			}
		}
	}
	for _, list := range []struct {
		field  string
		values map[string]json.RawMessage
	}{{".reconcile.done", r.Done}, {".reconcile.not_done", r.NotDone}} {
		for _, field := range sortedNames(list.values) {
			if !json.Valid(list.values[field]) {
				return bad(list.field+"."+field, "not JSON")
			}
		}
	}
	query := find(tools, r.Tool)
	switch {
	case query == nil && closed:
		return bad(".reconcile.tool", "no tool is called %s", unknownName(r.Tool, tools))
	case query == nil:
	case query.Class != cairn.ClassRead:
		return bad(".reconcile.tool", "%s is of class %s; a query must be of class read (declare effects.%s.class: read if it is)", r.Tool, query.Class, r.Tool)
	case query.Host != cairn.HostRuntime:
		return bad(".reconcile.tool", "%s is executed by the %s; a query must be an http or mcp tool", r.Tool, query.Host)
	}
	return nil
}

func (c *Catalog) checkHook(path string, h cairn.Hook, tools []cairn.ToolSpec, closed bool) error {
	spec := find(tools, h.Tool)
	if spec == nil {
		if closed {
			return &cairn.FieldError{Path: path + ".tool", Problem: "no tool is called " + unknownName(h.Tool, tools)}
		}
		return nil
	}
	args := h.Arguments
	if len(bytes.TrimSpace(args)) == 0 {
		args = json.RawMessage("{}")
	}
	schema, err := c.schemas.compile(spec.InputSchema)
	if err != nil {
		return &cairn.FieldError{Path: path + ".tool", Problem: err.Error()}
	}
	v, err := decodeValue(args)
	if err != nil {
		return &cairn.FieldError{Path: path + ".arguments", Problem: "not JSON"}
	}
	if why := fits(schema, v); why != "" {
		return &cairn.FieldError{Path: path + ".arguments", Problem: why}
	}
	return nil
}

// undeclared returns the first name that the schema cannot hold: one that is not
// among its properties, if it lists any.
func undeclared(names []string, schema json.RawMessage) string {
	var s struct {
		Properties map[string]json.RawMessage `json:"properties"`
	}
	if json.Unmarshal(schema, &s) != nil || len(s.Properties) == 0 {
		return ""
	}
	for _, name := range names {
		first, _, _ := strings.Cut(name, ".")
		if _, ok := s.Properties[name]; !ok && s.Properties[first] == nil {
			return name
		}
	}
	return ""
}

func find(tools []cairn.ToolSpec, name string) *cairn.ToolSpec {
	for i := range tools {
		if tools[i].Name == name {
			return &tools[i]
		}
	}
	return nil
}

func sortedNames[V any](m map[string]V) []string {
	names := make([]string, 0, len(m))
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
