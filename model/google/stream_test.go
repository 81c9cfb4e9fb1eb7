package google_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/model"
	"github.com/cairn-run/cairn/model/google"
	"github.com/cairn-run/cairn/model/wire"
)

// chunks makes a stream of lists of parts, the last with the finish reason.
func chunks(finish string, parts ...string) []string {
	out := make([]string, len(parts))
	for i, p := range parts {
		end := ""
		if i == len(parts)-1 && finish != "" {
			end = `,"finishReason":"` + finish + `"`
		}
		out[i] = `{"candidates":[{"content":{"parts":[` + p + `],"role":"model"}` + end + `}],"responseId":"r1",` +
			`"usageMetadata":{"promptTokenCount":1,"totalTokenCount":1},"modelVersion":"gemini-3-test"}`
	}
	return out
}

func decode(t require, docs []string) (*cairn.ModelAnswer, error) {
	s := google.NewStream("google")
	said := map[int]string{}
	for _, d := range docs {
		deltas, err := s.Add([]byte(d))
		for _, d := range deltas {
			said[d.Index] += d.Text
		}
		if err != nil {
			return nil, err
		}
	}
	a, err := s.Done()
	if err != nil {
		return nil, err
	}
	for i, p := range a.Content {
		want := p.Text
		if p.Kind == cairn.PartToolCall {
			want = p.Args
		}
		if said[i] != want {
			t.Fatalf("part %d is %q, and %q was said", i, want, said[i])
		}
	}
	return a, nil
}

// require is what tests and properties have in common.
type require interface {
	Fatalf(format string, args ...any)
}

func text(s string) string { return fmt.Sprintf(`{"text":%q}`, s) }

