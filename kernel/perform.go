package kernel

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/engine"
	"github.com/cairn-run/cairn/internal/failpoint"
	"github.com/cairn-run/cairn/journal"
)

// performer is one attempt at an effect that is under way.
type performer struct {
	effect  cairn.Effect
	cancel  context.CancelCauseFunc
	stopped bool
}

// busy says whether some of what is open is to be done now: more than waiting for
// a timer, a person or the end of a pause.
func busy(open []cairn.Effect, now time.Time) bool {
	for _, e := range open {
		if !e.Hold && (e.Stop || !e.NotBefore.After(now)) {
			return true
		}
	}
	return false
}

// timer is when something is due that is not due now: the engine has to be told
// the time, or an effect is to be begun. Zero: nothing is timed.
func timer(s engine.State, open []cairn.Effect, now time.Time) time.Time {
	at := engine.WakeAt(s)
	for _, e := range open {
		if !e.Hold && e.NotBefore.After(now) && (at.IsZero() || e.NotBefore.Before(at)) {
			at = e.NotBefore
		}
	}
	return at
}

// perform begins what is open and not under way, stops what is no longer wanted,
// and returns what has to be stepped before anything else.
func (o *owner) perform(ctx context.Context) []cairn.Input {
	var own []cairn.Input
	wanted := make(map[cairn.EffectID]int, len(o.work))
	now := o.k.o.Now()
	o.looked = now
	for _, e := range o.work {
		wanted[e.ID] = e.Attempt
		o.mu.Lock()
		p := o.begun[e.ID]
		learnt := false
		for _, in := range o.done {
			learnt = learnt || effectOf(in.Data) == e.ID
		}
		o.mu.Unlock()
		switch {
		case p != nil:
			if e.Stop {
				o.stop(p, errNotWanted)
			}
		case learnt: // its outcome is about to be stepped
		case e.Stop:
			own = append(own, o.input(neverBegun(e)))
		case o.started(e) && (!o.k.mayAct() || o.k.overdue.Load()):
			own = append(own, o.input(neverBegun(e))) // recorded as started, certainly not begun
		case o.started(e):
			o.begin(ctx, e)
		case e.Hold, e.NotBefore.After(now), o.k.draining():
			if e.Kind == cairn.EffectModel { // see idle
				own = append(own, o.input(neverBegun(e)))
			}
		case !o.k.mayAct():
			o.k.o.Logger.Warn("the lease is not certain to hold; nothing is begun", "session", o.key)
		case e.Kind == cairn.EffectTool && e.Tool.MustStart:
			own = append(own, o.input(cairn.Starting{Effect: e.ID}))
		default:
			o.begin(ctx, e)
		}
	}
	o.mu.Lock()
	for id, p := range o.begun {
		if attempt, ok := wanted[id]; !ok || attempt != p.effect.Attempt {
			p.halt(errNotWanted)
		}
	}
	o.mu.Unlock()
	return own
}

// started says that the start of a call that must not be repeated has just been
// recorded: it is begun now, whatever else is going on, or it would be unknown.
func (o *owner) started(e cairn.Effect) bool {
	return e.Kind == cairn.EffectTool && !e.Tool.Class.Repeatable() && !e.Tool.MustStart
}

var errNotWanted = errors.New("the work is no longer wanted")

func (p *performer) halt(why error) {
	if !p.stopped {
		p.stopped = true
		p.cancel(why)
	}
}

func (o *owner) stop(p *performer, why error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	p.halt(why)
}

func (o *owner) stopPerformers(why error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, p := range o.begun {
		p.halt(why)
	}
}

// neverBegun is the outcome of an effect that was stopped before it was begun.
func neverBegun(e cairn.Effect) cairn.InputData {
	err := &cairn.Error{Code: cairn.CodeCancelled, Message: "Stopped before it was begun.", NotDone: true}
	switch e.Kind {
	case cairn.EffectModel:
		return cairn.ModelOutcome{Effect: e.ID, Attempt: e.Attempt, Error: err}
	case cairn.EffectToolset:
		return cairn.ToolsetOutcome{Effect: e.ID, Attempt: e.Attempt, Error: err}
	case cairn.EffectRelease:
		return cairn.ReleaseOutcome{Effect: e.ID, Error: err}
	case cairn.EffectTool, cairn.EffectReconcile, cairn.EffectDraw:
	}
	return cairn.ToolOutcome{Effect: e.ID, Attempt: e.Attempt, Error: err}
}

