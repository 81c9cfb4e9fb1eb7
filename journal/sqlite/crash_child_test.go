package sqlite_test

import (
	"bufio"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/journal"
	"github.com/cairn-run/cairn/journal/sqlite"
)

// crashSessions commit at once in the process that is to crash.
const crashSessions = 8

// Lines a child prints, each one after the store has said so:
//
//	ready
//	commit <session> <first event> <data>
//	input <session> <id>
//	full
const (
	saidReady  = "ready"
	saidCommit = "commit"
	saidInput  = "input"
	saidFull   = "full"
)

func crashKey(n int) cairn.SessionKey {
	return cairn.SessionKey{Tenant: "acme", ID: cairn.NewSessionID(fmt.Sprintf("%026d", n))}
}

func crashLetter(k cairn.SessionKey, id, said string) journal.Letter {
	return journal.Letter{To: k, ID: id, Digest: sha256.Sum256([]byte(said)), Data: []byte(said)}
}

// crashStart makes the sessions and claims them.
func crashStart(ctx context.Context, s *sqlite.Store) ([]journal.Claim, error) {
	for n := range crashSessions {
		l := crashLetter(crashKey(n), "start", "start")
		l.New = &journal.NewSession{Summary: cairn.Summary{Session: crashKey(n), Agent: "support"}}
		if err := s.Deliver(ctx, l, nil); err != nil {
			return nil, err
		}
	}
	lease, err := s.Beat(ctx, journal.Lease{}, time.Hour)
	if err != nil {
		return nil, err
	}
	var claims []journal.Claim
	for len(claims) < crashSessions { // all are due: the start is never taken
		more, err := s.Claim(ctx, lease, journal.Filter{Fold: 1}, crashSessions)
		if err != nil {
			return nil, err
		}
		claims = append(claims, more...)
	}
	return claims, nil
}

// crashChild writes until it is killed, the store gives up, or its standard
// input ends, and says what was acknowledged.
func crashChild(dir string, out io.Writer) int {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var mu sync.Mutex
	say := func(format string, args ...any) {
		mu.Lock()
		defer mu.Unlock()
		_, _ = fmt.Fprintf(out, format+"\n", args...)
	}
	s, err := sqlite.Open(ctx, dir, sqlite.Options{WALPages: 200, Fatal: func(err error) {
		fmt.Fprintln(os.Stderr, "gave up:", err)
		os.Exit(75)
	}})
	if err != nil {
		fmt.Fprintln(os.Stderr, "open:", err)
		return 1
	}
	claims, err := crashStart(ctx, s)
	if err != nil {
		fmt.Fprintln(os.Stderr, "start:", err)
		if errors.Is(err, journal.ErrUnknown) || errors.Is(err, journal.ErrClosed) {
			select {} // the store gave up and ends the process
		}
		return 1
	}
	say(saidReady)
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	var wg sync.WaitGroup
	for _, c := range claims {
		wg.Go(func() { crashOwner(ctx, s, c, say) })
	}
	wg.Wait()
	if err := s.Close(); err != nil {
		fmt.Fprintln(os.Stderr, "close:", err)
		return 1
	}
	return 0
}

func crashOwner(ctx context.Context, s *sqlite.Store, c journal.Claim, say func(string, ...any)) {
	stop := func(err error) bool {
		switch {
		case err == nil:
			return false
		case errors.Is(err, journal.ErrFull):
			say(saidFull)
			return false
		case errors.Is(err, journal.ErrUnknown), errors.Is(err, journal.ErrClosed):
			select {} // the store gave up and ends the process
		case ctx.Err() == nil:
			fmt.Fprintln(os.Stderr, "commit:", err)
			os.Exit(1)
		}
		return true
	}
	for n := 0; ; n++ {
		id := fmt.Sprint(c.Epoch, ".", n)
		err := s.Deliver(ctx, crashLetter(c.Session, id, id), nil)
		if err == nil {
			say("%s %s %s", saidInput, c.Session.ID, id)
		}
		if stop(err) {
			return
		}
		f := journal.Frame{First: c.Next, Count: 2, Data: []byte(id + strings.Repeat("x", 1000))}
		next, err := s.Commit(ctx, journal.Commit{Claim: c, Frame: f, Taken: []string{id}, Busy: true})
		if err == nil {
			say("%s %s %d %s", saidCommit, c.Session.ID, f.First, id)
			c = next
		}
		if stop(err) {
			return
		}
	}
}

