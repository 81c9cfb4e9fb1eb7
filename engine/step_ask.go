package engine

import (
	"time"

	"github.com/cairn-run/cairn"
)

// defaultAskTimeout is how long an approval waits before its default is taken.
const defaultAskTimeout = 24 * time.Hour

// openAsk puts an ask; wait zero: it never expires.
func (p *planner) openAsk(effect cairn.EffectID, a cairn.Ask, wait time.Duration) {
	a.ID = cairn.AskIDAt(p.s.Key.ID, p.s.Seq+1)
	a.Run, a.Effect, a.Opened = p.s.Run.ID, effect, p.at
	if wait > 0 {
		a.Expires = p.at.Add(wait)
	}
	p.about(effect, cairn.AskOpened{Ask: a})
}

func (p *planner) askApproval(effect cairn.EffectID, spec cairn.ToolSpec, check cairn.Check, prose, problem string) {
	how := p.env.Agent.Policy.Approval
	wait := time.Duration(how.Timeout)
	if wait == 0 {
		wait = defaultAskTimeout
	}
	a := cairn.Ask{
		Kind: cairn.AskApproval, Tool: spec.Name, Class: spec.Class, Args: check.Args, Digest: check.Digest,
		Rule: check.Rule, Reason: problem, Prose: clip(prose, 2000), OnExpire: "reject",
	}
	if how.OnTimeout != "" {
		a.OnExpire = how.OnTimeout
	}
	p.openAsk(effect, a, wait)
}

func (p *planner) askUnknown(c Call, why string) {
	p.openAsk(p.s.effect(c.Seq), cairn.Ask{
		Kind: cairn.AskUnknown, Tool: c.Tool, Class: c.Class, Args: c.Args, Digest: c.Digest,
		Reason: why + " Find out whether the call took place: approve if it did, reject if it did not. It is not repeated either way.",
	}, 0)
}

// find returns the open ask with this id.
func (p *planner) find(id cairn.AskID) (Ask, bool) {
	for _, a := range p.s.Asks {
		if a.ID == id {
			return a, true
		}
	}
	return Ask{}, false
}

// open returns the call an ask is about.
func (p *planner) open(n cairn.Seq) (Call, bool) {
	for _, c := range p.s.Calls {
		if c.Seq == n {
			return c, true
		}
	}
	return Call{}, false
}

// decide takes the first decision on an ask; one on an ask that is closed
// changes nothing.
func (p *planner) decide(d cairn.Decide) {
	a, ok := p.find(d.Ask)
	if !ok {
		return
	}
	resolved := cairn.AskResolved{Ask: a.ID, Status: d.Status(), By: p.in.From, Comment: d.Comment}
	c, isCall := p.open(a.Call)
	id := p.s.effect(a.Call)
	switch a.Kind {
	case cairn.AskBudget:
		p.emit(resolved)
		if d.Verb == cairn.VerbApprove {
			p.emit(cairn.BudgetRaised{Scope: a.Scope, Amount: a.Amount, By: p.in.From})
		} else if p.s.Run.Active && p.s.Run.Stop == nil && p.s.Run.Ending == nil {
			p.fail(cairn.CodeBudget, "more money was refused for the %s budget", a.Scope)
		}
	case cairn.AskClientTool, cairn.AskQuestion:
		p.about(id, resolved)
		if !isCall {
			return
		}
		switch {
		case a.Kind == cairn.AskQuestion && (d.Verb != cairn.VerbAnswer || d.Result == nil):
			p.about(id, cairn.ToolCallDenied{Reason: orText(d.Comment, "The person did not want to answer."), By: p.in.From.ID})
		case d.Verb != cairn.VerbAnswer || d.Result == nil:
			p.about(id, cairn.ToolCallDenied{Reason: orText(d.Comment, "The client refused to make this call."), By: p.in.From.ID})
		default:
			p.about(id, cairn.ToolCallCompleted{Attempt: 1, Result: *p.show(d.Result)})
		}
	case cairn.AskUnknown:
		p.about(id, resolved)
		if !isCall {
			return
		}
		f := cairn.EffectReconciled{Finding: cairn.FoundNotDone, By: orText(p.in.From.ID, "person"), Result: p.show(d.Result)}
		if d.Verb != cairn.VerbReject {
			f.Finding = cairn.FoundDone
		}
		p.about(id, f)
	case cairn.AskApproval:
		if isCall {
			p.decideApproval(c, d, resolved)
		}
	}
}

func (p *planner) decideApproval(c Call, d cairn.Decide, resolved cairn.AskResolved) {
	id := p.s.effect(c.Seq)
	spec := p.env.tool(c.Tool)
	switch {
	case d.Verb == cairn.VerbApprove && spec != nil:
		p.about(id, resolved)
		p.allowed(id, *spec, cairn.Check{Args: c.Args, Digest: c.Digest, Key: c.Key})
	case d.Verb == cairn.VerbEdit && spec != nil:
		check := cairn.Check{Error: cairn.Errorf(cairn.CodeInternal, "the edited arguments were not checked")}
		if d.Check != nil {
			check = *d.Check
		}
		if check.Error != nil { // a slip of the person loses nothing: the question is put again
			resolved.Status = cairn.AskSuperseded
			p.about(id, resolved)
			p.askApproval(id, *spec, cairn.Check{Args: c.Args, Digest: c.Digest, Rule: check.Rule}, "",
				"The edited arguments were refused: "+check.Error.Message)
			return
		}
		resolved.Args, resolved.Digest, resolved.Key = check.Args, check.Digest, check.Key
		p.about(id, resolved)
		if check.Verdict == cairn.VerdictDeny {
			p.about(id, cairn.ToolCallDenied{Rule: check.Rule, Reason: "Policy forbids the edited call (rule " + check.Rule + ")."})
			return
		}
		p.allowed(id, *spec, check)
	default:
		p.about(id, resolved)
		why := "A person rejected this call."
		if d.Comment != "" {
			why = "A person rejected this call: " + d.Comment
		}
		p.about(id, cairn.ToolCallDenied{Reason: why, By: p.in.From.ID})
	}
}

// expire takes the default of an ask that nobody answered.
func (p *planner) expire(a Ask) {
	action := orText(a.OnExpire, "reject")
	id := p.s.effect(a.Call)
	p.about(id, cairn.AskExpired{Ask: a.ID, Action: action})
	c, ok := p.open(a.Call)
	if !ok {
		return
	}
	if a.Kind == cairn.AskApproval && action == "approve" {
		if spec := p.env.tool(c.Tool); spec != nil {
			p.allowed(id, *spec, cairn.Check{Args: c.Args, Digest: c.Digest, Key: c.Key})
			return
		}
	}
	if a.Kind == cairn.AskClientTool && !c.Class.Repeatable() {
		p.unknown(c, "The client was asked to make this call and did not say whether it did.", nil)
		return
	}
	p.about(id, cairn.ToolCallFailed{Attempt: c.Attempt, Error: cairn.Error{
		Code: cairn.CodeExpired, Message: "Nobody answered in time; the call was not made.", NotDone: true,
	}})
}

func orText(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}
