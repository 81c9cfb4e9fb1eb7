package openai_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/model/openai"
)

// conversation has one of everything: an answer of this provider, one of another,
// calls with missing and repeated ids and broken arguments, and results with images.
func conversation(own ...cairn.Part) *cairn.ModelRequest {
	half := 0.5
	answer := append(slices.Clone(own),
		cairn.Part{Kind: cairn.PartReasoning, Text: "other", Provider: "q", Opaque: json.RawMessage(`{"type":"thinking"}`)},
		cairn.Part{Kind: cairn.PartToolCall, CallID: "a", Tool: "get", Args: `{"x": 1}`},
		cairn.Part{Kind: cairn.PartToolCall, CallID: "a", Tool: "get", Args: `{"x":`},
		cairn.Part{Kind: cairn.PartToolCall, Tool: "get"},
	)
	return &cairn.ModelRequest{
		Model: "p/org/m", System: "Be <brief>.",
		Tools: []cairn.ToolDef{
			{Name: "get", Description: "Gets & gives.", InputSchema: json.RawMessage(`{ "type": "object", "properties": {"x": {"type": "number"}} }`)},
			{Name: "nop"},
		},
		Messages: []cairn.Message{
			{Role: cairn.RoleUser, Content: []cairn.Part{
				cairn.Text("Look:"),
				{Kind: cairn.PartImage, MediaType: "image/png", Data: []byte("PNG")},
				{Kind: cairn.PartFile, MediaType: "application/pdf", Data: []byte("%PDF")},
				{Kind: cairn.PartFile, MediaType: "text/markdown; charset=utf-8", Data: []byte("# Hi")},
			}},
			{Role: cairn.RoleAssistant, Content: answer},
			{Role: cairn.RoleTool, Content: []cairn.Part{
				{Kind: cairn.PartToolResult, CallID: "a", Tool: "get", Text: "one"},
				{Kind: cairn.PartToolResult, CallID: "a", Tool: "get", Text: "two", Parts: []cairn.Part{{Kind: cairn.PartImage, MediaType: "image/png", Data: []byte("PNG")}}},
				{Kind: cairn.PartToolResult, Tool: "get", IsError: true, Text: "three"},
			}},
			{Role: cairn.RoleAssistant, Content: []cairn.Part{cairn.Text("Done"), cairn.Text(".")}},
			{Role: cairn.RoleUser, Content: []cairn.Part{cairn.Text("Thanks.")}},
		},
		Params: cairn.ModelParams{MaxOutput: 99, Temperature: &half, NoTools: true, OutputSchema: json.RawMessage(`{"type":"object","properties":{"a":{"type":"string"}},"required":["a"],"additionalProperties":false}`)},
	}
}

func lines(s ...string) string { return strings.Join(s, "") }

func TestEncodeChat(t *testing.T) {
	t.Parallel()
	r := conversation(cairn.Part{
		Kind: cairn.PartReasoning, Text: "hm", Provider: "p", Opaque: json.RawMessage(`{"reasoning_content":"h\u006d","x":[1, 2]}`),
	}, cairn.Part{
		Kind: cairn.PartText, Text: "See.", Provider: "p",
		Opaque: json.RawMessage(`{"content":"S\u0065e.","annotations":[{"type":"url_citation"},{"type":"file","file":{"hash":"h"}}]}`),
	})
	r.Params.Stop = []string{"END"}
	got, err := openai.EncodeChat(openai.Dialect{Provider: "p", Stream: true, Extra: json.RawMessage(`{"reasoning":{"effort":"low"}}`)}, r)
	if err != nil {
		t.Fatal(err)
	}
	want := lines(
		`{"model":"org/m","stream":true,"stream_options":{"include_usage":true},"max_tokens":99,"temperature":0.5,"stop":["END"],`,
		`"response_format":{"type":"json_schema","json_schema":{"name":"answer","schema":{"type":"object","properties":{"a":{"type":"string"}},"required":["a"],"additionalProperties":false},"strict":true}},`,
		`"tool_choice":"none","tools":[{"type":"function","function":{"name":"get","description":"Gets & gives.","parameters":{"type":"object","properties":{"x":{"type":"number"}}}}},`,
		`{"type":"function","function":{"name":"nop","parameters":{"type":"object","properties":{}}}}],`,
		`"messages":[{"role":"system","content":"Be <brief>."},`,
		`{"role":"user","content":[{"type":"text","text":"Look:"},{"type":"image_url","image_url":{"url":"data:image/png;base64,UE5H"}},`,
		`{"type":"file","file":{"filename":"file.pdf","file_data":"data:application/pdf;base64,JVBERg=="}},{"type":"text","text":"[file, text/markdown; charset=utf-8]\n# Hi"}]},`,
		`{"role":"assistant","content":"S\u0065e.","reasoning_content":"h\u006d","x":[1,2],"annotations":[{"type":"file","file":{"hash":"h"}}],`,
		`"tool_calls":[{"id":"a","type":"function","function":{"name":"get","arguments":"{\"x\": 1}"}},`,
		`{"id":"call_pai7oo0gw","type":"function","function":{"name":"get","arguments":"{}"}},`,
		`{"id":"call_gh2z0kd5y","type":"function","function":{"name":"get","arguments":"{}"}}]},`,
		`{"role":"tool","content":"one","tool_call_id":"a"},`,
		`{"role":"tool","content":"two\n\n[image/png in the next message]","tool_call_id":"call_pai7oo0gw"},`,
		`{"role":"tool","content":"three","tool_call_id":"call_gh2z0kd5y"},`,
		`{"role":"user","content":[{"type":"text","text":"From the result of call call_pai7oo0gw (get):"},{"type":"image_url","image_url":{"url":"data:image/png;base64,UE5H"}}]},`,
		`{"role":"assistant","content":"Done."},{"role":"user","content":"Thanks."}],"reasoning":{"effort":"low"}}`,
	)
	equal(t, want, string(got))
}

