package anthropic

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/cairn-run/cairn"
)

func user(parts ...cairn.Part) cairn.Message {
	return cairn.Message{Role: cairn.RoleUser, Content: parts}
}

func assistant(parts ...cairn.Part) cairn.Message {
	return cairn.Message{Role: cairn.RoleAssistant, Content: parts}
}

func results(parts ...cairn.Part) cairn.Message {
	return cairn.Message{Role: cairn.RoleTool, Content: parts}
}

func call(id, tool, args string) cairn.Part {
	return cairn.Part{Kind: cairn.PartToolCall, CallID: id, Tool: tool, Args: args}
}

func result(id, text string, parts ...cairn.Part) cairn.Part {
	return cairn.Part{Kind: cairn.PartToolResult, CallID: id, Text: text, Parts: parts}
}

func image(media, data string) cairn.Part {
	return cairn.Part{Kind: cairn.PartImage, MediaType: media, Data: []byte(data)}
}

func file(media, data string) cairn.Part {
	return cairn.Part{Kind: cairn.PartFile, MediaType: media, Data: []byte(data)}
}

// bare writes nothing that was not asked for.
var bare = Format{NoStream: true, NoCache: true, NoTier: true}

// messages encodes turns and returns what they became.
func messages(t testing.TB, all ...cairn.Message) string {
	t.Helper()
	b, err := EncodeRequest("anthropic", &cairn.ModelRequest{
		Model: "anthropic/m", Messages: all, Params: cairn.ModelParams{MaxOutput: 1},
		Tools: []cairn.ToolDef{{Name: "f"}},
	}, bare)
	if err != nil {
		t.Fatal(err)
	}
	var doc struct {
		Messages json.RawMessage `json:"messages"`
	}
	if err := json.Unmarshal(b, &doc); err != nil {
		t.Fatal(err)
	}
	return string(doc.Messages)
}

func TestRequest(t *testing.T) {
	t.Parallel()
	half, one := 0.5, 1.0
	r := &cairn.ModelRequest{
		Model: "anthropic/claude/x", System: "Be <brief>.",
		Tools: []cairn.ToolDef{
			{Name: "f", Description: "F & G", InputSchema: json.RawMessage(`{"type": "object", "properties": {"b": {}, "a": {}}}`)},
			{Name: "g", InputSchema: json.RawMessage(`{"properties":{}}`)},
			{Name: "h"},
		},
		Messages: []cairn.Message{
			user(cairn.Text("Hi")),
			assistant(cairn.Text("Ho"), call("toolu_1", "f", `{"a": "<é>"}`)),
			results(result("toolu_1", "42")),
		},
		Params: cairn.ModelParams{MaxOutput: 100, Temperature: &half, TopP: &one, Stop: []string{"END"}, OutputSchema: json.RawMessage(`{"type":"object","properties":{}}`)},
	}
	tools := `"tools":[{"name":"f","description":"F & G","input_schema":{"type":"object","properties":{"b":{},"a":{}}}},{"name":"g","input_schema":{"type":"object","properties":{}}},{"name":"h","input_schema":{"type":"object"}}]`
	config := `"output_config":{"format":{"type":"json_schema","schema":{"type":"object","properties":{},"additionalProperties":false}}}`
	head := `{"model":"claude/x","max_tokens":100,`
	params := `"temperature":0.5,"top_p":1,"stop_sequences":["END"],`
	tests := map[string]struct {
		format Format
		none   bool
		want   string
	}{
		"default": {
			Format{},
			false,
			head + `"stream":true,` + params + `"service_tier":"standard_only",` + config + `,` + tools +
				`,"system":[{"type":"text","text":"Be <brief>.","cache_control":{"type":"ephemeral"}}],"messages":[` +
				`{"role":"user","content":[{"type":"text","text":"Hi","cache_control":{"type":"ephemeral"}}]},` +
				`{"role":"assistant","content":[{"type":"text","text":"Ho"},{"type":"tool_use","id":"toolu_1","name":"f","input":{"a":"<é>"}}]},` +
				`{"role":"user","content":[{"type":"tool_result","tool_use_id":"toolu_1","content":[{"type":"text","text":"42"}],"cache_control":{"type":"ephemeral"}}]}]}`,
		},
		"bare, without calls": {
			bare, true,
			head + params + config + `,"tool_choice":{"type":"none"},` + tools +
				`,"system":[{"type":"text","text":"Be <brief>."}],"messages":[` +
				`{"role":"user","content":[{"type":"text","text":"Hi"}]},` +
				`{"role":"assistant","content":[{"type":"text","text":"Ho"},{"type":"tool_use","id":"toolu_1","name":"f","input":{"a":"<é>"}}]},` +
				`{"role":"user","content":[{"type":"tool_result","tool_use_id":"toolu_1","content":[{"type":"text","text":"42"}]}]}]}`,
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := *r
			r.Params.NoTools = test.none
			for range 3 {
				got, err := EncodeRequest("anthropic", &r, test.format)
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(test.want, string(got)); diff != "" {
					t.Fatal(diff)
				}
			}
		})
	}
}

