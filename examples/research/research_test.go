package main

import (
	"bytes"
	"os"
	"strings"
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

// TestResearch plays the example: its own checks hold, and the report is the one
// that the script makes.
func TestResearch(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	got, err := run(t.Context(), ".", stage.Options{Out: &out})
	if err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	if len(got.report.Claims) != 4 || !strings.HasPrefix(got.report.Answer, "Only Birch keeps") || got.repairs != 1 {
		t.Errorf("%+v", got)
	}
	if !strings.Contains(out.String(), "(1 attempt was refused)") {
		t.Errorf("the lure was not followed, so nothing was shown:\n%s", out.String())
	}
	lines := strings.Split(strings.TrimSpace(got.notes), "\n")
	if diff := cmp.Diff(7, len(lines)); diff != "" {
		t.Errorf("lines of the notes: %s\n%s", diff, got.notes)
	}
}