func TestParts(t *testing.T) {
	t.Parallel()
	opaque := func(raw string) cairn.Part {
		return own(cairn.Part{Kind: cairn.PartOpaque}, raw)
	}
	thought := cairn.Part{Kind: cairn.PartReasoning, Text: "hm hm", Provider: "google"}
	tests := map[string]struct {
		parts []string
		want  []cairn.Part
	}{
		"runs": {
			[]string{`{"text":"hm ","thought":true}`, `{"text":"hm","thought":true},{"text":"He"}`, text("llo"), text("")},
			[]cairn.Part{thought, cairn.Text("Hello")},
		},
		"a signature ends a run": {
			[]string{text("a"), `{"text":"b","thoughtSignature":"c2ln"}`, text("c"), text("d"), `{"text":"","thoughtSignature":"c2ln"}`, text("e")},
			[]cairn.Part{
				cairn.Text("a"),
				own(cairn.Text("b"), `{"text":"b","thoughtSignature":"c2ln"}`),
				cairn.Text("cd"),
				opaque(`{"text":"","thoughtSignature":"c2ln"}`),
				cairn.Text("e"),
			},
		},
		"signed thoughts": {
			[]string{`{"thought":true,"text":"hm","thoughtSignature":"c2ln"}`, `{"thought":true,"text":"","thoughtSignature":"c2ln"}`},
			[]cairn.Part{
				own(cairn.Part{Kind: cairn.PartReasoning, Text: "hm"}, `{"thought":true,"text":"hm","thoughtSignature":"c2ln"}`),
				own(cairn.Part{Kind: cairn.PartReasoning}, `{"thought":true,"text":"","thoughtSignature":"c2ln"}`),
			},
		},
		"as Google wrote it": {
			[]string{`{"text":"it\u0027s"}`, `{"functionCall":{"name":"a","args":{}}},{"text":"\u003c"}`, `{"text":"b\u003e"}`},
			[]cairn.Part{
				own(cairn.Text("it's"), `{"text":"it\u0027s"}`),
				toolCall("call_r1_0", "a", "{}"),
				own(cairn.Text("<b>"), `{"text":"\u003cb\u003e"}`),
			},
		},
		"calls": {
			[]string{
				`{"functionCall":{"name":"a","args":{"x": 1},"id":"i1"}},{"functionCall":{"name":"a","args":{},"id":"i1"}}`,
				`{"functionCall":{"name":"b"}},{"functionCall":{"name":"c","args":{"y":"<"}}}`,
			},
			[]cairn.Part{
				own(toolCall("i1", "a", `{"x":1}`), `{"functionCall":{"name":"a","args":{"x":1},"id":"i1"}}`),
				own(toolCall("i1_1", "a", `{}`), `{"functionCall":{"name":"a","args":{},"id":"i1"}}`),
				own(toolCall("call_r1_2", "b", `{}`), `{"functionCall":{"name":"b"}}`),
				toolCall("call_r1_3", "c", `{"y":"<"}`),
			},
		},
		"media": {
			[]string{`{"inlineData":{"mimeType":"image/png","data":"cG5n"}}`, `{"inlineData":{"mimeType":"audio/wav","data":"d2F2"},"thoughtSignature":"c2ln"}`, `{"inlineData":{"data":"d2F2"}}`},
			[]cairn.Part{
				{Kind: cairn.PartImage, MediaType: "image/png", Data: []byte("png")},
				own(cairn.Part{Kind: cairn.PartFile, MediaType: "audio/wav", Data: []byte("wav")}, `{"inlineData":{"mimeType":"audio/wav","data":"d2F2"},"thoughtSignature":"c2ln"}`),
				opaque(`{"inlineData":{"data":"d2F2"}}`),
			},
		},
		"other blocks": {
			[]string{`{"executableCode": {"code": "1", "language": "PYTHON"}},{"codeExecutionResult":{"outcome":"OUTCOME_OK"}}`, `{"new":[1]},{}`, `{"text":5}`, `{"thought":true,"inlineData":{"mimeType":"image/png","data":""}}`},
			[]cairn.Part{
				opaque(`{"executableCode":{"code":"1","language":"PYTHON"}}`), opaque(`{"codeExecutionResult":{"outcome":"OUTCOME_OK"}}`),
				opaque(`{"new":[1]}`), opaque(`{"text":5}`), opaque(`{"thought":true,"inlineData":{"mimeType":"image/png","data":""}}`),
			},
		},
		"arguments in pieces": {
			[]string{
				`{"functionCall":{"name":"a","willContinue":true},"thoughtSignature":"c2ln"}`,
				`{"functionCall":{"partialArgs":[{"jsonPath":"$.list[0]['a b']","stringValue":"He","willContinue":true}],"willContinue":true}}`,
				`{"functionCall":{"partialArgs":[{"jsonPath":"$.list[0]['a b']","stringValue":"y <"}],"willContinue":true}}`,
				`{"functionCall":{"partialArgs":[{"jsonPath":"$.list[2]","numberValue":0.50}],"willContinue":true}}`,
				`{"functionCall":{"partialArgs":[{"jsonPath":"$.yes","boolValue":false},{"jsonPath":"$.no","nullValue":"NULL_VALUE"}]}}`,
				`{"functionCall":{}}`,
				`{"functionCall":{"name":"b","willContinue":true}}`, `{"functionCall":{}},` + text("x"),
			},
			[]cairn.Part{
				own(
					toolCall("call_r1_0", "a", `{"list":[{"a b":"Hey <"},null,0.50],"yes":false,"no":null}`),
					`{"functionCall":{"name":"a","args":{"list":[{"a b":"Hey <"},null,0.50],"yes":false,"no":null}},"thoughtSignature":"c2ln"}`,
				),
				toolCall("call_r1_1", "b", `{}`),
				cairn.Text("x"),
			},
		},
		"a call that was not ended": {
			[]string{
				`{"functionCall":{"name":"a","willContinue":true}}`,
				`{"functionCall":{"partialArgs":[{"jsonPath":"$.path","stringValue":"/home","willContinue":true}],"willContinue":true}}`,
				`{"functionCall":{"name":"b","args":{}}}`,
			},
			[]cairn.Part{
				own(toolCall("call_r1_0", "a", `{"path":"/home"`), `{"functionCall":{"name":"a","args":{"path":"/home"}}}`),
				toolCall("call_r1_1", "b", `{}`),
			},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a, err := decode(t, chunks("STOP", test.parts...))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, a.Content); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestMalformedParts(t *testing.T) {
	t.Parallel()
	for _, p := range []string{
		`1`, `null`, `"x"`,
		`{"functionCall":1}`,
		`{"functionCall":{"name":"a","args":[]}}`,
		`{"functionCall":{"args":{"x":1}}}`,
		`{"functionCall":{"partialArgs":[{"jsonPath":"$.a","stringValue":"x"}]}}`,
		`{"functionCall":{"name":"a","args":{"x":1},"partialArgs":[{"jsonPath":"$.a","stringValue":"x"}]}}`,
		`{"functionCall":{"name":"a","partialArgs":[{"jsonPath":"$.a","stringValue":"x"},{"jsonPath":"$.a.b","stringValue":"x"}]}}`,
		`{"functionCall":{"name":"a","partialArgs":[{"jsonPath":"$.a.b","stringValue":"x"},{"jsonPath":"$.a","stringValue":"x"}]}}`,
		`{"functionCall":{"name":"a","partialArgs":[{"jsonPath":"$.a.b","stringValue":"x"},{"jsonPath":"$.a[0]","stringValue":"x"}]}}`,
		`{"functionCall":{"name":"a","partialArgs":[{"jsonPath":"$.a[0]","stringValue":"x"},{"jsonPath":"$.a.b","stringValue":"x"}]}}`,
		`{"functionCall":{"name":"a","partialArgs":[{"jsonPath":"$.a","stringValue":"x"},{"jsonPath":"$.a","numberValue":1}]}}`,
		`{"functionCall":{"name":"a","partialArgs":[{"jsonPath":"$.a","numberValue":1},{"jsonPath":"$.a","stringValue":"x"}]}}`,
		`{"functionCall":{"name":"a","partialArgs":[{"jsonPath":"$.a","numberValue":"x"}]}}`,
		`{"functionCall":{"name":"a","partialArgs":[{"jsonPath":"$.a[999999]","stringValue":"x"}]}}`,
		`{"functionCall":{"name":"a","partialArgs":[{"jsonPath":"$","stringValue":"x"}]}}`,
		`{"functionCall":{"name":"a","partialArgs":[{"jsonPath":"a","stringValue":"x"}]}}`,
		`{"functionCall":{"name":"a","partialArgs":[{"jsonPath":"$..a","stringValue":"x"}]}}`,
		`{"functionCall":{"name":"a","partialArgs":[{"jsonPath":"$.a[*]","stringValue":"x"}]}}`,
		`{"functionCall":{"name":"a","partialArgs":[{"jsonPath":"$.a['x'","stringValue":"x"}]}}`,
		`{"functionCall":{"name":"a","partialArgs":[{"jsonPath":"$` + strings.Repeat(".a", 65) + `","stringValue":"x"}]}}`,
	} {
		if _, err := decode(t, chunks("STOP", p)); cairn.CodeOf(err) != cairn.CodeCut || !cairn.AsError(err).Retryable {
			t.Errorf("%s: %v", p, err)
		}
	}
}

func TestFinish(t *testing.T) {
	t.Parallel()
	const aCall = `{"functionCall":{"name":"a","args":{}}}`
	tests := []struct {
		finish, part string
		stop         cairn.StopReason
		code         cairn.Code
		retry        bool
	}{
		{finish: "STOP", part: text("x"), stop: cairn.StopEnd},
		{finish: "STOP", part: text(""), stop: cairn.StopEnd},
		{finish: "STOP", part: aCall, stop: cairn.StopToolUse},
		{finish: "MAX_TOKENS", part: text("x"), stop: cairn.StopMaxOutput},
		{finish: "MAX_TOKENS", part: aCall, stop: cairn.StopMaxOutput},
		{finish: "SAFETY", part: text(""), stop: cairn.StopRefusal},
		{finish: "RECITATION", part: text(""), stop: cairn.StopRefusal},
		{finish: "MODEL_ARMOR", part: text(""), stop: cairn.StopRefusal},
		{finish: "SOMETHING_NEW", part: text("x"), stop: cairn.StopRefusal},
		{finish: "MALFORMED_FUNCTION_CALL", part: text("x"), code: cairn.CodeCut, retry: true},
		{finish: "UNEXPECTED_TOOL_CALL", part: aCall, code: cairn.CodeCut, retry: true},
		{finish: "TOO_MANY_TOOL_CALLS", part: aCall, code: cairn.CodeCut, retry: true},
		{finish: "OTHER", part: text("x"), code: cairn.CodeCut, retry: true},
		{finish: "MISSING_THOUGHT_SIGNATURE", part: text("x"), code: cairn.CodeInvalid},
		{finish: "", part: text("x"), code: cairn.CodeCut, retry: true},
	}
	for _, test := range tests {
		a, err := decode(t, chunks(test.finish, test.part))
		if err != nil {
			f, ok := err.(*model.Failure) //nolint:errorlint // it promises this type
			if !ok || f.Err.Code != test.code || f.Err.Retryable != test.retry || f.Usage == nil {
				t.Errorf("%s: %v", test.finish, err)
			}
			continue
		}
		if a.Stop != test.stop || a.Finish != test.finish {
			t.Errorf("%s: %q, want %q", test.finish, a.Stop, test.stop)
		}
	}
}

func TestOtherForms(t *testing.T) {
	t.Parallel()
	// A stream without server-sent events is a list. Other candidates are not read.
	a, err := google.DecodeResponse("google", []byte(` [
		{"candidates":[{"index":1,"content":{"parts":[{"text":"no"}]}},{"content":{"parts":[{"text":"ye"}]}}]},
		{"candidates":[{"content":{"parts":[{"text":"s"}]},"finishReason":"STOP","avgLogprobs":"NaN"}], "usageMetadata": {"trafficType": "ON_DEMAND"}}]`))
	if err != nil {
		t.Fatal(err)
	}
	want := &cairn.ModelAnswer{Content: []cairn.Part{cairn.Text("yes")}, Stop: cairn.StopEnd, Finish: "STOP"}
	if diff := cmp.Diff(want, a); diff != "" {
		t.Error(diff)
	}
	_, err = google.DecodeResponse("google", []byte(`{"promptFeedback":{"blockReason":"MODEL_ARMOR","blockReasonMessage":"why"}}`))
	if cairn.CodeOf(err) != cairn.CodeRefused || !strings.Contains(err.Error(), "MODEL_ARMOR): why") {
		t.Error(err)
	}
	s := google.NewStream("google")
	_, first := s.Add([]byte(`{"error":{"code":400,"status":"INVALID_ARGUMENT","message":"no"}}`))
	_, second := s.Add([]byte(chunks("STOP", text("x"))[0]))
	_, third := s.Done()
	if cairn.CodeOf(first) != cairn.CodeInvalid || first != second || first != third { //nolint:errorlint // it is the same one
		t.Error(first, second, third)
	}
}

// anyPart draws the parts that come from Google, in their canonical form or not.
func anyPart() *rapid.Generator[string] {
	word := rapid.StringOfN(rapid.RuneFrom([]rune("ab <ö'\"\\\n\u2028")), 0, 4, -1)
	return rapid.Custom(func(t *rapid.T) string {
		s, _ := wire.Encode(word.Draw(t, "word"))
		html, _ := json.Marshal(word.Draw(t, "html"))
		forms := []string{
			`{"text":%s}`, `{"text":%[2]s}`, `{"text":%s,"thought":true}`, `{"text":%s,"thoughtSignature":"c2ln"}`,
			`{"thought":true,"text":%s,"thoughtSignature":"c2ln"}`, `{"text":"","thoughtSignature":"c2ln"}`,
			`{"functionCall":{"name":"f","args":{"a":%s}}}`, `{"functionCall":{"name":"f","args":{"a":%[2]s},"id":"x"},"thoughtSignature":"c2ln"}`,
			`{"inlineData":{"mimeType":"image/png","data":"cG5n"}}`, `{"toolCall":{"args":%s}}`, `{"fileData":{"fileUri":%s}}`, `{"later":%s}`,
		}
		form := rapid.SampledFrom(forms).Draw(t, "form")
		switch {
		case strings.Contains(form, "%s"):
			return fmt.Sprintf(form, s)
		case strings.Contains(form, "%[2]s"):
			return fmt.Sprintf(form, s, html)
		}
		return form
	})
}

// TestSentBack: what Google sent in one piece goes back byte by byte, but for
// texts without content; what it streamed goes back with the same signatures at
// the same places, and the same text.
func TestSentBack(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		parts := rapid.SliceOfN(anyPart(), 1, 8).Draw(t, "parts")
		streamed := rapid.Bool().Draw(t, "streamed")
		docs := chunks("STOP", parts...)
		if !streamed {
			docs = chunks("STOP", strings.Join(parts, ","))
		}
		a, err := decode(t, docs)
		if err != nil {
			t.Fatalf("%v", err)
		}
		r := &cairn.ModelRequest{
			Model:    "google/gemini-2.5-pro",
			Messages: []cairn.Message{user(cairn.Text("hi"))}, Params: cairn.ModelParams{MaxOutput: 1},
		}
		if len(a.Content) > 0 {
			r.Messages = append(r.Messages, said(a.Content...))
		}
		var answers []cairn.Part
		for _, p := range a.Content {
			if p.Kind == cairn.PartToolCall {
				answers = append(answers, result(p.CallID, "ok"))
			}
		}
		if len(answers) > 0 {
			r.Messages = append(r.Messages, results(answers...))
		} else {
			r.Messages = append(r.Messages, user(cairn.Text("go on")))
		}
		req, err := google.NewRequest("google", r)
		if err != nil {
			t.Fatalf("%v", err)
		}
		var got []string
		if len(a.Content) > 0 {
			for _, p := range req.Contents[1].Parts {
				got = append(got, string(p))
			}
		}
		if diff := cmp.Diff(folded(parts), got); diff != "" {
			t.Fatalf("%s", diff)
		}
	})
}

