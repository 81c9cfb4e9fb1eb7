package cli_test

import (
	"bytes"
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

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/internal/cli"
)

// providerServer speaks the lists of three wires, and takes one key.
func providerServer(t *testing.T, key string) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if r.Header.Get("Authorization") != "Bearer "+key && r.Header.Get("X-Api-Key") != key && r.Header.Get("X-Goog-Api-Key") != key && !strings.HasPrefix(r.URL.Path, "/local") {
			w.WriteHeader(http.StatusUnauthorized)
			fmt.Fprintf(w, `{"error":{"message":"Incorrect API key provided: %s%s"}}`, r.Header.Get("Authorization"), r.Header.Get("X-Api-Key"))
			return
		}
		switch r.URL.Path {
		case "/chat/models", "/local/models":
			fmt.Fprint(w, `{"object":"list","data":[{"id":"gpt-4o","object":"model"},{"id":"of-tomorrow","object":"model","context_length":9000}]}`)
		case "/many/models":
			fmt.Fprintf(w, `{"object":"list","data":[%s{"id":"last"}]}`, strings.Repeat(`{"id":"one"},`, 14))
		case "/messages/v1/models":
			fmt.Fprint(w, `{"data":[{"type":"model","id":"claude-sonnet-4-5","max_tokens":64000},{"type":"model","id":"claude-sonnet-5-9"}],"has_more":false}`)
		case "/google/models":
			fmt.Fprint(w, `{"models":[{"name":"models/gemini-3.8-flash","inputTokenLimit":1048576,"outputTokenLimit":65536,"supportedGenerationMethods":["generateContent"]}]}`)
		default:
			w.WriteHeader(http.StatusNotFound)
			fmt.Fprint(w, `{"error":{"message":"no such path"}}`)
		}
	}))
	t.Cleanup(s.Close)
	return s
}

