package api_test

import (
	"errors"
	"fmt"
	"net/http"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/oklog/ulid/v2"

	"github.com/cairn-run/cairn"
	v1 "github.com/cairn-run/cairn/api/v1"
	"github.com/cairn-run/cairn/client"
)

func TestCreateSession(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var s v1.Session
	a := w.post(tokenAnn, "/v1/sessions", `{"agent":"desk","input":[{"kind":"text","text":"hello"}],"title":"T","once":true,
		"budget":{"run":"$0.5","session":1000,"on_breach":"stop"},"metadata":{"order":"7"}}`, http.StatusCreated, &s)
	if got := a.header.Get("Location"); got != "/v1/sessions/"+string(s.ID) {
		t.Errorf("Location %q", got)
	}
	if s.StreamURL != "/v1/sessions/"+string(s.ID)+"/stream" || s.Status != cairn.StatusQueued || s.Title != "T" {
		t.Errorf("%+v", s)
	}
	inputs, err := w.journal.Inputs(t.Context(), cairn.SessionKey{Tenant: tenantOne, ID: s.ID}, 10)
	if err != nil || len(inputs) != 1 {
		t.Fatalf("%v, %v", inputs, err)
	}
	want := cairn.Start{
		Agent: "desk", Digest: s.Digest, Content: []cairn.Part{cairn.Text("hello")}, Title: "T", Once: true,
		Budget:   cairn.Budget{Run: cairn.Dollar / 2, Session: 1000, OnBreach: cairn.BreachStop},
		Metadata: map[string]string{"order": "7"},
	}
	if d := cmp.Diff(want, inputs[0].Data); d != "" {
		t.Error(d)
	}
	if inputs[0].From != (cairn.Principal{Kind: "user", ID: "ann"}) {
		t.Errorf("from %v", inputs[0].From)
	}
}

func TestIdempotentCreate(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx := t.Context()
	ann, bob, eve := w.client(tokenAnn), w.client(tokenBob), w.client(tokenEve)
	create := v1.CreateSession{Agent: "desk", Input: v1.Text("hello")}
	for _, key := range []string{"order-7", ulid.Make().String()} {
		first, err := ann.CreateSession(ctx, create, client.Key(key))
		if err != nil {
			t.Fatal(err)
		}
		// The same request is the same session, whatever happened meanwhile.
		w.apply(tokenAnn, `{"name":"desk","model":"script/`+key+`"}`)
		again, err := ann.CreateSession(ctx, create, client.Key(key))
		if err != nil || again.ID != first.ID {
			t.Errorf("again: %v, %v", again.ID, err)
		}
		o := w.own(first.ID)
		o.commit(step{events: []cairn.Event{event(cairn.SessionCreated{Key: o.claim.Session, Agent: "desk", Digest: first.Digest})}, status: cairn.StatusIdle})
		again, err = ann.CreateSession(ctx, create, client.Key(key))
		if err != nil || again.ID != first.ID || again.Status != cairn.StatusIdle {
			t.Errorf("after it ran: %+v, %v", again, err)
		}
		// Another request with the key is refused.
		_, err = ann.CreateSession(ctx, v1.CreateSession{Agent: "desk", Input: v1.Text("other")}, client.Key(key))
		if cairn.CodeOf(err) != cairn.CodeConflict {
			t.Errorf("other body: %v", err)
		}
		// The key of another principal is another key.
		for name, c := range map[string]*client.Client{"bob": bob, "eve": eve} {
			s, err := c.CreateSession(ctx, create, client.Key(key))
			if err != nil || s.ID == first.ID {
				t.Errorf("%s: %v, %v", name, s.ID, err)
			}
		}
	}
}

func TestConcurrentCreate(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var wg sync.WaitGroup
	ids := make([]cairn.SessionID, 16)
	for i := range ids {
		wg.Go(func() {
			s, err := w.client(tokenAnn).CreateSession(t.Context(), v1.CreateSession{Agent: "desk"}, client.Key("k"))
			if err != nil {
				t.Error(err)
			}
			ids[i] = s.ID
		})
	}
	wg.Wait()
	for _, id := range ids {
		if id != ids[0] {
			t.Fatalf("one key made several sessions: %v", ids)
		}
	}
	list, err := w.client(tokenAnn).Sessions(t.Context(), client.SessionQuery{})
	if err != nil || len(list.Sessions) != 1 {
		t.Errorf("%d sessions, %v", len(list.Sessions), err)
	}
}

