package openai_test

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/model"
	"github.com/cairn-run/cairn/model/openai"
	"github.com/cairn-run/cairn/model/wire"
)

// stream is what both decoders do.
type stream interface {
	Add(wire.Event) ([]cairn.Delta, error)
	Ended() bool
	Done() (*cairn.ModelAnswer, error)
}

// play gives a decoder the data of events, and checks that what was said is what
// the answer holds.
func play(t testing.TB, s stream, data ...string) (*cairn.ModelAnswer, error) {
	t.Helper()
	said := map[int]cairn.Delta{}
	for _, d := range data {
		deltas, err := s.Add(wire.Event{Data: []byte(d)})
		if err != nil {
			return nil, err
		}
		for _, x := range deltas {
			old, ok := said[x.Index]
			if ok && (old.Kind != x.Kind || old.CallID != x.CallID || old.Tool != x.Tool) {
				t.Errorf("part %d is %+v and then %+v", x.Index, old, x)
			}
			x.Text = old.Text + x.Text
			said[x.Index] = x
		}
		if s.Ended() {
			break
		}
	}
	a, err := s.Done()
	if err != nil {
		return nil, err
	}
	for i, x := range said {
		if i >= len(a.Content) {
			t.Errorf("part %d was said and is not there", i)
			continue
		}
		p := a.Content[i]
		if want := p.Text + p.Args; x.Text != want || x.Kind != p.Kind || x.CallID != p.CallID || x.Tool != p.Tool {
			t.Errorf("part %d is %+v, and %+v was said", i, p, x)
		}
	}
	return a, nil
}

func delta(s string) string { return `{"choices":[{"index":0,"delta":` + s + `}]}` }

func finish(word string) string {
	return `{"choices":[{"index":0,"delta":{},"finish_reason":"` + word + `"}]}`
}

func own(kind cairn.PartKind, said, form string) cairn.Part {
	return cairn.Part{Kind: kind, Text: said, Provider: "p", Opaque: json.RawMessage(form)}
}

func toolCall(id, tool, args string) cairn.Part {
	return cairn.Part{Kind: cairn.PartToolCall, CallID: id, Tool: tool, Args: args}
}

