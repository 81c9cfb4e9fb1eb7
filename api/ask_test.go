package api_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/api"
	v1 "github.com/cairn-run/cairn/api/v1"
	"github.com/cairn-run/cairn/client"
)

// asking opens asks in a new session.
func asking(w *world, asks ...cairn.Ask) (cairn.SessionKey, []cairn.AskID) {
	w.t.Helper()
	s := w.start()
	o := w.own(s.ID)
	var ids []cairn.AskID
	for i := range asks {
		asks[i].ID = cairn.AskIDAt(s.ID, cairn.Seq(i+1))
		asks[i].Args = json.RawMessage(`{"amount":100}`)
		ids = append(ids, asks[i].ID)
	}
	o.commit(step{events: events(len(asks)), open: asks, status: cairn.StatusWaiting})
	return o.claim.Session, ids
}

func TestDecisionsRace(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for range 10 {
		key, ids := asking(w, cairn.Ask{Kind: cairn.AskApproval, Digest: "sha256:1"})
		var won atomic.Int32
		var winner atomic.Pointer[v1.Ask]
		lost := make([]*v1.ErrorInfo, 16)
		var wg sync.WaitGroup
		for i := range lost {
			wg.Go(func() {
				c := w.client(map[int]string{0: tokenAnn, 1: tokenBob}[i%2])
				decide := c.Approve
				if i%3 == 0 {
					decide = c.Reject
				}
				a, err := decide(t.Context(), ids[0], v1.Approve{})
				if err == nil {
					won.Add(1)
					winner.Store(&a)
					return
				}
				if cairn.CodeOf(err) != cairn.CodeConflict || !errors.As(err, &lost[i]) {
					t.Errorf("a decision that lost: %v", err)
				}
			})
		}
		wg.Wait()
		if won.Load() != 1 {
			t.Fatalf("%d decisions won", won.Load())
		}
		for _, e := range lost {
			if e == nil {
				continue
			}
			if d := cmp.Diff(winner.Load(), e.Ask); d != "" {
				t.Errorf("a loser was told of another decision: %s", d)
			}
		}
		inputs, err := w.journal.Inputs(t.Context(), key, 100)
		if err != nil || len(inputs) != 1 {
			t.Fatalf("%d decisions were delivered, %v", len(inputs), err)
		}
		if d := inputs[0].Data.(cairn.Decide); d.Status() != winner.Load().Status {
			t.Errorf("delivered %s, the row says %s", d.Status(), winner.Load().Status)
		}
	}
}

func TestDecideAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	key, ids := asking(w, cairn.Ask{Kind: cairn.AskApproval, Digest: "sha256:1"})
	c := w.client(tokenAnn)
	_, err := c.Approve(t.Context(), ids[0], v1.Approve{Digest: "sha256:2"}, client.Key("k"))
	if cairn.CodeOf(err) != cairn.CodeConflict {
		t.Errorf("another action than the one that was seen: %v", err)
	}
	for range 3 { // with its key a decision may be repeated
		a, err := c.Approve(t.Context(), ids[0], v1.Approve{Digest: "sha256:1", Comment: "fine"}, client.Key("k"))
		if err != nil || a.Status != cairn.AskApproved || a.By == nil || a.By.ID != "ann" || a.Decided.IsZero() {
			t.Fatalf("%+v, %v", a, err)
		}
	}
	_, err = c.Reject(t.Context(), ids[0], v1.Approve{}, client.Key("k"))
	if cairn.CodeOf(err) != cairn.CodeConflict {
		t.Errorf("another decision with the key: %v", err)
	}
	_, err = w.client(tokenBob).Approve(t.Context(), ids[0], v1.Approve{Comment: "fine"}, client.Key("k"))
	if cairn.CodeOf(err) != cairn.CodeConflict {
		t.Errorf("the key of another principal: %v", err)
	}
	inputs, err := w.journal.Inputs(t.Context(), key, 10)
	if err != nil {
		t.Fatal(err)
	}
	want := cairn.Decide{Decision: cairn.Decision{Ask: ids[0], Verb: cairn.VerbApprove, Comment: "fine"}}
	if len(inputs) != 1 || cmp.Diff(want, inputs[0].Data) != "" {
		t.Errorf("delivered %v", inputs)
	}
}

