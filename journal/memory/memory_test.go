package memory_test

import (
	"testing"

	"github.com/cairn-run/cairn/journal"
	"github.com/cairn-run/cairn/journal/journaltest"
	"github.com/cairn-run/cairn/journal/memory"
)

func TestConformance(t *testing.T) {
	t.Parallel()
	journaltest.Run(t, journaltest.Harness{
		Open: func(*testing.T) journal.Store { return memory.Open(memory.Options{}) },
	})
}
