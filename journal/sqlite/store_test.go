package sqlite_test

import (
	"database/sql"
	"errors"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/journal"
	"github.com/cairn-run/cairn/journal/journaltest"
	"github.com/cairn-run/cairn/journal/sqlite"
)

func open(t *testing.T, dir string) *sqlite.Store {
	t.Helper()
	s, err := sqlite.Open(t.Context(), dir, sqlite.Options{
		Fatal: func(err error) { t.Errorf("the store gave up: %v", err) },
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestConformance(t *testing.T) {
	t.Parallel()
	var dirs sync.Map // store → data directory
	openIn := func(t *testing.T, dir string) journal.Store {
		s := open(t, dir)
		dirs.Store(s, dir)
		return s
	}
	journaltest.Run(t, journaltest.Harness{
		Open: func(t *testing.T) journal.Store { return openIn(t, t.TempDir()) },
		Reopen: func(t *testing.T, s journal.Store) journal.Store {
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			dir, _ := dirs.Load(s)
			return openIn(t, dir.(string))
		},
	})
}

// TestLocked: a second process is told who holds the directory. That two files
// are locked against each other does not depend on the process.
func TestLocked(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := open(t, dir)
	_, err := sqlite.Open(t.Context(), dir, sqlite.Options{})
	if !errors.Is(err, journal.ErrLocked) {
		t.Fatalf("error is %v, want ErrLocked", err)
	}
	for _, part := range []string{dir, fmt.Sprintf("process %d ", os.Getpid()), "since 20", "stop it"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q does not say %q", err, part)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "cairn.lock"), []byte("left by nobody we know"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := open(t, dir).Close(); err != nil {
		t.Fatal(err)
	}
}

// TestOneFile: a closed store leaves nothing beside the database and the lock.
func TestOneFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := open(t, dir)
	if _, err := crashStart(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	var names []string
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		names = append(names, f.Name())
	}
	if d := cmp.Diff([]string{"cairn.db", "cairn.lock"}, names); d != "" {
		t.Errorf("files differ (-want +got):\n%s", d)
	}
}

// TestTooNew: a database of a newer binary is not touched.
func TestTooNew(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := open(t, dir).Close(); err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("sqlite", filepath.Join(dir, "cairn.db"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.ExecContext(t.Context(), `INSERT INTO goose_db_version (version_id, is_applied) VALUES (999, 1)`); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	for range 2 { // and the lock is given back
		if _, err := sqlite.Open(t.Context(), dir, sqlite.Options{}); !errors.Is(err, journal.ErrTooNew) {
			t.Fatalf("error is %v, want ErrTooNew", err)
		}
	}
}

// TestUnfinished: sessions that were being worked on when the process ended are
// claimable as soon as the directory is open again, all of them, in batches.
func TestUnfinished(t *testing.T) {
	t.Parallel()
	const sessions, batch = 2000, 300
	ctx, dir := t.Context(), t.TempDir()
	s := open(t, dir)
	lease, err := s.Beat(ctx, journal.Lease{}, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	each := func(n int, do func(i int) error) {
		var wg sync.WaitGroup
		for from := range 20 {
			wg.Go(func() {
				for i := from; i < n; i += 20 {
					if err := do(i); err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		wg.Wait()
	}
	each(sessions, func(i int) error {
		l := crashLetter(crashKey(i), "start", "start")
		l.New = &journal.NewSession{}
		return s.Deliver(ctx, l, nil)
	})
	var claims []journal.Claim
	for len(claims) < sessions {
		more, err := s.Claim(ctx, lease, journal.Filter{Fold: 1}, sessions)
		if err != nil {
			t.Fatal(err)
		}
		claims = append(claims, more...)
	}
	each(sessions, func(i int) error {
		_, err := s.Commit(ctx, journal.Commit{Claim: claims[i], Taken: []string{"start"}, Busy: i%2 == 0})
		return err
	})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}

	s = open(t, dir)
	if lease, err = s.Beat(ctx, journal.Lease{}, time.Hour); err != nil {
		t.Fatal(err)
	}
	got := map[cairn.SessionKey]bool{}
	for len(got) < sessions/2 { // the other half has nothing to do
		claims, err := s.Claim(ctx, lease, journal.Filter{Fold: 1}, batch)
		if err != nil {
			t.Fatal(err)
		}
		if len(claims) > batch {
			t.Fatalf("claimed %d at once, want at most %d", len(claims), batch)
		}
		for _, c := range claims {
			got[c.Session] = true
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestSlowReader: a reader that stops in the middle of a history holds no
// transaction, so that the WAL is used again and does not grow.
func TestSlowReader(t *testing.T) {
	t.Parallel()
	ctx, dir := t.Context(), t.TempDir()
	const pages = 100
	s, err := sqlite.Open(ctx, dir, sqlite.Options{WALPages: pages})
	if err != nil {
		t.Fatal(err)
	}
	claims, err := crashStart(ctx, s)
	if err != nil {
		t.Fatal(err)
	}
	c := claims[0]
	write := func() {
		f := journal.Frame{First: c.Next, Count: 1, Data: make([]byte, 8<<10)}
		if c, err = s.Commit(ctx, journal.Commit{Claim: c, Frame: f}); err != nil {
			t.Fatal(err)
		}
	}
	for range 600 {
		write()
	}
	next, stop := iter.Pull2(s.Load(ctx, c.Session, 0))
	defer stop()
	tail, stopTail := iter.Pull2(s.Tail(ctx, c.Session.Tenant, 0))
	defer stopTail()
	for range 3 {
		if _, err, ok := next(); err != nil || !ok {
			t.Fatal(err, ok)
		}
		if _, err, ok := tail(); err != nil || !ok {
			t.Fatal(err, ok)
		}
	}
	for range 2000 {
		write()
	}
	info, err := os.Stat(filepath.Join(dir, "cairn.db-wal"))
	if err != nil {
		t.Fatal(err)
	}
	if info.Size() > 4*pages*4096 {
		t.Errorf("the WAL grew to %d bytes", info.Size())
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}
