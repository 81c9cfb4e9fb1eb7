package node

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/model"
	"github.com/cairn-run/cairn/vault"
)

// variables are an environment.
func variables(pairs ...string) func(string) string {
	m := map[string]string{}
	for i := 0; i < len(pairs); i += 2 {
		m[pairs[i]] = pairs[i+1]
	}
	return func(k string) string { return m[k] }
}

func providers(t *testing.T, file string, getenv func(string) string) *Providers {
	t.Helper()
	dir := t.TempDir()
	if file != "" {
		if err := os.WriteFile(filepath.Join(dir, ProvidersFile), []byte(file), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	p, err := OpenProviders(ProviderOptions{Dir: dir, Getenv: getenv})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func one(t *testing.T, p *Providers, name string) *Provider {
	t.Helper()
	for _, o := range p.All() {
		if o.Name == name {
			return o
		}
	}
	t.Fatalf("no provider %s", name)
	return nil
}

func TestBuiltInProviders(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		env  []string
		api  string
		url  string
		key  string // where it is found; empty: none
	}{
		{"openai", []string{"OPENAI_API_KEY", "k"}, "responses", "https://api.openai.com/v1", "env:OPENAI_API_KEY"},
		{"openai", []string{"OPENAI_BASE_URL", "http://llm.local:9/v1/"}, "chat", "http://llm.local:9/v1", ""},
		{"anthropic", []string{"ANTHROPIC_API_KEY", "k", "ANTHROPIC_BASE_URL", "https://x.example"}, "messages", "https://x.example", "env:ANTHROPIC_API_KEY"},
		{"google", []string{"GOOGLE_API_KEY", "k"}, "google", "https://generativelanguage.googleapis.com/v1beta", "env:GOOGLE_API_KEY"},
		{"google", []string{"GOOGLE_API_KEY", "k", "GEMINI_API_KEY", "l"}, "google", "https://generativelanguage.googleapis.com/v1beta", "env:GEMINI_API_KEY"},
		{"azure", []string{"AZURE_OPENAI_API_KEY", "k", "AZURE_OPENAI_ENDPOINT", "https://r.openai.azure.com/"}, "chat", "https://r.openai.azure.com/openai/v1", "env:AZURE_OPENAI_API_KEY"},
		{"huggingface", []string{"HF_TOKEN", "k"}, "chat", "https://router.huggingface.co/v1", "env:HF_TOKEN"},
		{"ollama", nil, "chat", "http://127.0.0.1:11434/v1", ""},
		{"ollama", []string{"OLLAMA_HOST", "0.0.0.0"}, "chat", "http://127.0.0.1:11434/v1", ""},
		{"ollama", []string{"OLLAMA_HOST", ":9999"}, "chat", "http://127.0.0.1:9999/v1", ""},
		{"ollama", []string{"OLLAMA_HOST", "box"}, "chat", "http://box:11434/v1", ""},
		{"ollama", []string{"OLLAMA_HOST", "https://box/api"}, "chat", "https://box:443/api/v1", ""},
		{"ollama", []string{"OLLAMA_HOST", "[::1]:7"}, "chat", "http://[::1]:7/v1", ""},
		{"ollama", []string{"OLLAMA_HOST", "[::]"}, "chat", "http://127.0.0.1:11434/v1", ""},
		{"llamacpp", []string{"LLAMACPP_URL", "box:1"}, "chat", "http://box:1/v1", ""},
		{"llamacpp", []string{"LLAMACPP_API_KEY", "k"}, "chat", "http://127.0.0.1:8080/v1", "env:LLAMACPP_API_KEY"},
		{"vllm", []string{"VLLM_URL", "https://v.example/custom"}, "chat", "https://v.example/custom", ""},
		{"lmstudio", nil, "chat", "http://127.0.0.1:1234/v1", ""},
	}
	for _, tt := range tests {
		p := one(t, providers(t, "", variables(tt.env...)), tt.name)
		if p.API != tt.api || p.URL != tt.url || p.From != "built in" {
			t.Errorf("%s with %v: %s at %s, from %s", tt.name, tt.env, p.API, p.URL, p.From)
		}
		key, err := p.Key(t.Context())
		if key != tt.key || (err != nil) != (tt.key == "" && !p.Local) {
			t.Errorf("%s with %v: key %q, %v", tt.name, tt.env, key, err)
		}
	}
}

// TestURLShown: what an address in the environment holds beside the address is sent,
// and not shown.
func TestURLShown(t *testing.T) {
	t.Parallel()
	var asked string
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		user, pass, _ := r.BasicAuth()
		asked = user + ":" + pass + " " + r.URL.RawQuery
	}))
	t.Cleanup(s.Close)
	for address, want := range map[string]string{
		strings.Replace(s.URL, "://", "://me:hidden@", 1) + "/v1?code=hidden": s.URL + "/v1",
		"https://hidden@\t": "(not a URL)",
	} {
		p := one(t, providers(t, "", variables("VLLM_URL", address)), "vllm")
		_, err := p.Models(t.Context())
		b, bad := json.Marshal(p)
		if bad != nil || err == nil || strings.Contains(string(b)+p.Host()+err.Error(), "hidden") {
			t.Errorf("%s, %v, %v", b, bad, err)
		}
		if p.URL != want {
			t.Errorf("%s, want %s", p.URL, want)
		}
	}
	if asked != "me:hidden code=hidden" {
		t.Errorf("asked with %s", asked)
	}
}