// folded is what has to come back of parts, said in another way than the decoder
// says it: runs of bare text are joined within their quotes.
func folded(parts []string) []string {
	var out []string
	run := "" // the form of the run that goes on: what follows the text
	for _, p := range parts {
		form := ""
		if strings.HasPrefix(p, `{"text":"`) {
			switch {
			case strings.HasSuffix(p, `","thought":true}`):
				form = `","thought":true}`
			case !strings.Contains(p, `,"thoughtSignature":`):
				form = `"}`
			}
		}
		switch {
		case form != "" && p == `{"text":"`+form:
		case form != "" && form == run:
			last := strings.TrimSuffix(out[len(out)-1], form)
			out[len(out)-1] = last + strings.TrimPrefix(p, `{"text":"`)
		default:
			out = append(out, p)
			run = form
		}
	}
	return out
}

// TestCut cuts a stream at every byte: an answer is the whole one.
func TestCut(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	for _, c := range chunks(
		"STOP", `{"text":"thinking","thought":true}`, text("Hel"), text("lo"), `{"functionCall":{"name":"a","willContinue":true}}`,
		`{"functionCall":{"partialArgs":[{"jsonPath":"$.a","stringValue":"x"}]}}`, `{"text":"","thoughtSignature":"c2ln"}`,
	) {
		b.WriteString("data: " + c + "\r\n\r\n")
	}
	whole := b.String()
	read := func(body string) (*cairn.ModelAnswer, error) {
		s := google.NewStream("google")
		for e, err := range wire.Events(strings.NewReader(body)) {
			if err != nil {
				return nil, s.Failure(err)
			}
			if _, err := s.Add(e.Data); err != nil {
				return nil, err
			}
		}
		return s.Done()
	}
	want, err := read(whole)
	if err != nil {
		t.Fatal(err)
	}
	for i := range whole {
		got, err := read(whole[:i])
		if err != nil {
			if cairn.CodeOf(err) != cairn.CodeCut {
				t.Fatalf("cut at %d: %v", i, err)
			}
			continue
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("cut at %d: %s", i, diff)
		}
	}
}
