package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cairn-run/cairn"
	v1 "github.com/cairn-run/cairn/api/v1"
	"github.com/cairn-run/cairn/client"
	"github.com/cairn-run/cairn/engine"
	"github.com/cairn-run/cairn/journal"
	"github.com/cairn-run/cairn/tool"
)

// longSession measures what a long history costs: its tail through the API, and
// its next step, with and without a snapshot of its state.
func longSession(ctx context.Context, b *bench) (_ []row, err error) {
	data, err := b.folder("long")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, b.drop(data)) }()
	if err := script(data, "default: {text: It is on its way.}\n"); err != nil {
		return nil, err
	}
	key := cairn.SessionKey{Tenant: cairn.DefaultTenant, ID: "ses_01ARZ3NDEKTSV4RRFFQ69G5FAV"}
	last, err := b.forge(ctx, data, key)
	if err != nil {
		return nil, err
	}
	var tails []time.Duration
	var steps [2]time.Duration
	for i := range steps { // the release after the first step leaves a snapshot
		s, _, err := b.serve(ctx, data)
		if err != nil {
			return nil, err
		}
		tail, err := s.tail(ctx, key.ID)
		if err == nil {
			tails = append(tails, tail)
			steps[i], err = s.wake(ctx, key.ID)
		}
		if err == nil {
			err = s.until(ctx, "idle", func(x v1.Session) bool { return x.Status == cairn.StatusIdle })
		}
		if err := errors.Join(err, s.stop()); err != nil {
			return nil, err
		}
	}
	name := short(float64(last)) + " events, "
	full := b.Events >= 50_000
	return []row{
		{Name: name + "tail page, first request", Measured: millis(at(tails, 1)), Unit: "ms", Goal: goalIf(full, atMost(300))},
		{Name: name + "claim and step, no snapshot", Measured: millis(steps[0]), Unit: "ms"},
		{Name: name + "claim and step, snapshot", Measured: millis(steps[1]), Unit: "ms", Goal: goalIf(full, atMost(300))},
	}, nil
}

// tail reads the last page of a session.
func (s *server) tail(ctx context.Context, id cairn.SessionID) (time.Duration, error) {
	began := time.Now()
	page, err := s.client.Events(ctx, id, client.EventQuery{Before: 1 << 40, Limit: 100})
	took := time.Since(began)
	if err == nil && (len(page.Events) != 100 || page.Events[99].Seq != page.Last) {
		err = fmt.Errorf("the tail of %s has %d events up to %d of %d", id, len(page.Events), page.Next, page.Last)
	}
	return took, err
}

// wake sends a message to a session and waits until its run has begun.
func (s *server) wake(ctx context.Context, id cairn.SessionID) (time.Duration, error) {
	before, err := s.client.Session(ctx, id)
	if err != nil {
		return 0, err
	}
	began := time.Now()
	if _, err := s.client.Send(ctx, id, v1.PostMessage{Content: v1.Text("And now?")}); err != nil {
		return 0, err
	}
	for time.Since(began) < patience {
		now, err := s.client.Session(ctx, id)
		if err != nil {
			return 0, err
		}
		if now.LastSeq > before.LastSeq {
			return time.Since(began), nil
		}
	}
	return 0, fmt.Errorf("%s did not step within %s", id, patience)
}

