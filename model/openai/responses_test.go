package openai_test

import (
	"encoding/json"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/model"
	"github.com/cairn-run/cairn/model/openai"
)

func TestDecodeResponses(t *testing.T) {
	t.Parallel()
	const png = `{"id":"ig_1","type":"image_generation_call","status":"completed","output_format":"png","result":"iVBORw0KGgo="}`
	const refusal = `{"id":"m","type":"message","role":"assistant","content":[{"type":"output_text","text":"A"},{"type":"refusal","refusal":"B"}]}`
	const thought = `{"id":"r","type":"reasoning","summary":[],"content":[{"type":"reasoning_text","text":"A"}]}`
	const search = `{"id":"w","type":"web_search_call","status":"completed","action":{"type":"search","query":"q"}}`
	const opened = `{"id":"w","type":"web_search_call","status":"completed","action":{"type":"open_page","url":"u"}}`
	const interpreter = `{"id":"i","type":"code_interpreter_call","code":"1"}`
	const files = `{"id":"f","type":"file_search_call","queries":["q"]}`
	const shell = `{"id":"s","type":"shell_call","environment":{"type":"container"}}`
	const local = `{"id":"s","type":"shell_call","environment":{"type":"local"}}`
	const custom = `{"id":"c","type":"custom_tool_call","call_id":"call_c","name":"sql","input":"select 1"}`
	answer := func(status, output, more string) string {
		return `{"id":"r1","model":"m-1","status":"` + status + `","output":[` + output + `],"usage":` + responsesUsage + more + `}`
	}
	text := own(cairn.PartText, "Hello wörld <&>.", messageItem)
	tests := map[string]struct {
		body     string
		want     []cairn.Part
		stop     cairn.StopReason
		finish   string
		searches int64
		beside   []string
		service  string
	}{
		"text": {
			answer("completed", reasoningItem+","+messageItem, `,"service_tier":"flex"`),
			[]cairn.Part{own(cairn.PartReasoning, "One.\n\nTwo.", reasoningItem), text},
			cairn.StopEnd, "completed", 0, nil, "flex",
		},
		"calls": {
			answer("completed", callItemA+","+custom, `,"service_tier":"default"`),
			[]cairn.Part{
				{Kind: cairn.PartToolCall, CallID: "call_a", Tool: "one", Args: `{"a":1}`, Provider: "p", Opaque: json.RawMessage(callItemA)},
				{Kind: cairn.PartToolCall, CallID: "call_c", Tool: "sql", Args: `select 1`, Provider: "p", Opaque: json.RawMessage(custom)},
			},
			cairn.StopToolUse, "completed", 0, nil, "",
		},
		"an image": {
			answer("completed", png, `,"tool_usage":{"image_gen":{"input_tokens":7,"output_tokens":90},"web_search":{"num_requests":0}}`),
			[]cairn.Part{{Kind: cairn.PartImage, MediaType: "image/png", Data: []byte("\x89PNG\r\n\x1a\n"), Provider: "p", Opaque: json.RawMessage(png)}},
			cairn.StopEnd, "completed", 0,
			[]string{"image_gen_input_tokens: 7", "image_gen_output_tokens: 90"},
			"",
		},
		"searches, tools that are billed, items nobody knows": {
			answer("completed", search+","+search+","+opened+","+interpreter+`,{"type":"new"},7`, ""),
			[]cairn.Part{
				own(cairn.PartOpaque, "", search), own(cairn.PartOpaque, "", search), own(cairn.PartOpaque, "", opened),
				own(cairn.PartOpaque, "", interpreter), own(cairn.PartOpaque, "", `{"type":"new"}`), own(cairn.PartOpaque, "", `7`),
			},
			cairn.StopEnd, "completed", 2,
			[]string{"code_interpreter_call: 1"},
			"",
		},
		"the provider's other tools": {
			answer("completed", files+","+files+","+shell+","+local, ""),
			[]cairn.Part{
				own(cairn.PartOpaque, "", files), own(cairn.PartOpaque, "", files), own(cairn.PartOpaque, "", shell), own(cairn.PartOpaque, "", local),
			},
			cairn.StopEnd, "completed", 0,
			[]string{"file_search_call: 2", "shell_call: 1"},
			"",
		},
		"a refusal": {
			answer("completed", thought+","+refusal, ""),
			[]cairn.Part{own(cairn.PartReasoning, "A", thought), own(cairn.PartText, "AB", refusal)},
			cairn.StopRefusal, "completed", 0, nil, "",
		},
		"too long": {
			answer("incomplete", messageItem, `,"incomplete_details":{"reason":"max_output_tokens"}`),
			[]cairn.Part{text},
			cairn.StopMaxOutput, "max_output_tokens", 0, nil, "",
		},
		"filtered": {
			answer("incomplete", messageItem, `,"incomplete_details":{"reason":"content_filter"}`),
			[]cairn.Part{text},
			cairn.StopRefusal, "content_filter", 0, nil, "",
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := openai.DecodeResponses("p", []byte(test.body))
			if err != nil {
				t.Fatal(err)
			}
			want := &cairn.ModelAnswer{
				Model: "m-1", Content: test.want, Stop: test.stop, Finish: test.finish, Service: test.service, Beside: test.beside,
				Usage:    cairn.Usage{Input: 15, CacheRead: 5, Output: 9, Reasoning: 4, Searches: test.searches},
				RawUsage: json.RawMessage(responsesUsage),
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestResponsesFails(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]cairn.Code{
		`{`:                        cairn.CodeCut,
		`{}`:                       cairn.CodeCut,
		`{"status":"queued"}`:      cairn.CodeCut,
		`{"status":"in_progress"}`: cairn.CodeCut,
		`{"status":"failed","error":{"code":"rate_limit_exceeded","message":"slower"}}`:           cairn.CodeRateLimited,
		`{"error":{"type":"insufficient_quota"}}`:                                                 cairn.CodeAuth,
		`{"status":"incomplete","output":[],"incomplete_details":{"reason":"content_filter"}}`:    cairn.CodeRefused,
		`{"status":"completed","output":[{"type":"function_call","call_id":"c","arguments":""}]}`: cairn.CodeCut,
	} {
		_, err := openai.DecodeResponses("p", []byte(body))
		if f, ok := errors.AsType[*model.Failure](err); !ok || f.Err.Code != want || f.Err.NotDone {
			t.Errorf("%s: %v, want %s", body, err, want)
		}
	}
}

// A call that has neither id nor arguments, events without places, items whose end
// says what was not streamed, and an end that leaves the output empty.
func TestResponsesStreamOddities(t *testing.T) {
	t.Parallel()
	thought := `{"id":"r","type":"reasoning","content":[{"type":"reasoning_text","text":"A"},{"type":"reasoning_text","text":"B"}]}`
	nameless := `{"type":"function_call","name":"one","arguments":"{}"}`
	a, err := play(
		t, openai.NewResponsesStream("p"),
		`{"type":"response.reasoning_text.delta","item_id":"r","content_index":0,"delta":"A"}`,
		`{"type":"response.reasoning_text.delta","item_id":"r","content_index":1,"delta":"B"}`,
		`{"type":"response.output_item.done","item":`+thought+`}`,
		`{"type":"response.output_item.added","output_index":1,"item":{"type":"function_call","name":"one"}}`,
		`{"type":"response.function_call_arguments.delta","output_index":1,"delta":"{}"}`,
		`{"type":"response.output_item.done","output_index":1,"item":`+nameless+`}`,
		`{"type":"response.output_item.done","output_index":2,"item":`+messageItem+`}`,
		`{"type":"response.something_new","output_index":2,"delta":{"x":1}}`,
		`{"type":"response.completed","response":{"status":"completed","output":[]}}`,
		`{"type":"error","message":"too late"}`,
	)
	if err != nil {
		t.Fatal(err)
	}
	want := []cairn.Part{
		own(cairn.PartReasoning, "A\n\nB", thought),
		{Kind: cairn.PartToolCall, CallID: "call_1", Tool: "one", Args: "{}", Provider: "p", Opaque: json.RawMessage(nameless)},
		own(cairn.PartText, "Hello wörld <&>.", messageItem),
	}
	equal(t, want, a.Content)
	if a.Usage != (cairn.Usage{}) || a.RawUsage != nil {
		t.Errorf("usage that was not reported: %+v", a)
	}
}

// An end that leaves the output empty does not complete an item that has none of its
// own.
func TestResponsesItemWithoutEnd(t *testing.T) {
	t.Parallel()
	_, err := play(
		t, openai.NewResponsesStream("p"),
		`{"type":"response.output_item.added","output_index":0,"item":{"type":"message","role":"assistant","content":[]}}`,
		`{"type":"response.output_text.delta","output_index":0,"content_index":0,"delta":"Hel"}`,
		`{"type":"response.completed","response":{"status":"completed","output":[],"usage":`+responsesUsage+`}}`,
	)
	f, ok := errors.AsType[*model.Failure](err)
	if !ok || f.Err.Code != cairn.CodeCut || f.Usage == nil {
		t.Errorf("%v, want %s with its usage", err, cairn.CodeCut)
	}
}

// A stream that has no end is no answer, of a server that says nothing of its state
// on the way, too.
func TestResponsesWithoutEnd(t *testing.T) {
	t.Parallel()
	_, err := play(
		t, openai.NewResponsesStream("p"),
		`{"type":"response.created","response":{"model":"m"}}`,
		`{"type":"response.output_item.done","output_index":0,"item":`+messageItem+`}`,
	)
	if f, ok := errors.AsType[*model.Failure](err); !ok || f.Err.Code != cairn.CodeCut {
		t.Errorf("%v, want %s", err, cairn.CodeCut)
	}
}

// What came goes back as it came.
func TestResponsesRoundTrip(t *testing.T) {
	t.Parallel()
	items := []string{
		reasoningItem, messageItem, callItemA, callItemB,
		`{"type":"compaction","id":"c","encrypted_content":"e"}`, `{"id":"s","type":"shell_call","action":{"commands":["l\u0073"]},"x":1.0}`,
	}
	list := ""
	for i, it := range items {
		if i > 0 {
			list += " , "
		}
		list += it
	}
	a, err := openai.DecodeResponses("p", []byte(`{"status":"completed","output":[`+list+`]}`))
	if err != nil {
		t.Fatal(err)
	}
	r := &cairn.ModelRequest{Model: "p/m", Messages: []cairn.Message{{Role: cairn.RoleAssistant, Content: a.Content}}}
	body, err := openai.EncodeResponses(openai.Dialect{Provider: "p"}, r)
	if err != nil {
		t.Fatal(err)
	}
	var q openai.ResponsesRequest
	if err := json.Unmarshal(body, &q); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, it := range q.Input {
		got = append(got, string(it))
	}
	equal(t, items, got)
}
