package journaltest

import (
	"fmt"
	"strings"
	"sync"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/journal"
)

// loadPages: every place of a long history can be loaded from, in frames of
// different sizes and with more bytes than fit a page.
func loadPages(e *env) {
	const n = 300
	a := e.join(ttl)
	c := e.started(a, key(1))
	other := e.started(a, key(2))
	var want []journal.Frame
	for i := range n {
		said := fmt.Sprint("frame ", i)
		if i%80 == 0 {
			said = strings.Repeat("x", 600<<10)
		}
		f := frame(c.Next, 1+i%4, said)
		want = append(want, f)
		c = e.commit(journal.Commit{Claim: c, Frame: f})
		if i%10 == 0 {
			other = e.commit(journal.Commit{Claim: other, Frame: frame(other.Next, 1, "other")})
		}
	}
	last := c.Next - 1
	equal(e, e.frames(key(1), 0), want)
	i := 0
	for after := cairn.Seq(0); after <= last+2; after++ {
		for i < len(want) && want[i].Last() <= after {
			i++
		}
		var first *journal.Frame
		for f, err := range e.s.Load(e.Context(), key(1), after) {
			e.ok(err)
			first = &f
			break
		}
		switch {
		case i == len(want):
			if first != nil {
				e.Fatalf("after %d of %d there is %d", after, last, first.First)
			}
		case first == nil:
			e.Fatalf("after %d there is nothing", after)
		default:
			equal(e, *first, want[i])
		}
	}
	equal(e, e.frames(key(1), want[101].First), want[101:])
	for _, err := range e.s.Load(e.Context(), key(9), 0) {
		e.is(err, journal.ErrNotFound)
	}
}

// loadLineage: a fork's history is the ranges it inherits and then its own.
func loadLineage(e *env) {
	ctx := e.Context()
	a := e.join(ttl)
	grow := func(c journal.Claim, n int, said string) (journal.Claim, []journal.Frame) {
		e.Helper()
		var frames []journal.Frame
		for i := range n {
			f := frame(c.Next, 2, fmt.Sprint(said, " ", i))
			frames = append(frames, f)
			c = e.commit(journal.Commit{Claim: c, Frame: f})
		}
		return c, frames
	}
	fork := func(n int, lineage ...journal.Range) journal.Claim {
		e.Helper()
		start := startLetter(key(n))
		start.New.Lineage = lineage
		e.ok(e.s.Deliver(ctx, start, nil))
		return e.claim(a)
	}

	c, parent := grow(e.started(a, key(1)), 6, "parent") // 1 to 12
	f := fork(2, journal.Range{Session: key(1), From: 1, To: 8})
	equal(e, f, journal.Claim{Session: key(2), Epoch: 1, Next: 9, Lease: a.ID})
	equal(e, e.frames(key(2), 0), parent[:4])
	f, child := grow(f, 3, "child") // 9 to 14
	grow(c, 2, "the parent goes on")
	want := append(append([]journal.Frame{}, parent[:4]...), child...)
	equal(e, e.frames(key(2), 0), want)
	for i, w := range want {
		equal(e, e.frames(key(2), w.First-1), want[i:])
		equal(e, e.frames(key(2), w.First), want[i:])
	}
	equal(e, e.frames(key(2), 14), nil)

	// A rollback is a hole: the child's first step is left out, the second kept.
	g := fork(3, journal.Range{Session: key(1), From: 1, To: 8}, journal.Range{Session: key(2), From: 11, To: 12})
	equal(e, g.Next, 13)
	_, grand := grow(g, 1, "grandchild")
	want = append(append(append([]journal.Frame{}, parent[:4]...), child[1]), grand...)
	equal(e, e.frames(key(3), 0), want)
	equal(e, e.frames(key(3), 8), want[4:])
	equal(e, e.frames(key(3), 10), want[4:])
	equal(e, e.frames(key(3), 12), grand)

	var own []journal.Frame // the tail has each session's own frames
	for _, v := range e.entries(acme, 0) {
		if v.Session == key(2) {
			own = append(own, v.Frame)
		}
	}
	equal(e, own, child)

	// A fork needs the binary its ancestors need, and ancestors that exist.
	e.commit(journal.Commit{Claim: f, Frame: frame(15, 1, "new"), Fold: 3, Release: true})
	e.release(e.due3(a)[0])
	start := startLetter(key(4))
	start.New.Lineage = []journal.Range{{Session: key(2), From: 1, To: 15}}
	e.ok(e.s.Deliver(ctx, start, nil))
	equal(e, len(e.due(a, 1)), 0)
	equal(e, len(e.due3(a)), 1)
	start = startLetter(key(5))
	start.New.Lineage = []journal.Range{{Session: key(77), From: 1, To: 2}}
	e.is(e.s.Deliver(ctx, start, nil), journal.ErrNotFound)
	start.New.Lineage = []journal.Range{{Session: key(1), From: 1, To: 7}} // within a commit
	e.is(e.s.Deliver(ctx, start, nil), journal.ErrNotFound)
	start.New.Lineage = []journal.Range{{Session: key(1), From: 1, To: 99}}
	e.is(e.s.Deliver(ctx, start, nil), journal.ErrNotFound)
	start.New.Lineage = []journal.Range{{Session: keyOf("other", 1), From: 1, To: 2}}
	e.is(e.s.Deliver(ctx, start, nil), journal.ErrNotFound)
	_, err := e.s.Summary(ctx, key(5))
	e.is(err, journal.ErrNotFound)
}

