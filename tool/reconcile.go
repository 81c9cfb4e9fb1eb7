package tool

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"

	"github.com/cairn-run/cairn"
)

// keyPlaceholder is the name that stands for the lost call's idempotency key in
// the arguments of a query.
const keyPlaceholder = "idempotency_key"

// Reconcile asks the declared query whether a lost call took place. tools are
// the agent's tools, e is the lost call. The result is the query's, when it says
// that the call took place. An error, a *cairn.Error, goes with FoundUnclear;
// Retryable says that asking again may help.
//
// The query is a call like any other: it must be of class read, its arguments
// must fit its schema, and a policy that denies it is obeyed. It is not asked for:
// the agent's author declared it.
func (c *Catalog) Reconcile(ctx context.Context, session cairn.SessionKey, a *cairn.Agent, tools []cairn.ToolSpec, e *cairn.ToolEffect, id cairn.EffectID, attempt int) (cairn.Finding, *cairn.ToolResult, error) {
	r := e.Reconcile
	if r == nil || len(r.Done) == 0 {
		return cairn.FoundUnclear, nil, cairn.Errorf(cairn.CodeInvalid, "%s declares no query to find out", e.Tool)
	}
	spec := find(tools, r.Tool)
	switch {
	case spec == nil:
		return cairn.FoundUnclear, nil, cairn.Errorf(cairn.CodeUnknownTool, "the query of %s: there is no tool %s", e.Tool, unknownName(r.Tool, tools))
	case spec.Class != cairn.ClassRead || spec.Host != cairn.HostRuntime:
		return cairn.FoundUnclear, nil, cairn.Errorf(cairn.CodeInvalid, "the query of %s: %s is not a tool of class read", e.Tool, r.Tool)
	}
	key := e.Key
	if key == "" {
		key = string(id)
	}
	args, err := queryArgs(r.Arguments, e.Args, key)
	if err != nil {
		return cairn.FoundUnclear, nil, cairn.Errorf(cairn.CodeInvalidArgs, "the query of %s: %w", e.Tool, err)
	}
	check := c.Check(a, tools, session, r.Tool, string(args))
	if check.Error != nil {
		return cairn.FoundUnclear, nil, check.Error
	}
	if check.Verdict == cairn.VerdictDeny {
		return cairn.FoundUnclear, nil, cairn.Errorf(cairn.CodeDenied, "the query of %s is denied by %q", e.Tool, check.Rule)
	}
	query := &cairn.ToolEffect{
		Tool: r.Tool, Source: spec.Source, Class: spec.Class, Args: check.Args, Key: check.Key,
		Digest: check.Digest, Def: spec.Digest, Timeout: spec.Timeout,
	}
	if query.Key == "" {
		query.Key = string(id) + ".query" // never the key of the call it asks about
	}
	result, err := c.Call(ctx, session, a, query, id, attempt, Watch{})
	if err != nil {
		return cairn.FoundUnclear, nil, err
	}
	switch judge(r, result) {
	case cairn.FoundDone:
		return cairn.FoundDone, result, nil
	case cairn.FoundNotDone:
		return cairn.FoundNotDone, nil, nil
	}
	return cairn.FoundUnclear, nil, nil
}

// judge compares a query's JSON with what was declared. What meets both, or
// neither, is unclear. An error result may say that nothing was done (there is no
// such refund), but never that something was.
func judge(r *cairn.Reconcile, result *cairn.ToolResult) cairn.Finding {
	text := []byte(result.Structured)
	if len(text) == 0 {
		text = []byte(cairn.TextOf(result.Content))
	}
	text, err := cairn.Canonical(text) // one value, no key twice
	if err != nil {
		return cairn.FoundUnclear
	}
	object, err := decodeObject(text)
	if err != nil {
		return cairn.FoundUnclear
	}
	done := !result.IsError && holds(object, r.Done)
	not := holds(object, r.NotDone)
	switch {
	case done && !not:
		return cairn.FoundDone
	case not && !done:
		return cairn.FoundNotDone
	}
	return cairn.FoundUnclear
}

// holds says whether every declared field is in the object with the same value.
// Nothing declared is never held.
func holds(object map[string]any, declared map[string]json.RawMessage) bool {
	for name, want := range declared {
		v, ok := Lookup(object, name)
		if !ok {
			return false
		}
		got, err := json.Marshal(v)
		if err != nil {
			return false
		}
		if got, err = cairn.Canonical(got); err != nil {
			return false
		}
		want, err := cairn.Canonical(want)
		if err != nil || !bytes.Equal(got, want) {
			return false
		}
	}
	return len(declared) > 0
}

// queryArgs renders the arguments of a query from those of the lost call. A
// string that is nothing but one {argument} takes its value as it is, of whatever
// type; in a longer string it is written out.
func queryArgs(declared map[string]json.RawMessage, args json.RawMessage, key string) (json.RawMessage, error) {
	values := map[string]any{}
	if len(bytes.TrimSpace(args)) > 0 {
		var err error
		if values, err = decodeObject(args); err != nil {
			return nil, fmt.Errorf("the arguments of the lost call: %w", err)
		}
	}
	values[keyPlaceholder] = key
	out := map[string]any{}
	for _, name := range sortedNames(declared) {
		v, err := decodeValue(declared[name])
		if err != nil {
			return nil, fmt.Errorf("argument %q: %w", name, err)
		}
		if out[name], err = fill(v, values); err != nil {
			return nil, fmt.Errorf("argument %q: %w", name, err)
		}
	}
	return json.Marshal(out)
}

func decodeValue(b []byte) (any, error) {
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	var v any
	err := d.Decode(&v)
	return v, err
}

// fill puts values into every string inside v.
func fill(v any, values map[string]any) (any, error) {
	switch v := v.(type) {
	case string:
		t, err := ParseTemplate(v)
		if err != nil {
			return nil, err
		}
		if name, ok := t.only(); ok {
			value, ok := Lookup(values, name)
			if !ok {
				return nil, fmt.Errorf("the lost call has no argument %q", name)
			}
			return value, nil
		}
		return t.Render(values, func(s string) string { return s })
	case []any:
		out := make([]any, len(v))
		for i := range v {
			var err error
			if out[i], err = fill(v[i], values); err != nil {
				return nil, err
			}
		}
		return out, nil
	case map[string]any:
		out := map[string]any{}
		for name := range v {
			var err error
			if out[name], err = fill(v[name], values); err != nil {
				return nil, err
			}
		}
		return out, nil
	}
	return v, nil
}

// placeholders lists the names that the strings inside a JSON value need.
func placeholders(b json.RawMessage) ([]string, error) {
	v, err := decodeValue(b)
	if err != nil {
		return nil, fmt.Errorf("not JSON: %w", err)
	}
	var names []string
	var walk func(any) error
	walk = func(v any) error {
		switch v := v.(type) {
		case string:
			t, err := ParseTemplate(v)
			if err != nil {
				return err
			}
			names = append(names, t.Names()...)
		case []any:
			for _, e := range v {
				if err := walk(e); err != nil {
					return err
				}
			}
		case map[string]any:
			for _, e := range v {
				if err := walk(e); err != nil {
					return err
				}
			}
		}
		return nil
	}
	if err := walk(v); err != nil {
		return nil, err
	}
	return names, nil
}
