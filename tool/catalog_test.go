package tool_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/tool"
	"github.com/cairn-run/cairn/tool/builtin"
	toolhttp "github.com/cairn-run/cairn/tool/http"
	"github.com/cairn-run/cairn/tool/mcp"
)

var session = cairn.SessionKey{Tenant: "acme", ID: "ses_1"}

func newCatalog(t testing.TB) *tool.Catalog {
	h, m := toolhttp.New(), mcp.New(mcp.Options{Log: slog.New(slog.DiscardHandler)})
	t.Cleanup(func() {
		if err := errors.Join(h.Close(), m.Close()); err != nil {
			t.Error(err)
		}
	})
	return tool.New(tool.Options{HTTP: h, MCP: m, Builtin: builtin.Tools(), Log: slog.New(slog.DiscardHandler)})
}

// desk is a valid agent; url is where its HTTP tools are.
func desk(url string) *cairn.Agent {
	return &cairn.Agent{
		Name: "desk", Model: "script/desk",
		Tools: []cairn.ToolSource{
			{HTTP: &cairn.HTTPTool{Name: "refund", URL: url + "/refunds", InputSchema: json.RawMessage(
				`{"type":"object","properties":{"charge_id":{"type":"string","pattern":"^ch_"},"amount":{"type":"integer","minimum":1}},"required":["charge_id","amount"],"additionalProperties":false}`)}},
			{HTTP: &cairn.HTTPTool{Name: "find_refund", Method: "get", URL: url + "/refunds/{charge_id}"}},
			{Builtin: []string{"plan"}},
			{Client: &cairn.ClientTool{Name: "confirm"}},
		},
		Effects: map[string]*cairn.EffectDecl{
			"refund": {
				IdempotencyKey: "refund:{charge_id}",
				Timeout:        cairn.Duration(5 * time.Second),
				Reconcile: &cairn.Reconcile{
					Tool:      "find_refund",
					Arguments: map[string]json.RawMessage{"charge_id": json.RawMessage(`"{charge_id}"`)},
					Done:      map[string]json.RawMessage{"status": json.RawMessage(`"done"`)},
					NotDone:   map[string]json.RawMessage{"status": json.RawMessage(`"none"`)},
				},
			},
		},
		Policy: cairn.Policy{Ask: []string{"refund:amount=?????*"}, Deny: []string{"refund:charge_id=ch_fraud*"}},
		Output: &cairn.Output{Schema: json.RawMessage(`{"type":"object","required":["ok"]}`)},
	}
}

