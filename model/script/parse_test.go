package script

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cairn-run/cairn"
)

// everything uses every field there is.
const everything = `# a comment
model: desk-1
window: 200000
max_output: 8192
rates: {input: $2.50, output: $10, cache_read: "$0.25", cache_write_5m: $3, cache_write_1h: $5}
unpriced: true
delay: 20ms
stream: {chunk: 16, every: 5ms}
replies:
  - reasoning: |
      Two
      lines.
    opaque: [{provider: other, data: {signature: abc}}, {data: [1, null]}]
    text: Let me look.
    calls:
      - {tool: find, id: call_7, args: {number: "1042", n: 7, big: 12345678901234567890123, exp: 1e3, f: 1.10, list: [true, ~], "a b": {}}}
      - {tool: find, args: '{"broken": '}
      - tool: list
    stop: tool_use
    usage: {input: 1, cache_read: 2, cache_write_5m: 3, cache_write_1h: 4, output: 5, reasoning: 1}
    raw_usage: {prompt_tokens: 10}
    delay: 1s
    stream: {chunk: 4}
    fail:
      - {code: overloaded, message: busy, retry_after: 1s, times: 2, retryable: false, not_done: false}
      - {after_bytes: 10, hang: 1m, usage: {output: 2}}
  - text: "{{user}} {{ result.find.a.0 }}"
    verbatim: false
cases:
  - when:
      turn: 0
      no_tools: true
      system: {contains: Be}
      task: {equals: x}
      user: {glob: "a*"}
      result: {tool: refund*, is_error: true, contains: b}
    text: I have stopped.
default: {text: "Nothing {{ more", verbatim: true}
`

func ptr[T any](v T) *T { return &v }

