package engine

import (
	"time"

	"github.com/cairn-run/cairn"
)

// maxDiscovery bounds the attempts at discovering an agent's tools.
const maxDiscovery = 6

// defaultClientTimeout is how long a client has to make a call.
const defaultClientTimeout = 24 * time.Hour

// callOrigin says where a call comes from: an answer of the model, or a hook.
type callOrigin struct {
	answer cairn.Seq
	index  int
	id     string
	prose  []cairn.Part
	hook   bool
}

// call records a call and what becomes of it: an answer at once, an ask, or an
// open effect.
func (p *planner) call(from callOrigin, tool string, check cairn.Check) {
	spec := p.env.tool(tool)
	if spec == nil && check.Error == nil {
		check.Error = cairn.Errorf(cairn.CodeUnknownTool, "there is no tool %q", tool)
	}
	d := cairn.ToolCallRequested{
		Answer: from.answer, Index: from.index, CallID: from.id, Tool: tool, Hook: from.hook,
		Args: check.Args, Key: check.Key, Digest: check.Digest, Verdict: check.Verdict, Rule: check.Rule,
	}
	if spec != nil {
		d.Host, d.Source, d.Class, d.Files, d.Def = spec.Host, spec.Source, spec.Class, spec.Files, spec.Digest
		d.Retries, d.Timeout, d.Reconcile = spec.Retries, spec.Timeout, spec.Reconcile
		if spec.Files != cairn.AccessNone && !p.s.Run.Sandboxed { // the run was moved to a definition with such tools
			d.Sandbox = p.env.Sandbox
		}
	}
	if check.Error != nil {
		d.Verdict = ""
	}
	id := p.next()
	p.about(id, d)
	switch {
	case check.Error != nil:
		p.about(id, cairn.ToolCallFailed{Error: *check.Error})
	case check.Verdict == cairn.VerdictDeny:
		p.about(id, cairn.ToolCallDenied{Rule: check.Rule, Reason: "Policy forbids this call (rule " + check.Rule + ")."})
	case check.Verdict == cairn.VerdictAsk && !from.hook: // a hook is approved with the definition that declares it
		p.askApproval(id, *spec, check, cairn.TextOf(from.prose), "")
	default:
		p.allowed(id, *spec, check)
	}
}

// allowed goes on with a call that may be made.
func (p *planner) allowed(id cairn.EffectID, spec cairn.ToolSpec, check cairn.Check) {
	switch spec.Host {
	case cairn.HostEngine:
		p.about(id, cairn.PlanUpdated{Plan: check.Args})
		p.about(id, cairn.ToolCallCompleted{Attempt: 1, Result: cairn.ToolResult{Content: []cairn.Part{cairn.Text("Plan recorded.")}}})
	case cairn.HostClient:
		wait := time.Duration(spec.Timeout)
		if wait == 0 {
			wait = defaultClientTimeout
		}
		p.openAsk(id, cairn.Ask{
			Kind: cairn.AskClientTool, Tool: spec.Name, Class: spec.Class, Args: check.Args, Digest: check.Digest,
			Reason: "The client executes this tool and sends its result.",
		}, wait)
	case cairn.HostPerson:
		wait := time.Duration(p.env.Agent.Policy.Approval.Timeout)
		if wait == 0 {
			wait = defaultAskTimeout
		}
		p.openAsk(id, cairn.Ask{
			Kind: cairn.AskQuestion, Tool: spec.Name, Class: spec.Class, Args: check.Args, Digest: check.Digest,
			Reason: "The agent asks a person.",
		}, wait)
	case cairn.HostRuntime:
	}
}

// starting records that a call that must not be repeated is about to be made,
// unless what was decided about it no longer holds.
func (p *planner) starting(d cairn.Starting) {
	i := p.s.callOf(d.Effect)
	if i < 0 {
		return
	}
	c := p.s.Calls[i]
	if c.Phase != PhaseReady || c.Class.Repeatable() || c.Stop || (p.s.Run.Paused && p.s.Run.Stop == nil) {
		return
	}
	switch {
	case d.Check.Error != nil:
		e := *d.Check.Error
		e.NotDone = true
		p.about(d.Effect, cairn.ToolCallFailed{Attempt: c.Attempt, Error: e})
	case d.Check.Verdict == cairn.VerdictDeny:
		p.about(d.Effect, cairn.ToolCallDenied{Rule: d.Check.Rule, Reason: "Policy forbids this call (rule " + d.Check.Rule + ")."})
	case d.Check.Digest != c.Digest:
		p.about(d.Effect, cairn.ToolCallFailed{Attempt: c.Attempt, Error: cairn.Error{
			Code: cairn.CodePinMismatch, Message: "The action is not the one that was decided on.", NotDone: true,
		}})
	default:
		p.about(d.Effect, cairn.ToolCallStarted{Attempt: c.Attempt})
	}
}

// certain says that an error leaves no doubt about what happened.
func certain(e *cairn.Error) bool {
	if e.NotDone {
		return true
	}
	switch e.Code {
	case cairn.CodeToolFailed, cairn.CodeInvalidArgs, cairn.CodeInvalid, cairn.CodeDenied, cairn.CodeAuth,
		cairn.CodeNotFound, cairn.CodeConflict, cairn.CodePinMismatch, cairn.CodeRateLimited:
		return true
	}
	return false
}

