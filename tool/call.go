package tool

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cairn-run/cairn"
)

// errTimeout is the cause of a context that ended because an attempt took too long.
var errTimeout = errors.New("the attempt took too long")

// Watch is what the one who asks for a call wants of it besides its result; the zero
// value is nothing.
type Watch struct {
	Run  cairn.RunID
	Left *Left        // takes what the attempt leaves
	Say  func(string) // is shown output while the call goes on
}

// Call makes one attempt at a tool call within the tool's limits and returns its
// result, normalised and capped. An error is a *cairn.Error:
//   - NotDone: it is certain that nothing was done;
//   - CodeUnknown: the class must not be repeated, and nobody knows whether it was done;
//   - else the attempt failed; Retryable says that another may succeed.
//
// Waiting for a free place does not count against the attempt's time-out.
func (c *Catalog) Call(ctx context.Context, session cairn.SessionKey, a *cairn.Agent, e *cairn.ToolEffect, id cairn.EffectID, attempt int, w Watch) (*cairn.ToolResult, error) {
	def := c.definition(a)
	if def.err != nil {
		return nil, &cairn.Error{Code: cairn.CodeInvalid, Message: "the agent definition cannot be used: " + def.err.Error(), NotDone: true}
	}
	var d Driver
	if e.Source >= 0 && e.Source < len(a.Tools) {
		d = c.driver(&a.Tools[e.Source])
	}
	if d == nil {
		return nil, &cairn.Error{Code: cairn.CodeInternal, Message: fmt.Sprintf("nothing here performs the tool %q", e.Tool), NotDone: true}
	}
	decl := a.Effects[e.Tool]
	leave, err := c.gates.enter(ctx, gateKey{session.Tenant, a.Name, e.Tool}, decl)
	if err != nil {
		return nil, err
	}
	defer leave()
	call := Call{
		Target:  c.target(session.Tenant, a, def, e.Source),
		Session: session.ID, Effect: id, Attempt: attempt,
		Tool: e.Tool, Class: e.Class, Def: e.Def, Args: e.Args, Key: e.Key,
		MaxOutput: DefaultMaxOutput,
		Run:       w.Run, Definition: a, Files: e.Files, Workspace: e.Workspace, Base: e.Base, Sandbox: e.Sandbox, Running: e.Running,
		Left: w.Left, Say: w.Say,
	}
	if call.Left == nil {
		call.Left = &Left{}
	}
	if call.Say == nil {
		call.Say = func(string) {}
	}
	if call.Key == "" {
		call.Key = string(id)
	}
	if decl != nil && decl.MaxOutput > 0 {
		call.MaxOutput = decl.MaxOutput
	}
	timeout := time.Duration(e.Timeout)
	if timeout <= 0 {
		timeout = DefaultTimeout
	}
	bounded, cancel := context.WithTimeoutCause(ctx, timeout, errTimeout)
	defer cancel()
	result, err := d.Call(bounded, call)
	if err != nil {
		return nil, settle(ctx, e.Class, timeout, err)
	}
	if result == nil {
		return nil, settle(ctx, e.Class, timeout, &cairn.Error{Code: cairn.CodeInternal, Message: "the tool gave neither a result nor an error"})
	}
	return normalise(result, call.MaxOutput), nil
}

// answered are the codes that are a target's answer: what it did is known.
func answered(code cairn.Code) bool {
	switch code {
	case cairn.CodeToolFailed, cairn.CodeAuth, cairn.CodeInvalidArgs, cairn.CodeUnknownTool, cairn.CodePinMismatch, cairn.CodeRateLimited:
		return true
	}
	return false
}

// settle says what is known after an attempt failed. parent is the context of
// the caller, without the attempt's own time-out.
func settle(parent context.Context, class cairn.EffectClass, timeout time.Duration, err error) *cairn.Error {
	e := *driverError(err)
	if !e.NotDone && answered(e.Code) {
		return &e
	}
	if parent.Err() != nil { // stopped by the caller: nobody wants another attempt
		e.Code, e.Retryable, e.RetryAfter = cairn.CodeCancelled, false, 0
		if e.NotDone {
			e.Message = "stopped before the call was made"
		} else {
			e.Message = "stopped while the call was being made"
		}
	} else if e.Code == cairn.CodeTimeout && !e.NotDone {
		e.Message = fmt.Sprintf("no answer within %s", timeout)
	}
	if e.NotDone || class.Repeatable() {
		return &e
	}
	e.Code, e.Retryable, e.RetryAfter = cairn.CodeUnknown, false, 0
	e.Message += "; it is not known whether the call took effect"
	return &e
}

// driverError is what a driver returned; a cause without a code stays out of the
// message.
func driverError(err error) *cairn.Error {
	if e, ok := errors.AsType[*cairn.Error](err); ok {
		return e
	}
	return &cairn.Error{Code: cairn.CodeInternal, Message: "the tool's driver failed", Err: err}
}
