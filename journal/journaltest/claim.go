package journaltest

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/journal"
)

func leases(e *env) {
	ctx := e.Context()
	a, b := e.join(10*time.Second), e.join(10*time.Second)
	if a.ID == "" || a.ID == b.ID {
		e.Fatalf("leases %q and %q", a.ID, b.ID)
	}
	pass(8 * time.Second)
	again, err := e.s.Beat(ctx, a, 10*time.Second)
	e.ok(err)
	equal(e, again, a)
	pass(4 * time.Second) // b has run out, a was renewed
	_, err = e.s.Beat(ctx, b, 10*time.Second)
	e.is(err, journal.ErrFenced)
	_, err = e.s.Beat(ctx, b, 10*time.Second)
	e.is(err, journal.ErrFenced)
	_, err = e.s.Claim(ctx, b, journal.Filter{Fold: 1}, 1)
	e.is(err, journal.ErrFenced)
	_, err = e.s.Beat(ctx, journal.Lease{ID: "never joined"}, time.Second)
	e.is(err, journal.ErrFenced)
	_, err = e.s.Claim(ctx, journal.Lease{}, journal.Filter{Fold: 1}, 1)
	e.is(err, journal.ErrFenced)
	_, err = e.s.Beat(ctx, a, time.Second)
	e.ok(err)
	_, err = e.s.Claim(ctx, a, journal.Filter{Fold: 1}, 1) // it runs out while the claim waits
	e.is(err, journal.ErrFenced)
}

func claimInbox(e *env) {
	a, b := e.join(ttl), e.join(ttl)
	equal(e, len(e.due(a, 1)), 0)
	c := e.started(a, key(1))
	equal(e, c.Epoch, 1)
	equal(e, len(e.due(b, 1)), 0) // it has an input, and a live owner
	e.release(c)
	equal(e, len(e.due(b, 1)), 0) // it is free, and has nothing to do
	e.ok(e.s.Deliver(e.Context(), letter(key(1), "more", "more"), nil))
	c = e.claim(b)
	equal(e, c, journal.Claim{Session: key(1), Epoch: 2, Next: 1, Lease: b.ID})
}

func claimWakeAt(e *env) {
	a := e.join(24 * time.Hour)
	c := e.started(a, key(1))
	c = e.commit(journal.Commit{Claim: c, Frame: frame(1, 1, "one"), Taken: []string{"start"}, WakeAt: time.Now().Add(time.Hour), Release: true})
	if got := e.due(a, 1); len(got) != 0 {
		e.Fatalf("claimed %v before its time", got)
	}
	before := time.Now()
	claims, err := e.s.Claim(e.Context(), a, journal.Filter{Fold: 1}, 1)
	e.ok(err)
	if took := time.Since(before); !e.h.RealTime && (took < 59*time.Minute || took > time.Hour) {
		e.Fatalf("woken after %v", took)
	}
	equal(e, claims, []journal.Claim{{Session: key(1), Epoch: 2, Next: c.Next, Lease: a.ID}})

	// A timer of an earlier commit is gone with the next.
	e.commit(journal.Commit{Claim: claims[0], Release: true})
	pass(2 * time.Hour)
	equal(e, len(e.due(a, 1)), 0)

	// One that has passed is due at once.
	e.ok(e.s.Deliver(e.Context(), letter(key(1), "more", "more"), nil))
	e.commit(journal.Commit{Claim: e.claim(a), Taken: []string{"more"}, WakeAt: time.Now().Add(-time.Hour), Release: true})
	e.commit(journal.Commit{Claim: e.claim(a), WakeAt: time.Now().Add(-time.Hour), Release: true})
	e.claim(a)
}

func claimDeadOwner(e *env) {
	b := e.join(24 * time.Hour)
	states := map[int]journal.Commit{
		1: {Taken: []string{"start"}, Busy: true},
		2: {Taken: []string{"start"}}, // nothing to do
		3: {Busy: true},
		4: {}, // its input is still there
		5: {Taken: []string{"start"}, WakeAt: time.Now().Add(time.Hour)},
	}
	a := e.join(time.Minute)
	for i := 1; i <= len(states); i++ {
		c := states[i]
		c.Claim = e.started(a, key(i))
		c.Frame = frame(1, 1, "one")
		e.commit(c)
	}
	equal(e, len(e.due(b, 10)), 0)
	pass(time.Minute)
	got := map[cairn.SessionKey]uint64{}
	for _, c := range e.due(b, 10) {
		got[c.Session] = c.Epoch
	}
	equal(e, got, map[cairn.SessionKey]uint64{key(1): 2, key(3): 2, key(4): 2})
	_, err := e.s.Commit(e.Context(), journal.Commit{Claim: journal.Claim{Session: key(1), Epoch: 1, Next: 2, Lease: a.ID}, Frame: frame(2, 1, "late")})
	e.is(err, journal.ErrFenced)

	pass(time.Hour) // the timer of one that the dead owner had
	equal(e, e.claim(b).Session, key(5))
	e.ok(e.s.Deliver(e.Context(), letter(key(2), "more", "more"), nil))
	equal(e, e.claim(b).Session, key(2))
}

