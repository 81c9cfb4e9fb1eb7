package openai_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/model"
	"github.com/cairn-run/cairn/model/modeltest"
	"github.com/cairn-run/cairn/model/openai"
	"github.com/cairn-run/cairn/model/wire"
)

// served is a small server that speaks both wires. What it answers is the last
// thing the user said.
type served struct {
	t *testing.T
}

const (
	chatUsage      = `{"prompt_tokens":20,"completion_tokens":9,"total_tokens":29,"prompt_tokens_details":{"cached_tokens":5},"completion_tokens_details":{"reasoning_tokens":4}}`
	responsesUsage = `{"input_tokens":20,"input_tokens_details":{"cached_tokens":5},"output_tokens":9,"output_tokens_details":{"reasoning_tokens":4},"total_tokens":29}`
)

func chunk(delta, more string) string {
	return `{"id":"c1","object":"chat.completion.chunk","created":1,"model":"m-1","choices":[{"index":0,"delta":` + delta + `,"finish_reason":null}]` + more + `}`
}

func lastChunk(finish string) []string {
	return []string{
		`{"id":"c1","object":"chat.completion.chunk","created":1,"model":"m-1","choices":[{"index":0,"delta":{},"finish_reason":"` + finish + `"}]}`,
		`{"id":"c1","object":"chat.completion.chunk","created":1,"model":"m-1","choices":[],"usage":` + chatUsage + `}`,
		`[DONE]`,
	}
}

func chatStreams() map[string][]string {
	return map[string][]string{
		"text": append([]string{
			chunk(`{"role":"assistant","content":""}`, ""), chunk(`{"reasoning_content":"Let me "}`, ""),
			chunk(`{"reasoning_content":"see."}`, ""), chunk(`{"content":"Hello "}`, ""), chunk(`{"content":"wörld <&>."}`, ""),
		}, lastChunk("stop")...),
		"calls": append([]string{
			chunk(`{"role":"assistant","content":"Two."}`, ""),
			chunk(`{"tool_calls":[{"index":0,"id":"call_a","type":"function","function":{"name":"one","arguments":""}}]}`, ""),
			chunk(`{"tool_calls":[{"index":1,"id":"call_b","type":"function","function":{"name":"two","arguments":""}}]}`, ""),
			chunk(`{"tool_calls":[{"index":0,"function":{"arguments":"{\"a\":"}}]}`, ""),
			chunk(`{"tool_calls":[{"index":1,"function":{"arguments":"{}"}}]}`, ""),
			chunk(`{"tool_calls":[{"index":0,"function":{"arguments":"1}"}}]}`, ""),
		}, lastChunk("tool_calls")...),
		"slow":     {chunk(`{"role":"assistant","content":"This "}`, "")},
		"cut":      {chunk(`{"role":"assistant","content":"This "}`, ""), lastChunk("stop")[0]},
		"filtered": append([]string{chunk(`{"role":"assistant","content":""}`, "")}, lastChunk("content_filter")...),
		"error":    {chunk(`{"role":"assistant","content":"A"}`, `,"usage":`+chatUsage), `{"error":{"message":"Overloaded","type":"overloaded_error"}}`},
		"garbage":  {chunk(`{"content":"A"}`, ""), `{"choices":[`},
	}
}

const chatWhole = `{"id":"c1","object":"chat.completion","created":1,"model":"m-1","choices":[{"index":0,"message":{"role":"assistant","content":"Hello wörld <&>.","reasoning_content":"Let me see.","refusal":null},"finish_reason":"stop"}],"usage":` + chatUsage + `}`

func event(kind, more string) string { return `{"type":"response.` + kind + `"` + more + `}` }

func response(status, output, more string) string {
	return `,"response":{"id":"r1","object":"response","status":"` + status + `","model":"m-1","service_tier":"default","output":[` + output + `],"usage":` + responsesUsage + more + `}`
}

const (
	reasoningItem = `{"id":"rs_1","type":"reasoning","summary":[{"type":"summary_text","text":"One."},{"type":"summary_text","text":"Two."}],"encrypted_content":"gAAA"}`
	messageItem   = `{"id":"msg_1","type":"message","status":"completed","role":"assistant","content":[{"type":"output_text","annotations":[],"logprobs":[],"text":"Hello wörld <&>."}]}`
	callItemA     = `{"id":"fc_1","type":"function_call","status":"completed","call_id":"call_a","name":"one","arguments":"{\"a\":1}"}`
	callItemB     = `{"id":"fc_2","type":"function_call","status":"completed","call_id":"call_b","name":"two","arguments":"{}"}`
)

