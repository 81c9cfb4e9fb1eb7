package main

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/examples/stage"
	"github.com/cairn-run/cairn/examples/stage/command"
)

// TestMain lets the test binary be the cairn command.
func TestMain(m *testing.M) {
	command.Main()
	os.Exit(m.Run())
}

// TestIncident plays the example with each decision of the person; its own checks
// hold.
func TestIncident(t *testing.T) {
	t.Parallel()
	for way, want := range map[decision]struct {
		ends   cairn.EventType
		answer string // holds this
	}{
		approved:  {"run.completed", "payments is healthy again"},
		rejected:  {"run.completed", "The restart was not allowed."},
		cancelled: {"run.cancelled", "The database is idle"}, // what it said when it was stopped
	} {
		t.Run(string(way), func(t *testing.T) {
			t.Parallel()
			var out bytes.Buffer
			got, err := run(t.Context(), ".", way, stage.Options{Out: &out})
			if err != nil {
				t.Fatalf("%v\n%s", err, out.String())
			}
			if got.events[want.ends] != 1 || !strings.Contains(got.answer, want.answer) {
				t.Errorf("it ended with %v, and %q:\n%s", got.events, got.answer, out.String())
			}
		})
	}
}
