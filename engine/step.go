package engine

import (
	"fmt"
	"slices"
	"time"

	"github.com/cairn-run/cairn"
)

// Origins of messages.
const (
	originUser    = "user"
	originRuntime = "runtime"
)

// Outcomes of a run.
const (
	outcomeCompleted = "completed"
	outcomeFailed    = "failed"
	outcomeCancelled = "cancelled"
)

// Step decides which facts follow from an input. It may return none: an input
// that comes too late, twice or for something that is not open changes nothing.
func Step(env *Env, s State, in cairn.Input) []cairn.Event {
	now := in.At
	if !in.Stepped.IsZero() {
		now = in.Stepped
	}
	if in.At.Before(s.At) { // time never goes back within a session
		in.At = s.At
	}
	p := &planner{env: env, s: s, at: in.At, now: now, in: in}
	p.input()
	return p.out
}

// planner folds every fact as soon as it is planned, so that what follows is
// decided on the state after it.
type planner struct {
	env *Env
	s   State
	at  time.Time
	now time.Time // the clock, which may have been set back: what is scheduled counts from it
	in  cairn.Input
	out []cairn.Event
}

// emit plans a fact about the run.
func (p *planner) emit(d cairn.EventData) { p.about("", d) }

// about plans a fact about an effect.
func (p *planner) about(step cairn.EffectID, d cairn.EventData) {
	e := cairn.Event{Seq: p.s.Seq + 1, At: p.at, Step: step, Data: d}
	switch d.(type) {
	case cairn.RunStarted:
		e.Run = cairn.RunIDAt(p.s.Key.ID, e.Seq)
	case cairn.SessionCreated, cairn.SessionForked, cairn.SessionIdle, cairn.SessionMoving, cairn.SessionMoved:
	default:
		e.Run = p.s.Run.ID
	}
	p.s = Fold(p.s, e)
	p.out = append(p.out, e)
}

// next is the id of the effect that the next fact intends.
func (p *planner) next() cairn.EffectID { return cairn.EffectIDAt(p.s.Key.ID, p.s.Seq+1) }

func (p *planner) input() {
	if p.s.Seq == 0 {
		if d, ok := p.in.Data.(cairn.Start); ok {
			p.start(d)
		}
		return
	}
	if f, ok := p.in.Data.(cairn.Fork); ok {
		p.emit(cairn.SessionForked{Key: p.in.To, Parent: f.Parent, At: f.At})
		return
	}
	if p.s.Final != "" {
		p.afterwards()
		return
	}
	switch d := p.in.Data.(type) {
	case cairn.Post:
		p.post(d.Content, d.Interrupt)
	case cairn.Control:
		p.control(d)
	case cairn.Decide:
		p.decide(d)
	case cairn.Wake:
		p.wake()
	case cairn.ModelOutcome:
		p.modelOutcome(d)
	case cairn.Starting:
		p.starting(d)
	case cairn.ToolOutcome:
		p.toolOutcome(d)
	case cairn.ReconcileOutcome:
		p.reconciled(d)
	case cairn.ToolsetOutcome:
		p.toolset(d)
	case cairn.DrawOutcome:
		p.drawn(d)
	case cairn.ReleaseOutcome:
		p.released(d)
	case cairn.Move:
		p.move(d)
	case cairn.Takeover:
		p.takeover(d)
	}
	p.advance()
}

// afterwards takes what may still be learnt after the end: the outcome of a call
// that was unknown.
func (p *planner) afterwards() {
	switch d := p.in.Data.(type) {
	case cairn.Decide:
		p.decide(d)
	case cairn.ToolOutcome:
		p.toolOutcome(d)
	case cairn.ReconcileOutcome:
		p.reconciled(d)
	}
}

func (p *planner) start(d cairn.Start) {
	p.emit(cairn.SessionCreated{
		Key: p.in.To, Agent: d.Agent, Digest: d.Digest, Owner: p.in.From, Title: d.Title, Once: d.Once,
		Budget: d.Budget, Metadata: d.Metadata, Workspace: d.Workspace, Project: d.Project,
	})
	if len(d.Content) == 0 {
		p.emit(cairn.SessionIdle{})
		return
	}
	p.post(d.Content, false)
	p.advance()
}

