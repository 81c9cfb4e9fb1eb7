package anthropic

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/model"
)

const (
	begin    = `{"type":"message_start","message":{"id":"msg_1","type":"message","role":"assistant","model":"claude-x","content":[],"stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":17,"cache_creation":{"ephemeral_5m_input_tokens":0,"ephemeral_1h_input_tokens":0},"output_tokens":1,"service_tier":"standard"}}}`
	endTurn  = `{"type":"message_delta","delta":{"stop_reason":"end_turn","stop_sequence":null},"usage":{"output_tokens":9}}`
	toolTurn = `{"type":"message_delta","delta":{"stop_reason":"tool_use","stop_sequence":null},"usage":{"output_tokens":9}}`
	end      = `{"type":"message_stop"}`
)

// textBlock are the events of a block of text.
func textBlock(i string, pieces ...string) []string {
	out := []string{`{"type":"content_block_start","index":` + i + `,"content_block":{"type":"text","text":""}}`}
	for _, p := range pieces {
		out = append(out, `{"type":"content_block_delta","index":`+i+`,"delta":{"type":"text_delta","text":"`+p+`"}}`)
	}
	return append(out, `{"type":"content_block_stop","index":`+i+`}`)
}

// told is what came of a stream.
type told struct {
	Said   []cairn.Delta
	Answer *cairn.ModelAnswer
	Code   cairn.Code
	Retry  bool
	Used   *cairn.Usage
	Raw    string
}

func tell(events ...string) told {
	var out told
	s := NewStream("anthropic")
	fail := func(err error) told {
		f, ok := errors.AsType[*model.Failure](err)
		if !ok {
			panic(err)
		}
		out.Code, out.Retry, out.Used, out.Raw = f.Err.Code, f.Err.Retryable, f.Usage, string(f.RawUsage)
		return out
	}
	for _, e := range events {
		deltas, err := s.Add([]byte(e))
		out.Said = append(out.Said, deltas...)
		if err != nil {
			return fail(err)
		}
	}
	a, err := s.Done()
	if err != nil {
		return fail(err)
	}
	out.Answer = a
	return out
}

func events(groups ...any) []string {
	var out []string
	for _, g := range groups {
		switch g := g.(type) {
		case string:
			out = append(out, g)
		case []string:
			out = append(out, g...)
		}
	}
	return out
}

