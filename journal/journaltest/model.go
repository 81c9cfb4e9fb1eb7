package journaltest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/journal"
)

// model compares a store with a naive model of it over random histories: every
// call, with good and with stale claims, must give the error and leave the state
// that the model says.
func model(e *env) {
	histories := 0
	rapid.Check(bubbled{e.T}, func(r *rapid.T) {
		histories++
		m := &machine{
			T: r, s: e.s, tenant: cairn.TenantID(fmt.Sprint("tenant-", histories)),
			sessions: map[int]*refSession{}, leases: make([]refLease, 3), drawn: map[string]cairn.Money{}, draws: map[string]cairn.Money{},
		}
		defer m.end()
		r.Repeat(map[string]func(*rapid.T){
			"":        m.compare,
			"start":   m.start,
			"deliver": m.deliver,
			"decide":  m.decide,
			"beat":    m.beat,
			"claim":   m.claim,
			"commit":  m.commit,
			"commit2": m.commit, // more often than the others
			"draw":    m.draw,
			"pass":    func(r *rapid.T) { pass(rapid.SampledFrom([]time.Duration{time.Second, time.Minute}).Draw(r, "time")) },
		})
	})
}

// bubbled hides the deadline of a test, which may not be asked for in a bubble.
type bubbled struct{ *testing.T }

// refLife is the time to live of the model's leases.
const refLife = 50 * time.Second

// machine is a tenant in a store and what it should be.
type machine struct {
	*rapid.T
	s        journal.Store
	tenant   cairn.TenantID
	sessions map[int]*refSession
	leases   []refLease
	claims   []journal.Claim // all that were ever given
	log      []journal.Entry // positions left out
	drawn    map[string]cairn.Money
	draws    map[string]cairn.Money
}

func (m *machine) key(n int) cairn.SessionKey { return keyOf(m.tenant, n) }

// end leaves nothing that is due, because the next history is in the same store.
func (m *machine) end() {
	ctx := context.Background()
	pass(time.Hour) // leases and timers run out
	l, err := m.s.Beat(ctx, journal.Lease{}, time.Hour)
	want(m.T, "beat", err, nil)
	for {
		ctx, cancel := context.WithTimeout(ctx, time.Millisecond)
		claims, err := m.s.Claim(ctx, l, journal.Filter{Fold: 1}, 10)
		cancel()
		if errors.Is(err, context.DeadlineExceeded) {
			return
		}
		want(m.T, "claim", err, nil)
		for _, c := range claims {
			letters, err := m.s.Inbox(context.Background(), c.Session, 100)
			want(m.T, "inbox", err, nil)
			commit := journal.Commit{Claim: c, Release: true}
			for _, l := range letters {
				commit.Taken = append(commit.Taken, l.ID)
			}
			_, err = m.s.Commit(context.Background(), commit)
			want(m.T, "commit", err, nil)
		}
	}
}

type refLease struct {
	journal.Lease
	expires time.Time
}

type refSession struct {
	key     cairn.SessionKey
	epoch   uint64
	next    cairn.Seq
	lease   string
	busy    bool
	wakeAt  time.Time
	inbox   []string
	seen    map[string]string // id → what was said
	frames  []journal.Frame
	asks    []journal.AskRow
	summary cairn.Summary
}

func (m *machine) live(id string) bool {
	return slices.ContainsFunc(m.leases, func(l refLease) bool { return id != "" && l.ID == id && time.Now().Before(l.expires) })
}

func (m *machine) due(s *refSession) bool {
	return !m.live(s.lease) && (s.busy || len(s.inbox) > 0 || (!s.wakeAt.IsZero() && !time.Now().Before(s.wakeAt)))
}

// want ends the test unless err is what was expected (nil: success).
func want(r *rapid.T, what string, err, expected error) {
	if expected == nil && err != nil || !errors.Is(err, expected) {
		r.Fatalf("%s: error is %v, want %v", what, err, expected)
	}
}

func same[T any](r *rapid.T, what string, got, expected T) {
	if d := cmp.Diff(expected, got, cmpopts.EquateEmpty()); d != "" {
		r.Fatalf("%s differs (-want +got):\n%s", what, d)
	}
}

