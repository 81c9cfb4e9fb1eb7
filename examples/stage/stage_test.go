package stage_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cairn-run/cairn/examples/stage"
	"github.com/cairn-run/cairn/examples/stage/command"
)

// asParent in the environment makes the test binary a process that adopts: other
// tests would see what it adopts.
const asParent = "STAGE_TEST_PARENT"

// TestMain lets the test binary be the cairn command.
func TestMain(m *testing.M) {
	command.Main()
	if os.Getenv(asParent) != "" {
		if err := parent(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func open(t *testing.T, o stage.Options) *stage.Stage {
	t.Helper()
	s, err := stage.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if _, err := os.Stat(s.Dir()); !os.IsNotExist(err) {
			t.Errorf("the directory is still there: %v", err)
		}
	})
	return s
}

// write puts an agent and its script into a directory.
func write(t *testing.T, agent string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "scripts"), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"a.md":           agent,
		"scripts/s.yaml": "replies: [{text: \"Hello from HERE.\"}]\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(dir, "a.md")
}

// TestStage runs a command, sees what a person would see, and reads the journal.
func TestStage(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	s := open(t, stage.Options{Out: &out})
	if err := s.Agent(write(t, "---\nname: a\nmodel: script/s\n---\nGreet.\n"), "HERE", "a stage"); err != nil {
		t.Fatal(err)
	}
	if err := s.Cairn(t.Context(), 0, "run", "a.md", "--once", "--quiet", "--input", "it's me"); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff("$ cairn run a.md --once --quiet --input 'it'\\''s me'\nHello from a stage.\n", out.String()); diff != "" {
		t.Error(diff)
	}
	x, err := s.Session(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	events, err := s.Events(t.Context(), x.ID)
	if err != nil || len(events) < 5 || events[0].Type() != "session.created" {
		t.Errorf("%v, %d events", err, len(events))
	}
	if err := s.Cairn(t.Context(), 0, "run", "nobody.md", "--input", "x"); err == nil || !strings.Contains(err.Error(), "instead of 0") {
		t.Errorf("a command that failed: %v", err)
	}
	if _, err := s.Ask(t.Context()); err == nil {
		t.Error("there is an ask")
	}
}

// TestChecks: nothing checked is a failure, as is a check that did not hold.
func TestChecks(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	s := open(t, stage.Options{Out: &out})
	if s.Checked() == nil {
		t.Error("nothing was checked, and that is well")
	}
	s.Expect(true, "%d", 1)
	if err := s.Checked(); err != nil {
		t.Error(err)
	}
	s.Expect(false, "%d", 2)
	if s.Checked() == nil {
		t.Error("a check failed, and that is well")
	}
	if diff := cmp.Diff("ok  1\nNO  2\n", out.String()); diff != "" {
		t.Error(diff)
	}
}

// TestModel: the agent file is the same, but for its model.
func TestModel(t *testing.T) {
	t.Parallel()
	s := open(t, stage.Options{Model: "ollama/tiny"})
	if err := s.Agent(write(t, "---\nname: a\nmodel: script/s\n---\nmodel: is a word too.\n")); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(filepath.Join(s.Dir(), "a.md"))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff("---\nname: a\nmodel: ollama/tiny\n---\nmodel: is a word too.\n", string(got)); diff != "" {
		t.Error(diff)
	}
	if err := s.Agent(write(t, "---\nname: a\n---\nmodel: x\n")); err == nil {
		t.Error("there was no model to replace, and nobody said so")
	}
}

// TestCloseKills: what still runs is ended.
func TestCloseKills(t *testing.T) {
	t.Parallel()
	s, err := stage.Open(stage.Options{})
	if err != nil {
		t.Fatal(err)
	}
	p, err := s.Start(t.Context(), "serve", "--listen", "")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if code, err := p.Wait(); err != nil || code != -1 {
		t.Errorf("it ended with code %d: %v", code, err)
	}
}
