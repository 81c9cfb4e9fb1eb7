package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// nowhere makes sure that no server of this machine is found.
func nowhere(t *testing.T) {
	t.Helper()
	for _, name := range []string{"OLLAMA_HOST", "LLAMACPP_URL", "VLLM_URL", "LMSTUDIO_URL"} {
		t.Setenv(name, "http://127.0.0.1:1")
	}
}

// TestRuns lets the example find a server that speaks as llama.cpp does.
func TestRuns(t *testing.T) {
	nowhere(t)
	asked := make(chan string, 1)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/v1/models":
			_, _ = fmt.Fprint(w, `{"object":"list","data":[{"id":"nomic-embed-text"},{"id":"tiny"}]}`)
		case "/v1/chat/completions":
			var req struct {
				Model    string `json:"model"`
				Messages []struct {
					Role    string          `json:"role"`
					Content json.RawMessage `json:"content"`
				} `json:"messages"`
			}
			if err := json.NewDecoder(r.Body).Decode(&req); err != nil || len(req.Messages) != 2 {
				t.Errorf("%v: %+v", err, req)
			}
			asked <- req.Model + " " + string(req.Messages[1].Content)
			w.Header().Set("Content-Type", "text/event-stream")
			for _, piece := range []string{
				`{"model":"tiny","choices":[{"index":0,"delta":{"role":"assistant","content":"It is about "}}]}`,
				`{"model":"tiny","choices":[{"index":0,"delta":{"content":"a lighthouse."},"finish_reason":"stop"}]}`,
				`{"model":"tiny","choices":[],"usage":{"prompt_tokens":40,"completion_tokens":7,"total_tokens":47}}`, `[DONE]`,
			} {
				_, _ = fmt.Fprintf(w, "data: %s\n\n", piece)
			}
		default:
			http.NotFound(w, r)
		}
	}))
	defer s.Close()
	t.Setenv("LLAMACPP_URL", s.URL)
	text := filepath.Join(t.TempDir(), "story.txt")
	if err := os.WriteFile(text, []byte("A lighthouse keeper counts ships."), 0o600); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := run(t.Context(), options{agent: "summary.md", text: text, out: &out, getenv: os.Getenv}); err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	if got := <-asked; !strings.HasPrefix(got, "tiny ") || !strings.Contains(got, "lighthouse keeper") {
		t.Errorf("asked %q", got)
	}
	for _, want := range []string{"llamacpp/tiny reads", "It is about a lighthouse.", "40 tokens in, 7 out, $0.00"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the output lacks %q:\n%s", want, out.String())
		}
	}
}

// TestNone: without a server it says what to do.
func TestNone(t *testing.T) {
	nowhere(t)
	err := run(t.Context(), options{agent: "summary.md", text: "summary.md", out: &bytes.Buffer{}, getenv: os.Getenv})
	if err == nil || !strings.Contains(err.Error(), "ollama pull") {
		t.Errorf("it says %v", err)
	}
}
