package sqlite

import (
	"context"
	"crypto/rand"
	"database/sql/driver"
	"fmt"
	"iter"
	"math"
	"time"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/journal"
)

// maxLooks bounds the candidates one claim looks at in a transaction.
const maxLooks = 1000

// Beat implements [journal.Driver]. Leases are in memory, because the process
// that holds the directory is the only one: they end with it, and a full disk
// does not end them.
func (s *Store) Beat(ctx context.Context, l journal.Lease, ttl time.Duration) (journal.Lease, error) {
	if err := ctx.Err(); err != nil {
		return journal.Lease{}, err
	}
	if s.closed.Load() {
		return journal.Lease{}, journal.ErrClosed
	}
	now := s.now()
	if l.ID == "" {
		l.ID = "lse_" + rand.Text()
		s.due.join(l.ID, now.Add(ttl))
	} else if !s.due.renew(l.ID, now, now.Add(ttl)) {
		return journal.Lease{}, errLease
	}
	return l, nil
}

var errLease = fmt.Errorf("%w: the lease has run out", journal.ErrFenced)

// Claim implements [journal.Driver].
func (s *Store) Claim(ctx context.Context, l journal.Lease, f journal.Filter, limit int) ([]journal.Claim, error) {
	if f.Again != nil {
		return s.claimAgain(ctx, l, f)
	}
	for {
		if s.closed.Load() {
			return nil, journal.ErrClosed
		}
		fenced, try, signal, wait := s.due.look(l.ID, f.Fold, s.now())
		if fenced {
			if s.closed.Load() {
				return nil, journal.ErrClosed
			}
			return nil, errLease
		}
		if try {
			if claims, err := s.claim(ctx, l, f.Fold, limit); err != nil || len(claims) > 0 {
				return claims, err
			}
			continue
		}
		timer := time.NewTimer(wait)
		select {
		case <-signal:
		case <-timer.C:
		case <-s.stopped:
		case <-ctx.Done():
			timer.Stop()
			return nil, context.Cause(ctx)
		}
		timer.Stop()
	}
}

// claimed is a session that a claim took.
type claimed struct {
	journal.Claim
	number
}

// claim takes what is due now.
func (s *Store) claim(ctx context.Context, l journal.Lease, fold, limit int) ([]journal.Claim, error) {
	var (
		taken  []claimed
		popped []int64
		timers []timer
	)
	j := &job{
		run: func(w *writer) (err error) {
			taken, popped, timers = taken[:0], popped[:0], timers[:0]
			now := s.now()
			if !s.due.live(l.ID, now) {
				return errLease
			}
			if err := w.sweep(now); err != nil {
				return err
			}
			for looks := 0; looks < maxLooks && len(taken) < max(limit, 1); looks++ {
				no, ok := s.due.pop()
				if !ok {
					return nil
				}
				popped = append(popped, no)
				c, t, err := w.take(no, l, fold, now)
				if err != nil {
					return err
				}
				if c != nil {
					taken = append(taken, *c)
				}
				if t.at != 0 {
					timers = append(timers, t)
				}
			}
			return nil
		},
		then: func(w *writer) {
			for _, c := range taken {
				w.sessions[c.Session] = c.number
			}
			for _, t := range timers {
				s.due.timer(t.head, t.at, s.now())
			}
		},
		undo: func() { s.due.push(popped...) },
	}
	if err := s.do(ctx, j); err != nil {
		return nil, err
	}
	claims := make([]journal.Claim, len(taken))
	for i, c := range taken {
		claims[i] = c.Claim
	}
	return claims, nil
}

// claimAgain takes a session that the lease owns already.
func (s *Store) claimAgain(ctx context.Context, l journal.Lease, f journal.Filter) ([]journal.Claim, error) {
	c := journal.Claim{Session: *f.Again, Lease: l.ID}
	var n number
	j := &job{
		run: func(w *writer) error {
			if !s.due.live(l.ID, s.now()) {
				return errLease
			}
			tenant, head, err := w.head(c.Session)
			if err != nil {
				return err
			}
			n = number{tenant, integer(head[0])}
			if text(head[3]) != l.ID || (f.Epoch != 0 && f.Epoch != uint64(integer(head[1]))) {
				return fmt.Errorf("%w: %s", journal.ErrFenced, c.Session)
			}
			if needs := integer(head[4]); needs > int64(f.Fold) {
				return fmt.Errorf("%w: %s needs fold version %d", journal.ErrTooNew, c.Session, needs)
			}
			c.Epoch, c.Next = uint64(integer(head[1]))+1, cairn.Seq(integer(head[2]))
			_, err = w.headClaim.exec(l.ID, n.head)
			return err
		},
		then: func(w *writer) { w.sessions[c.Session] = n },
	}
	if err := s.do(ctx, j); err != nil {
		return nil, err
	}
	return []journal.Claim{c}, nil
}