func responsesStreams() map[string][]string {
	created := event("created", response("in_progress", "", ""))
	return map[string][]string{
		"text": {
			created,
			event("output_item.added", `,"output_index":0,"item":{"id":"rs_1","type":"reasoning","summary":[]}`),
			event("reasoning_summary_text.delta", `,"output_index":0,"summary_index":0,"delta":"One."`),
			event("reasoning_summary_text.delta", `,"output_index":0,"summary_index":1,"delta":"Two."`),
			event("output_item.done", `,"output_index":0,"item":`+reasoningItem),
			event("output_item.added", `,"output_index":1,"item":{"id":"x","type":"message","status":"in_progress","role":"assistant","content":[]}`),
			event("output_text.delta", `,"output_index":1,"item_id":"y","delta":"Hello "`),
			event("output_text.delta", `,"output_index":1,"item_id":"z","delta":"wörld <&>."`),
			event("output_item.done", `,"output_index":1,"item":`+messageItem),
			event("completed", response("completed", reasoningItem+","+messageItem, "")),
		},
		"calls": {
			created,
			event("output_item.added", `,"output_index":0,"item":{"id":"fc_1","type":"function_call","call_id":"call_a","name":"one","arguments":""}`),
			event("function_call_arguments.delta", `,"output_index":0,"delta":"{\"a\":"`),
			event("output_item.added", `,"output_index":1,"item":{"id":"fc_2","type":"function_call","call_id":"call_b","name":"two","arguments":""}`),
			event("function_call_arguments.delta", `,"output_index":0,"delta":"1}"`),
			event("output_item.done", `,"output_index":1,"item":`+callItemB),
			event("output_item.done", `,"output_index":0,"item":`+callItemA),
			event("completed", response("completed", "", "")),
		},
		"slow":     {created, event("output_text.delta", `,"output_index":0,"delta":"This "`)},
		"cut":      {created, event("output_text.delta", `,"output_index":0,"delta":"This "`)},
		"filtered": {created, event("incomplete", response("incomplete", "", `,"incomplete_details":{"reason":"content_filter"}`))},
		"error":    {created, event("failed", response("failed", "", `,"error":{"code":"server_is_overloaded","message":"Overloaded"}`))},
		"garbage":  {created, `{"type":`},
	}
}

func (s served) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		s.t.Error(err)
	}
	if r.Header.Get("Idempotency-Key") != "" {
		s.t.Error("an Idempotency-Key was sent")
	}
	var q struct {
		Stream   bool
		Input    []struct{ Content string }
		Messages []struct{ Content string }
	}
	if err := json.Unmarshal(body, &q); err != nil {
		s.t.Errorf("the request is not JSON: %v", err)
	}
	streams, whole := chatStreams(), chatWhole
	var said string
	if strings.HasSuffix(r.URL.Path, "/responses") {
		streams = responsesStreams()
		whole = strings.TrimPrefix(response("completed", reasoningItem+","+messageItem, ""), `,"response":`)
		said = q.Input[len(q.Input)-1].Content
	} else {
		said = q.Messages[len(q.Messages)-1].Content
	}
	switch said {
	case "limited":
		w.Header().Set("Retry-After", "3")
		http.Error(w, `{"error":{"message":"slower","type":"rate_limit_error"}}`, http.StatusTooManyRequests)
		return
	case "auth":
		http.Error(w, `{"error":{"message":"Incorrect API key provided: sk-secret-secret","code":"invalid_api_key"}}`, http.StatusUnauthorized)
		return
	case "page":
		fmt.Fprint(w, "<html>")
		return
	}
	if !q.Stream && said == "text" {
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, whole)
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	for _, e := range streams[said] {
		fmt.Fprintf(w, "data: %s\n\n", e)
		w.(http.Flusher).Flush()
	}
	if said == "slow" {
		<-r.Context().Done()
	}
}

func open(t *testing.T, o openai.Options) *openai.Driver {
	t.Helper()
	srv := httptest.NewServer(served{t})
	client := &http.Client{Transport: &http.Transport{}}
	t.Cleanup(func() {
		client.CloseIdleConnections()
		srv.Close()
	})
	o.Name, o.URL, o.Client = "p", srv.URL+"/v1", client
	o.Key = func(context.Context) (cairn.Secret, error) { return cairn.NewSecret("sk-secret-secret"), nil }
	return openai.New(o)
}