func TestStatic(t *testing.T) {
	t.Parallel()
	c, a := newCatalog(t), desk("https://api.example.com")
	if err := c.Validate(a); err != nil {
		t.Fatal(err)
	}
	type row struct {
		Name    string
		Host    cairn.ToolHost
		Class   cairn.EffectClass
		Source  int
		Retries int
		Timeout string
		Key     string
	}
	var got []row
	for _, s := range c.Static(a) {
		got = append(got, row{s.Name, s.Host, s.Class, s.Source, s.Retries, s.Timeout.String(), s.Key})
		if s.Digest != s.ToolDef.Digest() {
			t.Errorf("%s: digest %s", s.Name, s.Digest)
		}
	}
	want := []row{
		{"confirm", cairn.HostClient, cairn.ClassIrreversible, 3, 0, "24h0m0s", ""},
		{"find_refund", cairn.HostRuntime, cairn.ClassRead, 1, 2, "1m0s", ""},
		{"plan", cairn.HostEngine, cairn.ClassRead, 2, 0, "1m0s", ""},
		{"refund", cairn.HostRuntime, cairn.ClassIrreversible, 0, 0, "5s", "refund:{charge_id}"},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if c.NeedsDiscovery(a) {
		t.Error("needs discovery")
	}
}

func TestValidate(t *testing.T) {
	t.Parallel()
	c := newCatalog(t)
	for path, change := range map[string]func(*cairn.Agent){
		"policy.ask[0]":                        func(a *cairn.Agent) { a.Policy.Ask[0] = "refund when amount > 5" },
		"policy.allow[0]":                      func(a *cairn.Agent) { a.Policy.Allow = []string{"refund:amuont=5"} },
		"policy.ask[1]":                        func(a *cairn.Agent) { a.Policy.Ask = append(a.Policy.Ask, "refund:amount.value=5,currency=USD") },
		"policy.deny[0]":                       func(a *cairn.Agent) { a.Policy.Deny[0] = "refnd" },
		"tools[0].http.input_schema":           func(a *cairn.Agent) { a.Tools[0].HTTP.InputSchema = json.RawMessage(`{"type":"strange"}`) },
		"tools[0].http.url":                    func(a *cairn.Agent) { a.Tools[0].HTTP.URL = "https://{host}/" },
		"tools[1].http":                        func(a *cairn.Agent) { a.Tools[1].HTTP.Name = "refund" },
		"tools[2].builtin[0]":                  func(a *cairn.Agent) { a.Tools[2].Builtin[0] = "plans" },
		"output.schema":                        func(a *cairn.Agent) { a.Output.Schema = json.RawMessage(`{"$ref":"https://example.com/s.json"}`) },
		"effects.refnd":                        func(a *cairn.Agent) { a.Effects["refnd"] = &cairn.EffectDecl{} },
		"effects.refund.idempotency_key":       func(a *cairn.Agent) { a.Effects["refund"].IdempotencyKey = "{charge}" },
		"effects.refund.retries":               func(a *cairn.Agent) { n := 1; a.Effects["refund"].Retries = &n },
		"effects.refund.max_output":            func(a *cairn.Agent) { a.Effects["refund"].MaxOutput = 1 << 40 },
		"effects.refund.reconcile.tool":        func(a *cairn.Agent) { a.Effects["refund"].Reconcile.Tool = "refund" },
		"effects.refund.reconcile.done.status": func(a *cairn.Agent) { a.Effects["refund"].Reconcile.Done["status"] = json.RawMessage(`done`) },
		"effects.refund.reconcile.arguments.x": func(a *cairn.Agent) { a.Effects["refund"].Reconcile.Arguments["x"] = json.RawMessage(`"{nothing}"`) },
		"on_exit[0].tool":                      func(a *cairn.Agent) { a.OnExit = []cairn.Hook{{Tool: "stop"}} },
		"on_exit[0].arguments":                 func(a *cairn.Agent) { a.OnExit = []cairn.Hook{{Tool: "refund"}} },
	} {
		a := desk("https://api.example.com")
		change(a)
		err := c.Validate(a)
		f, ok := errors.AsType[*cairn.FieldError](err)
		if !ok || f.Path != path {
			t.Errorf("%s: %v", path, err)
		}
		if check := c.Check(a, c.Static(a), session, "refund", `{"charge_id":"ch_1","amount":1}`); check.Verdict != cairn.VerdictDeny {
			t.Errorf("%s: a definition that cannot be used gives %+v", path, check)
		}
	}
}

func TestCheck(t *testing.T) {
	t.Parallel()
	c, a := newCatalog(t), desk("https://api.example.com")
	tools := c.Static(a)
	type outcome struct {
		Code    cairn.Code
		Says    string
		Verdict cairn.Verdict
		Rule    string
		Args    string
		Key     string
	}
	for name, test := range map[string]struct {
		tool, args string
		want       outcome
	}{
		"allowed": {"refund", ` {"charge_id":"ch_1","amount":1e1}`, outcome{"", "", "allow", "", `{"amount":10,"charge_id":"ch_1"}`, "refund:ch_1"}},
		"asked":   {"refund", `{"charge_id":"ch_1","amount":10000}`, outcome{"", "", "ask", "ask: refund:amount=?????*", `{"amount":10000,"charge_id":"ch_1"}`, "refund:ch_1"}},
		"denied": {
			"refund", `{"charge_id":"ch_fr\u0061ud1","amount":1}`,
			outcome{"", "", "deny", "deny: refund:charge_id=ch_fraud*", `{"amount":1,"charge_id":"ch_fraud1"}`, "refund:ch_fraud1"},
		},
		"nothing":      {"confirm", "", outcome{"", "", "allow", "", `{}`, ""}},
		"unknown tool": {"refunds", `{}`, outcome{Code: cairn.CodeUnknownTool, Says: "did you mean refund?"}},
		"far off":      {"xyz", `{}`, outcome{Code: cairn.CodeUnknownTool, Says: "there are: confirm, find_refund, plan, refund"}},
		"missing":      {"refund", `{"charge_id":"ch_1"}`, outcome{Code: cairn.CodeInvalidArgs, Says: "missing property 'amount'"}},
		"wrong type":   {"refund", `{"charge_id":"ch_1","amount":"5"}`, outcome{Code: cairn.CodeInvalidArgs, Says: "at /amount: got string, want integer"}},
		"too much":     {"refund", `{"charge_id":"ch_1","amount":5,"to":"me"}`, outcome{Code: cairn.CodeInvalidArgs, Says: "'to'"}},
		"no JSON":      {"refund", `{"charge_id":`, outcome{Code: cairn.CodeInvalidArgs, Says: "not valid JSON"}},
		"key twice":    {"refund", `{"amount":1,"amount":2}`, outcome{Code: cairn.CodeInvalidArgs, Says: "twice"}},
		"no object":    {"refund", `[1]`, outcome{Code: cairn.CodeInvalidArgs, Says: "must be a JSON object"}},
		"null":         {"refund", `null`, outcome{Code: cairn.CodeInvalidArgs, Says: "must be a JSON object"}},
		"plan":         {"plan", `{"steps":[{"title":"look","status":"done"}]}`, outcome{"", "", "allow", "", `{"steps":[{"status":"done","title":"look"}]}`, ""}},
		"bad plan":     {"plan", `{"steps":[]}`, outcome{Code: cairn.CodeInvalidArgs, Says: "minItems"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			check := c.Check(a, tools, session, test.tool, test.args)
			got := outcome{Verdict: check.Verdict, Rule: check.Rule, Args: string(check.Args), Key: check.Key}
			if check.Error != nil {
				got.Code = check.Error.Code
				if strings.Contains(check.Error.Message, test.want.Says) {
					got.Says = test.want.Says
				} else {
					got.Says = check.Error.Message
				}
				if !check.Error.NotDone || len(check.Error.Message) > 1500 {
					t.Errorf("%+v", check.Error)
				}
			}
			if d := cmp.Diff(test.want, got); d != "" {
				t.Error(d)
			}
			if (check.Error == nil) != (check.Digest != "") {
				t.Errorf("digest %q", check.Digest)
			}
		})
	}
}

func TestActionDigest(t *testing.T) {
	t.Parallel()
	c, a := newCatalog(t), desk("https://api.example.com")
	digest := func(a *cairn.Agent, s cairn.SessionKey, args string) cairn.Digest {
		check := c.Check(a, c.Static(a), s, "refund", args)
		if check.Error != nil {
			t.Fatal(check.Error)
		}
		return check.Digest
	}
	first := digest(a, session, `{"charge_id":"ch_1","amount":5}`)
	if same := digest(a, session, `{ "amount": 5.0, "charge_id": "\u0063h_1" }`); same != first {
		t.Error("the same action has another digest")
	}
	described := desk("https://api.example.com")
	described.Tools[0].HTTP.Description = "another definition"
	for name, other := range map[string]cairn.Digest{
		"arguments":  digest(a, session, `{"charge_id":"ch_1","amount":6}`),
		"session":    digest(a, cairn.SessionKey{Tenant: "acme", ID: "ses_2"}, `{"charge_id":"ch_1","amount":5}`),
		"tenant":     digest(a, cairn.SessionKey{Tenant: "other", ID: "ses_1"}, `{"charge_id":"ch_1","amount":5}`),
		"target":     digest(desk("https://evil.example.com"), session, `{"charge_id":"ch_1","amount":5}`),
		"definition": digest(described, session, `{"charge_id":"ch_1","amount":5}`),
	} {
		if other == first {
			t.Errorf("another %s has the same digest", name)
		}
	}
}

func TestCheckOutput(t *testing.T) {
	t.Parallel()
	c, a := newCatalog(t), desk("https://api.example.com")
	for text, want := range map[string]string{
		`{"ok":true}`: "", "{\"ok\":1}\n": "",
		`{}`: "missing property 'ok'", "```json\n{}\n```": "no code fence", "": "one JSON value", `{"ok":1,"ok":2}`: "twice",
	} {
		got := c.CheckOutput(a, text)
		if (want == "") != (got == "") || !strings.Contains(got, want) {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
	a.Output = nil
	if got := c.CheckOutput(a, "anything"); got != "" {
		t.Error(got)
	}
}

// effect is a call of a tool as the engine would make it.
func effect(t *testing.T, c *tool.Catalog, a *cairn.Agent, tools []cairn.ToolSpec, name, args string) *cairn.ToolEffect {
	t.Helper()
	check := c.Check(a, tools, session, name, args)
	if check.Error != nil {
		t.Fatal(check.Error)
	}
	for _, s := range tools {
		if s.Name == name {
			return &cairn.ToolEffect{
				Tool: name, Source: s.Source, Class: s.Class, Args: check.Args, Key: check.Key,
				Digest: check.Digest, Def: s.Digest, Reconcile: s.Reconcile, Timeout: s.Timeout,
			}
		}
	}
	t.Fatalf("no tool %s", name)
	return nil
}

// TestWhatIsKnown: after a broken call, a class that must not be repeated is
// unknown, unless it is certain that nothing was done or the target answered.
func TestWhatIsKnown(t *testing.T) {
	t.Parallel()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // the server sees the client leave only after that
		switch r.URL.Path {
		case "/cut":
			panic(http.ErrAbortHandler)
		case "/500":
			w.WriteHeader(http.StatusInternalServerError)
		case "/429":
			w.WriteHeader(http.StatusTooManyRequests)
		case "/401":
			w.WriteHeader(http.StatusUnauthorized)
		case "/hang":
			<-r.Context().Done()
		}
	}))
	t.Cleanup(s.Close)
	type known struct {
		Code               cairn.Code
		NotDone, Retryable bool
	}
	c := newCatalog(t)
	for _, test := range []struct {
		url  string
		once known // irreversible
		many known // read
	}{
		{s.URL + "/ok", known{}, known{}},
		{s.URL + "/cut", known{cairn.CodeUnknown, false, false}, known{cairn.CodeCut, false, true}},
		{s.URL + "/500", known{cairn.CodeUnknown, false, false}, known{cairn.CodeOverloaded, false, true}},
		{s.URL + "/hang", known{cairn.CodeUnknown, false, false}, known{cairn.CodeTimeout, false, true}},
		{s.URL + "/429", known{cairn.CodeRateLimited, true, true}, known{cairn.CodeRateLimited, true, true}},
		{s.URL + "/401", known{cairn.CodeAuth, false, false}, known{cairn.CodeAuth, false, false}},
		{"http://127.0.0.1:1", known{cairn.CodeUnavailable, true, true}, known{cairn.CodeUnavailable, true, true}},
	} {
		for class, want := range map[cairn.EffectClass]known{
			cairn.ClassIrreversible: test.once, cairn.ClassReversible: test.once, "": test.once,
			cairn.ClassRead: test.many, cairn.ClassIdempotent: test.many,
		} {
			t.Run(test.url+" "+string(class), func(t *testing.T) {
				t.Parallel()
				a := &cairn.Agent{Name: "x", Tools: []cairn.ToolSource{{HTTP: &cairn.HTTPTool{Name: "go", URL: test.url}}}}
				_, err := c.Call(t.Context(), session, a, &cairn.ToolEffect{
					Tool: "go", Class: class, Args: json.RawMessage(`{}`), Timeout: cairn.Duration(time.Second),
				}, "eff_1", 1, tool.Watch{})
				got := known{}
				if e, ok := errors.AsType[*cairn.Error](err); ok {
					got = known{e.Code, e.NotDone, e.Retryable}
				} else if err != nil {
					t.Fatal(err)
				}
				if d := cmp.Diff(want, got); d != "" {
					t.Errorf("%v\n%s", err, d)
				}
			})
		}
	}
}

