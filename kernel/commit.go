package kernel

import (
	"context"
	"encoding/json"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/engine"
	"github.com/cairn-run/cairn/internal/failpoint"
	"github.com/cairn-run/cairn/journal"
)

// commit steps a batch and makes what follows durable in one transaction. When
// there is nothing to do afterwards, the claim is released with it.
func (o *owner) commit(ctx context.Context, b batch) (released bool, err error) {
	s := o.s
	var events []cairn.Event
	var open []journal.AskRow
	var closed []journal.AskClose
	failpoint.Hit(failpoint.StepBefore)
	for _, in := range b.inputs {
		if err := o.prepare(ctx, &s, &in); err != nil {
			o.nudge()
			return false, err
		}
		for _, e := range engine.Step(o.env, s, in) {
			s = engine.Fold(s, e)
			events = append(events, e)
			open, closed = o.asks(in, e, open, closed)
		}
	}
	failpoint.Hit(failpoint.StepAfter)
	if len(b.inputs) > 0 {
		if _, ok := b.inputs[0].Data.(cairn.Takeover); ok && len(events) > 0 {
			failpoint.Hit(failpoint.TakeoverStepped)
		}
	}

	work, now := engine.Open(s), o.k.o.Now()
	wake := engine.WakeAt(s)
	release := o.idle(s, busy(work, now) || (!wake.IsZero() && !wake.After(now)), b.outcomes)
	if len(events) == 0 && len(b.taken) == 0 && !release {
		o.work = work
		o.dropOutcomes(b.outcomes)
		return false, nil
	}
	frame, err := o.k.j.Encode(ctx, o.key.Tenant, events)
	if err != nil {
		o.nudge()
		return false, err
	}
	c := journal.Commit{
		Claim: o.claim, Frame: frame, Taken: b.taken, Open: open, Close: closed, WakeAt: timer(s, work, now),
		Fold: engine.Version, Busy: busy(work, now), Release: release,
	}
	if len(events) > 0 {
		sum := s.Summary()
		c.Summary = &sum
	}
	hitCommit(events, release)
	failpoint.Hit(failpoint.CommitBefore)
	claim, err := o.k.j.Commit(ctx, c)
	if err != nil {
		o.nudge() // the inputs are still in the inbox
		return false, err
	}
	failpoint.Hit(failpoint.CommitAfter)
	o.claim, o.s, o.work = claim, s, work
	o.h.add(events)
	o.dropOutcomes(b.outcomes)
	if len(events) > 0 {
		o.k.live.Advance(o.key, s.Seq, answered(events)...)
	}
	if release {
		failpoint.Hit(failpoint.ReleaseAfter)
		o.snapshot(ctx, o.k.o.SnapshotLag)
		o.k.cache.put(o.s, o.h)
	} else {
		o.snapshot(ctx, 10*o.k.o.SnapshotLag) // a long run that is killed is not read from its start
	}
	return release, nil
}

// dropOutcomes forgets the first n outcomes: they are recorded, or change nothing.
func (o *owner) dropOutcomes(n int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, in := range o.done[:n] {
		delete(o.once, effectOf(in.Data))
	}
	o.done = o.done[n:]
	if len(o.done) == 0 {
		o.done = nil
	}
}

// idle says whether the claim can be let go: nothing is under way, nothing was
// learnt beyond this batch, and nothing is to be begun before a timer or an input.
// A model call is not left open without being begun: the next owner would have to
// take it for lost.
func (o *owner) idle(s engine.State, due bool, outcomes int) bool {
	o.mu.Lock()
	open := len(o.begun) > 0 || len(o.done) > outcomes
	o.mu.Unlock()
	return !open && (s.Model == nil || s.Model.Waiting) && (o.k.draining() || !due)
}

// asks keeps the rows of asks in step with the events.
func (o *owner) asks(in cairn.Input, e cairn.Event, open []journal.AskRow, closed []journal.AskClose) ([]journal.AskRow, []journal.AskClose) {
	done := func(id cairn.AskID, st cairn.AskStatus) {
		for i := range open { // opened and closed in one step: nobody ever saw it
			if open[i].Ask.ID == id {
				open[i].Status, open[i].By, open[i].Decided = st, in.From, e.At
				return
			}
		}
		closed = append(closed, journal.AskClose{Session: o.key, ID: id, Status: st, By: in.From, At: e.At})
	}
	switch d := e.Data.(type) {
	case cairn.AskOpened:
		open = append(open, journal.AskRow{Session: o.key, Ask: d.Ask, Status: cairn.AskOpen})
	case cairn.AskExpired:
		done(d.Ask, cairn.AskLapsed)
	case cairn.AskResolved:
		if by, ok := in.Data.(cairn.Decide); !ok || by.Ask != d.Ask { // a decision closed its row when it was delivered
			done(d.Ask, d.Status)
		}
	}
	return open, closed
}

// answered lists the effects whose open answer is recorded or given up.
func answered(events []cairn.Event) []cairn.EffectID {
	var ids []cairn.EffectID
	for _, e := range events {
		switch e.Data.(type) {
		case cairn.ModelCompleted, cairn.ModelFailed, cairn.ModelRetried,
			cairn.ToolCallCompleted, cairn.ToolCallFailed, cairn.ToolCallRetried, cairn.ToolCallUnknown:
			ids = append(ids, e.Step)
		}
	}
	return ids
}

// snapshot writes the state beside the log, if there are enough events since the
// last one.
func (o *owner) snapshot(ctx context.Context, lag int) {
	if o.s.Seq < o.snapped+cairn.Seq(lag) {
		return
	}
	o.snapped = o.s.Seq
	failpoint.Hit(failpoint.SnapshotBefore)
	b, err := json.Marshal(o.s)
	if err == nil {
		err = o.k.j.PutSnapshot(ctx, o.key, journal.Snapshot{Seq: o.s.Seq, Fold: engine.Version, Data: b})
	}
	if err != nil && ctx.Err() == nil {
		o.k.o.Logger.Warn("no snapshot", "session", o.key, "err", err)
	}
	failpoint.Hit(failpoint.SnapshotAfter)
}

// hitCommit passes the failpoints of what is about to be committed.
func hitCommit(events []cairn.Event, release bool) {
	if !failpoint.Enabled {
		return
	}
	for _, e := range events {
		switch e.Data.(type) {
		case cairn.SessionCreated:
			failpoint.Hit(failpoint.CommitStart)
		case cairn.ModelCompleted:
			failpoint.Hit(failpoint.CommitModel)
		case cairn.ToolCallCompleted, cairn.ToolCallFailed:
			failpoint.Hit(failpoint.CommitTool)
		case cairn.ToolCallStarted:
			failpoint.Hit(failpoint.CommitStarted)
		case cairn.AskOpened:
			failpoint.Hit(failpoint.CommitAsk)
		case cairn.AskResolved:
			failpoint.Hit(failpoint.CommitDecision)
		case cairn.RunCompleted, cairn.RunFailed, cairn.RunCancelled:
			failpoint.Hit(failpoint.CommitEnd)
		case cairn.ModelRetried, cairn.ToolCallRetried:
			failpoint.Hit(failpoint.CommitRetry)
		case cairn.ToolCallUnknown:
			failpoint.Hit(failpoint.CommitUnknown)
		case cairn.EffectReconciled:
			failpoint.Hit(failpoint.CommitReconcile)
		}
	}
	if release {
		failpoint.Hit(failpoint.CommitRelease)
	}
}
