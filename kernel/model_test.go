package kernel_test

import (
	"context"
	"sync/atomic"
	"testing"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/kernel"
)

// endless is more calls than any list of retries and fallbacks here makes.
const endless = 200

// failing makes a model that gives an error, and counts. A loop that never lets
// time pass would hang the bubble, so the model answers in the end.
func failing(t *testing.T, n *atomic.Int64, err cairn.Error) performer {
	return func(context.Context, kernel.Job) cairn.InputData {
		if n.Add(1) > endless {
			t.Errorf("the model was called more than %d times", endless)
			a := text("Enough.")
			return cairn.ModelOutcome{Answer: &a}
		}
		e := err
		return cairn.ModelOutcome{Error: &e}
	}
}

// A driver that says "cancelled" though nobody stopped it has failed like any
// other: the call is tried again a few times, with pauses, and not without end.
func TestDriverCancels(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		var n atomic.Int64
		w.host.model = failing(t, &n, cairn.Error{Code: cairn.CodeCancelled, Message: "the connection was closed"})
		w.node(kernel.Options{})
		k := w.start("Hi.", true)
		w.until(k, cairn.StatusFailed)
		if n.Load() < 2 {
			t.Errorf("the model was called %d times", n.Load())
		}
		for _, e := range w.history(k) {
			if d, ok := e.Data.(cairn.ModelRetried); ok && d.Error.Code != cairn.CodeUnavailable {
				t.Errorf("recorded as %s", d.Error.Code)
			}
		}
	})
}

// A definition whose fallbacks lead back to the model is refused; one that was
// stored before they were checked comes to the end of its list.
func TestFallbackCycle(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		for _, fallback := range [][]string{
			{"script/one"},
			{"script/two", "script/two"},
			{"script/two", "script/one", "script/three"},
		} {
			a := &cairn.Agent{Name: "a", Model: "script/one", Fallback: fallback}
			if err := a.Validate(); err == nil {
				t.Errorf("fallbacks %v are accepted", fallback)
			}
			w.host.mu.Lock()
			w.agent, w.host.agents[a.Digest()] = a, a
			w.host.mu.Unlock()
			var n atomic.Int64
			w.host.model = failing(t, &n, cairn.Error{Code: cairn.CodeAuth, Message: "the key is not valid"})
			node := w.node(kernel.Options{})
			w.until(w.start("Hi.", true), cairn.StatusFailed)
			_ = node.crash()
		}
	})
}
