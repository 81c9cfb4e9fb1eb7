package journaltest

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/journal"
)

func inboxOrder(e *env) {
	ctx := e.Context()
	e.start(key(1))
	want := []journal.Letter{startLetter(key(1))}
	want[0].New = nil
	for i := range 20 {
		l := letter(key(1), fmt.Sprintf("in_%02d", 50-i), fmt.Sprint("said ", i)) // ids do not order them
		l.At = epoch.Add(time.Duration(100-i) * time.Second)                      // nor do their times
		e.ok(e.s.Deliver(ctx, l, nil))
		want = append(want, l)
	}
	got, err := e.s.Inbox(ctx, key(1), 100)
	e.ok(err)
	equal(e, got, want)
	got, err = e.s.Inbox(ctx, key(1), 5)
	e.ok(err)
	equal(e, got, want[:5])

	c := e.claim(e.join(ttl))
	e.commit(journal.Commit{Claim: c, Taken: []string{want[0].ID, want[3].ID}})
	got, err = e.s.Inbox(ctx, key(1), 2)
	e.ok(err)
	equal(e, got, []journal.Letter{want[1], want[2]})
	_, err = e.s.Inbox(ctx, key(2), 2)
	e.is(err, journal.ErrNotFound)
}

// inboxIdempotent: an id is recognised for ever.
func inboxIdempotent(e *env) {
	ctx := e.Context()
	a := e.join(ttl)
	c := e.started(a, key(1))
	in, other := letter(key(1), "in_1", "hello"), letter(key(1), "in_1", "good bye")
	e.ok(e.s.Deliver(ctx, in, nil))
	later := in
	later.At = later.At.Add(time.Hour) // a client that tries again
	e.ok(e.s.Deliver(ctx, later, nil))
	e.is(e.s.Deliver(ctx, other, nil), journal.ErrMismatch)
	equal(e, e.inbox(key(1)), []string{"start", "in_1"})

	e.commit(journal.Commit{Claim: c, Frame: frame(1, 1, "one"), Taken: []string{"start", "in_1"}, Release: true})
	e.ok(e.s.Deliver(ctx, in, nil))
	e.ok(e.s.Deliver(ctx, startLetter(key(1)), nil))
	e.is(e.s.Deliver(ctx, other, nil), journal.ErrMismatch)
	equal(e, e.inbox(key(1)), nil)
	equal(e, len(e.due(a, 1)), 0) // a duplicate wakes nobody

	e.start(key(2)) // ids are those of a session
	e.ok(e.s.Deliver(ctx, letter(key(2), "in_1", "good bye"), nil))
	equal(e, e.inbox(key(2)), []string{"start", "in_1"})
}

func newSession(e *env) {
	ctx := e.Context()
	e.is(e.s.Deliver(ctx, letter(key(1), "in_1", "hello"), nil), journal.ErrNotFound)
	e.start(key(1))
	equal(e, e.summary(key(1)), summary(key(1)))
	equal(e, e.frames(key(1), 0), nil)
	e.start(key(1)) // the same start again
	equal(e, e.inbox(key(1)), []string{"start"})

	second := startLetter(key(1))
	second.ID = "another"
	e.is(e.s.Deliver(ctx, second, nil), journal.ErrExists)
	changed := startLetter(key(1))
	changed.Digest[0]++
	e.is(e.s.Deliver(ctx, changed, nil), journal.ErrExists)
	equal(e, e.inbox(key(1)), []string{"start"})

	// Of many that start it at once, all who say the same succeed and one makes it.
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if err := e.s.Deliver(ctx, startLetter(key(2)), nil); err != nil {
				e.Errorf("start: %v", err)
			}
		})
	}
	wg.Wait()
	equal(e, e.inbox(key(2)), []string{"start"})
}

// ask makes the n-th ask of a session.
func ask(k cairn.SessionKey, n int) journal.AskRow {
	return journal.AskRow{Session: k, Status: cairn.AskOpen, Ask: cairn.Ask{
		ID: cairn.AskIDAt(k.ID, cairn.Seq(n)), Kind: cairn.AskApproval, Run: cairn.RunIDAt(k.ID, 1), Tool: "refund",
		Args: []byte(`{"amount":"<5>","to":"a&b"}`), Opened: epoch.Add(time.Duration(n) * time.Second), Expires: epoch.Add(24 * time.Hour),
	}}
}