const refSessions = 4

func (m *machine) start(r *rapid.T) {
	n := rapid.IntRange(1, refSessions).Draw(r, "session")
	l := startLetter(m.key(n))
	if rapid.Bool().Draw(r, "other start") {
		l.ID = "other start"
	}
	var expected error
	s := m.sessions[n]
	switch {
	case s == nil:
		m.sessions[n] = &refSession{
			key: l.To, next: 1, inbox: []string{l.ID}, seen: map[string]string{l.ID: string(l.Data)}, summary: summary(l.To),
		}
	case s.seen[l.ID] == "":
		expected = journal.ErrExists
	}
	want(r, "start", m.s.Deliver(context.Background(), l, nil), expected)
}

// put delivers to the model.
func (m *machine) put(n int, id, said string) error {
	s := m.sessions[n]
	switch {
	case s == nil:
		return journal.ErrNotFound
	case s.seen[id] == said:
		return nil
	case s.seen[id] != "":
		return journal.ErrMismatch
	}
	s.seen[id] = said
	s.inbox = append(s.inbox, id)
	return nil
}

func (m *machine) drawLetter(r *rapid.T) (n int, l journal.Letter) {
	n = rapid.IntRange(1, refSessions).Draw(r, "session")
	id := rapid.SampledFrom([]string{"a", "b", "c", "d"}).Draw(r, "id")
	said := rapid.SampledFrom([]string{"yes", "yes", "no"}).Draw(r, "said")
	return n, letter(m.key(n), id, said)
}

func (m *machine) deliver(r *rapid.T) {
	n, l := m.drawLetter(r)
	want(r, "deliver", m.s.Deliver(context.Background(), l, nil), m.put(n, l.ID, string(l.Data)))
}

// closeAsk closes in the model, or says why not.
func (s *refSession) closeAsk(d journal.AskClose) error {
	for i, a := range s.asks {
		if a.Ask.ID == d.ID {
			if a.Status != cairn.AskOpen {
				return journal.ErrDecided
			}
			s.asks[i].Status, s.asks[i].By, s.asks[i].Decided = d.Status, d.By, d.At
			return nil
		}
	}
	return journal.ErrNotFound
}

func (m *machine) decide(r *rapid.T) {
	n, l := m.drawLetter(r)
	d := closing(m.key(n), rapid.IntRange(1, 3).Draw(r, "ask"))
	expected := journal.ErrNotFound
	if s := m.sessions[n]; s != nil {
		switch {
		case s.seen[l.ID] == string(l.Data):
			expected = nil // it was delivered before
		case s.seen[l.ID] != "":
			expected = journal.ErrMismatch
		default:
			if expected = s.closeAsk(d); expected == nil {
				_ = m.put(n, l.ID, string(l.Data))
			}
		}
	}
	want(r, "decide", m.s.Deliver(context.Background(), l, &d), expected)
}

func (m *machine) beat(r *rapid.T) {
	l := &m.leases[rapid.IntRange(0, len(m.leases)-1).Draw(r, "lease")]
	renewing := l.ID != ""
	got, err := m.s.Beat(context.Background(), l.Lease, refLife)
	if renewing && !m.live(l.ID) {
		want(r, "beat", err, journal.ErrFenced)
		*l = refLease{}
		return
	}
	want(r, "beat", err, nil)
	if renewing && got.ID != l.ID {
		r.Fatalf("lease %s became %s", l.ID, got.ID)
	}
	*l = refLease{got, time.Now().Add(refLife)}
}