func TestCancelledCall(t *testing.T) {
	t.Parallel()
	arrived := make(chan struct{}, 8)
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // the server sees the client leave only after that
		arrived <- struct{}{}
		<-r.Context().Done()
	}))
	t.Cleanup(s.Close)
	c := newCatalog(t)
	a := &cairn.Agent{Name: "x", Tools: []cairn.ToolSource{{HTTP: &cairn.HTTPTool{Name: "go", URL: s.URL}}}}
	for class, want := range map[cairn.EffectClass]cairn.Code{cairn.ClassRead: cairn.CodeCancelled, cairn.ClassIrreversible: cairn.CodeUnknown} {
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			<-arrived
			cancel()
		}()
		_, err := c.Call(ctx, session, a, &cairn.ToolEffect{Tool: "go", Class: class, Args: json.RawMessage(`{}`)}, "eff_1", 1, tool.Watch{})
		if e, ok := errors.AsType[*cairn.Error](err); !ok || e.Code != want || e.NotDone || e.Retryable {
			t.Errorf("%s: %+v", class, e)
		}
		_, err = c.Call(ctx, session, a, &cairn.ToolEffect{Tool: "go", Class: class, Args: json.RawMessage(`{}`)}, "eff_1", 1, tool.Watch{})
		if e, ok := errors.AsType[*cairn.Error](err); !ok || e.Code != cairn.CodeCancelled || !e.NotDone {
			t.Errorf("%s, cancelled before: %+v", class, e)
		}
	}
}