// TestNoKey: a provider without a key is there, and a call says which variable to
// set. A key that is stored later is used without a restart.
func TestNoKey(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	got := make(chan string, 1)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got <- r.Header.Get("X-Api-Key")
		w.WriteHeader(http.StatusUnauthorized)
		fmt.Fprintf(w, `{"type":"error","error":{"type":"authentication_error","message":"invalid x-api-key %s"}}`, r.Header.Get("X-Api-Key"))
	}))
	t.Cleanup(s.Close)
	p, err := OpenProviders(ProviderOptions{Dir: dir, Getenv: variables("ANTHROPIC_BASE_URL", s.URL)})
	if err != nil {
		t.Fatal(err)
	}
	call := func() *cairn.Error {
		t.Helper()
		request := &cairn.ModelRequest{
			Model: "anthropic/claude-x", Messages: []cairn.Message{{Role: cairn.RoleUser, Content: []cairn.Part{cairn.Text("hi")}}},
			Params: cairn.ModelParams{MaxOutput: 9},
		}
		for _, err := range p.Drivers()["anthropic"].Call(t.Context(), model.Call{Request: request, Attempt: 1}) {
			if err != nil {
				return model.AsFailure(err).Err
			}
		}
		t.Fatal("no error")
		return nil
	}
	const says = "model provider anthropic has no key: set ANTHROPIC_API_KEY, or store it with cairn keys set ANTHROPIC_API_KEY"
	if e := call(); e.Code != cairn.CodeAuth || !e.NotDone || e.Retryable || e.Message != says {
		t.Errorf("%+v", e)
	}
	const key = "sk-ant-0123456789abcdef"
	v := vault.Open(vault.Options{Dir: dir, Getenv: variables()})
	r, err := vault.ParseRef(storedKey("ANTHROPIC_API_KEY"))
	if err != nil {
		t.Fatal(err)
	}
	if err := v.Set(t.Context(), r, cairn.NewSecret(key)); err != nil {
		t.Fatal(err)
	}
	e := call()
	if sent := <-got; sent != key {
		t.Errorf("the provider got %q", sent)
	}
	if e.Code != cairn.CodeAuth || strings.Contains(e.Error(), key) {
		t.Errorf("%+v", e)
	}
	if err := os.Remove(filepath.Join(dir, vault.IdentityFile)); err != nil {
		t.Fatal(err)
	}
	if e := call(); e.Code != cairn.CodeAuth || !strings.Contains(e.Message, "there is no identity of age") {
		t.Errorf("%+v", e)
	}
}

