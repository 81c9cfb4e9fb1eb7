package openai_test

import (
	"bytes"
	"encoding/json"
	"testing"

	"pgregory.net/rapid"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/model/openai"
)

// TestPrefix: on both wires, what one turn sent is the beginning of what the next
// one sends, or the provider's cache would find nothing.
func TestPrefix(t *testing.T) {
	t.Parallel()
	text := func(s string) []cairn.Part { return []cairn.Part{cairn.Text(s)} }
	image := cairn.Part{Kind: cairn.PartImage, MediaType: "image/png", Data: []byte("png")}
	wires := map[string]struct {
		encode func(openai.Dialect, *cairn.ModelRequest) ([]byte, error)
		list   string
	}{"chat": {openai.EncodeChat, "messages"}, "responses": {openai.EncodeResponses, "input"}}
	rapid.Check(t, func(t *rapid.T) {
		wire := wires[rapid.SampledFrom([]string{"chat", "responses"}).Draw(t, "wire")]
		d := openai.Dialect{Provider: "p", Stateless: rapid.Bool().Draw(t, "stateless"), ShortIDs: rapid.Bool().Draw(t, "short")}
		r := &cairn.ModelRequest{
			Model: "p/m", System: rapid.StringMatching(`[a-z<>&é]{0,9}`).Draw(t, "system"),
			Tools:  []cairn.ToolDef{{Name: "f", Description: "<f>"}},
			Params: cairn.ModelParams{MaxOutput: 9},
		}
		var before [2][]byte
		for range rapid.IntRange(1, 6).Draw(t, "turns") {
			r.Messages = append(r.Messages, cairn.Message{Role: cairn.RoleUser, Content: text(rapid.StringMatching(`[ a-z"<]{0,5}`).Draw(t, "said"))})
			if n := rapid.IntRange(0, 3).Draw(t, "calls"); n > 0 {
				calls := []cairn.Part{own(cairn.PartReasoning, "Hm.", rapid.SampledFrom([]string{`{"reasoning_content":"Hm."}`, reasoningItem}).Draw(t, "thought"))}
				var outs []cairn.Part
				for range n {
					id := rapid.SampledFrom([]string{"", "a", "a_2", "b:1", "a-very-long-id-that-another-provider-gave-to-its-call-of-this-tool-once"}).Draw(t, "id")
					calls = append(calls, toolCall(id, "f", rapid.SampledFrom([]string{`{}`, `{"a": 1}`, `{"a`, ``}).Draw(t, "args")))
					out := cairn.Part{Kind: cairn.PartToolResult, CallID: id, Text: rapid.SampledFrom([]string{"", "ok"}).Draw(t, "out")}
					if rapid.Bool().Draw(t, "shows") {
						out.Parts = []cairn.Part{image}
					}
					outs = append(outs, out)
				}
				r.Messages = append(r.Messages, cairn.Message{Role: cairn.RoleAssistant, Content: calls}, cairn.Message{Role: cairn.RoleTool, Content: outs})
			}
			if err := r.Validate(); err != nil {
				t.Fatal(err)
			}
			body, err := wire.encode(d, r)
			if err != nil {
				t.Fatal(err)
			}
			var parts map[string]json.RawMessage
			if err := json.Unmarshal(body, &parts); err != nil {
				t.Fatal(err)
			}
			list := parts[wire.list]
			delete(parts, wire.list)
			rest, err := json.Marshal(parts) // in the order of its keys
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.HasPrefix(list, before[0]) || before[1] != nil && !bytes.Equal(rest, before[1]) {
				t.Fatalf("%s\n%s\nwas followed by\n%s\n%s", before[1], before[0], rest, list)
			}
			before = [2][]byte{bytes.TrimSuffix(list, []byte("]")), rest}
			r.Messages = append(r.Messages, cairn.Message{Role: cairn.RoleAssistant, Content: text("ok")})
		}
	})
}