func TestModelsCommand(t *testing.T) {
	t.Parallel()
	const key = "sk-test-0123456789abcdef"
	s := providerServer(t, key)
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	dir := t.TempDir()
	file := fmt.Sprintf(`env: false
providers:
  ours: {api: chat, url: %[1]s/chat, key: env:OURS, priced_as: openai}
  claude: {api: messages, url: %[1]s/messages, key: env:OURS, priced_as: anthropic}
  gemini: {api: google, url: %[1]s/google, key: env:OURS, priced_as: google}
  box: {api: chat, url: %[1]s/local, local: true}
  bare: {api: chat, url: %[1]s/none, key: env:OURS}
  wrong: {api: chat, url: %[1]s/chat, key: env:WRONG}
  later: {api: chat, url: %[1]s/chat, key: env:LATER}
  away: {api: chat, url: %[2]s, key: env:OURS}
  off: {api: chat, url: %[2]s, local: true}
  many: {api: chat, url: %[1]s/many, key: env:OURS}
prices:
  - {provider: ours, model: of-tomorrow, input: $1.25, output: $2.50}
`, s.URL, gone.URL)
	if err := os.WriteFile(filepath.Join(dir, "providers.yaml"), []byte(file), 0o600); err != nil {
		t.Fatal(err)
	}
	vars := map[string]string{"CAIRN_DATA": dir, "NO_COLOR": "1", "OURS": key, "WRONG": "sk-wrong-0123456789"}
	run := func(code int, args ...string) (string, string) {
		t.Helper()
		env := outside(func(k string) string { return vars[k] }, args...)
		var out, errs bytes.Buffer
		env.Stdout, env.Stderr = &out, &errs
		env.Now = func() time.Time { return time.Date(2026, 11, 21, 0, 0, 0, 0, time.UTC) }
		if got := cli.Run(context.Background(), env); got != code {
			t.Errorf("%v ended with code %d, want %d\n%s%s", args, got, code, &out, &errs)
		}
		if all := out.String() + errs.String(); strings.Contains(all, key) || strings.Contains(all, "sk-wrong") {
			t.Errorf("%v shows a key:\n%s", args, all)
		}
		return out.String(), errs.String()
	}
	has := func(text string, want ...string) {
		t.Helper()
		flat := strings.Join(strings.Fields(text), " ")
		for _, w := range want {
			if !strings.Contains(flat, w) {
				t.Errorf("no %q in\n%s", w, text)
			}
		}
	}
	out, errs := run(0, "models")
	has(
		out, "ours ready 2", "claude ready 2", "gemini ready 1", "box ready 2", "bare no list", "wrong key refused", "later no key", "away unreachable", "off not running",
		"ours/gpt-4o 128,000 $2.50 $1.25 $10.00", "ours/of-tomorrow 9,000 $1.25 $1.25 $2.50",
		"claude/claude-sonnet-4-5 200,000 $3.00 $0.30 $15.00 more above 200,000", "claude/claude-sonnet-5-9 ? unpriced",
		"box/gpt-4o ? free free free local",
	)
	if n := strings.Count(out, "many/one"); n != 11 {
		t.Errorf("%d models of one provider are shown:\n%s", n, out)
	}
	has(errs, "not shown: 3 of many; --all shows them")
	has(errs, "wrong:", "prices for a million tokens, of 2026-11-20", "bare does not say which models it has: bare answered HTTP 404")

	out, _ = run(0, "models", "gemini", "--prices")
	has(out, "from 2027-01-01, announced", "batch")
	out, _ = run(0, "models", "claude", "--prices")
	has(out, "$6.00 $0.60 $22.50 prompts above 200,000", "batch, since 2026-10-14", "claude/claude-sonnet-5-9 ? unpriced")
	out, errs = run(0, "models", "--all")
	if n := strings.Count(out, "many/one"); n != 14 || strings.Contains(errs, "not shown") {
		t.Errorf("%d models of one provider are shown with --all:\n%s%s", n, out, errs)
	}

	_, errs = run(77, "models", "later")
	has(errs, "later")
	_, errs = run(77, "models", "wrong", "--json")
	has(errs, `{"error":{"code":"auth","message":"wrong: key refused: `)
	run(69, "models", "away")
	_, errs = run(66, "models", "nobody")
	has(errs, `no model provider is called "nobody"; there is: away, bare`)

	out, _ = run(0, "models", "--json")
	lines := strings.Split(strings.TrimSpace(out), "\n")
	if len(lines) != 10 {
		t.Fatalf("%d lines\n%s", len(lines), out)
	}
	for _, line := range lines {
		var l struct {
			Name, State, Key, Problem string
			Code                      cairn.Code
			Models                    []cairn.ModelInfo
		}
		if err := json.Unmarshal([]byte(line), &l); err != nil {
			t.Fatal(err)
		}
		switch l.Name {
		case "ours":
			if l.State != "ready" || l.Key != "env:OURS" || len(l.Models) != 2 || l.Models[0].Name != "ours/gpt-4o" || l.Models[0].Provider != "ours" {
				t.Errorf("%+v", l)
			}
		case "later":
			if l.State != "no key" || l.Code != cairn.CodeAuth || l.Problem == "" {
				t.Errorf("%+v", l)
			}
		}
	}

	// Prices that are a month old are said to be.
	env := outside(func(k string) string { return vars[k] }, "models", "box")
	var said bytes.Buffer
	env.Stderr = &said
	env.Now = func() time.Time { return time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC) }
	if code := cli.Run(context.Background(), env); code != 0 {
		t.Errorf("code %d\n%s", code, &said)
	}
	has(said.String(), "the prices are those of 2026-11-20, 42 days ago")

	// A mistake in the file is shown at its place.
	bad := filepath.Join(dir, "bad.yaml")
	if err := os.WriteFile(bad, []byte("providers:\n  a: {url: nowhere}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, errs = run(2, "models", "--providers", bad)
	has(errs, "bad.yaml:2:7: expected http:// or https://")
	run(66, "models", "--providers", filepath.Join(dir, "none.yaml"))
}

// TestNoModels: on a machine without anything, models says what to do.
func TestNoModels(t *testing.T) {
	t.Parallel()
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	vars := map[string]string{
		"CAIRN_DATA": filepath.Join(t.TempDir(), "none"), "NO_COLOR": "1",
		"OLLAMA_HOST": gone.URL, "LLAMACPP_URL": gone.URL, "VLLM_URL": gone.URL, "LMSTUDIO_URL": gone.URL,
	}
	env := outside(func(k string) string { return vars[k] }, "models")
	var out, errs bytes.Buffer
	env.Stdout, env.Stderr = &out, &errs
	if code := cli.Run(context.Background(), env); code != 0 {
		t.Errorf("code %d", code)
	}
	for _, w := range []string{"cairn keys set ANTHROPIC_API_KEY", "ollama pull", "script models"} {
		if !strings.Contains(errs.String(), w) {
			t.Errorf("no %q in\n%s", w, &errs)
		}
	}
	if strings.Contains(out.String(), "ready") || !strings.Contains(out.String(), "not running") {
		t.Errorf("%s", &out)
	}
	if _, err := os.Stat(vars["CAIRN_DATA"]); err == nil {
		t.Error("looking made the data directory")
	}
}

// TestRunUnpriced: a model without a price that reports no usage costs what was
// reserved, and everybody who looks at the cost is told so.
func TestRunUnpriced(t *testing.T) {
	t.Parallel()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		fmt.Fprint(w, `data: {"model":"new","choices":[{"index":0,"delta":{"role":"assistant","content":"Yes."},"finish_reason":"stop"}]}`+"\n\ndata: [DONE]\n\n")
	}))
	t.Cleanup(s.Close)
	dir := t.TempDir()
	data := filepath.Join(dir, "data")
	for name, text := range map[string]string{
		"providers.yaml": "env: false\nproviders:\n  ours: {url: " + s.URL + ", priced_as: openai}\n  box: {url: " + s.URL + ", local: true}\n",
		"dear.md":        "---\nname: dear\nmodel: ours/new\n---\nAnswer.\n",
		"free.md":        "---\nname: free\nmodel: box/new\n---\nAnswer.\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	vars := map[string]string{"CAIRN_DATA": data, "NO_COLOR": "1"}
	run := func(args ...string) string {
		t.Helper()
		env := outside(func(k string) string { return vars[k] }, args...)
		var all bytes.Buffer
		env.Stdout, env.Stderr = &all, &all
		env.Open = func(ctx context.Context, o cli.NodeOptions) (cli.Node, error) {
			o.Providers = filepath.Join(dir, "providers.yaml")
			return open(ctx, o)
		}
		if code := cli.Run(context.Background(), env); code != 0 {
			t.Fatalf("%v ended with code %d\n%s", args, code, &all)
		}
		return all.String()
	}
	has := func(text string, want ...string) {
		t.Helper()
		for _, w := range want {
			if !strings.Contains(text, w) {
				t.Errorf("no %q in\n%s", w, text)
			}
		}
	}
	out := run("run", filepath.Join(dir, "dear.md"), "--input", "hi")
	has(out, "usage not reported, $", "(unpriced)", "ours/new has no price, so what was reserved is taken for its cost: give it one under prices in providers.yaml")
	has(run("usage", "last"), ", of which $", " estimated\n")
	has(run("show", "last"), ", of which $", " estimated\n")
	// Nobody counted what is free anyway.
	out = run("run", filepath.Join(dir, "free.md"), "--input", "hi")
	has(out, "usage not reported, $0.00\n")
	if strings.Contains(out, "has no price") {
		t.Errorf("%s", out)
	}
	out = run("usage", "last")
	if strings.Contains(out, "of which") {
		t.Errorf("%s", out)
	}
}