func (p *planner) post(content []cairn.Part, interrupt bool) {
	if len(content) == 0 {
		return
	}
	if !p.s.Run.Active {
		p.startRun()
		interrupt = false
	}
	p.emit(cairn.MessageCreated{Content: content, Origin: originUser, Interrupt: interrupt, By: p.in.From, Input: p.in.ID})
	if interrupt {
		p.closeUnbegun(cairn.CodeInterrupted, "A new message interrupted the run before this call was made.")
	}
}

func (p *planner) startRun() {
	a := p.env.Agent
	d := cairn.RunStarted{Digest: p.s.Digest, Budget: strictest(a.Budget.Run, p.s.Budget.Run)}
	for i := range p.env.Tools {
		if p.env.Tools[i].Files != cairn.AccessNone {
			d.Sandbox = p.env.Sandbox
		}
	}
	if a.Limits.Wall > 0 {
		d.Deadline = p.now.Add(time.Duration(a.Limits.Wall))
	}
	p.emit(d)
}

func (p *planner) control(d cairn.Control) {
	r := &p.s.Run
	switch d.Action {
	case cairn.ControlPause:
		if r.Active && !r.Paused && r.Stop == nil && r.Ending == nil {
			p.emit(cairn.RunPaused{By: p.in.From, Reason: d.Reason})
		}
	case cairn.ControlResume:
		if r.Paused {
			p.emit(cairn.RunResumed{By: p.in.From})
		}
	case cairn.ControlCancel:
		if !r.Active {
			p.emit(cairn.RunCancelled{Summary: cairn.RunSummary{Outcome: outcomeCancelled}})
			return
		}
		if r.Stop == nil || r.Stop.Err != nil {
			p.emit(cairn.RunCancelling{By: p.in.From, Reason: d.Reason})
			p.closeUnbegun(cairn.CodeCancelled, "The run was cancelled before this call was made.")
		}
	}
}

// wake does what is due by now.
func (p *planner) wake() {
	for _, a := range p.s.Asks {
		if !a.Expires.IsZero() && !p.now.Before(a.Expires) {
			p.expire(a)
		}
	}
	r := &p.s.Run
	if r.Active && r.Stop == nil && r.Ending == nil && r.Parked.IsZero() && !r.Deadline.IsZero() && !p.now.Before(r.Deadline) {
		p.emit(cairn.RunCancelling{Reason: "wall limit", Error: &cairn.Error{
			Code:    cairn.CodeWallLimit,
			Message: fmt.Sprintf("the run took longer than limits.wall = %s", p.env.Agent.Limits.Wall),
		}})
		p.closeUnbegun(cairn.CodeCancelled, "The run reached its time limit before this call was made.")
	}
}

// closeUnbegun closes what was planned and certainly not begun: calls that wait
// for an answer or for their start, and the asks that go with them.
func (p *planner) closeUnbegun(code cairn.Code, why string) {
	clientAsked := map[cairn.Seq]bool{}
	for _, a := range p.s.Asks {
		if c, ok := p.open(a.Call); a.Kind == cairn.AskUnknown || (ok && !c.Stop) {
			continue // the question stands, however the run ends; and hooks run to their end
		}
		clientAsked[a.Call] = a.Kind == cairn.AskClientTool
		p.emit(cairn.AskResolved{Ask: a.ID, Status: cairn.AskCancelled, Comment: why})
	}
	for _, c := range p.s.Calls {
		unbegun := c.Phase == PhaseAsking || (c.Phase == PhaseReady && !c.Class.Repeatable()) ||
			(c.Phase == PhaseReady && c.NotBefore.After(p.now))
		if c.Stop && c.Phase == PhaseAsking && c.Host == cairn.HostClient && clientAsked[c.Seq] && !c.Class.Repeatable() {
			p.unknown(c, "The client was asked to make this call and did not say whether it did.", nil)
			continue
		}
		if c.Stop && unbegun {
			p.about(p.s.effect(c.Seq), cairn.ToolCallFailed{Attempt: c.Attempt, Error: cairn.Error{Code: code, Message: why, NotDone: true}})
		}
	}
	if m := p.s.Model; m != nil && m.Waiting {
		p.about(p.s.effect(m.Seq), cairn.ModelFailed{Attempt: m.Attempt, Error: cairn.Error{Code: code, Message: why, NotDone: true}})
	}
}

