package sqlite_test

import (
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
	dirs := map[journal.Store]string{}
	_ = dirs
	journaltest.Run(t, journaltest.Harness{
		Open: func(t *testing.T) journal.Store { return open(t, t.TempDir()) },
	})
}
