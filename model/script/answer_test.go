package script

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/cairn-run/cairn"
)

// chat makes a conversation from lines: "user: text", "assistant: text",
// "call tool" and "result tool: text", "error tool: text".
func chat(lines ...string) *cairn.ModelRequest {
	r := &cairn.ModelRequest{Model: "script/x", System: "Be brief.", Params: cairn.ModelParams{MaxOutput: 1000}}
	add := func(role cairn.Role, p cairn.Part) {
		if n := len(r.Messages); n > 0 && r.Messages[n-1].Role == role && role != cairn.RoleUser {
			r.Messages[n-1].Content = append(r.Messages[n-1].Content, p)
			return
		}
		r.Messages = append(r.Messages, cairn.Message{Role: role, Content: []cairn.Part{p}})
	}
	for _, line := range lines {
		head, text, _ := strings.Cut(line, ": ")
		word, tool, _ := strings.Cut(head, " ")
		switch word {
		case "user":
			add(cairn.RoleUser, cairn.Text(text))
		case "assistant":
			add(cairn.RoleAssistant, cairn.Text(text))
		case "call":
			add(cairn.RoleAssistant, cairn.Part{Kind: cairn.PartToolCall, CallID: "id_" + tool, Tool: tool, Args: "{}"})
		case "result", "error":
			add(cairn.RoleTool, cairn.Part{Kind: cairn.PartToolResult, CallID: "id_" + tool, Text: text, IsError: word == "error"})
		default:
			panic(line)
		}
	}
	return r
}

