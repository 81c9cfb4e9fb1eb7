package api_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/api"
	v1 "github.com/cairn-run/cairn/api/v1"
	"github.com/cairn-run/cairn/client"
	"github.com/cairn-run/cairn/journal"
	"github.com/cairn-run/cairn/journal/memory"
)

func TestAuth(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for name, tc := range map[string]struct {
		path, header string
		status       int
	}{
		"valid":        {"/v1/sessions", "Bearer " + tokenAnn, 200},
		"lower case":   {"/v1/sessions", "bearer " + tokenAnn, 200},
		"none":         {"/v1/sessions", "", 401},
		"wrong":        {"/v1/sessions", "Bearer " + tokenAnn + "x", 401},
		"prefix":       {"/v1/sessions", "Bearer token-of-an", 401},
		"empty":        {"/v1/sessions", "Bearer ", 401},
		"other scheme": {"/v1/sessions", "Basic " + tokenAnn, 401},
		"no route":     {"/v1/nothing", "", 401},
		"version":      {"/v1/version", "", 401},
		"spec":         {"/v1/openapi.json", "", 401},
		"health":       {"/v1/health", "", 200},
		"ready":        {"/v1/ready", "", 200},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := w.call(http.MethodGet, tc.path, "", "", "Authorization", tc.header)
			if a.status != tc.status {
				t.Fatalf("status %d, want %d: %s", a.status, tc.status, a.body)
			}
			if tc.status == 401 {
				if e := a.failure(t); e.Code != cairn.CodeAuth {
					t.Errorf("code %q", e.Code)
				}
				if a.header.Get("WWW-Authenticate") == "" {
					t.Error("no WWW-Authenticate")
				}
			}
		})
	}
	t.Cleanup(func() {
		if strings.Contains(w.log.String(), "token-of-") {
			t.Error("the log holds a token")
		}
	})
}

func TestEveryRouteNeedsAToken(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, r := range routes {
		a := w.call(r.method, r.path, "", r.body)
		if a.status != http.StatusUnauthorized {
			t.Errorf("%s %s: status %d without a token", r.method, r.path, a.status)
		}
	}
}

// routes are the routes of one session and one ask that a tenant has.
var routes = []struct{ method, path, body string }{
	{"GET", "/v1/sessions/SES", ""},
	{"GET", "/v1/sessions/SES/events", ""},
	{"GET", "/v1/sessions/SES/events?before=9", ""},
	{"GET", "/v1/sessions/SES/stream", ""},
	{"GET", "/v1/sessions/SES/usage", ""},
	{"POST", "/v1/sessions/SES/messages", `{"content":"x"}`},
	{"POST", "/v1/sessions/SES/cancel", ""},
	{"POST", "/v1/sessions/SES/pause", `{}`},
	{"POST", "/v1/sessions/SES/resume", `{}`},
	{"GET", "/v1/asks/ASK", ""},
	{"POST", "/v1/asks/ASK/approve", ""},
	{"POST", "/v1/asks/ASK/reject", `{}`},
	{"POST", "/v1/asks/ASK/edit", `{"args":{}}`},
	{"POST", "/v1/asks/ASK/answer", `{"result":{"content":"x"}}`},
}