func TestBreakpoints(t *testing.T) {
	t.Parallel()
	marks := func(r *cairn.ModelRequest, f Format) []string {
		b, err := EncodeRequest("anthropic", r, f)
		if err != nil {
			t.Fatal(err)
		}
		var doc struct {
			Tools  []json.RawMessage
			System []json.RawMessage
			// In order of the prefix.
			Messages []struct{ Content []json.RawMessage }
		}
		if err := json.Unmarshal(b, &doc); err != nil {
			t.Fatal(err)
		}
		var out []string
		look := func(where string, list []json.RawMessage) {
			for i, raw := range list {
				o, _ := parseObject(raw)
				if c := o.get("cache_control"); c != nil {
					out = append(out, fmt.Sprintf("%s %d %s", where, i, c))
				}
			}
		}
		look("tool", doc.Tools)
		look("system", doc.System)
		for i, m := range doc.Messages {
			look(fmt.Sprintf("message %d", i), m.Content)
		}
		return out
	}
	tools := []cairn.ToolDef{{Name: "f"}, {Name: "g"}}
	params := cairn.ModelParams{MaxOutput: 1}
	short, long := `{"type":"ephemeral"}`, `{"type":"ephemeral","ttl":"1h"}`
	turns := []cairn.Message{
		user(cairn.Text("a"), cairn.Text("b")),
		assistant(call("1", "f", "{}"), call("2", "g", "{}")),
		results(result("1", "x"), result("2", "y")),
		user(cairn.Text("steer")),
		assistant(cairn.Text("ok")),
		user(cairn.Text("c")),
	}
	tests := map[string]struct {
		r    *cairn.ModelRequest
		f    Format
		want []string
	}{
		"first turn":   {&cairn.ModelRequest{Messages: turns[:1], System: "s", Tools: tools, Params: params}, Format{}, []string{"system 0 " + short, "message 0 1 " + short}},
		"no system":    {&cairn.ModelRequest{Messages: turns[:1], Tools: tools, Params: params}, Format{}, []string{"tool 1 " + short, "message 0 1 " + short}},
		"neither":      {&cairn.ModelRequest{Messages: turns[:1], Params: params}, Format{}, []string{"message 0 1 " + short}},
		"results":      {&cairn.ModelRequest{Messages: turns[:3], System: "s", Params: params}, Format{}, []string{"system 0 " + short, "message 0 1 " + short, "message 2 1 " + short}},
		"steered":      {&cairn.ModelRequest{Messages: turns[:4], System: "s", Params: params}, Format{}, []string{"system 0 " + short, "message 0 1 " + short, "message 2 2 " + short}},
		"an hour":      {&cairn.ModelRequest{Messages: turns, System: "s", Params: params}, Format{CacheHour: true}, []string{"system 0 " + long, "message 2 2 " + long, "message 4 0 " + long}},
		"without":      {&cairn.ModelRequest{Messages: turns, System: "s", Tools: tools, Params: params}, Format{NoCache: true}, nil},
		"without hour": {&cairn.ModelRequest{Messages: turns, Params: params}, Format{NoCache: true, CacheHour: true}, nil},
	}
	for name, test := range tests {
		if diff := cmp.Diff(test.want, marks(test.r, test.f)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

// TestPrefix: what one turn sent is the beginning of what the next one sends,
// breakpoints apart; and there are never more of them than four.
func TestPrefix(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		r := &cairn.ModelRequest{
			Model: "p/m", System: rapid.StringMatching(`[a-z<>&é]{0,9}`).Draw(t, "system"),
			Tools:  []cairn.ToolDef{{Name: "f", Description: "<f>"}},
			Params: cairn.ModelParams{MaxOutput: 9},
		}
		mark := []byte(`,"cache_control":{"type":"ephemeral"}`)
		var before []byte
		for range rapid.IntRange(1, 6).Draw(t, "turns") {
			r.Messages = append(r.Messages, user(cairn.Text(rapid.StringMatching(`[ a-z"<]{0,5}`).Draw(t, "said"))))
			if n := rapid.IntRange(0, 3).Draw(t, "calls"); n > 0 {
				var calls, outs []cairn.Part
				for range n {
					id := rapid.SampledFrom([]string{"", "a", "a_2", "b:1", "c"}).Draw(t, "id")
					args := rapid.SampledFrom([]string{`{}`, `{"a": 1}`, `[1]`, `{"a`, ``}).Draw(t, "args")
					calls = append(calls, call(id, "f", args))
					outs = append(outs, result(id, rapid.SampledFrom([]string{"", "ok"}).Draw(t, "out")))
				}
				r.Messages = append(r.Messages, assistant(calls...), results(outs...))
			}
			if err := r.Validate(); err != nil {
				t.Fatal(err)
			}
			got, err := EncodeRequest("p", r, Format{})
			if err != nil {
				t.Fatal(err)
			}
			if n := bytes.Count(got, mark); n > 4 || n < 2 {
				t.Fatalf("%d breakpoints", n)
			}
			got = bytes.ReplaceAll(got, mark, nil)
			if !bytes.HasPrefix(got, before) {
				t.Fatalf("%s\nwas followed by\n%s", before, got)
			}
			before = bytes.TrimSuffix(got, []byte("]}]}"))
			checkCalls(t, got)
			r.Messages = append(r.Messages, assistant(cairn.Text("ok")))
		}
	})
}

// checkCalls looks for what the API refuses: ids that repeat, results in another
// place than after their calls, arguments that are no objects, empty text, turns
// out of turn.
func checkCalls(t *rapid.T, body []byte) {
	var r Request
	if err := json.Unmarshal(body, &r); err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	var open []string
	for i, m := range r.Messages {
		if i > 0 && m.Role == r.Messages[i-1].Role {
			t.Fatalf("two turns of the %s", m.Role)
		}
		if len(m.Content) == 0 {
			t.Fatalf("message %d is empty", i)
		}
		var calls []string
		for j, b := range m.Content {
			switch b.Type {
			case BlockText:
				if strings.TrimSpace(b.Text) == "" {
					t.Fatalf("message %d has an empty text", i)
				}
			case BlockToolUse:
				if seen[b.ID] || b.ID != clean(b.ID, 0) || !isObject(b.Input) {
					t.Fatalf("call %s", b.Raw)
				}
				seen[b.ID] = true
				calls = append(calls, b.ID)
			case BlockToolResult:
				if j >= len(open) || open[j] != b.ToolUseID {
					t.Fatalf("result %d is for %q, calls were %q", j, b.ToolUseID, open)
				}
			}
		}
		open = calls
	}
}

func TestHistory(t *testing.T) {
	t.Parallel()
	own := func(p cairn.Part, raw string) cairn.Part {
		p.Provider, p.Opaque = "anthropic", json.RawMessage(raw)
		return p
	}
	foreign := func(p cairn.Part) cairn.Part {
		p.Provider, p.Opaque = "openai", json.RawMessage(`{"x":1}`)
		return p
	}
	text := cairn.Text
	hi := user(text("hi"))
	first := `{"role":"user","content":[{"type":"text","text":"hi"}]}`
	tests := map[string]struct {
		in   []cairn.Message
		want string
	}{
		"verbatim": {
			[]cairn.Message{hi, assistant(
				own(cairn.Part{Kind: cairn.PartReasoning, Text: "hm"}, `{"type":"thinking","thinking":"hm","signature":"<s>"}`),
				own(text("so"), `{"citations":[],"type":"text","text":"so"}`),
				own(cairn.Part{Kind: cairn.PartOpaque}, `{"type":"dance","n":1.0}`),
				own(call("toolu_1", "f", `{"a": 1}`), `{"type":"tool_use","id":"toolu_1","name":"f","input":{"a":1},"caller":{"type":"direct"}}`),
			)},
			first + `,{"role":"assistant","content":[{"type":"thinking","thinking":"hm","signature":"<s>"},{"citations":[],"type":"text","text":"so"},{"type":"dance","n":1.0},{"type":"tool_use","id":"toolu_1","name":"f","input":{"a":1},"caller":{"type":"direct"}}]}`,
		},
		"of another": {
			[]cairn.Message{hi, assistant(
				foreign(cairn.Part{Kind: cairn.PartReasoning, Text: "hm"}), foreign(cairn.Part{Kind: cairn.PartOpaque}),
				foreign(text("so")), foreign(call("fc|1.2", "f", `{"a": 1}`)),
			)},
			first + `,{"role":"assistant","content":[{"type":"text","text":"so"},{"type":"tool_use","id":"fc_1_2","name":"f","input":{"a":1}}]}`,
		},
		"nothing left": {
			[]cairn.Message{hi, assistant(foreign(cairn.Part{Kind: cairn.PartReasoning, Text: "hm"})), user(text("go on"))},
			`{"role":"user","content":[{"type":"text","text":"hi"},{"type":"text","text":"go on"}]}`,
		},
		"white space": {
			[]cairn.Message{hi, assistant(text("\n\n"), own(text(" "), `{"type":"text","text":" "}`), text("so ")), user(text(" "), text("")), user(text("x"))},
			first + `,{"role":"assistant","content":[{"type":"text","text":"so "}]},{"role":"user","content":[{"type":"text","text":"(no text)"},{"type":"text","text":"x"}]}`,
		},
		"unsigned": {
			[]cairn.Message{hi, assistant(cairn.Part{Kind: cairn.PartReasoning, Text: "hm", Provider: "anthropic"}, text("so"))},
			first + `,{"role":"assistant","content":[{"type":"thinking","thinking":"hm"},{"type":"text","text":"so"}]}`,
		},
		"cut within its thoughts": {
			[]cairn.Message{
				hi,
				assistant(
					own(cairn.Part{Kind: cairn.PartReasoning, Text: "hm"}, `{"type":"thinking","thinking":"hm","signature":"s"}`), text("so"),
					own(cairn.Part{Kind: cairn.PartOpaque}, `{"type":"redacted_thinking","data":"x"}`),
					own(cairn.Part{Kind: cairn.PartReasoning, Text: "h"}, `{"type":"thinking","thinking":"h","signature":""}`), text(" "),
				),
				user(text("go on")),
				assistant(own(cairn.Part{Kind: cairn.PartReasoning, Text: "h"}, `{"type":"thinking","thinking":"h","signature":""}`)),
				user(text("and?")),
			},
			first + `,{"role":"assistant","content":[{"type":"thinking","thinking":"hm","signature":"s"},{"type":"text","text":"so"}]},` +
				`{"role":"user","content":[{"type":"text","text":"go on"},{"type":"text","text":"and?"}]}`,
		},
		"its own call of a tool that cannot be": {
			[]cairn.Message{hi, assistant(own(call("a", "web.open", "{}"), `{"type":"tool_use","id":"a","name":"web.open","input":{},"z":1}`)), results(result("a", "no"))},
			first + `,{"role":"assistant","content":[{"type":"tool_use","id":"a","name":"web_open","input":{},"z":1}]},` +
				`{"role":"user","content":[{"type":"tool_result","tool_use_id":"a","content":[{"type":"text","text":"no"}]}]}`,
		},
		"a result with what cannot be shown": {
			[]cairn.Message{hi, assistant(call("a", "f", "{}")), results(result("a", "see", file("audio/wav", "x"), image("image/bmp", "xy"), file("application/zip", "PK"), image("", "")))},
			first + `,{"role":"assistant","content":[{"type":"tool_use","id":"a","name":"f","input":{}}]},` +
				`{"role":"user","content":[{"type":"tool_result","tool_use_id":"a","content":[{"type":"text","text":"see"},{"type":"text","text":"(file: audio/wav, 1 bytes)"},` +
				`{"type":"text","text":"(image: image/bmp, 2 bytes)"},{"type":"text","text":"(file: application/zip, 2 bytes)"},{"type":"text","text":"(image: , 0 bytes)"}]}]}`,
		},
		"images under a wrong name": {
			[]cairn.Message{user(image("image/jpg", "x"), image("image/jpeg", "\x89PNG\r\n\x1a\n"), image("application/octet-stream", "GIF89a"))},
			`{"role":"user","content":[{"type":"image","source":{"type":"base64","media_type":"image/jpeg","data":"eA=="}},` +
				`{"type":"image","source":{"type":"base64","media_type":"image/png","data":"iVBORw0KGgo="}},{"type":"image","source":{"type":"base64","media_type":"image/gif","data":"R0lGODlh"}}]}`,
		},
		"broken calls": {
			[]cairn.Message{hi, assistant(
				call("", "f", `{"a`), call("", "no such!", `[1]`), call("a", "", `"x"`), call("a", "f", ``),
				own(call("a", "f", `{}`), `{"type":"tool_use","id":"a","name":"f","input":"x","z":1}`),
			), results(result("", "1"), result("", "2"), result("a", "3"), result("a", "4"), result("a", "5"))},
			first + `,{"role":"assistant","content":[{"type":"tool_use","id":"_","name":"f","input":{}},{"type":"tool_use","id":"__2","name":"no_such_","input":{}},` +
				`{"type":"tool_use","id":"a","name":"_","input":{}},{"type":"tool_use","id":"a_2","name":"f","input":{}},{"type":"tool_use","id":"a_3","name":"f","input":{},"z":1}]},` +
				`{"role":"user","content":[{"type":"tool_result","tool_use_id":"_","content":[{"type":"text","text":"1"}]},{"type":"tool_result","tool_use_id":"__2","content":[{"type":"text","text":"2"}]},` +
				`{"type":"tool_result","tool_use_id":"a","content":[{"type":"text","text":"3"}]},{"type":"tool_result","tool_use_id":"a_2","content":[{"type":"text","text":"4"}]},{"type":"tool_result","tool_use_id":"a_3","content":[{"type":"text","text":"5"}]}]}`,
		},
		"results": {
			[]cairn.Message{hi, assistant(call("a", "f", "{}"), call("b", "f", "{}"), call("c", "f", "{}")), results(
				result("a", "see", image("image/png", "\x89PNG"), file("application/pdf", "%PDF"), text("more")),
				cairn.Part{Kind: cairn.PartToolResult, CallID: "b", IsError: true}, result("c", " "),
			), user(text("and?"))},
			first + `,{"role":"assistant","content":[{"type":"tool_use","id":"a","name":"f","input":{}},{"type":"tool_use","id":"b","name":"f","input":{}},{"type":"tool_use","id":"c","name":"f","input":{}}]},` +
				`{"role":"user","content":[{"type":"tool_result","tool_use_id":"a","content":[{"type":"text","text":"see"},{"type":"image","source":{"type":"base64","media_type":"image/png","data":"iVBORw=="}},{"type":"document","source":{"type":"base64","media_type":"application/pdf","data":"JVBERg=="}},{"type":"text","text":"more"}]},` +
				`{"type":"tool_result","tool_use_id":"b","content":[{"type":"text","text":"(failed without a message)"}],"is_error":true},{"type":"tool_result","tool_use_id":"c"},{"type":"text","text":"and?"}]}`,
		},
		"media": {
			[]cairn.Message{user(image("image/jpeg", "x"), image("image/gif", "x"), image("IMAGE/WEBP; q=1", "x"), file("text/csv; charset=utf-8", "a,é"), file("application/json", "{}"), file("text/plain", " "))},
			`{"role":"user","content":[{"type":"image","source":{"type":"base64","media_type":"image/jpeg","data":"eA=="}},{"type":"image","source":{"type":"base64","media_type":"image/gif","data":"eA=="}},{"type":"image","source":{"type":"base64","media_type":"image/webp","data":"eA=="}},` +
				`{"type":"document","source":{"type":"text","media_type":"text/plain","data":"a,é"}},{"type":"document","source":{"type":"text","media_type":"text/plain","data":"{}"}},{"type":"text","text":"(no text)"}]}`,
		},
		"an image of another": {
			[]cairn.Message{hi, assistant(image("image/png", "123"))},
			first + `,{"role":"assistant","content":[{"type":"text","text":"(image: image/png, 3 bytes)"}]}`,
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff("["+test.want+"]", messages(t, test.in...)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestToolsGone: calls in the history need tools, also when the agent has none now.
func TestToolsGone(t *testing.T) {
	t.Parallel()
	b, err := EncodeRequest("anthropic", &cairn.ModelRequest{
		Model: "anthropic/m", Params: cairn.ModelParams{MaxOutput: 1},
		Messages: []cairn.Message{user(cairn.Text("x")), assistant(call("a", "g", "{}"), call("b", "f", "{}"), call("c", "g", "{}")), results(result("a", "1"), result("b", "2"), result("c", "3"))},
	}, bare)
	if err != nil {
		t.Fatal(err)
	}
	want := `"tool_choice":{"type":"none"},"tools":[{"name":"g","description":"Not available.","input_schema":{"type":"object"}},{"name":"f","description":"Not available.","input_schema":{"type":"object"}}]`
	if !strings.Contains(string(b), want) {
		t.Errorf("%s", b)
	}
}

func TestCannot(t *testing.T) {
	t.Parallel()
	hot, low := 1.5, -0.1
	tests := map[string]*cairn.ModelRequest{
		"too hot":       {Params: cairn.ModelParams{Temperature: &hot}, Messages: []cairn.Message{user(cairn.Text("x"))}},
		"too cold":      {Params: cairn.ModelParams{TopP: &low}, Messages: []cairn.Message{user(cairn.Text("x"))}},
		"sound":         {Messages: []cairn.Message{user(file("audio/wav", "x"))}},
		"a bitmap":      {Messages: []cairn.Message{user(image("image/bmp", "x"))}},
		"no type":       {Messages: []cairn.Message{user(image("", "x"))}},
		"no data":       {Messages: []cairn.Message{user(image("image/png", ""))}},
		"not UTF-8":     {Messages: []cairn.Message{user(file("text/plain", "\xff"))}},
		"a call":        {Messages: []cairn.Message{user(call("a", "f", "{}"))}},
		"broken schema": {Params: cairn.ModelParams{OutputSchema: json.RawMessage(`{`)}, Messages: []cairn.Message{user(cairn.Text("x"))}},
	}
	for name, r := range tests {
		b, err := EncodeRequest("anthropic", r, Format{})
		e := cairn.AsError(err)
		if b != nil || e == nil || e.Code != cairn.CodeInvalid || !e.NotDone || e.Retryable {
			t.Errorf("%s: %s, %v", name, b, err)
		}
	}
}