func TestDecideByKind(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	takes := map[cairn.AskKind]map[string]int{
		cairn.AskApproval:   {"approve": 200, "reject": 200, "edit": 200, "answer": 400},
		cairn.AskUnknown:    {"approve": 200, "reject": 200, "edit": 400, "answer": 200},
		cairn.AskBudget:     {"approve": 200, "reject": 200, "edit": 400, "answer": 400},
		cairn.AskClientTool: {"approve": 400, "reject": 200, "edit": 400, "answer": 200},
		cairn.AskQuestion:   {"approve": 400, "reject": 200, "edit": 400, "answer": 200},
	}
	bodies := map[string]string{
		"approve": ``, "reject": `{"comment":"no"}`, "edit": `{"args":{"b":1.0,"a":2}}`,
		"answer": `{"result":{"structured":{"ok":true}}}`,
	}
	for kind, verbs := range takes {
		for verb, status := range verbs {
			key, ids := asking(w, cairn.Ask{Kind: kind})
			a := w.call(http.MethodPost, "/v1/asks/"+string(ids[0])+"/"+verb, tokenAnn, bodies[verb])
			if a.status != status || status == 400 && !strings.Contains(a.failure(t).Message, "is decided by one of [") {
				t.Errorf("%s of %s: status %d: %s", verb, kind, a.status, a.body)
			}
			inputs, err := w.journal.Inputs(t.Context(), key, 10)
			if err != nil || len(inputs) != map[int]int{200: 1, 400: 0}[status] {
				t.Errorf("%s of %s delivered %v, %v", verb, kind, inputs, err)
			}
			if status != 200 {
				continue
			}
			d := inputs[0].Data.(cairn.Decide)
			switch verb {
			case "edit":
				if string(d.Args) != `{"a":2,"b":1}` {
					t.Errorf("edited arguments %s are not canonical", d.Args)
				}
			case "answer":
				want := &cairn.ToolResult{Content: []cairn.Part{cairn.Text(`{"ok":true}`)}, Structured: json.RawMessage(`{"ok":true}`)}
				if diff := cmp.Diff(want, d.Result); diff != "" {
					t.Error(diff)
				}
			}
		}
	}
}

func TestDecideBadly(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	key, ids := asking(w, cairn.Ask{Kind: cairn.AskApproval}, cairn.Ask{Kind: cairn.AskClientTool})
	for _, tc := range []struct {
		path, body string
		status     int
	}{
		{string(ids[0]) + "/edit", ``, 400},
		{string(ids[0]) + "/edit", `{}`, 422},
		{string(ids[0]) + "/edit", `{"args":[1]}`, 422},
		{string(ids[0]) + "/edit", `{"args":null}`, 422},
		{string(ids[0]) + "/edit", `{"args":{},"verb":"approve"}`, 422},
		{string(ids[1]) + "/answer", `{}`, 422},
		{string(ids[1]) + "/answer", `{"result":{}}`, 422},
		{string(ids[1]) + "/answer", `{"result":{"structured":null}}`, 422},
		{string(ids[1]) + "/answer", `{"result":"done"}`, 422},
		{"ask_nope/approve", ``, 404},
	} {
		a := w.call(http.MethodPost, "/v1/asks/"+tc.path, tokenAnn, tc.body)
		if a.status != tc.status {
			t.Errorf("%s %s: status %d, want %d: %s", tc.path, tc.body, a.status, tc.status, a.body)
		}
		a.failure(t)
	}
	inputs, err := w.journal.Inputs(t.Context(), key, 10)
	if err != nil || len(inputs) != 0 {
		t.Errorf("delivered %v, %v", inputs, err)
	}
}

func TestDecideTooLate(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)
	var clock atomic.Pointer[time.Time]
	clock.Store(&now)
	w := newWorld(t, func(c *api.Config) { c.Now = func() time.Time { return *clock.Load() } })
	_, ids := asking(w, cairn.Ask{Kind: cairn.AskApproval, Expires: now.Add(time.Hour), OnExpire: "reject"})
	later := now.Add(time.Hour)
	clock.Store(&later)
	_, err := w.client(tokenAnn).Approve(t.Context(), ids[0], v1.Approve{})
	var info *v1.ErrorInfo
	if cairn.CodeOf(err) != cairn.CodeConflict || !errors.As(err, &info) || info.Ask == nil || info.Ask.Status != cairn.AskOpen {
		t.Errorf("after the time: %v", err)
	}
	inTime := later.Add(-time.Nanosecond)
	clock.Store(&inTime)
	if _, err := w.client(tokenAnn).Approve(t.Context(), ids[0], v1.Approve{}); err != nil {
		t.Errorf("in time: %v", err)
	}
}

func TestListAsks(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.client(tokenAnn)
	var want []cairn.AskID
	var last cairn.SessionKey
	for range 5 {
		key, ids := asking(w, cairn.Ask{Kind: cairn.AskApproval}, cairn.Ask{Kind: cairn.AskBudget, Amount: 5})
		if _, err := c.Approve(t.Context(), ids[0], v1.Approve{}); err != nil {
			t.Fatal(err)
		}
		want, last = append(want, ids[1]), key
	}
	var got []cairn.AskID
	q := client.AskQuery{Limit: 2}
	for pages := 0; ; pages++ {
		list, err := c.Asks(t.Context(), q)
		if err != nil || pages > 5 {
			t.Fatal(err, pages)
		}
		for _, a := range list.Asks {
			got = append(got, a.ID)
		}
		if q.After = list.Next; q.After == "" {
			break
		}
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	list, err := c.Asks(t.Context(), client.AskQuery{Session: last.ID, Status: cairn.AskApproved})
	if err != nil || len(list.Asks) != 1 || list.Asks[0].Session != last.ID {
		t.Errorf("%+v, %v", list, err)
	}
}
