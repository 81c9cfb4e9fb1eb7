package openai_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/model/openai"
	"github.com/cairn-run/cairn/model/wire"
)

// sendBack puts an answer into a history, and checks that the request can be read.
func sendBack(t *testing.T, a *cairn.ModelAnswer) {
	t.Helper()
	r := &cairn.ModelRequest{Model: "p/m", Params: cairn.ModelParams{MaxOutput: 1}, Messages: []cairn.Message{{Role: cairn.RoleAssistant, Content: a.Content}}}
	results := cairn.Message{Role: cairn.RoleTool}
	ids := map[string]bool{}
	for _, p := range a.Content {
		if len(p.Opaque) > 0 && !json.Valid(p.Opaque) {
			t.Fatalf("a block that is not JSON: %s", p.Opaque)
		}
		if p.Kind == cairn.PartToolCall {
			if p.CallID == "" || p.Tool == "" || ids[p.CallID] {
				t.Fatalf("a call of %q with the id %q", p.Tool, p.CallID)
			}
			ids[p.CallID] = true
			results.Content = append(results.Content, cairn.Part{Kind: cairn.PartToolResult, CallID: p.CallID, Tool: p.Tool})
		}
	}
	r.Messages = append(r.Messages, results)
	for _, encode := range []func(openai.Dialect, *cairn.ModelRequest) ([]byte, error){openai.EncodeChat, openai.EncodeResponses} {
		for _, provider := range []string{"p", "q"} {
			body, err := encode(openai.Dialect{Provider: provider}, r)
			if err != nil && cairn.CodeOf(err) != cairn.CodeInvalid {
				t.Fatal(err)
			}
			if err == nil && !json.Valid(body) {
				t.Fatalf("not JSON: %s", body)
			}
		}
	}
}

func FuzzResponse(f *testing.F) {
	f.Add([]byte(chatWhole))
	f.Add([]byte(strings.TrimPrefix(response("completed", reasoningItem+","+messageItem+","+callItemA, ""), `,"response":`)))
	f.Add([]byte(`{"choices":[{"message":{"content":[{"type":"thinking","thinking":[{"text":"a"}]},{"type":"text"}],"images":[{"image_url":{"url":"data:a;base64,QQ=="}}],"audio":{"id":1}},"finish_reason":"stop"}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		if a, err := openai.DecodeChat("p", b); err == nil {
			sendBack(t, a)
		}
		if a, err := openai.DecodeResponses("p", b); err == nil {
			sendBack(t, a)
		}
	})
}

func FuzzStream(f *testing.F) {
	for _, streams := range []map[string][]string{chatStreams(), responsesStreams()} {
		for _, data := range streams {
			f.Add([]byte("data: " + strings.Join(data, "\n\ndata: ") + "\n\n"))
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, s := range []stream{openai.NewChatStream("p"), openai.NewResponsesStream("p")} {
			failed := false
			for e, err := range wire.Events(strings.NewReader(string(b))) {
				if err != nil {
					break
				}
				if _, err := s.Add(e); err != nil {
					failed = true
					break
				}
			}
			if failed {
				continue
			}
			if a, err := s.Done(); err == nil {
				sendBack(t, a)
			}
		}
	})
}

// FuzzRequest puts anything into a history, under this provider's name.
func FuzzRequest(f *testing.F) {
	f.Add("text", `{"content":["a",{"type":"text"}],"tool_calls":[1,{}],"audio":7}`, "id", "{}")
	f.Add("tool_call", `{"tool_calls":[{"function":7}]}`, "", `{"a":`)
	f.Add("tool_call", `{"type":"function_call","call_id":7}`, strings.Repeat("x", 70), `[]`)
	f.Fuzz(func(t *testing.T, kind, block, id, args string) {
		p := cairn.Part{Kind: cairn.PartKind(kind), Text: args, CallID: id, Tool: "t", Args: args, Provider: "p", Opaque: json.RawMessage(block)}
		r := &cairn.ModelRequest{Model: "p/m", Tools: []cairn.ToolDef{{Name: "t", InputSchema: json.RawMessage(block)}}, Messages: []cairn.Message{
			{Role: cairn.RoleUser, Content: []cairn.Part{cairn.Text(args)}},
			{Role: cairn.RoleAssistant, Content: []cairn.Part{p, p}},
			{Role: cairn.RoleTool, Content: []cairn.Part{{Kind: cairn.PartToolResult, CallID: id}, {Kind: cairn.PartToolResult, CallID: id}}},
		}, Params: cairn.ModelParams{MaxOutput: 1, OutputSchema: json.RawMessage(block)}}
		for _, encode := range []func(openai.Dialect, *cairn.ModelRequest) ([]byte, error){openai.EncodeChat, openai.EncodeResponses} {
			body, err := encode(openai.Dialect{Provider: "p", ShortIDs: id == "id"}, r)
			if err != nil {
				if cairn.CodeOf(err) != cairn.CodeInvalid {
					t.Fatal(err)
				}
				continue
			}
			again, _ := encode(openai.Dialect{Provider: "p", ShortIDs: id == "id"}, r)
			if !json.Valid(body) || string(again) != string(body) {
				t.Fatalf("not JSON, or not the same twice: %s", body)
			}
		}
	})
}
