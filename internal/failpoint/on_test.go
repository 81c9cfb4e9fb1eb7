//go:build failpoint && unix

package failpoint

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// TestMain lets the test binary be the process that is killed.
func TestMain(m *testing.M) {
	switch os.Getenv("FAILPOINT_CHILD") {
	case "":
		os.Exit(m.Run())
	case "flight":
		Begin()
		Begin()
		End()
	}
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() {
			for range 100 {
				Hit(CommitBefore)
			}
		})
	}
	wg.Wait()
	Hit(CommitAfter)
	fmt.Println("alive")
	os.Exit(0)
}

func child(t *testing.T, file, kill, mode string) (string, error) {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := exec.CommandContext(t.Context(), exe)
	c.Env = append(os.Environ(), "FAILPOINT_CHILD="+mode, "CAIRN_FAILPOINT_FILE="+file, "CAIRN_FAILPOINT="+kill)
	out, err := c.CombinedOutput()
	return string(out), err
}

func TestTaggedCountsSurviveKills(t *testing.T) {
	file := filepath.Join(t.TempDir(), "counts")
	if out, err := child(t, file, "", "plain"); err != nil {
		t.Fatalf("without a kill: %v: %s", err, out)
	}
	for _, mode := range []string{"plain", "flight"} {
		out, err := child(t, file, "commit.before:500", mode)
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
			t.Fatalf("not killed: %v: %s", err, out)
		}
	}
	c, err := Read(file)
	if err != nil {
		t.Fatal(err)
	}
	// Goroutines beside the victim may still count until the signal arrives.
	if n := c.Hits(CommitBefore); n < 2000 || n > 3000 {
		t.Errorf("%d hits of commit.before; 1000 + twice 500 at least", n)
	}
	if c.Hits(CommitAfter) != 1 || c.Kills(CommitBefore) != 2 || c.Killed() != 2 || c.Starts() != 3 {
		t.Errorf("after %d, kills %d, all %d, starts %d", c.Hits(CommitAfter), c.Kills(CommitBefore), c.Killed(), c.Starts())
	}
	if c.KilledInFlight() != 1 || c.InFlight() != 1 {
		t.Errorf("%d kills in flight, %d in flight at the last; both were 1", c.KilledInFlight(), c.InFlight())
	}
	if got := len(c.Missed()); got != len(points)-2 {
		t.Errorf("%d points missed of %d", got, len(points))
	}
}

func TestTaggedWrongSettingEndsTheProcess(t *testing.T) {
	dir := t.TempDir()
	other := filepath.Join(dir, "other")
	if err := os.WriteFile(other, []byte("no counts"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ file, kill string }{
		{"", "no.such.point:1"}, {"", "commit.before"}, {"", "commit.before:0"}, {other, ""},
	} {
		out, err := child(t, c.file, c.kill, "plain")
		if err == nil || strings.Contains(out, "alive") {
			t.Errorf("%+v was accepted: %s", c, out)
		}
	}
}
