package node_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cairn-run/cairn"
	v1 "github.com/cairn-run/cairn/api/v1"
	"github.com/cairn-run/cairn/client"
	"github.com/cairn-run/cairn/model"
	"github.com/cairn-run/cairn/model/anthropic"
	"github.com/cairn-run/cairn/model/google"
	"github.com/cairn-run/cairn/model/openai"
	"github.com/cairn-run/cairn/model/wire"
	"github.com/cairn-run/cairn/node"
)

// TestAttachments sends a picture and a document through the API, the journal and
// the blob store to every wire: the provider gets their bytes, twice the same.
func TestAttachments(t *testing.T) {
	t.Parallel()
	picture := append([]byte("\x89PNG\r\n\x1a\n"), make([]byte, 100_000)...)
	document := []byte("%PDF-1.4 " + strings.Repeat("x", 1000))
	var mu sync.Mutex
	var bodies []string
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		if err != nil || !json.Valid(b) {
			t.Errorf("the request is not JSON: %v", err)
		}
		mu.Lock()
		bodies = append(bodies, string(b))
		mu.Unlock()
		switch {
		case strings.HasSuffix(r.URL.Path, "/messages"):
			_, _ = fmt.Fprint(w, `{"type":"message","role":"assistant","model":"m","content":[{"type":"text","text":"Seen."}],"stop_reason":"end_turn","usage":{"input_tokens":9,"output_tokens":2}}`)
		case strings.HasSuffix(r.URL.Path, "/responses"):
			_, _ = fmt.Fprint(w, `{"object":"response","status":"completed","model":"m","output":[{"type":"message","role":"assistant","id":"msg_1","status":"completed","content":[{"type":"output_text","text":"Seen.","annotations":[]}]}],"usage":{"input_tokens":9,"output_tokens":2,"total_tokens":11}}`)
		case strings.Contains(r.URL.Path, ":generateContent"), strings.Contains(r.URL.Path, ":streamGenerateContent"):
			_, _ = fmt.Fprint(w, `{"candidates":[{"content":{"role":"model","parts":[{"text":"Seen."}]},"finishReason":"STOP"}],"usageMetadata":{"promptTokenCount":9,"candidatesTokenCount":2,"totalTokenCount":11},"modelVersion":"m"}`)
		default:
			_, _ = fmt.Fprint(w, `{"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"Seen."},"finish_reason":"stop"}],"usage":{"prompt_tokens":9,"completion_tokens":2,"total_tokens":11}}`)
		}
	}))
	defer s.Close()
	at := func(name string) wire.Endpoint { return wire.Endpoint{Name: name, URL: s.URL} }
	n, _ := start(t, t.TempDir(), node.Options{Models: map[string]model.Driver{
		"chat":      openai.New(openai.Options{Endpoint: at("chat"), API: openai.APIChat, NoStream: true}),
		"responses": openai.New(openai.Options{Endpoint: at("responses"), API: openai.APIResponses, NoStream: true}),
		"messages":  anthropic.New(anthropic.Options{Endpoint: at("messages"), Format: anthropic.Format{NoStream: true}}),
		"generate":  google.New(google.Options{Endpoint: at("generate"), NoStream: true}),
	}})
	each := func(name string) {
		mu.Lock()
		bodies = nil
		mu.Unlock()
		a := &cairn.Agent{Name: name, Model: name + "/m"}
		if _, _, err := n.Apply(t.Context(), cairn.DefaultTenant, a); err != nil {
			t.Fatal(err)
		}
		ses, err := n.Client().CreateSession(t.Context(), v1.CreateSession{Agent: name, Input: v1.Content{
			{Kind: cairn.PartText, Text: "What is this?"},
			{Kind: cairn.PartImage, MediaType: "image/png", Data: picture},
			{Kind: cairn.PartFile, MediaType: "application/pdf", Data: document},
		}})
		if err != nil {
			t.Fatal(err)
		}
		completed(t, n.Client(), ses.ID, 1)
		if _, err := n.Client().Send(t.Context(), ses.ID, v1.PostMessage{Content: v1.Text("And now?")}); err != nil {
			t.Fatal(err)
		}
		completed(t, n.Client(), ses.ID, 2)
		mu.Lock()
		defer mu.Unlock()
		if len(bodies) != 2 {
			t.Fatalf("%s: %d requests, want 2", name, len(bodies))
		}
		for i, b := range bodies {
			for what, data := range map[string][]byte{"picture": picture, "document": document} {
				if !strings.Contains(b, base64.StdEncoding.EncodeToString(data)) {
					t.Errorf("%s: request %d lacks the %s", name, i, what)
				}
			}
		}
	}
	for _, name := range []string{"chat", "responses", "messages", "generate"} {
		each(name)
	}
}

// completed waits until so many runs of a session are completed.
func completed(t *testing.T, c *client.Client, id cairn.SessionID, runs int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	for item, err := range c.Stream(ctx, id, 0) {
		if err != nil {
			t.Fatal(err)
		}
		if item.Event == nil {
			continue
		}
		switch item.Event.Type {
		case "run.completed":
			if runs--; runs == 0 {
				return
			}
		case "run.failed":
			t.Fatalf("the run failed: %s", item.Event.Data)
		}
	}
}
