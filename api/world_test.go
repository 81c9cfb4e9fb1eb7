package api_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/api"
	v1 "github.com/cairn-run/cairn/api/v1"
	"github.com/cairn-run/cairn/blob"
	"github.com/cairn-run/cairn/client"
	"github.com/cairn-run/cairn/journal"
	"github.com/cairn-run/cairn/journal/memory"
	"github.com/cairn-run/cairn/kernel"
)

// Tokens of the test's identities: two principals of one tenant, one of another.
const (
	tokenAnn  = "token-of-ann"
	tokenBob  = "token-of-bob"
	tokenEve  = "token-of-eve"
	tenantOne = cairn.TenantID("one")
	tenantTwo = cairn.TenantID("two")
)

// world is a server over a journal in memory. No kernel runs: a test owns the
// sessions itself and commits what it wants to have happened.
type world struct {
	t       testing.TB
	config  api.Config
	journal *journal.Journal
	live    *kernel.Live
	api     *api.API
	lease   journal.Lease
	claims  map[cairn.SessionKey]journal.Claim // claimed and not yet asked for
	log     *logBuffer
}

type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// catalog validates and stores definitions, as a node does.
type catalog struct{ j *journal.Journal }

func (c catalog) Apply(ctx context.Context, t cairn.TenantID, a *cairn.Agent) (journal.AgentVersion, bool, error) {
	v, created, err := c.Check(ctx, t, a)
	if err == nil {
		err = c.j.PutAgent(ctx, t, v)
	}
	return v, created, err
}

func (c catalog) Check(ctx context.Context, t cairn.TenantID, a *cairn.Agent) (journal.AgentVersion, bool, error) {
	if err := a.Validate(); err != nil {
		return journal.AgentVersion{}, false, err
	}
	data, err := json.Marshal(a)
	if err != nil {
		return journal.AgentVersion{}, false, err
	}
	v := journal.AgentVersion{Name: a.Name, Digest: a.Digest(), Created: time.Now(), Data: data}
	_, err = c.j.Agent(ctx, t, a.Name, v.Digest)
	return v, err != nil, nil
}

func newWorld(t testing.TB, change ...func(*api.Config)) *world {
	t.Helper()
	return newWorldOver(t, memory.Open(memory.Options{}), change...)
}

