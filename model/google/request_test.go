package google_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/model/google"
)

func user(parts ...cairn.Part) cairn.Message {
	return cairn.Message{Role: cairn.RoleUser, Content: parts}
}

func said(parts ...cairn.Part) cairn.Message {
	return cairn.Message{Role: cairn.RoleAssistant, Content: parts}
}

func results(parts ...cairn.Part) cairn.Message {
	return cairn.Message{Role: cairn.RoleTool, Content: parts}
}

func toolCall(id, tool, args string) cairn.Part {
	return cairn.Part{Kind: cairn.PartToolCall, CallID: id, Tool: tool, Args: args}
}

func result(id, text string) cairn.Part {
	return cairn.Part{Kind: cairn.PartToolResult, CallID: id, Text: text}
}

func own(p cairn.Part, raw string) cairn.Part {
	p.Provider, p.Opaque = "google", json.RawMessage(raw)
	return p
}

func TestEncodeRequest(t *testing.T) {
	t.Parallel()
	half := 0.5
	hi := user(cairn.Text("hi"))
	tools := []cairn.ToolDef{{Name: "a", Description: "does <a>", InputSchema: json.RawMessage(`{"type": "object"}`)}, {Name: "b"}}
	const schema = `{"type":"object","required":["x"]}`
	tests := map[string]struct {
		r    cairn.ModelRequest
		want []string // the document, cut where it is convenient
	}{
		"everything": {
			cairn.ModelRequest{
				Model: "google/gemini-3-pro", System: "Be <brief> & kind.", Tools: tools, Messages: []cairn.Message{hi},
				Params: cairn.ModelParams{MaxOutput: 1 << 40, Temperature: &half, TopP: &half, Stop: []string{"x"}, OutputSchema: json.RawMessage(schema), NoTools: true},
			},
			[]string{
				`{"systemInstruction":{"parts":[{"text":"Be <brief> & kind."}]},`,
				`"tools":[{"functionDeclarations":[{"name":"a","description":"does <a>","parametersJsonSchema":{"type":"object"}},{"name":"b"}]}],`,
				`"contents":[{"role":"user","parts":[{"text":"hi"}]}],`,
				`"generationConfig":{"stopSequences":["x"],"maxOutputTokens":2147483647,"temperature":0.5,"topP":0.5,`,
				`"responseMimeType":"application/json","responseJsonSchema":` + schema + `},`,
				`"toolConfig":{"functionCallingConfig":{"mode":"NONE"}}}`,
			},
		},
		"schema without tools": {
			cairn.ModelRequest{Model: "google/gemini-2.5-pro", Messages: []cairn.Message{hi}, Params: cairn.ModelParams{MaxOutput: 9, OutputSchema: json.RawMessage(schema)}},
			[]string{
				`{"contents":[{"role":"user","parts":[{"text":"hi"}]}],`,
				`"generationConfig":{"maxOutputTokens":9,"responseMimeType":"application/json","responseJsonSchema":` + schema + `}}`,
			},
		},
		"schema with tools, before Gemini 3": {
			cairn.ModelRequest{
				Model: "google/gemini-2.5-pro", Tools: tools[1:], Messages: []cairn.Message{hi},
				Params: cairn.ModelParams{MaxOutput: 9, OutputSchema: json.RawMessage(schema)},
			},
			[]string{
				`{"systemInstruction":{"parts":[{"text":"When no more function is to be called, answer with one JSON document and nothing else. `,
				`It has to fit this JSON Schema:\n{\"type\":\"object\",\"required\":[\"x\"]}"}]},`,
				`"tools":[{"functionDeclarations":[{"name":"b"}]}],"contents":[{"role":"user","parts":[{"text":"hi"}]}],"generationConfig":{"maxOutputTokens":9}}`,
			},
		},
		"history of its own": {
			cairn.ModelRequest{Model: "google/gemini-3-pro", Messages: []cairn.Message{
				hi,
				said(
					cairn.Part{Kind: cairn.PartReasoning, Text: "hm", Provider: "google"},
					cairn.Text("I will"),
					own(cairn.Part{Kind: cairn.PartOpaque}, `{"text":"","thoughtSignature":"c2ln"}`),
					own(toolCall("id1", "a", `{"x":1}`), `{"functionCall":{"name":"a","args":{"x":1},"id":"id1"},"thoughtSignature":"c2ln"}`),
					toolCall("call_r_1", "b", `{}`),
				),
				results(result("id1", "4 °C"), result("call_r_1", `{"big":1}`)),
			}, Params: cairn.ModelParams{MaxOutput: 9}},
			[]string{
				`{"contents":[{"role":"user","parts":[{"text":"hi"}]},`,
				`{"role":"model","parts":[{"text":"hm","thought":true},{"text":"I will"},{"text":"","thoughtSignature":"c2ln"},`,
				`{"functionCall":{"name":"a","args":{"x":1},"id":"id1"},"thoughtSignature":"c2ln"},{"functionCall":{"name":"b","args":{}}}]},`,
				`{"role":"user","parts":[{"functionResponse":{"name":"a","response":{"output":"4 °C"},"id":"id1"}},`,
				`{"functionResponse":{"name":"b","response":{"big":1}}}]}],"generationConfig":{"maxOutputTokens":9}}`,
			},
		},
		"history of others": {
			cairn.ModelRequest{Model: "google/gemini-3-pro", Messages: []cairn.Message{
				hi,
				said(
					cairn.Part{Kind: cairn.PartReasoning, Text: "hm", Provider: "other", Opaque: json.RawMessage(`{"type":"thinking"}`)},
					cairn.Part{Kind: cairn.PartOpaque, Provider: "other", Opaque: json.RawMessage(`{}`)},
				),
				user(cairn.Text("go on")),
				said(
					cairn.Part{Kind: cairn.PartText, Text: "ok", Provider: "other", Opaque: json.RawMessage(`{"type":"text"}`)},
					toolCall("same", "a", `{"x":`), toolCall("same", "b", ` [1] `), toolCall("", "b", `{"y": "<"}`),
				),
				results(result("same", ""), cairn.Part{Kind: cairn.PartToolResult, CallID: "same", Text: "no", IsError: true}, result("", "[1]")),
			}, Params: cairn.ModelParams{MaxOutput: 9}},
			[]string{
				`{"contents":[{"role":"user","parts":[{"text":"hi"}]},{"role":"user","parts":[{"text":"go on"}]},`,
				`{"role":"model","parts":[{"text":"ok"},{"functionCall":{"name":"a","args":{}},"thoughtSignature":"c2tpcF90aG91Z2h0X3NpZ25hdHVyZV92YWxpZGF0b3I="},`,
				`{"functionCall":{"name":"b","args":{}}},{"functionCall":{"name":"b","args":{"y":"<"}}}]},`,
				`{"role":"user","parts":[{"functionResponse":{"name":"a","response":{"output":""}}},`,
				`{"functionResponse":{"name":"b","response":{"error":"no"}}},{"functionResponse":{"name":"b","response":{"output":"[1]"}}}]}],`,
				`"generationConfig":{"maxOutputTokens":9}}`,
			},
		},
		"unsigned call of an older model": {
			cairn.ModelRequest{Model: "google/gemini-flash-latest", Messages: []cairn.Message{
				hi, said(own(toolCall("id1", "a", `{}`), `{"functionCall": {"name":"a","id":"id1"}}`)), results(result("id1", "x")),
			}, Params: cairn.ModelParams{MaxOutput: 9}},
			[]string{
				`{"contents":[{"role":"user","parts":[{"text":"hi"}]},{"role":"model","parts":[`,
				`{"functionCall":{"name":"a","id":"id1"},"thoughtSignature":"c2tpcF90aG91Z2h0X3NpZ25hdHVyZV92YWxpZGF0b3I="}]},`,
				`{"role":"user","parts":[{"functionResponse":{"name":"a","response":{"output":"x"},"id":"id1"}}]}],"generationConfig":{"maxOutputTokens":9}}`,
			},
		},
		"media": {
			cairn.ModelRequest{Model: "google/gemini-2.5-pro", Messages: []cairn.Message{
				user(
					cairn.Text(""),
					cairn.Part{Kind: cairn.PartImage, MediaType: "image/png", Data: []byte("png")},
					cairn.Part{Kind: cairn.PartFile, MediaType: "application/pdf", Data: []byte("pdf")},
					cairn.Part{Kind: cairn.PartFile, MediaType: "text/csv; charset=utf-8", Data: []byte("a,b")},
					cairn.Part{Kind: cairn.PartFile, MediaType: "application/json", Data: []byte(`{"a":1}`)},
				),
				said(toolCall("1", "a", `{}`), toolCall("2", "b", `{}`)),
				results(
					cairn.Part{Kind: cairn.PartToolResult, CallID: "1", Text: "one", Parts: []cairn.Part{{Kind: cairn.PartImage, MediaType: "image/png", Data: []byte("1")}}},
					cairn.Part{Kind: cairn.PartToolResult, CallID: "2", Text: "two", Parts: []cairn.Part{{Kind: cairn.PartImage, MediaType: "image/png", Data: []byte("2")}}},
				),
			}, Params: cairn.ModelParams{MaxOutput: 9}},
			[]string{
				`{"contents":[{"role":"user","parts":[{"inlineData":{"mimeType":"image/png","data":"cG5n"}},{"inlineData":{"mimeType":"application/pdf","data":"cGRm"}},`,
				`{"text":"a,b"},{"text":"{\"a\":1}"}]},`,
				`{"role":"model","parts":[{"functionCall":{"name":"a","args":{}}},{"functionCall":{"name":"b","args":{}}}]},`,
				`{"role":"user","parts":[{"functionResponse":{"name":"a","response":{"output":"one"}}},{"functionResponse":{"name":"b","response":{"output":"two"}}},`,
				`{"text":"From result 1, a:"},{"inlineData":{"mimeType":"image/png","data":"MQ=="}},{"text":"From result 2, b:"},{"inlineData":{"mimeType":"image/png","data":"Mg=="}}]}],`,
				`"generationConfig":{"maxOutputTokens":9}}`,
			},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := google.EncodeRequest("google", &test.r)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(strings.Join(test.want, ""), string(got)); diff != "" {
				t.Error(diff)
			}
			var back google.Request
			if err := json.Unmarshal(got, &back); err != nil {
				t.Fatal(err)
			}
			if len(back.Contents) == 0 {
				t.Error("no contents")
			}
		})
	}
}

