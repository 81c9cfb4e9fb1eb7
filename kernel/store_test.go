package kernel_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/engine"
	"github.com/cairn-run/cairn/journal"
	"github.com/cairn-run/cairn/journal/sqlite"
	"github.com/cairn-run/cairn/kernel"
)

// Commits fail at random, without a trace or after all: what was learnt is not
// lost and not recorded twice, and what is under way is not begun again.
func TestFaultyCommits(t *testing.T) {
	for seed := range uint64(6) {
		bubbleOf(t, "seed", seed, func(t *testing.T, w *world) {
			r := rand.New(rand.NewPCG(seed, 2))
			w.host.model = says(calls("look", `{}`, "put", `{}`, "look", `{"q":2}`), calls("put", `{}`), calls("look", `{}`))
			w.host.tool = func(ctx context.Context, j kernel.Job) cairn.InputData {
				return slow(time.Duration(1+len(j.Effect.Tool.Args))*100*time.Millisecond)(ctx, j)
			}
			store := newFaulty(w.store, seed, 0.3, journal.ErrUnknown, journal.ErrUnknown, journal.ErrFull, errors.New("the disk hums"))
			w.reopen(store)
			w.node(kernel.Options{})
			for range 50 {
				w.start("Go.", true)
				pass(time.Duration(r.IntN(200)) * time.Millisecond)
			}
			for _, k := range w.sessions {
				w.until(k, cairn.StatusCompleted)
				w.nothingLost(k) // not begun is not lost
				if got := w.count(k, "tool_call.completed"); got != 5 {
					t.Errorf("%s: %d calls completed, not 5: %v", k, got, w.types(k))
				}
			}
			if len(store.hits) < 4 {
				t.Errorf("only these faults struck: %v", store.hits)
			}
		})
	}
}

// The same with calls that must not be repeated: each is made exactly once, and
// its owner knows what became of it.
func TestFaultyCommitsOnce(t *testing.T) {
	for seed := range uint64(6) {
		bubbleOf(t, "seed", seed, func(t *testing.T, w *world) {
			w.host.model = says(calls("pay", `{"n":1}`, "look", `{}`), calls("pay", `{"n":2}`), calls("refund", `{}`))
			w.host.tool = slow(time.Second)
			w.reopen(newFaulty(w.store, seed, 0.25, journal.ErrUnknown))
			w.node(kernel.Options{})
			for range 50 {
				w.start("Go.", true)
			}
			for _, k := range w.sessions {
				w.until(k, cairn.StatusCompleted)
				w.nothingLost(k)
				if got := w.count(k, "tool_call.unknown"); got != 0 {
					t.Errorf("%s: %d calls are unknown to the owner that made them", k, got)
				}
			}
			if got := w.host.performed("pay") + w.host.performed("refund"); got != 3*50 {
				t.Errorf("%d calls were made, not %d", got, 3*50)
			}
		})
	}
}

// While the storage is full nothing is lost, and work goes on when there is space.
func TestFull(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		shut := &gate{Store: w.store}
		w.reopen(shut)
		w.host.model = says(calls("pay", `{}`, "look", `{}`))
		w.host.tool = slow(5 * time.Second)
		w.node(kernel.Options{})
		k := w.start("Go.", true)
		w.until(k, cairn.StatusRunning)
		full := fmt.Errorf("%w: no space left on device", journal.ErrFull)
		shut.commit.Store(&full)
		pass(10 * time.Minute)
		w.say(k, "Are you there?")
		if got := w.count(k, "tool_call.completed"); got != 0 {
			t.Fatalf("%d results are recorded on a full disk", got)
		}
		shut.commit.Store(nil)
		w.until(k, cairn.StatusCompleted)
		w.has(k, "tool_call.started", "tool_call.completed", "tool_call.completed", "run.completed")
		w.nothingLost(k)
	})
}

