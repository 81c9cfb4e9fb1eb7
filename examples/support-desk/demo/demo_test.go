package main

import (
	"bytes"
	"os"
	"testing"

	"github.com/cairn-run/cairn/examples/stage"
	"github.com/cairn-run/cairn/examples/stage/command"
)

// TestMain lets the test binary be the cairn command, and the tool server.
func TestMain(m *testing.M) {
	command.Main()
	shop()
	os.Exit(m.Run())
}

// TestDemo plays the demo, kill included; it checks itself.
func TestDemo(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	if err := run(t.Context(), "..", stage.Options{Out: &out}); err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
}