func (m *machine) claim(r *rapid.T) {
	l := m.leases[rapid.IntRange(0, len(m.leases)-1).Draw(r, "lease")]
	limit := rapid.IntRange(1, 3).Draw(r, "max")
	f := journal.Filter{Fold: 1}
	if n := rapid.IntRange(-6, refSessions).Draw(r, "again"); n > 0 {
		k := m.key(n)
		f.Again = &k
		m.claimAgain(r, l.Lease, n, f)
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
	defer cancel()
	due := map[cairn.SessionKey]*refSession{}
	for _, s := range m.sessions {
		if m.due(s) {
			due[s.key] = s
		}
	}
	expected := error(nil)
	switch {
	case !m.live(l.ID):
		expected = journal.ErrFenced
	case len(due) == 0:
		expected = context.DeadlineExceeded
	}
	claims, err := m.s.Claim(ctx, l.Lease, f, limit)
	want(r, "claim", err, expected)
	if err != nil {
		return
	}
	if len(claims) != min(limit, len(due)) {
		r.Fatalf("claimed %d, want %d of %d", len(claims), limit, len(due))
	}
	for _, c := range claims {
		s := due[c.Session]
		if s == nil {
			r.Fatalf("claimed %s, which is not due, or twice", c.Session)
		}
		delete(due, c.Session)
		m.given(r, c, s, l.Lease)
	}
}

func (m *machine) claimAgain(r *rapid.T, l journal.Lease, n int, f journal.Filter) {
	s := m.sessions[n]
	var expected error
	switch {
	case !m.live(l.ID):
		expected = journal.ErrFenced
	case s == nil:
		expected = journal.ErrNotFound
	case s.lease != l.ID:
		expected = journal.ErrFenced
	}
	claims, err := m.s.Claim(context.Background(), l, f, 1)
	want(r, "claim again", err, expected)
	if err == nil {
		m.given(r, claims[0], s, l)
	}
}

func (m *machine) given(r *rapid.T, c journal.Claim, s *refSession, l journal.Lease) {
	s.epoch++
	s.lease = l.ID
	same(r, "claim", c, journal.Claim{Session: s.key, Epoch: s.epoch, Next: s.next, Lease: l.ID})
	m.claims = append(m.claims, c)
}

func (m *machine) commit(r *rapid.T) {
	if len(m.claims) == 0 {
		return
	}
	which := rapid.IntRange(0, len(m.claims)-1).Draw(r, "claim")
	if rapid.IntRange(0, 3).Draw(r, "stale") > 0 {
		which = len(m.claims) - 1 - which%min(2, len(m.claims)) // one of the last, which are good more often
	}
	given := m.claims[which]
	var n int
	for i, s := range m.sessions {
		if s.key == given.Session {
			n = i
		}
	}
	s := m.sessions[n]
	c := journal.Commit{Claim: given, Fold: 1, Busy: rapid.Bool().Draw(r, "busy"), Release: rapid.IntRange(0, 3).Draw(r, "release") == 0}
	if count := rapid.IntRange(0, 2).Draw(r, "events"); count > 0 {
		c.Frame = frame(given.Next, count, fmt.Sprint("frame ", len(m.log)))
	}
	for _, id := range s.inbox {
		if rapid.Bool().Draw(r, "take") {
			c.Taken = append(c.Taken, id)
		}
	}
	if rapid.IntRange(0, 3).Draw(r, "wake") == 0 {
		c.WakeAt = time.Now().Add(rapid.SampledFrom([]time.Duration{-time.Second, 20 * time.Second, 90 * time.Second}).Draw(r, "in")).Truncate(0)
	}
	if rapid.Bool().Draw(r, "list row") {
		row := s.summary
		row.Title = fmt.Sprint("after ", given.Next)
		c.Summary = &row
	}
	to := 0
	if rapid.IntRange(0, 3).Draw(r, "send") == 0 {
		var l journal.Letter
		to, l = m.drawLetter(r)
		c.Send = append(c.Send, l)
	}
	if i := rapid.IntRange(-3, 3).Draw(r, "ask"); i > 0 && !slices.ContainsFunc(s.asks, func(a journal.AskRow) bool { return a.Ask.ID == ask(s.key, i).Ask.ID }) {
		c.Open = append(c.Open, ask(s.key, i))
	} else if i > 0 {
		c.Close = append(c.Close, closing(s.key, i))
	}

	next, err := m.s.Commit(context.Background(), c)
	if errors.Is(err, journal.ErrFenced) && !m.live(given.Lease) {
		return // whether a dead owner may go on until it is replaced is left to the driver
	}
	expected := m.apply(s, &c, to)
	want(r, "commit", err, expected)
	if err == nil {
		m.claims[which] = next
		same(r, "claim after the commit", next, journal.Claim{Session: s.key, Epoch: s.epoch, Next: s.next, Lease: given.Lease})
	}
}

// apply commits to the model, or says why not.
func (m *machine) apply(s *refSession, c *journal.Commit, to int) error {
	switch {
	case s.epoch != c.Claim.Epoch || s.lease != c.Claim.Lease:
		return journal.ErrFenced
	case s.next != c.Claim.Next:
		return journal.ErrConflict
	}
	for _, l := range c.Send { // at most one
		if t := m.sessions[to]; t == nil {
			return journal.ErrNotFound
		} else if t.seen[l.ID] != "" && t.seen[l.ID] != string(l.Data) {
			return journal.ErrMismatch
		}
	}
	for _, d := range c.Close { // at most one
		if err := s.closeAsk(d); err != nil {
			return err
		}
	}
	s.asks = append(s.asks, c.Open...)
	s.inbox = slices.DeleteFunc(s.inbox, func(id string) bool { return slices.Contains(c.Taken, id) })
	for _, l := range c.Send {
		_ = m.put(to, l.ID, string(l.Data))
	}
	if c.Frame.Count > 0 {
		s.frames = append(s.frames, c.Frame)
		s.next += cairn.Seq(c.Frame.Count)
		m.log = append(m.log, journal.Entry{Session: s.key, Frame: c.Frame})
	}
	s.busy, s.wakeAt = c.Busy, c.WakeAt
	if c.Summary != nil {
		s.summary = *c.Summary
	}
	if c.Release {
		s.lease = ""
	}
	return nil
}

func (m *machine) draw(r *rapid.T) {
	id := rapid.SampledFrom([]string{"1", "2", "3", "4", "5", "6"}).Draw(r, "draw")
	amount := cairn.Money(rapid.IntRange(-3, 6).Draw(r, "amount"))
	budgets := []cairn.SharedBudget{{ID: "x", Limit: 10}, {ID: "y", Limit: 8}}
	before, known := m.draws[id]
	var expected error
	switch {
	case known && before != amount:
		expected = journal.ErrMismatch
	case known:
	case amount > 0 && (m.drawn["x"]+amount > 10 || m.drawn["y"]+amount > 8):
		expected = journal.ErrBudget
	case m.drawn["x"]+amount < 0:
		return // what giving back more than was drawn does is left to the driver
	default:
		m.draws[id] = amount
		m.drawn["x"] += amount
		m.drawn["y"] += amount
	}
	want(r, "draw", m.s.Draw(context.Background(), journal.Draw{Tenant: m.tenant, ID: id, Budgets: budgets, Amount: amount}), expected)
}

// compare reads everything there is.
func (m *machine) compare(r *rapid.T) {
	ctx := context.Background()
	for n := 1; n <= refSessions; n++ {
		s := m.sessions[n]
		letters, err := m.s.Inbox(ctx, m.key(n), 100)
		if s == nil {
			want(r, "inbox", err, journal.ErrNotFound)
			continue
		}
		want(r, "inbox", err, nil)
		var ids []string
		for _, l := range letters {
			ids = append(ids, l.ID)
		}
		same(r, "inbox", ids, s.inbox)
		var frames []journal.Frame
		for f, err := range m.s.Load(ctx, s.key, 0) {
			want(r, "load", err, nil)
			frames = append(frames, f)
		}
		same(r, "history", frames, s.frames)
		row, err := m.s.Summary(ctx, s.key)
		want(r, "summary", err, nil)
		same(r, "list row", row, s.summary)
		for _, a := range s.asks {
			row, err := m.s.Ask(ctx, m.tenant, a.Ask.ID)
			want(r, "ask", err, nil)
			same(r, "ask", row, a)
		}
	}
	var log []journal.Entry
	for e, err := range m.s.Tail(ctx, m.tenant, 0) {
		want(r, "tail", err, nil)
		e.Position = 0
		log = append(log, e)
	}
	same(r, "tail", log, m.log)
	for id, amount := range m.drawn {
		got, err := m.s.Budget(ctx, m.tenant, id)
		want(r, "budget", err, nil)
		same(r, "budget "+id, got, amount)
	}
}
