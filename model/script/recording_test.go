package script

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/model"
)

// anyText draws texts that a format may stumble over.
func anyText() *rapid.Generator[string] {
	return rapid.OneOf(
		rapid.String(),
		rapid.StringOf(rapid.RuneFrom([]rune(" \t\n\r\"'\\#:-{}[],&*!|>%@`~?=/\x00\x1b\x7f\u0085\u00a0\u2028\u2029\ufeff\ufffd\ufffe\uffff€😀é"))),
		rapid.SampledFrom([]string{
			"", " ", "\n", "a\n", "\n\na\n\n", "null", "~", "true", "1e3", "0x10", "---", "...", "- a", "a: b", "# a", "{{user}}", "\\n", `"`, "%YAML 1.2",
			`{"a": "\u00e9\n"}`, strings.Repeat("long ", 1000), "<&>",
		}),
	)
}

func drawUsage(t *rapid.T) cairn.Usage {
	n := func(name string) int64 { return rapid.Int64Range(0, 1<<31-1).Draw(t, name) }
	u := cairn.Usage{
		Input: n("input"), CacheRead: n("read"), CacheWrite5m: n("5m"), CacheWrite1h: n("1h"), Output: n("output"),
		InputAudio: n("audio in"), OutputAudio: n("audio out"), Searches: n("searches"),
	}
	u.Reasoning = rapid.Int64Range(0, u.Output).Draw(t, "reasoning")
	return u
}

func drawRaw(t *rapid.T, name string) json.RawMessage {
	s := rapid.SampledFrom([]string{
		"", `{"b":1,"a":[1.0,1e3,"é\u00e9<\n"]}`, `[ ]`, `"x"`, ` {"a" :  "\ud83d\ude00"}`, "{\n\t\"a\": null\n}", `12345678901234567890123`,
	}).Draw(t, name)
	if s == "" {
		return nil
	}
	return json.RawMessage(s)
}

func drawPart(t *rapid.T) cairn.Part {
	p := cairn.Part{
		Kind: rapid.SampledFrom([]cairn.PartKind{
			cairn.PartText, cairn.PartReasoning, cairn.PartToolCall, cairn.PartOpaque, cairn.PartImage, cairn.PartFile,
		}).Draw(t, "kind"),
		Text: anyText().Draw(t, "text"), Provider: anyText().Draw(t, "provider"), Opaque: drawRaw(t, "opaque"),
	}
	switch p.Kind {
	case cairn.PartToolCall:
		p.CallID, p.Tool, p.Args = anyText().Draw(t, "id"), "t"+anyText().Draw(t, "tool"), anyText().Draw(t, "args")
	case cairn.PartOpaque:
		p.Text, p.Opaque = "", json.RawMessage(`{"type":"x"}`)
	case cairn.PartImage, cairn.PartFile:
		p.MediaType, p.Data = "image/png", rapid.SliceOfN(rapid.Byte(), 1, 50).Draw(t, "data")
	}
	return p
}

func drawAnswer(t *rapid.T) *cairn.ModelAnswer {
	a := &cairn.ModelAnswer{
		Model: anyText().Draw(t, "model"), Finish: anyText().Draw(t, "finish"), Service: anyText().Draw(t, "service"),
		Stop: rapid.SampledFrom([]cairn.StopReason{
			cairn.StopEnd, cairn.StopToolUse, cairn.StopMaxOutput, cairn.StopRefusal, cairn.StopSequence, cairn.StopPause,
		}).Draw(t, "stop"),
		Usage: drawUsage(t), RawUsage: drawRaw(t, "raw"),
	}
	for range rapid.IntRange(0, 4).Draw(t, "parts") {
		a.Content = append(a.Content, drawPart(t))
	}
	if rapid.Bool().Draw(t, "is charged") {
		a.Charged = new(cairn.Money(rapid.Int64Range(0, 1<<40).Draw(t, "charged")))
	}
	for range rapid.IntRange(0, 2).Draw(t, "beside") {
		a.Beside = append(a.Beside, "b"+anyText().Draw(t, "b"))
	}
	return a
}

