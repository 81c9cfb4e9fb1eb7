package main

import (
	"context"
	"os"
	"path/filepath"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/examples/stage"
)

const task = "Card payments fail since a few minutes. Find out why and get them going again."

// decision is what the person does when the restart is to be approved.
type decision string

const (
	approved  decision = "approve"
	rejected  decision = "reject"
	cancelled decision = "cancel" // the whole session, while the question is open
)

// Exit codes of the command line; see cairn help.
const (
	exitWaiting   = 3
	exitCancelled = 4
)

// played is what came of it.
type played struct {
	restarts []restart
	muted    bool
	unmuted  int
	events   map[cairn.EventType]int
	answer   string // the last
}

func play(ctx context.Context, s *stage.Stage, example string, way decision, ops *service) (*played, error) {
	if err := s.Agent(filepath.Join(example, "incident.md"), "127.0.0.1:7721", ops.addr); err != nil {
		return nil, err
	}
	if err := os.CopyFS(filepath.Join(s.Dir(), "case", "logs"), os.DirFS(filepath.Join(example, "logs"))); err != nil {
		return nil, err
	}
	s.Say("1. An agent looks for the cause of an outage. It may not restart a database, and asks before it changes anything.")
	if err := s.Cairn(ctx, exitWaiting, "run", "incident.md", "--once", "--workspace", "case", "--input", task); err != nil {
		return nil, err
	}
	if err := decide(ctx, s, way); err != nil {
		return nil, err
	}
	s.Say("Checked, against what the service saw.")
	out := &played{events: map[cairn.EventType]int{}}
	x, err := s.Session(ctx)
	if err != nil {
		return nil, err
	}
	events, err := s.Events(ctx, x.ID)
	if err != nil {
		return nil, err
	}
	for _, e := range events {
		out.events[e.Type()]++
		if d, ok := e.Data.(cairn.ModelCompleted); ok {
			out.answer = cairn.TextOf(d.Answer.Content)
		}
	}
	out.restarts, out.muted, out.unmuted = ops.seen()
	check(s, way, out)
	return out, s.Checked()
}

// decide does what the person does.
func decide(ctx context.Context, s *stage.Stage, way decision) error {
	if way == cancelled {
		s.Say("2. A person stops everything.")
		if err := s.Cairn(ctx, 0, "cancel", "last"); err != nil {
			return err
		}
		return s.Cairn(ctx, exitCancelled, "attach", "last")
	}
	s.Say("2. A person answers.")
	if err := s.Cairn(ctx, 0, "answer", "last", "Restart it"); err != nil {
		return err
	}
	if err := s.Cairn(ctx, exitWaiting, "attach", "last"); err != nil {
		return err
	}
	if way == rejected {
		s.Say("3. What an answer allowed the policy still asks for. This time: no.")
		if err := s.Cairn(ctx, 0, "reject", "last", "--reason", "a large customer is in the middle of a payout"); err != nil {
			return err
		}
		return s.Cairn(ctx, 0, "attach", "last")
	}
	s.Say("3. What an answer allowed the policy still asks for, with the exact arguments. Approved; then the connection breaks.")
	if err := s.Cairn(ctx, 0, "approve", "last"); err != nil {
		return err
	}
	return s.Cairn(ctx, 0, "attach", "last")
}

func check(s *stage.Stage, way decision, p *played) {
	s.Expect(!p.muted && p.unmuted == 1, "the alerts are let through again: the hook ran, once")
	if way != cancelled {
		s.Expect(p.events["tool_call.denied"] >= 1, "the restart of the database was denied")
	}
	if way != approved {
		s.Expect(len(p.restarts) == 0, "nothing was restarted")
		return
	}
	once := len(p.restarts) == 1 && p.restarts[0].Instance == "payments-2"
	s.Expect(once && p.restarts[0].Key != "", "payments-2 was restarted exactly once, under an idempotency key")
	s.Expect(p.events["tool_call.unknown"] == 1 && p.events["effect.reconciled"] == 1, "its lost answer was recorded as unknown, and found out by a query")
	s.Expect(p.events["ask.opened"] == 2 && p.events["ask.resolved"] == 2, "a person answered one question and gave one approval")
	s.Expect(p.events["plan.updated"] == 3, "the hypotheses are in the journal, with what became of them")
	s.Expect(p.events["run.completed"] == 1, "the run completed")
}