func TestChatStream(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		data []string
		want []cairn.Part
		stop cairn.StopReason
	}{
		"ids and indexes are missing": {
			[]string{
				delta(`{"tool_calls":[{"function":{"name":"one","arguments":"{\"a\""}}]}`), delta(`{"tool_calls":[{"function":{"arguments":":1}"}}]}`),
				delta(`{"tool_calls":[{"function":{"name":"two","arguments":"{}"}}]}`), finish("tool_calls"),
			},
			[]cairn.Part{toolCall("call_0", "one", `{"a":1}`), toolCall("call_1", "two", `{}`)},
			cairn.StopToolUse,
		},
		"every call has the index 0": {
			[]string{
				delta(`{"tool_calls":[{"index":0,"id":"x","function":{"name":"one","arguments":"{}"}},{"index":0,"id":"y","function":{"name":"two","arguments":"{}"}}]}`),
				finish("stop"),
			},
			[]cairn.Part{
				{Kind: cairn.PartToolCall, CallID: "x", Tool: "one", Args: "{}", Provider: "p", Opaque: json.RawMessage(`{"tool_calls":[{"id":"x","function":{"name":"one","arguments":"{}"}}]}`)},
				{Kind: cairn.PartToolCall, CallID: "y", Tool: "two", Args: "{}", Provider: "p", Opaque: json.RawMessage(`{"tool_calls":[{"id":"y","function":{"name":"two","arguments":"{}"}}]}`)},
			},
			cairn.StopToolUse,
		},
		"ids repeat": {
			[]string{
				delta(`{"tool_calls":[{"index":0,"id":"x","type":"function","function":{"name":"one","arguments":"{}"}},{"index":1,"id":"x","type":"function","function":{"name":"two","arguments":"{}"}}]}`),
				finish("tool_calls"),
			},
			[]cairn.Part{toolCall("x", "one", `{}`), toolCall("x_2", "two", `{}`)},
			cairn.StopToolUse,
		},
		"an index that begins with 1, an empty piece, a repeated name, a new id": {
			[]string{
				delta(`{"content":"A"}`), delta(`{"tool_calls":[{"index":1,"id":"x","type":"function","function":{"name":"one","arguments":""}}]}`),
				delta(`{"tool_calls":[{"index":1,"id":"z","function":{"name":"","arguments":"{"}}]}`), delta(`{"tool_calls":[{"index":1,"id":"x","function":{"name":"one","arguments":"}"}}]}`),
				finish("tool_calls"),
			},
			[]cairn.Part{cairn.Text("A"), toolCall("x", "one", `{}`)},
			cairn.StopToolUse,
		},
		"a name in pieces, an id that is late, arguments that are no string": {
			[]string{
				delta(`{"tool_calls":[{"index":0,"function":{"name":"get_"}}]}`), delta(`{"tool_calls":[{"index":0,"id":7,"type":"function","function":{"name":"time","arguments":{"a": 1}}}]}`),
				finish("tool_calls"),
			},
			[]cairn.Part{toolCall("7", "get_time", `{"a":1}`)},
			cairn.StopToolUse,
		},
		"a call that is none": {
			[]string{delta(`{"content":"A","tool_calls":[{"index":3,"id":"x"},null]}`), finish("tool_calls")},
			[]cairn.Part{cairn.Text("A")},
			cairn.StopEnd,
		},
		"a call of old, and no arguments": {
			[]string{delta(`{"function_call":{"name":"one"}}`), delta(`{"function_call":{"arguments":""}}`), finish("function_call")},
			[]cairn.Part{toolCall("call_0", "one", ``)},
			cairn.StopToolUse,
		},
		"a signature on a call": {
			[]string{
				delta(`{"tool_calls":[{"index":0,"id":"x","type":"function","function":{"name":"one","arguments":"{"},"extra_content":{"google":{"thought_signature":"s"}}}]}`),
				delta(`{"tool_calls":[{"index":0,"function":{"arguments":"}"}}]}`), finish("stop"),
			},
			[]cairn.Part{{
				Kind: cairn.PartToolCall, CallID: "x", Tool: "one", Args: "{}", Provider: "p",
				Opaque: json.RawMessage(`{"tool_calls":[{"id":"x","type":"function","function":{"name":"one","arguments":"{}"},"extra_content":{"google":{"thought_signature":"s"}}}]}`),
			}},
			cairn.StopToolUse,
		},
		"reasoning in details": {
			[]string{
				delta(`{"content":"","reasoning":"A","reasoning_details":[{"type":"reasoning.text","text":"A","format":"f","index":0}]}`),
				delta(`{"content":"","reasoning":"B","reasoning_details":[{"type":"reasoning.text","text":"B","format":"f","index":0}]}`),
				delta(`{"reasoning_details":[{"type":"reasoning.text","text":"","signature":"s","format":"f","index":0}]}`),
				delta(`{"reasoning_details":[{"type":"reasoning.encrypted","data":"e","index":0}]}`),
				delta(`{"content":"C"}`), finish("stop"),
			},
			[]cairn.Part{
				own(cairn.PartReasoning, "AB", `{"reasoning":"AB","reasoning_details":[{"type":"reasoning.text","text":"AB","format":"f","index":0,"signature":"s"},{"type":"reasoning.encrypted","data":"e","index":0}]}`),
				cairn.Text("C"),
			},
			cairn.StopEnd,
		},
		"reasoning in details alone": {
			[]string{
				delta(`{"reasoning_details":[{"type":"reasoning.summary","summary":"A","index":0}]}`), delta(`{"reasoning_details":[{"type":"reasoning.summary","summary":"B","index":0}]}`),
				delta(`{"content":"C"}`), finish("stop"),
			},
			[]cairn.Part{own(cairn.PartReasoning, "AB", `{"reasoning_details":[{"type":"reasoning.summary","summary":"AB","index":0}]}`), cairn.Text("C")},
			cairn.StopEnd,
		},
		"reasoning twice": {
			[]string{delta(`{"reasoning":"A","reasoning_content":"A"}`), delta(`{"reasoning":"B","reasoning_content":"B"}`), delta(`{"content":"C"}`), finish("stop")},
			[]cairn.Part{own(cairn.PartReasoning, "AB", `{"reasoning_content":"AB","reasoning":"AB"}`), cairn.Text("C")},
			cairn.StopEnd,
		},
		"reasoning twice, not in step": {
			[]string{delta(`{"reasoning":"A"}`), delta(`{"reasoning":"B","reasoning_content":"AB"}`), delta(`{"content":"C"}`), finish("stop")},
			[]cairn.Part{own(cairn.PartReasoning, "AB", `{"reasoning":"AB","reasoning_content":"AB"}`), cairn.Text("C")},
			cairn.StopEnd,
		},
		"empty reasoning before a call": {
			[]string{delta(`{"reasoning_content":"","tool_calls":[{"index":0,"id":"x","type":"function","function":{"name":"one","arguments":"{}"}}]}`), finish("tool_calls")},
			[]cairn.Part{toolCall("x", "one", "{}"), {Kind: cairn.PartOpaque, Provider: "p", Opaque: json.RawMessage(`{"reasoning_content":""}`)}},
			cairn.StopToolUse,
		},
		"thinking in a list": {
			[]string{
				delta(`{"content":[{"type":"thinking","thinking":[{"type":"text","text":"A"}]}]}`), delta(`{"content":[{"type":"thinking","thinking":[{"type":"text","text":"B"}]}]}`),
				delta(`{"content":"C"}`), delta(`{"content":"D"}`), delta(`{"content":[{"type":"reference","reference_ids":[1]}]}`), delta(`{"content":"E"}`), finish("stop"),
			},
			[]cairn.Part{
				own(cairn.PartReasoning, "AB", `{"content":[{"type":"thinking","thinking":[{"type":"text","text":"AB"}]}]}`), cairn.Text("CD"),
				own(cairn.PartOpaque, "", `{"content":[{"type":"reference","reference_ids":[1]}]}`), cairn.Text("E"),
			},
			cairn.StopEnd,
		},
		"a refusal": {
			[]string{delta(`{"refusal":"I "}`), delta(`{"refusal":"cannot."}`), finish("stop")},
			[]cairn.Part{own(cairn.PartText, "I cannot.", `{"refusal":"I cannot."}`)},
			cairn.StopRefusal,
		},
		"an image": {
			[]string{delta(`{"images":[{"type":"image_url","image_url":{"url":"data:image/png;base64,UE5H"}}]}`), finish("stop")},
			[]cairn.Part{{
				Kind: cairn.PartImage, MediaType: "image/png", Data: []byte("PNG"), Provider: "p",
				Opaque: json.RawMessage(`{"images":[{"type":"image_url","image_url":{"url":"data:image/png;base64,UE5H"}}]}`),
			}},
			cairn.StopEnd,
		},
		"spoken": {
			[]string{delta(`{"audio":{"id":"a1","transcript":"He"}}`), delta(`{"audio":{"transcript":"y","data":"QQ=="}}`), delta(`{"audio":{"expires_at":9}}`), finish("stop")},
			[]cairn.Part{own(cairn.PartText, "Hey", `{"audio":{"id":"a1","transcript":"Hey","data":"QQ==","expires_at":9}}`)},
			cairn.StopEnd,
		},
		"members nobody knows": {
			[]string{
				delta(`{"content":"A","glow":{"a":1},"tags":["x"],"label":"l","channel":"final"}`), delta(`{"glow":{"b":2},"tags":["y"],"label":"m","odd":null}`),
				`{"choices":[{"index":1,"delta":{"content":"another choice"}}]}`, finish("stop"),
			},
			[]cairn.Part{cairn.Text("A"), own(cairn.PartOpaque, "", `{"glow":{"a":1,"b":2},"tags":["x","y"],"label":"m"}`)},
			cairn.StopEnd,
		},
		"annotations": {
			[]string{delta(`{"content":"A"}`), delta(`{"annotations":[{"type":"url_citation"}]}`), finish("length")},
			[]cairn.Part{own(cairn.PartText, "A", `{"content":"A","annotations":[{"type":"url_citation"}]}`)},
			cairn.StopMaxOutput,
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a, err := play(t, openai.NewChatStream("p"), append(test.data, "[DONE]")...)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, a.Content); diff != "" {
				t.Error(diff)
			}
			if a.Stop != test.stop {
				t.Errorf("stopped for %q, want %q", a.Stop, test.stop)
			}
		})
	}
}

