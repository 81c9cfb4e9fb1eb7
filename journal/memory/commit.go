package memory

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/journal"
)

// Deliver implements [journal.Driver].
func (s *Store) Deliver(ctx context.Context, l journal.Letter, ask *journal.AskClose) error {
	if err := s.enter(ctx); err != nil {
		return err
	}
	defer s.mu.Unlock()
	put, err := s.check(&l, nil)
	if err != nil || put == nil {
		return err
	}
	if ask != nil {
		if err := s.closable(ask, nil); err != nil {
			return err
		}
		s.decide(ask)
	}
	put()
	return nil
}

// check says whether a letter can be put, and how; nil: it is there already.
// Planned are the letters of the same commit before it.
func (s *Store) check(l *journal.Letter, planned []journal.Letter) (put func(), err error) {
	before, fresh := (*[32]byte)(nil), false
	h, err := s.session(l.To)
	if err != nil {
		if l.New == nil {
			return nil, err
		}
		fresh = true
		for _, r := range l.New.Lineage {
			o, err := s.session(r.Session)
			if err != nil || r.Session.Tenant != l.To.Tenant {
				return nil, fmt.Errorf("%w: %s, of which %s was to be a fork", journal.ErrNotFound, r.Session, l.To)
			}
			if find(o.frames, r.To).Last() != r.To {
				return nil, fmt.Errorf("%w: a commit of %s that ends at %d, where %s was to begin", journal.ErrNotFound, r.Session, r.To, l.To)
			}
		}
	} else if d, ok := h.seen[l.ID]; ok {
		before = &d
	}
	for _, p := range planned {
		if p.To == l.To {
			fresh = false
			if p.ID == l.ID {
				before = &p.Digest
			}
		}
	}
	same := before != nil && *before == l.Digest
	switch {
	case same:
		return nil, nil
	case l.New != nil && !fresh && before != nil:
		return nil, fmt.Errorf("%w: %w: %s", journal.ErrExists, journal.ErrMismatch, l.To)
	case l.New != nil && !fresh:
		return nil, fmt.Errorf("%w: %s", journal.ErrExists, l.To)
	case before != nil:
		return nil, fmt.Errorf("%w: input %s of %s", journal.ErrMismatch, l.ID, l.To)
	}
	return func() { s.put(l) }, nil
}

// put puts a letter that was checked.
func (s *Store) put(l *journal.Letter) {
	h, err := s.session(l.To)
	if err != nil {
		h = &session{
			key: l.To, no: len(s.tenant(l.To.Tenant).sessions), next: 1, summary: cloneSummary(l.New.Summary), lineage: slices.Clone(l.New.Lineage),
			seen: map[string][32]byte{}, snapshots: map[int]journal.Snapshot{},
		}
		for _, r := range h.lineage {
			h.next = r.To + 1
			if o, err := s.session(r.Session); err == nil {
				h.fold = max(h.fold, o.fold) // a fork needs the binary that its ancestors need
			}
		}
		s.tenant(l.To.Tenant).sessions[l.To.ID] = h
	}
	h.seen[l.ID] = l.Digest
	kept := *l
	kept.New, kept.Data = nil, bytes.Clone(l.Data)
	h.inbox = append(h.inbox, kept)
	now := s.now()
	if s.live(h.lease, now) {
		s.post(h)
		return
	}
	s.offer(h, now)
}

// closable says whether an ask is open. Opening are those of the same commit.
func (s *Store) closable(a *journal.AskClose, opening []journal.AskRow) error {
	row := s.tenant(a.Session.Tenant).asks[a.ID]
	for i := range opening {
		if opening[i].Ask.ID == a.ID {
			row = &opening[i]
		}
	}
	if row == nil || row.Session != a.Session {
		return fmt.Errorf("%w: ask %s of %s", journal.ErrNotFound, a.ID, a.Session)
	}
	if row.Status != cairn.AskOpen {
		return fmt.Errorf("%w: %s is %s", journal.ErrDecided, a.ID, row.Status)
	}
	return nil
}

// decide closes an ask that was found open.
func (s *Store) decide(a *journal.AskClose) {
	row := s.tenant(a.Session.Tenant).asks[a.ID]
	row.Status, row.By, row.Decided = a.Status, a.By, a.At
}

