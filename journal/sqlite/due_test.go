package sqlite_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/journal"
	"github.com/cairn-run/cairn/journal/sqlite"
)

// TestClockBack: a timer has fired while the clock ran ahead, and the clock is
// set right. A timer between the two waits for its time: claims neither turn
// without end until then, nor miss it.
func TestClockBack(t *testing.T) {
	t.Parallel()
	right := time.Now()
	var ahead, looks atomic.Int64
	now := func() time.Time { return right.Add(time.Duration(ahead.Load())) }
	s, err := sqlite.Open(t.Context(), t.TempDir(), sqlite.Options{Now: func() time.Time { looks.Add(1); return now() }})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}()
	ctx := t.Context()
	l, err := s.Beat(ctx, journal.Lease{}, 24*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	claim := func(id cairn.SessionID) journal.Claim {
		t.Helper()
		ctx, cancel := context.WithTimeout(ctx, 30*time.Second) // a timer that is missed would hang the test
		defer cancel()
		c, err := s.Claim(ctx, l, journal.Filter{Fold: 1}, 1)
		if err != nil || len(c) != 1 || c[0].Session.ID != id {
			t.Fatalf("claimed %v, %v; want %s", c, err, id)
		}
		return c[0]
	}
	release := func(c journal.Claim, taken []string, wake time.Time) {
		t.Helper()
		if _, err := s.Commit(ctx, journal.Commit{Claim: c, Taken: taken, WakeAt: wake, Fold: 1, Release: true}); err != nil {
			t.Fatal(err)
		}
	}
	sleeper := func(id cairn.SessionID, wake time.Time) {
		t.Helper()
		k := cairn.SessionKey{Tenant: "t", ID: id}
		in := journal.Letter{To: k, ID: "a", At: now(), Data: []byte("{}"), New: &journal.NewSession{Summary: cairn.Summary{Session: k}}}
		if err := s.Deliver(ctx, in, nil); err != nil {
			t.Fatal(err)
		}
		release(claim(id), []string{"a"}, wake)
	}

	ahead.Store(int64(time.Hour))
	sleeper("ses_1", now().Add(time.Minute))
	ahead.Add(int64(time.Minute))
	release(claim("ses_1"), nil, time.Time{})

	ahead.Store(0)
	sleeper("ses_2", now().Add(30*time.Minute))
	before := looks.Load()
	waiting, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
	defer cancel()
	if c, err := s.Claim(waiting, l, journal.Filter{Fold: 1}, 1); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("claimed %v, %v; want nothing before its time", c, err)
	}
	if n := looks.Load() - before; n > 10 {
		t.Errorf("a claim that waits looked at the clock %d times", n)
	}

	ahead.Store(int64(30 * time.Minute))
	release(claim("ses_2"), nil, time.Time{})
}
