package google_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/model"
	"github.com/cairn-run/cairn/model/google"
	"github.com/cairn-run/cairn/model/modeltest"
	"github.com/cairn-run/cairn/model/wire"
)

const usage = `"usageMetadata":{"promptTokenCount":7,"candidatesTokenCount":5,"thoughtsTokenCount":3,"totalTokenCount":15},"modelVersion":"gemini-3-test","responseId":"r1"`

// answers are what the server of these tests says, by the model it is asked for.
// A string is one event; a leading "HTTP n " makes it an error.
var answers = map[string][]string{
	"text": {
		`{"candidates":[{"content":{"parts":[{"text":"Hel"}],"role":"model"},"index":0}],"modelVersion":"gemini-3-test"}`,
		`{"candidates":[{"content":{"parts":[{"text":"lo"}],"role":"model"},"index":0}]}`,
		`{"candidates":[{"content":{"parts":[{"text":"","thoughtSignature":"c2ln"}],"role":"model"},"finishReason":"STOP"}],` + usage + `}`,
	},
	"calls": {
		`{"candidates":[{"content":{"parts":[{"functionCall":{"name":"a","args":{"x":1}},"thoughtSignature":"c2ln"}],"role":"model"}}]}`,
		`{"candidates":[{"content":{"parts":[{"functionCall":{"name":"b","args":{}}}],"role":"model"},"finishReason":"STOP"}],` + usage + `}`,
	},
	"slow":      {`{"candidates":[{"content":{"parts":[{"text":"one"}],"role":"model"}}]}`},
	"rate":      {`HTTP 429 {"error":{"code":429,"message":"slower","status":"RESOURCE_EXHAUSTED","details":[{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"3s"}]}}`},
	"busy":      {`HTTP 503 {"error":{"code":503,"message":"The model is overloaded.","status":"UNAVAILABLE"}}`},
	"large":     {`HTTP 400 {"error":{"code":400,"message":"The input token count (9) exceeds the maximum number of tokens allowed (8).","status":"INVALID_ARGUMENT"}}`},
	"blocked":   {`{"promptFeedback":{"blockReason":"SAFETY"},` + usage + `}`},
	"malformed": {`{"candidates":[{"finishReason":"MALFORMED_FUNCTION_CALL"}],` + usage + `}`},
	"cut":       {`{"candidates":[{"content":{"parts":[{"text":"one"}],"role":"model"}}],` + usage + `}`},
	"garbage":   {`{"candidates":[`},
	"empty":     {``},
	"late": {
		`{"candidates":[{"content":{"parts":[{"text":"one"}],"role":"model"}}]}`,
		`{"error":{"code":503,"message":"gone","status":"UNAVAILABLE"}}`,
	},
}

// seen is a request that reached the server.
type seen struct {
	path, key, auth string
	body            string
}

func serve(t *testing.T) (*httptest.Server, func() seen) {
	t.Helper()
	last := make(chan seen, 100)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		select {
		case last <- seen{r.URL.Path, r.Header.Get("X-Goog-Api-Key"), r.Header.Get("Authorization"), string(body)}:
		default:
		}
		name := r.URL.Path[strings.LastIndexByte(r.URL.Path, '/')+1:]
		name, method, _ := strings.Cut(name, ":")
		said := answers[name]
		if status, doc, ok := strings.Cut(strings.TrimPrefix(said[0], "HTTP "), " "); ok && strings.HasPrefix(said[0], "HTTP ") {
			code := 0
			_, _ = fmt.Sscan(status, &code)
			w.WriteHeader(code)
			_, _ = io.WriteString(w, doc)
			return
		}
		if method == "generateContent" {
			w.Header().Set("Content-Type", "application/json; charset=UTF-8")
			_, _ = io.WriteString(w, "["+strings.Join(said, ",\n")+"]")
			return
		}
		w.Header().Set("Content-Type", "text/event-stream")
		for _, e := range said {
			_, _ = io.WriteString(w, "data: "+e+"\r\n\r\n")
			w.(http.Flusher).Flush()
		}
		if name == "slow" {
			<-r.Context().Done()
		}
	}))
	t.Cleanup(s.Close)
	return s, func() seen { return <-last }
}

func driver(s *httptest.Server, o google.Options) *google.Driver {
	o.URL = s.URL + "/v1beta"
	o.Client = s.Client()
	o.Key = func(context.Context) (cairn.Secret, error) { return cairn.NewSecret("k-123"), nil }
	return google.New(o)
}

func call(name string) model.Call {
	return model.Call{Attempt: 1, Request: &cairn.ModelRequest{
		Model:    "google/" + name,
		Messages: []cairn.Message{{Role: cairn.RoleUser, Content: []cairn.Part{cairn.Text("hi")}}},
		Params:   cairn.ModelParams{MaxOutput: 100},
	}}
}

