package journaltest

import (
	"fmt"
	"sync"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/journal"
)

func commitAppends(e *env) {
	l := e.join(ttl)
	c := e.started(l, key(1))
	equal(e, c, journal.Claim{Session: key(1), Epoch: 1, Next: 1, Lease: l.ID})
	first, second := frame(1, 3, "one"), frame(4, 1, "two")
	next := e.commit(journal.Commit{Claim: c, Frame: first, Taken: []string{"start"}})
	c.Next = 4
	equal(e, next, c)
	next = e.commit(journal.Commit{Claim: c, Frame: second})
	c.Next = 5
	equal(e, next, c)
	equal(e, e.frames(key(1), 0), []journal.Frame{first, second})
	equal(e, e.inbox(key(1)), nil)
}

func commitRefused(e *env) {
	l := e.join(ttl)
	c := e.started(l, key(1))
	now := e.commit(journal.Commit{Claim: c, Frame: frame(1, 1, "one")})
	stranger := e.join(ttl)
	for name, v := range map[string]struct {
		commit journal.Commit
		want   error
	}{
		"behind":        {journal.Commit{Claim: c, Frame: frame(1, 1, "again")}, journal.ErrConflict},
		"ahead":         {journal.Commit{Claim: with(now, func(c *journal.Claim) { c.Next = 9 }), Frame: frame(9, 1, "x")}, journal.ErrConflict},
		"frame":         {journal.Commit{Claim: now, Frame: frame(7, 1, "x")}, journal.ErrConflict},
		"older epoch":   {journal.Commit{Claim: with(now, func(c *journal.Claim) { c.Epoch-- }), Frame: frame(2, 1, "x")}, journal.ErrFenced},
		"newer epoch":   {journal.Commit{Claim: with(now, func(c *journal.Claim) { c.Epoch++ }), Frame: frame(2, 1, "x")}, journal.ErrFenced},
		"other lease":   {journal.Commit{Claim: with(now, func(c *journal.Claim) { c.Lease = stranger.ID }), Frame: frame(2, 1, "x")}, journal.ErrFenced},
		"no session":    {journal.Commit{Claim: with(now, func(c *journal.Claim) { c.Session = key(2) }), Frame: frame(2, 1, "x")}, journal.ErrNotFound},
		"other tenant":  {journal.Commit{Claim: with(now, func(c *journal.Claim) { c.Session.Tenant = "other" }), Frame: frame(2, 1, "x")}, journal.ErrNotFound},
		"both too late": {journal.Commit{Claim: journal.Claim{Session: key(1), Next: 1}, Frame: frame(1, 1, "x")}, journal.ErrFenced},
	} {
		if _, err := e.s.Commit(e.Context(), v.commit); err == nil {
			e.Fatalf("%s: accepted", name)
		} else {
			e.is(err, v.want)
		}
	}
	e.release(now)
	_, err := e.s.Commit(e.Context(), journal.Commit{Claim: now, Frame: frame(2, 1, "after release")})
	e.is(err, journal.ErrFenced)
	equal(e, e.frames(key(1), 0), []journal.Frame{frame(1, 1, "one")})
}

func with(c journal.Claim, change func(*journal.Claim)) journal.Claim {
	change(&c)
	return c
}

// commitRefusedWhole: of a refused commit nothing is there, whatever was in it.
func commitRefusedWhole(e *env) {
	l := e.join(ttl)
	e.start(key(2))
	e.release(e.claim(l))
	c := e.started(l, key(1))
	now := e.commit(journal.Commit{Claim: c, Frame: frame(1, 1, "one"), Open: []journal.AskRow{ask(key(1), 1)}})
	sum := summary(key(1))
	sum.Title = "should not be seen"
	_, err := e.s.Commit(e.Context(), journal.Commit{
		Claim: c, Frame: frame(1, 1, "again"), Taken: []string{"start"}, Send: []journal.Letter{letter(key(2), "hello", "hello")},
		Open: []journal.AskRow{ask(key(1), 2)}, Close: []journal.AskClose{closing(key(1), 1)},
		WakeAt: epoch, Summary: &sum, Fold: 7, Busy: true, Release: true,
	})
	e.is(err, journal.ErrConflict)
	equal(e, e.inbox(key(1)), []string{"start"})
	equal(e, e.inbox(key(2)), nil)
	equal(e, e.summary(key(1)), summary(key(1)))
	open, err := e.s.Asks(e.Context(), acme, journal.AskFilter{})
	e.ok(err)
	equal(e, open, []journal.AskRow{ask(key(1), 1)})
	equal(e, e.entries(acme, 0), []journal.Entry{{Position: e.entries(acme, 0)[0].Position, Session: key(1), Frame: frame(1, 1, "one")}})
	e.commit(journal.Commit{Claim: now, Frame: frame(2, 1, "it is still ours")})
}