func TestTenantsDoNotSeeEachOther(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.start()
	o := w.own(s.ID)
	ask := cairn.Ask{ID: cairn.AskIDAt(s.ID, 1), Kind: cairn.AskApproval, Tool: "refund"}
	o.commit(step{events: events(3), open: []cairn.Ask{ask}, status: cairn.StatusWaiting})
	for _, r := range routes {
		path := strings.NewReplacer("SES", string(s.ID), "ASK", string(ask.ID)).Replace(r.path)
		a := w.call(r.method, path, tokenEve, r.body)
		if a.status != http.StatusNotFound {
			t.Errorf("%s %s: status %d for another tenant", r.method, path, a.status)
			continue
		}
		a.failure(t)
	}
	eve := w.client(tokenEve)
	list, err := eve.Sessions(t.Context(), client.SessionQuery{})
	if err != nil || len(list.Sessions) != 0 {
		t.Errorf("sessions of another tenant: %v, %v", list, err)
	}
	asks, err := eve.Asks(t.Context(), client.AskQuery{})
	if err != nil || len(asks.Asks) != 0 {
		t.Errorf("asks of another tenant: %v, %v", asks, err)
	}
	asks, err = eve.Asks(t.Context(), client.AskQuery{Session: s.ID})
	if err != nil || len(asks.Asks) != 0 {
		t.Errorf("asks of another tenant's session: %v, %v", asks, err)
	}
	w.apply(tokenAnn, `{"name":"secret","model":"script/x"}`)
	if _, err := eve.Agent(t.Context(), "secret", ""); cairn.CodeOf(err) != cairn.CodeNotFound {
		t.Errorf("agent of another tenant: %v", err)
	}
	totals, err := eve.Usage(t.Context())
	if err != nil || totals.Total.Sessions != 0 {
		t.Errorf("usage of another tenant: %v, %v", totals, err)
	}
	still, err := w.client(tokenBob).Ask(t.Context(), ask.ID) // the same tenant may
	if err != nil || still.Status != cairn.AskOpen {
		t.Errorf("the ask is %v, %v", still.Status, err)
	}
}

func TestGuard(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *api.Config) {
		c.Hosts = []string{"cairn.example.com"}
		c.Origins = []string{"https://app.example.com"}
	})
	for name, tc := range map[string]struct {
		header []string
		status int
	}{
		"address":              {[]string{"Host", "10.1.2.3:7717"}, 200},
		"IPv6":                 {[]string{"Host", "[::1]:7717"}, 200},
		"localhost":            {[]string{"Host", "localhost:7717"}, 200},
		"allowed name":         {[]string{"Host", "Cairn.example.com"}, 200},
		"rebound name":         {[]string{"Host", "evil.example.com:7717"}, 403},
		"rebound, same origin": {[]string{"Host", "evil.example.com", "Origin", "http://evil.example.com"}, 403},
		"own page":             {[]string{"Host", "localhost:7717", "Origin", "http://localhost:7717"}, 200},
		"other page":           {[]string{"Origin", "https://evil.example.com"}, 403},
		"other port":           {[]string{"Host", "localhost:7717", "Origin", "http://localhost:3000"}, 403},
		"null origin":          {[]string{"Origin", "null"}, 403},
		"allowed page":         {[]string{"Origin", "https://app.example.com"}, 200},
		"no origin, cross":     {[]string{"Sec-Fetch-Site", "cross-site"}, 403},
		"no origin, own":       {[]string{"Sec-Fetch-Site", "same-origin"}, 200},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, path := range []string{"/v1/sessions", "/v1/health"} {
				a := w.call(http.MethodGet, path, tokenAnn, "", tc.header...)
				if a.status != tc.status {
					t.Errorf("%s: status %d, want %d: %s", path, a.status, tc.status, a.body)
				}
				if a.status == 403 {
					if e := a.failure(t); e.Code != cairn.CodeDenied {
						t.Errorf("code %s", e.Code)
					}
				}
				allowed := a.header.Get("Access-Control-Allow-Origin")
				if want := name == "allowed page"; (allowed != "") != want {
					t.Errorf("Access-Control-Allow-Origin %q", allowed)
				}
			}
		})
	}
	if a := w.call(http.MethodOptions, "/v1/sessions", "", "", "Origin", "https://app.example.com"); a.status != http.StatusNoContent {
		t.Errorf("preflight of an allowed origin: %d", a.status)
	}
	if a := w.call(http.MethodOptions, "/v1/sessions", "", "", "Origin", "https://evil.example.com"); a.status != http.StatusForbidden {
		t.Errorf("preflight of another origin: %d", a.status)
	}
}

