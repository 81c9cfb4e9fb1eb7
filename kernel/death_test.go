package kernel_test

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/journal"
	"github.com/cairn-run/cairn/kernel"
)

// drain lets a kernel finish, for at most so long.
func (n *node) drain(d time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	n.Drain(ctx)
}

// slow is a performer that takes its time, and stops when it is told to.
func slow(d time.Duration) performer {
	return func(ctx context.Context, j kernel.Job) cairn.InputData {
		select {
		case <-time.After(d):
			return done("ok")
		case <-ctx.Done():
			return stopped(j.Effect)
		}
	}
}

// A drain lets what is under way finish and begins nothing new; the next process
// goes on, and no model call is lost on the way.
func TestDrain(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.host.model = says(calls("look", `{}`, "pay", `{}`), calls("put", `{}`))
		w.host.tool = slow(5 * time.Second)
		n := w.node(kernel.Options{})
		k := w.start("Go.", true)
		w.until(k, cairn.StatusRunning)
		before := time.Now()
		n.drain(time.Minute)
		if took := time.Since(before); took > 6*time.Second {
			t.Errorf("the drain took %s", took)
		}
		if got := w.count(k, "tool_call.completed"); got != 2 {
			t.Errorf("%d calls are recorded, not 2", got)
		}
		if got := w.host.performed("put"); got != 0 {
			t.Errorf("a new call was begun while draining")
		}
		select {
		case <-n.ended:
		default:
			t.Error("Run has not returned")
		}
		w.node(kernel.Options{})
		before = time.Now()
		w.until(k, cairn.StatusCompleted)
		if took := time.Since(before); took > 8*time.Second {
			t.Errorf("the next process needed %s: it waited for a lease", took)
		}
		w.nothingLost(k)
	})
}

// At the deadline of a drain the rest is stopped, how it stopped is recorded, and
// the next process does it again.
func TestDrainDeadline(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.host.model = says(calls("look", `{}`))
		w.host.tool = slow(time.Hour)
		n := w.node(kernel.Options{})
		k := w.start("Go.", true)
		w.until(k, cairn.StatusRunning)
		before := time.Now()
		n.drain(3 * time.Second)
		if took := time.Since(before); took > 4*time.Second {
			t.Errorf("the drain took %s", took)
		}
		w.has(k, "tool_call.requested", "tool_call.retried")
		w.host.tool = slow(time.Second)
		w.node(kernel.Options{})
		w.until(k, cairn.StatusCompleted)
		w.has(k, "tool_call.retried", "tool_call.completed", "run.completed")
		w.nothingLost(k)
	})
}

// A model call that a drain stopped is made again by the next process, not lost.
func TestDrainModel(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		var asked atomic.Int64
		w.host.model = func(ctx context.Context, j kernel.Job) cairn.InputData {
			if asked.Add(1) == 1 {
				<-ctx.Done()
				out := stopped(j.Effect).(cairn.ModelOutcome)
				out.Error.NotDone = true // nothing was sent yet
				return out
			}
			a := text("Done.")
			return cairn.ModelOutcome{Answer: &a}
		}
		n := w.node(kernel.Options{})
		k := w.start("Go.", true)
		w.until(k, cairn.StatusRunning)
		n.drain(3 * time.Second)
		if got := asked.Load(); got != 1 {
			t.Errorf("the model was asked %d times before the end", got)
		}
		w.node(kernel.Options{})
		w.until(k, cairn.StatusCompleted)
		w.nothingLost(k)
	})
}

// A drain that comes while sessions are claimed lets them all go.
func TestDrainWhileClaiming(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.host.model = says(calls("look", `{}`))
		for range 300 {
			w.start("Go.", true)
		}
		n := w.node(kernel.Options{})
		n.drain(time.Minute)
		before := time.Now()
		w.node(kernel.Options{})
		for _, k := range w.sessions {
			w.until(k, cairn.StatusCompleted)
			w.nothingLost(k)
		}
		if took := time.Since(before); took > 5*time.Second {
			t.Errorf("the next process needed %s: it waited for a lease", took)
		}
	})
}

// late is a store that hands out claims only when it is let.
type late struct {
	journal.Store
	let chan struct{}
}

func (l *late) Claim(ctx context.Context, lease journal.Lease, f journal.Filter, limit int) ([]journal.Claim, error) {
	claims, err := l.Store.Claim(ctx, lease, f, limit)
	<-l.let
	return claims, err
}

