package openai_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/model/openai"
	"github.com/cairn-run/cairn/model/wire"
)

func asked(model string, answers ...[]cairn.Part) *cairn.ModelRequest {
	r := &cairn.ModelRequest{Model: model, Params: cairn.ModelParams{MaxOutput: 1}}
	for _, a := range answers {
		r.Messages = append(r.Messages, cairn.Message{Role: cairn.RoleUser, Content: []cairn.Part{cairn.Text("a")}}, cairn.Message{Role: cairn.RoleAssistant, Content: a})
	}
	r.Messages = append(r.Messages, cairn.Message{Role: cairn.RoleUser, Content: []cairn.Part{cairn.Text("b")}})
	return r
}

func item(kind cairn.PartKind, raw string) cairn.Part {
	return cairn.Part{Kind: kind, Text: "x", Provider: "p", Opaque: json.RawMessage(raw)}
}

// TestReasoningGoesBack: only where the API takes it.
func TestReasoningGoesBack(t *testing.T) {
	t.Parallel()
	const (
		thought = `{"type":"reasoning","id":"rs_1","summary":[],"encrypted_content":"e"}`
		bare    = `{"type":"reasoning","id":"rs_2","summary":[],"encrypted_content":null}`
		message = `{"type":"message","id":"msg_1","role":"assistant","content":[]}`
		noID    = `{"role":"assistant","content":"x"}`
		call    = `{"type":"function_call","id":"fc_1","call_id":"c","name":"x","arguments":"{}"}`
		anyCall = `{"type":"function_call","call_id":"c","name":"x","arguments":"{}"}`
	)
	r, m := item(cairn.PartReasoning, thought), item(cairn.PartText, message)
	tests := map[string]struct {
		model   string
		answer  []cairn.Part
		dialect openai.Dialect
		want    string
	}{
		"whole":                       {"p/gpt-5", []cairn.Part{r, m}, openai.Dialect{Stateless: true}, thought + "," + message},
		"cut while it thought":        {"p/gpt-5", []cairn.Part{r}, openai.Dialect{Stateless: true}, ""},
		"cut while it thought again":  {"p/gpt-5", []cairn.Part{r, m, r, r}, openai.Dialect{}, thought + "," + message},
		"then nothing that is sent":   {"p/gpt-5", []cairn.Part{r, cairn.Text("")}, openai.Dialect{}, ""},
		"a name of what is not kept":  {"p/gpt-5", []cairn.Part{item(cairn.PartReasoning, bare), m}, openai.Dialect{Stateless: true}, noID},
		"a name of what is kept":      {"p/gpt-5", []cairn.Part{item(cairn.PartReasoning, bare), m}, openai.Dialect{}, bare + "," + message},
		"to a model without":          {"p/gpt-4.1-mini", []cairn.Part{r, m}, openai.Dialect{Stateless: true}, noID},
		"a call to a model without":   {"p/gpt-4o", []cairn.Part{r, {Kind: cairn.PartToolCall, CallID: "c", Tool: "x", Args: "{}", Provider: "p", Opaque: json.RawMessage(call)}}, openai.Dialect{}, anyCall},
		"to a fine-tuned one without": {"p/ft:gpt-4o:org::x", []cairn.Part{r, m}, openai.Dialect{}, noID},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test.dialect.Provider = "p"
			got, err := openai.EncodeResponses(test.dialect, asked(test.model, test.answer))
			if err != nil {
				t.Fatal(err)
			}
			want := `"input":[{"role":"user","content":"a"},` + test.want
			if test.want != "" {
				want += ","
			}
			if want += `{"role":"user","content":"b"}]}`; !strings.HasSuffix(string(got), want) {
				t.Errorf("%s\ndoes not end with\n%s", got, want)
			}
		})
	}
}

// TestNamesThatCannotBe: a call of a tool that is no name, its own or another's.
func TestNamesThatCannotBe(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("n", 70)
	call := func(id, name, raw string) cairn.Part {
		p := cairn.Part{Kind: cairn.PartToolCall, CallID: id, Tool: name, Args: "{}"}
		if raw != "" {
			p.Provider, p.Opaque = "p", json.RawMessage(raw)
		}
		return p
	}
	chat, err := openai.EncodeChat(openai.Dialect{Provider: "p"}, asked("p/m", []cairn.Part{
		call("1", "multi_tool_use.parallel", `{"tool_calls":[{"id":"1","type":"function","function":{"name":"multi_tool_use.parallel","arguments":"{}"},"x":1}]}`),
		call("2", "é", ""), call("3", "", ""), call("4", long, ""),
	}))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`{"id":"1","type":"function","function":{"name":"multi_tool_use_parallel","arguments":"{}"},"x":1}`,
		`"name":"__"`, `"name":"_"`, `"name":"` + long[:64] + `"`,
	} {
		if !strings.Contains(string(chat), want) {
			t.Errorf("%s is not in %s", want, chat)
		}
	}
	responses, err := openai.EncodeResponses(openai.Dialect{Provider: "p"}, asked("p/m", []cairn.Part{
		call("1", "a.b", `{"type":"function_call","call_id":"1","name":"a.b","arguments":"{}","status":"completed"}`), call("2", "", ""),
	}))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`{"type":"function_call","call_id":"1","name":"a_b","arguments":"{}","status":"completed"}`, `"call_id":"2","name":"_"`} {
		if !strings.Contains(string(responses), want) {
			t.Errorf("%s is not in %s", want, responses)
		}
	}
}

