package anthropic_test

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
	"github.com/cairn-run/cairn/model/anthropic"
	"github.com/cairn-run/cairn/model/modeltest"
	"github.com/cairn-run/cairn/model/wire"
)

const usage = `"usage":{"input_tokens":17,"cache_creation_input_tokens":0,"cache_read_input_tokens":3,"output_tokens":%d,"service_tier":"standard"}`

// content is what the server answers for each model, as an answer in one piece
// has it.
var content = map[string]string{
	"text":  `[{"type":"thinking","thinking":"Hm, let me see.","signature":"c2ln"},{"type":"text","text":"Hello there, you."}]`,
	"calls": `[{"type":"text","text":"Both."},{"type":"tool_use","id":"toolu_1","name":"f","input":{"a":"b c"}},{"type":"tool_use","id":"toolu_2","name":"g","input":{}}]`,
	"slow":  `[{"type":"text","text":"Hello"}]`,
	"cut":   `[{"type":"text","text":"Hello"}]`,
}

// speak is a server of the Messages API.
func speak(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != "/v1/messages" || r.Method != http.MethodPost || r.Header.Get("Anthropic-Version") != "2023-06-01" {
		http.NotFound(w, r)
		return
	}
	if key := r.Header.Get("X-Api-Key"); key != "sk-ant-secret-key" {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusUnauthorized)
		fmt.Fprintf(w, `{"type":"error","error":{"type":"authentication_error","message":"invalid x-api-key %s"}}`, key)
		return
	}
	body, _ := io.ReadAll(r.Body)
	var req anthropic.Request
	if json.Unmarshal(body, &req) != nil {
		http.Error(w, "no JSON", http.StatusBadRequest)
		return
	}
	status := map[string]string{"overloaded": "529", "long": "400", "rate": "429", "gone": "404", "broken": "500"}[req.Model]
	if status != "" {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Retry-After", "3")
		code := 0
		_, _ = fmt.Sscan(status, &code)
		w.WriteHeader(code)
		_, _ = io.WriteString(w, map[string]string{
			"overloaded": `{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}`,
			"long":       `{"type":"error","error":{"type":"invalid_request_error","message":"prompt is too long: 2 tokens > 1 maximum"}}`,
			"rate":       `{"type":"error","error":{"type":"rate_limit_error","message":"slower"}}`,
			"gone":       `{"type":"error","error":{"type":"not_found_error","message":"model: gone"}}`,
			"broken":     `{"type":"error","error":{"type":"api_error","message":"Internal server error"}}`,
		}[req.Model])
		return
	}
	if !req.Stream {
		answer(w, req.Model)
		return
	}
	stream(w, r, req.Model)
}

func stopOf(name string) string {
	if name == "calls" {
		return "tool_use"
	}
	return "end_turn"
}

func answer(w http.ResponseWriter, name string) {
	w.Header().Set("Content-Type", "application/json")
	if name == "late" {
		_, _ = io.WriteString(w, `{"type":"error","error":{"type":"overloaded_error","message":"Overloaded sk-ant-secret-key"}}`)
		return
	}
	body := fmt.Sprintf(`{"model":"claude-%s-1","id":"msg_1","type":"message","role":"assistant","content":%s,"stop_reason":%q,"stop_sequence":null,`+usage+`}`,
		name, content[name], stopOf(name), 9)
	if name == "cut" {
		body = body[:len(body)-5]
	}
	_, _ = io.WriteString(w, body)
}

func stream(w http.ResponseWriter, r *http.Request, name string) {
	w.Header().Set("Content-Type", "text/event-stream; charset=utf-8")
	send := func(format string, args ...any) {
		data := fmt.Sprintf(format, args...)
		var e anthropic.Event
		_ = json.Unmarshal([]byte(data), &e)
		fmt.Fprintf(w, "event: %s\ndata: %s\n\n", e.Type, data)
		_ = http.NewResponseController(w).Flush()
	}
	send(`{"type":"message_start","message":{"model":"claude-%s-1","id":"msg_1","type":"message","role":"assistant","content":[],"stop_reason":null,"stop_sequence":null,`+usage+`}}`, name, 1)
	send(`{"type":"ping"}`)
	if name == "late" {
		send(`{"type":"error","error":{"type":"overloaded_error","message":"Overloaded sk-ant-secret-key"}}`)
		return
	}
	var blocks anthropic.Blocks
	_ = json.Unmarshal([]byte(content[name]), &blocks)
	for i, b := range blocks {
		switch b.Type {
		case "text":
			send(`{"type":"content_block_start","index":%d,"content_block":{"type":"text","text":""}}`, i)
			for word := range strings.SplitAfterSeq(b.Text, " ") {
				send(`{"type":"content_block_delta","index":%d,"delta":{"type":"text_delta","text":%q}}`, i, word)
			}
		case "thinking":
			send(`{"type":"content_block_start","index":%d,"content_block":{"type":"thinking","thinking":"","signature":""}}`, i)
			for word := range strings.SplitAfterSeq(b.Thinking, " ") {
				send(`{"type":"content_block_delta","index":%d,"delta":{"type":"thinking_delta","thinking":%q}}`, i, word)
			}
			send(`{"type":"content_block_delta","index":%d,"delta":{"type":"signature_delta","signature":%q}}`, i, b.Signature)
		case "tool_use":
			send(`{"type":"content_block_start","index":%d,"content_block":{"type":"tool_use","id":%q,"name":%q,"input":{}}}`, i, b.ID, b.Name)
			if string(b.Input) != "{}" {
				for piece := range strings.SplitAfterSeq(string(b.Input), ":") {
					send(`{"type":"content_block_delta","index":%d,"delta":{"type":"input_json_delta","partial_json":%q}}`, i, piece)
				}
			}
		}
		if name == "slow" {
			<-r.Context().Done()
			return
		}
		send(`{"type":"content_block_stop","index":%d}`, i)
	}
	if name == "cut" {
		return
	}
	send(`{"type":"message_delta","delta":{"stop_reason":%q,"stop_sequence":null},"usage":{"output_tokens":9}}`, stopOf(name))
	send(`{"type":"message_stop"}`)
}