func TestProvidersFile(t *testing.T) {
	t.Parallel()
	const file = `
env: false
providers:
  work:
    url: https://llm.example.com/v1/
    key: keyring:cairn/work
    headers: {X-Team: blue}
    query: {api-version: preview}
    stream: false
    priced_as: openai
  box:
    api: chat
    url: http://127.0.0.1:1/v1 # nobody is there to be asked for a window
    local: true
  openai:
    api: chat
    key: env:MY_KEY
  claude:
    api: messages
    url: https://claude.example.com
    key: env:MY_KEY
    key_header: Authorization
prices:
  - {provider: work, model: big, window: 1000, input: $3, cache_read: $0.30, output: $15, searches: $10}
  - provider: work
    model: Big
    names: [large]
    max_output: 50
    from: 2027-01-01
    input: $4
    cache_write_5m: $5
    output: $20
    above: [{prompt: 200000, input: $8, output: $40}]
`
	p := providers(t, file, variables("MY_KEY", "k", "OPENAI_API_KEY", "other"))
	var names []string
	for _, o := range p.All() {
		names = append(names, o.Name+" "+o.API+" "+o.URL+" "+strings.Join(o.Keys, ","))
	}
	want := []string{
		"box chat http://127.0.0.1:1/v1 ",
		"claude messages https://claude.example.com env:MY_KEY",
		"openai chat https://api.openai.com/v1 env:MY_KEY",
		"work chat https://llm.example.com/v1 keyring:cairn/work",
	}
	if d := cmp.Diff(want, names); d != "" {
		t.Error(d)
	}
	info := func(provider, name string) cairn.ModelInfo {
		t.Helper()
		i, err := p.Drivers()[provider].Info(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		return i
	}
	day := time.Date(2026, 12, 31, 23, 59, 59, 0, time.UTC)
	big := info("work", "big")
	if before, ok := big.Price(day, ""); !ok || before.Cost(cairn.Usage{Input: 1e6, CacheRead: 1e6, CacheWrite1h: 1e6, Output: 1e6, Searches: 1000}) != 31*cairn.Dollar+3*cairn.Dollar/10 {
		t.Errorf("%+v", before)
	}
	after, ok := big.Price(day.Add(time.Second), "")
	want2 := cairn.Rates{
		Input: 8 * cairn.Dollar, CacheRead: 8 * cairn.Dollar, CacheWrite5m: 8 * cairn.Dollar, CacheWrite1h: 8 * cairn.Dollar,
		Output: 40 * cairn.Dollar, InputAudio: 8 * cairn.Dollar, OutputAudio: 40 * cairn.Dollar,
	}
	if !ok || after.RatesFor(200_001) != want2 || after.Rates.CacheWrite1h != 5*cairn.Dollar {
		t.Errorf("%+v", after)
	}
	if big.Window != 1000 || big.MaxOutput != 50 || !strings.HasSuffix(big.Table, ProvidersFile) {
		t.Errorf("%+v", big)
	}
	if same := info("work", "LARGE"); !same.Priced {
		t.Error("another name of the model is not priced")
	}
	if i := info("work", "gpt-4o"); !i.Priced || !strings.HasPrefix(i.Table, "genai-prices") {
		t.Errorf("the prices of another provider: %+v", i)
	}
	if i := info("box", "anything"); !i.Priced || i.Table != "local" || i.Bound(day, 1e6, 1e6) != 0 {
		t.Errorf("a local model: %+v", i)
	}
	if i := info("claude", "claude-sonnet-5"); i.Priced || i.Bound(day, 1e6, 1e6) <= 0 {
		t.Errorf("a provider of no table: %+v", i)
	}
}

// TestProvidersFileErrors: every error points at its place, and none repeats what
// stands there.
func TestProvidersFileErrors(t *testing.T) {
	t.Parallel()
	const key = "sk-0123456789"
	for _, tt := range []struct{ file, says string }{
		{"provider: {}", `:1:1: unknown field "provider"`},
		{"providers:\n  work:\n    url: https://x.example\n    kee: env:A", `:4:5: unknown field "kee"`},
		{"providers:\n  work:\n    url: https://x.example\n    key: " + key, ":4:5: this is not a reference to a secret"},
		{"providers:\n  work:\n    key: env:A", ":2:3: work is not built in: give its url"},
		{"providers:\n  work:\n    url: x.example", ":3:5: expected http:// or https://"},
		{"providers:\n  work:\n    url: https://user:" + key + "@x.example", ":3:5: a URL without a user"},
		{"providers:\n  work:\n    url: https://x.example\n    api: soap", ":4:5: expected one of chat, responses, messages, google"},
		{"providers:\n  work:\n    url: https://x.example\n    headers:\n      a: b\n      authorization: Bearer " + key, ":6:7: a credential belongs under key"},
		{"providers:\n  Work: {url: https://x.example}", ":2:3: a provider's name has small letters"},
		{"providers:\n  script: {url: https://x.example}", ":2:3: script is the provider of scripted models"},
		{"providers:\n  anthropic: {api: chat}", ":2:15: anthropic speaks messages"},
		{"providers:\n  work: {url: https://x.example, stream: maybe}", ":2:42: "},
		{"providers:\n  work: {url: https://x.example}\n  work: {url: https://y.example}", ":3:3: "},
		{"providers: [" + key, "providers.yaml:1:"},
		{"prices:\n  - {provider: a, model: b, input: 3, output: $1}", ":2:36: expected dollars"},
		{"prices:\n  - {provider: a, model: b, input: $1.0000000001, output: $1}", ":2:36: "},
		{"prices:\n  - {provider: a, model: b, input: $1}", ":2:6: a price has an input and an output"},
		{"prices:\n  - provider: a\n    input: $1\n    output: $1", ":2:5: a price is for a provider and a model"},
		{"prices:\n  - {provider: a, model: b, input: $1, output: $1, from: tomorrow}", ":2:6: from is a day"},
		{"prices:\n  - {provider: a, model: b, input: $2000000, output: $1}", ":2:6: a/b: a rate of"},
		{"prices:\n  - {provider: a, model: b, input: $1, output: $1, above: [{prompt: 2}, {prompt: 1}]}", ":2:6: a/b: prices above 1 tokens are out of order"},
		{"prices:\n  - {provider: a, model: b, input: $1, output: $1}\n  - {provider: a, model: c, names: [b], input: $1, output: $1}", ":1:1: a/c and a/b are both called \"b\""},
		{"prices:\n  - {provider: opnai, model: b, input: $1, output: $1}", "no provider of this file or of the price table"},
		{"providers:\n  work: {url: https://x.example, priced_as: opnai}", "no provider of this file or of the price table"},
		{"providers:\n  anthropic: {extra: {a: 1}}", ":2:3: cap and extra are for chat"},
		{"providers:\n  groq: {cap: tokens}", ":2:10: expected max_tokens"},
		{"providers:\n  groq: {extra: {a: .nan}}", ":2:10: expected what JSON can hold"},
		{"providers:\n  work:\n    " + key + ": env:A", ":3:5: unknown field (not shown)"},
		{"providers:\n  work:\n    headers:\n      " + key + ": a\n      " + key + ": b", ":5:7: mapping key (not shown) already"},
		{"prices:\n  - {provider: a, model: b, input: $" + key + ", output: $1}", ":2:36: money (not shown)"},
		{"providers:\n  groq:\n    headers:\n      Helicone-Auth: Bearer " + key + "abc", ":4:7: a credential belongs under key"},
		{"providers:\n  groq:\n    query: {subscription-key: " + key + "abc}", ":3:13: a credential belongs under key"},
		{"providers:\n  groq: {key_header: 'X " + key + "'}", ":2:10: expected the name of a header"},
		{"providers:\n  groq: {headers: {'X " + key + "': a}}", ":2:20: expected the name of a header"},
		{"providers:\n  groq: {headers: {X-A: \"a\\r\\nX-B: b\"}}", ":2:20: expected the name of a header, and a value of one line"},
		{"prices: &a []\nenv: *a", ":1:9: anchors"},
		{"env: true\n---\nenv: false", ":3:4: a second YAML document"},
		{strings.Repeat("[", 100), "nested more than 32 deep"},
	} {
		dir := t.TempDir()
		path := filepath.Join(dir, ProvidersFile)
		if err := os.WriteFile(path, []byte(tt.file), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := OpenProviders(ProviderOptions{Dir: dir, Getenv: variables()})
		if err == nil || cairn.CodeOf(err) != cairn.CodeInvalid || !strings.Contains(err.Error(), tt.says) || strings.Contains(err.Error(), key) {
			t.Errorf("%s\n got: %v\nwant: …%s", tt.file, err, tt.says)
		}
	}
	if _, err := OpenProviders(ProviderOptions{File: filepath.Join(t.TempDir(), "none.yaml"), Getenv: variables()}); err == nil {
		t.Error("a file that was asked for is not there: no error")
	}
	for _, fine := range []string{"{X-Token-Limit: '5'}", "{X-Auth: team blue or green}", "{X-Team-Key: blue}"} {
		if _, err := parseProviders("x", []byte("providers: {groq: {headers: "+fine+"}}")); err != nil {
			t.Errorf("%s: %v", fine, err)
		}
	}
	for _, empty := range []string{"", "# nothing\n", "---\n", "env: true\n"} {
		if _, err := parseProviders("x", []byte(empty)); err != nil {
			t.Errorf("%q: %v", empty, err)
		}
	}
}

// TestModels asks a provider on this machine which models it has.
func TestModels(t *testing.T) {
	t.Parallel()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if r.URL.Path != "/v1/models" || r.Header.Get("X-Team") != "blue" || r.URL.Query().Get("tenant") != "t" {
			t.Errorf("%s, team %q", r.URL, r.Header.Get("X-Team"))
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"data": []any{
			map[string]any{"type": "model", "id": "claude-sonnet-4-5", "max_tokens": 64000},
			map[string]any{"type": "model", "id": "claude-new"},
		}})
	}))
	t.Cleanup(s.Close)
	p := providers(t, fmt.Sprintf("env: false\nproviders:\n  mine:\n    api: messages\n    url: %s\n    key: env:K\n    headers: {X-Team: blue}\n    query: {tenant: t}\n    priced_as: anthropic\n", s.URL), variables("K", "k"))
	list, err := one(t, p, "mine").Models(t.Context())
	if err != nil || len(list) != 2 {
		t.Fatalf("%v, %v", list, err)
	}
	if m := list[0]; m.Name != "claude-sonnet-4-5" || !m.Priced || m.Window != 200_000 || m.MaxOutput != 64_000 {
		t.Errorf("%+v", m)
	}
	if list[1].Priced {
		t.Errorf("%+v", list[1])
	}
	s.Close()
	_, err = one(t, p, "mine").Models(t.Context())
	if cairn.CodeOf(err) != cairn.CodeUnavailable {
		t.Errorf("a server that is gone: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := one(t, p, "mine").Models(ctx); cairn.CodeOf(err) != cairn.CodeCancelled {
		t.Errorf("%v", err)
	}
}

