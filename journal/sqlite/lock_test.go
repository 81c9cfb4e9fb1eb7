package sqlite

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cairn-run/cairn/journal"
)

// TestLockOfTheDead: a lock that a dead process left with a child is waited for; that
// of a living one is not.
func TestLockOfTheDead(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	held, err := lock(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := lock(dir); !errors.Is(err, journal.ErrLocked) {
		t.Fatalf("the lock of a living process: %v", err)
	}
	dead := exec.CommandContext(t.Context(), "true")
	if err := dead.Run(); err != nil {
		t.Fatal(err)
	}
	host, _ := os.Hostname()
	b, err := json.Marshal(holder{PID: dead.Process.Pid, Host: host})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, lockFile), b, 0o600); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		f, err := lock(dir)
		if err == nil {
			err = f.Close()
		}
		done <- err
	}()
	if err := held.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Errorf("the lock of a dead process: %v", err)
	}
}

func FuzzHolder(f *testing.F) {
	f.Add([]byte(`{"pid":12,"host":"ada","started":"2026-01-01T00:00:00Z"}`))
	f.Add([]byte(`{"pid":-1}`))
	f.Add([]byte(`{`))
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := parseHolder(b)
		if err != nil {
			return
		}
		again, err := json.Marshal(h)
		if err != nil {
			t.Fatal(err)
		}
		got, err := parseHolder(again)
		if err != nil {
			t.Fatalf("%s: %v", again, err)
		}
		if d := cmp.Diff(h, got); d != "" {
			t.Errorf("differs (-want +got):\n%s", d)
		}
	})
}