func claimReleased(e *env) {
	a := e.join(ttl)
	c := e.started(a, key(1))
	e.ok(e.s.Deliver(e.Context(), letter(key(1), "second", "second"), nil))
	c = e.commit(journal.Commit{Claim: c, Frame: frame(1, 1, "one"), Taken: []string{"start"}, Release: true})
	c2 := e.claim(a) // there is still an input
	equal(e, c2, journal.Claim{Session: key(1), Epoch: 2, Next: c.Next, Lease: a.ID})
	e.commit(journal.Commit{Claim: c2, Taken: []string{"second"}, Busy: true, Release: true})
	c3 := e.claim(a) // there is open work and nobody who has it
	equal(e, c3.Epoch, 3)
	e.release(c3)
	equal(e, len(e.due(a, 1)), 0)
}

// claimBlocks: a claim waits until there is something, and no longer.
func claimBlocks(e *env) {
	a := e.join(24 * time.Hour)
	type outcome struct {
		claims []journal.Claim
		err    error
	}
	waiting := func(ctx context.Context) <-chan outcome {
		got := make(chan outcome, 1)
		go func() {
			claims, err := e.s.Claim(ctx, a, journal.Filter{Fold: 1}, 5)
			got <- outcome{claims, err}
		}()
		e.settle()
		select {
		case o := <-got:
			e.Fatalf("claim did not wait: %v, %v", o.claims, o.err)
		default:
		}
		return got
	}
	session := func(got <-chan outcome) journal.Claim {
		e.Helper()
		o := <-got
		e.ok(o.err)
		if len(o.claims) != 1 {
			e.Fatalf("claimed %v, want one", o.claims)
		}
		return o.claims[0]
	}

	got := waiting(e.Context())
	e.start(key(1))
	c := session(got)

	got = waiting(e.Context())
	e.commit(journal.Commit{Claim: c, Busy: true, Release: true})
	c = session(got)

	got = waiting(e.Context())
	e.commit(journal.Commit{Claim: c, Taken: []string{"start"}, WakeAt: time.Now().Add(time.Minute), Release: true})
	c = session(got)
	e.release(c)

	b := e.join(time.Minute)
	e.ok(e.s.Deliver(e.Context(), letter(key(1), "more", "more"), nil))
	c = e.claim(b)
	got = waiting(e.Context())
	equal(e, session(got).Epoch, c.Epoch+1) // b's lease ran out

	ctx, cancel := context.WithCancel(e.Context())
	got = waiting(ctx)
	cancel()
	e.is((<-got).err, context.Canceled)
}

// claimOnce: of many that wait for the same sessions exactly one gets each,
// while inputs keep coming.
func claimOnce(e *env) {
	const claimers, sessions, inputs = 8, 40, 10
	ctx, cancel := context.WithCancel(e.Context())
	defer cancel()
	var mu sync.Mutex
	got := map[cairn.SessionKey]int{}
	var claiming, delivering sync.WaitGroup
	for range claimers {
		l := e.join(ttl)
		claiming.Go(func() {
			for {
				claims, err := e.s.Claim(ctx, l, journal.Filter{Fold: 1}, 3)
				if err != nil {
					return
				}
				mu.Lock()
				for _, c := range claims {
					got[c.Session]++
				}
				mu.Unlock()
			}
		})
	}
	for i := range sessions {
		delivering.Go(func() {
			if err := e.s.Deliver(ctx, startLetter(key(i)), nil); err != nil {
				e.Errorf("start: %v", err)
				return
			}
			for n := range inputs {
				delivering.Go(func() {
					if err := e.s.Deliver(ctx, letter(key(i), fmt.Sprint(n), "more"), nil); err != nil {
						e.Errorf("deliver: %v", err)
					}
				})
			}
		})
	}
	delivering.Wait()
	e.settle() // what is due was claimed
	equal(e, len(e.due(e.join(ttl), 1)), 0)
	cancel()
	claiming.Wait()
	equal(e, len(got), sessions)
	for k, n := range got {
		if n != 1 {
			e.Errorf("%s was claimed %d times", k, n)
		}
	}
}

