// Package tooltest is what a driver of tools has to do, as tests that run against
// a real target.
package tooltest

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"sync"
	"testing"
)

// Ledger is the memory of a target: it counts how often each key was acted on. It
// is reached by a function, or from another process by its URL.
type Ledger struct {
	// URL takes POST requests with ?key=…, see [Act].
	URL string

	mu      sync.Mutex
	counts  map[string]int
	arrived map[string]chan struct{}
}

// NewLedger returns an empty ledger that is closed with the test.
func NewLedger(t testing.TB) *Ledger {
	l := &Ledger{counts: map[string]int{}, arrived: map[string]chan struct{}{}}
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		l.Act(r.URL.Query().Get("key"))
	}))
	t.Cleanup(s.Close)
	l.URL = s.URL
	return l
}

// Act records that the target acted.
func (l *Ledger) Act(key string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.counts[key]++
	if l.counts[key] == 1 {
		close(l.signal(key))
	}
}

// Count is how often the target acted on a key.
func (l *Ledger) Count(key string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.counts[key]
}

// Keys lists the keys that were acted on, sorted.
func (l *Ledger) Keys() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Sorted(maps.Keys(l.counts))
}

// Acted is closed when the target acts on a key for the first time.
func (l *Ledger) Acted(key string) <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.signal(key)
}

func (l *Ledger) signal(key string) chan struct{} {
	c := l.arrived[key]
	if c == nil {
		c = make(chan struct{})
		l.arrived[key] = c
	}
	return c
}

// Act records in a ledger of another process that the target acted.
func Act(ctx context.Context, ledger, key string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, ledger+"/?key="+url.QueryEscape(key), nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }() // empty
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("ledger: %s", resp.Status)
	}
	return nil
}
