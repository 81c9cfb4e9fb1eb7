package journaltest

import (
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/journal"
)

func drawAllOrNone(e *env) {
	ctx := e.Context()
	agent, team := cairn.SharedBudget{ID: "agent:support", Limit: 100}, cairn.SharedBudget{ID: "team", Limit: 60}
	draw := func(id string, amount cairn.Money, from ...cairn.SharedBudget) error {
		return e.s.Draw(ctx, journal.Draw{Tenant: acme, ID: id, Budgets: from, Amount: amount})
	}
	drawn := func(agentWant, teamWant cairn.Money) {
		e.Helper()
		for id, want := range map[string]cairn.Money{agent.ID: agentWant, team.ID: teamWant} {
			got, err := e.s.Budget(ctx, acme, id)
			e.ok(err)
			if got != want {
				e.Fatalf("%s: %s drawn, want %s", id, got, want)
			}
		}
	}
	drawn(0, 0)
	e.ok(draw("1", 50, team, agent))
	drawn(50, 50)
	e.ok(draw("1", 50, agent, team)) // the same again
	drawn(50, 50)
	e.is(draw("1", 51, team, agent), journal.ErrMismatch)
	e.is(draw("1", 50, agent), journal.ErrMismatch)
	e.is(draw("2", 11, agent, team), journal.ErrBudget) // team does not hold it: agent keeps it
	drawn(50, 50)
	e.ok(draw("2", 10, agent, team)) // a refused id is free
	drawn(60, 60)
	e.ok(draw("3", 40, agent))
	e.is(draw("4", 1, agent), journal.ErrBudget)
	drawn(100, 60)
	e.ok(draw("5", -30, agent, team))
	e.ok(draw("5", -30, agent, team))
	drawn(70, 30)
	e.ok(draw("6", 30, agent, team))
	drawn(100, 60)
	e.ok(draw("7", 0, agent, team))
	raised := agent
	raised.Limit = 150
	e.ok(draw("8", 50, raised))
	e.ok(draw("9", -10, agent)) // above its limit by now: it may be given back
	e.is(draw("10", 1, agent), journal.ErrBudget)
	drawn(140, 60)
}

// drawConcurrent: many who draw at once get as much as there is, and no more.
func drawConcurrent(e *env) {
	const limit, drawers, each = 100, 16, 20
	b := []cairn.SharedBudget{{ID: "b", Limit: 10 * limit}, {ID: "a", Limit: limit}}
	var got atomic.Int64
	var wg sync.WaitGroup
	for i := range drawers {
		wg.Go(func() {
			b := b
			if i%2 == 1 {
				b = []cairn.SharedBudget{b[1], b[0]} // in another order
			}
			for n := range each {
				d := journal.Draw{Tenant: acme, ID: fmt.Sprint(i, n), Budgets: b, Amount: 3}
				for range 2 { // each one twice
					err := e.s.Draw(e.Context(), d)
					if err != nil {
						if e.Context().Err() == nil {
							e.is(err, journal.ErrBudget)
						}
						break
					}
				}
				if e.s.Draw(e.Context(), d) == nil {
					got.Add(3)
				}
			}
		})
	}
	wg.Wait()
	for _, b := range b {
		drawn, err := e.s.Budget(e.Context(), acme, b.ID)
		e.ok(err)
		equal(e, int64(drawn), got.Load())
	}
	equal(e, got.Load(), limit/3*3)
}
