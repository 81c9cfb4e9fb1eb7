package sqlite_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cairn-run/cairn/journal"
)

// child is a process that writes to a data directory.
type child struct {
	*exec.Cmd
	ready chan struct{}
	heard chan struct{} // closed when all it said was heard
	stdin interface{ Close() error }
	said  bytes.Buffer // on standard error
}

// launch starts the test binary as a child, under wrapper.
func launch(t *testing.T, w *witness, dir string, wrapper ...string) *child {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	args := append(slices.Clone(wrapper), self)
	c := &child{Cmd: exec.CommandContext(t.Context(), args[0], args[1:]...), ready: make(chan struct{}), heard: make(chan struct{})} //nolint:gosec // G204: the arguments are those of the test
	c.Env = append(os.Environ(), "CAIRN_TEST_CRASH_DIR="+dir)
	c.Stderr = &c.said
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if c.stdin, err = c.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(c.heard)
		w.hear(out, c.ready)
	}()
	return c
}

// wait waits until the child writes.
func (c *child) wait(t *testing.T) {
	t.Helper()
	select {
	case <-c.ready:
	case <-c.heard:
		t.Fatalf("exit code %d before it was ready: %s", c.end(), &c.said)
	}
}

// end waits for the child and returns its exit code; -1: it was killed.
func (c *child) end() int {
	<-c.heard
	_ = c.Wait() // the exit code says it all
	return c.ProcessState.ExitCode()
}

// TestKill kills the process at random moments, again and again, in one
// directory.
func TestKill(t *testing.T) {
	t.Parallel()
	dir, w := t.TempDir(), newWitness()
	for range 12 {
		c := launch(t, w, dir)
		c.wait(t)
		time.AfterFunc(time.Duration(rand.IntN(150))*time.Millisecond, func() { _ = c.Process.Kill() })
		if code := c.end(); code != -1 {
			t.Fatalf("exit code %d: %s", code, &c.said)
		}
		w.check(t, dir)
	}
	t.Logf("%d acknowledged, %d not acknowledged and there", w.acks, w.ghosts)
	if w.acks < 100 {
		t.Errorf("only %d acknowledgements", w.acks)
	}
}

// TestTornTail cuts and garbles the WAL at many places. Every commit that was
// whole before that place is there, none after it, and nothing is repaired by
// hand.
func TestTornTail(t *testing.T) {
	t.Parallel()
	ctx, dir := t.Context(), t.TempDir()
	s := open(t, dir)
	claims, err := crashStart(ctx, s)
	if err != nil {
		t.Fatal(err)
	}
	size := func() int64 {
		info, err := os.Stat(filepath.Join(dir, "cairn.db-wal"))
		if err != nil {
			t.Fatal(err)
		}
		return info.Size()
	}
	type written struct {
		journal.Claim
		said string
		end  int64 // of the WAL when it was acknowledged
	}
	start := size()
	var all []written
	for n := range 48 {
		c := &claims[n%crashSessions]
		said := fmt.Sprint("commit ", n)
		next, err := s.Commit(ctx, journal.Commit{Claim: *c, Busy: true, Frame: journal.Frame{First: c.Next, Count: 1 + n%3, Data: []byte(said + strings.Repeat("x", n*n))}})
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, written{*c, said, size()})
		*c = next
	}
	files := map[string][]byte{}
	for _, name := range []string{"cairn.db", "cairn.db-wal"} {
		if files[name], err = os.ReadFile(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}

	var places []int64
	for _, v := range all[:len(all)-1] {
		places = append(places, v.end-1, v.end, v.end+1, v.end+24+7)
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	for range 40 {
		places = append(places, start+random.Int64N(all[len(all)-1].end-start))
	}
	for i, place := range places {
		wal := bytes.Clone(files["cairn.db-wal"])
		switch i % 3 {
		case 0:
			wal = wal[:place]
		case 1:
			wal[place] ^= 0x40
		case 2:
			clear(wal[place:]) // the size was written, the content was not
		}
		copied := t.TempDir()
		for name, data := range map[string][]byte{"cairn.db": files["cairn.db"], "cairn.db-wal": wal} {
			if err := os.WriteFile(filepath.Join(copied, name), data, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		w := newWitness()
		for _, v := range all {
			if v.end <= place {
				w.ack(v.Session.ID, v.Next, v.said)
			}
		}
		w.check(t, copied)
		if w.ghosts > 0 {
			t.Errorf("cut at %d: %d commits are there that were cut", place, w.ghosts)
		}
	}
}