// forge writes the history of one session as the kernel would have written it:
// the same steps, the same frames, no snapshot.
func (b *bench) forge(ctx context.Context, data string, key cairn.SessionKey) (_ cairn.Seq, err error) {
	store, j, err := openJournal(ctx, data)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	h, err := newHost(worker(readTool, runTurns))
	if err != nil {
		return 0, err
	}
	// The server that opens the history plays the script.
	a := *h.agent
	a.Model = "script/clerk"
	version, err := versionOf(&a)
	if err != nil {
		return 0, err
	}
	if err := j.PutAgent(ctx, key.Tenant, version); err != nil {
		return 0, err
	}
	if err := start(ctx, j, key, a.Name, version.Digest, false); err != nil {
		return 0, err
	}
	lease, err := j.Beat(ctx, journal.Lease{}, time.Hour)
	if err != nil {
		return 0, err
	}
	claims, err := j.Claim(ctx, lease, journal.Filter{Fold: engine.Version}, 1)
	if err != nil {
		return 0, err
	}
	inbox, err := j.Inputs(ctx, key, 1)
	if err != nil {
		return 0, err
	}
	info, err := instant{}.Info(ctx, "clerk")
	if err != nil {
		return 0, err
	}
	info.Name, info.Provider = a.Model, "script"
	f := &forger{j: j, host: h, claim: claims[0], env: &engine.Env{
		Agent: &a, Tools: h.tools.Tools(&a, nil), Models: []cairn.ModelInfo{info},
	}}
	if err := f.step(ctx, inbox[0], []string{inbox[0].ID}); err != nil {
		return 0, err
	}
	for f.s.Seq < cairn.Seq(b.Events) || f.s.Run.Active {
		if err := f.next(ctx); err != nil {
			return 0, err
		}
	}
	_, err = j.Commit(ctx, journal.Commit{Claim: f.claim, Fold: engine.Version, Release: true})
	return f.s.Seq, err
}

// forger steps one session without performing anything.
type forger struct {
	j     *journal.Journal
	host  *host
	env   *engine.Env
	claim journal.Claim
	s     engine.State
	turns int // of the run
}

// next answers what is open, or says something to an idle session.
func (f *forger) next(ctx context.Context) error {
	open := engine.Open(f.s)
	if len(open) == 0 {
		f.turns = 0
		return f.step(ctx, f.input(cairn.Post{Content: []cairn.Part{cairn.Text("And what about the other one?")}}), nil)
	}
	e := open[0]
	if e.Kind == cairn.EffectTool {
		res, err := f.host.tools.Call(ctx, f.s.Key, f.host.agent, e.Tool, e.ID, e.Attempt, tool.Watch{})
		return f.step(ctx, f.input(cairn.ToolOutcome{Effect: e.ID, Attempt: e.Attempt, Result: res, Error: asError(err)}), nil)
	}
	// The turns of the run are all that the model looks at.
	messages := []cairn.Message{{Role: cairn.RoleUser}}
	for range f.turns {
		messages = append(messages, cairn.Message{Role: cairn.RoleAssistant})
	}
	f.turns++
	answer, err := reply(&cairn.ModelRequest{Model: f.host.agent.Model, Messages: messages})
	if err != nil {
		return err
	}
	answer.Usage = cairn.Usage{Input: f.s.Context.Bytes / 4, Output: 40}
	out := cairn.ModelOutcome{Effect: e.ID, Attempt: e.Attempt, Answer: answer}
	for _, p := range answer.Content {
		if p.Kind == cairn.PartToolCall {
			out.Checks = append(out.Checks, f.host.Check(f.env.Agent, f.env.Tools, f.s.Key, p.Tool, p.Args))
		}
	}
	return f.step(ctx, f.input(out), nil)
}

func (f *forger) input(d cairn.InputData) cairn.Input {
	return cairn.Input{To: f.s.Key, At: time.Now().UTC(), From: cairn.Principal{Kind: "runtime"}, Data: d}
}

// step commits what follows from an input.
func (f *forger) step(ctx context.Context, in cairn.Input, taken []string) error {
	events := engine.Step(f.env, f.s, in)
	if len(events) == 0 {
		return fmt.Errorf("nothing follows from %s at event %d", in.Data.InputKind(), f.s.Seq)
	}
	for _, e := range events {
		f.s = engine.Fold(f.s, e)
	}
	frame, err := f.j.Encode(ctx, f.s.Key.Tenant, events)
	if err != nil {
		return err
	}
	sum := f.s.Summary()
	f.claim, err = f.j.Commit(ctx, journal.Commit{Claim: f.claim, Frame: frame, Taken: taken, Summary: &sum, Fold: engine.Version})
	return err
}
