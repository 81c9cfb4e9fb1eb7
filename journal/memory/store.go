// Package memory is the journal in memory: for tests and for runs that need not
// outlive their process. It keeps the whole contract but durability.
package memory

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"iter"
	"slices"
	"sync"
	"time"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/journal"
)

// Options tune a store; the zero value works.
type Options struct {
	// Now is the clock of leases and timers; default [time.Now].
	Now func() time.Time
}

// Store keeps everything behind one lock.
type Store struct {
	now func() time.Time

	mu      sync.Mutex
	closed  bool
	changed chan struct{} // closed when there may be something new to claim
	tenants map[cairn.TenantID]*tenant
	leases  map[string]*lease
	// order is the order in which sessions became candidates; a claim looks at
	// them all, and drops those that are not due.
	order  []*session
	timers timers
}

var _ journal.Store = (*Store)(nil)

// tenant is all that belongs to one.
type tenant struct {
	sessions map[cairn.SessionID]*session
	log      []journal.Entry // Position is the index plus one
	asks     map[cairn.AskID]*journal.AskRow
	opened   []cairn.AskID // in order
	budgets  map[string]cairn.Money
	draws    map[string]draw
	agents   map[cairn.Digest]journal.AgentVersion
	current  map[string]cairn.Digest
}

// session is a head with its history.
type session struct {
	key     cairn.SessionKey
	no      int // in the order they were made
	epoch   uint64
	next    cairn.Seq
	lease   string
	wakeAt  time.Time
	busy    bool
	fold    int
	summary cairn.Summary
	lineage []journal.Range

	frames    []journal.Frame
	seen      map[string][32]byte // every input that ever arrived
	inbox     []journal.Letter
	snapshots map[int]journal.Snapshot

	queued bool      // in Store.order
	timer  time.Time // earliest in Store.timers
}

// lease is a live lease with what its holder has not heard of.
type lease struct {
	expires time.Time
	mail    []cairn.SessionKey
	signal  chan struct{} // of capacity one
}

// Open returns an empty store.
func Open(o Options) *Store {
	s := &Store{now: o.Now, changed: make(chan struct{}), tenants: map[cairn.TenantID]*tenant{}, leases: map[string]*lease{}}
	if s.now == nil {
		s.now = time.Now
	}
	return s
}

// Close ends the store; what it held is gone.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	for _, l := range s.leases {
		close(l.signal)
	}
	clear(s.leases)
	s.notify()
	return nil
}

// enter takes the lock; the caller gives it back.
func (s *Store) enter(ctx context.Context) error {
	if err := context.Cause(ctx); err != nil {
		return err
	}
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return journal.ErrClosed
	}
	return nil
}

func (s *Store) notify() {
	close(s.changed)
	s.changed = make(chan struct{})
}

// tenant returns what belongs to a tenant, made at the first use.
func (s *Store) tenant(id cairn.TenantID) *tenant {
	t := s.tenants[id]
	if t == nil {
		t = &tenant{
			sessions: map[cairn.SessionID]*session{}, asks: map[cairn.AskID]*journal.AskRow{},
			budgets: map[string]cairn.Money{}, draws: map[string]draw{},
			agents: map[cairn.Digest]journal.AgentVersion{}, current: map[string]cairn.Digest{},
		}
		s.tenants[id] = t
	}
	return t
}

func (s *Store) session(k cairn.SessionKey) (*session, error) {
	if h := s.tenant(k.Tenant).sessions[k.ID]; h != nil {
		return h, nil
	}
	return nil, fmt.Errorf("%w: session %s", journal.ErrNotFound, k)
}

// Load implements [journal.Driver]. Frames are whole: where a range of the
// lineage ends within a frame, the frame holds events beyond it.
func (s *Store) Load(ctx context.Context, k cairn.SessionKey, after cairn.Seq) iter.Seq2[journal.Frame, error] {
	return func(yield func(journal.Frame, error) bool) {
		for {
			f, err := s.frameAfter(ctx, k, after)
			if err != nil {
				yield(journal.Frame{}, err)
				return
			}
			if f.Count == 0 || !yield(f, nil) {
				return
			}
			after = f.Last()
		}
	}
}

// frameAfter returns the frame that holds the first event after a number; an
// empty one: there is none.
func (s *Store) frameAfter(ctx context.Context, k cairn.SessionKey, after cairn.Seq) (journal.Frame, error) {
	if err := s.enter(ctx); err != nil {
		return journal.Frame{}, err
	}
	defer s.mu.Unlock()
	h, err := s.session(k)
	if err != nil {
		return journal.Frame{}, err
	}
	for _, r := range h.lineage {
		o, err := s.session(r.Session)
		if err != nil {
			return journal.Frame{}, fmt.Errorf("%s is a fork: %w", k, err)
		}
		if f := find(o.frames, max(after+1, r.From)); f.Count > 0 && f.First <= r.To {
			return f, nil
		}
	}
	return find(h.frames, after+1), nil
}

// find returns the first frame that ends at or after a number.
func find(frames []journal.Frame, from cairn.Seq) journal.Frame {
	i, _ := slices.BinarySearchFunc(frames, from, func(f journal.Frame, n cairn.Seq) int { return cmp.Compare(f.Last(), n) })
	if i == len(frames) {
		return journal.Frame{}
	}
	f := frames[i]
	f.Data = bytes.Clone(f.Data)
	return f
}

// Inbox implements [journal.Driver].
func (s *Store) Inbox(ctx context.Context, k cairn.SessionKey, limit int) ([]journal.Letter, error) {
	if err := s.enter(ctx); err != nil {
		return nil, err
	}
	defer s.mu.Unlock()
	h, err := s.session(k)
	if err != nil {
		return nil, err
	}
	letters := slices.Clone(h.inbox[:min(max(limit, 0), len(h.inbox))])
	for i := range letters {
		letters[i].Data = bytes.Clone(letters[i].Data)
	}
	return letters, nil
}

// Tail implements [journal.Driver].
func (s *Store) Tail(ctx context.Context, t cairn.TenantID, after journal.Position) iter.Seq2[journal.Entry, error] {
	return func(yield func(journal.Entry, error) bool) {
		for {
			e, ok, err := s.entryAfter(ctx, t, after)
			if err != nil {
				yield(journal.Entry{}, err)
				return
			}
			if !ok || !yield(e, nil) {
				return
			}
			after = e.Position
		}
	}
}

func (s *Store) entryAfter(ctx context.Context, t cairn.TenantID, after journal.Position) (journal.Entry, bool, error) {
	if err := s.enter(ctx); err != nil {
		return journal.Entry{}, false, err
	}
	defer s.mu.Unlock()
	log := s.tenant(t).log
	if uint64(after) >= uint64(len(log)) {
		return journal.Entry{}, false, nil
	}
	e := log[after]
	e.Frame.Data = bytes.Clone(e.Frame.Data)
	return e, true, nil
}
