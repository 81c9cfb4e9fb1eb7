package kernel_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/journal"
	"github.com/cairn-run/cairn/kernel"
)

// returns checks that a drain comes to its end though a session cannot.
func (n *node) returns(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	ended := make(chan struct{})
	go func() { defer close(ended); n.Drain(ctx) }()
	pass(24 * time.Hour)
	select {
	case <-ended:
	default:
		t.Error("the drain has not returned after a day")
	}
	_ = n.crash()
	<-ended
}

// A drain ends when its time is up, whatever keeps a session from going on.
func TestDrainReturns(t *testing.T) {
	t.Run("full disk", func(t *testing.T) {
		bubble(t, func(t *testing.T, w *world) {
			w.host.model = func(context.Context, kernel.Job) cairn.InputData {
				<-time.After(3 * time.Second)
				a := text("Late.")
				return cairn.ModelOutcome{Answer: &a}
			}
			plain := w.store
			shut := &gate{Store: plain}
			w.reopen(shut)
			n := w.node(kernel.Options{})
			k := w.start("Hi.", true)
			pass(time.Second)
			shut.commit.Store(&journal.ErrFull)
			n.returns(t)
			w.reopen(plain)
			w.node(kernel.Options{})
			w.until(k, cairn.StatusCompleted)
		})
	})
	t.Run("no definition", func(t *testing.T) {
		bubble(t, func(t *testing.T, w *world) {
			var down atomic.Bool
			down.Store(true)
			w.host.agentErr = func() error {
				if down.Load() {
					return errors.New("the catalogue cannot be read")
				}
				return nil
			}
			n := w.node(kernel.Options{})
			k := w.start("Hi.", true)
			pass(time.Second)
			n.returns(t)
			down.Store(false)
			w.node(kernel.Options{})
			w.until(k, cairn.StatusCompleted)
		})
	})
}