func call(name string) model.Call {
	return model.Call{Attempt: 1, Request: &cairn.ModelRequest{
		Model: "anthropic/" + name, Params: cairn.ModelParams{MaxOutput: 100},
		Messages: []cairn.Message{{Role: cairn.RoleUser, Content: []cairn.Part{cairn.Text("Hi")}}},
	}}
}

func key(s string) func(context.Context) (cairn.Secret, error) {
	return func(context.Context) (cairn.Secret, error) { return cairn.NewSecret(s), nil }
}

// open starts a server and returns a driver for it.
func open(t *testing.T, h http.HandlerFunc, o anthropic.Options) *anthropic.Driver {
	t.Helper()
	s := httptest.NewServer(h)
	transport := &http.Transport{}
	t.Cleanup(func() { // the server waits for its connections
		transport.CloseIdleConnections()
		s.CloseClientConnections()
		s.Close()
	})
	o.URL, o.Client = s.URL, &http.Client{Transport: transport}
	if o.Key == nil {
		o.Key = key("sk-ant-secret-key")
	}
	return anthropic.New(o)
}

func TestConformance(t *testing.T) { // not parallel: it looks for goroutines that are left over
	failing := []modeltest.Failing{
		{Name: "overloaded", Call: call("overloaded"), Code: cairn.CodeOverloaded, Retryable: true, NotDone: true},
		{Name: "rate", Call: call("rate"), Code: cairn.CodeRateLimited, Retryable: true, NotDone: true},
		{Name: "overflow", Call: call("long"), Code: cairn.CodeOverflow, NotDone: true},
		{Name: "no such model", Call: call("gone"), Code: cairn.CodeNotFound, NotDone: true},
		{Name: "broken", Call: call("broken"), Code: cairn.CodeUnavailable, Retryable: true, NotDone: true},
		{Name: "cut", Call: call("cut"), Code: cairn.CodeCut, Retryable: true},
		{Name: "overloaded late", Call: call("late"), Code: cairn.CodeOverloaded, Retryable: true},
	}
	modeltest.Run(t, modeltest.Harness{
		Open: func(t *testing.T) model.Driver { return open(t, speak, anthropic.Options{}) },
		Text: call("text"), Calls: call("calls"), Slow: call("slow"), Failing: failing,
	})
}

// TestOnePiece: an answer in one piece is the answer that is streamed.
func TestOnePiece(t *testing.T) {
	t.Parallel()
	whole, streamed := open(t, speak, anthropic.Options{Format: anthropic.Format{NoStream: true}}), open(t, speak, anthropic.Options{})
	for _, name := range []string{"text", "calls"} {
		a, f := modeltest.Collect(t.Context(), t, whole, call(name))
		if f != nil {
			t.Fatal(f)
		}
		b, f := modeltest.Collect(t.Context(), t, streamed, call(name))
		if f != nil {
			t.Fatal(f)
		}
		if diff := cmp.Diff(a, b); diff != "" {
			t.Errorf("%s: (-one piece +streamed) %s", name, diff)
		}
		if a.Model != "claude-"+name+"-1" || a.Usage.Total() != 29 {
			t.Errorf("%s: %s, %+v", name, a.Model, a.Usage)
		}
	}
	for name, code := range map[string]cairn.Code{"cut": cairn.CodeCut, "late": cairn.CodeOverloaded} {
		a, f := modeltest.Collect(t.Context(), t, whole, call(name))
		if a != nil || f.Err.Code != code || f.Err.NotDone {
			t.Errorf("%s: %v, %v", name, a, f)
		}
	}
}