func newWorldOver(t testing.TB, store journal.Store, change ...func(*api.Config)) *world {
	t.Helper()
	w := &world{t: t, live: kernel.NewLive(), log: &logBuffer{}, claims: map[cairn.SessionKey]journal.Claim{}}
	w.journal = journal.New(store, blob.New(&blob.Memory{}, blob.Options{}))
	var n atomic.Uint64
	w.config = api.Config{
		Journal: w.journal, Live: w.live, Agents: catalog{w.journal}, Version: "test",
		Auth: api.StaticTokens(map[string]api.Identity{
			tokenAnn: {Tenant: tenantOne, Principal: cairn.Principal{Kind: "user", ID: "ann"}},
			tokenBob: {Tenant: tenantOne, Principal: cairn.Principal{Kind: "user", ID: "bob"}},
			tokenEve: {Tenant: tenantTwo, Principal: cairn.Principal{Kind: "user", ID: "ann"}},
		}),
		NewID: func() string {
			var id ulid.ULID
			if err := id.SetTime(n.Add(1)); err != nil {
				panic(err)
			}
			return id.String()
		},
		Logger: slog.New(slog.NewTextHandler(w.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	for _, f := range change {
		f(&w.config)
	}
	a, err := api.New(w.config)
	if err != nil {
		t.Fatal(err)
	}
	w.api = a
	t.Cleanup(func() {
		a.Close()
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	for _, token := range []string{tokenAnn, tokenEve} {
		w.apply(token, `{"name":"desk","model":"script/desk"}`)
	}
	if w.lease, err = w.journal.Beat(t.Context(), journal.Lease{}, time.Hour); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *world) client(token string) *client.Client { return client.Local(w.api, token) }

func (w *world) apply(token, definition string) {
	w.t.Helper()
	w.post(token, "/v1/agents", definition, 0, nil)
}

// answer is a response as it was sent.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// failure reads the typed error of a response.
func (a answer) failure(t testing.TB) v1.ErrorInfo {
	t.Helper()
	var b v1.ErrorBody
	d := json.NewDecoder(bytes.NewReader(a.body))
	d.DisallowUnknownFields()
	if err := d.Decode(&b); err != nil || b.Error.Code == "" || b.Error.Message == "" {
		t.Errorf("status %d without a typed error: %q", a.status, a.body)
	}
	if ct := a.header.Get("Content-Type"); ct != "application/json" {
		t.Errorf("the error has content type %q", ct)
	}
	return b.Error
}

// call sends a raw request through the handler.
func (w *world) call(method, path, token, body string, header ...string) answer {
	var in io.Reader
	if body != "" {
		in = strings.NewReader(body)
	}
	r := httptest.NewRequestWithContext(context.Background(), method, path, in)
	r.Host = "localhost"
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	for i := 0; i+1 < len(header); i += 2 {
		if header[i] == "Host" {
			r.Host = header[i+1]
			continue
		}
		r.Header.Set(header[i], header[i+1])
	}
	rec := httptest.NewRecorder()
	w.api.ServeHTTP(rec, r)
	return answer{rec.Code, rec.Result().Header, rec.Body.Bytes()}
}

// post sends JSON and reads the answer; status 0: any success.
func (w *world) post(token, path, body string, status int, out any) answer {
	w.t.Helper()
	a := w.call(http.MethodPost, path, token, body)
	if status == 0 && a.status/100 != 2 || status != 0 && a.status != status {
		w.t.Fatalf("POST %s: status %d, want %d: %s", path, a.status, status, a.body)
	}
	if out != nil {
		if err := json.Unmarshal(a.body, out); err != nil {
			w.t.Fatalf("POST %s: %v: %s", path, err, a.body)
		}
	}
	return a
}

// start creates a session of Ann's.
func (w *world) start() v1.Session {
	w.t.Helper()
	var s v1.Session
	w.post(tokenAnn, "/v1/sessions", `{"agent":"desk","input":"hello"}`, http.StatusCreated, &s)
	return s
}

// owner is a test that plays the kernel for one session.
type owner struct {
	w     *world
	claim journal.Claim
	sum   cairn.Summary
}

// own claims a session of tenant one, which must be due.
func (w *world) own(id cairn.SessionID) *owner {
	w.t.Helper()
	key := cairn.SessionKey{Tenant: tenantOne, ID: id}
	claim, ok := w.claims[key]
	for !ok {
		claims, err := w.journal.Claim(w.t.Context(), w.lease, journal.Filter{Fold: 1}, 100)
		if err != nil {
			w.t.Fatal(err)
		}
		for _, c := range claims {
			w.claims[c.Session] = c
		}
		claim, ok = w.claims[key]
	}
	delete(w.claims, key)
	sum, err := w.journal.Summary(w.t.Context(), key)
	if err != nil {
		w.t.Fatal(err)
	}
	return &owner{w, claim, sum}
}

// step is what one commit of a test changes.
type step struct {
	events []cairn.Event // without seq
	status cairn.Status
	open   []cairn.Ask
	silent bool             // do not tell the hub
	closed []cairn.EffectID // answers that are recorded with it
}

// commit takes the inbox and commits a step.
func (o *owner) commit(s step) {
	o.w.t.Helper()
	ctx := context.WithoutCancel(o.w.t.Context())
	inputs, err := o.w.journal.Inputs(ctx, o.claim.Session, 100)
	if err != nil {
		o.w.t.Fatal(err)
	}
	c := journal.Commit{Claim: o.claim, Fold: 1, Summary: &o.sum}
	for _, in := range inputs {
		c.Taken = append(c.Taken, in.ID)
	}
	for i := range s.events {
		s.events[i].Seq = o.claim.Next + cairn.Seq(i)
		s.events[i].At = time.Unix(int64(s.events[i].Seq), 0).UTC()
	}
	if c.Frame, err = o.w.journal.Encode(ctx, o.claim.Session.Tenant, s.events); err != nil {
		o.w.t.Fatal(err)
	}
	if s.status != "" {
		o.sum.Status = s.status
	}
	o.sum.Events = o.claim.Next + cairn.Seq(len(s.events)) - 1
	for _, a := range s.open {
		c.Open = append(c.Open, journal.AskRow{Session: o.claim.Session, Ask: a, Status: cairn.AskOpen})
	}
	if o.claim, err = o.w.journal.Commit(ctx, c); err != nil {
		o.w.t.Fatal(err)
	}
	if !s.silent {
		o.w.live.Advance(o.claim.Session, o.sum.Events, s.closed...)
	}
}

// events are n facts that mean nothing.
func events(n int) []cairn.Event {
	out := make([]cairn.Event, n)
	for i := range out {
		out[i] = event(cairn.PlanUpdated{Plan: json.RawMessage(fmt.Sprintf(`{"n":%d}`, i))})
	}
	return out
}

func event(d cairn.EventData) cairn.Event { return cairn.Event{Data: d} }
