package api_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/cairn-run/cairn"
	v1 "github.com/cairn-run/cairn/api/v1"
	"github.com/cairn-run/cairn/client"
)

func seqs(p v1.EventPage) []cairn.Seq {
	var out []cairn.Seq
	for _, e := range p.Events {
		out = append(out, e.Seq)
	}
	return out
}

func TestEventEnvelope(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.start()
	o := w.own(s.ID)
	o.commit(step{events: []cairn.Event{{Run: "run_1", Step: "eff_1", Data: cairn.ToolCallStarted{Attempt: 1}}}})
	a := w.call(http.MethodGet, "/v1/sessions/"+string(s.ID)+"/events", tokenAnn, "")
	want := fmt.Sprintf(`{"events":[{"id":"%s/1","seq":1,"type":"tool_call.started","session_id":"%s","run_id":"run_1","step_id":"eff_1","at":"1970-01-01T00:00:01Z","data":{"attempt":1}}],"last":1,"next":1}`, s.ID, s.ID)
	if got := strings.TrimSpace(string(a.body)); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// TestPages checks every way of paging against the whole history.
func TestPages(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.start()
	o := w.own(s.ID)
	const n = 400
	var all []cairn.Event
	for i := range n {
		e := event(cairn.PlanUpdated{Plan: json.RawMessage("1")})
		if i%97 == 0 {
			e = event(cairn.SessionIdle{})
		}
		all = append(all, e)
	}
	for i := 0; i < n; {
		k := min(1+i%13, n-i)
		o.commit(step{events: all[i : i+k]})
		i += k
	}
	idle := func(q cairn.Seq) bool { return (q-1)%97 == 0 }
	c := w.client(tokenAnn)
	rapid.Check(t, func(t *rapid.T) {
		q := client.EventQuery{Limit: rapid.IntRange(1, 300).Draw(t, "limit")}
		after := cairn.Seq(rapid.IntRange(0, n+3).Draw(t, "after"))
		rare := rapid.Bool().Draw(t, "rare")
		if rare {
			q.Types = []cairn.EventType{"session.idle"}
		}
		var want, got []cairn.Seq
		if rapid.Bool().Draw(t, "backward") {
			before := cairn.Seq(rapid.IntRange(1, n+50).Draw(t, "before"))
			for i := after + 1; i < min(before, n+1); i++ {
				if !rare || idle(i) {
					want = append(want, i)
				}
			}
			q.After, q.Before = after, before
			for pages := 0; ; pages++ {
				p, err := c.Events(w.t.Context(), s.ID, q)
				if err != nil || pages > n {
					t.Fatal(err, pages)
				}
				if len(p.Events) > q.Limit {
					t.Fatalf("%d events on a page of %d", len(p.Events), q.Limit)
				}
				got = append(seqs(p), got...)
				if p.Prev == 0 {
					break
				}
				q.Before = p.Prev
			}
		} else {
			for i := after + 1; i <= n; i++ {
				if !rare || idle(i) {
					want = append(want, i)
				}
			}
			q.After = after
			for pages := 0; ; pages++ {
				p, err := c.Events(w.t.Context(), s.ID, q)
				if err != nil || pages > n {
					t.Fatal(err, pages)
				}
				got = append(got, seqs(p)...)
				if p.Next >= p.Last || p.Next == q.After {
					break
				}
				q.After = p.Next
			}
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Fatal(d)
		}
	})
}

func TestPagesAreBoundedInBytes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.start()
	o := w.own(s.ID)
	big := json.RawMessage(`"` + strings.Repeat("x", 250<<10) + `"`)
	for range 7 {
		o.commit(step{events: []cairn.Event{event(cairn.PlanUpdated{Plan: big})}})
	}
	o.commit(step{events: []cairn.Event{event(cairn.PlanUpdated{Plan: json.RawMessage(`"` + strings.Repeat("x", 1200<<10) + `"`)})}})
	c := w.client(tokenAnn)
	var back, forth []cairn.Seq
	for before := cairn.Seq(1 << 40); before > 0; {
		p, err := c.Events(t.Context(), s.ID, client.EventQuery{Before: before, Limit: 1000})
		if err != nil {
			t.Fatal(err)
		}
		if len(p.Events) == 0 || len(p.Events) > 4 {
			t.Fatalf("a page of %d events", len(p.Events))
		}
		back = append(seqs(p), back...)
		before = p.Prev
	}
	for after := cairn.Seq(0); after < 8; {
		p, err := c.Events(t.Context(), s.ID, client.EventQuery{After: after, Limit: 1000})
		if err != nil {
			t.Fatal(err)
		}
		if len(p.Events) == 0 || len(p.Events) > 4 {
			t.Fatalf("a page of %d events", len(p.Events))
		}
		forth = append(forth, seqs(p)...)
		after = p.Next
	}
	want := []cairn.Seq{1, 2, 3, 4, 5, 6, 7, 8}
	if d := cmp.Diff(want, back); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff(want, forth); d != "" {
		t.Error(d)
	}
}

// BenchmarkTail is the last page of a history of 50,000 events.
func BenchmarkTail(b *testing.B) {
	w := newWorld(b)
	s := w.start()
	o := w.own(s.ID)
	for range 500 {
		o.commit(step{events: events(100)})
	}
	c := w.client(tokenAnn)
	for b.Loop() {
		p, err := c.Events(b.Context(), s.ID, client.EventQuery{Before: 1 << 40})
		if err != nil || len(p.Events) != 100 || p.Next != 50_000 {
			b.Fatal(len(p.Events), err)
		}
	}
}
