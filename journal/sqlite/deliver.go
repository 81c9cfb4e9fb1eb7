package sqlite

import (
	"bytes"
	"context"
	"database/sql/driver"
	"errors"
	"fmt"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/internal/failpoint"
	"github.com/cairn-run/cairn/journal"
)

// maxPayload bounds one stored value, in bytes; SQLite's own bound is higher.
const maxPayload = 256 << 20

var errTooLarge = fmt.Errorf("journal: more than %d MiB in one value", maxPayload>>20)

// letter is a letter with what a new session needs already encoded.
type letter struct {
	journal.Letter
	row     listRow
	lineage []byte
	next    cairn.Seq
}

func newLetter(l journal.Letter) (*letter, error) {
	if len(l.Data) > maxPayload {
		return nil, errTooLarge
	}
	p := &letter{Letter: l, next: 1}
	if l.New == nil {
		return p, nil
	}
	var err error
	if p.row, err = listRowOf(&l.New.Summary); err != nil {
		return nil, err
	}
	for _, r := range l.New.Lineage {
		if r.Session.Tenant != l.To.Tenant {
			return nil, fmt.Errorf("%w: %s, of which %s was to be a fork", journal.ErrNotFound, r.Session, l.To)
		}
		p.next = r.To + 1
	}
	if len(l.New.Lineage) > 0 {
		if p.lineage, err = encode(l.New.Lineage); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// Deliver implements [journal.Driver].
func (s *Store) Deliver(ctx context.Context, l journal.Letter, ask *journal.AskClose) error {
	p, err := newLetter(l)
	if err != nil {
		return err
	}
	failpoint.Hit(failpoint.DeliverBefore)
	var to sent
	j := &job{
		size: len(l.Data),
		run: func(w *writer) (err error) {
			put := func() error {
				to, err = w.put(p, ask)
				return err
			}
			if ask == nil && p.lineage == nil {
				return put() // what refuses it comes before what it writes
			}
			return w.whole(put)
		},
		then: func(*writer) { s.arrived(to) },
	}
	if err := s.do(ctx, j); err != nil {
		return err
	}
	failpoint.Hit(failpoint.DeliverAfter)
	return nil
}

// put writes a letter into an inbox, and with ask closes the ask.
func (w *writer) put(l *letter, ask *journal.AskClose) (sent, error) {
	tenant, head, err := w.head(l.To)
	fresh := errors.Is(err, journal.ErrNotFound) && l.New != nil
	if err != nil && !fresh {
		return sent{}, err
	}
	var session number
	to := sent{to: l.To, fresh: true}
	if fresh {
		if session, err = w.found(l); err != nil {
			return sent{}, err
		}
	} else {
		session = number{tenant, integer(head[0])}
		to.lease = text(head[3])
	}
	to.head = session.head

	if l.New != nil && !fresh {
		switch same, known, err := w.arrivedBefore(session, l); {
		case err != nil:
			return sent{}, err
		case same:
			return sent{}, nil
		case known:
			return sent{}, fmt.Errorf("%w: %w: %s", journal.ErrExists, journal.ErrMismatch, l.To)
		default:
			return sent{}, fmt.Errorf("%w: %s", journal.ErrExists, l.To)
		}
	}
	n, err := w.inputAdd.exec(session.tenant, session.head, l.ID, l.Digest[:])
	if err != nil {
		return sent{}, err
	}
	if n == 0 {
		same, _, err := w.arrivedBefore(session, l)
		if err == nil && !same {
			err = fmt.Errorf("%w: input %s of %s", journal.ErrMismatch, l.ID, l.To)
		}
		return sent{}, err
	}
	if ask != nil {
		tenant, head, err := w.head(ask.Session)
		if err != nil {
			return sent{}, err
		}
		if err := w.decide(number{tenant, integer(head[0])}, ask); err != nil {
			return sent{}, err
		}
		failpoint.Hit(failpoint.GroupAsk)
	}
	if _, err := w.mailAdd.exec(session.tenant, session.head, l.ID, w.arrivals+1, nanos(l.At), l.Digest[:], l.Data); err != nil {
		return sent{}, err
	}
	w.arrivals++
	return to, nil
}

// arrivedBefore says whether the input is known, and with the same content.
func (w *writer) arrivedBefore(session number, l *letter) (same, known bool, err error) {
	row, err := w.inputGet.one(session.tenant, session.head, l.ID)
	if err != nil || row == nil {
		return false, false, err
	}
	return bytes.Equal(blob(row[0]), l.Digest[:]), true, nil
}

// found makes the head of a new session.
func (w *writer) found(l *letter) (number, error) {
	tenant, err := w.tenant(l.To.Tenant, true)
	if err != nil {
		return number{}, err
	}
	fold := int64(0) // a fork needs the binary that its ancestors need
	for _, r := range l.New.Lineage {
		row, err := w.headFold.one(tenant, string(r.Session.ID))
		if err != nil {
			return number{}, err
		}
		if row == nil {
			return number{}, fmt.Errorf("%w: %s, of which %s was to be a fork", journal.ErrNotFound, r.Session, l.To)
		}
		fold = max(fold, integer(row[0]))
		end, err := w.frameEnd.one(tenant, row[1], int64(r.To))
		if err != nil {
			return number{}, err
		}
		if end == nil || integer(end[0]) != int64(r.To) {
			return number{}, fmt.Errorf("%w: a commit of %s that ends at %d, where %s was to begin", journal.ErrNotFound, r.Session, r.To, l.To)
		}
	}
	args := append([]driver.Value{tenant, string(l.To.ID), int64(l.next), fold}, l.row...)
	no, err := w.headAdd.insert(append(args, l.lineage)...)
	return number{tenant, no}, err
}

// decide closes an ask that is open, by compare-and-set.
func (w *writer) decide(session number, a *journal.AskClose) error {
	n, err := w.askClose.exec(string(a.Status), a.By.Kind, a.By.ID, nanos(a.At), session.tenant, string(a.ID), session.head)
	if err != nil || n > 0 {
		return err
	}
	row, err := w.askGet.one(session.tenant, string(a.ID), session.head)
	if err != nil {
		return err
	}
	if row == nil {
		return fmt.Errorf("%w: ask %s of %s", journal.ErrNotFound, a.ID, a.Session)
	}
	return fmt.Errorf("%w: %s is %s", journal.ErrDecided, a.ID, text(row[0]))
}

// arrived tells the owner of a session of an input, or makes the session a
// candidate if nobody has it.
func (s *Store) arrived(to sent) {
	switch {
	case !to.fresh:
	case to.lease != "" && s.due.live(to.lease, s.now()):
		s.due.post(to.lease, to.to)
	default:
		s.due.push(to.head)
	}
}