// A conflict, which can only come from a defect or a restored backup, is met by
// reading the history again.
func TestConflict(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.reopen(newFaulty(w.store, 1, 0.3, journal.ErrConflict))
		w.host.model = says(calls("look", `{}`), calls("put", `{}`))
		w.node(kernel.Options{})
		for range 20 {
			w.start("Go.", true)
		}
		for _, k := range w.sessions {
			w.until(k, cairn.StatusCompleted)
		}
	})
}

// broken is a store that gives up.
type broken struct {
	journal.Store
	gone atomic.Bool
}

func (b *broken) Commit(ctx context.Context, c journal.Commit) (journal.Claim, error) {
	if b.gone.Load() {
		return journal.Claim{}, journal.ErrClosed
	}
	return b.Store.Commit(ctx, c)
}

// A store that has given up ends the kernel, with the reason.
func TestClosed(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		store := &broken{Store: w.store}
		w.reopen(store)
		w.host.tool = slow(time.Second)
		w.host.model = says(calls("look", `{}`))
		n := w.node(kernel.Options{})
		k := w.start("Go.", true)
		w.until(k, cairn.StatusRunning)
		store.gone.Store(true)
		pass(2 * time.Second)
		select {
		case <-n.ended:
		default:
			t.Fatal("the kernel works on without a store")
		}
		if err := n.crash(); !errors.Is(err, journal.ErrClosed) {
			t.Errorf("Run returned %v", err)
		}
	})
}

// caching is a store whose snapshots can go bad, and that says from where a
// history is read.
type caching struct {
	journal.Store
	spoil func(journal.Snapshot) journal.Snapshot
	from  atomic.Uint64
	put   atomic.Int64
}

func (c *caching) PutSnapshot(ctx context.Context, s cairn.SessionKey, snap journal.Snapshot) error {
	c.put.Add(1)
	return c.Store.PutSnapshot(ctx, s, snap)
}

func (c *caching) Snapshot(ctx context.Context, s cairn.SessionKey, fold int) (journal.Snapshot, error) {
	snap, err := c.Store.Snapshot(ctx, s, fold)
	if err == nil && c.spoil != nil {
		snap = c.spoil(snap)
	}
	return snap, err
}

func (c *caching) Load(ctx context.Context, s cairn.SessionKey, after cairn.Seq) iter.Seq2[journal.Frame, error] {
	c.from.Store(uint64(after))
	return c.Store.Load(ctx, s, after)
}

// A snapshot saves reading the history; one that went bad changes nothing.
func TestSnapshots(t *testing.T) {
	for name, spoil := range map[string]func(journal.Snapshot) journal.Snapshot{
		"good":  nil,
		"empty": func(s journal.Snapshot) journal.Snapshot { s.Data = nil; return s },
		"cut":   func(s journal.Snapshot) journal.Snapshot { s.Data = s.Data[:len(s.Data)/2]; return s },
		"other": func(s journal.Snapshot) journal.Snapshot { s.Data = []byte(`{"Seq":3}`); return s },
		"ahead": func(s journal.Snapshot) journal.Snapshot { s.Seq += 1000; return s },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				store := &caching{Store: w.store, spoil: spoil}
				w.reopen(store)
				n := w.node(kernel.Options{SnapshotLag: 1})
				k := w.start("Go.", false)
				for i := range 5 {
					w.until(k, cairn.StatusIdle)
					w.say(k, fmt.Sprint("more ", i))
					synctest.Wait()
				}
				w.until(k, cairn.StatusIdle)
				if store.put.Load() == 0 {
					t.Fatal("no snapshot was written")
				}
				n.drain(time.Minute)
				w.node(kernel.Options{SnapshotLag: 1})
				w.say(k, "the last one")
				synctest.Wait()
				w.until(k, cairn.StatusIdle)
				if got := w.count(k, "run.completed"); got != 7 {
					t.Errorf("%d runs are completed, not 7", got)
				}
			})
		})
	}
}