// takeover marks what a former owner had under way.
func (p *planner) takeover(d cairn.Takeover) {
	held := func(n cairn.Seq) bool { return slices.Contains(d.Held, p.s.effect(n)) }
	if m := p.s.Model; m != nil && !m.Waiting && !held(m.Seq) {
		p.modelLost()
	}
	for _, c := range p.s.Calls {
		if c.Phase == PhaseStarted && !held(c.Seq) {
			p.unknown(c, "The process that made this call died before it recorded the outcome.", nil)
		}
	}
}

// advance plans what comes next, if nothing is open that has to be waited for.
func (p *planner) advance() {
	r := &p.s.Run
	if !r.Active {
		return
	}
	if r.Ending != nil {
		p.finish()
		return
	}
	if m := p.s.Model; m != nil && m.Waiting && p.s.Move != nil && r.Stop == nil && p.s.Draw == nil {
		p.about(p.s.effect(m.Seq), cairn.ModelFailed{Attempt: m.Attempt, Error: cairn.Error{
			Code: cairn.CodeCancelled, Message: "The session was moved before the call was tried again.", NotDone: true,
		}})
	}
	if m := p.s.Model; m != nil && m.Waiting && r.Stop == nil {
		due := !p.now.Before(m.RetryAt)
		if due && !r.Paused && p.s.Draw == nil && !p.s.budgetAsked() {
			p.request(m.Purpose, nil)
		}
		return
	}
	if p.s.Model != nil || p.s.batch() > 0 || p.s.Discover != nil || p.s.Draw != nil {
		return
	}
	if p.s.Move != nil && r.Stop == nil {
		p.moveOn()
		return
	}
	if r.Stop != nil {
		if r.Stop.Err != nil {
			p.end(outcomeFailed, r.Stop.Err)
		} else {
			p.end(outcomeCancelled, nil)
		}
		return
	}
	if r.Paused || p.s.budgetAsked() {
		return
	}
	if r.Want || p.s.Unseen {
		p.turn()
		return
	}
	p.end(outcomeCompleted, nil)
}

// turn asks the model, unless a limit forbids it.
func (p *planner) turn() {
	r, l := &p.s.Run, p.env.Agent.Limits
	if steps := orDefault(l.Steps, cairn.DefaultSteps); r.Sum.ModelCalls >= steps {
		p.fail(cairn.CodeStepLimit, "the run made %d model calls, as many as limits.steps allows", steps)
		return
	}
	if l.Tokens > 0 && r.Usage.Total() >= l.Tokens {
		p.fail(cairn.CodeTokenLimit, "the run used %d tokens; limits.tokens is %d", r.Usage.Total(), l.Tokens)
		return
	}
	if p.s.Context.Toolset == 0 && discovers(p.env.Agent) {
		p.emit(cairn.ToolsetRequested{})
		return
	}
	purpose := r.Purpose
	if f := p.env.Agent.Reflect; f != nil && purpose == cairn.PurposeTurn && r.Reflected >= f.Every && !p.s.Unseen {
		purpose = cairn.PurposeReflect
	}
	p.request(purpose, p.env.Agent.Reflect)
}

func discovers(a *cairn.Agent) bool {
	for i := range a.Tools {
		if a.Tools[i].MCP != nil {
			return true
		}
	}
	return false
}

func (p *planner) fail(code cairn.Code, format string, args ...any) {
	p.end(outcomeFailed, &cairn.Error{Code: code, Message: fmt.Sprintf(format, args...)})
}