// begin starts a performer.
func (o *owner) begin(ctx context.Context, e cairn.Effect) {
	job := Job{Effect: e, Agent: o.env.Agent, Tools: o.env.Tools}
	job.Say = func(d cairn.Delta) { o.k.live.Say(o.key, e.ID, e.Attempt, d) }
	var refused *cairn.Error
	var broken *cairn.PrefixBreak
	if e.Kind == cairn.EffectModel {
		job.Request, refused = o.render(ctx, e)
		broken = o.broken(ctx, e, job.Request)
		if e.Model.Purpose == cairn.PurposeCompact { // it is said to nobody but the model
			job.Say = func(cairn.Delta) {}
		}
	}
	// A performer may outlive the claim: an effect that must not be repeated is
	// reported even by an owner that was fenced.
	work, cancel := context.WithCancelCause(ctx)
	p := &performer{effect: e, cancel: cancel}
	o.mu.Lock()
	o.begun[e.ID] = p
	if o.k.overdue.Load() {
		p.halt(errDraining)
	}
	if e.Kind == cairn.EffectTool && !e.Tool.Class.Repeatable() {
		o.once[e.ID] = true
	}
	o.mu.Unlock()
	once := e.Kind == cairn.EffectTool && !e.Tool.Class.Repeatable()
	if once {
		o.owed.Add(1)
	}
	o.k.late.Go(func() {
		if once {
			defer o.owed.Done()
		}
		defer cancel(nil)
		var out cairn.InputData
		if refused != nil {
			out = cairn.ModelOutcome{Effect: e.ID, Attempt: e.Attempt, Error: refused}
		} else {
			out = o.k.do(work, job)
		}
		if d, ok := out.(cairn.ModelOutcome); ok && broken != nil {
			d.Broken = broken
			out = d
		}
		o.learn(ctx, p, out)
	})
}

// learn hands an outcome to the owner, or if the session is no longer ours puts
// it into the inbox, should it matter there.
func (o *owner) learn(ctx context.Context, p *performer, out cairn.InputData) {
	in := o.input(out)
	o.mu.Lock()
	delete(o.begun, p.effect.ID)
	lost := o.fenced
	if !lost {
		o.done = append(o.done, in)
	}
	o.mu.Unlock()
	if !lost {
		o.ring()
		return
	}
	if k := p.effect.Kind; k == cairn.EffectModel || k == cairn.EffectTool { // what it was saying is said by another now
		o.k.live.Advance(o.key, 0, p.effect.ID)
	}
	o.owe(ctx, in)
}

// owe delivers the outcome of a call that must not be repeated to whoever has the
// session now; other outcomes do not matter there.
func (o *owner) owe(ctx context.Context, in cairn.Input) {
	t, ok := in.Data.(cairn.ToolOutcome)
	o.mu.Lock()
	ok = ok && o.once[t.Effect]
	o.mu.Unlock()
	if !ok || ctx.Err() != nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	in.ID = fmt.Sprintf("late:%s:%d", t.Effect, t.Attempt)
	if err := o.k.j.Post(ctx, in, nil, nil); err != nil {
		o.k.o.Logger.Error("an outcome that came too late could not be delivered", "session", o.key, "effect", t.Effect, "err", err)
	}
}

// abandon lets go of a session that is lost: effects that can be repeated are
// stopped, the others are awaited and reported, like those whose outcome was
// learnt and not recorded.
func (o *owner) abandon(ctx context.Context) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.fenced = true
	for _, p := range o.begun {
		if p.effect.Kind != cairn.EffectTool || p.effect.Tool.Class.Repeatable() {
			p.halt(errFenced)
		}
	}
	for _, in := range o.done {
		o.owed.Add(1)
		o.k.late.Go(func() { defer o.owed.Done(); o.owe(ctx, in) })
	}
	o.done = nil
}

