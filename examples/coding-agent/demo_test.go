package codingagent_test

import (
	"bytes"
	"context"
	"os"
	"os/signal"
	"strings"
	"testing"

	codingagent "github.com/cairn-run/cairn/examples/coding-agent"
	"github.com/cairn-run/cairn/examples/recording"
	"github.com/cairn-run/cairn/examples/stage/command"
)

// asDemo in the environment makes the test binary the demo.
const asDemo = "CODINGAGENT_DEMO"

// TestMain lets the test binary be the cairn command, and the demo.
func TestMain(m *testing.M) {
	command.Main()
	if os.Getenv(asDemo) == "" {
		os.Exit(m.Run())
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	code := codingagent.Command(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// TestDemo plays the demo in a terminal, as scripts/record-demo does. It checks
// itself; and what the README shows is what it shows today, but for ids, times and
// amounts.
func TestDemo(t *testing.T) {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	r, err := recording.Run(t.Context(), recording.Options{
		Args: []string{exe, "-example", "."}, Env: append(os.Environ(), asDemo+"=1"),
	})
	if err != nil {
		t.Fatalf("%v\n%s", err, r.Text())
	}
	kept, err := os.ReadFile("../../docs/demo.txt")
	if err != nil {
		t.Fatal(err)
	}
	if diff := recording.Differ(string(kept), r.Text()); diff != "" {
		t.Errorf("docs/demo.txt is not what the demo shows; scripts/record-demo records it anew:\n%s", diff)
	}
	svg, err := os.ReadFile("../../docs/demo.svg")
	if err != nil {
		t.Fatal(err)
	}
	if diff := recording.Differ(string(kept), recording.TextOf(svg)); diff != "" {
		t.Errorf("docs/demo.svg does not show docs/demo.txt; scripts/record-demo records both:\n%s", diff)
	}
}

// TestWithoutSandbox says so, and how to go on.
func TestWithoutSandbox(t *testing.T) {
	t.Parallel()
	var out, errs bytes.Buffer
	if code := codingagent.Command(t.Context(), []string{"-nonsense"}, &out, &errs); code != 2 {
		t.Errorf("exit code %d", code)
	}
	err := codingagent.Unusable("user namespaces are switched off", "sysctl -w kernel.unprivileged_userns_clone=1")
	for _, want := range []string{"user namespaces are switched off", "sysctl -w", "make demo SANDBOX=none", "cairn doctor"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in: %v", want, err)
		}
	}
}