func drawFailure(t *rapid.T) *model.Failure {
	f := &model.Failure{
		Err: &cairn.Error{
			Code:    rapid.SampledFrom([]cairn.Code{cairn.CodeOverloaded, cairn.CodeRateLimited, cairn.CodeTimeout, cairn.CodeInternal}).Draw(t, "code"),
			Message: anyText().Draw(t, "message"), RetryAfter: cairn.Duration(rapid.Int64Range(0, 1e13).Draw(t, "after")),
			Retryable: rapid.Bool().Draw(t, "retryable"), NotDone: rapid.Bool().Draw(t, "not done"),
		},
		RawUsage: drawRaw(t, "raw"),
	}
	if rapid.Bool().Draw(t, "used") {
		u := drawUsage(t)
		f.Usage = &u
	}
	return f
}

// TestTapeProperty: what goes on a tape comes back from the script it writes,
// byte for byte, and is what the script plays.
func TestTapeProperty(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var tape Tape
		var want Recording
		if rapid.Bool().Draw(t, "known") {
			info := cairn.ModelInfo{
				Name: "p/m", Provider: "p", Window: 200000, MaxOutput: 8192, Priced: true, Table: "t 2026-01-01",
				Prices: []cairn.Price{{Rates: cairn.Rates{Input: 1}, Above: []cairn.Above{{Prompt: 200000, Rates: cairn.Rates{Input: 2}}}}, {Service: "flex"}},
			}
			tape.Model(info)
			want.Models = append(want.Models, info)
		}
		for i := range rapid.IntRange(1, 4).Draw(t, "calls") {
			said := anyText().Draw(t, "said")
			if !utf8.ValidString(said) {
				continue
			}
			c := model.Call{Key: "eff_1", Attempt: i + 1, Request: chat("user: " + said)}
			r := Recorded{Model: "script/x", Call: 1, Attempt: i + 1, Request: RequestOf(c.Request)}
			if rapid.Bool().Draw(t, "answered") {
				r.Answer = drawAnswer(t)
			} else {
				r.Failure = drawFailure(t)
			}
			if err := tape.Add(c, r.Answer, r.Failure); err != nil {
				t.Fatal(err)
			}
			want.Calls = append(want.Calls, r)
		}
		got, err := Parse("tape.yaml", tape.Bytes())
		if err != nil {
			t.Fatalf("%v\n%s", err, tape.Bytes())
		}
		if diff := cmp.Diff(&want, got.Recording); diff != "" {
			t.Fatalf("%s\n%s", diff, tape.Bytes())
		}
	})
}

// TestTapeText: a text that is not UTF-8 becomes what JSON makes of it.
func TestTapeText(t *testing.T) {
	t.Parallel()
	var tape Tape
	a := &cairn.ModelAnswer{Model: "m", Stop: cairn.StopEnd, Content: []cairn.Part{cairn.Text("a\xffb")}}
	if err := tape.Add(model.Call{Attempt: 1, Request: chat("user: a")}, a, nil); err != nil {
		t.Fatal(err)
	}
	s := parse(t, string(tape.Bytes()))
	if got := s.Recording.Calls[0].Answer.Content[0].Text; got != "a\ufffdb" {
		t.Errorf("%q", got)
	}
}

// TestTapeLimit: a tape that is full says so, and keeps what is on it.
func TestTapeLimit(t *testing.T) {
	t.Parallel()
	tape := Tape{Limit: 2000}
	full := 0
	for range 10 {
		a := &cairn.ModelAnswer{Model: "m", Stop: cairn.StopEnd, Content: []cairn.Part{cairn.Text(strings.Repeat("x", 300))}}
		if err := tape.Add(model.Call{Attempt: 1, Request: chat("user: a")}, a, nil); err != nil {
			full++
		}
	}
	if n := len(parse(t, string(tape.Bytes())).Recording.Calls); n+full != 10 || full == 0 || n == 0 || len(tape.Bytes()) > 2000 {
		t.Errorf("%d calls are on it, %d found no room; %d bytes", n, full, len(tape.Bytes()))
	}
	if err := tape.Add(model.Call{Attempt: 1, Request: chat("user: a")}, nil, &model.Failure{Err: &cairn.Error{}}); err == nil {
		t.Error("a failure without a code was recorded")
	}
}

