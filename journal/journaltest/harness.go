// Package journaltest is the conformance suite of journal drivers: a driver is
// done when [Run] passes. It covers the sentences of the contract in package
// journal one by one, then compares a store with a naive model over random
// histories, and lets several owners fight over one session.
//
// Most of it runs in a testing/synctest bubble, so that hours of leases and
// timers pass at once and "it blocks" can be seen rather than guessed.
package journaltest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/journal"
)

// Harness says how the stores of a driver are opened.
type Harness struct {
	// Open returns an empty store. The suite closes it.
	Open func(t *testing.T) journal.Store
	// Reopen closes a store and opens again what it wrote; nil: nothing outlives
	// Close.
	Reopen func(t *testing.T, s journal.Store) journal.Store
	// RealTime says that the store's clock is not that of a bubble: the suite then
	// waits for time to pass.
	RealTime bool
}

// Run runs the suite.
func Run(t *testing.T, h Harness) {
	t.Helper()
	for name, test := range map[string]func(*env){
		"CommitAppends":            commitAppends,
		"CommitRefused":            commitRefused,
		"CommitRefusedWhole":       commitRefusedWhole,
		"CommitWithoutEvents":      commitWithoutEvents,
		"CommitHead":               commitHead,
		"LeaseJoinRenewExpire":     leases,
		"ClaimInbox":               claimInbox,
		"ClaimWakeAt":              claimWakeAt,
		"ClaimDeadOwner":           claimDeadOwner,
		"ClaimReleased":            claimReleased,
		"ClaimBlocks":              claimBlocks,
		"ClaimOnce":                claimOnce,
		"ClaimMax":                 claimMax,
		"ClaimAgain":               claimAgain,
		"ClaimFold":                claimFold,
		"Mail":                     mail,
		"InboxOrder":               inboxOrder,
		"InboxIdempotent":          inboxIdempotent,
		"NewSession":               newSession,
		"AskDecided":               askDecided,
		"AskDeciders":              askDeciders,
		"AskClosedByCommit":        askClosedByCommit,
		"Send":                     send,
		"SendRefused":              sendRefused,
		"LoadPages":                loadPages,
		"LoadLineage":              loadLineage,
		"Tail":                     tail,
		"DrawAllOrNone":            drawAllOrNone,
		"DrawConcurrent":           drawConcurrent,
		"Summaries":                summaries,
		"Asks":                     asks,
		"Totals":                   totals,
		"Catalog":                  catalog,
		"Snapshots":                snapshots,
		"Tenants":                  tenants,
		"Closed":                   closed,
		"Cancelled":                cancelled,
		"CallerKeepsItsBytes":      callerKeepsItsBytes,
		"TakeOverUnderStaleOwners": takeOver,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h.bubble(t, test)
		})
	}
	for name, test := range map[string]func(*env){
		"GroupKeepsItsRefusals": groupKeepsItsRefusals,
		"TailUnderWriters":      tailUnderWriters,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := h
			h.RealTime = true // there is much to write, and no time to pass
			test(h.env(t))
		})
	}
	if !h.RealTime { // the model moves the clock by hours
		t.Run("Model", func(t *testing.T) {
			t.Parallel()
			h.bubble(t, model)
		})
	}
	if h.Reopen != nil {
		t.Run("Reopen", func(t *testing.T) {
			t.Parallel()
			h.bubble(t, reopen)
		})
	}
}

// ttl is the time to live of leases that a test does not let run out.
const ttl = time.Hour

// acme is the tenant of tests that need one.
const acme cairn.TenantID = "acme"

// bubble runs a test with a fresh store where time is simulated.
func (h Harness) bubble(t *testing.T, test func(*env)) {
	if h.RealTime {
		test(h.env(t))
		return
	}
	synctest.Test(t, func(t *testing.T) { test(h.env(t)) })
}

