package engine_test

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/engine"
)

// TestOwnForms: a provider's own form of a part goes back to it and to nobody else;
// what the part says goes to all.
func TestOwnForms(t *testing.T) {
	t.Parallel()
	env, s, history := started(t)
	said := []cairn.Part{
		{Kind: cairn.PartText, Text: "So.", Provider: "script", Opaque: json.RawMessage(`{"type":"text","text":"So.","citations":[1]}`)},
		{Kind: cairn.PartToolCall, CallID: "c", Tool: "look", Args: `{"q":1}`, Provider: "script", Opaque: json.RawMessage(`{"type":"call","signature":"x"}`)},
	}
	plain := []cairn.Part{cairn.Text("So."), {Kind: cairn.PartToolCall, CallID: "c", Tool: "look", Args: `{"q":1}`}}
	step := func(d cairn.InputData) {
		for _, e := range engine.Step(env, s, cairn.Input{To: s.Key, At: epoch, Data: d}) {
			s = engine.Fold(s, e)
			history = append(history, e)
		}
	}
	step(cairn.ModelOutcome{
		Effect: engine.Open(s)[0].ID, Attempt: 1, Checks: []cairn.Check{check("look", `{"q":1}`)},
		Answer: &cairn.ModelAnswer{Model: "one", Stop: cairn.StopToolUse, Usage: cairn.Usage{Input: 100, Output: 10}, Content: said},
	})
	step(cairn.ToolOutcome{Effect: engine.Open(s)[0].ID, Attempt: 1, Result: &cairn.ToolResult{Content: []cairn.Part{cairn.Text("seen")}}})
	for model, want := range map[string][]cairn.Part{"script/one": said, "other/two": plain} {
		req, err := engine.Render(env.Agent, env.Tools, model, s.Model.Manifest, func(yield func(cairn.Event, error) bool) {
			for _, e := range history {
				if !yield(e, nil) {
					return
				}
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, req.Messages[1].Content); diff != "" {
			t.Errorf("to %s:\n%s", model, diff)
		}
	}
}

// TestPictureSize: a picture is charged by its area: a large file is neither a
// conversation that is too long nor a budget that is used up. Of text every byte
// counts.
func TestPictureSize(t *testing.T) {
	t.Parallel()
	env, s, _ := started(t)
	data := make([]byte, 8<<20)
	for _, tt := range []struct {
		part        cairn.Part
		least, most int64
	}{
		{cairn.Part{Kind: cairn.PartImage, MediaType: "image/png", Data: data}, 10_000, 20_000},
		{cairn.Part{Kind: cairn.PartImage, MediaType: "image/png", Data: data[:1<<20], Opaque: data[:2<<20]}, 10_000, 20_000},
		{cairn.Part{Kind: cairn.PartFile, MediaType: "text/csv", Data: data}, 8 << 20, 9 << 20},
	} {
		var with engine.State
		for _, e := range engine.Step(env, with, cairn.Input{
			To: s.Key, At: epoch, Data: cairn.Start{Agent: "a", Digest: env.Agent.Digest(), Content: []cairn.Part{cairn.Text("Go."), tt.part}},
		}) {
			with = engine.Fold(with, e)
		}
		if more := with.Context.Bytes - s.Context.Bytes; more < tt.least || more > tt.most {
			t.Errorf("%s of %d bytes is taken for %d bytes of text", tt.part.MediaType, len(tt.part.Data), more)
		}
	}
}

// TestShownIsOurs: how much of a result is shown is not for the tool to say.
func TestShownIsOurs(t *testing.T) {
	t.Parallel()
	env, s, _ := started(t)
	step := func(d cairn.InputData) (result *cairn.ToolResult) {
		for _, e := range engine.Step(env, s, cairn.Input{To: s.Key, At: epoch, Data: d}) {
			s = engine.Fold(s, e)
			if c, ok := e.Data.(cairn.ToolCallCompleted); ok {
				result = &c.Result
			}
		}
		return result
	}
	step(cairn.ModelOutcome{
		Effect: engine.Open(s)[0].ID, Attempt: 1, Checks: []cairn.Check{check("look", `{"q":1}`)},
		Answer: &cairn.ModelAnswer{
			Model: "one", Stop: cairn.StopToolUse, Usage: cairn.Usage{Input: 100, Output: 10},
			Content: []cairn.Part{{Kind: cairn.PartToolCall, CallID: "c", Tool: "look", Args: `{"q":1}`}},
		},
	})
	got := step(cairn.ToolOutcome{Effect: engine.Open(s)[0].ID, Attempt: 1, Result: &cairn.ToolResult{
		Content: []cairn.Part{cairn.Text("all of this is seen")}, Shown: &cairn.Shown{Head: 1, Tail: 1},
	}})
	if got == nil || got.Shown != nil {
		t.Errorf("%+v", got)
	}
}