// TestResultThatCannotBeShown: a tool may give anything, and the session has to go on.
func TestResultThatCannotBeShown(t *testing.T) {
	t.Parallel()
	r := asked("p/m", []cairn.Part{{Kind: cairn.PartToolCall, CallID: "1", Tool: "t", Args: "{}"}, {Kind: cairn.PartFile, MediaType: "video/mp4", Data: []byte("x")}})
	r.Messages[2] = cairn.Message{Role: cairn.RoleTool, Content: []cairn.Part{{Kind: cairn.PartToolResult, CallID: "1", Tool: "t", Text: "see", Parts: []cairn.Part{
		{Kind: cairn.PartFile, MediaType: "application/zip", Data: []byte("PK")},
		{Kind: cairn.PartImage, MediaType: "image/tiff", Data: []byte("II")},
		{Kind: cairn.PartFile, MediaType: "audio/wav", Data: []byte("W")},
		{Kind: cairn.PartImage, MediaType: "image/png"},
	}}}}
	if err := r.Validate(); err != nil {
		t.Fatal(err)
	}
	for name, encode := range map[string]func(openai.Dialect, *cairn.ModelRequest) ([]byte, error){"chat": openai.EncodeChat, "responses": openai.EncodeResponses} {
		got, err := encode(openai.Dialect{Provider: "p"}, r)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		for _, want := range []string{"application/zip, 2 bytes", "image/tiff, 2 bytes", "audio/wav, 1 bytes", "image/png, 0 bytes", "video/mp4, 1 bytes"} {
			if !strings.Contains(string(got), want) {
				t.Errorf("%s: %q is not in %s", name, want, got)
			}
		}
	}
}

// TestManyCalls: an answer of a model that repeats itself is read and sent back in a
// time that grows with its size, not with the square of it. Deep in the squares, ten
// thousand calls took ten seconds for each request.
func TestManyCalls(t *testing.T) {
	t.Parallel()
	const n = 10_000
	s := openai.NewChatStream("p")
	add := func(data string) {
		if _, err := s.Add(wire.Event{Data: []byte(data)}); err != nil {
			t.Fatal(err)
		}
	}
	for i := range n {
		add(fmt.Sprintf(`{"choices":[{"index":0,"delta":{"token_ids":[1,2],"tool_calls":[{"index":%d,"id":"same","function":{"name":"t","arguments":"{}"}}],`+
			`"reasoning_details":[{"type":"reasoning.text","index":%d,"text":"a"}]}}]}`, i, i))
	}
	add(`{"choices":[{"index":0,"delta":{},"finish_reason":"tool_calls"}]}`)
	add(`[DONE]`)
	a, err := s.Done()
	if err != nil {
		t.Fatal(err)
	}
	ids := map[string]bool{}
	r := asked("p/m", nil)
	results := cairn.Message{Role: cairn.RoleTool}
	for i := range a.Content {
		if p := &a.Content[i]; p.Kind == cairn.PartToolCall {
			ids[p.CallID] = true
			p.CallID, p.Provider, p.Opaque = "x", "", nil // of another provider, which repeats its ids
			results.Content = append(results.Content, cairn.Part{Kind: cairn.PartToolResult, CallID: "x", Tool: "t", Text: "ok"})
		}
	}
	if len(ids) != n {
		t.Errorf("%d ids of %d calls", len(ids), n)
	}
	rest := a.Content[len(a.Content)-1]
	if want := `{"token_ids":[1,2` + strings.Repeat(",1,2", n-1) + `]}`; string(rest.Opaque) != want {
		t.Errorf("the list of the chunks has %d bytes, want %d", len(rest.Opaque), len(want))
	}
	r.Messages[1].Content, r.Messages[2] = a.Content, results
	for name, encode := range map[string]func(openai.Dialect, *cairn.ModelRequest) ([]byte, error){"chat": openai.EncodeChat, "responses": openai.EncodeResponses} {
		got, err := encode(openai.Dialect{Provider: "p"}, r)
		if err != nil {
			t.Fatal(err)
		}
		calls := strings.Count(string(got), `"name":"t"`)
		if calls != n || strings.Count(string(got), `"x"`) != 2 {
			t.Errorf("%s: %d calls, %d of the first id", name, calls, strings.Count(string(got), `"x"`))
		}
	}
}