func TestParse(t *testing.T) {
	t.Parallel()
	want := &Script{
		Model: "desk-1", Window: 200000, MaxOutput: 8192, Unpriced: true,
		Rates: cairn.Rates{
			Input: 2_500_000_000, Output: 10 * cairn.Dollar, CacheRead: 250_000_000,
			CacheWrite5m: 3 * cairn.Dollar, CacheWrite1h: 5 * cairn.Dollar,
		},
		Delay:  cairn.Duration(20 * time.Millisecond),
		Stream: Stream{Chunk: 16, Every: cairn.Duration(5 * time.Millisecond)},
		Replies: []Reply{
			{
				Reasoning: "Two\nlines.\n",
				Opaque:    []Opaque{{"other", json.RawMessage(`{"signature":"abc"}`)}, {"", json.RawMessage(`[1,null]`)}},
				Text:      "Let me look.",
				Calls: []Call{
					{"call_7", "find", map[string]any{
						"number": "1042", "n": json.Number("7"), "big": json.Number("12345678901234567890123"),
						"exp": json.Number("1e3"), "f": json.Number("1.10"), "list": []any{true, nil}, "a b": map[string]any{},
					}},
					{"", "find", `{"broken": `},
					{"", "list", nil},
				},
				Stop:     cairn.StopToolUse,
				Usage:    &cairn.Usage{Input: 1, CacheRead: 2, CacheWrite5m: 3, CacheWrite1h: 4, Output: 5, Reasoning: 1},
				RawUsage: json.RawMessage(`{"prompt_tokens":10}`),
				Delay:    ptr(cairn.Duration(time.Second)),
				Stream:   &Stream{Chunk: 4},
				Fail: []Fail{
					{
						Code: cairn.CodeOverloaded, Message: "busy", RetryAfter: cairn.Duration(time.Second), Times: 2,
						Retryable: ptr(false), NotDone: ptr(false),
					},
					{AfterBytes: 10, Hang: cairn.Duration(time.Minute), Usage: &cairn.Usage{Output: 2}},
				},
			},
			{Text: "{{user}} {{ result.find.a.0 }}"},
		},
		Cases: []Case{{
			When: When{
				Turn: ptr(0), NoTools: ptr(true), System: &Text{Contains: "Be"}, Task: &Text{Equals: "x"},
				User: &Text{Glob: "a*"}, Result: &Result{Tool: "refund*", IsError: ptr(true), Text: Text{Contains: "b"}},
			},
			Reply: Reply{Text: "I have stopped."},
		}},
		Default: &Reply{Text: "Nothing {{ more", Verbatim: true},
	}
	got, err := Parse("desk.yaml", []byte(everything))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestParseJSON(t *testing.T) {
	t.Parallel()
	want := &Script{
		Rates:   cairn.Rates{Input: cairn.Dollar},
		Replies: []Reply{{Text: "é\n\"x\"", Calls: []Call{{Tool: "t", Args: map[string]any{"a": json.Number("-1.5e+10"), "b": "1", "c": "{{"}}}, Verbatim: true}},
	}
	for name, text := range map[string]string{
		"tabs":    "{\n\t\"rates\": {\"input\": \"$1\"},\n\t\"replies\": [\n\t\t{\"text\": \"\\u00e9\\n\\\"x\\\"\", \"calls\": [{\"tool\":\"t\",\"args\":{\"a\":-1.5e+10,\"b\":\"1\",\"c\":\"{{\"}}], \"verbatim\":true}\n\t]\n}\n",
		"compact": `{"rates":{"input":"$1"},"replies":[{"text":"\u00e9\n\"x\"","calls":[{"tool":"t","args":{"a":-1.5e+10,"b":"1","c":"{{"}}],"verbatim":true}]}`,
		"bom":     "\ufeff" + `{"rates":{"input":"$1"},"replies":[{"text":"\u00e9\n\"x\"","calls":[{"tool":"t","args":{"a":-1.5e+10,"b":"1","c":"{{"}}],"verbatim":true}]}`,
	} {
		got, err := Parse("x.json", []byte(text))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func TestParseMistakes(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"":                                       "x.yaml: the file is empty: give replies, cases, a default or a recording",
		"# nothing\n":                            "x.yaml: the file is empty: give replies, cases, a default or a recording",
		"model: x":                               "x.yaml: replies: the script says nothing: give replies, cases, a default or a recording",
		"5":                                      "x.yaml:1:1: expected a mapping (name: value), found a number",
		"- a":                                    "x.yaml:1:1: expected a mapping (name: value), found a list",
		"replies: 5":                             "x.yaml:1:10: expected a list, found a number",
		"replies:\n":                             `x.yaml:1:1: field "replies" is empty: give it a value, or leave it out`,
		"replies:\n- text: 5":                    "x.yaml:2:9: expected text, found a number: put it in quotes",
		"replies:\n- text: yes!":                 "",
		"replies:\n- txt: x":                     `x.yaml:2:3: unknown field "txt"; there is: text, reasoning, opaque, calls, stop, usage, raw_usage, delay, stream, fail, verbatim`,
		"replies:\n- text: a\n  when: {turn: 1}": `x.yaml:3:3: unknown field "when"; there is: text, reasoning, opaque, calls, stop, usage, raw_usage, delay, stream, fail, verbatim`,
		"replies:\n- {}":                         "x.yaml:2:3: replies[0]: an empty reply: give text, reasoning, opaque, calls, stop or fail",
		"replies:\n- text: a\n- text: ''":        "x.yaml:3:3: replies[1]: an empty reply: give text, reasoning, opaque, calls, stop or fail",
		"replies:\n- text: a\n  stop: later":     `x.yaml:3:3: replies[0].stop: "later" is no reason: use end, tool_use, max_output, refusal or stop_sequence`,
		"replies:\n- text: a\n  delay: soon":     `x.yaml:3:10: duration "soon": write it like 30s, 5m or 2h`,
		"replies:\n- text: a\n  delay: 5":        "x.yaml:3:10: expected a duration like 30s, 5m or 2h",
		"rates: {input: 5}":                      "x.yaml:1:16: expected dollars per million tokens, like $2.50",
		"rates: {input: $5.x}":                   `x.yaml:1:16: money "$5.x": not an amount; write it like $1.25`,
		"window: 5.5":                            "x.yaml:1:9: expected a whole number from 0 to 2147483647",
		"window: -1":                             "x.yaml:1:9: expected a whole number from 0 to 2147483647",
		"window: 99999999999999999999":           "x.yaml:1:9: expected a whole number from 0 to 2147483647",
		"unpriced: maybe":                        "x.yaml:1:11: expected true or false, found text",
		"window: 1\nwindow: 2":                   `x.yaml:2:1: not YAML: mapping key "window" already defined at [1:1]`,
		"replies:\n\t- text: a":                  "x.yaml:2:1: not YAML: found character '\t' that cannot start any token",
		"---\nreplies: [{text: a}]\n---\nreplies: [{text: b}]":    "x.yaml:3:1: a second document: a file holds one script",
		"replies: [{text: &x a}, {text: *x}]":                     "x.yaml:1:18: expected text, found an anchor: put it in quotes",
		"replies: [{calls: [{tool: t, args: {a: *x}}]}]":          "x.yaml:1:40: an alias cannot be used here: write the value out, or put text in quotes",
		"replies: [{calls: [{tool: t, args: {a: !!str x}}]}]":     "x.yaml:1:40: a tag cannot be used here: write the value out, or put text in quotes",
		"replies: [{calls: [{tool: t, args: {a: .nan}}]}]":        "x.yaml:1:40: JSON has no such number",
		"replies: [{calls: [{tool: t, args: [1]}]}]":              "x.yaml:1:36: expected a mapping, or text that is sent as it is, found a list",
		"replies:\n- calls:\n  - args: {}":                        "x.yaml:3:5: replies[0].calls[0].tool: missing",
		"replies:\n- calls:\n  - tool: t\n    args: {a: '{{x}}'}": "x.yaml:4:5: replies[0].calls[0].args: template {{x}} names nothing: use {{result.TOOL.field}}, {{user}}, {{task}} or {{turn}}",
		"replies:\n- text: '{{user'":                              "x.yaml:2:3: replies[0].text: a template is not closed: write }} after {{user",
		"replies:\n- text: a\n  fail:\n  - {}":                    "x.yaml:4:5: replies[0].fail[0].code: missing",
		"replies:\n- text: a\n  fail:\n  - {code: lost}":          `x.yaml:4:6: replies[0].fail[0].code: "lost" is not what a model call fails with: use rate_limited, overloaded, unavailable, cut_stream, timeout, auth, invalid, not_found, context_overflow, refused, denied or internal`,
		"replies:\n- text: a\n  usage: {output: 1, reasoning: 2}": "x.yaml:3:3: replies[0].usage: a negative number, or more reasoning than output",
		"cases:\n- when: {user: {}}\n  text: a":                   "x.yaml:2:10: cases[0].when.user: empty: give equals, contains or glob",
		"cases:\n- when: {result: {}}\n  text: a":                 "x.yaml:2:10: cases[0].when.result: empty: give tool, is_error, equals, contains or glob",
		"default: {opaque: [{provider: x}]}":                      "x.yaml:1:20: default.opaque[0].data: not JSON",
		"replies:\n- text: \xff":                                  "x.yaml: not UTF-8",
		"a: " + strings.Repeat("[", 1000):                         "x.yaml:1:124: nested more than 120 deep",
		"a:\n" + strings.Repeat("- ", 1000):                       "x.yaml:2:241: nested more than 120 deep",

		"default: {calls: [{tool: t, args: {a: " + strings.Repeat("[", 102) + strings.Repeat("]", 102) + "}}]}": "x.yaml:1:29: default.calls[0].args: nested too deep",
	} {
		_, err := Parse("x.yaml", []byte(text))
		got := ""
		if err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%.60q\n got: %s\nwant: %s", text, got, want)
		}
	}
	if _, err := Parse("x.yaml", make([]byte, MaxFile+1)); err == nil {
		t.Error("a file over the limit was read")
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(everything))
	f.Add([]byte(`{"replies":[{"text":"a","calls":[{"tool":"t","args":{"a":[1.5e3,"{{result.t.x}}"]}}]}]}`))
	f.Add([]byte("replies:\n- text: >-\n    folded\n    text\n- {fail: [{code: auth}]}\n"))
	f.Add([]byte("cases: [{when: {turn: 0x10}, text: '{{ user }}'}]\n---\n"))
	f.Add([]byte("recording:\n  models: [{name: a/b, prices: '[]'}]\n  calls:\n  - {model: a/b, call: 1, attempt: 1, request: {turn: 0, " +
		"setup: '01234567890123456789012345678901', messages: '01234567890123456789012345678901'}, answer: {stop: end, content: " +
		"[{kind: tool_call, tool: t, args: '{', opaque: '{}'}], raw_usage: '{}', beside: [x]}}\n"))
	f.Add([]byte("a: &a [*a]\n? b\n: !!set {<<: *a}\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 1<<16 {
			return
		}
		s, err := Parse("fuzz.yaml", data)
		if err != nil {
			if !strings.HasPrefix(err.Error(), "fuzz.yaml:") {
				t.Fatalf("the error does not begin with the file: %v", err)
			}
			return
		}
		if err := s.Validate(); err != nil {
			t.Fatalf("parsed, but not valid: %v", err)
		}
		// Whatever was accepted can be asked, and gives the same each time.
		r := &cairn.ModelRequest{Model: "script/fuzz", Messages: []cairn.Message{{Role: cairn.RoleUser, Content: []cairn.Part{cairn.Text("hi")}}}}
		for attempt := 1; attempt < 3; attempt++ {
			p, failed := s.plan("fuzz", "", r, attempt)
			q, failedAgain := s.plan("fuzz", "", r, attempt)
			if diff := cmp.Diff(p, q, cmp.AllowUnexported(plan{})); diff != "" {
				t.Fatal(diff)
			}
			if (failed == nil) != (failedAgain == nil) || (failed != nil && failed.Error() != failedAgain.Error()) {
				t.Fatalf("%v, then %v", failed, failedAgain)
			}
			if p != nil && p.answer != nil {
				if _, err := json.Marshal(p.answer); err != nil {
					t.Fatal(err)
				}
			}
		}
	})
}