func TestKeyOfACall(t *testing.T) {
	t.Parallel()
	keys := make(chan string, 2)
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { keys <- r.Header.Get("Idempotency-Key") }))
	t.Cleanup(s.Close)
	c, a := newCatalog(t), desk(s.URL)
	e := effect(t, c, a, c.Static(a), "refund", `{"charge_id":"ch_1 ü:","amount":5}`)
	for range 2 {
		if _, err := c.Call(t.Context(), session, a, e, "eff_1", 1, tool.Watch{}); err != nil {
			t.Fatal(err)
		}
		e.Key = ""
	}
	if d := cmp.Diff([]string{"refund:ch_1+%C3%BC%3A", "eff_1"}, []string{<-keys, <-keys}); d != "" {
		t.Error(d)
	}
}

func TestReconcile(t *testing.T) {
	t.Parallel()
	var answer atomic.Value
	var asked atomic.Value
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Store(r.Method + " " + r.URL.Path)
		w.Header().Set("Content-Type", "application/json")
		status, body, _ := strings.Cut(answer.Load().(string), " ")
		if status == "404" {
			w.WriteHeader(http.StatusNotFound)
		}
		if status == "500" {
			w.WriteHeader(http.StatusInternalServerError)
		}
		_, _ = io.WriteString(w, body)
	}))
	t.Cleanup(s.Close)
	c, a := newCatalog(t), desk(s.URL)
	tools := c.Static(a)
	e := effect(t, c, a, tools, "refund", `{"charge_id":"ch_1","amount":5}`)
	for text, want := range map[string]cairn.Finding{
		`200 {"status":"done","id":1}`:          cairn.FoundDone,
		`200 {"status":"none"}`:                 cairn.FoundNotDone,
		`404 {"status":"none"}`:                 cairn.FoundNotDone,
		`404 {"status":"done"}`:                 cairn.FoundUnclear, // an error never says that it was done
		`200 {"status":"pending"}`:              cairn.FoundUnclear,
		`200 {"other":1}`:                       cairn.FoundUnclear,
		`200 {"status":"done","status":"none"}`: cairn.FoundUnclear,
		`200 not json`:                          cairn.FoundUnclear,
	} {
		answer.Store(text)
		found, result, err := c.Reconcile(t.Context(), session, a, tools, e, "eff_1", 1)
		if err != nil || found != want || (result != nil) != (want == cairn.FoundDone) {
			t.Errorf("%s: %v %v %v", text, found, result, err)
		}
	}
	if got := asked.Load(); got != "GET /refunds/ch_1" {
		t.Errorf("asked %v", got)
	}
	answer.Store("500 ")
	found, _, err := c.Reconcile(t.Context(), session, a, tools, e, "eff_1", 1)
	if re, ok := errors.AsType[*cairn.Error](err); !ok || !re.Retryable || found != cairn.FoundUnclear {
		t.Errorf("%v %v", found, err)
	}
	denied := desk(s.URL)
	denied.Policy.Deny = append(denied.Policy.Deny, "find_refund")
	if _, _, err := c.Reconcile(t.Context(), session, denied, tools, e, "eff_1", 1); cairn.CodeOf(err) != cairn.CodeDenied {
		t.Errorf("%v", err)
	}
}