// Commit implements [journal.Driver].
func (s *Store) Commit(ctx context.Context, c journal.Commit) (journal.Claim, error) {
	if err := s.enter(ctx); err != nil {
		return journal.Claim{}, err
	}
	defer s.mu.Unlock()
	h, err := s.session(c.Claim.Session)
	if err != nil {
		return journal.Claim{}, err
	}
	puts, err := s.checkCommit(h, &c)
	if err != nil {
		return journal.Claim{}, err
	}

	t := s.tenant(h.key.Tenant)
	if c.Frame.Count > 0 {
		f := c.Frame
		f.Data = bytes.Clone(f.Data)
		h.frames = append(h.frames, f)
		h.next += cairn.Seq(f.Count)
		t.log = append(t.log, journal.Entry{Position: journal.Position(len(t.log) + 1), Session: h.key, Frame: f})
	}
	h.inbox = slices.DeleteFunc(h.inbox, func(l journal.Letter) bool { return slices.Contains(c.Taken, l.ID) })
	for _, put := range puts {
		put()
	}
	for _, a := range c.Open {
		a.Ask.Args = bytes.Clone(a.Ask.Args)
		t.asks[a.Ask.ID] = &a
		t.opened = append(t.opened, a.Ask.ID)
	}
	for _, a := range c.Close {
		s.decide(&a)
	}
	h.wakeAt, h.busy, h.fold = c.WakeAt, c.Busy, max(h.fold, c.Fold)
	if c.Summary != nil {
		h.summary = cloneSummary(*c.Summary)
	}
	if c.Release {
		h.lease = ""
		s.offer(h, s.now())
	}
	c.Claim.Next = h.next
	return c.Claim, nil
}

// checkCommit finds everything a commit can be refused for, and how its letters
// are put.
func (s *Store) checkCommit(h *session, c *journal.Commit) (puts []func(), err error) {
	switch {
	case h.epoch != c.Claim.Epoch || h.lease != c.Claim.Lease:
		return nil, fmt.Errorf("%w: %s is at epoch %d, the claim is of epoch %d", journal.ErrFenced, h.key, h.epoch, c.Claim.Epoch)
	case h.next != c.Claim.Next:
		return nil, fmt.Errorf("%w: the next event of %s is %d, the claim says %d", journal.ErrConflict, h.key, h.next, c.Claim.Next)
	case c.Frame.Count > 0 && c.Frame.First != h.next:
		return nil, fmt.Errorf("%w: the frame starts at %d and the claim says %d", journal.ErrConflict, c.Frame.First, h.next)
	}
	for i := range c.Send {
		put, err := s.check(&c.Send[i], c.Send[:i])
		if err != nil {
			return nil, fmt.Errorf("send %s to %s: %w", c.Send[i].ID, c.Send[i].To, err)
		}
		if put != nil {
			puts = append(puts, put)
		}
	}
	for i, a := range c.Open {
		_, known := s.tenant(h.key.Tenant).asks[a.Ask.ID]
		again := slices.ContainsFunc(c.Open[:i], func(b journal.AskRow) bool { return a.Ask.ID == b.Ask.ID })
		if a.Session != h.key || known || again {
			return nil, fmt.Errorf("journal: ask %s of %s cannot be opened by %s", a.Ask.ID, a.Session, h.key)
		}
	}
	for i, a := range c.Close {
		if a.Session != h.key {
			return nil, fmt.Errorf("journal: ask %s is of %s, not of %s", a.ID, a.Session, h.key)
		}
		if err := s.closable(&a, c.Open); err != nil {
			return nil, err
		}
		if slices.ContainsFunc(c.Close[:i], func(b journal.AskClose) bool { return a.ID == b.ID }) {
			return nil, fmt.Errorf("%w: %s, by the same commit", journal.ErrDecided, a.ID)
		}
	}
	return puts, nil
}

// draw is a draw that was granted.
type draw struct {
	budgets []string // sorted
	amount  cairn.Money
}

// Draw implements [journal.Driver].
func (s *Store) Draw(ctx context.Context, d journal.Draw) error {
	if err := s.enter(ctx); err != nil {
		return err
	}
	defer s.mu.Unlock()
	t := s.tenant(d.Tenant)
	budgets := slices.Clone(d.Budgets)
	slices.SortFunc(budgets, func(a, b cairn.SharedBudget) int { return cmp.Compare(a.ID, b.ID) })
	this := draw{amount: d.Amount}
	for _, b := range budgets {
		this.budgets = append(this.budgets, b.ID)
	}
	if before, ok := t.draws[d.ID]; ok {
		if before.amount != this.amount || !slices.Equal(before.budgets, this.budgets) {
			return fmt.Errorf("%w: draw %s", journal.ErrMismatch, d.ID)
		}
		return nil
	}
	after := map[string]cairn.Money{}
	for _, b := range budgets {
		drawn, ok := after[b.ID]
		if !ok {
			drawn = t.budgets[b.ID]
		}
		if d.Amount > 0 && d.Amount > b.Limit-drawn {
			return fmt.Errorf("%w: %s has %s of %s left, not %s", journal.ErrBudget, b.ID, max(b.Limit-drawn, 0), b.Limit, d.Amount)
		}
		// More is never given back than was drawn, so that a limit stays one.
		after[b.ID] = max(drawn+d.Amount, 0)
	}
	for id, drawn := range after {
		t.budgets[id] = drawn
	}
	t.draws[d.ID] = this
	return nil
}