func (h Harness) env(t *testing.T) *env {
	e := &env{T: t, h: h, s: h.Open(t)}
	t.Cleanup(func() {
		if err := e.s.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return e
}

// env is a store under test.
type env struct {
	*testing.T
	h Harness
	s journal.Store
}

// pass lets time pass: in a bubble that takes none.
func pass(d time.Duration) {
	time.Sleep(d) //nolint:forbidigo // it is the bubble's clock that moves
}

// settle waits until everything that runs waits for something.
func (e *env) settle() {
	if !e.h.RealTime {
		synctest.Wait()
	}
}

// soon is how long a claim that finds nothing is waited for.
func (e *env) soon() time.Duration {
	if e.h.RealTime {
		return 300 * time.Millisecond
	}
	return time.Millisecond
}

func (e *env) ok(err error) {
	e.Helper()
	if err != nil {
		e.Fatalf("unexpected error: %v", err)
	}
}

func (e *env) is(err, want error) {
	e.Helper()
	if !errors.Is(err, want) {
		e.Fatalf("error is %v, want %v", err, want)
	}
}

func equal[T any](e *env, got, want T) {
	e.Helper()
	if d := cmp.Diff(want, got, cmpopts.EquateEmpty(), cmp.Comparer(bytes.Equal)); d != "" {
		e.Fatalf("differs (-want +got):\n%s", d)
	}
}

// key names the n-th session; ids sort as they are numbered, as ULIDs do.
func key(n int) cairn.SessionKey { return keyOf(acme, n) }

func keyOf(t cairn.TenantID, n int) cairn.SessionKey {
	return cairn.SessionKey{Tenant: t, ID: cairn.NewSessionID(fmt.Sprintf("%026d", n))}
}

// epoch is when the things of tests take place.
var epoch = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

// letter makes an input. Its bytes are opaque to a driver, so they need not be
// what they would be.
func letter(to cairn.SessionKey, id, said string) journal.Letter {
	return journal.Letter{To: to, ID: id, Digest: sha256.Sum256([]byte(said)), At: epoch, Data: []byte(said)}
}

func startLetter(to cairn.SessionKey) journal.Letter {
	l := letter(to, "start", "start of "+to.String())
	l.New = &journal.NewSession{Summary: summary(to)}
	return l
}

func summary(k cairn.SessionKey) cairn.Summary {
	return cairn.Summary{Session: k, Agent: "support", Digest: "sha256:1", Status: cairn.StatusQueued, Created: epoch, Updated: epoch}
}

func frame(first cairn.Seq, count int, said string) journal.Frame {
	return journal.Frame{First: first, Count: count, Data: []byte(said)}
}

// start makes a session.
func (e *env) start(k cairn.SessionKey) {
	e.Helper()
	e.ok(e.s.Deliver(e.Context(), startLetter(k), nil))
}

func (e *env) join(d time.Duration) journal.Lease {
	e.Helper()
	l, err := e.s.Beat(e.Context(), journal.Lease{}, d)
	e.ok(err)
	return l
}

// due claims what is due now.
func (e *env) due(l journal.Lease, max int) []journal.Claim {
	e.Helper()
	claims, err := e.tryClaim(l, journal.Filter{Fold: 1}, max)
	e.ok(err)
	return claims
}

// tryClaim is a claim that does not block.
func (e *env) tryClaim(l journal.Lease, f journal.Filter, max int) ([]journal.Claim, error) {
	ctx, cancel := context.WithTimeout(e.Context(), e.soon())
	defer cancel()
	claims, err := e.s.Claim(ctx, l, f, max)
	if errors.Is(err, context.DeadlineExceeded) {
		return nil, nil
	}
	return claims, err
}

// claim claims the one session that is due.
func (e *env) claim(l journal.Lease) journal.Claim {
	e.Helper()
	claims := e.due(l, 2)
	if len(claims) != 1 {
		e.Fatalf("claimed %v, want one session", claims)
	}
	return claims[0]
}

// started makes a session and claims it.
func (e *env) started(l journal.Lease, k cairn.SessionKey) journal.Claim {
	e.Helper()
	e.start(k)
	c := e.claim(l)
	if c.Session != k {
		e.Fatalf("claimed %s, want %s", c.Session, k)
	}
	return c
}

// commit commits and must succeed.
func (e *env) commit(c journal.Commit) journal.Claim {
	e.Helper()
	next, err := e.s.Commit(e.Context(), c)
	e.ok(err)
	return next
}

// release gives a session up with everything taken.
func (e *env) release(c journal.Claim) {
	e.Helper()
	e.commit(journal.Commit{Claim: c, Taken: e.inbox(c.Session), Release: true})
}

func (e *env) frames(k cairn.SessionKey, after cairn.Seq) []journal.Frame {
	e.Helper()
	var all []journal.Frame
	for f, err := range e.s.Load(e.Context(), k, after) {
		e.ok(err)
		all = append(all, f)
	}
	return all
}

// inbox returns the ids of the inputs not yet taken.
func (e *env) inbox(k cairn.SessionKey) []string {
	e.Helper()
	letters, err := e.s.Inbox(e.Context(), k, 1000)
	e.ok(err)
	var ids []string
	for _, l := range letters {
		ids = append(ids, l.ID)
	}
	return ids
}

func (e *env) summary(k cairn.SessionKey) cairn.Summary {
	e.Helper()
	s, err := e.s.Summary(e.Context(), k)
	e.ok(err)
	return s
}

func (e *env) entries(t cairn.TenantID, after journal.Position) []journal.Entry {
	e.Helper()
	var all []journal.Entry
	for v, err := range e.s.Tail(e.Context(), t, after) {
		e.ok(err)
		all = append(all, v)
	}
	return all
}
