package google_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/model"
	"github.com/cairn-run/cairn/model/google"
)

// sendBack checks that an answer can be recorded, and that a request with it in
// its history can be made, twice the same.
func sendBack(t *testing.T, a *cairn.ModelAnswer) {
	t.Helper()
	if u := a.Usage; min(u.Input, u.CacheRead, u.InputAudio, u.Output, u.OutputAudio, u.Reasoning, u.Searches) < 0 {
		t.Fatalf("usage %+v", u)
	}
	stored, err := json.Marshal(a)
	if err != nil {
		t.Fatal(err)
	}
	var back cairn.ModelAnswer
	if err := json.Unmarshal(stored, &back); err != nil {
		t.Fatal(err)
	}
	r := &cairn.ModelRequest{Model: "google/gemini-3-pro", Messages: []cairn.Message{user(cairn.Text("hi"))}, Params: cairn.ModelParams{MaxOutput: 1}}
	ids := map[string]bool{}
	var answers []cairn.Part
	for _, p := range back.Content {
		if p.Kind != cairn.PartToolCall {
			continue
		}
		if p.Tool == "" || p.CallID == "" || ids[p.CallID] {
			t.Fatalf("a call to %q with the id %q", p.Tool, p.CallID)
		}
		ids[p.CallID] = true
		answers = append(answers, result(p.CallID, "ok"))
	}
	if len(back.Content) > 0 {
		r.Messages = append(r.Messages, said(back.Content...))
	}
	if len(answers) > 0 {
		r.Messages = append(r.Messages, results(answers...))
	} else {
		r.Messages = append(r.Messages, user(cairn.Text("go on")))
	}
	for _, provider := range []string{"google", "other"} {
		once, err := google.EncodeRequest(provider, r)
		if err != nil {
			if provider == "other" && cairn.CodeOf(err) == cairn.CodeInvalid {
				continue // a file that cannot be sent
			}
			t.Fatal(err)
		}
		again, _ := google.EncodeRequest(provider, r)
		if !json.Valid(once) || string(once) != string(again) {
			t.Fatalf("%s\n%s", once, again)
		}
	}
}

func failed(t *testing.T, err error) {
	t.Helper()
	f, ok := errors.AsType[*model.Failure](err)
	if !ok || f.Err == nil || f.Err.Code == "" || f.Err.Code == cairn.CodeInternal {
		t.Fatalf("%T %v", err, err)
	}
}

func FuzzResponse(f *testing.F) {
	for _, c := range chunks("STOP", text("a"), `{"inlineData":{"mimeType":"text/x","data":"YQ=="},"thought":true},{"functionCall":{"name":"a","args":{"x":[1]},"id":"i"}}`) {
		f.Add([]byte(c))
	}
	f.Add([]byte(`[{"promptFeedback":{"blockReason":"SAFETY"}}]`))
	f.Add([]byte(`{"error":{"code":503}}`))
	f.Add([]byte(`{"candidates":[{"finishReason":"STOP","groundingMetadata":{"webSearchQueries":["a"]}}],"usageMetadata":{"promptTokenCount":1}}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		a, err := google.DecodeResponse("google", body)
		if err != nil {
			failed(t, err)
			return
		}
		sendBack(t, a)
	})
}

func FuzzStream(f *testing.F) {
	f.Add(strings.Join(chunks("STOP", text("a"), text("b"), `{"text":"","thoughtSignature":"c2ln"}`), "\n"))
	f.Add(strings.Join(chunks(
		"MAX_TOKENS", `{"functionCall":{"name":"a","willContinue":true}}`,
		`{"functionCall":{"partialArgs":[{"jsonPath":"$.a[0]['b'].c","stringValue":"x"},{"jsonPath":"$.d","boolValue":true}],"willContinue":true}}`,
	), "\n"))
	f.Fuzz(func(t *testing.T, lines string) {
		s := google.NewStream("google")
		heard := map[int]string{}
		for l := range strings.SplitSeq(lines, "\n") {
			deltas, err := s.Add([]byte(l))
			for _, d := range deltas {
				heard[d.Index] += d.Text
			}
			if err != nil {
				failed(t, err)
				break
			}
		}
		a, err := s.Done()
		if err != nil {
			failed(t, err)
			return
		}
		for i, p := range a.Content {
			want := p.Text
			if p.Kind == cairn.PartToolCall {
				want = p.Args
			}
			if heard[i] != want {
				t.Fatalf("part %d is %q, and %q was said", i, want, heard[i])
			}
		}
		sendBack(t, a)
	})
}

// FuzzRequest: every request that is valid can be encoded, or is refused before it
// is sent; what is encoded is read back as it is.
func FuzzRequest(f *testing.F) {
	f.Add([]byte(`{"model":"google/gemini-3","system":"s","tools":[{"name":"a","input_schema":{"type":"object"}}],"messages":[{"role":"user","content":[{"kind":"text","text":"hi"}]},
		{"role":"assistant","content":[{"kind":"reasoning","text":"x","provider":"google","opaque":{"text":"x","thought":true}},{"kind":"tool_call","call_id":"1","tool":"a","args":"{"}]},
		{"role":"tool","content":[{"kind":"tool_result","call_id":"1","text":"{\"a\":1}","parts":[{"kind":"image","media_type":"image/png","data":"eA=="}]}]}],
		"params":{"max_output":5,"stop":["x"],"output_schema":{}}}`))
	f.Fuzz(func(t *testing.T, doc []byte) {
		var r cairn.ModelRequest
		if json.Unmarshal(doc, &r) != nil {
			return
		}
		body, err := google.EncodeRequest("google", &r)
		if err != nil {
			if e := cairn.AsError(err); e.Code != cairn.CodeInvalid || !e.NotDone {
				t.Fatal(err)
			}
			return
		}
		var first, second google.Request
		if err := json.Unmarshal(body, &first); err != nil {
			t.Fatal(err)
		}
		again, err := json.Marshal(first)
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(again, &second); err != nil {
			t.Fatal(err)
		}
		for _, r := range []*google.Request{&first, &second} {
			for _, c := range r.Contents {
				if len(c.Parts) == 0 {
					t.Fatalf("a turn without parts: %s", body)
				}
			}
		}
		if diff := cmp.Diff(len(first.Contents), len(second.Contents)); diff != "" {
			t.Fatal(diff)
		}
	})
}
