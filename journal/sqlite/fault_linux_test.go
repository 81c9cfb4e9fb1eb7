package sqlite_test

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
	"time"

	"github.com/cairn-run/cairn/journal"
	"github.com/cairn-run/cairn/journal/sqlite"
)

// traceable says why faults cannot be injected; nil: they can.
var traceable = sync.OnceValue(func() error {
	return exec.Command("strace", "-f", "-o", os.DevNull, "-e", "trace=fsync", "true").Run()
})

// needStrace skips where faults cannot be injected, but not in CI.
func needStrace(t *testing.T) {
	t.Helper()
	err := traceable()
	if err == nil {
		return
	}
	if os.Getenv("CI") != "" {
		t.Fatalf("faults cannot be injected: strace: %v; install strace and allow ptrace", err)
	}
	t.Skipf("faults cannot be injected: strace: %v", err)
}

// faulty is the wrapper that lets system calls on one file fail. The counts in
// when are those of a thread, so that a fault strikes some time after them.
func faulty(file, calls, fault, when string) []string {
	return []string{"strace", "-f", "-qq", "-o", os.DevNull, "-P", file, "-e", "trace=" + calls, "-e", fmt.Sprintf("inject=%s:error=%s:when=%s", calls, fault, when)}
}

// TestDeviceFails lets flushes, writes and reads of the database and its WAL
// fail, once and for ever. The process must end by itself with code 75, and
// opening the directory again must find all that was acknowledged.
func TestDeviceFails(t *testing.T) {
	t.Parallel()
	needStrace(t)
	for _, v := range []struct{ name, file, calls, when string }{
		{"flush of the WAL once", "-wal", "fsync,fdatasync", "9"},
		{"flush of the WAL for ever", "-wal", "fsync,fdatasync", "5+"},
		{"first flush of the WAL", "-wal", "fsync,fdatasync", "1"},
		{"flush of the database once", "", "fsync,fdatasync", "3"},
		{"flush of the database for ever", "", "fsync,fdatasync", "4+"},
		{"write to the WAL once", "-wal", "pwrite64", "70"},
		{"write to the WAL for ever", "-wal", "pwrite64", "90+"},
		{"write to the database", "", "pwrite64", "12"},
	} {
		t.Run(v.name, func(t *testing.T) {
			t.Parallel()
			dir, w := t.TempDir(), newWitness()
			for _, when := range []string{v.when, "2" + v.when} {
				first := launch(t, w, dir) // something is there before
				first.wait(t)
				_ = first.stdin.Close()
				if code := first.end(); code != 0 {
					t.Fatalf("exit code %d: %s", code, &first.said)
				}
				c := launch(t, w, dir, faulty(filepath.Join(dir, "cairn.db"+v.file), v.calls, "EIO", when)...)
				bound := time.AfterFunc(time.Minute, func() { _ = c.stdin.Close() }) // it ends well: the fault never struck
				code := c.end()
				bound.Stop()
				if strings.Contains(c.said.String(), "open:") && code == 1 {
					continue // it struck while opening: that is told, and nothing is harmed
				}
				if code != 75 || !strings.Contains(c.said.String(), "gave up:") {
					t.Errorf("exit code %d: %s", code, &c.said)
				}
				w.check(t, dir)
			}
			t.Logf("%d acknowledged, %d not acknowledged and there", w.acks, w.ghosts)
		})
	}
}

// TestNoSpaceCalls lets writes fail for lack of space for a while. Commits are
// refused and the process goes on; with space back, so do the commits.
func TestNoSpaceCalls(t *testing.T) {
	t.Parallel()
	needStrace(t)
	for _, file := range []string{"-wal", ""} {
		t.Run("cairn.db"+file, func(t *testing.T) {
			t.Parallel()
			dir, w := t.TempDir(), newWitness()
			first := launch(t, w, dir) // the schema is there before, so that opening writes little
			first.wait(t)
			_ = first.stdin.Close()
			if code := first.end(); code != 0 {
				t.Fatalf("exit code %d: %s", code, &first.said)
			}
			c := launch(t, w, dir, faulty(filepath.Join(dir, "cairn.db"+file), "pwrite64", "ENOSPC", "150..260")...)
			c.wait(t)
			time.AfterFunc(2*time.Second, func() { _ = c.stdin.Close() })
			if code := c.end(); code != 0 {
				t.Errorf("exit code %d: %s", code, &c.said)
			}
			w.check(t, dir)
			if file == "-wal" && w.full == 0 {
				t.Error("no commit was refused")
			}
			t.Logf("%d acknowledged, %d refused", w.acks, w.full)
		})
	}
}

// TestFullDevice fills a real file system to the last byte.
func TestFullDevice(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=6m"); err != nil {
		if os.Getenv("CI") != "" && os.Getuid() == 0 {
			t.Fatalf("mount a small file system: %v", err)
		}
		t.Skipf("mount a small file system: %v", err) // TestNoSpaceCalls shows the same with injected faults
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Errorf("unmount: %v", err)
		}
	})
	ctx, w := t.Context(), newWitness()
	s, err := sqlite.Open(ctx, dir, sqlite.Options{WALPages: 200, Fatal: func(err error) { t.Errorf("the store gave up: %v", err) }})
	if err != nil {
		t.Fatal(err)
	}
	claims, err := crashStart(ctx, s)
	if err != nil {
		t.Fatal(err)
	}
	commit := func(n int) (err error) {
		c := &claims[n%crashSessions]
		said := fmt.Sprint("commit ", n)
		next, err := s.Commit(ctx, journal.Commit{Claim: *c, Frame: journal.Frame{First: c.Next, Count: 1, Data: []byte(said + strings.Repeat("x", 4000))}})
		if err == nil {
			w.ack(c.Session.ID, c.Next, said)
			*c = next
		}
		return err
	}
	n := 0
	for round := range 3 {
		ballast := filepath.Join(dir, "ballast")
		if err := fill(ballast); err != nil {
			t.Fatal(err)
		}
		refused := 0
		for ; refused < 20; n++ {
			switch err := commit(n); {
			case errors.Is(err, journal.ErrFull):
				refused++
			case err != nil:
				t.Fatal(err)
			}
		}
		for _, c := range claims { // reads and beats go on
			for _, err := range s.Load(ctx, c.Session, 0) {
				if err != nil {
					t.Fatal(err)
				}
			}
			if _, err := s.Summary(ctx, c.Session); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := s.Beat(ctx, journal.Lease{ID: claims[0].Lease}, time.Hour); err != nil {
			t.Fatal(err)
		}
		if err := os.Remove(ballast); err != nil {
			t.Fatal(err)
		}
		for range 16 {
			if err := commit(n); err != nil {
				t.Fatalf("round %d, with space back: %v", round, err)
			}
			n++
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	ballast := filepath.Join(dir, "ballast")
	if err := fill(ballast); err != nil {
		t.Fatal(err)
	}
	if _, err := sqlite.Open(ctx, dir, sqlite.Options{}); !errors.Is(err, journal.ErrFull) {
		t.Errorf("opening without space gave %v", err)
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	w.check(t, dir)
	if w.ghosts > 0 {
		t.Errorf("%d refused commits are there", w.ghosts)
	}
}

// fill takes all space that is left.
func fill(path string) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	block := make([]byte, 4096)
	for err == nil {
		_, err = f.Write(block)
	}
	if !errors.Is(err, syscall.ENOSPC) {
		return errors.Join(err, f.Close())
	}
	return f.Close()
}