func TestEncodeResponses(t *testing.T) {
	t.Parallel()
	own := []cairn.Part{
		{Kind: cairn.PartReasoning, Provider: "p", Opaque: json.RawMessage(reasoningItem)},
		{Kind: cairn.PartOpaque, Provider: "p", Opaque: json.RawMessage(`{"type":"shell_call","created_by":"x","id":"s\u0031"}`)},
		{Kind: cairn.PartOpaque, Provider: "p", Opaque: json.RawMessage(`{"reasoning_content":"a fragment of chat"}`)},
		{Kind: cairn.PartToolCall, CallID: "c", Tool: "sql", Args: "select 1", Provider: "p", Opaque: json.RawMessage(`{"type":"custom_tool_call","call_id":"c","name":"sql","input":"select 1"}`)},
	}
	r := conversation(own...)
	r.Messages[2].Content = append([]cairn.Part{{Kind: cairn.PartToolResult, CallID: "c", Tool: "sql", Text: "1"}}, r.Messages[2].Content...)
	got, err := openai.EncodeResponses(openai.Dialect{Provider: "p", Stateless: true, Service: "default", CacheKey: "ses_1"}, r)
	if err != nil {
		t.Fatal(err)
	}
	want := lines(
		`{"model":"org/m","store":false,"include":["reasoning.encrypted_content"],"service_tier":"default","prompt_cache_key":"ses_1","max_output_tokens":99,"temperature":0.5,`,
		`"text":{"format":{"type":"json_schema","name":"answer","schema":{"type":"object","properties":{"a":{"type":"string"}},"required":["a"],"additionalProperties":false},"strict":true}},`,
		`"tool_choice":"none","tools":[{"type":"function","name":"get","description":"Gets & gives.","parameters":{"type":"object","properties":{"x":{"type":"number"}}},"strict":false},`,
		`{"type":"function","name":"nop","parameters":{"type":"object","properties":{}},"strict":false}],"instructions":"Be <brief>.",`,
		`"input":[{"role":"user","content":[{"type":"input_text","text":"Look:"},{"type":"input_image","image_url":"data:image/png;base64,UE5H","detail":"auto"},`,
		`{"type":"input_file","filename":"file.pdf","file_data":"data:application/pdf;base64,JVBERg=="},{"type":"input_text","text":"[file, text/markdown; charset=utf-8]\n# Hi"}]},`,
		reasoningItem, `,{"type":"shell_call","id":"s\u0031"},{"type":"custom_tool_call","call_id":"c","name":"sql","input":"select 1"},`,
		`{"type":"function_call","call_id":"a","name":"get","arguments":"{\"x\": 1}"},`,
		`{"type":"function_call","call_id":"call_pai7oo0gw","name":"get","arguments":"{}"},`,
		`{"type":"function_call","call_id":"call_d8ll6f5s2","name":"get","arguments":"{}"},`,
		`{"type":"custom_tool_call_output","call_id":"c","output":"1"},`,
		`{"type":"function_call_output","call_id":"a","output":"one"},`,
		`{"type":"function_call_output","call_id":"call_pai7oo0gw","output":[{"type":"input_text","text":"two"},{"type":"input_image","image_url":"data:image/png;base64,UE5H","detail":"auto"}]},`,
		`{"type":"function_call_output","call_id":"call_d8ll6f5s2","output":"three"},`,
		`{"role":"assistant","content":"Done"},{"role":"assistant","content":"."},{"role":"user","content":"Thanks."}]}`,
	)
	equal(t, want, string(got))
}