// witness remembers everything that was ever acknowledged for a directory.
type witness struct {
	commits map[cairn.SessionID]map[cairn.Seq]string
	inputs  map[cairn.SessionID]map[string]bool
	acks    int
	full    int
	ghosts  int // commits that are there and were never acknowledged
}

func newWitness() *witness {
	return &witness{commits: map[cairn.SessionID]map[cairn.Seq]string{}, inputs: map[cairn.SessionID]map[string]bool{}}
}

// hear reads what a child says until it has ended; ready is closed when it says
// that it is.
func (w *witness) hear(r io.Reader, ready chan<- struct{}) {
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		words := strings.Fields(lines.Text())
		switch {
		case len(words) == 1 && words[0] == saidReady:
			close(ready)
		case len(words) == 1 && words[0] == saidFull:
			w.full++
		case len(words) == 4 && words[0] == saidCommit:
			var first cairn.Seq
			if _, err := fmt.Sscan(words[2], &first); err != nil {
				continue // the line was cut off
			}
			w.ack(cairn.SessionID(words[1]), first, words[3])
		case len(words) == 3 && words[0] == saidInput:
			w.input(cairn.SessionID(words[1]), words[2])
		}
	}
}

func (w *witness) ack(s cairn.SessionID, first cairn.Seq, data string) {
	if w.commits[s] == nil {
		w.commits[s] = map[cairn.Seq]string{}
	}
	w.commits[s][first] = data
	w.acks++
}

func (w *witness) input(s cairn.SessionID, id string) {
	if w.inputs[s] == nil {
		w.inputs[s] = map[string]bool{}
	}
	w.inputs[s][id] = true
}

// check opens the directory as anybody would, with nothing repaired by hand, and
// looks for all that was acknowledged. Of what was not, at most the last commit
// of a session may be there: the one that was under way. Then every session
// must be able to go on.
func (w *witness) check(t *testing.T, dir string) {
	t.Helper()
	s := open(t, dir)
	defer func() {
		if err := s.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	}()
	ctx := t.Context()
	claims, err := crashStart(ctx, s)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range claims {
		id := c.Session.ID
		next, unknown := cairn.Seq(1), 0
		for f, err := range s.Load(ctx, c.Session, 0) {
			if err != nil {
				t.Fatal(err)
			}
			if f.First != next {
				t.Fatalf("%s: event %d follows %d", id, f.First, next-1)
			}
			next = f.Last() + 1
			data := strings.TrimRight(string(f.Data), "x")
			switch said, ok := w.commits[id][f.First]; {
			case !ok:
				unknown++
				w.ghosts++
				w.ack(id, f.First, data) // from now on it is true
			case said != data:
				t.Fatalf("%s: at %d there is %q, acknowledged was %q", id, f.First, data, said)
			}
		}
		if unknown > 1 {
			t.Errorf("%s: %d commits that nobody heard of", id, unknown)
		}
		if c.Next != next {
			t.Errorf("%s: the head says %d, the log %d", id, c.Next, next)
		}
		for first := range w.commits[id] {
			if first >= next {
				t.Errorf("%s: the acknowledged commit at %d is lost; the log ends at %d", id, first, next-1)
			}
		}
		for in := range w.inputs[id] {
			if err := s.Deliver(ctx, crashLetter(c.Session, in, "something else"), nil); !errors.Is(err, journal.ErrMismatch) {
				t.Errorf("%s: the acknowledged input %s is lost: %v", id, in, err)
			}
		}
		said := fmt.Sprint("check ", c.Epoch)
		if _, err := s.Commit(ctx, journal.Commit{Claim: c, Frame: journal.Frame{First: next, Count: 1, Data: []byte(said)}, Busy: true}); err != nil {
			t.Fatalf("%s cannot go on: %v", id, err)
		}
		w.ack(id, next, said)
	}
}