func TestEncodeRequestRefuses(t *testing.T) {
	t.Parallel()
	hi := user(cairn.Text("hi"))
	tests := map[string]cairn.ModelRequest{
		"no cap":    {Messages: []cairn.Message{hi}},
		"stops":     {Messages: []cairn.Message{hi}, Params: cairn.ModelParams{MaxOutput: 1, Stop: strings.Split("abcdef", "")}},
		"empty":     {Messages: []cairn.Message{user(cairn.Text(""))}, Params: cairn.ModelParams{MaxOutput: 1}},
		"file":      {Messages: []cairn.Message{user(cairn.Part{Kind: cairn.PartFile, MediaType: "application/zip", Data: []byte("PK")})}, Params: cairn.ModelParams{MaxOutput: 1}},
		"no type":   {Messages: []cairn.Message{user(cairn.Part{Kind: cairn.PartImage, Data: []byte("PK")})}, Params: cairn.ModelParams{MaxOutput: 1}},
		"no result": {Messages: []cairn.Message{hi, said(toolCall("1", "a", "{}")), hi}, Params: cairn.ModelParams{MaxOutput: 1}},
	}
	for name, r := range tests {
		_, err := google.EncodeRequest("google", &r)
		if e := cairn.AsError(err); cairn.CodeOf(err) != cairn.CodeInvalid || !e.NotDone {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestWhatOthersLeft: names that the API refuses, and media that it does not take, in
// the history of another provider are no reason to refuse the request.
func TestWhatOthersLeft(t *testing.T) {
	t.Parallel()
	r := result("1", "see")
	r.Parts = []cairn.Part{
		{Kind: cairn.PartFile, MediaType: "application/zip", Data: []byte("PK")}, {Kind: cairn.PartImage, MediaType: "image/jpg", Data: []byte("x")},
	}
	req, err := google.NewRequest("google", &cairn.ModelRequest{
		Messages: []cairn.Message{
			user(cairn.Text("hi")),
			said(cairn.Part{Kind: cairn.PartFile, MediaType: "model/obj", Data: []byte("x")}, toolCall("1", "1 do/it", "{}"), toolCall("2", "", "{}")),
			results(r, result("2", "x")),
		},
		Params: cairn.ModelParams{MaxOutput: 1},
	})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, c := range req.Contents[1:] {
		for _, p := range c.Parts {
			got = append(got, string(p))
		}
	}
	want := []string{
		`{"text":"(file: model/obj, 1 bytes, which cannot be shown here)"}`,
		`{"functionCall":{"name":"__do_it","args":{}}}`, `{"functionCall":{"name":"_","args":{}}}`,
		`{"functionResponse":{"name":"__do_it","response":{"output":"see"}}}`, `{"functionResponse":{"name":"_","response":{"output":"x"}}}`,
		`{"text":"(file: application/zip, 2 bytes, which cannot be shown here)"}`, `{"inlineData":{"mimeType":"image/jpeg","data":"eA=="}}`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// TestResults: an object goes as an object when Google reads it as it is meant.
func TestResults(t *testing.T) {
	t.Parallel()
	tests := []struct {
		text  string
		error bool
		want  string
	}{
		{`{"a": [1, 2.5, "x", null, true, {"b": -3e2}]}`, false, `{"a":[1,2.5,"x",null,true,{"b":-3e2}]}`},
		{`{"a":9007199254740993}`, false, `{"output":"{\"a\":9007199254740993}"}`},
		{`{"a":9007199254740992}`, false, `{"a":9007199254740992}`},
		{`{"a":1e999}`, false, `{"output":"{\"a\":1e999}"}`},
		{`{"a":1,"a":2}`, false, `{"output":"{\"a\":1,\"a\":2}"}`},
		{`{"a":{"$ref":"x"}}`, false, `{"output":"{\"a\":{\"$ref\":\"x\"}}"}`},
		{`{"output":1}`, false, `{"output":{"output":1}}`},
		{`{"error":null}`, false, `{"output":{"error":null}}`},
		{`{"x":{"error":1}}`, false, `{"x":{"error":1}}`},
		{`{"x":1}`, true, `{"error":{"x":1}}`},
		{`{"x":1} more`, false, `{"output":"{\"x\":1} more"}`},
		{`"x"`, false, `{"output":"\"x\""}`},
		{strings.Repeat(`{"a":`, 30) + "1" + strings.Repeat("}", 30), true, `{"error":"` + strings.Repeat(`{\"a\":`, 30) + "1" + strings.Repeat("}", 30) + `"}`},
		{"", true, `{"error":""}`},
	}
	for _, test := range tests {
		r := result("1", test.text)
		r.IsError = test.error
		req, err := google.NewRequest("google", &cairn.ModelRequest{
			Messages: []cairn.Message{user(cairn.Text("hi")), said(toolCall("1", "a", "{}")), results(r)},
			Params:   cairn.ModelParams{MaxOutput: 1},
		})
		if err != nil {
			t.Fatal(err)
		}
		want := `{"functionResponse":{"name":"a","response":` + test.want + `}}`
		if diff := cmp.Diff(want, string(req.Contents[2].Parts[0])); diff != "" {
			t.Errorf("%s: %s", test.text, diff)
		}
	}
}