func TestChatEnds(t *testing.T) {
	t.Parallel()
	const used = `{"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":2,"total_tokens":5}}`
	both := strings.TrimSuffix(finish("stop"), "}") + `,"x_groq":{"usage":{"prompt_tokens":3,"completion_tokens":2}}}`
	tests := map[string]struct {
		data []string
		code cairn.Code // empty: an answer
		used int64
	}{
		"mark":                       {[]string{delta(`{"content":"A"}`), finish("stop"), "[DONE]"}, "", 0},
		"no mark, usage after":       {[]string{delta(`{"content":"A"}`), finish("stop"), used}, "", 5},
		"no mark, usage with it":     {[]string{delta(`{"content":"A"}`), both}, "", 5},
		"nothing":                    {nil, cairn.CodeCut, 0},
		"mark only":                  {[]string{"[DONE]"}, cairn.CodeCut, 0},
		"no reason":                  {[]string{delta(`{"content":"A"}`), used, "[DONE]"}, cairn.CodeCut, 5},
		"no mark, no usage":          {[]string{delta(`{"content":"A"}`), finish("stop")}, cairn.CodeCut, 0},
		"no mark, usage before":      {[]string{used, finish("stop")}, cairn.CodeCut, 5},
		"malformed call":             {[]string{used, finish("function_call_filter: MALFORMED_FUNCTION_CALL"), "[DONE]"}, cairn.CodeCut, 5},
		"call without a name":        {[]string{delta(`{"tool_calls":[{"index":0,"id":"x","function":{"arguments":"{}"}}]}`), finish("tool_calls"), "[DONE]"}, cairn.CodeCut, 0},
		"error as reason":            {[]string{delta(`{"content":"A"}`), finish("error"), "[DONE]"}, cairn.CodeUnavailable, 0},
		"overloaded":                 {[]string{finish("insufficient_system_resource"), "[DONE]"}, cairn.CodeOverloaded, 0},
		"filtered before it began":   {[]string{used, finish("content_filter"), "[DONE]"}, cairn.CodeRefused, 5},
		"filtered later":             {[]string{delta(`{"content":"A"}`), finish("content_filter"), "[DONE]"}, "", 0},
		"error in the choice":        {[]string{used, `{"choices":[{"index":0,"delta":{},"error":{"code":502,"message":"upstream"}}]}`}, cairn.CodeUnavailable, 5},
		"a call that does not fit":   {[]string{used, `{"error":{"code":"tool_use_failed","type":"invalid_request_error","failed_generation":"<"}}`}, cairn.CodeCut, 5},
		"not JSON":                   {[]string{used, `{`}, cairn.CodeCut, 5},
		"types that are not the doc": {[]string{`{"id":7,"created":1.5,"choices":[{"index":"0","delta":{"content":"A"},"finish_reason":"stop"}],"usage":"none"}`, "[DONE]"}, "", 0},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a, err := play(t, openai.NewChatStream("p"), test.data...)
			if test.code == "" {
				if err != nil {
					t.Fatal(err)
				}
				equal(t, test.used, a.Usage.Total())
				return
			}
			f, ok := errors.AsType[*model.Failure](err)
			if !ok || f.Err.Code != test.code || f.Err.NotDone {
				t.Fatalf("got %+v, %v, want %s", a, err, test.code)
			}
			if got := f.Usage; got == nil && test.used != 0 || got != nil && got.Total() != test.used {
				t.Errorf("the failure used %+v, want %d", got, test.used)
			}
		})
	}
}

