package kernel_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/journal"
	"github.com/cairn-run/cairn/kernel"
)

// halting is a store whose third beat takes longer than a lease lives, as for a
// process that was suspended.
type halting struct {
	journal.Store
	beats atomic.Int64
}

func (h *halting) Beat(ctx context.Context, l journal.Lease, ttl time.Duration) (journal.Lease, error) {
	if h.beats.Add(1) == 3 {
		<-time.After(15 * time.Second)
	}
	return h.Store.Beat(ctx, l, ttl)
}

// A process that lost its lease claims its own session again while a call that
// must not be repeated is under way. The query would truly find it not done, so
// nobody asks before the call has ended.
func TestTakeoverFromSelf(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.host.model = says(calls("refund", `{}`))
		var begun, did atomic.Int64
		w.host.tool = func(context.Context, kernel.Job) cairn.InputData {
			begun.Add(1)
			<-time.After(40 * time.Second)
			did.Add(1)
			return done("refunded")
		}
		w.host.query = func(context.Context, kernel.Job) cairn.InputData {
			if begun.Load() != did.Load() {
				t.Error("the query is asked while the call is under way")
			}
			if did.Load() > 0 {
				return cairn.ReconcileOutcome{Finding: cairn.FoundDone}
			}
			return cairn.ReconcileOutcome{Finding: cairn.FoundNotDone}
		}
		store := &halting{Store: w.store}
		w.reopen(store)
		w.node(kernel.Options{})
		k := w.start("Refund.", true)
		w.until(k, cairn.StatusCompleted)
		if store.beats.Load() < 4 || w.count(k, cairn.ToolCallUnknown{}.EventType()) != 1 {
			t.Fatalf("the lease was not lost: %v", w.types(k))
		}
		if did.Load() != 1 {
			t.Errorf("%d refunds were made", did.Load())
		}
		for _, e := range w.history(k) {
			if d, ok := e.Data.(cairn.EffectReconciled); ok && (d.Finding != cairn.FoundDone || d.By != "owner") {
				t.Errorf("reconciled as %s by %s, not as done by the owner", d.Finding, d.By)
			}
		}
		w.has(k, "tool_call.started", "tool_call.unknown", "effect.reconciled", "run.completed")
	})
}
