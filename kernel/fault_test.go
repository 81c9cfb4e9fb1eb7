package kernel_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/blob"
	"github.com/cairn-run/cairn/journal"
)

// reopen puts another store, usually a wrapper, in place of the present one for
// the kernels that are started from now on.
func (w *world) reopen(s journal.Store) {
	w.store = s
	w.j = journal.New(s, blob.New(&blob.Memory{}, blob.Options{}))
}

// fork makes a session that shares its parent's history up to an event.
func (w *world) fork(parent cairn.SessionKey, at cairn.Seq) cairn.SessionKey {
	w.t.Helper()
	k := cairn.SessionKey{Tenant: parent.Tenant, ID: cairn.NewSessionID(fmt.Sprintf("%026d", len(w.sessions)))}
	w.sessions = append(w.sessions, k)
	in := w.input(k, cairn.Fork{Parent: parent, At: at})
	if err := w.j.Post(context.Background(), in, &journal.NewSession{
		Lineage: []journal.Range{{Session: parent, From: 1, To: at}},
		Summary: cairn.Summary{Session: k, Agent: w.agent.Name, Digest: w.agent.Digest(), Status: cairn.StatusQueued},
	}, nil); err != nil {
		w.t.Fatal(err)
	}
	return k
}

// faulty is a store whose commits fail at seeded points: without a trace, or
// after all.
type faulty struct {
	journal.Store

	mu   sync.Mutex
	rand *rand.Rand
	rate float64
	hits map[string]int
	// errs are what is returned; ErrUnknown may have been applied.
	errs []error
}

func newFaulty(s journal.Store, seed uint64, rate float64, errs ...error) *faulty {
	return &faulty{Store: s, rand: rand.New(rand.NewPCG(seed, seed)), rate: rate, errs: errs, hits: map[string]int{}}
}

func (f *faulty) Commit(ctx context.Context, c journal.Commit) (journal.Claim, error) {
	f.mu.Lock()
	var err error
	apply := false
	if f.rand.Float64() < f.rate {
		err = f.errs[f.rand.IntN(len(f.errs))]
		apply = errors.Is(err, journal.ErrUnknown) && f.rand.IntN(2) == 0
		f.hits[fmt.Sprint(err, apply)]++
	}
	f.mu.Unlock()
	if err != nil && !apply {
		return journal.Claim{}, err
	}
	claim, committed := f.Store.Commit(ctx, c)
	if err != nil && committed == nil {
		return journal.Claim{}, err
	}
	return claim, committed
}

// gate is a store that can be shut: calls fail until it is opened.
type gate struct {
	journal.Store
	beat, commit atomic.Pointer[error]
}

func (g *gate) Beat(ctx context.Context, l journal.Lease, ttl time.Duration) (journal.Lease, error) {
	if err := g.beat.Load(); err != nil && l.ID != "" {
		return journal.Lease{}, *err
	}
	return g.Store.Beat(ctx, l, ttl)
}

func (g *gate) Commit(ctx context.Context, c journal.Commit) (journal.Claim, error) {
	if err := g.commit.Load(); err != nil {
		return journal.Claim{}, *err
	}
	return g.Store.Commit(ctx, c)
}