// timer is a session that nobody owns and that is due later.
type timer struct{ head, at int64 }

// take claims a candidate if it is due and free.
func (w *writer) take(no int64, l journal.Lease, fold int, now time.Time) (*claimed, timer, error) {
	row, err := w.headDue.one(no)
	if err != nil || row == nil {
		return nil, timer{}, err
	}
	key := cairn.SessionKey{Tenant: cairn.TenantID(text(row[1])), ID: cairn.SessionID(text(row[2]))}
	epoch, next, owner := integer(row[3]), integer(row[4]), text(row[5])
	busy, wake, needs, mail := integer(row[6]) != 0, integer(row[7]), integer(row[8]), integer(row[9]) != 0
	if owner != "" && w.store.due.live(owner, now) {
		return nil, timer{}, nil
	}
	if !busy && !mail && (wake == 0 || wake > now.UnixNano()) {
		if owner != "" {
			if _, err := w.headFree.exec(no); err != nil {
				return nil, timer{}, err
			}
		}
		return nil, timer{no, wake}, nil
	}
	if needs > int64(fold) {
		w.store.due.tooNew(no, int(min(needs, math.MaxInt)))
		return nil, timer{}, nil
	}
	if _, err := w.headClaim.exec(l.ID, no); err != nil {
		return nil, timer{}, err
	}
	c := journal.Claim{Session: key, Epoch: uint64(epoch) + 1, Next: cairn.Seq(next), Lease: l.ID}
	return &claimed{c, number{integer(row[0]), no}}, timer{}, nil
}

// sweep makes candidates of the sessions whose owner died and of those whose
// timer is due.
func (w *writer) sweep(now time.Time) error {
	d := w.store.due
	for _, id := range d.expired(now) {
		var heads []int64
		err := w.ownedBy.each(func(row []driver.Value) error {
			heads = append(heads, integer(row[0]))
			delete(w.sessions, cairn.SessionKey{Tenant: cairn.TenantID(text(row[1])), ID: cairn.SessionID(text(row[2]))})
			return nil
		}, id)
		if err != nil {
			return err
		}
		d.push(heads...)
	}
	after, ok := d.wakes(now)
	if !ok {
		return nil
	}
	heads, err := w.numbers(w.woken, after, now.UnixNano())
	if err != nil {
		return err
	}
	next, err := w.nextTimer(now.UnixNano())
	if err != nil {
		return err
	}
	d.woke(heads, now, next)
	return nil
}

// nextTimer is the earliest timer of an unowned session after a time.
func (w *writer) nextTimer(after int64) (int64, error) {
	row, err := w.nextWake.one(after)
	if err != nil {
		return 0, err
	}
	if row[0] == nil {
		return noTimer, nil
	}
	return integer(row[0]), nil
}

// numbers collects a column of numbers.
func (w *writer) numbers(q *stmt, args ...driver.Value) ([]int64, error) {
	var numbers []int64
	err := q.each(func(row []driver.Value) error {
		numbers = append(numbers, integer(row[0]))
		return nil
	}, args...)
	return numbers, err
}

// remember finds out what is due in a database that was just opened. Every owner
// is dead by then.
func (w *writer) remember() error {
	for _, q := range []*stmt{w.leftOver, w.withMail} {
		heads, err := w.numbers(q)
		if err != nil {
			return err
		}
		w.store.due.push(heads...)
	}
	next, err := w.nextTimer(0)
	if err != nil {
		return err
	}
	w.store.due.wake = next
	row, err := w.mailMax.one()
	if err != nil {
		return err
	}
	w.arrivals = integer(row[0])
	return nil
}

// Mail implements [journal.Driver]. It ends with the lease and with the store.
func (s *Store) Mail(ctx context.Context, l journal.Lease) iter.Seq[cairn.SessionKey] {
	return func(yield func(cairn.SessionKey) bool) {
		for {
			mail, signal, ok := s.due.collect(l.ID)
			if !ok {
				return
			}
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