// What the wire cannot carry is said before anything is sent.
func TestCannotCarry(t *testing.T) {
	t.Parallel()
	with := func(p cairn.Part) *cairn.ModelRequest {
		return &cairn.ModelRequest{Model: "p/m", Messages: []cairn.Message{{Role: cairn.RoleUser, Content: []cairn.Part{p}}}}
	}
	stop := with(cairn.Text("x"))
	stop.Params.Stop = []string{"END"}
	broken := with(cairn.Text("x"))
	broken.Tools = []cairn.ToolDef{{Name: "t", InputSchema: json.RawMessage(`{`)}}
	audio := with(cairn.Part{Kind: cairn.PartFile, MediaType: "audio/wav", Data: []byte{1}})
	tests := map[string]struct {
		request         *cairn.ModelRequest
		chat, responses bool
	}{
		"video":       {with(cairn.Part{Kind: cairn.PartFile, MediaType: "video/mp4", Data: []byte{1}}), false, false},
		"no data":     {with(cairn.Part{Kind: cairn.PartImage, MediaType: "image/png"}), false, false},
		"no type":     {with(cairn.Part{Kind: cairn.PartFile, Data: []byte{1}}), false, false},
		"sound":       {audio, true, false},
		"stop":        {stop, true, false},
		"no JSON":     {broken, false, false},
		"a text file": {with(cairn.Part{Kind: cairn.PartFile, MediaType: "application/json", Data: []byte("{}")}), true, true},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, chat := openai.EncodeChat(openai.Dialect{Provider: "p"}, test.request)
			_, responses := openai.EncodeResponses(openai.Dialect{Provider: "p"}, test.request)
			for err, ok := range map[error]bool{chat: test.chat, responses: test.responses} {
				if ok != (err == nil) || err != nil && (cairn.CodeOf(err) != cairn.CodeInvalid || !cairn.AsError(err).NotDone) {
					t.Errorf("got %v, want it carried: %t", err, ok)
				}
			}
		})
	}
}

// An answer that holds nothing this provider can be sent is left out, and so is what
// a strict server would refuse.
func TestLeftOut(t *testing.T) {
	t.Parallel()
	history := func(parts ...cairn.Part) *cairn.ModelRequest {
		return &cairn.ModelRequest{Model: "p/m", Params: cairn.ModelParams{MaxOutput: 1}, Messages: []cairn.Message{
			{Role: cairn.RoleUser, Content: []cairn.Part{cairn.Text("a"), cairn.Text("b")}},
			{Role: cairn.RoleAssistant, Content: parts},
			{Role: cairn.RoleUser, Content: []cairn.Part{cairn.Text("c")}},
		}}
	}
	foreign := history(cairn.Part{Kind: cairn.PartOpaque, Provider: "q", Opaque: json.RawMessage(`{"a":1}`)})
	got, err := openai.EncodeChat(openai.Dialect{Provider: "p", Cap: "max_completion_tokens"}, foreign)
	if err != nil {
		t.Fatal(err)
	}
	equal(t, `{"model":"m","max_completion_tokens":1,"messages":[{"role":"user","content":"a\n\nb"},{"role":"user","content":"c"}]}`, string(got))

	own := history(
		cairn.Part{Kind: cairn.PartReasoning, Text: "hm", Provider: "p", Opaque: json.RawMessage(`{"reasoning":"hm"}`)},
		cairn.Part{Kind: cairn.PartToolCall, CallID: "toolu_123", Tool: "t", Args: "{}"},
	)
	got, err = openai.EncodeChat(openai.Dialect{Provider: "p", Closed: true, ShortIDs: true}, own)
	if err != nil {
		t.Fatal(err)
	}
	equal(t, `{"model":"m","max_tokens":1,"messages":[{"role":"user","content":"a\n\nb"},{"role":"assistant","content":null,`+
		`"tool_calls":[{"id":"gx3fnrddg","type":"function","function":{"name":"t","arguments":"{}"}}]},{"role":"user","content":"c"}]}`, string(got))
}

// An image that a model made is shown to the next one by the user.
func TestImageOfAnotherProvider(t *testing.T) {
	t.Parallel()
	r := &cairn.ModelRequest{Model: "p/m", Params: cairn.ModelParams{MaxOutput: 1}, Messages: []cairn.Message{
		{Role: cairn.RoleUser, Content: []cairn.Part{cairn.Text("draw")}},
		{Role: cairn.RoleAssistant, Content: []cairn.Part{{Kind: cairn.PartImage, MediaType: "image/png", Data: []byte("PNG"), Provider: "q"}}},
		{Role: cairn.RoleUser, Content: []cairn.Part{cairn.Text("now blue")}},
	}}
	chat, err := openai.EncodeChat(openai.Dialect{Provider: "p"}, r)
	if err != nil {
		t.Fatal(err)
	}
	equal(t, `{"model":"m","max_tokens":1,"messages":[{"role":"user","content":"draw"},{"role":"user","content":[{"type":"text","text":"You made this:"},`+
		`{"type":"image_url","image_url":{"url":"data:image/png;base64,UE5H"}}]},{"role":"user","content":"now blue"}]}`, string(chat))
	responses, err := openai.EncodeResponses(openai.Dialect{Provider: "p"}, r)
	if err != nil {
		t.Fatal(err)
	}
	equal(t, `{"model":"m","max_output_tokens":1,"input":[{"role":"user","content":"draw"},{"role":"user","content":[{"type":"input_text","text":"You made this:"},`+
		`{"type":"input_image","image_url":"data:image/png;base64,UE5H","detail":"auto"}]},{"role":"user","content":"now blue"}]}`, string(responses))
}