func call(said string) model.Call {
	return model.Call{Key: "eff_1", Attempt: 1, Request: &cairn.ModelRequest{
		Model: "p/m", System: "Be brief.", Params: cairn.ModelParams{MaxOutput: 100},
		Tools:    []cairn.ToolDef{{Name: "one"}, {Name: "two"}},
		Messages: []cairn.Message{{Role: cairn.RoleUser, Content: []cairn.Part{cairn.Text(said)}}},
	}}
}

// Not parallel: the suite looks for goroutines that are left over.
func TestConformance(t *testing.T) {
	image := call("text")
	image.Request.Messages[0].Content = append(image.Request.Messages[0].Content, cairn.Part{Kind: cairn.PartFile, MediaType: "video/mp4", Data: []byte{1}})
	for _, api := range []string{openai.APIChat, openai.APIResponses} {
		t.Run(api, func(t *testing.T) {
			modeltest.Run(t, modeltest.Harness{
				Open: func(t *testing.T) model.Driver { return open(t, openai.Options{API: api}) },
				Text: call("text"), Calls: call("calls"), Slow: call("slow"),
				Failing: []modeltest.Failing{
					{Name: "limited", Call: call("limited"), Code: cairn.CodeRateLimited, Retryable: true, NotDone: true},
					{Name: "auth", Call: call("auth"), Code: cairn.CodeAuth, NotDone: true},
					{Name: "cut", Call: call("cut"), Code: cairn.CodeCut, Retryable: true},
					{Name: "filtered", Call: call("filtered"), Code: cairn.CodeRefused},
					{Name: "error inside", Call: call("error"), Code: cairn.CodeOverloaded, Retryable: true},
					{Name: "garbage", Call: call("garbage"), Code: cairn.CodeCut, Retryable: true},
					{Name: "a page", Call: call("page"), Code: cairn.CodeCut, Retryable: true, NotDone: true},
					{Name: "what cannot be carried", Call: image, Code: cairn.CodeInvalid, NotDone: true},
				},
			})
		})
	}
}

// The same answer comes whole and in pieces.
func TestWhole(t *testing.T) {
	t.Parallel()
	for _, api := range []string{openai.APIChat, openai.APIResponses} {
		streamed, f := modeltest.Collect(t.Context(), t, open(t, openai.Options{API: api}), call("text"))
		if f != nil {
			t.Fatal(f)
		}
		var whole *cairn.ModelAnswer
		for chunk, err := range open(t, openai.Options{API: api, NoStream: true}).Call(t.Context(), call("text")) {
			if err != nil {
				t.Fatal(err)
			}
			whole = chunk.Answer
		}
		equal(t, whole, streamed)
		want := cairn.Usage{Input: 15, CacheRead: 5, Output: 9, Reasoning: 4}
		equal(t, want, whole.Usage)
	}
}

// What a provider quotes of the key does not get out.
func TestNoSecret(t *testing.T) {
	t.Parallel()
	_, f := modeltest.Collect(t.Context(), t, open(t, openai.Options{API: openai.APIChat}), call("auth"))
	if f == nil || strings.Contains(f.Error(), "sk-secret") {
		t.Errorf("got %v", f)
	}
}

// A failure after usage was reported knows of it.
func TestFailureUsage(t *testing.T) {
	t.Parallel()
	for _, api := range []string{openai.APIChat, openai.APIResponses} {
		_, f := modeltest.Collect(t.Context(), t, open(t, openai.Options{API: api}), call("error"))
		if f == nil || f.Usage == nil || f.Usage.Total() != 29 || len(f.RawUsage) == 0 {
			t.Errorf("%s: %+v", api, f)
		}
	}
}

// A server may send a stream and call it something else.
func TestStreamUnderAnotherName(t *testing.T) {
	t.Parallel()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain")
		for _, e := range chatStreams()["text"] {
			fmt.Fprintf(w, "data: %s\n\n", e)
		}
	}))
	t.Cleanup(srv.Close)
	d := openai.New(openai.Options{Endpoint: wire.Endpoint{URL: srv.URL}})
	a, f := modeltest.Collect(t.Context(), t, d, call("text"))
	if f != nil || cairn.TextOf(a.Content) != "Hello wörld <&>." {
		t.Errorf("%+v, %v", a, f)
	}
}