// TestLocalWindow: the window of a local model is the one its server gives it, and
// is asked for once a minute.
func TestLocalWindow(t *testing.T) {
	t.Parallel()
	asked := make(chan string, 100)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked <- r.URL.Path
		w.Header().Set("Content-Type", "application/json")
		switch r.URL.Path {
		case "/api/ps":
			fmt.Fprint(w, `{"models":[]}`)
		case "/api/show":
			fmt.Fprint(w, `{"parameters":"num_ctx 4096\n","model_info":{"qwen3.context_length":40960}}`)
		case "/v1/models":
			fmt.Fprint(w, `{"object":"list","data":[{"id":"qwen3:4b","object":"model"},{"id":"big","max_model_len":32768}]}`)
		default:
			w.WriteHeader(http.StatusNotFound)
		}
	}))
	t.Cleanup(s.Close)
	now := time.Date(2026, 11, 20, 0, 0, 0, 0, time.UTC)
	p, err := OpenProviders(ProviderOptions{
		Getenv: variables("OLLAMA_HOST", s.URL, "VLLM_URL", s.URL), Now: func() time.Time { return now },
	})
	if err != nil {
		t.Fatal(err)
	}
	window := func(provider, name string) int64 {
		t.Helper()
		info, err := p.Drivers()[provider].Info(t.Context(), name)
		if err != nil || !info.Priced || info.Table != "local" {
			t.Errorf("%+v, %v", info, err)
		}
		return info.Window
	}
	for range 3 {
		if w := window("ollama", "qwen3:4b"); w != 4096 {
			t.Errorf("%d tokens", w)
		}
		if w := window("vllm", "big"); w != 32768 {
			t.Errorf("%d tokens", w)
		}
		if w := window("vllm", "none"); w != 0 {
			t.Errorf("%d tokens", w)
		}
	}
	if n := len(asked); n != 4 {
		t.Errorf("asked %d times", n)
	}
	now = now.Add(15 * time.Second) // what was not said is asked for again sooner
	window("vllm", "big")
	window("vllm", "none")
	if n := len(asked); n != 5 {
		t.Errorf("asked %d times", n)
	}
	now = now.Add(2 * time.Minute)
	window("ollama", "qwen3:4b")
	if n := len(asked); n != 7 {
		t.Errorf("asked %d times", n)
	}
	list, err := one(t, p, "ollama").Models(t.Context())
	if err != nil || len(list) != 2 {
		t.Fatalf("%v, %v", list, err)
	}
	for _, m := range list {
		if m.Name == "qwen3:4b" && m.Window != 4096 {
			t.Errorf("%+v", m)
		}
	}
	s.Close()
	if w := window("ollama", "other"); w != 0 {
		t.Errorf("%d tokens of a server that is gone", w)
	}
}