var ada = cairn.Principal{Kind: "user", ID: "ada"}

// closing closes the n-th ask of a session.
func closing(k cairn.SessionKey, n int) journal.AskClose {
	return journal.AskClose{Session: k, ID: ask(k, n).Ask.ID, Status: cairn.AskApproved, By: ada, At: epoch.Add(time.Hour)}
}

// asked starts a session that has opened asks and was given up.
func (e *env) asked(l journal.Lease, k cairn.SessionKey, n int) {
	e.Helper()
	c := e.started(l, k)
	var open []journal.AskRow
	for i := range n {
		open = append(open, ask(k, i+1))
	}
	e.commit(journal.Commit{Claim: c, Frame: frame(1, 1, "one"), Taken: []string{"start"}, Open: open, Release: true})
}

// askDecided: the decision and its input are there together, or neither.
func askDecided(e *env) {
	ctx := e.Context()
	a := e.join(ttl)
	k := key(1)
	e.asked(a, k, 2)
	yes := closing(k, 1)
	in := letter(k, "yes", "approve 1")
	e.ok(e.s.Deliver(ctx, in, &yes))
	got, err := e.s.Ask(ctx, acme, yes.ID)
	e.ok(err)
	want := ask(k, 1)
	want.Status, want.By, want.Decided = cairn.AskApproved, ada, yes.At
	equal(e, got, want)
	equal(e, e.inbox(k), []string{"yes"})
	equal(e, e.claim(a).Session, k) // the decision wakes the session

	e.ok(e.s.Deliver(ctx, in, &yes)) // the same decision again
	no := yes
	no.Status = cairn.AskRejected
	e.is(e.s.Deliver(ctx, letter(k, "no", "reject 1"), &no), journal.ErrDecided)
	e.is(e.s.Deliver(ctx, letter(k, "yes", "something else"), &yes), journal.ErrMismatch)
	unknown := closing(k, 9)
	e.is(e.s.Deliver(ctx, letter(k, "nine", "approve 9"), &unknown), journal.ErrNotFound)
	second := closing(k, 2)
	e.is(e.s.Deliver(ctx, letter(key(2), "two", "approve 2"), &second), journal.ErrNotFound) // no such session
	second.Session = key(2)
	e.is(e.s.Deliver(ctx, letter(k, "two", "approve 2"), &second), journal.ErrNotFound) // not that session's ask
	equal(e, e.inbox(k), []string{"yes"})
	got, err = e.s.Ask(ctx, acme, yes.ID)
	e.ok(err)
	equal(e, got, want)

	// What was refused has left no trace: its id is free.
	second = closing(k, 2)
	e.ok(e.s.Deliver(ctx, letter(k, "two", "approve 2, said anew"), &second))
	equal(e, e.inbox(k), []string{"yes", "two"})
	_, err = e.s.Ask(ctx, acme, unknown.ID)
	e.is(err, journal.ErrNotFound)
}

// askDeciders: of many who decide at once, one wins, and only its input arrives.
func askDeciders(e *env) {
	const n = 16
	k := key(1)
	e.asked(e.join(ttl), k, 1)
	var won atomic.Int64
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			d := closing(k, 1)
			d.By.ID = fmt.Sprint(i)
			err := e.s.Deliver(e.Context(), letter(k, fmt.Sprint(i), fmt.Sprint(i)), &d)
			if err == nil {
				won.Add(1)
			} else if e.Context().Err() == nil {
				e.is(err, journal.ErrDecided)
			}
		})
	}
	wg.Wait()
	equal(e, won.Load(), 1)
	row, err := e.s.Ask(e.Context(), acme, ask(k, 1).Ask.ID)
	e.ok(err)
	equal(e, e.inbox(k), []string{row.By.ID})
}