// A claim that was under way when the drain began is let go like the others.
func TestDrainClaimsLate(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		plain := w.store
		store := &late{Store: plain, let: make(chan struct{})}
		w.reopen(store)
		k := w.start("Go.", true)
		n := w.node(kernel.Options{})
		synctest.Wait()
		drained := make(chan struct{})
		go func() {
			defer close(drained)
			n.drain(time.Minute)
		}()
		synctest.Wait()
		close(store.let)
		<-drained
		w.reopen(plain)
		w.node(kernel.Options{})
		before := time.Now()
		w.until(k, cairn.StatusCompleted)
		if took := time.Since(before); took > 5*time.Second {
			t.Errorf("the next process needed %s: it waited for a lease", took)
		}
		w.nothingLost(k)
	})
}

// A model call in flight when its process dies is lost once, and settled at what
// was reserved for it.
func TestCrashInModelCall(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.host.model = func(ctx context.Context, j kernel.Job) cairn.InputData {
			if j.Effect.Attempt == 1 {
				<-ctx.Done()
				return stopped(j.Effect)
			}
			a := text("Done.")
			return cairn.ModelOutcome{Answer: &a}
		}
		n := w.node(kernel.Options{})
		k := w.start("Go.", true)
		w.until(k, cairn.StatusRunning)
		_ = n.crash()
		w.node(kernel.Options{})
		w.until(k, cairn.StatusCompleted)
		var reserved cairn.Money
		for _, e := range w.history(k) {
			switch d := e.Data.(type) {
			case cairn.ModelRequested:
				reserved = d.Reserved
			case cairn.ModelRetried:
				if d.Cost != reserved || d.Status != cairn.CostEstimated {
					t.Errorf("the lost call is settled at %s (%s); %s was reserved", d.Cost, d.Status, reserved)
				}
			case cairn.RunCompleted:
				if d.Summary.LostCalls != 1 {
					t.Errorf("%d calls are lost", d.Summary.LostCalls)
				}
			}
		}
	})
}

// After a crash, what may be repeated is; what was not begun is begun; what was
// begun and must not be repeated is unknown, and found out.
func TestCrashInToolCalls(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.host.model = says(calls("look", `{}`, "pay", `{}`, "refund", `{}`))
		w.host.tool = held(nil)
		n := w.node(kernel.Options{})
		k := w.start("Go.", true)
		w.until(k, cairn.StatusRunning)
		w.has(k, "tool_call.started", "tool_call.started")
		_ = n.crash()
		w.host.begun = map[string]int{} // a read is done again in the same attempt
		w.host.tool = slow(time.Second)
		w.node(kernel.Options{})
		w.until(k, cairn.StatusWaiting)
		w.has(k, "tool_call.unknown", "tool_call.unknown", "effect.reconciled", "tool_call.completed")
		if err := w.decide(k, w.ask(k).ID, cairn.VerbApprove); err != nil {
			t.Fatal(err)
		}
		w.until(k, cairn.StatusCompleted)
		if pays := w.host.performed("pay"); pays != 1 {
			t.Errorf("pay was called %d times", pays)
		}
	})
}

var errNet = errors.New("the network is down")

// An owner that lost its lease without knowing still reports what it learnt about
// a call that must not be repeated; nobody has to be asked.
func TestFencedOutcome(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.host.model = says(calls("pay", `{}`, "look", `{}`))
		w.host.tool = func(ctx context.Context, j kernel.Job) cairn.InputData {
			if j.Effect.Tool.Tool == "pay" {
				return slow(time.Minute)(ctx, j)
			}
			return slow(time.Second)(ctx, j)
		}
		plain := w.store
		shut := &gate{Store: plain}
		w.reopen(shut)
		w.node(kernel.Options{})
		k := w.start("Go.", true)
		w.until(k, cairn.StatusRunning)
		w.has(k, "tool_call.started")
		shut.beat.Store(&errNet)
		w.reopen(plain)
		w.node(kernel.Options{})
		w.until(k, cairn.StatusWaiting)
		w.has(k, "tool_call.unknown", "ask.opened")
		w.until(k, cairn.StatusCompleted)
		w.has(k, "tool_call.unknown", "ask.opened", "ask.resolved", "effect.reconciled", "run.completed")
		if w.host.performed("pay") != 1 {
			t.Errorf("pay was called %d times", w.host.performed("pay"))
		}
	})
}

// The same, when the owner is told that its lease ran out and claims anew.
func TestFencedAndBack(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.host.model = says(calls("pay", `{}`))
		w.host.tool = slow(time.Minute)
		shut := &gate{Store: w.store}
		w.reopen(shut)
		w.node(kernel.Options{})
		k := w.start("Go.", true)
		w.until(k, cairn.StatusRunning)
		shut.beat.Store(&errNet)
		pass(20 * time.Second)
		shut.beat.Store(nil)
		w.until(k, cairn.StatusCompleted)
		w.has(k, "tool_call.started", "tool_call.unknown", "effect.reconciled", "run.completed")
	})
}

