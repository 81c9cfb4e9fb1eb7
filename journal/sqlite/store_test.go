package sqlite_test

import (
	"sync"
	"testing"

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