func TestBadRequests(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.start()
	big := strings.Repeat("x", v1.MaxBody)
	for name, tc := range map[string]struct {
		method, path, body string
		status             int
		says               string
		header             []string
	}{
		"unknown field":        {"POST", "/v1/sessions", `{"agent":"desk","colour":"red"}`, 422, "body.colour", nil},
		"other case":           {"POST", "/v1/sessions", `{"Agent":"desk"}`, 422, "there is no such field", nil},
		"twice":                {"POST", "/v1/sessions", `{"agent":"desk","agent":"desk"}`, 400, "stands twice", nil},
		"no agent":             {"POST", "/v1/sessions", `{"input":"x"}`, 422, "agent", nil},
		"not JSON":             {"POST", "/v1/sessions", `{"agent":`, 400, "ends too early", nil},
		"no body":              {"POST", "/v1/sessions", ``, 400, "body is required", nil},
		"a list":               {"POST", "/v1/sessions", `[]`, 422, "expected object", nil},
		"wrong kind of input":  {"POST", "/v1/sessions", `{"agent":"desk","input":[{"kind":"opaque"}]}`, 422, "cannot be sent", nil},
		"empty message":        {"POST", "/v1/sessions/SES/messages", `{"content":""}`, 422, "text is empty", nil},
		"no content":           {"POST", "/v1/sessions/SES/messages", `{}`, 422, "content", nil},
		"negative budget":      {"POST", "/v1/sessions", `{"agent":"desk","budget":{"run":-1}}`, 422, "negative", nil},
		"money":                {"POST", "/v1/sessions", `{"agent":"desk","budget":{"run":"ten"}}`, 422, "$1.25", nil},
		"breach":               {"POST", "/v1/sessions", `{"agent":"desk","budget":{"on_breach":"explode"}}`, 422, "on_breach", nil},
		"too large":            {"POST", "/v1/sessions/SES/pause", `{"reason":"` + big + `"}`, 413, "too large", nil},
		"large parts are fine": {"POST", "/v1/sessions/SES/messages", `{"content":"` + big + `"}`, 202, "", nil},
		"too large parts":      {"POST", "/v1/sessions/SES/messages", `{"content":"` + strings.Repeat(big, 9) + `"}`, 413, "too large", nil},
		"long key":             {"POST", "/v1/sessions", `{"agent":"desk"}`, 422, "Idempotency-Key", []string{"Idempotency-Key", strings.Repeat("k", 256)}},
		"form":                 {"POST", "/v1/sessions", `agent=desk`, 415, "unknown content type", []string{"Content-Type", "application/x-www-form-urlencoded"}},
		"unknown query":        {"GET", "/v1/sessions?colour=red", "", 422, "query.colour", nil},
		"status":               {"GET", "/v1/sessions?status=happy", "", 422, "query.status", nil},
		"limit":                {"GET", "/v1/sessions?limit=1001", "", 422, "query.limit", nil},
		"event type":           {"GET", "/v1/sessions/SES/events?types=run.begun", "", 400, `no event type \"run.begun\"`, nil},
		"cursor":               {"GET", "/v1/sessions/SES/events?after=-1", "", 422, "query.after", nil},
		"stream cursor":        {"GET", "/v1/sessions/SES/stream?after=99", "", 400, "another session", nil},
		"last event id":        {"GET", "/v1/sessions/SES/stream", "", 422, "Last-Event-ID", []string{"Last-Event-ID", "seven"}},
		"until":                {"GET", "/v1/sessions/SES/stream?until=dawn", "", 422, "query.until", nil},
		"no such path":         {"GET", "/v1/nothing", "", 404, "openapi.json", nil},
		"no such session":      {"GET", "/v1/sessions/ses_nope", "", 404, "no session ses_nope", nil},
		"no such agent":        {"POST", "/v1/sessions", `{"agent":"nobody"}`, 404, "apply its definition", nil},
		"method":               {"DELETE", "/v1/sessions", "", 405, "GET, HEAD, POST", nil},
		"agent":                {"POST", "/v1/agents", `{"name":"Bad Name","model":"script/x"}`, 422, "body.name", nil},
		"agent field":          {"POST", "/v1/agents", `{"name":"a","model":"script/x","limit":1}`, 422, "body.limit", nil},
		"agent money":          {"POST", "/v1/agents", `{"name":"a","model":"script/x","budget":{"run":"$0.5","agent":"2"}}`, 201, "", nil},
		"agent duration":       {"POST", "/v1/agents", `{"name":"a","model":"script/x","limits":{"wall":"soon"}}`, 422, "30s, 5m or 2h", nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := w.call(tc.method, strings.ReplaceAll(tc.path, "SES", string(s.ID)), tokenAnn, tc.body, tc.header...)
			if a.status != tc.status || !strings.Contains(string(a.body), tc.says) {
				t.Fatalf("status %d, want %d and %q: %.500s", a.status, tc.status, tc.says, a.body)
			}
			if a.status >= 400 {
				a.failure(t)
			}
		})
	}
}