func TestReconcileArguments(t *testing.T) {
	t.Parallel()
	bodies := make(chan string, 1)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		bodies <- string(b)
		_, _ = io.WriteString(w, `{"found":{"n":1.0}}`)
	}))
	t.Cleanup(s.Close)
	a := &cairn.Agent{
		Name: "x", Model: "script/x",
		Tools: []cairn.ToolSource{
			{HTTP: &cairn.HTTPTool{Name: "pay", URL: s.URL}},
			{HTTP: &cairn.HTTPTool{Name: "search", URL: s.URL}},
		},
		Effects: map[string]*cairn.EffectDecl{
			"search": {Class: cairn.ClassRead},
			"pay": {Reconcile: &cairn.Reconcile{
				Tool: "search",
				Arguments: map[string]json.RawMessage{
					"amount": json.RawMessage(`"{amount}"`), "key": json.RawMessage(`"{idempotency_key}"`),
					"where": json.RawMessage(`[{"text":"order {order.id}!"}, 1]`),
				},
				Done: map[string]json.RawMessage{"found.n": json.RawMessage(`1`)},
			}},
		},
	}
	c := newCatalog(t)
	if err := c.Validate(a); err != nil {
		t.Fatal(err)
	}
	tools := c.Static(a)
	e := effect(t, c, a, tools, "pay", `{"amount":50000000000000000001,"order":{"id":"o 1"}}`)
	found, _, err := c.Reconcile(t.Context(), session, a, tools, e, "eff_9", 1)
	if err != nil || found != cairn.FoundDone {
		t.Errorf("%v %v", found, err)
	}
	want := `{"amount":50000000000000000001,"key":"eff_9","where":[{"text":"order o 1!"},1]}`
	if d := cmp.Diff(want, <-bodies); d != "" {
		t.Error(d)
	}
}