func TestUnset(t *testing.T) {
	t.Parallel()
	p := one(t, providers(t, "", variables("AZURE_OPENAI_API_KEY", "k")), "azure")
	_, err := p.Models(t.Context())
	if cairn.CodeOf(err) != cairn.CodeAuth || !strings.Contains(err.Error(), "AZURE_OPENAI_ENDPOINT") {
		t.Errorf("%v", err)
	}
	for _, err := range p.driver.Call(t.Context(), model.Call{}) {
		if f := model.AsFailure(err); f.Err.Code != cairn.CodeAuth || !f.Err.NotDone {
			t.Errorf("%v", err)
		}
	}
}

func FuzzProvidersFile(f *testing.F) {
	for _, s := range []string{
		"env: false\nproviders:\n  work:\n    url: https://x.example\n    key: env:A\n",
		"prices:\n  - {provider: a, model: b, input: $1, output: $2, above: [{prompt: 5, input: $3}]}\n",
		"providers: {a: {headers: {b: c}}}", "a: &a [*a]", "? a\n: b", "[[[", "- - - -", "!!x y", "<<: {env: true}",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := parseProviders("f", data)
		if err != nil {
			return
		}
		for _, r := range got.rows() {
			for _, p := range r.Prices {
				if p.RatesFor(1<<40).Cost(cairn.Usage{Input: 1e9, Output: 1e9}) < 0 {
					t.Errorf("a cost below zero: %+v", p)
				}
			}
		}
	})
}
