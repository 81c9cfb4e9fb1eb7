package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/journal"
	"github.com/cairn-run/cairn/journal/sqlite"
)

// rawSync appends 512 bytes to a growing file and flushes, again and again.
func rawSync(dir string, length time.Duration) (_ latency, err error) {
	f, err := os.CreateTemp(dir, "raw-")
	if err != nil {
		return latency{}, err
	}
	defer func() { err = errors.Join(err, f.Close(), os.Remove(f.Name())) }()
	block := make([]byte, 512)
	var took []time.Duration
	for end := time.Now().Add(length); time.Now().Before(end); {
		start := time.Now()
		if _, err := f.Write(block); err != nil {
			return latency{}, err
		}
		if err := flush(f); err != nil {
			return latency{}, err
		}
		took = append(took, time.Since(start))
	}
	return summarise(took), nil
}

func summarise(took []time.Duration) latency {
	if len(took) == 0 {
		return latency{}
	}
	slices.Sort(took)
	at := func(q float64) float64 { return float64(took[int(q*float64(len(took)-1))].Nanoseconds()) / 1e3 }
	return latency{P50: at(0.5), P99: at(0.99), N: len(took)}
}

// An event of this size is an ordinary one: a tool call with its arguments.
var (
	frameData  = []byte("[" + strings.Repeat(`{"seq":1234,"type":"tool_call.completed","at":"2026-01-01T00:00:00Z","run":"run_01ARZ3NDEKTSV4RRFFQ69G5FAV","step":"eff_01ARZ3NDEKTSV4RRFFQ69G5FAV","data":{"result":"ok"}},`, 3) + "{}]")
	letterData = []byte(`{"id":"in_01ARZ3NDEKTSV4RRFFQ69G5FAV","to":{"tenant":"default","id":"ses_01ARZ3NDEKTSV4RRFFQ69G5FAV"},"at":"2026-01-01T00:00:00Z","kind":"post","data":{"content":[{"text":"go on"}]}}`)
)

// ahead is how many inputs lie in an inbox when a round begins; they are
// delivered between the rounds, outside what is measured.
const ahead = 64

// commits measures full commits: three events in one frame, one input taken, the
// list row.
func commits(ctx context.Context, parent string, sessions int, length time.Duration) (_ measured, err error) {
	dir := filepath.Join(parent, fmt.Sprint("journal-", sessions))
	s, err := sqlite.Open(ctx, dir, sqlite.Options{})
	if err != nil {
		return measured{}, err
	}
	defer func() { err = errors.Join(err, s.Close(), os.RemoveAll(dir)) }()
	owners, err := start(ctx, s, sessions)
	if err != nil {
		return measured{}, err
	}
	var took []time.Duration
	var busy time.Duration
	n := 0
	for busy < length {
		if err := each(owners, func(o *owner) error { return o.fill(ctx, s) }); err != nil {
			return measured{}, err
		}
		begin := time.Now()
		if err := each(owners, func(o *owner) error { return o.commit(ctx, s) }); err != nil {
			return measured{}, err
		}
		busy += time.Since(begin)
		n += sessions * ahead
	}
	for _, o := range owners {
		took = append(took, o.took...)
	}
	return measured{Sessions: sessions, Rate: float64(n) / busy.Seconds(), Latency: summarise(took)}, nil
}

// owner commits to one session.
type owner struct {
	claim   journal.Claim
	summary cairn.Summary
	inputs  int
	took    []time.Duration
}

func start(ctx context.Context, s *sqlite.Store, sessions int) ([]*owner, error) {
	lease, err := s.Beat(ctx, journal.Lease{}, 24*time.Hour)
	if err != nil {
		return nil, err
	}
	all := make([]*owner, sessions)
	for i := range all {
		k := cairn.SessionKey{Tenant: cairn.DefaultTenant, ID: cairn.NewSessionID(fmt.Sprintf("01ARZ3NDEKTSV4RR%010d", i))}
		o := &owner{summary: cairn.Summary{
			Session: k, Agent: "support", Digest: cairn.DigestOf(nil), Status: cairn.StatusRunning, Title: "where is my order?",
			Created: time.Now(), Run: cairn.RunIDAt(k.ID, 1), Runs: 1, Usage: cairn.Usage{Input: 1000, CacheRead: 10_000, Output: 500},
		}}
		l := journal.Letter{To: k, ID: "start", Data: letterData, New: &journal.NewSession{Summary: o.summary}}
		if err := s.Deliver(ctx, l, nil); err != nil {
			return nil, err
		}
		claims, err := s.Claim(ctx, lease, journal.Filter{Fold: 1}, 1)
		if err != nil {
			return nil, err
		}
		if o.claim, err = s.Commit(ctx, journal.Commit{Claim: claims[0], Taken: []string{"start"}}); err != nil {
			return nil, err
		}
		all[i] = o
	}
	return all, nil
}

// each runs f for all owners at once.
func each(owners []*owner, f func(*owner) error) error {
	errs := make([]error, len(owners))
	var wg sync.WaitGroup
	for i, o := range owners {
		wg.Go(func() { errs[i] = f(o) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

func (o *owner) input(n int) string { return fmt.Sprintf("in_01ARZ3NDEKTSV4RR%010d", n) }

// fill delivers what the next round takes.
func (o *owner) fill(ctx context.Context, s *sqlite.Store) error {
	for i := range ahead {
		id := o.input(o.inputs + i)
		l := journal.Letter{To: o.claim.Session, ID: id, Digest: sha256.Sum256([]byte(id)), At: time.Now(), Data: letterData}
		if err := s.Deliver(ctx, l, nil); err != nil {
			return err
		}
	}
	return nil
}

// commit takes a round of inputs, one commit each.
func (o *owner) commit(ctx context.Context, s *sqlite.Store) (err error) {
	for range ahead {
		begin := time.Now()
		sum := o.summary
		sum.Updated, sum.Events, sum.Cost = begin, o.claim.Next+2, cairn.Money(o.inputs)*cairn.Dollar/1000
		o.claim, err = s.Commit(ctx, journal.Commit{
			Claim: o.claim, Frame: journal.Frame{First: o.claim.Next, Count: 3, Data: frameData},
			Taken: []string{o.input(o.inputs)}, Summary: &sum, Fold: 1, Busy: true,
		})
		if err != nil {
			return err
		}
		o.inputs++
		o.took = append(o.took, time.Since(begin))
	}
	return nil
}