// mcpServer offers tools with these names.
func mcpServer(t *testing.T, names ...string) string {
	s := sdk.NewServer(&sdk.Implementation{Name: "s", Version: "1"}, nil)
	for _, name := range names {
		s.AddTool(&sdk.Tool{Name: name, InputSchema: json.RawMessage(`{"type":"object"}`), Annotations: &sdk.ToolAnnotations{ReadOnlyHint: strings.HasPrefix(name, "get")}},
			func(_ context.Context, r *sdk.CallToolRequest) (*sdk.CallToolResult, error) {
				return &sdk.CallToolResult{Content: []sdk.Content{&sdk.TextContent{Text: r.Params.Name}}, StructuredContent: map[string]any{"tool": r.Params.Name}}, nil
			})
	}
	h := httptest.NewServer(sdk.NewStreamableHTTPHandler(func(*http.Request) *sdk.Server { return s }, nil))
	t.Cleanup(h.Close)
	return h.URL
}

// closedServer offers note_add, whose schema is closed.
func closedServer(t *testing.T) string {
	s := sdk.NewServer(&sdk.Implementation{Name: "s", Version: "1"}, nil)
	s.AddTool(&sdk.Tool{Name: "note_add", InputSchema: json.RawMessage(`{"type":"object","additionalProperties":false,"properties":{
		"text":{"type":"string"},"to.zip":{"type":"string"},"meta":{"type":"object"},
		"to":{"type":"object","additionalProperties":false,"properties":{"name":{"type":"string"}}}}}`)},
		func(context.Context, *sdk.CallToolRequest) (*sdk.CallToolResult, error) {
			return &sdk.CallToolResult{}, nil
		})
	h := httptest.NewServer(sdk.NewStreamableHTTPHandler(func(*http.Request) *sdk.Server { return s }, nil))
	t.Cleanup(h.Close)
	return h.URL
}

