package memory

import (
	"container/heap"
	"context"
	"crypto/rand"
	"fmt"
	"iter"
	"math"
	"slices"
	"time"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/journal"
)

var errLease = fmt.Errorf("%w: the lease has run out", journal.ErrFenced)

// Beat implements [journal.Driver].
func (s *Store) Beat(ctx context.Context, l journal.Lease, ttl time.Duration) (journal.Lease, error) {
	if err := s.enter(ctx); err != nil {
		return journal.Lease{}, err
	}
	defer s.mu.Unlock()
	now := s.now()
	if l.ID == "" {
		l.ID = "lse_" + rand.Text()
		s.leases[l.ID] = &lease{signal: make(chan struct{}, 1)}
	} else if !s.live(l.ID, now) {
		return journal.Lease{}, errLease
	}
	s.leases[l.ID].expires = now.Add(ttl)
	s.notify() // claims wait for what runs out first
	return l, nil
}

func (s *Store) live(id string, now time.Time) bool {
	l := s.leases[id]
	return l != nil && now.Before(l.expires)
}

// Claim implements [journal.Driver].
func (s *Store) Claim(ctx context.Context, l journal.Lease, f journal.Filter, limit int) ([]journal.Claim, error) {
	for {
		claims, signal, wait, err := s.claim(ctx, l, f, max(limit, 1))
		if err != nil || len(claims) > 0 {
			return claims, err
		}
		timer := time.NewTimer(wait)
		select {
		case <-signal:
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return nil, context.Cause(ctx)
		}
		timer.Stop()
	}
}

// claim takes what is due now; if nothing is, the caller waits for the signal or
// for so long.
func (s *Store) claim(ctx context.Context, l journal.Lease, f journal.Filter, limit int) (claims []journal.Claim, signal <-chan struct{}, wait time.Duration, err error) {
	if err := s.enter(ctx); err != nil {
		return nil, nil, 0, err
	}
	defer s.mu.Unlock()
	now := s.now()
	if !s.live(l.ID, now) {
		return nil, nil, 0, errLease
	}
	if f.Again != nil {
		c, err := s.claimAgain(l, f)
		return []journal.Claim{c}, nil, 0, err
	}
	s.sweep(now)
	kept := s.order[:0]
	for _, h := range s.order {
		switch {
		case s.live(h.lease, now) || !h.due(now):
			h.queued = false // it comes again when something happens to it
		case h.fold > f.Fold || len(claims) == limit:
			kept = append(kept, h)
		default:
			h.queued = false
			claims = append(claims, h.claim(l))
		}
	}
	clear(s.order[len(kept):])
	s.order = kept

	wait = math.MaxInt64
	for _, l := range s.leases {
		wait = min(wait, l.expires.Sub(now))
	}
	if len(s.timers) > 0 {
		wait = min(wait, s.timers[0].at.Sub(now))
	}
	return claims, s.changed, wait, nil
}

func (s *Store) claimAgain(l journal.Lease, f journal.Filter) (journal.Claim, error) {
	h, err := s.session(*f.Again)
	switch {
	case err != nil:
		return journal.Claim{}, err
	case h.lease != l.ID, f.Epoch != 0 && f.Epoch != h.epoch:
		return journal.Claim{}, fmt.Errorf("%w: %s", journal.ErrFenced, h.key)
	case h.fold > f.Fold:
		return journal.Claim{}, fmt.Errorf("%w: %s needs fold version %d", journal.ErrTooNew, h.key, h.fold)
	}
	return h.claim(l), nil
}

// due says that there is something to do.
func (h *session) due(now time.Time) bool {
	return h.busy || len(h.inbox) > 0 || (!h.wakeAt.IsZero() && !now.Before(h.wakeAt))
}

func (h *session) claim(l journal.Lease) journal.Claim {
	h.epoch++
	h.lease = l.ID
	return journal.Claim{Session: h.key, Epoch: h.epoch, Next: h.next, Lease: l.ID}
}

// sweep makes candidates of the sessions whose owner died and of those whose
// timer is due.
func (s *Store) sweep(now time.Time) {
	for id, l := range s.leases {
		if now.Before(l.expires) {
			continue
		}
		close(l.signal)
		delete(s.leases, id)
		for _, t := range s.tenants {
			for _, h := range t.sessions {
				if h.lease == id {
					h.lease = ""
					s.offer(h, now)
				}
			}
		}
	}
	for len(s.timers) > 0 && !now.Before(s.timers[0].at) {
		t := heap.Pop(&s.timers).(timer)
		t.session.timer = time.Time{}
		s.offer(t.session, now)
	}
}

// offer makes a session that nobody owns a candidate, now or when its timer is
// due.
func (s *Store) offer(h *session, now time.Time) {
	switch {
	case h.queued || s.live(h.lease, now):
	case h.due(now):
		h.queued = true
		s.order = append(s.order, h)
		s.notify()
	case !h.wakeAt.IsZero() && (h.timer.IsZero() || h.wakeAt.Before(h.timer)):
		h.timer = h.wakeAt
		heap.Push(&s.timers, timer{h.wakeAt, h})
		s.notify()
	}
}

// post tells the owner of a session that it got an input.
func (s *Store) post(h *session) {
	l := s.leases[h.lease]
	if l == nil || slices.Contains(l.mail, h.key) {
		return
	}
	l.mail = append(l.mail, h.key)
	select {
	case l.signal <- struct{}{}:
	default:
	}
}

// Mail implements [journal.Driver]. It ends with the lease and with the store.
func (s *Store) Mail(ctx context.Context, l journal.Lease) iter.Seq[cairn.SessionKey] {
	return func(yield func(cairn.SessionKey) bool) {
		for {
			s.mu.Lock()
			box := s.leases[l.ID]
			if box == nil {
				s.mu.Unlock()
				return
			}
			mail, signal := box.mail, box.signal
			box.mail = nil
			s.mu.Unlock()
			for _, k := range mail {
				if !yield(k) {
					return
				}
			}
			if len(mail) > 0 {
				continue
			}
			select {
			case <-signal:
			case <-ctx.Done():
				return
			}
		}
	}
}

// timer is when a session is looked at again; it may have moved on by then.
type timer struct {
	at      time.Time
	session *session
}

// timers is a heap, earliest first.
type timers []timer

func (t timers) Len() int           { return len(t) }
func (t timers) Less(i, j int) bool { return t[i].at.Before(t[j].at) }
func (t timers) Swap(i, j int)      { t[i], t[j] = t[j], t[i] }

// Push implements [heap.Interface].
func (t *timers) Push(x any) { *t = append(*t, x.(timer)) }

// Pop implements [heap.Interface].
func (t *timers) Pop() any {
	old := *t
	last := old[len(old)-1]
	old[len(old)-1] = timer{}
	*t = old[:len(old)-1]
	return last
}
