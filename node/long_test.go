package node_test

import (
	"context"
	"fmt"
	"io/fs"
	"iter"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/cairn-run/cairn"
	v1 "github.com/cairn-run/cairn/api/v1"
	"github.com/cairn-run/cairn/model"
	"github.com/cairn-run/cairn/model/script"
	"github.com/cairn-run/cairn/node"
)

const (
	longTurns  = 500
	longWindow = 32_000 // tokens
)

// longScript reads page after page until the last one, plans once, and writes a
// summary when it is asked for one.
func longScript() *script.Script {
	plan := `{"steps":[{"title":"Read all pages","status":"in_progress"}]}`
	one := 0
	return &script.Script{
		Window: longWindow,
		Rates:  cairn.Rates{Input: cairn.Dollar, CacheRead: cairn.Dollar / 10, Output: 5 * cairn.Dollar},
		Cases: []script.Case{
			{When: script.When{NoTools: new(true)}, Reply: script.Reply{Text: "Pages were read one after the other; nothing of note was found."}},
			{When: script.When{Result: &script.Result{Text: script.Text{Contains: fmt.Sprintf("page %d of", longTurns)}}}, Reply: script.Reply{Text: "All pages are read."}},
			{When: script.When{Turn: &one}, Reply: script.Reply{Text: "I plan first.", Calls: []script.Call{{Tool: "plan", Args: plan}}}},
		},
		Default: &script.Reply{Text: "On to the next page.", Calls: []script.Call{{Tool: "next_page"}}},
	}
}

// seen keeps every request that a model is sent.
type seen struct {
	model.Driver
	mu       sync.Mutex
	requests []*cairn.ModelRequest
}

func (s *seen) Call(ctx context.Context, c model.Call) iter.Seq2[model.Chunk, error] {
	s.mu.Lock()
	s.requests = append(s.requests, c.Request)
	s.mu.Unlock()
	return s.Driver.Call(ctx, c)
}

// TestLongSession runs 500 turns in a window that holds a few dozen of them: no
// request is too long, no cut follows a cut, requests continue each other byte for
// byte between two cuts, cache.broken says exactly where they do not, and what is
// stored grows with the turns and not with their square.
func TestLongSession(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var sizes []int64
	pages := 0
	var mu sync.Mutex
	desk := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		if pages%50 == 0 {
			sizes = append(sizes, stored(t, dir))
		}
		pages++
		_, _ = fmt.Fprintf(w, "page %d of %d: %s", pages, longTurns, strings.Repeat(fmt.Sprintf("line %d. ", pages), 100+pages%100))
	}))
	defer desk.Close()

	watched := &seen{Driver: script.New(map[string]*script.Script{"reader": longScript()})}
	n, _ := start(t, dir, node.Options{Models: map[string]model.Driver{"script": watched}, WALPages: 32})
	a := &cairn.Agent{
		Name: "reader", Model: "script/reader", Instructions: "Read the pages.",
		Tools: []cairn.ToolSource{
			{Builtin: []string{"plan", "read_result"}},
			{HTTP: &cairn.HTTPTool{Name: "next_page", Method: "GET", URL: desk.URL}},
		},
		Limits: cairn.Limits{Steps: 2 * longTurns},
	}
	if _, _, err := n.Apply(t.Context(), cairn.DefaultTenant, a); err != nil {
		t.Fatal(err)
	}
	s, err := n.Client().CreateSession(t.Context(), v1.CreateSession{Agent: "reader", Input: v1.Text("Read all of it."), Once: true})
	if err != nil {
		t.Fatal(err)
	}
	settled(t, n.Client(), s.ID)
	sizes = append(sizes, stored(t, dir))

	key := cairn.SessionKey{Tenant: cairn.DefaultTenant, ID: s.ID}
	var cuts []cairn.ContextCompacted
	var breaks []cairn.CacheBroken
	answers, turns, last := 0, 0, cairn.EventType("")
	for e, err := range n.Journal().Events(t.Context(), key, 0) {
		if err != nil {
			t.Fatal(err)
		}
		switch d := e.Data.(type) {
		case cairn.ModelFailed:
			t.Fatalf("event %d: a model call failed: %v", e.Seq, d.Error)
		case cairn.ModelRetried:
			t.Fatalf("event %d: a model call was tried again: %v", e.Seq, d.Error)
		case cairn.RunFailed:
			t.Fatalf("the run failed: %v", d.Error)
		case cairn.ContextCompacted:
			if last == e.Data.EventType() {
				t.Fatalf("event %d: a cut follows a cut with no answer between them", e.Seq)
			}
			if d.Summary == 0 || d.After >= d.Before {
				t.Errorf("event %d: %d bytes became %d, summary %d", e.Seq, d.Before, d.After, d.Summary)
			}
			cuts = append(cuts, d)
			last = e.Data.EventType()
		case cairn.CacheBroken:
			breaks = append(breaks, d)
		case cairn.ModelCompleted:
			turns++
			if d.Purpose != cairn.PurposeCompact {
				answers++
				last = e.Data.EventType()
			}
		}
	}
	if want := longTurns + 2; answers != want {
		t.Errorf("%d answers, want %d", answers, want)
	}
	if len(cuts) < 5 || len(breaks) != len(cuts) {
		t.Errorf("%d cuts and %d broken caches", len(cuts), len(breaks))
	}
	if turns != len(watched.requests) {
		t.Errorf("%d answers to %d requests", turns, len(watched.requests))
	}
	found := checkPrefixes(t, watched.requests)
	for i, b := range breaks {
		if i >= len(found) || found[i] != b.Byte || b.Reason != "compacted" {
			t.Errorf("break %d is %+v; the requests differ from byte %v on", i, b, found)
			break
		}
	}
	linear(t, sizes)
	t.Logf("%d turns, %d cuts; bytes stored every 50 turns: %v", longTurns, len(cuts), sizes)
}

// checkPrefixes checks that each request begins with the one before it, and
// returns where those that follow a cut first differ.
func checkPrefixes(t *testing.T, requests []*cairn.ModelRequest) []int64 {
	t.Helper()
	var found []int64
	var before []byte
	for i, r := range requests {
		if r.Params.NoTools {
			continue // the question for a summary is in no other request
		}
		now := r.Prefix()
		n := 0
		for n < len(before) && n < len(now) && before[n] == now[n] {
			n++
		}
		if n < len(before) {
			found = append(found, int64(n))
			if all := cairn.TextOf(r.Messages[0].Content); !strings.Contains(all, "Read all of it.") || !strings.Contains(all, "Pages were read") || !strings.Contains(all, "Read all pages") {
				t.Errorf("request %d has lost the task, the summary or the plan: %q", i, all)
			}
		}
		before = now
	}
	return found
}

// stored is the number of bytes in the data directory.
func stored(t *testing.T, dir string) int64 {
	var sum int64
	err := filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return nil //nolint:nilerr // the store may remove a file while it is looked at
		}
		if info, err := d.Info(); err == nil {
			sum += info.Size()
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	return sum
}

// linear checks that the second half of a session takes about as much as the first.
func linear(t *testing.T, sizes []int64) {
	t.Helper()
	half := len(sizes) / 2
	first, second := sizes[half]-sizes[0], sizes[len(sizes)-1]-sizes[half]
	if first <= 0 || second > first*13/10 {
		t.Errorf("the first half of the session stored %d bytes, the second %d: %v", first, second, sizes)
	}
}