func TestConformance(t *testing.T) { // not parallel: it looks for goroutines that are left over
	modeltest.Run(t, modeltest.Harness{
		Open: func(t *testing.T) model.Driver {
			s, _ := serve(t)
			return driver(s, google.Options{})
		},
		Text: call("text"), Calls: call("calls"), Slow: call("slow"),
		Failing: []modeltest.Failing{
			{Name: "rate", Call: call("rate"), Code: cairn.CodeRateLimited, Retryable: true, NotDone: true},
			{Name: "busy", Call: call("busy"), Code: cairn.CodeOverloaded, Retryable: true, NotDone: true},
			{Name: "large", Call: call("large"), Code: cairn.CodeOverflow, NotDone: true},
			{Name: "blocked", Call: call("blocked"), Code: cairn.CodeRefused},
			{Name: "malformed", Call: call("malformed"), Code: cairn.CodeCut, Retryable: true},
			{Name: "cut", Call: call("cut"), Code: cairn.CodeCut, Retryable: true},
			{Name: "garbage", Call: call("garbage"), Code: cairn.CodeCut, Retryable: true},
			{Name: "late", Call: call("late"), Code: cairn.CodeOverloaded, Retryable: true},
			{Name: "name", Call: call("a/../b"), Code: cairn.CodeInvalid, NotDone: true},
		},
	})
}

func TestAnswer(t *testing.T) {
	t.Parallel()
	s, _ := serve(t)
	want := &cairn.ModelAnswer{
		Model: "gemini-3-test",
		Content: []cairn.Part{
			cairn.Text("Hello"),
			{Kind: cairn.PartOpaque, Provider: "google", Opaque: json.RawMessage(`{"text":"","thoughtSignature":"c2ln"}`)},
		},
		Stop: cairn.StopEnd, Finish: "STOP",
		Usage:    cairn.Usage{Input: 7, Output: 8, Reasoning: 3},
		RawUsage: json.RawMessage(`{"promptTokenCount":7,"candidatesTokenCount":5,"thoughtsTokenCount":3,"totalTokenCount":15}`),
	}
	for _, noStream := range []bool{false, true} {
		got, f := modeltest.Collect(t.Context(), t, driver(s, google.Options{NoStream: noStream}), call("text"))
		if f != nil {
			t.Fatal(f)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("no stream %t: %s", noStream, diff)
		}
	}
}

// TestUsageOfFailures: what a failed attempt is known to have used comes with it.
func TestUsageOfFailures(t *testing.T) {
	t.Parallel()
	s, _ := serve(t)
	for _, name := range []string{"blocked", "malformed", "cut"} {
		_, f := modeltest.Collect(t.Context(), t, driver(s, google.Options{}), call(name))
		if f == nil || f.Usage == nil || f.Usage.Total() != 15 || len(f.RawUsage) == 0 {
			t.Errorf("%s: %+v", name, f)
		}
	}
	_, f := modeltest.Collect(t.Context(), t, driver(s, google.Options{}), call("rate"))
	if f == nil || f.Usage != nil || f.Err.RetryAfter == 0 {
		t.Errorf("rate: %+v", f)
	}
	_, f = modeltest.Collect(t.Context(), t, driver(s, google.Options{NoStream: true}), call("empty"))
	if f == nil || f.Err.Code != cairn.CodeCut {
		t.Errorf("empty: %+v", f)
	}
}

func TestRequests(t *testing.T) {
	t.Parallel()
	s, last := serve(t)
	const body = `{"contents":[{"role":"user","parts":[{"text":"hi"}]}],"generationConfig":{"maxOutputTokens":100}}`
	tests := []struct {
		name string
		o    google.Options
		want seen
	}{
		{"text", google.Options{}, seen{"/v1beta/models/text:streamGenerateContent", "k-123", "", body}},
		{"text", google.Options{NoStream: true}, seen{"/v1beta/models/text:generateContent", "k-123", "", body}},
		{"publishers/google/models/text", google.Options{Bearer: true}, seen{"/v1beta/publishers/google/models/text:streamGenerateContent", "", "Bearer k-123", body}},
		{"text", google.Options{Thoughts: true}, seen{
			"/v1beta/models/text:streamGenerateContent", "k-123", "",
			strings.Replace(body, `100}`, `100,"thinkingConfig":{"includeThoughts":true}}`, 1),
		}},
	}
	for _, test := range tests {
		if _, f := modeltest.Collect(t.Context(), t, driver(s, test.o), call(test.name)); f != nil {
			t.Fatal(f)
		}
		if diff := cmp.Diff(test.want, last(), cmp.AllowUnexported(seen{})); diff != "" {
			t.Error(diff)
		}
	}
}

func TestList(t *testing.T) {
	t.Parallel()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Query().Get("pageToken") {
		case "":
			_, _ = io.WriteString(w, `{"models":[{"name":"models/gemini-a","inputTokenLimit":1000,"outputTokenLimit":10,"supportedGenerationMethods":["generateContent"]},
				{"name":"models/embed","supportedGenerationMethods":["embedContent"]}],"nextPageToken":"p 2"}`)
		case "p 2":
			_, _ = io.WriteString(w, `{"models":[{"name":"models/gemini-b","supportedGenerationMethods":["countTokens","generateContent"]}]}`)
		default:
			w.WriteHeader(http.StatusBadRequest)
		}
	}))
	t.Cleanup(s.Close)
	got, err := driver(s, google.Options{Endpoint: wire.Endpoint{Name: "g"}}).List(t.Context())
	want := []cairn.ModelInfo{{Name: "gemini-a", Provider: "g", Window: 1000, MaxOutput: 10}, {Name: "gemini-b", Provider: "g"}}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Error(diff, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := driver(s, google.Options{}).List(ctx); cairn.CodeOf(err) != cairn.CodeCancelled {
		t.Errorf("cancelled: %v", err)
	}
}