func TestErrorsDoNotRepeatValues(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.call(http.MethodPost, "/v1/sessions", tokenAnn, `{"agent":"desk","password":"hunter2"}`)
	if a.status != 422 || strings.Contains(string(a.body), "hunter2") {
		t.Errorf("status %d: %s", a.status, a.body)
	}
}

// faulty is a store that refuses to take anything.
type faulty struct {
	journal.Store
	err error
}

func (f *faulty) Deliver(ctx context.Context, l journal.Letter, a *journal.AskClose) error {
	if f.err != nil {
		return f.err
	}
	return f.Store.Deliver(ctx, l, a)
}

func TestJournalErrors(t *testing.T) {
	t.Parallel()
	f := &faulty{Store: memory.Open(memory.Options{})}
	w := newWorldOver(t, f)
	s := w.start()
	for _, tc := range []struct {
		err    error
		status int
		code   cairn.Code
	}{
		{journal.ErrFull, 507, cairn.CodeFull},
		{journal.ErrUnknown, 503, cairn.CodeUnavailable},
		{journal.ErrClosed, 503, cairn.CodeUnavailable},
		{journal.ErrMismatch, 409, cairn.CodeConflict},
		{fmt.Errorf("%w: %w", journal.ErrExists, journal.ErrMismatch), 409, cairn.CodeConflict},
		{context.DeadlineExceeded, 504, cairn.CodeTimeout},
		{errors.New("the secret is hunter2"), 500, cairn.CodeInternal},
		{cairn.Errorf(cairn.CodeRateLimited, "slower"), 429, cairn.CodeRateLimited},
	} {
		f.err = fmt.Errorf("deliver: %w", tc.err)
		a := w.call(http.MethodPost, "/v1/sessions/"+string(s.ID)+"/messages", tokenAnn, `{"content":"x"}`)
		if a.status != tc.status {
			t.Errorf("%v: status %d, want %d", tc.err, a.status, tc.status)
		}
		if e := a.failure(t); e.Code != tc.code || strings.Contains(e.Message, "hunter2") {
			t.Errorf("%v: %+v", tc.err, e)
		}
		if r := w.call(http.MethodGet, "/v1/sessions/"+string(s.ID), tokenAnn, ""); r.status != 200 {
			t.Errorf("%v: reads do not go on: %d", tc.err, r.status)
		}
	}
}

