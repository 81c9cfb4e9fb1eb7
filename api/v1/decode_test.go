package v1

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/cairn-run/cairn"
)

func TestDecodeIsStrict(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct{ body, want string }{
		"plain":             {`{"agent":"a","input":"hello","budget":{"run":"$1.25"}}`, ""},
		"parts":             {`{"agent":"a","input":[{"kind":"text","text":"x"},{"kind":"image","media_type":"image/png","data":"aGk="}]}`, ""},
		"null is absent":    {`{"agent":"a","input":null,"budget":null}`, ""},
		"unknown field":     {`{"agent":"a","colour":"red"}`, "colour: there is no such field"},
		"unknown, nested":   {`{"agent":"a","budget":{"runn":1}}`, "budget.runn: there is no such field"},
		"unknown in a part": {`{"agent":"a","input":[{"kind":"text","text":"x","call_id":"1"}]}`, "[0].call_id: there is no such field"},
		"other case":        {`{"Agent":"a"}`, "Agent: there is no such field"},
		"twice":             {`{"agent":"a","agent":"b"}`, `the key "agent" stands twice`},
		"twice, deep":       {`{"agent":"a","metadata":{"x":"1","x":"2"}}`, `the key "x" stands twice`},
		"two values":        {`{"agent":"a"}{}`, "text after the JSON value"},
		"cut":               {`{"agent":"a"`, "ends too early"},
		"empty":             {``, "ends too early"},
		"not UTF-8":         {"{\"agent\":\"\xff\"}", "not valid UTF-8"},
		"deep":              {`{"metadata":` + strings.Repeat("[", 300) + strings.Repeat("]", 300) + `}`, "nested more than 200 deep"},
		"empty text":        {`{"agent":"a","input":""}`, "text is empty"},
		"empty list":        {`{"agent":"a","input":[]}`, "content is empty"},
		"tool call":         {`{"agent":"a","input":[{"kind":"tool_call"}]}`, `kind "tool_call" cannot be sent`},
		"number as input":   {`{"agent":"a","input":7}`, "content is a string, or a list of parts"},
		"image without":     {`{"agent":"a","input":[{"kind":"image"}]}`, "give media_type and data"},
		"bad money":         {`{"agent":"a","budget":{"run":"1 dollar"}}`, "write it like $1.25"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var v CreateSession
			err := Decode([]byte(tc.body), &v)
			switch {
			case tc.want == "" && err != nil:
				t.Errorf("error %v", err)
			case tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)):
				t.Errorf("error %v, want one that says %q", err, tc.want)
			}
		})
	}
}

func TestContentRoundTrip(t *testing.T) {
	t.Parallel()
	in := Content{{Kind: cairn.PartText, Text: "look"}, {Kind: cairn.PartFile, MediaType: "text/plain", Data: []byte("x")}}
	b, err := json.Marshal(PostMessage{Content: in})
	if err != nil {
		t.Fatal(err)
	}
	var out PostMessage
	if err := Decode(b, &out); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(in, out.Content); d != "" {
		t.Error(d)
	}
}

func TestEventRoundTrip(t *testing.T) {
	t.Parallel()
	in := cairn.Event{Seq: 7, Run: "run_1", Step: "eff_1", Data: cairn.ToolCallStarted{Attempt: 2}}
	e, err := EventFrom("ses_1", in)
	if err != nil {
		t.Fatal(err)
	}
	if e.ID != "ses_1/7" || e.Type != "tool_call.started" {
		t.Errorf("envelope %+v", e)
	}
	out, err := e.Cairn()
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(in, out); d != "" {
		t.Error(d)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"agent":"a","input":"x","budget":{"run":"$1"},"metadata":{"k":"v"}}`))
	f.Add([]byte(`{"agent":"a","input":[{"kind":"file","media_type":"a/b","data":"aGk="}]}`))
	f.Add([]byte(`{"Agent":"a","agent":"b"}`))
	f.Add([]byte(`{"input":"0","budget":{},"metadata":{}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		var v CreateSession
		if err := Decode(b, &v); err != nil {
			return
		}
		again, err := json.Marshal(v)
		if err != nil {
			t.Fatalf("%s was read and cannot be written: %v", b, err)
		}
		var w CreateSession
		if err := Decode(again, &w); err != nil {
			t.Fatalf("%s was written and cannot be read: %v", again, err)
		}
		if d := cmp.Diff(v, w, cmpopts.EquateEmpty()); d != "" { // an empty mapping is left out
			t.Fatal(d)
		}
	})
}
