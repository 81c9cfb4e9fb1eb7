package engine_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/engine"
)

// turn is an answer with a call and the call's result: what a session does most.
func turn(b testing.TB, env *engine.Env, s engine.State, at time.Time) (engine.State, []cairn.Event) {
	var history []cairn.Event
	step := func(d cairn.InputData) {
		events := engine.Step(env, s, cairn.Input{To: s.Key, At: at, Data: d})
		for _, e := range events {
			s = engine.Fold(s, e)
		}
		history = append(history, events...)
	}
	open := engine.Open(s)
	if len(open) != 1 || open[0].Kind != cairn.EffectModel {
		b.Fatalf("not a model call: %v", open)
	}
	step(cairn.ModelOutcome{
		Effect: open[0].ID, Attempt: 1, Checks: []cairn.Check{check("look", `{"q":1}`)},
		Answer: &cairn.ModelAnswer{
			Model: "script/one", Stop: cairn.StopToolUse, Usage: cairn.Usage{Input: 100, Output: 10},
			Content: []cairn.Part{cairn.Text("I look."), {Kind: cairn.PartToolCall, CallID: "c", Tool: "look", Args: `{"q":1}`}},
		},
	})
	open = engine.Open(s)
	step(cairn.ToolOutcome{Effect: open[0].ID, Attempt: 1, Result: &cairn.ToolResult{Content: []cairn.Part{cairn.Text("seen")}}})
	return s, history
}

func started(b testing.TB) (*engine.Env, engine.State, []cairn.Event) {
	a := &cairn.Agent{Name: "a", Model: "script/one", Instructions: "Be exact.", Limits: cairn.Limits{Steps: 1 << 30}}
	env := &engine.Env{Agent: a, Tools: tools(), Models: []cairn.ModelInfo{{
		Name: "script/one", Provider: "script", Priced: true, Prices: cairn.Flat(cairn.Rates{Input: cairn.Dollar, Output: cairn.Dollar}),
	}}}
	var s engine.State
	history := engine.Step(env, s, cairn.Input{
		To: cairn.SessionKey{Tenant: "t", ID: "ses_1"}, At: epoch,
		Data: cairn.Start{Agent: "a", Digest: a.Digest(), Content: []cairn.Part{cairn.Text("Go.")}},
	})
	for _, e := range history {
		s = engine.Fold(s, e)
	}
	if s.Model == nil {
		b.Fatal("no model call is open")
	}
	return env, s, history
}

// BenchmarkTurn is Step, Fold and Open of one turn: two inputs, four events.
func BenchmarkTurn(b *testing.B) {
	env, s, _ := started(b)
	b.ReportAllocs()
	for b.Loop() {
		s, _ = turn(b, env, s, epoch)
	}
}

// BenchmarkFold50k folds a session of 50,000 events that were decoded before.
func BenchmarkFold50k(b *testing.B) {
	env, s, history := started(b)
	for len(history) < 50_000 {
		next, events := turn(b, env, s, epoch)
		s, history = next, append(history, events...)
	}
	b.ReportAllocs()
	for b.Loop() {
		var folded engine.State
		for _, e := range history {
			folded = engine.Fold(folded, e)
		}
		if folded.Seq != s.Seq {
			b.Fatal("folded to another end")
		}
	}
}

// BenchmarkDecode50k is what folding from the log costs besides: the events' JSON.
func BenchmarkDecode50k(b *testing.B) {
	env, s, _ := started(b)
	var stored [][]byte
	for len(stored) < 50_000 {
		next, events := turn(b, env, s, epoch)
		s = next
		for _, e := range events {
			text, err := json.Marshal(e)
			if err != nil {
				b.Fatal(err)
			}
			stored = append(stored, text)
		}
	}
	b.ReportAllocs()
	for b.Loop() {
		for _, text := range stored {
			var e cairn.Event
			if err := json.Unmarshal(text, &e); err != nil {
				b.Fatal(err)
			}
		}
	}
}