func claimMax(e *env) {
	a := e.join(ttl)
	for i := range 7 {
		e.start(key(i))
	}
	var sizes []int
	seen := map[cairn.SessionKey]bool{}
	for range 4 {
		claims := e.due(a, 3)
		sizes = append(sizes, len(claims))
		for _, c := range claims {
			seen[c.Session] = true
		}
	}
	equal(e, sizes, []int{3, 3, 1, 0})
	equal(e, len(seen), 7)
}

func claimAgain(e *env) {
	ctx := e.Context()
	a, b := e.join(24*time.Hour), e.join(time.Minute)
	c := e.started(b, key(1))
	k := key(1)
	again := journal.Filter{Fold: 1, Again: &k}
	claims, err := e.s.Claim(ctx, b, again, 1)
	e.ok(err)
	equal(e, claims, []journal.Claim{{Session: k, Epoch: 2, Next: 1, Lease: b.ID}})
	_, err = e.s.Commit(ctx, journal.Commit{Claim: c, Frame: frame(1, 1, "late")})
	e.is(err, journal.ErrFenced)
	c = e.commit(journal.Commit{Claim: claims[0], Frame: frame(1, 1, "one"), Taken: []string{"start"}, Busy: true, Fold: 2})

	_, err = e.s.Claim(ctx, b, again, 1)
	e.is(err, journal.ErrTooNew)
	again.Fold = 2
	again.Epoch = c.Epoch - 1 // a claim that was given up and taken anew since
	_, err = e.s.Claim(ctx, b, again, 1)
	e.is(err, journal.ErrFenced)
	again.Epoch = 0
	_, err = e.s.Claim(ctx, a, again, 1)
	e.is(err, journal.ErrFenced)
	nobody := key(9)
	_, err = e.s.Claim(ctx, a, journal.Filter{Fold: 1, Again: &nobody}, 1)
	e.is(err, journal.ErrNotFound)

	pass(time.Minute) // b is dead
	_, err = e.s.Claim(ctx, b, again, 1)
	e.is(err, journal.ErrFenced)
	claims, err = e.tryClaim(a, journal.Filter{Fold: 2}, 1)
	e.ok(err)
	equal(e, claims, []journal.Claim{{Session: k, Epoch: 3, Next: c.Next, Lease: a.ID}})
	e.release(claims[0])
	_, err = e.s.Claim(ctx, a, again, 1) // it was given up
	e.is(err, journal.ErrFenced)
}

// claimFold: what a newer binary wrote is left to newer binaries.
func claimFold(e *env) {
	a := e.join(24 * time.Hour)
	c := e.started(a, key(1))
	c = e.commit(journal.Commit{Claim: c, Frame: frame(1, 1, "one"), Fold: 2})
	e.commit(journal.Commit{Claim: c, Frame: frame(2, 1, "two"), Fold: 1, Busy: true, Release: true}) // it never goes down
	equal(e, len(e.due(a, 1)), 0)
	e.start(key(2)) // the older ones are not held up
	equal(e, e.claim(a).Session, key(2))
	e.ok(e.s.Deliver(e.Context(), letter(key(1), "more", "more"), nil))
	equal(e, len(e.due(a, 1)), 0)
	claims, err := e.tryClaim(a, journal.Filter{Fold: 2}, 1)
	e.ok(err)
	equal(e, len(claims), 1)
	equal(e, claims[0].Session, key(1))
}

func mail(e *env) {
	a := e.join(time.Minute)
	for i := range 3 {
		e.started(a, key(i))
	}
	ctx, cancel := context.WithCancel(e.Context())
	defer cancel()
	got := make(chan cairn.SessionKey)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for k := range e.s.Mail(ctx, a) {
			got <- k
		}
	}()
	e.ok(e.s.Deliver(ctx, letter(key(1), "more", "more"), nil))
	equal(e, <-got, key(1))
	e.settle()
	e.ok(e.s.Deliver(ctx, letter(key(2), "more", "more"), nil))
	e.ok(e.s.Deliver(ctx, letter(key(0), "more", "more"), nil))
	equal(e, map[cairn.SessionKey]bool{<-got: true, <-got: true}, map[cairn.SessionKey]bool{key(0): true, key(2): true})

	e.ok(e.s.Deliver(ctx, startLetter(key(9)), nil)) // nobody's
	b := e.join(ttl)
	equal(e, e.claim(b).Session, key(9))
	e.ok(e.s.Deliver(ctx, letter(key(9), "more", "more"), nil)) // b's
	e.settle()
	select {
	case k := <-got:
		e.Fatalf("a was told of %s", k)
	default:
	}
	cancel()
	<-done
}
