package journaltest

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/journal"
)

// takeOver: four owners take one session from each other 200 times each, and
// each goes on committing with its claim after it has lost it, as a process does
// that was stopped and does not know. What was acknowledged is there once, in
// the place it was given, and nothing else is.
func takeOver(e *env) {
	const owners, turns = 4, 200
	k := key(1)
	e.start(k)
	type said struct {
		epoch uint64
		frame journal.Frame
	}
	var mu sync.Mutex
	var acknowledged []said
	life := 10 * e.soon()
	var wg sync.WaitGroup
	for owner := range owners {
		wg.Go(func() {
			for turn := 0; turn < turns; {
				l, err := e.s.Beat(e.Context(), journal.Lease{}, life)
				if err != nil {
					e.Errorf("join: %v", err)
					return
				}
				claims, err := e.s.Claim(e.Context(), l, journal.Filter{Fold: 1}, 1)
				if errors.Is(err, journal.ErrFenced) {
					continue // it ran out while it waited
				}
				if err != nil {
					e.Errorf("claim: %v", err)
					return
				}
				turn++
				c := claims[0]
				for n := range 60 { // far beyond its life; nobody may be left to take it
					f := frame(c.Next, 1+n%3, fmt.Sprint(owner, " ", turn, " ", n))
					next, err := e.s.Commit(e.Context(), journal.Commit{Claim: c, Frame: f, Busy: true})
					if errors.Is(err, journal.ErrFenced) {
						break
					}
					if err != nil {
						e.Errorf("commit: %v", err)
						return
					}
					mu.Lock()
					acknowledged = append(acknowledged, said{c.Epoch, f})
					mu.Unlock()
					c = next
					pass(life / 5)
				}
			}
		})
	}
	wg.Wait()

	slices.SortFunc(acknowledged, func(a, b said) int { return int(a.frame.First) - int(b.frame.First) })
	history := e.frames(k, 0)
	next, last := cairn.Seq(1), uint64(0)
	for i, f := range history {
		if f.First != next {
			e.Fatalf("event %d follows %d", f.First, next-1)
		}
		next = f.Last() + 1
		if i >= len(acknowledged) {
			e.Fatalf("frame %d was never acknowledged: %s", i, f.Data)
		}
		equal(e, f, acknowledged[i].frame)
		if acknowledged[i].epoch < last {
			e.Fatalf("epoch %d wrote after epoch %d", acknowledged[i].epoch, last)
		}
		last = acknowledged[i].epoch
	}
	equal(e, len(history), len(acknowledged))
	if last < owners*turns {
		e.Fatalf("%d take-overs, want %d", last, owners*turns)
	}
}

// reopen: what was written outlives the store, owners do not.
func reopen(e *env) {
	ctx := e.Context()
	a := e.join(time.Minute)
	c := e.started(a, key(1))
	sum := summary(key(1))
	sum.Title = "kept"
	open := []journal.AskRow{ask(key(1), 1)}
	c = e.commit(journal.Commit{Claim: c, Frame: frame(1, 2, "one"), Taken: []string{"start"}, Open: open, Summary: &sum, Busy: true})
	e.ok(e.s.Deliver(ctx, letter(key(1), "in_1", "hello"), nil))
	timed := e.started(a, key(2))
	e.commit(journal.Commit{Claim: timed, Frame: frame(1, 1, "timed"), Taken: []string{"start"}, WakeAt: time.Now().Add(2 * time.Hour), Release: true})
	idle := e.started(a, key(3))
	e.commit(journal.Commit{Claim: idle, Taken: []string{"start"}})
	drained := e.started(a, key(4))
	e.commit(journal.Commit{Claim: drained, Taken: []string{"start"}, Busy: true, Release: true})
	budgets := []cairn.SharedBudget{{ID: "b", Limit: 10}}
	e.ok(e.s.Draw(ctx, journal.Draw{Tenant: acme, ID: "d", Budgets: budgets, Amount: 7}))
	version := journal.AgentVersion{Name: "support", Digest: "sha256:1", Created: epoch, Data: []byte("{}")}
	e.ok(e.s.PutAgent(ctx, acme, version))
	entries := e.entries(acme, 0)

	e.s = e.h.Reopen(e.T, e.s)
	equal(e, e.frames(key(1), 0), []journal.Frame{frame(1, 2, "one")})
	equal(e, e.summary(key(1)), sum)
	equal(e, e.inbox(key(1)), []string{"in_1"})
	equal(e, e.entries(acme, 0), entries)
	rows, err := e.s.Asks(ctx, acme, journal.AskFilter{})
	e.ok(err)
	equal(e, rows, open)
	e.ok(e.s.Draw(ctx, journal.Draw{Tenant: acme, ID: "d", Budgets: budgets, Amount: 7}))
	drawn, err := e.s.Budget(ctx, acme, "b")
	e.ok(err)
	equal(e, drawn, 7)
	got, err := e.s.Agent(ctx, acme, "support", "")
	e.ok(err)
	equal(e, got, version)
	e.ok(e.s.Deliver(ctx, startLetter(key(1)), nil))
	e.is(e.s.Deliver(ctx, letter(key(1), "in_1", "else"), nil), journal.ErrMismatch)

	b := e.join(24 * time.Hour)
	claims, err := e.s.Claim(ctx, b, journal.Filter{Fold: 1}, 5) // the dead owner's, and what was released with work to do
	e.ok(err)
	slices.SortFunc(claims, func(a, b journal.Claim) int { return strings.Compare(string(a.Session.ID), string(b.Session.ID)) })
	equal(e, claims, []journal.Claim{{Session: key(1), Epoch: 2, Next: 3, Lease: b.ID}, {Session: key(4), Epoch: 2, Next: 1, Lease: b.ID}})
	_, err = e.s.Commit(ctx, journal.Commit{Claim: c, Frame: frame(3, 1, "late")})
	e.is(err, journal.ErrFenced)
	e.ok(e.s.Deliver(ctx, letter(key(1), "in_2", "after it"), nil))
	equal(e, e.inbox(key(1)), []string{"in_1", "in_2"})
	next := e.commit(journal.Commit{Claim: claims[0], Frame: frame(3, 1, "two"), Taken: []string{"in_1", "in_2"}})
	all := e.entries(acme, 0)
	equal(e, len(all), len(entries)+1)
	if last := all[len(all)-1].Position; last <= entries[len(entries)-1].Position {
		e.Fatalf("position %d is not new", last)
	}
	e.release(next)
	claims, err = e.s.Claim(ctx, b, journal.Filter{Fold: 1}, 5) // the timer
	e.ok(err)
	equal(e, claims[0].Session, key(2))
	equal(e, len(e.due(b, 5)), 0)
	e.ok(e.s.Deliver(ctx, letter(key(3), "in_1", "hello"), nil))
	equal(e, e.claim(b).Session, key(3))
}