// askClosedByCommit: a commit closes asks, unless a decision came first.
func askClosedByCommit(e *env) {
	ctx := e.Context()
	a := e.join(ttl)
	k := key(1)
	c := e.started(a, k)
	c = e.commit(journal.Commit{Claim: c, Frame: frame(1, 1, "one"), Open: []journal.AskRow{ask(k, 1), ask(k, 2), ask(k, 3)}})
	expired := closing(k, 1)
	expired.Status, expired.By = cairn.AskLapsed, cairn.Principal{Kind: "runtime"}
	c = e.commit(journal.Commit{Claim: c, Frame: frame(2, 1, "two"), Close: []journal.AskClose{expired}})
	row, err := e.s.Ask(ctx, acme, expired.ID)
	e.ok(err)
	equal(e, row.Status, cairn.AskLapsed)
	e.is(e.s.Deliver(ctx, letter(k, "late", "approve 1"), &expired), journal.ErrDecided)

	second, third := closing(k, 2), closing(k, 3)
	e.ok(e.s.Deliver(ctx, letter(k, "yes", "approve 2"), &second))
	_, err = e.s.Commit(ctx, journal.Commit{
		Claim: c, Frame: frame(3, 1, "three"), Taken: []string{"start"}, Close: []journal.AskClose{third, second}, Open: []journal.AskRow{ask(k, 4)},
	})
	e.is(err, journal.ErrDecided)
	_, err = e.s.Commit(ctx, journal.Commit{Claim: c, Frame: frame(3, 1, "three"), Close: []journal.AskClose{third, closing(k, 8)}})
	e.is(err, journal.ErrNotFound)
	equal(e, e.inbox(k), []string{"start", "yes"})
	open, err := e.s.Asks(ctx, acme, journal.AskFilter{})
	e.ok(err)
	equal(e, open, []journal.AskRow{ask(k, 3)})
	e.commit(journal.Commit{Claim: c, Frame: frame(3, 1, "three"), Taken: []string{"yes"}, Close: []journal.AskClose{third}})
}

// send: a commit writes to other inboxes and never to other heads.
func send(e *env) {
	ctx := e.Context()
	a, b := e.join(ttl), e.join(ttl)
	other := e.started(b, key(2))
	c := e.started(a, key(1))
	child := startLetter(key(3))
	hello := letter(key(2), "hello", "hello")
	c = e.commit(journal.Commit{Claim: c, Frame: frame(1, 1, "one"), Send: []journal.Letter{hello, child}})
	equal(e, e.inbox(key(2)), []string{"start", "hello"})
	equal(e, e.summary(key(3)), summary(key(3)))
	equal(e, e.claim(a).Session, key(3))
	e.commit(journal.Commit{Claim: other, Frame: frame(1, 1, "mine")}) // its owner was not disturbed

	e.commit(journal.Commit{Claim: c, Frame: frame(2, 1, "two"), Send: []journal.Letter{hello, child, hello}}) // again
	equal(e, e.inbox(key(2)), []string{"start", "hello"})
	equal(e, e.inbox(key(3)), []string{"start"})
	e.is(e.s.Deliver(ctx, letter(key(2), "hello", "else"), nil), journal.ErrMismatch)
}

func sendRefused(e *env) {
	ctx := e.Context()
	a := e.join(ttl)
	e.start(key(2))
	e.release(e.claim(a))
	e.ok(e.s.Deliver(ctx, letter(key(2), "hello", "hello"), nil))
	e.release(e.claim(a))
	c := e.started(a, key(1))
	fresh := letter(key(2), "fresh", "fresh")
	for _, v := range []struct {
		bad  journal.Letter
		want error
	}{
		{letter(key(2), "hello", "else"), journal.ErrMismatch},
		{letter(key(2), "fresh", "else"), journal.ErrMismatch},
		{letter(key(9), "hello", "hello"), journal.ErrNotFound},
		{func() journal.Letter { l := startLetter(key(2)); l.ID = "second"; return l }(), journal.ErrExists},
	} {
		_, err := e.s.Commit(ctx, journal.Commit{
			Claim: c, Frame: frame(1, 1, "one"), Taken: []string{"start"}, Open: []journal.AskRow{ask(key(1), 1)},
			Send: []journal.Letter{startLetter(key(3)), fresh, v.bad},
		})
		e.is(err, v.want)
	}
	equal(e, e.inbox(key(1)), []string{"start"})
	equal(e, e.inbox(key(2)), nil)
	equal(e, e.frames(key(1), 0), nil)
	_, err := e.s.Summary(ctx, key(3))
	e.is(err, journal.ErrNotFound)
	equal(e, len(e.due(a, 9)), 0)
	e.commit(journal.Commit{Claim: c, Frame: frame(1, 1, "one"), Open: []journal.AskRow{ask(key(1), 1)}, Send: []journal.Letter{startLetter(key(3)), fresh}})
	equal(e, e.inbox(key(2)), []string{"fresh"})
}