func TestListSessions(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.client(tokenAnn)
	w.apply(tokenAnn, `{"name":"other","model":"script/x"}`)
	var want []cairn.SessionID
	for i := range 25 {
		agent := "desk"
		if i%5 == 0 {
			agent = "other"
		}
		var s v1.Session
		w.post(tokenAnn, "/v1/sessions", fmt.Sprintf(`{"agent":%q}`, agent), 201, &s)
		if agent == "desk" {
			want = append([]cairn.SessionID{s.ID}, want...)
		}
	}
	var got []cairn.SessionID
	q := client.SessionQuery{Agent: "desk", Status: []cairn.Status{cairn.StatusQueued, cairn.StatusIdle}, Limit: 7}
	for pages := 0; ; pages++ {
		list, err := c.Sessions(t.Context(), q)
		if err != nil || pages > 5 {
			t.Fatal(err, pages)
		}
		for _, s := range list.Sessions {
			got = append(got, s.ID)
		}
		if q.Before = list.Next; q.Before == "" {
			break
		}
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	none, err := c.Sessions(t.Context(), client.SessionQuery{Status: []cairn.Status{cairn.StatusFailed}})
	if err != nil || none.Sessions == nil || len(none.Sessions) != 0 {
		t.Errorf("%v, %v", none, err)
	}
}

func TestInputs(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx := t.Context()
	c := w.client(tokenAnn)
	s := w.start()
	key := cairn.SessionKey{Tenant: tenantOne, ID: s.ID}

	first, err := c.Send(ctx, s.ID, v1.PostMessage{Content: v1.Text("one"), Interrupt: true}, client.Key("m1"))
	if err != nil {
		t.Fatal(err)
	}
	again, err := c.Send(ctx, s.ID, v1.PostMessage{Content: v1.Text("one"), Interrupt: true}, client.Key("m1"))
	if err != nil || again != first {
		t.Errorf("again: %v, %v", again, err)
	}
	if _, err = c.Send(ctx, s.ID, v1.PostMessage{Content: v1.Text("two")}, client.Key("m1")); cairn.CodeOf(err) != cairn.CodeConflict {
		t.Errorf("other body: %v", err)
	}
	if _, err = c.Pause(ctx, s.ID, "lunch", client.Key("m1")); cairn.CodeOf(err) != cairn.CodeConflict {
		t.Errorf("other operation: %v", err)
	}
	bobs, err := w.client(tokenBob).Send(ctx, s.ID, v1.PostMessage{Content: v1.Text("bob's")}, client.Key("m1"))
	if err != nil || bobs.Input == first.Input {
		t.Errorf("the key of another principal: %v, %v", bobs, err)
	}
	for _, f := range []func() (v1.Accepted, error){
		func() (v1.Accepted, error) { return c.Pause(ctx, s.ID, "lunch") },
		func() (v1.Accepted, error) { return c.Resume(ctx, s.ID) },
		func() (v1.Accepted, error) { return c.Cancel(ctx, s.ID, "enough") },
	} {
		if _, err := f(); err != nil {
			t.Error(err)
		}
	}
	inputs, err := w.journal.Inputs(ctx, key, 100)
	if err != nil {
		t.Fatal(err)
	}
	var got []cairn.InputData
	for _, in := range inputs[1:] {
		got = append(got, in.Data)
	}
	want := []cairn.InputData{
		cairn.Post{Content: []cairn.Part{cairn.Text("one")}, Interrupt: true},
		cairn.Post{Content: []cairn.Part{cairn.Text("bob's")}},
		cairn.Control{Action: cairn.ControlPause, Reason: "lunch"},
		cairn.Control{Action: cairn.ControlResume},
		cairn.Control{Action: cairn.ControlCancel, Reason: "enough"},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestFinalSessionTakesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx := t.Context()
	c := w.client(tokenAnn)
	s := w.start()
	m := v1.PostMessage{Content: v1.Text("one")}
	sent, err := c.Send(ctx, s.ID, m, client.Key("m1"))
	if err != nil {
		t.Fatal(err)
	}
	o := w.own(s.ID)
	o.commit(step{status: cairn.StatusCancelled, events: []cairn.Event{
		event(cairn.MessageCreated{Content: m.Content.Parts(), Origin: "user", Input: sent.Input}),
		event(cairn.RunCancelled{}),
	}})
	again, err := c.Send(ctx, s.ID, m, client.Key("m1"))
	if err != nil || again != sent {
		t.Errorf("a message it has: %v, %v", again, err)
	}
	if _, err := c.Cancel(ctx, s.ID, ""); err != nil {
		t.Errorf("cancel of what is cancelled: %v", err)
	}
	for name, f := range map[string]func() (v1.Accepted, error){
		"new message":   func() (v1.Accepted, error) { return c.Send(ctx, s.ID, m) },
		"another key":   func() (v1.Accepted, error) { return c.Send(ctx, s.ID, m, client.Key("m2")) },
		"pause":         func() (v1.Accepted, error) { return c.Pause(ctx, s.ID, "") },
		"resume":        func() (v1.Accepted, error) { return c.Resume(ctx, s.ID) },
		"with the same": func() (v1.Accepted, error) { return c.Resume(ctx, s.ID, client.Key("m1")) },
	} {
		_, err := f()
		e, ok := errors.AsType[*cairn.Error](err)
		if !ok || e.Code != cairn.CodeConflict || e.Message != "the session is cancelled and takes no more input: start a new one (cairn run, POST /v1/sessions)" {
			t.Errorf("%s: %v", name, err)
		}
	}
	left, err := w.journal.Inputs(ctx, o.claim.Session, 10)
	if err != nil || len(left) != 0 {
		t.Errorf("the inbox of a final session holds %v, %v", left, err)
	}
}

func TestUsage(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.start()
	o := w.own(s.ID)
	u := func(n int64) cairn.Usage { return cairn.Usage{Input: n, Output: 1} }
	a, b, c := cairn.EffectID("eff_a"), cairn.EffectID("eff_b"), cairn.EffectID("eff_c")
	about := func(id cairn.EffectID, d cairn.EventData) cairn.Event { return cairn.Event{Step: id, Data: d} }
	o.sum.Cost, o.sum.Reserved, o.sum.ModelCalls, o.sum.Usage = 1110, 7, 2, u(3)
	o.commit(step{events: []cairn.Event{
		about(a, cairn.ModelRequested{Model: "script/big", Reserved: 500}),
		about(a, cairn.ModelRetried{Attempt: 1, Usage: u(1), Cost: 10, Status: cairn.CostExact, Model: "script/small"}),
		about(b, cairn.ModelRequested{Model: "script/big"}),
		about(a, cairn.ModelRetried{Attempt: 2, Cost: 100, Status: cairn.CostEstimated, Model: "script/small"}),
		about(a, cairn.ModelCompleted{Answer: cairn.ModelAnswer{Model: "small-2026", Usage: u(2)}, Cost: 1000, Status: cairn.CostExact}),
		about(b, cairn.ModelFailed{Attempt: 1}),
		about(c, cairn.ModelRequested{Model: "script/big", Reserved: 7}),
	}})
	got, err := w.client(tokenAnn).SessionUsage(t.Context(), s.ID)
	if err != nil {
		t.Fatal(err)
	}
	want := []v1.ModelUsage{
		{Model: "script/big", Attempts: 2, Failed: 2, Usage: u(1), Cost: 10},
		{Model: "script/small", Attempts: 2, Failed: 1, Usage: u(2), Cost: 1100, Estimated: 100},
	}
	want[0].Usage.Output = 1
	if d := cmp.Diff(want, got.Models); d != "" {
		t.Error(d)
	}
	if got.Cost != 1110 || got.Reserved != 7 {
		t.Errorf("%+v", got)
	}
	totals, err := w.client(tokenAnn).Usage(t.Context())
	if err != nil || totals.Total.Cost != 1110 || totals.Total.Sessions != 1 || len(totals.Agents) != 1 || totals.Agents[0].Agent != "desk" {
		t.Errorf("%+v, %v", totals, err)
	}
}

func TestKeysThatAreULIDsSort(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.client(tokenAnn)
	var want []cairn.SessionID
	for i := range 8 {
		var key ulid.ULID
		if err := key.SetTime(uint64(1_800_000_000_000 + i)); err != nil {
			t.Fatal(err)
		}
		s, err := c.CreateSession(t.Context(), v1.CreateSession{Agent: "desk"}, client.Key(key.String()))
		if err != nil {
			t.Fatal(err)
		}
		want = append([]cairn.SessionID{s.ID}, want...)
	}
	list, err := c.Sessions(t.Context(), client.SessionQuery{})
	if err != nil {
		t.Fatal(err)
	}
	var got []cairn.SessionID
	for _, s := range list.Sessions {
		got = append(got, s.ID)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}