// TestNoKey: the key is in no error, whoever quotes it.
func TestNoKey(t *testing.T) {
	t.Parallel()
	for _, o := range []anthropic.Options{
		{}, {Format: anthropic.Format{NoStream: true}}, {Endpoint: wire.Endpoint{Key: key("sk-ant-another-key")}},
	} {
		d := open(t, speak, o)
		_, f := modeltest.Collect(t.Context(), t, d, call("late"))
		if f == nil || !strings.Contains(f.Error(), cairn.Redacted) || strings.Contains(f.Error(), "sk-ant-") {
			t.Errorf("%v", f)
		}
	}
}

// TestModelUnsaid: a server that does not name the model answered with the one
// that was asked for.
func TestModelUnsaid(t *testing.T) {
	t.Parallel()
	for kind, body := range map[string]string{
		"application/json": `{"content":[{"type":"text","text":"Hi"}],"stop_reason":"end_turn","usage":{"input_tokens":1,"output_tokens":1}}`,
		"text/event-stream": "data: {\"type\":\"message_start\",\"message\":{\"content\":[],\"usage\":{\"input_tokens\":1}}}\n\n" +
			"data: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"},\"usage\":{\"output_tokens\":1}}\n\ndata: {\"type\":\"message_stop\"}\n\n",
	} {
		d := open(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", kind)
			_, _ = io.WriteString(w, body)
		}, anthropic.Options{})
		a, f := modeltest.Collect(t.Context(), t, d, call("org/x"))
		if f != nil || a.Model != "org/x" {
			t.Errorf("%s: %+v, %v", kind, a, f)
		}
	}
}

func TestOptions(t *testing.T) {
	t.Parallel()
	var got http.Header
	d := open(t, func(w http.ResponseWriter, r *http.Request) {
		got = r.Header
		w.WriteHeader(http.StatusTeapot)
	}, anthropic.Options{
		Endpoint: wire.Endpoint{Name: "acme", Header: map[string]string{"anthropic-version": "2030-01-01", "anthropic-beta": "x"}}, Bearer: true,
	})
	_, f := modeltest.Collect(t.Context(), t, d, call("text"))
	if f == nil || !strings.HasPrefix(f.Err.Message, "acme ") {
		t.Error(f)
	}
	want := map[string]string{"Authorization": "Bearer sk-ant-secret-key", "X-Api-Key": "", "Anthropic-Version": "2030-01-01", "Anthropic-Beta": "x"}
	for k, v := range want {
		if got.Get(k) != v {
			t.Errorf("%s is %q", k, got.Get(k))
		}
	}
	info, err := d.Info(t.Context(), "x")
	if diff := cmp.Diff(cairn.ModelInfo{Name: "x", Provider: "acme"}, info); err != nil || diff != "" {
		t.Error(err, diff)
	}
	hot := 2.0
	c := call("text")
	c.Request.Params.Temperature = &hot
	got = nil
	if _, f := modeltest.Collect(t.Context(), t, d, c); f == nil || f.Err.Code != cairn.CodeInvalid || !f.Err.NotDone || got != nil {
		t.Errorf("%v, sent: %t", f, got != nil)
	}
}

func TestList(t *testing.T) {
	t.Parallel()
	d := open(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		switch r.URL.String() {
		case "/v1/models?limit=1000":
			_, _ = io.WriteString(w, `{"data":[{"type":"model","id":"a b","max_input_tokens":1000,"max_tokens":100},{"id":"old","lifecycle":"retired"},{"id":""}],"has_more":true,"last_id":"a b"}`)
		case "/v1/models?after_id=a+b&limit=1000":
			_, _ = io.WriteString(w, `{"data":[{"id":"c","lifecycle":"active","max_tokens":-1}],"has_more":true,"last_id":"a b"}`)
		default:
			t.Errorf("asked for %s", r.URL)
		}
	}, anthropic.Options{})
	got, err := d.List(t.Context())
	want := []cairn.ModelInfo{{Name: "a b", Provider: "anthropic", Window: 1000, MaxOutput: 100}, {Name: "c", Provider: "anthropic"}}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Error(err, diff)
	}
	for name, h := range map[string]http.HandlerFunc{
		"auth": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusUnauthorized) },
		"page": func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<html>") },
	} {
		got, err := open(t, h, anthropic.Options{}).List(t.Context())
		want := map[string]cairn.Code{"auth": cairn.CodeAuth, "page": cairn.CodeCut}[name]
		if got != nil || cairn.CodeOf(err) != want {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
	// A server that never ends its list is not asked for ever.
	n := 0
	endless := open(t, func(w http.ResponseWriter, _ *http.Request) {
		n++
		fmt.Fprintf(w, `{"data":[],"has_more":true,"last_id":"%d"}`, n)
	}, anthropic.Options{})
	if _, err := endless.List(t.Context()); err != nil || n != 20 {
		t.Errorf("%d pages, %v", n, err)
	}
}