func commitWithoutEvents(e *env) {
	l := e.join(ttl)
	c := e.started(l, key(1))
	next := e.commit(journal.Commit{Claim: c, Taken: []string{"start", "never arrived"}})
	equal(e, next, c)
	equal(e, e.frames(key(1), 0), nil)
	equal(e, e.entries(acme, 0), nil)
	equal(e, e.inbox(key(1)), nil)
}

// commitHead: the list row is written with the commit, and stays without one.
func commitHead(e *env) {
	l := e.join(ttl)
	c := e.started(l, key(1))
	sum := summary(key(1))
	sum.Status, sum.Title, sum.Events, sum.Cost = cairn.StatusWaiting, "A <b>title</b> & more", 1, 5
	sum.Waiting = []string{"timer"}
	sum.Usage = cairn.Usage{Input: 1, CacheRead: 2, CacheWrite5m: 3, CacheWrite1h: 4, Output: 5, Reasoning: 6}
	sum.LastError = &cairn.Error{Code: cairn.CodeTimeout, Message: "slow"}
	c = e.commit(journal.Commit{Claim: c, Frame: frame(1, 1, "one"), Summary: &sum})
	equal(e, e.summary(key(1)), sum)
	e.commit(journal.Commit{Claim: c, Frame: frame(2, 1, "two")})
	equal(e, e.summary(key(1)), sum)
}

// groupKeepsItsRefusals: commits that are queued together are accepted and
// refused each for itself.
func groupKeepsItsRefusals(e *env) {
	const sessions, rounds = 32, 10
	l := e.join(ttl)
	claims := make([]journal.Claim, sessions)
	for i := range sessions {
		claims[i] = e.started(l, key(i))
	}
	var wg sync.WaitGroup
	for i := range claims {
		c, stale := claims[i], claims[i]
		stale.Epoch += 7 // a claim that was never given
		wg.Go(func() {
			for n := range rounds {
				next, err := e.s.Commit(e.Context(), journal.Commit{Claim: c, Frame: frame(c.Next, 2, fmt.Sprint(i, n))})
				if err != nil {
					e.Errorf("session %d: %v", i, err)
					return
				}
				c = next
			}
		})
		wg.Go(func() {
			for range rounds {
				_, err := e.s.Commit(e.Context(), journal.Commit{Claim: stale, Frame: frame(stale.Next, 1, "stale"), Taken: []string{"start"}})
				if err == nil {
					e.Errorf("session %d: a stale commit was accepted", i)
				}
			}
		})
	}
	wg.Wait()
	for i := range sessions {
		var want []journal.Frame
		for n := range rounds {
			want = append(want, frame(cairn.Seq(1+2*n), 2, fmt.Sprint(i, n)))
		}
		equal(e, e.frames(key(i), 0), want)
		equal(e, e.inbox(key(i)), []string{"start"})
	}
}

// callerKeepsItsBytes: what was handed over may be overwritten by the caller.
func callerKeepsItsBytes(e *env) {
	l := e.join(ttl)
	k := key(1)
	start := startLetter(k)
	want := append([]byte(nil), start.Data...)
	e.ok(e.s.Deliver(e.Context(), start, nil))
	clear(start.Data)
	letters, err := e.s.Inbox(e.Context(), k, 1)
	e.ok(err)
	equal(e, letters[0].Data, want)
	clear(letters[0].Data)
	letters, err = e.s.Inbox(e.Context(), k, 1)
	e.ok(err)
	equal(e, letters[0].Data, want)

	f := frame(1, 1, "one")
	e.commit(journal.Commit{Claim: e.claim(l), Frame: f})
	clear(f.Data)
	got := e.frames(k, 0)
	equal(e, got, []journal.Frame{frame(1, 1, "one")})
	clear(got[0].Data)
	equal(e, e.frames(k, 0), []journal.Frame{frame(1, 1, "one")})
}
