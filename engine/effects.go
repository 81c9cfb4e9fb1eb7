package engine

import (
	"encoding/binary"
	"hash/fnv"
	"time"

	"github.com/cairn-run/cairn"
)

// Open derives the work that is to be done now. It is the whole truth about open
// effects: none is stored.
func Open(s State) []cairn.Effect {
	var open []cairn.Effect
	add := func(n cairn.Seq, kind cairn.EffectKind, attempt int) *cairn.Effect {
		open = append(open, cairn.Effect{
			ID: s.effect(n), Seq: n, Session: s.Key, Run: s.Run.ID, Kind: kind, Attempt: attempt,
			Agent: s.Digest, Hold: s.Run.Paused && s.Run.Stop == nil,
		})
		return &open[len(open)-1]
	}
	if m := s.Model; m != nil && !m.Waiting {
		e := add(m.Seq, cairn.EffectModel, m.Attempt)
		e.Stop = m.Stop
		e.Model = &cairn.ModelEffect{Model: m.Model, Purpose: m.Purpose, Manifest: m.Manifest}
	}
	turn := turns{}
	for i := range s.Calls {
		c := &s.Calls[i]
		held := turn.held(c)
		kind := cairn.EffectTool
		switch c.Phase {
		case PhaseReady, PhaseStarted:
		case PhaseReconciling:
			kind = cairn.EffectReconcile
		case PhaseAsking, PhaseUnknown:
			continue
		}
		e := add(c.Seq, kind, c.Attempt)
		e.Stop = c.Stop && kind == cairn.EffectTool
		e.Run, e.NotBefore, e.Hold = c.Run, c.NotBefore, e.Hold || (held && !c.Stop)
		key := c.Key
		if key == "" {
			key = string(e.ID)
		}
		e.Tool = &cairn.ToolEffect{
			Tool: c.Tool, Source: c.Source, Class: c.Class, Args: c.Args, Key: key, Digest: c.Digest, Def: c.Def,
			MustStart: c.Phase == PhaseReady && !c.Class.Repeatable(), Reconcile: c.Reconcile, Timeout: c.Timeout,
		}
		if c.Files != cairn.AccessNone {
			e.Tool.Files, e.Tool.Workspace, e.Tool.Base, e.Tool.Sandbox = c.Files, s.Files.Now, s.Files.Base, s.Files.Sandbox
			e.Tool.Running = s.Files.Running
		}
	}
	if s.Release != 0 {
		add(s.Release, cairn.EffectRelease, 1).Hold = false
	}
	if d := s.Discover; d != nil {
		e := add(d.Seq, cairn.EffectToolset, d.Attempt)
		e.NotBefore, e.Stop = d.NotBefore, d.Stop
	}
	if d := s.Draw; d != nil {
		e := add(d.Seq, cairn.EffectDraw, 1)
		e.Draw = &cairn.DrawEffect{Budgets: d.Budgets, Amount: d.Amount}
		e.Hold = false
	}
	return open
}

// WakeAt is when the session next has to be told the time, because something
// follows from it: an ask expires, the run is over its limit, a model call is
// tried again. Zero: never. When an open effect is due stands with the effect.
func WakeAt(s State) time.Time {
	var at time.Time
	for i := range s.Asks {
		at = earlier(at, s.Asks[i].Expires)
	}
	if s.Run.Active && s.Run.Stop == nil && s.Run.Ending == nil && s.Run.Parked.IsZero() {
		at = earlier(at, s.Run.Deadline)
	}
	// A retry that waits for money or for the end of a pause goes on with that.
	if s.Model != nil && s.Model.Waiting && s.Draw == nil && !s.Run.Paused && !s.budgetAsked() {
		at = earlier(at, s.Model.RetryAt)
	}
	if s.Run.Moved && s.Run.Active && !s.Run.Paused && s.Run.Stop == nil && s.Run.Ending == nil && s.Model == nil &&
		s.Discover == nil && s.Draw == nil && s.batch() == 0 && !s.budgetAsked() { // at once
		at = earlier(at, s.Created)
	}
	return at
}

// Bounds of the retry schedule.
const (
	backoffBase = 500 * time.Millisecond
	backoffMax  = 30 * time.Second
	// maxRetryAfter is the longest wait that another side can ask for.
	maxRetryAfter = 10 * time.Minute
)

// backoff is how long to wait after the given failure: exponential, with a
// jitter between half and all of it that derives from (effect, attempt).
func backoff(id cairn.EffectID, attempt int, asked time.Duration) time.Duration {
	d := backoffMax
	if attempt < 7 {
		d = min(backoffMax, backoffBase<<max(0, attempt-1))
	}
	h := fnv.New64a()
	_, _ = h.Write([]byte(id)) // a hash never fails
	_, _ = h.Write(binary.BigEndian.AppendUint64(nil, uint64(attempt)))
	const steps = 1024
	d = d/2 + d/2*time.Duration(h.Sum64()%steps)/steps
	return max(d, min(asked, maxRetryAfter))
}