// Cut anywhere, a stream gives a failure or the whole answer.
func TestCut(t *testing.T) {
	t.Parallel()
	for api, streams := range map[string]map[string][]string{"chat": chatStreams(), "responses": responsesStreams()} {
		for name, data := range streams {
			begin := func() stream {
				if api == "chat" {
					return openai.NewChatStream("p")
				}
				return openai.NewResponsesStream("p")
			}
			whole, _ := play(t, begin(), data...) // nil: it never is one
			sse := ""
			for _, d := range data {
				sse += "data: " + d + "\n\n"
			}
			for n := range len(sse) {
				var got []string
				for e, err := range wire.Events(strings.NewReader(sse[:n])) {
					if err != nil {
						t.Fatal(err)
					}
					got = append(got, string(e.Data))
				}
				a, err := play(t, begin(), got...)
				if err == nil && !cmp.Equal(a, whole) {
					t.Fatalf("%s %s, cut at %d: %s", api, name, n, cmp.Diff(whole, a))
				}
			}
		}
	}
}

// What came goes back as it came.
func TestChatRoundTrip(t *testing.T) {
	t.Parallel()
	for _, message := range []string{
		`{"role":"assistant","content":"plain"}`,
		`{"role":"assistant","content":"esc\u0061ped \/ <&>","reasoning":"r","reasoning_details":[{"type":"reasoning.text","text":"r","signature":"s"},{"type":"new","x":[1.0,2e3]}]}`,
		`{"role":"assistant","content":"A","reasoning_content":"B","tool_calls":[{"index":0,"function":{"arguments":"{\"a\": 1}","name":"one"},"id":"x"},{"id":"y","type":"function","function":{"name":"two","arguments":"{}"}}]}`,
		`{"role":"assistant","content":null,"tool_calls":[{"id":"x","type":"custom","custom":{"name":"sql","input":"{}"}}]}`,
		`{"role":"assistant","content":[{"type":"thinking","closed":true,"thinking":[{"type":"text","text":"A"}]},{"type":"text","text":"B"},{"type":"tool_reference","id":7}]}`,
		`{"role":"assistant","content":"A","extra_content":{"google":{"thought_signature":"s"}},"annotations":[{"type":"file","file":{"hash":"h"}}]}`,
		`{"role":"assistant","content":"","images":[{"type":"image_url","index":0,"image_url":{"url":"data:image/png;base64,UE5H"}},{"type":"image_url","image_url":{"url":"https://example.com/a.png"}}]}`,
		`{"role":"assistant","content":"","refusal":"no"}`,
	} {
		a, err := openai.DecodeChat("p", []byte(`{"model":"m","choices":[{"index":0,"message":`+message+`,"finish_reason":"stop"}]}`))
		if err != nil {
			t.Fatal(err)
		}
		r := &cairn.ModelRequest{Model: "p/m", Messages: []cairn.Message{{Role: cairn.RoleAssistant, Content: a.Content}}}
		body, err := openai.EncodeChat(openai.Dialect{Provider: "p"}, r)
		if err != nil {
			t.Fatal(err)
		}
		var q openai.ChatRequest
		if err := json.Unmarshal(body, &q); err != nil {
			t.Fatal(err)
		}
		got, want := members(t, q.Messages[0]), members(t, json.RawMessage(message))
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s\n%s", message, diff)
		}
	}
}

// members are the members of an object as they are written, by name.
func members(t *testing.T, v any) []string {
	t.Helper()
	b, err := wire.Encode(v)
	if err != nil {
		t.Fatal(err)
	}
	var o openai.Object
	if err := json.Unmarshal(b, &o); err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, m := range o {
		all = append(all, m.Name+"="+string(m.Value))
	}
	slices.Sort(all)
	return all
}
