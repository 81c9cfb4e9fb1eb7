package sqlite

import (
	"context"
	"database/sql/driver"
	"fmt"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/internal/failpoint"
	"github.com/cairn-run/cairn/journal"
)

// step is a commit on its way: what can be encoded is.
type step struct {
	journal.Commit
	row  listRow
	asks [][]byte

	session number
	sent    []sent
	due     bool // released with something to do
}

// sent says where a letter went.
type sent struct {
	to    cairn.SessionKey
	head  int64
	lease string
	fresh bool // it was not there before
}

// Commit implements [journal.Driver].
func (s *Store) Commit(ctx context.Context, c journal.Commit) (journal.Claim, error) {
	if c.Frame.Count > 0 && c.Frame.First != c.Claim.Next {
		return journal.Claim{}, fmt.Errorf("%w: the frame starts at %d and the claim says %d", journal.ErrConflict, c.Frame.First, c.Claim.Next)
	}
	p := &step{Commit: c}
	size := len(c.Frame.Data)
	if size > maxPayload {
		return journal.Claim{}, errTooLarge
	}
	if c.Summary != nil {
		var err error
		if p.row, err = listRowOf(c.Summary); err != nil {
			return journal.Claim{}, err
		}
	}
	for _, a := range c.Open {
		b, err := encode(a.Ask)
		if err != nil {
			return journal.Claim{}, err
		}
		p.asks = append(p.asks, b)
		size += len(b)
	}
	letters := make([]*letter, len(c.Send))
	for i, l := range c.Send {
		var err error
		if letters[i], err = newLetter(l); err != nil {
			return journal.Claim{}, err
		}
		size += len(l.Data)
	}
	j := &job{size: size, run: func(w *writer) error { return w.step(p, letters) }, then: func(w *writer) { w.stepped(p) }}
	if err := s.do(ctx, j); err != nil {
		return journal.Claim{}, err
	}
	c.Claim.Next += cairn.Seq(c.Frame.Count)
	return c.Claim, nil
}

// step writes a commit. The compare-and-set comes first, so that a refusal has
// written nothing; what can be refused after it is undone as a whole.
func (w *writer) step(p *step, letters []*letter) error {
	if len(letters)+len(p.Open)+len(p.Close) == 0 {
		return w.stepWhole(p, letters)
	}
	return w.whole(func() error { return w.stepWhole(p, letters) })
}

func (w *writer) stepWhole(p *step, letters []*letter) error {
	c := &p.Claim
	var ok bool
	if p.session, ok = w.sessions[c.Session]; !ok {
		tenant, head, err := w.head(c.Session)
		if err != nil {
			return err
		}
		p.session = number{tenant, integer(head[0])}
	}
	args := append(make([]driver.Value, 0, 20), int64(c.Next)+int64(p.Frame.Count), nanos(p.WakeAt), flag(p.Busy), int64(p.Fold))
	args = append(append(args, p.row...), p.session.head, int64(c.Epoch), int64(c.Next), c.Lease)
	update := w.headStep
	switch {
	case p.row != nil && p.Release:
		update = w.headSummaryRelease
	case p.row != nil:
		update = w.headSummary
	case p.Release:
		update = w.headStepRelease
	}
	n, err := update.exec(args...)
	if err != nil {
		return err
	}
	if n == 0 {
		return w.refuse(c)
	}
	failpoint.Hit(failpoint.GroupHead)

	for _, id := range p.Taken {
		if _, err := w.mailTake.exec(p.session.tenant, p.session.head, id); err != nil {
			return err
		}
	}
	p.sent = p.sent[:0]
	for _, l := range letters {
		to, err := w.put(l, nil)
		if err != nil {
			return fmt.Errorf("send %s to %s: %w", l.ID, l.To, err)
		}
		p.sent = append(p.sent, to)
	}
	if len(p.Taken)+len(letters) > 0 {
		failpoint.Hit(failpoint.GroupInbox)
	}

	for i, a := range p.Open {
		if a.Session != c.Session {
			return fmt.Errorf("journal: ask %s is of %s, not of %s", a.Ask.ID, a.Session, c.Session)
		}
		if _, err := w.askAdd.exec(p.session.tenant, p.session.head, string(a.Ask.ID), string(a.Status), p.asks[i],
			a.By.Kind, a.By.ID, nanos(a.Decided)); err != nil {
			return fmt.Errorf("open ask %s: %w", a.Ask.ID, err)
		}
	}
	for _, a := range p.Close {
		if a.Session != c.Session {
			return fmt.Errorf("journal: ask %s is of %s, not of %s", a.ID, a.Session, c.Session)
		}
		if err := w.decide(p.session, &a); err != nil {
			return err
		}
	}
	if len(p.Open)+len(p.Close) > 0 {
		failpoint.Hit(failpoint.GroupAsk)
	}

	// The frame is last: a refusal leaves no hole in the positions.
	if p.Frame.Count > 0 {
		place, err := w.place(p.session.tenant)
		if err != nil {
			return err
		}
		if _, err := w.frameAdd.exec(place, p.session.tenant, p.session.head, int64(p.Frame.First), int64(p.Frame.Count), p.Frame.Data); err != nil {
			return err
		}
		failpoint.Hit(failpoint.GroupFrame)
	}
	if p.Release {
		any, err := w.mailAny.one(p.session.tenant, p.session.head)
		if err != nil {
			return err
		}
		p.due = any != nil || p.Busy
	}
	return nil
}

