package kernel_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/kernel"
)

// The wall limit of a run counts from when it starts, not from when its message
// was delivered: no node ran in between.
func TestWallWhileDown(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.use(&cairn.Agent{Name: "a", Model: "script/one", Limits: cairn.Limits{Wall: cairn.Duration(30 * time.Minute)}})
		w.host.model = func(ctx context.Context, j kernel.Job) cairn.InputData {
			select {
			case <-ctx.Done():
				return stopped(j.Effect)
			case <-time.After(5 * time.Second):
			}
			a := text("Hi.")
			return cairn.ModelOutcome{Answer: &a}
		}
		k := w.start("Hi.", true)
		pass(time.Hour)
		w.node(kernel.Options{})
		w.until(k, cairn.StatusCompleted)
	})
}

// The clock ran six hours ahead and is set right while a call fails: its retry is
// due soon, not when the clock is again where it was.
func TestClockBack(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		var ahead atomic.Int64
		ahead.Store(int64(6 * time.Hour))
		for i := range w.host.tools {
			w.host.tools[i].Retries = 3
		}
		w.host.model = says(calls("put", `{}`))
		var n atomic.Int64
		w.host.tool = func(context.Context, kernel.Job) cairn.InputData {
			if n.Add(1) == 1 {
				ahead.Store(0)
				return cairn.ToolOutcome{Error: &cairn.Error{Code: cairn.CodeUnavailable, Retryable: true, NotDone: true, Message: "again"}}
			}
			return done("ok")
		}
		w.node(kernel.Options{Now: func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }})
		k := w.start("Put.", true)
		w.until(k, cairn.StatusCompleted)
		w.has(k, "tool_call.retried", "tool_call.completed", "run.completed")
		var last time.Time
		for _, e := range w.history(k) {
			if e.At.Before(last) {
				t.Errorf("%s is at %s, after %s", e.Type(), e.At, last)
			}
			last = e.At
		}
	})
}