// While the lease is not certain to hold, nothing is begun.
func TestSelfFencing(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.host.model = says(calls("pay", `{}`))
		w.askAboutPay()
		plain := w.store
		shut := &gate{Store: plain}
		w.reopen(shut)
		w.node(kernel.Options{LeaseTTL: 10 * time.Second})
		k := w.start("Go.", true)
		w.until(k, cairn.StatusWaiting)
		shut.beat.Store(&errNet)
		// The last beat was at most 3.4 s ago: 8 s after it the store still holds the
		// lease, and the owner no longer trusts it.
		pass(8500 * time.Millisecond)
		if err := w.decide(k, w.ask(k).ID, cairn.VerbApprove); err != nil {
			t.Fatal(err)
		}
		pass(time.Minute)
		if got := w.host.performed("pay"); got != 0 {
			t.Fatalf("pay was called %d times without a lease", got)
		}
		w.reopen(plain)
		w.node(kernel.Options{})
		w.until(k, cairn.StatusCompleted)
		if got := w.host.performed("pay"); got != 1 {
			t.Errorf("pay was called %d times", got)
		}
	})
}

// slowed is a store that takes its time over the commit that records a start.
type slowed struct {
	journal.Store
	by time.Duration
}

func (s *slowed) Commit(ctx context.Context, c journal.Commit) (journal.Claim, error) {
	if bytes.Contains(c.Frame.Data, []byte(`"tool_call.started"`)) {
		<-time.After(s.by)
	}
	return s.Store.Commit(ctx, c)
}

// A start that is recorded when the lease is no longer certain is taken back: the
// call is not made, and nobody has to wonder.
func TestStartedTooLate(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.host.model = says(calls("pay", `{}`))
		shut := &gate{Store: w.store}
		w.reopen(&slowed{Store: shut, by: 9 * time.Second})
		w.node(kernel.Options{LeaseTTL: 10 * time.Second})
		k := w.start("Go.", true)
		synctest.Wait()
		shut.beat.Store(&errNet) // before the first renewal
		pass(9500 * time.Millisecond)
		if got := w.host.performed("pay"); got != 0 {
			t.Fatalf("pay was called %d times without a lease", got)
		}
		w.has(k, "tool_call.started", "tool_call.retried")
		shut.beat.Store(nil)
		w.until(k, cairn.StatusCompleted)
		w.has(k, "tool_call.started", "tool_call.retried", "tool_call.started", "tool_call.completed")
	})
}

// Two kernels take sessions from each other while their leases come and go:
// nothing that must not be repeated is, and everything comes to its end.
func TestTwoKernels(t *testing.T) {
	for seed := range uint64(4) {
		bubbleOf(t, "seed", seed, func(t *testing.T, w *world) {
			r := rand.New(rand.NewPCG(seed, 1))
			w.host.model = says(calls("pay", `{"n":1}`, "look", `{}`), calls("refund", `{}`), calls("pay", `{"n":2}`))
			w.host.tool = func(ctx context.Context, j kernel.Job) cairn.InputData {
				if !j.Effect.Tool.Class.Repeatable() {
					return slow(time.Duration(len(j.Effect.ID))*100*time.Millisecond)(ctx, j)
				}
				return slow(time.Second)(ctx, j)
			}
			w.host.repeats = true
			plain := w.store
			var gates []*gate
			for range 2 {
				g := &gate{Store: plain}
				gates = append(gates, g)
				w.reopen(g)
				w.node(kernel.Options{})
			}
			w.reopen(plain)
			for range 60 {
				w.start("Go.", true)
			}
			for range 40 {
				g := gates[r.IntN(2)]
				if r.IntN(2) == 0 {
					g.beat.Store(&errNet)
				} else {
					g.beat.Store(nil)
				}
				pass(time.Duration(r.IntN(15000)) * time.Millisecond)
			}
			for _, g := range gates {
				g.beat.Store(nil)
			}
			for _, k := range w.sessions {
				for range 1000 {
					if w.status(k).Final() {
						break
					}
					for _, a := range w.asks(k) {
						_ = w.decide(k, a.ID, cairn.VerbApprove) // it may be closed by now: the outcome came
					}
					pass(time.Second)
				}
				if got := w.status(k); got != cairn.StatusCompleted {
					t.Fatalf("%s is %s: %v", k, got, w.types(k))
				}
			}
			synctest.Wait()
		})
	}
}