// do performs one attempt. A panic of a performer is an outcome like any other.
func (k *Kernel) do(ctx context.Context, j Job) (out cairn.InputData) {
	e := j.Effect
	started := time.Now()
	defer func() {
		if r := recover(); r != nil {
			k.o.Logger.Error("a performer panicked", "effect", e.ID, "kind", e.Kind, "panic", r, "stack", string(debug.Stack()))
			out = failed(e, cairn.Errorf(cairn.CodeInternal, "the runtime failed while it performed this"))
		}
		took := cairn.Duration(time.Since(started))
		switch d := out.(type) {
		case cairn.ModelOutcome:
			d.Effect, d.Attempt, d.Took, d.Error = e.ID, e.Attempt, took, stoppedBy(ctx, d.Error)
			out = d
		case cairn.ToolOutcome:
			d.Effect, d.Attempt, d.Took, d.Error = e.ID, e.Attempt, took, stoppedBy(ctx, d.Error)
			out = d
		case cairn.ReconcileOutcome:
			d.Effect, d.Attempt, d.Error = e.ID, e.Attempt, stoppedBy(ctx, d.Error)
			out = d
		case cairn.ReleaseOutcome:
			d.Effect, d.Error = e.ID, stoppedBy(ctx, d.Error)
			out = d
		case cairn.ToolsetOutcome:
			d.Effect, d.Attempt, d.Error = e.ID, e.Attempt, stoppedBy(ctx, d.Error)
			out = d
		}
	}()
	failpoint.Begin()
	defer failpoint.End()
	failpoint.Hit(failpoint.PerformBefore)
	if e.Kind == cairn.EffectDraw {
		return k.draw(ctx, e)
	}
	if e.Kind == cairn.EffectReconcile {
		return k.query(ctx, j)
	}
	return k.host.Perform(ctx, j)
}

// failed is the outcome of an effect of any kind that gave an error.
func failed(e cairn.Effect, err *cairn.Error) cairn.InputData {
	switch e.Kind {
	case cairn.EffectModel:
		return cairn.ModelOutcome{Error: err}
	case cairn.EffectReconcile:
		return cairn.ReconcileOutcome{Finding: cairn.FoundUnclear, Error: err}
	case cairn.EffectToolset:
		return cairn.ToolsetOutcome{Error: err}
	case cairn.EffectDraw:
		return cairn.DrawOutcome{Effect: e.ID, Error: err}
	case cairn.EffectRelease:
		return cairn.ReleaseOutcome{Error: err}
	case cairn.EffectTool:
	}
	return cairn.ToolOutcome{Error: err}
}

// draw moves money between shared budgets and the session. It is idempotent, so
// it is tried until it has an answer.
func (k *Kernel) draw(ctx context.Context, e cairn.Effect) cairn.InputData {
	wait := 50 * time.Millisecond
	for {
		err := k.j.Draw(ctx, journal.Draw{Tenant: e.Session.Tenant, ID: string(e.ID), Budgets: e.Draw.Budgets, Amount: e.Draw.Amount})
		switch {
		case err == nil:
			return cairn.DrawOutcome{Effect: e.ID, Granted: e.Draw.Amount}
		case errors.Is(err, journal.ErrBudget):
			return cairn.DrawOutcome{Effect: e.ID, Error: cairn.Errorf(cairn.CodeBudget, "a shared budget is exhausted")}
		}
		if !pause(ctx, wait) || errors.Is(err, journal.ErrClosed) {
			// Not an answer: the draw stays open and the next owner makes it again.
			<-ctx.Done()
			return cairn.DrawOutcome{}
		}
		wait = min(2*wait, 5*time.Second)
	}
}

// effectOf is the effect an outcome is about.
func effectOf(d cairn.InputData) cairn.EffectID {
	switch d := d.(type) {
	case cairn.ModelOutcome:
		return d.Effect
	case cairn.ToolOutcome:
		return d.Effect
	case cairn.ReconcileOutcome:
		return d.Effect
	case cairn.ToolsetOutcome:
		return d.Effect
	case cairn.DrawOutcome:
		return d.Effect
	case cairn.ReleaseOutcome:
		return d.Effect
	}
	return ""
}

// stoppedBy takes "cancelled" only from a performer that was stopped: the engine
// tries such an attempt again at once and without end, for the next owner.
func stoppedBy(ctx context.Context, e *cairn.Error) *cairn.Error {
	if e == nil || e.Code != cairn.CodeCancelled || ctx.Err() != nil {
		return e
	}
	other := *e
	other.Code, other.Retryable = cairn.CodeUnavailable, true
	return &other
}

// maxQueries bounds how often a declared query is asked before a person is.
const maxQueries = 6

// query asks whether a lost call took place, again while that may help: it is a
// read, and a person is asked only when it gives no answer.
func (k *Kernel) query(ctx context.Context, j Job) cairn.InputData {
	wait := time.Second
	for n := 1; ; n++ {
		out := k.host.Perform(ctx, j)
		d, ok := out.(cairn.ReconcileOutcome)
		if !ok || d.Error == nil || !d.Error.Retryable || n == maxQueries {
			return out
		}
		if !pause(ctx, wait) {
			return cairn.ReconcileOutcome{Error: &cairn.Error{Code: cairn.CodeCancelled, Message: "stopped", NotDone: true}}
		}
		wait = min(2*wait, 30*time.Second)
	}
}
