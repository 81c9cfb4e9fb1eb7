package kernel

import (
	"context"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/engine"
)

// envKey says what an environment was built for.
type envKey struct {
	digest  cairn.Digest
	toolset cairn.Seq
}

// prepare looks up in process what a step has to know: the definition, and what
// schema and policy say of the calls in an input.
func (o *owner) prepare(ctx context.Context, s *engine.State, in *cairn.Input) error {
	if err := o.environment(ctx, s, in); err != nil {
		return err
	}
	check := func(tool, args string) cairn.Check {
		return o.k.host.Check(o.env.Agent, o.env.Tools, o.key, tool, args)
	}
	switch d := in.Data.(type) {
	case cairn.ModelOutcome:
		if d.Answer == nil {
			return nil
		}
		d.Checks = nil
		for _, p := range d.Answer.Content {
			if p.Kind == cairn.PartToolCall {
				d.Checks = append(d.Checks, check(p.Tool, p.Args))
			}
		}
		if len(d.Checks) == 0 && o.env.Agent.Output != nil {
			d.OutputError = o.k.host.CheckOutput(o.env.Agent, cairn.TextOf(d.Answer.Content))
		}
		in.Data = d
	case cairn.Decide:
		d.Check = nil
		if d.Verb == cairn.VerbEdit {
			for _, c := range s.Calls {
				for _, a := range s.Asks {
					if a.ID == d.Ask && a.Call == c.Seq {
						found := check(c.Tool, string(d.Args))
						d.Check = &found
					}
				}
			}
		}
		in.Data = d
	case cairn.Starting:
		for _, c := range s.Calls {
			if cairn.EffectIDAt(s.Key.ID, c.Seq) == d.Effect {
				d.Check = check(c.Tool, string(c.Args))
			}
		}
		in.Data = d
	}
	return nil
}

// environment builds what steps look at, anew when the definition or the
// toolset has changed.
func (o *owner) environment(ctx context.Context, s *engine.State, in *cairn.Input) error {
	name, want := s.Agent, envKey{s.Digest, s.Context.Toolset}
	if start, ok := in.Data.(cairn.Start); ok && s.Seq == 0 {
		name, want = start.Agent, envKey{digest: start.Digest}
	}
	if o.env != nil && (o.envFor == want || want.digest == "") {
		return nil
	}
	if want.digest == "" {
		o.env = &engine.Env{Agent: &cairn.Agent{}}
		return nil
	}
	o.missing = nil
	a, err := o.k.host.Agent(ctx, o.key.Tenant, name, want.digest)
	switch {
	case cairn.CodeOf(err) == cairn.CodeNotFound:
		// The session ends in a typed way instead of waiting for a definition that
		// nobody has: its model calls are answered with this error.
		o.missing = cairn.AsError(err)
		a = &cairn.Agent{Name: name, Model: "missing/" + name}
	case err != nil:
		return err
	}
	env := &engine.Env{Agent: a, Sandbox: o.k.o.Sandbox}
	if o.missing == nil {
		if env.Tools, err = o.tools(ctx, a, want.toolset); err != nil {
			return err
		}
		if env.Models, err = o.k.host.Models(ctx, a); err != nil {
			return err
		}
	}
	for _, h := range a.OnExit {
		env.Hooks = append(env.Hooks, o.k.host.Check(a, env.Tools, o.key, h.Tool, string(h.Arguments)))
	}
	o.env, o.envFor = env, want
	return nil
}

// tools joins the tools of a definition with those that an event pinned.
func (o *owner) tools(ctx context.Context, a *cairn.Agent, toolset cairn.Seq) ([]cairn.ToolSpec, error) {
	var pinned []cairn.ToolSpec
	if toolset != 0 {
		for e, err := range o.k.j.Events(ctx, o.key, toolset-1) {
			if err != nil {
				return nil, err
			}
			if d, ok := e.Data.(cairn.ToolsetPinned); ok {
				pinned = d.Tools
			}
			break
		}
	}
	return o.k.host.Tools(a, pinned), nil
}

// render makes the request of a model call from the history.
func (o *owner) render(ctx context.Context, e cairn.Effect) (*cairn.ModelRequest, *cairn.Error) {
	if o.missing != nil {
		return nil, o.missing
	}
	m := e.Model.Manifest
	if !o.h.has(m) {
		if err := o.h.load(ctx, o.k.j, o.key, m); err != nil {
			return nil, &cairn.Error{Code: cairn.CodeUnavailable, Message: "the history could not be read", Retryable: true, NotDone: true, Err: err}
		}
	}
	req, err := engine.Render(o.env.Agent, o.env.Tools, e.Model.Model, m, o.h.of(m))
	if err != nil {
		return nil, &cairn.Error{Code: cairn.CodeInternal, Message: "the history could not be rendered: " + err.Error(), NotDone: true, Err: err}
	}
	return req, nil
}

// broken says where a request begins to differ from the one that was answered
// before it; nil: it continues it, as all do but the one after a cut or a switch.
func (o *owner) broken(ctx context.Context, e cairn.Effect, req *cairn.ModelRequest) *cairn.PrefixBreak {
	if req == nil || o.s.Continues(e.Model.Manifest, e.Model.Model) {
		return nil
	}
	last, h := o.s.Context.Last, o.h
	if !h.has(last) {
		h = history{}
		if err := h.load(ctx, o.k.j, o.key, last); err != nil {
			return nil // it is an observation: the call goes on without it
		}
	}
	agent, tools := o.env.Agent, o.env.Tools
	if under := o.s.Context.Under; under != "" && under != o.s.Digest { // the session was moved
		var err error
		if agent, err = o.k.host.Agent(ctx, o.key.Tenant, o.s.Context.UnderName, under); err != nil {
			return nil
		}
		if tools, err = o.tools(ctx, agent, last.Toolset); err != nil {
			return nil
		}
	}
	was, err := engine.Render(agent, tools, o.s.Context.Asked, last, h.of(last))
	if err != nil {
		return nil
	}
	a, b := was.Prefix(), req.Prefix()
	n := 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	if n == len(a) && o.s.Context.Asked == e.Model.Model {
		return nil
	}
	return &cairn.PrefixBreak{Byte: int64(n)}
}
