package google_test

import (
	"bytes"
	"encoding/json"
	"testing"

	"pgregory.net/rapid"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/model/google"
)

// TestPrefix: what one turn sent is the beginning of what the next one sends, or
// the provider's cache would find nothing.
func TestPrefix(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		r := &cairn.ModelRequest{
			Model: rapid.SampledFrom([]string{"google/gemini-2.5-flash", "google/gemini-3-pro"}).Draw(t, "model"),
			Tools: []cairn.ToolDef{{Name: "f", Description: "<f>"}}, Params: cairn.ModelParams{MaxOutput: 9},
		}
		var contents, rest []byte
		for range rapid.IntRange(1, 6).Draw(t, "turns") {
			r.Messages = append(r.Messages, user(cairn.Text(rapid.StringMatching(`[a-z"<]{1,5}`).Draw(t, "said"))))
			if n := rapid.IntRange(0, 3).Draw(t, "calls"); n > 0 {
				calls := []cairn.Part{own(cairn.Part{Kind: cairn.PartReasoning, Text: "hm"}, `{"thought":true,"text":"hm","thoughtSignature":"c2ln"}`)}
				var outs []cairn.Part
				for range n {
					id := rapid.SampledFrom([]string{"", "a", "a_2", "b:1"}).Draw(t, "id")
					c := toolCall(id, "f", rapid.SampledFrom([]string{`{}`, `{"a": 1}`, `{"a`}).Draw(t, "args"))
					if rapid.Bool().Draw(t, "own") {
						c = own(c, `{"functionCall":{"name":"f","args":{},"id":"a"}}`)
					}
					out := result(id, rapid.SampledFrom([]string{"", "ok", `{"n":1}`}).Draw(t, "out"))
					if rapid.Bool().Draw(t, "shows") {
						out.Parts = []cairn.Part{{Kind: cairn.PartImage, MediaType: "image/png", Data: []byte("png")}}
					}
					calls, outs = append(calls, c), append(outs, out)
				}
				r.Messages = append(r.Messages, said(calls...), results(outs...))
			}
			q, err := google.NewRequest("google", r)
			if err != nil {
				t.Fatal(err)
			}
			now, err := json.Marshal(q.Contents)
			if err != nil {
				t.Fatal(err)
			}
			q.Contents = nil
			others, err := json.Marshal(q)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.HasPrefix(now, contents) || rest != nil && !bytes.Equal(others, rest) {
				t.Fatalf("%s\n%s\nwas followed by\n%s\n%s", rest, contents, others, now)
			}
			contents, rest = bytes.TrimSuffix(now, []byte("]")), others
			r.Messages = append(r.Messages, said(cairn.Text("ok")))
		}
	})
}