func TestUnixSocket(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *api.Config) {
		c.Socket = &api.Identity{Tenant: tenantOne, Principal: cairn.Principal{Kind: "user", ID: "local"}}
	})
	path := filepath.Join(t.TempDir(), "s")
	socket, err := (&net.ListenConfig{}).Listen(t.Context(), "unix", path)
	if err != nil {
		t.Fatal(err)
	}
	tcp, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := w.api.Server(nil)
	served := make(chan error, 2)
	go func() { served <- server.Serve(socket) }()
	go func() { served <- server.Serve(tcp) }()
	t.Cleanup(func() {
		if err := server.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
		for range 2 {
			if err := <-served; !errors.Is(err, http.ErrServerClosed) {
				t.Error(err)
			}
		}
	})
	c := client.Unix(path, "")
	defer c.Close()
	s, err := c.CreateSession(t.Context(), v1.CreateSession{Agent: "desk"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Session(t.Context(), s.ID); err != nil {
		t.Error(err)
	}
	other := client.New("http://"+tcp.Addr().String(), "", nil)
	defer other.Close()
	if _, err := other.Session(t.Context(), s.ID); cairn.CodeOf(err) != cairn.CodeAuth {
		t.Errorf("TCP without a token: %v", err)
	}
	wrong := client.Unix(path, "nonsense")
	defer wrong.Close()
	if _, err := wrong.Session(t.Context(), s.ID); cairn.CodeOf(err) != cairn.CodeAuth {
		t.Errorf("a wrong token over the socket: %v", err)
	}
}

func TestAgents(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.client(tokenAnn)
	first, err := c.Apply(t.Context(), &cairn.Agent{Name: "refunds", Model: "script/a", Budget: cairn.Budget{Run: cairn.Dollar}})
	if err != nil || !first.New {
		t.Fatalf("%+v, %v", first, err)
	}
	second, err := c.Apply(t.Context(), &cairn.Agent{Name: "refunds", Model: "script/b"})
	if err != nil || !second.New {
		t.Fatalf("%+v, %v", second, err)
	}
	again, err := c.Apply(t.Context(), &cairn.Agent{Name: "refunds", Model: "script/a", Budget: cairn.Budget{Run: cairn.Dollar}})
	if err != nil || again.New || again.Digest != first.Digest {
		t.Fatalf("%+v, %v", again, err)
	}
	current, err := c.Agent(t.Context(), "refunds", "")
	if err != nil || current.Digest != first.Digest || current.Model != "script/a" || len(current.Definition) == 0 {
		t.Errorf("%+v, %v", current, err)
	}
	planned, err := c.Check(t.Context(), &cairn.Agent{Name: "refunds", Model: "script/c"})
	if err != nil || !planned.New || !planned.DryRun {
		t.Errorf("%+v, %v", planned, err)
	}
	if _, err := c.Check(t.Context(), &cairn.Agent{Name: "Bad Name", Model: "x"}); cairn.CodeOf(err) != cairn.CodeInvalid {
		t.Error(err)
	}
	versions, err := c.Versions(t.Context(), "refunds", 0)
	if err != nil || versions.Current != first.Digest || len(versions.Versions) != 2 || versions.Versions[0].Digest != second.Digest ||
		versions.Versions[1].Model != "script/a" || versions.Versions[0].Definition != nil {
		t.Errorf("%+v, %v", versions, err)
	}
	if _, err := c.Versions(t.Context(), "nobody", 0); cairn.CodeOf(err) != cairn.CodeNotFound {
		t.Error(err)
	}
	large := &cairn.Agent{Name: "large", Model: "script/a", Instructions: strings.Repeat("x", 1<<20), Skills: []cairn.Skill{{
		Name: "x", Description: "X.", Files: []cairn.SkillFile{{Path: "SKILL.md", Content: bytes.Repeat([]byte{0xff}, cairn.MaxSkillBytes)}},
	}}}
	if _, err := c.Check(t.Context(), large); err != nil {
		t.Errorf("as large as an agent may be: %v", err)
	}
	large.Skills[0].Files = append(large.Skills[0].Files[:0], cairn.SkillFile{Path: "SKILL.md"}, cairn.SkillFile{Path: "__init__.py"})
	if _, err := c.Check(t.Context(), large); err != nil {
		t.Errorf("empty files: %v", err)
	}
	old, err := c.Agent(t.Context(), "refunds", second.Digest)
	if err != nil || old.Model != "script/b" {
		t.Errorf("%+v, %v", old, err)
	}
	list, err := c.Agents(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, a := range list.Agents {
		names = append(names, a.Name)
	}
	if d := cmp.Diff([]string{"desk", "refunds"}, names); d != "" {
		t.Error(d)
	}
	if _, err := c.Agent(t.Context(), "nobody", ""); cairn.CodeOf(err) != cairn.CodeNotFound {
		t.Error(err)
	}
	_, err = c.Apply(t.Context(), &cairn.Agent{Name: "Bad Name", Model: "x"})
	if cairn.CodeOf(err) != cairn.CodeInvalid || !strings.Contains(err.Error(), "body.name") {
		t.Error(err)
	}
}

func TestHealth(t *testing.T) {
	t.Parallel()
	store := memory.Open(memory.Options{})
	w := newWorldOver(t, store)
	c := w.client("")
	if err := errors.Join(c.Health(t.Context()), c.Ready(t.Context())); err != nil {
		t.Error(err)
	}
	v, err := w.client(tokenAnn).Version(t.Context())
	if err != nil || v.Version != "test" || v.API != "v1" {
		t.Errorf("%+v, %v", v, err)
	}
	if err := store.Close(); err != nil { // as when it gives up
		t.Fatal(err)
	}
	if a := w.call(http.MethodGet, "/v1/ready", "", ""); a.status != 503 {
		t.Errorf("ready without a store: %d", a.status)
	}
	if err := c.Health(t.Context()); err != nil {
		t.Error(err)
	}
}