func TestStreamText(t *testing.T) {
	t.Parallel()
	got := tell(events(begin, `{"type":"ping"}`, textBlock("0", "Hel", "", "lo"), `{"type":"news","index":7}`, textBlock("1", "!"), endTurn, end)...)
	raw := `{"input_tokens":17,"cache_creation":{"ephemeral_5m_input_tokens":0,"ephemeral_1h_input_tokens":0},"output_tokens":9,"service_tier":"standard"}`
	want := told{
		Said: []cairn.Delta{
			{Kind: cairn.PartText, Text: "Hel"}, {Kind: cairn.PartText, Text: "lo"}, {Kind: cairn.PartText, Index: 1, Text: "!"},
		},
		Answer: &cairn.ModelAnswer{
			Model: "claude-x", Content: []cairn.Part{cairn.Text("Hello"), cairn.Text("!")}, Stop: cairn.StopEnd, Finish: "end_turn",
			Usage: cairn.Usage{Input: 17, Output: 9}, RawUsage: json.RawMessage(raw),
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// TestStreamBlocks: a block is the one that an answer in one piece has.
func TestStreamBlocks(t *testing.T) {
	t.Parallel()
	delta := func(d string) string { return `{"type":"content_block_delta","index":0,"delta":` + d + `}` }
	start := func(b string) string { return `{"type":"content_block_start","index":0,"content_block":` + b + `}` }
	stop := `{"type":"content_block_stop","index":0}`
	tests := map[string]struct {
		events []string
		want   cairn.Part
		said   string
	}{
		"thinking": {
			[]string{start(`{"type":"thinking","thinking":"","signature":""}`), delta(`{"type":"thinking_delta","thinking":"Let me "}`), delta(`{"type":"thinking_delta","thinking":"see."}`), delta(`{"type":"signature_delta","signature":"c2ln"}`), stop},
			cairn.Part{Kind: cairn.PartReasoning, Text: "Let me see.", Provider: "anthropic", Opaque: json.RawMessage(`{"type":"thinking","thinking":"Let me see.","signature":"c2ln"}`)},
			"Let me see.",
		},
		"thinking, unsigned": {
			[]string{start(`{"type":"thinking","thinking":""}`), delta(`{"type":"thinking_delta","thinking":"Hm."}`), stop},
			cairn.Part{Kind: cairn.PartReasoning, Text: "Hm.", Provider: "anthropic"},
			"Hm.",
		},
		"thinking, hidden": {
			[]string{start(`{"type":"thinking","thinking":""}`), delta(`{"type":"signature_delta","signature":"c2ln"}`), stop},
			cairn.Part{Kind: cairn.PartReasoning, Provider: "anthropic", Opaque: json.RawMessage(`{"type":"thinking","thinking":"","signature":"c2ln"}`)},
			"",
		},
		"redacted": {
			[]string{start(`{"type":"redacted_thinking","data":"x=="}`), stop},
			cairn.Part{Kind: cairn.PartOpaque, Provider: "anthropic", Opaque: json.RawMessage(`{"type":"redacted_thinking","data":"x=="}`)},
			"",
		},
		"call": {
			[]string{start(`{"type":"tool_use","id":"toolu_1","name":"f","input":{}}`), delta(`{"type":"input_json_delta","partial_json":""}`), delta(`{"type":"input_json_delta","partial_json":"{\"a\": "}`), delta(`{"type":"input_json_delta","partial_json":"1}"}`), stop},
			cairn.Part{Kind: cairn.PartToolCall, CallID: "toolu_1", Tool: "f", Args: `{"a": 1}`},
			`{"a": 1}`,
		},
		"call with a caller": {
			[]string{start(`{"type":"tool_use","id":"toolu_1","name":"f","input":{},"caller":{"type":"direct"}}`), delta(`{"type":"input_json_delta","partial_json":"{\"a\": 1}"}`), stop},
			cairn.Part{Kind: cairn.PartToolCall, CallID: "toolu_1", Tool: "f", Args: `{"a": 1}`, Provider: "anthropic", Opaque: json.RawMessage(`{"type":"tool_use","id":"toolu_1","name":"f","input":{"a":1},"caller":{"type":"direct"}}`)},
			`{"a": 1}`,
		},
		"call without arguments": {
			[]string{start(`{"type":"tool_use","id":"toolu_1","name":"f","input":{}}`), delta(`{"type":"input_json_delta","partial_json":""}`), stop},
			cairn.Part{Kind: cairn.PartToolCall, CallID: "toolu_1", Tool: "f", Args: `{}`},
			`{}`,
		},
		"call with arguments at once": {
			[]string{start(`{"type":"tool_use","id":"toolu_1","name":"f","input":{"a":1}}`), stop},
			cairn.Part{Kind: cairn.PartToolCall, CallID: "toolu_1", Tool: "f", Args: `{"a":1}`},
			`{"a":1}`,
		},
		"call that is not stopped": {
			[]string{start(`{"type":"tool_use","id":"toolu_1","name":"f","input":{}}`)},
			cairn.Part{Kind: cairn.PartToolCall, CallID: "toolu_1", Tool: "f", Args: `{}`},
			`{}`,
		},
		"call that is broken": {
			[]string{start(`{"type":"tool_use","id":"toolu_1","name":"f","input":{}}`), delta(`{"type":"input_json_delta","partial_json":"{\"a\": "}`), stop},
			cairn.Part{Kind: cairn.PartToolCall, CallID: "toolu_1", Tool: "f", Args: `{"a": `},
			`{"a": `,
		},
		"citations": {
			[]string{start(`{"citations":[],"type":"text","text":""}`), delta(`{"type":"text_delta","text":"So."}`), delta(`{"type":"citations_delta","citation":{"type":"char_location","cited_text":"<x>"}}`), delta(`{"type":"citations_delta","citation":{"n":2}}`), stop},
			cairn.Part{Kind: cairn.PartText, Text: "So.", Provider: "anthropic", Opaque: json.RawMessage(`{"citations":[{"type":"char_location","cited_text":"<x>"},{"n":2}],"type":"text","text":"So."}`)},
			"So.",
		},
		"text at once": {
			[]string{start(`{"type":"text","text":"A"}`), delta(`{"type":"text_delta","text":"B"}`), stop},
			cairn.Text("AB"),
			"AB",
		},
		"the provider's own tool": {
			[]string{start(`{"type":"server_tool_use","id":"srvtoolu_1","name":"web_search","input":{}}`), delta(`{"type":"input_json_delta","partial_json":"{\"query\": \"x\"}"}`), stop},
			cairn.Part{Kind: cairn.PartOpaque, Provider: "anthropic", Opaque: json.RawMessage(`{"type":"server_tool_use","id":"srvtoolu_1","name":"web_search","input":{"query":"x"}}`)},
			"",
		},
		"compaction": {
			[]string{start(`{"type":"compaction","content":null}`), delta(`{"type":"compaction_delta","content":"Sum","encrypted_content":"e"}`), stop},
			cairn.Part{Kind: cairn.PartOpaque, Provider: "anthropic", Opaque: json.RawMessage(`{"type":"compaction","content":"Sum","encrypted_content":"e"}`)},
			"",
		},
		"a block of tomorrow": {
			[]string{start(`{"type":"dance","steps":"a","n":1}`), delta(`{"type":"dance_delta","steps":"b","n":2,"x":null}`), delta(`{"type":"dance_delta","steps":"c"}`), stop},
			cairn.Part{Kind: cairn.PartOpaque, Provider: "anthropic", Opaque: json.RawMessage(`{"type":"dance","steps":"abc","n":2}`)},
			"",
		},
		"no object": {
			[]string{start(`"hello"`), stop},
			cairn.Part{Kind: cairn.PartOpaque, Provider: "anthropic", Opaque: json.RawMessage(`"hello"`)},
			"",
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := tell(events(begin, test.events, toolTurn, end)...)
			if got.Answer == nil {
				t.Fatalf("no answer: %s", got.Code)
			}
			if diff := cmp.Diff([]cairn.Part{test.want}, got.Answer.Content); diff != "" {
				t.Error(diff)
			}
			said := ""
			for _, d := range got.Said {
				said += d.Text
				if d.Kind != test.want.Kind || d.CallID != test.want.CallID || d.Tool != test.want.Tool {
					t.Errorf("a delta of %s %s %s", d.Kind, d.CallID, d.Tool)
				}
			}
			if said != test.said {
				t.Errorf("said %q, want %q", said, test.said)
			}
		})
	}
}

func TestStreamEnds(t *testing.T) {
	t.Parallel()
	text := textBlock("0", "Hi")
	early := &cairn.Usage{Input: 17, Output: 1}
	late := &cairn.Usage{Input: 17, Output: 9}
	tests := map[string]struct {
		events []string
		code   cairn.Code
		used   *cairn.Usage
	}{
		"nothing":                 {nil, cairn.CodeCut, nil},
		"only the start":          {events(begin), cairn.CodeCut, early},
		"in a block":              {events(begin, text[:2]), cairn.CodeCut, nil},
		"after a block":           {events(begin, text), cairn.CodeCut, nil},
		"before the stop":         {events(begin, text, endTurn), cairn.CodeCut, late},
		"no reason":               {events(begin, text, end), cairn.CodeCut, nil},
		"overloaded":              {events(begin, `{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}`), cairn.CodeOverloaded, early},
		"overloaded, in the text": {events(begin, text[:2], `{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}`), cairn.CodeOverloaded, nil},
		"error without a type":    {events(`{"error":{"message":"prompt is too long: 2 > 1"}}`), cairn.CodeOverflow, nil},
		"no start":                {text, cairn.CodeCut, nil},
		"stop alone":              {events(end), cairn.CodeCut, nil},
		"no JSON":                 {events(begin, `{"type":"content_`), cairn.CodeCut, early},
		"[DONE]":                  {events(begin, `[DONE]`), cairn.CodeCut, early},
		"gap":                     {events(begin, textBlock("1", "Hi"), endTurn, end), cairn.CodeCut, early},
		"twice the same block":    {events(begin, text, text, endTurn, end), cairn.CodeCut, nil},
		"delta for nobody":        {events(begin, text[1:]), cairn.CodeCut, early},
		"delta after the stop":    {events(begin, text, text[1:], endTurn, end), cairn.CodeCut, nil},
		"negative":                {events(begin, textBlock("-1", "Hi")), cairn.CodeCut, early},
		"start without a message": {events(`{"type":"message_start"}`), cairn.CodeCut, nil},
		"two messages":            {events(begin, text, begin, text, endTurn, end), cairn.CodeCut, nil},
		"refused": {
			events(begin, `{"type":"message_delta","delta":{"stop_reason":"refusal","stop_details":{"type":"refusal","category":"cyber","explanation":"No."}},"usage":{"output_tokens":9}}`, end),
			cairn.CodeRefused, late,
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := tell(test.events...)
			if got.Answer != nil || got.Code != test.code {
				t.Fatalf("%v and %q, want %q", got.Answer, got.Code, test.code)
			}
			if diff := cmp.Diff(test.used, got.Used); diff != "" {
				t.Errorf("raw %s\n%s", got.Raw, diff)
			}
			if (got.Raw != "") != strings.Contains(strings.Join(test.events, ""), `"usage"`) {
				t.Errorf("raw usage %q", got.Raw)
			}
			if retry := test.code != cairn.CodeRefused && test.code != cairn.CodeOverflow; got.Retry != retry {
				t.Errorf("retryable is %t", got.Retry)
			}
		})
	}
}

// TestStreamTotals: the totals at the end replace those of the start, and a null
// takes nothing back.
func TestStreamTotals(t *testing.T) {
	t.Parallel()
	got := tell(events(begin, textBlock("0", "Hi"),
		`{"type":"message_delta","delta":{"stop_reason":"end_turn","stop_details":null,"container":null},"usage":{"input_tokens":null,"output_tokens":9,"cache_read_input_tokens":4,"service_tier":null}}`, end)...)
	if got.Answer == nil {
		t.Fatal(got.Code)
	}
	if diff := cmp.Diff(cairn.Usage{Input: 17, CacheRead: 4, Output: 9}, got.Answer.Usage); diff != "" {
		t.Errorf("%s\n%s", got.Answer.RawUsage, diff)
	}
}

// TestStreamStart: a start that is said twice changes nothing; a message may be
// complete at its start.
func TestStreamStart(t *testing.T) {
	t.Parallel()
	once := tell(events(begin, textBlock("0", "Hi"), endTurn, end)...)
	twice := tell(events(begin, begin, textBlock("0", "Hi"), endTurn, end)...)
	if diff := cmp.Diff(once, twice); diff != "" {
		t.Error(diff)
	}
	after := tell(events(begin, textBlock("0", "Hi"), endTurn, end, begin, textBlock("0", "no"), "nonsense")...)
	if diff := cmp.Diff(once, after); diff != "" {
		t.Error(diff)
	}
	whole := tell(`{"type":"message_start","message":{"model":"m","content":[{"type":"text","text":"Hi"},{"type":"tool_use","id":"a","name":"f","input":{"x":1}}],"stop_reason":"tool_use","usage":{"input_tokens":1,"output_tokens":2}}}`, end)
	want := told{
		Said: []cairn.Delta{
			{Kind: cairn.PartText, Text: "Hi"}, {Kind: cairn.PartToolCall, Index: 1, Text: `{"x":1}`, CallID: "a", Tool: "f"},
		},
		Answer: &cairn.ModelAnswer{
			Model: "m", Content: []cairn.Part{cairn.Text("Hi"), {Kind: cairn.PartToolCall, CallID: "a", Tool: "f", Args: `{"x":1}`}},
			Stop: cairn.StopToolUse, Finish: "tool_use", Usage: cairn.Usage{Input: 1, Output: 2}, RawUsage: json.RawMessage(`{"input_tokens":1,"output_tokens":2}`),
		},
	}
	if diff := cmp.Diff(want, whole); diff != "" {
		t.Error(diff)
	}
	lone := tell(`{"type":"message_start","message":{"model":"m","content":"Hi","stop_reason":"end_turn"}}`, end)
	if diff := cmp.Diff([]cairn.Part{cairn.Text("Hi")}, lone.Answer.Content); diff != "" {
		t.Error(diff)
	}
	if lone.Answer.RawUsage != nil || lone.Answer.Usage != (cairn.Usage{}) {
		t.Errorf("usage %+v, %s of a provider that reported none", lone.Answer.Usage, lone.Answer.RawUsage)
	}
}

func TestStreamModel(t *testing.T) {
	t.Parallel()
	got := tell(events(begin, `{"type":"content_block_start","index":0,"content_block":{"type":"fallback","from":{"model":"claude-x"},"to":{"model":"claude-y"}}}`,
		`{"type":"content_block_stop","index":0}`, textBlock("1", "Hi"), endTurn, end)...)
	if got.Answer == nil || got.Answer.Model != "claude-y" {
		t.Errorf("%+v", got.Answer)
	}
}

func TestStops(t *testing.T) {
	t.Parallel()
	for word, want := range map[string]cairn.StopReason{
		"end_turn": cairn.StopEnd, "max_tokens": cairn.StopMaxOutput, "model_context_window_exceeded": cairn.StopMaxOutput,
		"stop_sequence": cairn.StopSequence, "tool_use": cairn.StopEnd, "pause_turn": cairn.StopPause, "compaction": cairn.StopPause,
		"refusal": cairn.StopRefusal, "something_new": cairn.StopEnd,
	} {
		a, err := DecodeResponse("p", []byte(`{"type":"message","model":"m","content":[{"type":"text","text":"x"}],"stop_reason":"`+word+`"}`))
		if err != nil {
			t.Fatal(err)
		}
		if a.Stop != want || a.Finish != word {
			t.Errorf("%s is %s %s", word, a.Stop, a.Finish)
		}
	}
}

func TestNotAMessage(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]cairn.Code{
		``: cairn.CodeCut, `null`: cairn.CodeCut, `5`: cairn.CodeCut, `[]`: cairn.CodeCut, `{}`: cairn.CodeCut, `<html>`: cairn.CodeCut,
		`{"type":"message","content":"x","stop_reason":"end_turn"}`:                   cairn.CodeCut,
		`{"type":"message","content":null,"stop_reason":"end_turn"}`:                  cairn.CodeCut,
		`{"type":"skill","content":[],"stop_reason":"end_turn"}`:                      cairn.CodeCut,
		`{"type":"message","content":[{"type":"text","text":"x"}]}`:                   cairn.CodeCut,
		`{"type":"message","content":[],"stop_reason":5}`:                             cairn.CodeCut,
		`{"type":"message","content":[],"stop_reason":"refusal"}`:                     cairn.CodeRefused,
		`{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}`: cairn.CodeOverloaded,
		`{"error":{"message":"no"}}`:                                                  cairn.CodeUnavailable,
		`{"type":"message","content":[{"type":"text","text":"x"}],"stop_reason":"end`: cairn.CodeCut,
	} {
		a, err := DecodeResponse("p", []byte(in))
		if a != nil || cairn.CodeOf(err) != want {
			t.Errorf("%s: %v and %v, want %s", in, a, err, want)
		}
		if f, ok := errors.AsType[*model.Failure](err); !ok || f.Err.NotDone {
			t.Errorf("%s: a %T", in, err)
		}
	}
}