// With a good snapshot only what came after it is folded.
func TestSnapshotIsUsed(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		store := &caching{Store: w.store}
		w.reopen(store)
		n := w.node(kernel.Options{SnapshotLag: 1})
		k := w.start("Go.", true)
		w.until(k, cairn.StatusCompleted)
		n.drain(time.Minute)
		last := len(w.types(k))
		store.from.Store(0)
		w.node(kernel.Options{})
		w.send(k, cairn.Wake{}) // changes nothing, but has to be looked at
		synctest.Wait()
		if got := store.from.Load(); got != 0 {
			t.Errorf("the history of %d events is read after %d, though all of it is in the snapshot", last, got)
		}
	})
}

// A session that a newer binary wrote is left to it.
func TestTooNew(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		ctx := context.Background()
		k := w.start("Go.", false)
		l, err := w.j.Beat(ctx, journal.Lease{}, time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		claims, err := w.j.Claim(ctx, l, journal.Filter{Fold: engine.Version + 1}, 1)
		if err != nil || len(claims) != 1 {
			t.Fatal(claims, err)
		}
		if _, err := w.j.Commit(ctx, journal.Commit{Claim: claims[0], Fold: engine.Version + 1, Release: true}); err != nil {
			t.Fatal(err)
		}
		n := w.node(kernel.Options{})
		other := w.start("Go.", true)
		w.until(other, cairn.StatusCompleted)
		pass(time.Hour)
		if got := len(w.types(k)); got != 0 || n.Owned() != 0 {
			t.Errorf("%d events were written, %d sessions are owned", got, n.Owned())
		}
	})
}

// The same on the store in a file, in real time: a run with everything in it,
// over a crash.
func TestSQLite(t *testing.T) {
	t.Parallel()
	store, err := sqlite.Open(t.Context(), t.TempDir(), sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, store)
	w.host.model = says(calls("look", `{}`, "put", `{}`), calls("pay", `{}`), calls("ui", `{}`))
	w.askAboutPay()
	let := make(chan struct{})
	w.host.tool = held(let)
	w.host.repeats = true
	first := w.node(kernel.Options{LeaseTTL: 600 * time.Millisecond})
	for range 20 {
		w.start("Go.", true)
	}
	for _, k := range w.sessions {
		w.wait(k, func() bool { return w.count(k, "tool_call.requested") == 2 })
	}
	_ = first.crash()
	w.node(kernel.Options{LeaseTTL: 600 * time.Millisecond})
	close(let)
	for _, k := range w.sessions {
		w.wait(k, func() bool { return len(w.asks(k)) == 1 })
		if err := w.decide(k, w.ask(k).ID, cairn.VerbApprove); err != nil {
			t.Fatal(err)
		}
		w.wait(k, func() bool { return len(w.asks(k)) == 1 && w.ask(k).Kind == cairn.AskClientTool })
		d := cairn.Decide{Decision: cairn.Decision{
			Ask: w.ask(k).ID, Verb: cairn.VerbAnswer, Result: &cairn.ToolResult{Content: []cairn.Part{cairn.Text("clicked")}},
		}}
		in := w.input(k, d)
		if err := w.j.Post(t.Context(), in, nil, &journal.AskClose{Session: k, ID: d.Ask, Status: d.Status(), At: in.At}); err != nil {
			t.Fatal(err)
		}
		w.wait(k, func() bool { return w.status(k) == cairn.StatusCompleted })
		w.has(k, "ask.opened", "tool_call.started", "ask.opened", "run.completed")
	}
	w.verify()
}

// wait looks again and again in real time.
func (w *world) wait(k cairn.SessionKey, ready func() bool) {
	w.t.Helper()
	limit := time.After(30 * time.Second)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !ready() {
		select {
		case <-tick.C:
		case <-limit:
			w.t.Fatalf("%s does not get there; it is %s: %v", k, w.status(k), w.types(k))
		}
	}
}
