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
	return checkRules(def.rules, def.static, closed)
}

// checkRules looks at the tools and arguments that the rules of a policy name: a
// rule over what does not exist would let through what it was to stop. closed
// says that tools holds every tool the agent has.
func checkRules(rules *policy.Rules, tools []cairn.ToolSpec, closed bool) error {
	for _, r := range rules.Named() {
		spec := find(tools, r.Tool)
		if spec == nil {
			if closed {
				return &cairn.FieldError{Path: r.Field, Problem: "no tool is called " + unknownName(r.Tool, tools)}
			}
			continue
		}
		for _, name := range r.Arguments {
			// Rules that ask or deny compare names without case.
			if ok, known := declares(spec.InputSchema, name, r.Verdict != cairn.VerdictAllow); !ok {
				return &cairn.FieldError{Path: r.Field, Problem: fmt.Sprintf("%s has no argument %s", r.Tool, suggest(name, known, "it takes none"))}
			}
		}
	}
	return nil
}

// checkAllow says which glob of an entry's allow list matches none of the tools
// its server listed.
func checkAllow(e cairn.ToolSource, source int, listed []cairn.ToolSpec) error {
	for i, glob := range e.Allow {
		if slices.ContainsFunc(listed, func(s cairn.ToolSpec) bool { return allows(e, glob, s.Name) }) {
			continue
		}
		names := make([]string, 0, len(listed))
		for _, s := range listed {
			names = append(names, strings.TrimPrefix(s.Name, e.MCP.Prefix))
		}
		slices.Sort(names)
		return &cairn.FieldError{
			Path:    fmt.Sprintf("tools[%d].allow[%d]", source, i),
			Problem: "no tool of the server matches " + suggest(glob, names, "the server has no tools"),
		}
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

// declares says whether an object of this schema can have the argument, nested
// ones with dots; fold compares names without case. Only a closed schema
// (additionalProperties: false) can say no, and then known are the names it has
// where the path left it.
func declares(schema json.RawMessage, path string, fold bool) (ok bool, known []string) {
	var s struct {
		Properties map[string]json.RawMessage `json:"properties"`
		Patterns   map[string]json.RawMessage `json:"patternProperties"`
		Additional json.RawMessage            `json:"additionalProperties"`
	}
	if json.Unmarshal(schema, &s) != nil || string(s.Additional) != "false" || len(s.Patterns) > 0 {
		return true, nil
	}
	known = sortedNames(s.Properties)
	var nested []string
	for i := 0; i <= len(path); i++ { // a name may hold dots itself
		if i < len(path) && path[i] != '.' {
			continue
		}
		for _, name := range known {
			if name != path[:i] && (!fold || !strings.EqualFold(name, path[:i])) {
				continue
			}
			if i == len(path) {
				return true, nil
			}
			inside, names := declares(s.Properties[name], path[i+1:], fold)
			if inside {
				return true, nil
			}
			for _, n := range names {
				nested = append(nested, name+"."+n)
			}
		}
	}
	if len(nested) > 0 {
		return false, nested
	}
	return false, known
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