// toolOutcome records how an attempt at a call ended.
func (p *planner) toolOutcome(d cairn.ToolOutcome) {
	i := p.s.callOf(d.Effect)
	if i < 0 {
		return
	}
	c := p.s.Calls[i]
	switch c.Phase {
	case PhaseAsking:
		return
	case PhaseReconciling, PhaseUnknown:
		p.lateOutcome(c, d)
		return
	case PhaseReady, PhaseStarted:
	}
	if d.Attempt != c.Attempt {
		return // an attempt that is settled already
	}
	err := d.Error
	if err == nil && d.Result == nil {
		err = cairn.Errorf(cairn.CodeUnknown, "the tool gave neither a result nor an error")
	}
	keep := func() { // the state the call left stands in the commit of its outcome
		if d.Files != nil && c.Files == cairn.AccessWrite {
			p.about(d.Effect, cairn.WorkspaceSnapshotted{Snapshotted: *d.Files})
		}
	}
	if err == nil {
		keep()
		p.about(d.Effect, cairn.ToolCallCompleted{Attempt: c.Attempt, Result: *p.show(d.Result), Took: d.Took})
		return
	}
	if c.Phase == PhaseReady && !c.Class.Repeatable() && !err.NotDone {
		return // never started: whoever reports this did not make the call
	}
	if !c.Class.Repeatable() && !certain(err) {
		p.unknown(c, err.Message, d.Killed)
		return
	}
	drained := err.Code == cairn.CodeCancelled && !c.Stop // the owner drains: the next one tries again
	safe := c.Class.Repeatable() || err.NotDone
	if safe && !c.Stop && (drained || (err.Retryable && c.Attempt <= c.Retries)) {
		wait := time.Duration(0)
		if !drained {
			wait = backoff(d.Effect, c.Attempt, time.Duration(err.RetryAfter))
		}
		p.about(d.Effect, cairn.ToolCallRetried{Attempt: c.Attempt, Error: *err, NextAt: p.now.Add(wait)})
		return
	}
	keep()
	p.about(d.Effect, cairn.ToolCallFailed{Attempt: c.Attempt, Error: *err, Result: p.show(d.Result), Killed: d.Killed, Took: d.Took})
}

// unknown records that nobody knows whether a call took place, and finds out: by
// the declared query, else by asking a person.
func (p *planner) unknown(c Call, why string, killed []string) {
	id := p.s.effect(c.Seq)
	p.about(id, cairn.ToolCallUnknown{Attempt: c.Attempt, Reason: why, Reconcile: c.Reconcile != nil, Killed: killed})
	if c.Reconcile == nil {
		p.askUnknown(c, why)
	}
}

// lateOutcome takes what an owner learnt after the call was given up as unknown.
func (p *planner) lateOutcome(c Call, d cairn.ToolOutcome) {
	f := cairn.EffectReconciled{By: "owner"}
	switch {
	case d.Result != nil && d.Error == nil:
		f.Finding, f.Result = cairn.FoundDone, p.show(d.Result)
	case d.Error != nil && certain(d.Error):
		f.Finding = cairn.FoundNotDone
	default:
		return
	}
	p.settleUnknown(c, f)
}

// reconciled takes what the declared query said.
func (p *planner) reconciled(d cairn.ReconcileOutcome) {
	i := p.s.callOf(d.Effect)
	if i < 0 || p.s.Calls[i].Phase != PhaseReconciling {
		return
	}
	if d.Error != nil && d.Error.Code == cairn.CodeCancelled {
		return // the owner drains: the next one asks
	}
	c := p.s.Calls[i]
	if d.Finding == cairn.FoundDone || d.Finding == cairn.FoundNotDone {
		p.settleUnknown(c, cairn.EffectReconciled{Finding: d.Finding, By: "query", Result: p.show(d.Result)})
		return
	}
	why := "The query that should tell whether it took place gave no clear answer."
	if d.Error != nil {
		why += " " + d.Error.Message
	}
	p.askUnknown(c, why)
}

// settleUnknown closes an unknown call and the question about it.
func (p *planner) settleUnknown(c Call, f cairn.EffectReconciled) {
	for _, a := range p.s.Asks {
		if a.Call == c.Seq && a.Kind == cairn.AskUnknown {
			p.emit(cairn.AskResolved{Ask: a.ID, Status: cairn.AskSuperseded, Comment: "The outcome became known."})
		}
	}
	p.about(p.s.effect(c.Seq), f)
}

// toolset records what discovery gave.
func (p *planner) toolset(d cairn.ToolsetOutcome) {
	w := p.s.Discover
	if w == nil || p.s.effect(w.Seq) != d.Effect || w.Attempt != d.Attempt {
		return
	}
	switch {
	case d.Error == nil:
		p.about(d.Effect, cairn.ToolsetPinned{Tools: d.Tools})
	case w.Stop, p.s.Move != nil && p.s.Run.Ending == nil:
		p.about(d.Effect, cairn.ToolsetFailed{Attempt: d.Attempt, Error: *d.Error})
	case d.Error.Code == cairn.CodeCancelled:
		p.about(d.Effect, cairn.ToolsetRetried{Attempt: d.Attempt, Error: *d.Error, NextAt: p.now})
	case d.Error.Retryable && d.Attempt < maxDiscovery:
		p.about(d.Effect, cairn.ToolsetRetried{
			Attempt: d.Attempt, Error: *d.Error,
			NextAt: p.now.Add(backoff(d.Effect, d.Attempt, time.Duration(d.Error.RetryAfter))),
		})
	default:
		p.about(d.Effect, cairn.ToolsetFailed{Attempt: d.Attempt, Error: *d.Error})
		p.end(outcomeFailed, d.Error)
	}
}
