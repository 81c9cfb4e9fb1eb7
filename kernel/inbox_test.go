package kernel_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/journal"
	"github.com/cairn-run/cairn/kernel"
)

// refusals is a store that counts commits that were refused because an ask was
// decided meanwhile, and gives up when there is no end to them.
type refusals struct {
	journal.Store
	n atomic.Int64
}

func (r *refusals) Commit(ctx context.Context, c journal.Commit) (journal.Claim, error) {
	claim, err := r.Store.Commit(ctx, c)
	if errors.Is(err, journal.ErrDecided) && r.n.Add(1) > 20 {
		return claim, journal.ErrClosed
	}
	return claim, err
}

// A decision that lies behind more inputs than one commit takes is found all the
// same, when a cancel before it would close its ask.
func TestDecidedBehindPage(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.host.model = says(calls("pay", `{"amount":5}`))
		w.askAboutPay()
		n := w.node(kernel.Options{})
		k := w.start("Pay.", true)
		w.until(k, cairn.StatusWaiting)
		_ = n.crash()
		w.send(k, cairn.Control{Action: cairn.ControlCancel})
		for i := range 200 {
			w.say(k, fmt.Sprint("message ", i))
		}
		if err := w.decide(k, w.ask(k).ID, cairn.VerbApprove); err != nil {
			t.Fatal(err)
		}
		store := &refusals{Store: w.store}
		w.reopen(store)
		w.node(kernel.Options{})
		w.until(k, cairn.StatusCancelled)
		if store.n.Load() == 0 {
			t.Error("no commit was refused: the decision was not behind the page")
		}
		for _, e := range w.history(k) {
			if d, ok := e.Data.(cairn.AskResolved); ok && d.Status != cairn.AskApproved {
				t.Errorf("the ask is %s in the history, and was approved", d.Status)
			}
		}
	})
}

// A session that cannot be stepped is tried again; it does not end the node, and
// the others go on.
func TestPoisonedInput(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		sick := w.start("Put.", true)
		said := says(calls("put", `{}`))
		w.host.model = func(ctx context.Context, j kernel.Job) cairn.InputData {
			if j.Effect.Session == sick {
				return said(ctx, j)
			}
			a := text("Fine.")
			return cairn.ModelOutcome{Answer: &a}
		}
		var healed atomic.Bool
		w.host.verdict = func(tool, args string) cairn.Check {
			if !healed.Load() {
				panic("the schema library")
			}
			return allow(tool, args)
		}
		w.node(kernel.Options{})
		w.until(sick, cairn.StatusRunning)
		w.until(w.start("Hi.", true), cairn.StatusCompleted)
		if s := w.status(sick); s.Final() {
			t.Fatalf("the session that panics is %s", s)
		}
		healed.Store(true)
		w.until(sick, cairn.StatusCompleted)
		w.nothingLost(sick)
	})
}
