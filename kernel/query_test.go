package kernel_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/kernel"
)

// lostRefund makes every refund end without anyone knowing whether it took place.
func (w *world) lostRefund() {
	w.host.model = says(calls("refund", `{}`))
	w.host.tool = func(context.Context, kernel.Job) cairn.InputData {
		return cairn.ToolOutcome{Error: cairn.Errorf(cairn.CodeUnknown, "no answer")}
	}
}

// A query that fails in a way that may pass is asked again before a person is.
func TestReconcileRetry(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.lostRefund()
		var asked atomic.Int64
		w.host.query = func(context.Context, kernel.Job) cairn.InputData {
			if asked.Add(1) == 1 {
				return cairn.ReconcileOutcome{Finding: cairn.FoundUnclear, Error: &cairn.Error{
					Code: cairn.CodeUnavailable, Retryable: true, NotDone: true, Message: "connection refused",
				}}
			}
			return cairn.ReconcileOutcome{Finding: cairn.FoundDone}
		}
		w.node(kernel.Options{})
		k := w.start("Refund.", true)
		w.until(k, cairn.StatusCompleted)
		w.has(k, "tool_call.unknown", "effect.reconciled", "run.completed")
		if w.count(k, cairn.AskOpened{}.EventType()) != 0 || asked.Load() != 2 {
			t.Errorf("the query was asked %d times: %v", asked.Load(), w.types(k))
		}
	})
}

// One that never answers is given up, and a person is asked.
func TestReconcileGivesUp(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.lostRefund()
		var asked atomic.Int64
		w.host.query = func(context.Context, kernel.Job) cairn.InputData {
			asked.Add(1)
			return cairn.ReconcileOutcome{Finding: cairn.FoundUnclear, Error: &cairn.Error{
				Code: cairn.CodeUnavailable, Retryable: true, NotDone: true, Message: "connection refused",
			}}
		}
		w.node(kernel.Options{})
		k := w.start("Refund.", true)
		w.until(k, cairn.StatusWaiting)
		if a := w.ask(k); a.Kind != cairn.AskUnknown || asked.Load() < 2 {
			t.Errorf("%s is asked after %d queries", a.Kind, asked.Load())
		}
	})
}

// A query that a drain stops is asked by the next owner: that it was stopped is
// no reason to ask a person.
func TestDrainReconcile(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.lostRefund()
		var asked atomic.Int64
		w.host.query = func(ctx context.Context, _ kernel.Job) cairn.InputData {
			asked.Add(1)
			select {
			case <-ctx.Done():
				return cairn.ReconcileOutcome{Finding: cairn.FoundUnclear, Error: &cairn.Error{Code: cairn.CodeCancelled, Message: "stopped"}}
			case <-time.After(10 * time.Second):
				return cairn.ReconcileOutcome{Finding: cairn.FoundDone}
			}
		}
		n := w.node(kernel.Options{})
		k := w.start("Refund.", true)
		pass(time.Second)
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		n.Drain(ctx)
		w.node(kernel.Options{})
		w.until(k, cairn.StatusCompleted)
		w.has(k, "tool_call.unknown", "effect.reconciled", "run.completed")
		if w.count(k, cairn.AskOpened{}.EventType()) != 0 || asked.Load() != 2 {
			t.Errorf("the query was asked %d times: %v", asked.Load(), w.types(k))
		}
	})
}