// end settles the outcome of a run and plans its safe-state hooks.
func (p *planner) end(outcome string, err *cairn.Error) {
	if m := p.s.Model; m != nil && m.Waiting { // the retry that will not be made
		p.about(p.s.effect(m.Seq), cairn.ModelFailed{Attempt: m.Attempt, Error: cairn.Error{
			Code: cairn.CodeCancelled, Message: "the run ended before the call was tried again", NotDone: true,
		}})
	}
	d := cairn.RunEnding{Outcome: outcome, Error: err}
	if outcome == outcomeCompleted {
		d.Output = p.s.Run.Answer
	}
	p.emit(d)
	for i, h := range p.env.Agent.OnExit {
		if h.When != "" && h.When != "always" && h.When != outcome {
			continue
		}
		var c cairn.Check
		if i < len(p.env.Hooks) {
			c = p.env.Hooks[i]
		}
		p.call(callOrigin{hook: true}, h.Tool, c)
	}
	p.finish()
}

// finish ends the run when its hooks are done and what it drew is settled: the rest
// is given back, and what cost more than was reserved for it is drawn, as far as
// there is any.
func (p *planner) finish() {
	r := &p.s.Run
	if p.s.batch() > 0 || p.s.Draw != nil || p.s.Model != nil || p.s.Discover != nil {
		return
	}
	if p.s.Release != 0 {
		return
	}
	if len(p.s.Files.Running) > 0 {
		p.about(p.next(), cairn.SandboxReleasing{})
		return
	}
	left := p.s.undrawn()
	if shared := p.shared(); shared != nil && left != 0 && !r.Returned {
		p.emit(cairn.BudgetRequested{Budgets: shared, Amount: -left})
		return
	}
	outcome, err := r.Ending.Outcome, r.Ending.Err
	if r.Stop != nil && r.Stop.Err == nil {
		outcome, err = outcomeCancelled, nil // cancelled while the hooks ran
	}
	sum := p.account(outcome)
	final := p.s.Once
	switch outcome {
	case outcomeCompleted:
		p.emit(cairn.RunCompleted{Summary: sum, Output: r.Ending.Output, Degraded: r.Degrade, Final: final})
	case outcomeFailed:
		p.emit(cairn.RunFailed{Error: *err, Summary: sum, Final: final})
	case outcomeCancelled:
		p.emit(cairn.RunCancelled{Summary: sum})
		return
	}
	if final {
		return
	}
	if p.s.Move != nil && !p.s.Unseen {
		p.moved()
	}
	if p.s.Unseen { // a message came while the hooks ran
		p.startRun()
		p.advance()
		return
	}
	p.emit(cairn.SessionIdle{})
}

// account is the summary a run leaves.
func (p *planner) account(outcome string) cairn.RunSummary {
	r := &p.s.Run
	return cairn.RunSummary{
		Outcome: outcome, ModelCalls: r.Sum.ModelCalls, Retries: r.Sum.Retries, LostCalls: r.Sum.Lost,
		ToolCalls: counts(r.Sum), Asks: r.Sum.Asks, Usage: r.Usage, Cost: r.Spent, Estimated: r.Estimated,
		Duration: cairn.Duration(p.at.Sub(r.Started)), Unknown: r.Unknown, HooksFailed: r.HooksFailed, Killed: r.Killed,
	}
}

func counts(s RunSums) map[string]int {
	m := map[string]int{}
	for _, c := range []struct {
		name string
		n    int
	}{{"completed", s.Completed}, {"failed", s.Failed}, {"denied", s.Denied}, {"unknown", s.Unknown}, {"hooks", s.Hooked}} {
		if c.n > 0 {
			m[c.name] = c.n
		}
	}
	if len(m) == 0 {
		return nil
	}
	return m
}

func orDefault(n, d int) int {
	if n == 0 {
		return d
	}
	return n
}

func orDefaultP(n *int, d int) int {
	if n == nil {
		return d
	}
	return *n
}