// due3 claims as a binary of fold version 3.
func (e *env) due3(l journal.Lease) []journal.Claim {
	e.Helper()
	claims, err := e.tryClaim(l, journal.Filter{Fold: 3}, 1)
	e.ok(err)
	return claims
}

func tail(e *env) {
	a := e.join(ttl)
	equal(e, e.entries(acme, 0), nil)
	claims := []journal.Claim{e.started(a, key(1)), e.started(a, key(2))}
	var want []journal.Frame
	for i := range 600 {
		c := &claims[i%2]
		f := frame(c.Next, 1, fmt.Sprint(i))
		want = append(want, f)
		*c = e.commit(journal.Commit{Claim: *c, Frame: f})
	}
	all := e.entries(acme, 0)
	var got []journal.Frame
	var last journal.Position
	for i, v := range all {
		if v.Position <= last {
			e.Fatalf("position %d follows %d", v.Position, last)
		}
		last = v.Position
		equal(e, v.Session, key(1+i%2))
		got = append(got, v.Frame)
	}
	equal(e, got, want)
	for _, i := range []int{0, 1, 255, 256, 599} {
		equal(e, e.entries(acme, all[i].Position), all[i+1:][:len(all)-i-1:len(all)-i-1])
	}
	equal(e, e.entries(acme, last+1000), nil)
	equal(e, e.entries("nobody", 0), nil)
}

// tailUnderWriters: whoever follows the tail while many write sees every frame
// once, and each session's in order.
func tailUnderWriters(e *env) {
	const sessions, each = 16, 60
	a := e.join(ttl)
	var wg sync.WaitGroup
	for i := range sessions {
		c := e.started(a, key(i))
		wg.Go(func() {
			for n := range each {
				next, err := e.s.Commit(e.Context(), journal.Commit{Claim: c, Frame: frame(c.Next, 1, fmt.Sprint(n))})
				if err != nil {
					e.Errorf("commit: %v", err)
					return
				}
				c = next
			}
		})
	}
	finished := make(chan struct{})
	go func() {
		wg.Wait()
		close(finished)
	}()
	next := map[cairn.SessionKey]cairn.Seq{}
	var cursor journal.Position
	total := 0
	for over := false; ; {
		for v, err := range e.s.Tail(e.Context(), acme, cursor) {
			e.ok(err)
			if v.Position <= cursor {
				e.Fatalf("position %d follows %d", v.Position, cursor)
			}
			if v.Frame.First != next[v.Session]+1 {
				e.Fatalf("%s: event %d follows %d", v.Session, v.Frame.First, next[v.Session])
			}
			cursor, next[v.Session] = v.Position, v.Frame.First
			total++
		}
		if over {
			break
		}
		select {
		case <-finished:
			over = true // once more, for what came since
		default:
		}
	}
	equal(e, total, sessions*each)
}