func answer(text string) *cairn.ModelAnswer {
	return &cairn.ModelAnswer{Model: "m-1", Stop: cairn.StopEnd, Content: []cairn.Part{cairn.Text(text)}}
}

func failed(code cairn.Code) *model.Failure {
	return &model.Failure{Err: &cairn.Error{Code: code, Message: "no", Retryable: true}}
}

// TestReplay: which attempt at which request gets what.
func TestReplay(t *testing.T) {
	t.Parallel()
	var tape Tape
	tape.Model(cairn.ModelInfo{Name: "b/y", Window: 7})
	tape.Model(cairn.ModelInfo{Name: "a/x", Window: 4})
	tape.Model(cairn.ModelInfo{Name: "a/x", Window: 5})
	add := func(name string, key cairn.EffectID, attempt int, r *cairn.ModelRequest, a *cairn.ModelAnswer, f *model.Failure) {
		t.Helper()
		r.Model = name
		if err := tape.Add(model.Call{Key: key, Attempt: attempt, Request: r}, a, f); err != nil {
			t.Fatal(err)
		}
	}
	// One call: two failures of one model, a circuit that was open, an answer of another.
	add("a/x", "e1", 1, chat("user: a"), nil, failed(cairn.CodeOverloaded))
	add("a/x", "e2", 1, chat("user: other"), answer("other"), nil) // of another session, between
	add("a/x", "e1", 2, chat("user: a"), nil, failed(cairn.CodeTimeout))
	add("b/y", "e1", 4, chat("user: a"), answer("first"), nil)
	// The same was asked again later.
	add("a/x", "e3", 1, chat("user: a"), answer("second"), nil)
	// After a compaction there are fewer answers in the request.
	add("a/x", "e4", 1, chat("user: a", "user: note", "assistant: first", "user: b"), answer("on"), nil)
	d := New(map[string]*Script{"rec": parse(t, string(tape.Bytes())), "rec/sub": parse(t, "default: {text: sub}")})

	ask := func(name string, r *cairn.ModelRequest, attempt int) string {
		r.Model = name
		text, code := "", ""
		for chunk, err := range d.Call(t.Context(), model.Call{Attempt: attempt, Request: r}) {
			if err != nil {
				code = "! " + err.Error()
			}
			if chunk.Answer != nil {
				text = cairn.TextOf(chunk.Answer.Content)
			}
		}
		return text + code
	}
	for _, test := range []struct {
		name    string
		request *cairn.ModelRequest
		attempt int
		want    string
	}{
		{"script/rec", chat("user: a"), 1, "! overloaded: no"},
		{"script/rec", chat("user: a"), 2, "! timeout: no"},
		{"script/rec", chat("user: a"), 3, "first"},
		{"script/rec", chat("user: a"), 4, "first"},
		{"script/rec", chat("user: a"), 9, "first"},
		{"script/rec/a/x", chat("user: a"), 3, "! timeout: no"},
		{"script/rec/b/y", chat("user: a"), 1, "first"},
		{"script/rec/b/y", chat("user: a"), 5, "first"},
		{"script/rec", chat("user: other"), 1, "other"},
		{"script/rec/a/x", chat("user: other"), 2, "other"},
		{"script/rec", chat("user: a", "user: note", "assistant: first", "user: b"), 1, "on"},
		{"script/rec/sub", chat("user: a"), 1, "sub"},
		{"script/rec/b/y", chat("user: other"), 1, `! invalid: script "rec/b/y": this request was not recorded: the recording has it of a/x, not of b/y`},
		{"script/rec", chat("user: b"), 1, `! invalid: script "rec": this request was not recorded: the recording has another conversation at turn 0 (it ends with user "b"; request `},
		{"script/rec", chat("user: a", "assistant: x", "user: b", "call t", "result t: z"), 1, `! invalid: script "rec": this request was not recorded: the recording has nothing of turn 2 (it ends with tool ": z"; request `},
		{"script/rec/c/z", chat("user: a"), 1, `! invalid: script "rec/c/z": this request was not recorded: the recording has it of a/x, not of c/z`},
	} {
		if got := ask(test.name, test.request, test.attempt); !strings.HasPrefix(got, test.want) || test.want == "" {
			t.Errorf("%s, attempt %d: %s\nwant %s", test.name, test.attempt, got, test.want)
		}
	}
	r := chat("user: a")
	r.System = "Be long."
	if got := ask("script/rec", r, 1); !strings.Contains(got, "the recording has this conversation with other instructions, tools or parameters") {
		t.Error(got)
	}
	for name, want := range map[string]int64{"rec": 5, "rec/a/x": 5, "rec/b/y": 7} {
		info, err := d.Info(t.Context(), name)
		if err != nil || info.Window != want || info.Name != name || info.Provider != Provider {
			t.Errorf("%s: %+v, %v", name, info, err)
		}
	}
	for _, name := range []string{"rec/c/z", "no/a/x", "rec/sub/a"} {
		if _, err := d.Info(t.Context(), name); cairn.CodeOf(err) != cairn.CodeNotFound {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestRequestOf: what makes two requests different, and what does not.
func TestRequestOf(t *testing.T) {
	t.Parallel()
	base := func() *cairn.ModelRequest {
		r := chat("user: a", "assistant: b", "call t", "result t: c")
		r.Tools = []cairn.ToolDef{{Name: "t", Description: "d", InputSchema: json.RawMessage(`{}`)}}
		return r
	}
	want := RequestOf(base())
	if want.Turn != 1 {
		t.Errorf("turn %d", want.Turn)
	}
	heat := 0.5
	for name, change := range map[string]func(r *cairn.ModelRequest){
		"model": func(r *cairn.ModelRequest) { r.Model = "other/y" },
		"cap":   func(r *cairn.ModelRequest) { r.Params.MaxOutput = 5 },
		"reasoning": func(r *cairn.ModelRequest) {
			r.Messages[1].Content = append(r.Messages[1].Content, cairn.Part{Kind: cairn.PartReasoning, Text: "x", Provider: "p"})
		},
		"opaque": func(r *cairn.ModelRequest) {
			r.Messages[1].Content = append([]cairn.Part{{Kind: cairn.PartOpaque, Provider: "p", Opaque: json.RawMessage("1")}}, r.Messages[1].Content...)
		},
		"form": func(r *cairn.ModelRequest) {
			r.Messages[1].Content[0].Provider, r.Messages[1].Content[0].Opaque = "p", json.RawMessage(`{"text":"b"}`)
		},
		"empty": func(r *cairn.ModelRequest) { r.Messages[1].Content = append(r.Messages[1].Content, cairn.Text("")) },
		"dropped": func(r *cairn.ModelRequest) {
			r.Messages = append(r.Messages[:1:1], append([]cairn.Message{{Role: cairn.RoleAssistant, Content: []cairn.Part{{Kind: cairn.PartReasoning, Text: "x"}}}}, r.Messages[1:]...)...)
		},
	} {
		r := base()
		if change(r); RequestOf(r) != want {
			t.Errorf("%s makes another request", name)
		}
	}
	seen := map[Request]string{want: "base"}
	for name, change := range map[string]func(r *cairn.ModelRequest){
		"system":      func(r *cairn.ModelRequest) { r.System += "." },
		"tools":       func(r *cairn.ModelRequest) { r.Tools = nil },
		"description": func(r *cairn.ModelRequest) { r.Tools[0].Description = "e" },
		"schema":      func(r *cairn.ModelRequest) { r.Tools[0].InputSchema = json.RawMessage(`{"a":1}`) },
		"shifted":     func(r *cairn.ModelRequest) { r.Tools[0].Name, r.Tools[0].Description = "td", "" },
		"no tools":    func(r *cairn.ModelRequest) { r.Params.NoTools = true },
		"temperature": func(r *cairn.ModelRequest) { r.Params.Temperature = &heat },
		"first":       func(r *cairn.ModelRequest) { r.Messages[0].Content[0].Text = "A" },
		"answer":      func(r *cairn.ModelRequest) { r.Messages[1].Content[0].Text = "B" },
		"args":        func(r *cairn.ModelRequest) { r.Messages[1].Content[1].Args = "{ }" },
		"result":      func(r *cairn.ModelRequest) { r.Messages[2].Content[0].Text = "C" },
		"error":       func(r *cairn.ModelRequest) { r.Messages[2].Content[0].IsError = true },
		"image": func(r *cairn.ModelRequest) {
			r.Messages[2].Content[0].Parts = []cairn.Part{{Kind: cairn.PartImage, Data: []byte{1}}}
		},
		"more": func(r *cairn.ModelRequest) {
			r.Messages = append(r.Messages, cairn.Message{Role: cairn.RoleUser, Content: []cairn.Part{cairn.Text("d")}})
		},
		"joined": func(r *cairn.ModelRequest) { r.Messages[0].Content = []cairn.Part{cairn.Text("a"), cairn.Text("")} },
	} {
		r := base()
		change(r)
		got := RequestOf(r)
		if other, ok := seen[got]; ok {
			t.Errorf("%s is the same request as %s", name, other)
		}
		seen[got] = name
	}
}

func TestRecordingMistakes(t *testing.T) {
	t.Parallel()
	const request = "request: {turn: 0, setup: '01234567890123456789012345678901', messages: '01234567890123456789012345678901'}"
	call := func(rest string) string {
		return "recording:\n  calls:\n  - {model: a/b, call: 1, attempt: 1, " + request + ", " + rest + "}"
	}
	for text, want := range map[string]string{
		"recording: {}":                                                  "",
		"recording: {calls: []}\ndelay: 1s":                              "",
		"recording: {calls: []}\nmodel: x":                               "x.yaml:1:1: recording: it stands alone: leave out model, window, max_output, rates, unpriced, replies, cases and default",
		"recording: {calls: [{}]}":                                       "x.yaml:1:21: recording.calls[0].model: missing",
		"recording: {calls: [{model: a/b}]}":                             "x.yaml:1:21: recording.calls[0].attempt: missing: they count from 1",
		"recording: {calls: [{model: a/b, attempt: 1}]}":                 "x.yaml:1:21: recording.calls[0].request: setup and messages have 32 digits",
		"recording: {models: [{name: x}]}":                               "x.yaml:1:23: recording.models[0].name: not a model: write provider/name",
		"recording: {models: [{name: x/y, prices: '{}'}]}":               "x.yaml:1:42: expected the JSON of a list of prices",
		call("answer: {stop: end}"):                                      "",
		call("answer: {stop: end}, fail: {code: auth}"):                  "x.yaml:3:5: recording.calls[0]: give either answer or fail",
		call("fail: {message: x}"):                                       "x.yaml:3:148: recording.calls[0].fail.code: missing",
		call("answer: {}"):                                               "x.yaml:3:148: recording.calls[0].answer.stop: missing",
		call("answer: {stop: end, raw_usage: {a: 1}}"):                   "x.yaml:3:179: expected JSON as text, in quotes",
		call("answer: {stop: end, content: [{kind: tool_result}]}"):      `x.yaml:3:179: recording.calls[0].answer.content[0].kind: "tool_result" is nothing a model says: use text, reasoning, tool_call, opaque, image or file`,
		call("answer: {stop: end, content: [{kind: tool_call}]}"):        "x.yaml:3:178: recording.calls[0].answer.content[0].tool: missing",
		call("answer: {stop: end, content: [{kind: opaque}]}"):           "x.yaml:3:178: recording.calls[0].answer.content[0].opaque: missing",
		call("answer: {stop: end, content: [{kind: image, data: '!'}]}"): "x.yaml:3:198: expected base64",
		call("answer: {stop: end, usage: {output: 1, reasoning: 2}}"):    "x.yaml:3:168: recording.calls[0].answer.usage: a negative number, or more reasoning than output",
	} {
		_, err := Parse("x.yaml", []byte(text))
		got := ""
		if err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%s\n got: %s\nwant: %s", text, got, want)
		}
	}
}