func TestDiscover(t *testing.T) {
	t.Parallel()
	one, two := mcpServer(t, "get_order", "refund", "admin.delete"), mcpServer(t, "get_order", "send")
	a := &cairn.Agent{
		Name: "x", Model: "script/x",
		Tools: []cairn.ToolSource{
			{MCP: &cairn.MCPServer{URL: one, Prefix: "a_"}, Allow: []string{"get_*", "refund"}},
			{MCP: &cairn.MCPServer{URL: two}},
			{Client: &cairn.ClientTool{Name: "confirm"}},
		},
		Effects: map[string]*cairn.EffectDecl{"a_refund": {Class: cairn.ClassIdempotent, IdempotencyKey: "r:{id}"}},
	}
	c := newCatalog(t)
	if err := c.Validate(a); err != nil {
		t.Fatal(err)
	}
	if !c.NeedsDiscovery(a) {
		t.Error("does not need discovery")
	}
	pinned, err := c.Discover(t.Context(), "acme", a)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, s := range c.Tools(a, pinned) {
		got = append(got, fmt.Sprintln(s.Name, s.Host, s.Class, s.Source, s.Retries, s.Key))
	}
	want := []string{
		"a_get_order runtime read 0 2 \n", "a_refund runtime idempotent 0 2 r:{id}\n",
		"confirm client irreversible 2 0 \n", "get_order runtime read 1 2 \n", "send runtime irreversible 1 0 \n",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	e := effect(t, c, a, c.Tools(a, pinned), "a_refund", `{"id":"1"}`)
	r, err := c.Call(t.Context(), session, a, e, "eff_1", 1, tool.Watch{})
	if err != nil || cairn.TextOf(r.Content) != "refund" || string(r.Structured) != `{"tool":"refund"}` {
		t.Errorf("%+v %v", r, err)
	}
	e.Def = cairn.DigestOf([]byte("old"))
	_, err = c.Call(t.Context(), session, a, e, "eff_1", 1, tool.Watch{})
	if pe, ok := errors.AsType[*cairn.Error](err); !ok || pe.Code != cairn.CodePinMismatch || !pe.NotDone {
		t.Errorf("%v", err)
	}
}

func TestDiscoverErrors(t *testing.T) {
	t.Parallel()
	one, two, closed := mcpServer(t, "send"), mcpServer(t, "send"), closedServer(t)
	for says, a := range map[string]*cairn.Agent{
		`tools[1] has a tool "send", and so has tools[0]`: {Tools: []cairn.ToolSource{{MCP: &cairn.MCPServer{URL: one}}, {MCP: &cairn.MCPServer{URL: two}}}},
		`"send", and so has tools[1]`:                     {Tools: []cairn.ToolSource{{MCP: &cairn.MCPServer{URL: one}}, {Client: &cairn.ClientTool{Name: "send"}}}},
		`effects.sned: no tool is called "sned"; did you mean send?`: {
			Tools: []cairn.ToolSource{{MCP: &cairn.MCPServer{URL: one}}}, Effects: map[string]*cairn.EffectDecl{"sned": {}},
		},
		`policy.ask[0]: no tool is called "sned"; did you mean send?`: {
			Tools: []cairn.ToolSource{{MCP: &cairn.MCPServer{URL: one}}}, Policy: cairn.Policy{Ask: []string{"sned"}},
		},
		`policy.deny[1]: no tool is called "sned"; did you mean send?`: {
			Tools: []cairn.ToolSource{{MCP: &cairn.MCPServer{URL: one}}}, Policy: cairn.Policy{Deny: []string{"x*", "sned:to=*"}},
		},
		`policy.allow[0]: no tool is called "mail"; there are: send`: {
			Tools: []cairn.ToolSource{{MCP: &cairn.MCPServer{URL: one}}}, Policy: cairn.Policy{Allow: []string{"mail"}, Default: "deny"},
		},
		`policy.ask[0]: note_add has no argument "txt"; did you mean text`: {
			Tools: []cairn.ToolSource{{MCP: &cairn.MCPServer{URL: closed}}}, Policy: cairn.Policy{Ask: []string{"note_add:txt=*"}},
		},
		`policy.ask[0]: note_add has no argument "to.nme"; did you mean to.name?`: {
			Tools: []cairn.ToolSource{{MCP: &cairn.MCPServer{URL: closed}}}, Policy: cairn.Policy{Ask: []string{"note_add:TO.Name=x,to.nme=*"}},
		},
		`policy.allow[0]: note_add has no argument "Text"; did you mean text?`: {
			Tools: []cairn.ToolSource{{MCP: &cairn.MCPServer{URL: closed}}}, Policy: cairn.Policy{Allow: []string{"note_add:Text=*"}},
		},
		`tools[0].allow[0]: no tool of the server matches "sned"; did you mean send?`: {
			Tools: []cairn.ToolSource{{MCP: &cairn.MCPServer{URL: one, Prefix: "a_"}, Allow: []string{"sned"}}},
		},
		`tools[0].allow[1]: no tool of the server matches "get_*"; there are: send`: {
			Tools: []cairn.ToolSource{{MCP: &cairn.MCPServer{URL: one}, Allow: []string{"s*", "get_*"}}},
		},
		`no connection to the MCP server at 127.0.0.1:1`: {Tools: []cairn.ToolSource{{MCP: &cairn.MCPServer{URL: "http://127.0.0.1:1"}}}},
	} {
		a.Name = "x"
		_, err := newCatalog(t).Discover(t.Context(), "acme", a)
		if e, ok := errors.AsType[*cairn.Error](err); !ok || !strings.Contains(e.Message, says) {
			t.Errorf("%v, want %q", err, says)
		} else if e.Code == cairn.CodeInvalid && e.Retryable {
			t.Errorf("%v: retryable", err)
		} else if strings.Contains(says, ": no tool is called") && e.Code != cairn.CodeInvalid {
			t.Errorf("%v: code %s", err, e.Code)
		}
	}
}

// TestDiscoverRules: rules and allow lists that name what is there, or are globs,
// are no error; nor is an argument that an open schema does not list.
func TestDiscoverRules(t *testing.T) {
	t.Parallel()
	a := &cairn.Agent{
		Name: "x",
		Tools: []cairn.ToolSource{
			{MCP: &cairn.MCPServer{URL: closedServer(t), Prefix: "a_"}, Allow: []string{"note_*", "a_note_add"}},
			{MCP: &cairn.MCPServer{URL: mcpServer(t, "send")}},
		},
		Policy: cairn.Policy{
			Deny:  []string{"drop_*", "a_note_add:TEXT=secret*"},
			Ask:   []string{"send:anything.at.all=x", "a_note_add:to.name=x", "a_note_add:to.zip=1*"},
			Allow: []string{"a_note_add:meta.anything=x,text=y"},
		},
	}
	if _, err := newCatalog(t).Discover(t.Context(), "acme", a); err != nil {
		t.Error(err)
	}
}