func parse(t testing.TB, text string) *Script {
	t.Helper()
	s, err := Parse("test.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// say is what a script answers, in one line.
func say(s *Script, r *cairn.ModelRequest, attempt int) string {
	p, failed := s.plan("x", "", r, attempt)
	if failed != nil {
		return "! " + failed.Error()
	}
	if p.fail != nil {
		f := p.fail.failure()
		return fmt.Sprintf("! %v retryable=%t not_done=%t after=%s usage=%v", f.Err, f.Err.Retryable, f.Err.NotDone, f.Err.RetryAfter, f.Usage)
	}
	var out []string
	for _, part := range p.answer.Content {
		switch part.Kind {
		case cairn.PartToolCall:
			out = append(out, fmt.Sprintf("%s=%s%s", part.CallID, part.Tool, part.Args))
		case cairn.PartOpaque:
			out = append(out, fmt.Sprintf("%s:%s", part.Provider, part.Opaque))
		case cairn.PartReasoning:
			out = append(out, fmt.Sprintf("(%s)", part.Text))
		default:
			out = append(out, part.Text)
		}
	}
	return strings.Join(append(out, "<"+string(p.answer.Stop)+">"), " ")
}

func TestChoose(t *testing.T) {
	t.Parallel()
	s := parse(t, `
replies:
  - text: first
  - text: second
cases:
  - {when: {turn: 1, user: {contains: stop}}, text: stopped}
  - {when: {result: {tool: refund*, is_error: true}}, text: failed}
  - {when: {result: {tool: charge, glob: "*\"paid\":true*"}}, text: paid}
  - {when: {no_tools: true}, text: reflected}
  - {when: {task: {equals: odd}, system: {contains: brief}}, text: odd}
default: {text: nothing}
`)
	reflect := chat("user: look")
	reflect.Params.NoTools = true
	for want, r := range map[string]*cairn.ModelRequest{
		"first <end>":     chat("user: hello"),
		"second <end>":    chat("user: hello", "assistant: hi", "user: go on"),
		"nothing <end>":   chat("user: hello", "assistant: hi", "user: go on", "assistant: yes", "user: stop"),
		"stopped <end>":   chat("user: hello", "call a", "result a: 1", "user: please stop", "user: now"),
		"failed <end>":    chat("user: hello", "call a", "call refund_it", "result a: 1", "error refund_it: no"),
		"paid <end>":      chat("user: hello", "call charge", "result charge: {\"paid\":true}"),
		"reflected <end>": reflect,
		"odd <end>":       chat("user: odd"),
	} {
		if got := say(s, r, 1); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	// What was at the end of an earlier request is not at the end of this one.
	old := chat("user: stop", "call refund", "error refund: no", "assistant: a", "user: x")
	if got := say(s, old, 1); got != "nothing <end>" {
		t.Errorf("got %q", got)
	}
}

func TestMissing(t *testing.T) {
	t.Parallel()
	s := parse(t, "replies: [{text: a}]")
	got := say(s, chat("user: a", "assistant: a", "user: b"), 1)
	want := `! invalid: script "x" has no replies[1] (the request holds 1 assistant messages), no case that fits and no default: add one`
	if got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestTemplates(t *testing.T) {
	t.Parallel()
	r := chat(
		"user: the task", "call find", "call find", "result find: {\"id\":\"old\"}", "result find: {\"id\":1042,\"big\":12345678901234567890,\"lines\":[{\"sku\":\"a<b\"}],\"none\":null}",
		"call find", "error find: {\"id\":\"not this\"}", "call note", "call a.b", "result note: plain", "result a.b: {\"c.d\":{\"c\":1}}", "user: the last",
	)
	for text, want := range map[string]string{
		"no template }} {":                          "no template }} {",
		"{{user}}/{{ task }}/{{turn}}":              "the last/the task/3",
		"{{result.find.id}}":                        "1042",
		"#{{result.find.big}}.":                     "#12345678901234567890.",
		"{{result.find.lines.0.sku}}":               "a<b",
		"{{result.find.lines}}":                     `[{"sku":"a<b"}]`,
		"{{result.find.none}}":                      "null",
		"{{result.note}}":                           "plain",
		"{{result.a.b.c.d}}":                        `! invalid: script "x", turn 3: {{result.a.b.c.d}}: the result has no "c"`,
		"{{result.a.b}}":                            `{"c.d":{"c":1}}`,
		"{{result.find.nope}}":                      `! invalid: script "x", turn 3: {{result.find.nope}}: the result has no "nope"`,
		"{{result.find.lines.7}}":                   `! invalid: script "x", turn 3: {{result.find.lines.7}}: the result has no "lines.7"`,
		"{{result.find.id.x}}":                      `! invalid: script "x", turn 3: {{result.find.id.x}}: the result has no "id.x"`,
		"{{result.other.id}}":                       `! invalid: script "x", turn 3: {{result.other.id}}: the request holds no such result`,
		"{{result.note.field}}":                     `! invalid: script "x", turn 3: {{result.note.field}}: the request holds no such result`,
		"{{result.find.id}} and {{result.find.id}}": "1042 and 1042",
	} {
		s := &Script{Default: &Reply{Text: text}}
		if err := s.Validate(); err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if got := strings.TrimSuffix(say(s, r, 1), " <end>"); got != want {
			t.Errorf("%s\n got: %s\nwant: %s", text, got, want)
		}
	}
	s := parse(t, `
default:
  calls:
    - {tool: t, args: {id: "{{result.find.id}}", text: "n={{result.find.id}}", list: ["{{result.find.lines}}", "{{result.find.none}}"], "{{key}}": "<"}}
    - {tool: t, args: '{"raw": "{{result.find.id}}"}'}
`)
	want := `call_3_1=t{"id":1042,"list":[[{"sku":"a<b"}],null],"text":"n=1042","{{key}}":"<"} call_3_2=t{"raw": "{{result.find.id}}"} <tool_use>`
	if got := say(s, r, 1); got != want {
		t.Errorf("\n got: %s\nwant: %s", got, want)
	}
	s = &Script{Default: &Reply{Text: "{{x", Verbatim: true, Calls: []Call{{Tool: "t", Args: map[string]any{"a": "{{y}}"}}}}}
	if got, want := say(s, r, 1), `{{x call_3_1=t{"a":"{{y}}"} <tool_use>`; got != want {
		t.Errorf("verbatim: got %s, want %s", got, want)
	}
}

func TestContent(t *testing.T) {
	t.Parallel()
	s := parse(t, `
default: {text: said, reasoning: thought, opaque: [{data: {a: 1}}, {provider: y, data: [2]}], calls: [{tool: t}, {tool: u, id: mine, args: {}}], stop: refusal}
`)
	got := say(s, chat("user: a"), 1)
	want := `(thought) script:{"a":1} y:[2] said call_0_1=t{} mine=u{} <refusal>`
	if got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestFailures(t *testing.T) {
	t.Parallel()
	s := parse(t, `
replies:
  - text: at last
    fail:
      - {code: overloaded, times: 2, retry_after: 3s}
      - {code: timeout}
      - {after_bytes: 2}
      - {code: rate_limited, usage: {input: 5}}
      - {code: auth, message: no key}
      - {code: internal, retryable: true, not_done: true}
`)
	ask := chat("user: a")
	for i, want := range []string{
		"! overloaded: scripted failure retryable=true not_done=true after=3s usage=<nil>",
		"! overloaded: scripted failure retryable=true not_done=true after=3s usage=<nil>",
		"! timeout: scripted failure retryable=true not_done=false after=0s usage=<nil>",
		"! cut_stream: scripted failure retryable=true not_done=false after=0s usage=<nil>",
		"! rate_limited: scripted failure retryable=true not_done=false after=0s usage=&{5 0 0 0 0 0 0 0 0}",
		"! auth: no key retryable=false not_done=true after=0s usage=<nil>",
		"! internal: scripted failure retryable=true not_done=true after=0s usage=<nil>",
		"at last <end>",
		"at last <end>",
	} {
		if got := say(s, ask, i+1); got != want {
			t.Errorf("attempt %d: got %q, want %q", i+1, got, want)
		}
	}
	s = parse(t, "default: {fail: [{code: overloaded}, {code: auth}]}")
	for _, attempt := range []int{2, 3, 1000} {
		if got := say(s, ask, attempt); !strings.HasPrefix(got, "! auth") {
			t.Errorf("attempt %d: %s", attempt, got)
		}
	}
}

func TestUsage(t *testing.T) {
	t.Parallel()
	ask := chat("user: 1234567") // with the instructions 16 bytes
	ask.Tools = []cairn.ToolDef{{Name: "abc", Description: "de", InputSchema: []byte(`{}`)}}
	tests := map[string]struct {
		script string
		cap    int64
		want   cairn.Usage
		text   string
		stop   cairn.StopReason
	}{
		"estimate":       {"default: {text: abcde, reasoning: abcd}", 1000, cairn.Usage{Input: 6, Output: 3, Reasoning: 1}, "abcde", cairn.StopEnd},
		"written down":   {"default: {text: abcde, usage: {cache_read: 9, output: 99}}", 1, cairn.Usage{CacheRead: 9, Output: 99}, "abcde", cairn.StopEnd},
		"cut":            {"default: {text: abcdefghij}", 2, cairn.Usage{Input: 6, Output: 2}, "abcdefgh", cairn.StopMaxOutput},
		"cut by model":   {"{max_output: 1, default: {text: abcdefghij}}", 2, cairn.Usage{Input: 6, Output: 1}, "abcd", cairn.StopMaxOutput},
		"cut reasoning":  {"default: {text: abc, reasoning: abcdefgh}", 1, cairn.Usage{Input: 6, Output: 1, Reasoning: 1}, "", cairn.StopMaxOutput},
		"cut calls":      {"default: {text: abcd, calls: [{tool: a}, {tool: bcdefgh}]}", 2, cairn.Usage{Input: 6, Output: 2}, "abcd", cairn.StopMaxOutput},
		"no half letter": {"default: {text: ääää}", 1, cairn.Usage{Input: 6, Output: 1}, "ää", cairn.StopMaxOutput},
		"odd letters":    {"default: {text: aääää}", 1, cairn.Usage{Input: 6, Output: 1}, "aä", cairn.StopMaxOutput},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := *ask
			r.Params.MaxOutput = test.cap
			p, failed := parse(t, test.script).plan("x", "", &r, 1)
			if failed != nil {
				t.Fatal(failed)
			}
			if diff := cmp.Diff(test.want, p.answer.Usage); diff != "" {
				t.Error(diff)
			}
			if got := cairn.TextOf(p.answer.Content); got != test.text || p.answer.Stop != test.stop {
				t.Errorf("got %q and stop %s, want %q and %s", got, p.answer.Stop, test.text, test.stop)
			}
		})
	}
}

func TestOverflow(t *testing.T) {
	t.Parallel()
	s := parse(t, "{window: 6, default: {text: a}}")
	if got := say(s, chat("user: 123456789012345"), 1); got != "a <end>" { // 24 bytes
		t.Error(got)
	}
	want := "! context_overflow: the prompt has 7 tokens and the window of x 6"
	if got := say(s, chat("user: 1234567890123456"), 1); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestGlob(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		pattern, text string
		want          bool
	}{
		{"", "", true},
		{"", "a", false},
		{"*", "", true},
		{"*", "a\n/b", true},
		{"?", "ä", true},
		{"?", "", false},
		{"a*c", "abbc", true},
		{"a*c", "abcb", false},
		{"*b*", "abc", true},
		{"a*b*c", "a-b-b-c", true},
		{"a?c", "abc", true},
		{"refund*", "refund", true},
		{"refund*", "a refund", false},
		{"**a", "ba", true},
		{"a", "ab", false},
		{strings.Repeat("a*", 50) + "b", strings.Repeat("a", 2000), false},
	} {
		if got := globs(test.pattern, test.text); got != test.want {
			t.Errorf("%.20q %.20q: %t", test.pattern, test.text, got)
		}
	}
}

// genScript makes scripts that are valid.
func genScript(t *rapid.T) *Script {
	texts := rapid.SampledFrom([]string{"", "a", "Hello wörld", "{{user}}", "n={{turn}}", "{{result.find.id}}", strings.Repeat("long ", 40)})
	reply := rapid.Custom(func(t *rapid.T) Reply {
		r := Reply{Text: texts.Draw(t, "text"), Reasoning: texts.Draw(t, "reasoning"), Stop: cairn.StopEnd}
		for range rapid.IntRange(0, 2).Draw(t, "calls") {
			r.Calls = append(r.Calls, Call{Tool: "find", Args: map[string]any{"a": texts.Draw(t, "arg"), "b": []any{texts.Draw(t, "arg"), 1.5}}})
		}
		for range rapid.IntRange(0, 2).Draw(t, "fails") {
			r.Fail = append(r.Fail, Fail{Code: cairn.CodeOverloaded, AfterBytes: rapid.IntRange(0, 3).Draw(t, "after")})
		}
		return r
	})
	s := &Script{
		Replies: rapid.SliceOfN(reply, 1, 4).Draw(t, "replies"),
		Window:  rapid.SampledFrom([]int64{0, 20, 1000}).Draw(t, "window"),
		Stream:  Stream{Chunk: rapid.IntRange(0, 5).Draw(t, "chunk")},
	}
	if rapid.Bool().Draw(t, "case") {
		s.Cases = []Case{{When: When{User: &Text{Contains: "stop"}}, Reply: reply.Draw(t, "reply")}}
	}
	if err := s.Validate(); err != nil {
		t.Fatal(err)
	}
	return s
}

func genChat(t *rapid.T) *cairn.ModelRequest {
	lines := []string{"user: start"}
	for range rapid.IntRange(0, 5).Draw(t, "turns") {
		lines = append(lines, rapid.SampledFrom([][]string{
			{"assistant: said", "user: stop"},
			{"assistant: said", "user: go on"},
			{"call find", `result find: {"id":7}`},
			{"call find", "error find: no"},
			{"call find", `result find: {"id":"x"}`, "user: steer"},
		}).Draw(t, "turn")...)
	}
	r := chat(lines...)
	r.Params.MaxOutput = rapid.Int64Range(1, 60).Draw(t, "cap")
	return r
}

// TestSame: the same request and attempt give the same, whatever else was asked in
// between, of a driver that knows nothing of it.
func TestSame(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		s := genScript(t)
		first, other := New(map[string]*Script{"x": s}), New(map[string]*Script{"x": s})
		asked := rapid.SliceOfN(rapid.Custom(genChat), 1, 4).Draw(t, "requests")
		attempt := rapid.IntRange(1, 4).Draw(t, "attempt")
		var want []string
		for _, r := range asked {
			want = append(want, record(t, first, r, attempt))
		}
		for i := len(asked) - 1; i >= 0; i-- {
			if diff := cmp.Diff(want[i], record(t, other, asked[i], attempt)); diff != "" {
				t.Fatal(diff)
			}
		}
	})
}