// stepped tells those concerned of a durable commit.
func (w *writer) stepped(p *step) {
	s := w.store
	for _, to := range p.sent {
		s.arrived(to)
	}
	if !p.Release {
		return
	}
	delete(w.sessions, p.Claim.Session)
	switch {
	case p.due:
		s.due.push(p.session.head)
	case !p.WakeAt.IsZero():
		s.due.timer(p.session.head, nanos(p.WakeAt), s.now())
	}
}

// refuse says why the compare-and-set failed.
func (w *writer) refuse(c *journal.Claim) error {
	_, head, err := w.head(c.Session)
	if err != nil {
		return err
	}
	epoch, next, lease := integer(head[1]), integer(head[2]), text(head[3])
	if uint64(epoch) != c.Epoch || lease != c.Lease {
		return fmt.Errorf("%w: %s is at epoch %d, the claim is of epoch %d", journal.ErrFenced, c.Session, epoch, c.Epoch)
	}
	return fmt.Errorf("%w: the next event of %s is %d, the claim says %d", journal.ErrConflict, c.Session, next, c.Next)
}

// head returns the tenant's number and (no, epoch, next, lease, fold) of a session.
func (w *writer) head(s cairn.SessionKey) (int64, []driver.Value, error) {
	tenant, err := w.tenant(s.Tenant, false)
	if err != nil {
		return 0, nil, err
	}
	row, err := w.headGet.one(tenant, string(s.ID))
	if err != nil {
		return 0, nil, err
	}
	if row == nil {
		return tenant, nil, journal.ErrNotFound
	}
	return tenant, row, nil
}

// tenant is the number of a tenant. Without add, an unknown one is ErrNotFound.
func (w *writer) tenant(t cairn.TenantID, add bool) (int64, error) {
	if no, ok := w.tenants[t]; ok {
		return no, nil
	}
	row, err := w.tenantGet.one(string(t))
	if err != nil {
		return 0, err
	}
	var no int64
	switch {
	case row != nil:
		no = integer(row[0])
	case !add:
		return 0, journal.ErrNotFound
	default:
		if no, err = w.tenantAdd.insert(string(t)); err != nil {
			return 0, err
		}
	}
	if len(w.tenants) >= maxTenants {
		clear(w.tenants)
	}
	w.tenants[t] = no
	return no, nil
}

// maxTenants bounds the numbers of tenants and places kept in memory.
const maxTenants = 10_000

// positionBits is the part of a place that counts the frames of a tenant.
const positionBits = 40

// place is the next place in the log of a tenant.
func (w *writer) place(tenant int64) (int64, error) {
	last, ok := w.places[tenant]
	if !ok {
		from := tenant << positionBits
		row, err := w.placeMax.one(from, from|(1<<positionBits-1))
		if err != nil {
			return 0, err
		}
		if last = from; row[0] != nil {
			last = integer(row[0])
		}
		if len(w.places) >= maxTenants {
			clear(w.places)
		}
	}
	w.places[tenant] = last + 1
	return last + 1, nil
}
