package main

import (
	"bytes"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cairn-run/cairn/examples/stage"
	"github.com/cairn-run/cairn/examples/stage/command"
)

// TestMain lets the test binary be the cairn command.
func TestMain(m *testing.M) {
	command.Main()
	os.Exit(m.Run())
}

// TestPipeline plays the example: its own checks hold, and the database holds what
// the file says.
func TestPipeline(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	got, err := run(t.Context(), ".", stage.Options{Out: &out})
	if err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	want := &played{
		before: counts{orders: 3, cents: 6549}, broken: counts{orders: 3, cents: 6549},
		after:    counts{orders: 14, cents: 40753, rejected: 1, loads: 1},
		rejected: []string{"11: CHECK constraint failed: cents > 0"},
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(played{}, counts{})); diff != "" {
		t.Error(diff)
	}
}
