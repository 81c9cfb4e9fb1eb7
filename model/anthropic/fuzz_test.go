package anthropic

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/model"
	"github.com/cairn-run/cairn/model/wire"
)

// FuzzRequest: a request that is read and written says the same when it is read
// again.
func FuzzRequest(f *testing.F) {
	for _, s := range []string{
		`{}`, `{"model":"m","max_tokens":5,"messages":[{"role":"user","content":"hi"}]}`,
		`{"system":"s","messages":[{"role":"user","content":[{"type":"tool_result","tool_use_id":"a","content":[{"type":"tool_result","content":"x"}],"is_error":true}]}],"tools":[{"name":"f","input_schema":{}}]}`,
		`{"messages":[{"role":"assistant","content":[{"type":"thinking","thinking":"x","signature":"s"},{"type":"image","source":{"type":"base64","data":"eA=="}},5,null,[]]}]}`,
		`{"system":[{"type":"text","text":"s","cache_control":{"type":"ephemeral"}}],"output_config":{"format":{"type":"json_schema","schema":{}}},"tool_choice":{"type":"any"}}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		var r, again Request
		if json.Unmarshal(in, &r) != nil {
			return
		}
		out, err := wire.Encode(r)
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(out, &again); err != nil {
			t.Fatalf("%s: %v", out, err)
		}
		twice, err := wire.Encode(again)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(out, twice) {
			t.Errorf("%s\nand then\n%s", out, twice)
		}
	})
}

// checkAnswer looks for what no answer may have, and that it can be sent back.
func checkAnswer(t *testing.T, a *cairn.ModelAnswer, err error) {
	t.Helper()
	if err != nil {
		f, ok := errors.AsType[*model.Failure](err)
		if !ok || f.Err == nil || f.Err.Code == "" || f.Err.Message == "" || f.Err.NotDone || a != nil {
			t.Fatalf("%T %v", err, err)
		}
		if f.RawUsage != nil && !json.Valid(f.RawUsage) {
			t.Fatalf("usage %s", f.RawUsage)
		}
		return
	}
	u := a.Usage
	if min(u.Input, u.CacheRead, u.CacheWrite5m, u.CacheWrite1h, u.Output, u.Reasoning, u.Searches) < 0 || u.Reasoning > u.Output {
		t.Fatalf("usage %+v", u)
	}
	if a.RawUsage != nil && !json.Valid(a.RawUsage) {
		t.Fatalf("usage %s", a.RawUsage)
	}
	for _, p := range a.Content {
		if p.Opaque != nil && !json.Valid(p.Opaque) || p.Kind == cairn.PartOpaque && p.Opaque == nil || (p.Opaque != nil) && p.Provider != "p" {
			t.Fatalf("part %+v", p)
		}
	}
	body, err := EncodeRequest("p", &cairn.ModelRequest{
		Model: "p/m", Params: cairn.ModelParams{MaxOutput: 1},
		Messages: []cairn.Message{user(cairn.Text("q")), assistant(a.Content...), user(cairn.Text("q"))},
	}, Format{})
	if err != nil {
		t.Fatal(err)
	}
	if !json.Valid(body) {
		t.Fatalf("request %s", body)
	}
}

func FuzzResponse(f *testing.F) {
	for _, s := range []string{
		`{}`, `null`, `{"type":"message","model":"m","content":[],"stop_reason":"refusal","stop_details":{"explanation":"x"}}`,
		`{"type":"message","content":[{"type":"text","text":"a"},{"type":"tool_use","id":"i","name":"n","input":{"a": 1}},{"type":"thinking","thinking":"t","signature":"s"},7,{"type":5}],"stop_reason":"tool_use","usage":{"input_tokens":1,"output_tokens":2,"iterations":[{"type":"compaction","input_tokens":5}]},"container":{}}`,
		`{"type":"error","error":{"type":"overloaded_error"}}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		a, err := DecodeResponse("p", in)
		checkAnswer(t, a, err)
		if err != nil {
			return
		}
		// What is read again after it was sent is the same.
		var doc struct {
			Content []json.RawMessage `json:"content"`
		}
		if json.Unmarshal(in, &doc) != nil || len(doc.Content) != len(a.Content) {
			return
		}
		for i, raw := range doc.Content {
			b := readBlock(raw, true)
			own, err := wire.Encode(b)
			if err != nil {
				t.Fatal(err)
			}
			b2 := readBlock(own, true)
			if diff := cmp.Diff(a.Content[i].Opaque, partOf("p", &b2).Opaque); diff != "" {
				t.Error(diff)
			}
		}
	})
}

// FuzzStream: any events give an answer or a failure, the answer is what was said,
// and a stream that is cut gives none.
func FuzzStream(f *testing.F) {
	line := func(groups ...any) []byte { return []byte(strings.Join(events(groups...), "\n")) }
	f.Add(line(begin, textBlock("0", "a", "b"), endTurn, end))
	f.Add(line(begin, `{"type":"content_block_start","index":0,"content_block":{"type":"tool_use","id":"i","name":"n","input":{}}}`,
		`{"type":"content_block_delta","index":0,"delta":{"type":"input_json_delta","partial_json":"{\"a\":1}"}}`, toolTurn, end))
	f.Add(line(begin, `{"type":"content_block_start","index":0,"content_block":{"type":"thinking","thinking":""}}`,
		`{"type":"content_block_delta","index":0,"delta":{"type":"signature_delta","signature":"s"}}`, endTurn, end))
	f.Add(line(begin, `{"type":"content_block_start","index":0,"content_block":{"type":"x","y":1}}`,
		`{"type":"content_block_delta","index":0,"delta":{"type":"x_delta","y":"z","w":[1]}}`, endTurn, end))
	f.Add(line(begin, begin, `{"type":"error","error":{}}`))
	f.Add([]byte(`{"type":"message_start","message":{"content":"x","stop_reason":"end_turn"}}` + "\n" + end))
	f.Fuzz(func(t *testing.T, in []byte) {
		s := NewStream("p")
		said := map[int]string{}
		for l := range bytes.SplitSeq(in, []byte("\n")) {
			deltas, err := s.Add(l)
			if err != nil {
				checkAnswer(t, nil, err)
				return
			}
			for _, d := range deltas {
				said[d.Index] += d.Text
			}
			if !s.Complete() {
				_, err := s.Done()
				if cairn.CodeOf(err) != cairn.CodeCut {
					t.Fatalf("not complete, and yet %v", err)
				}
			}
		}
		a, err := s.Done()
		checkAnswer(t, a, err)
		if err != nil {
			return
		}
		for i, p := range a.Content {
			want := p.Text
			if p.Kind == cairn.PartToolCall {
				want = p.Args
			}
			if p.Kind != cairn.PartOpaque && said[i] != want {
				t.Errorf("part %d is %q, said was %q", i, want, said[i])
			}
		}
	})
}
