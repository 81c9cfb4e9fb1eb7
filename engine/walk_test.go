package engine_test

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/engine"
)

// walk drives a world and checks what a person relies on who is not looking:
// time, messages, money and other providers' blocks.
type walk struct {
	*world
	checked int // events of the history that were looked at
	posted  int
}

func newWalk(t *rapid.T) *walk {
	w := &walk{world: newWorld(t), posted: 1}
	// The fallback is another provider's: dearer, with a lower cap on its answers.
	a := w.env.Agent
	a.Fallback[0] = "other/two"
	w.env.Models[1] = cairn.ModelInfo{
		Name: "other/two", Provider: "other", Priced: true, Window: 8000, MaxOutput: 400,
		Prices: cairn.Flat(cairn.Rates{Input: 9 * cairn.Dollar, CacheWrite1h: 20 * cairn.Dollar, Output: 60 * cairn.Dollar}),
	}
	return w
}

// perform is that of the world, but for a model that counts no more than it was
// sent and says no more than it may.
func (w *walk) perform() {
	for _, e := range engine.Open(w.s) {
		if e.Kind != cairn.EffectModel || e.Stop || e.Hold || rapid.IntRange(0, 3).Draw(w.t, "fails") == 0 {
			continue
		}
		out := w.answer(e)
		for i := len(w.history) - 1; i >= 0; i-- {
			if d, ok := w.history[i].Data.(cairn.ModelRequested); ok {
				out.Answer.Usage.Input = min(out.Answer.Usage.Input, d.Tokens)
				out.Answer.Usage.Output = min(out.Answer.Usage.Output, d.Manifest.Params.MaxOutput)
				break
			}
		}
		w.step(out)
		return
	}
	w.fail()
}

// fail lets what is open fail, or do what the world does with tools.
func (w *walk) fail() {
	for _, e := range engine.Open(w.s) {
		if e.Kind == cairn.EffectModel && !e.Stop && !e.Hold {
			w.step(cairn.ModelOutcome{Effect: e.ID, Attempt: e.Attempt, Error: w.failure()})
			return
		}
	}
	w.world.perform()
}

func (w *walk) post(interrupt bool) {
	if w.s.Final == "" {
		w.posted++
	}
	w.step(cairn.Post{Content: []cairn.Part{cairn.Text("and?")}, Interrupt: interrupt})
}

func (w *walk) check(t *rapid.T) {
	w.t = t
	w.timers()
	w.events()
	if w.s.Runs > w.posted {
		t.Fatalf("%d runs for %d messages: the session runs by itself", w.s.Runs, w.posted)
	}
	w.foreign()
}

// timers checks that something follows when the session is woken at the time it
// asked for, and that it does not ask to be woken at the same time again.
func (w *walk) timers() {
	at := engine.WakeAt(w.s)
	if at.IsZero() {
		return
	}
	s := w.s
	for range 8 { // what follows may be due at once; it does not go on for ever
		events := engine.Step(w.env, s, cairn.Input{To: s.Key, At: at, Data: cairn.Wake{}})
		if len(events) == 0 {
			w.t.Fatalf("nothing follows from waking at %s\n%s", since(at), jsonOf(w.t, s))
		}
		for _, e := range events {
			s = engine.Fold(s, e)
		}
		next := engine.WakeAt(s)
		if next.IsZero() || next.After(at) {
			return
		}
	}
	w.t.Fatalf("the session asks to be woken at %s again and again\n%s", since(at), jsonOf(w.t, s))
}

// events checks the facts that came since the last time.
func (w *walk) events() {
	for ; w.checked < len(w.history); w.checked++ {
		switch d := w.history[w.checked].Data.(type) {
		case cairn.ModelRequested:
			w.covered(d)
		case cairn.ModelCompleted, cairn.ModelRetried, cairn.ModelFailed:
			w.settled(w.checked)
		case cairn.RunCompleted:
			w.seen(w.checked)
		}
	}
}

// covered checks that a reservation covers the dearest answer to its request.
func (w *walk) covered(d cairn.ModelRequested) {
	for _, m := range w.env.Models {
		if m.Name != d.Model {
			continue
		}
		r := m.Prices[0].Rates
		dearest := cairn.Rates{Input: r.Dearest(), Output: r.Output}
		if need := dearest.Cost(cairn.Usage{Input: d.Tokens, Output: d.Manifest.Params.MaxOutput}); need > d.Reserved {
			w.t.Fatalf("a call of %s may cost %s; %s is reserved", d.Model, need, d.Reserved)
		}
		if m.MaxOutput > 0 && d.Manifest.Params.MaxOutput > m.MaxOutput {
			w.t.Fatalf("%s is asked for %d tokens; it gives at most %d", d.Model, d.Manifest.Params.MaxOutput, m.MaxOutput)
		}
	}
}

// settled checks that no attempt costs more than was reserved for it.
func (w *walk) settled(i int) {
	var cost cairn.Money
	switch d := w.history[i].Data.(type) {
	case cairn.ModelCompleted:
		cost = d.Cost
	case cairn.ModelRetried:
		cost = d.Cost
	case cairn.ModelFailed:
		cost = d.Cost
	}
	for j := i - 1; j >= 0; j-- {
		if d, ok := w.history[j].Data.(cairn.ModelRequested); ok {
			if cost > d.Reserved {
				w.t.Fatalf("an attempt was settled at %s; %s was reserved", cost, d.Reserved)
			}
			return
		}
	}
}

// seen checks that a run that is completed has answered what it was told.
func (w *walk) seen(end int) {
	var to cairn.Seq
	manifests := map[cairn.EffectID]cairn.Seq{}
	ending := end
	for i, e := range w.history[:end] {
		switch d := e.Data.(type) {
		case cairn.ModelRequested:
			manifests[e.Step] = d.Manifest.To
		case cairn.ModelCompleted:
			if d.Purpose != cairn.PurposeCompact { // a summary answers nobody
				to = manifests[e.Step]
			}
		case cairn.RunEnding:
			ending = i
		}
	}
	for _, e := range w.history[:ending] {
		if d, ok := e.Data.(cairn.MessageCreated); ok && d.Origin == "user" && e.Seq > to {
			w.t.Fatalf("the run is completed; message %d was never seen, the last answer saw what came until %d", e.Seq, to)
		}
	}
}

// foreign checks that no request holds blocks of another provider.
func (w *walk) foreign() {
	for _, e := range engine.Open(w.s) {
		if e.Kind != cairn.EffectModel {
			continue
		}
		req, err := engine.Render(w.env.Agent, w.env.Tools, e.Model.Model, e.Model.Manifest, w.world.events(e.Model.Manifest))
		if err != nil {
			w.t.Fatal(err)
		}
		for _, m := range req.Messages {
			for _, p := range m.Content {
				if (p.Kind == cairn.PartOpaque || p.Kind == cairn.PartReasoning) && p.Provider+"/" != e.Model.Model[:len(p.Provider)+1] {
					w.t.Fatalf("a block of %s goes to %s", p.Provider, e.Model.Model)
				}
			}
		}
	}
}

// again steps the outcome of every settled attempt once more.
func (w *walk) again() {
	for i := len(w.history) - 1; i >= 0; i-- {
		var in cairn.InputData
		e := w.history[i]
		lost := cairn.Errorf(cairn.CodeOverloaded, "again")
		lost.Retryable = true
		switch d := e.Data.(type) {
		case cairn.ModelRetried:
			in = cairn.ModelOutcome{Effect: e.Step, Attempt: d.Attempt, Error: lost}
		case cairn.ModelCompleted:
			in = cairn.ModelOutcome{Effect: e.Step, Attempt: d.Attempt, Answer: &d.Answer}
		case cairn.ToolCallRetried:
			in = cairn.ToolOutcome{Effect: e.Step, Attempt: d.Attempt, Error: lost}
		case cairn.ToolCallCompleted:
			in = cairn.ToolOutcome{Effect: e.Step, Attempt: d.Attempt, Result: &d.Result}
		case cairn.ToolsetRetried:
			in = cairn.ToolsetOutcome{Effect: e.Step, Attempt: d.Attempt, Error: lost}
		case cairn.BudgetDrawn:
			in = cairn.DrawOutcome{Effect: e.Step, Granted: d.Granted}
		default:
			continue
		}
		if events := engine.Step(w.env, w.s, cairn.Input{To: w.s.Key, At: w.now, Data: in}); len(events) > 0 && events[0].Step == e.Step {
			w.t.Fatalf("the outcome of event %d was taken twice: %s", e.Seq, events[0].Type())
		}
	}
}

// TestWalks: timers do something, messages are seen, reservations cover what they
// are for, and nothing is taken twice, whatever happens.
func TestWalks(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		w := newWalk(t)
		perform := func(t *rapid.T) { w.t = t; w.perform() }
		t.Repeat(map[string]func(*rapid.T){
			"":          w.check,
			"perform":   perform,
			"perform2":  perform,
			"perform3":  perform,
			"decide":    func(t *rapid.T) { w.t = t; w.decide() },
			"post":      func(t *rapid.T) { w.t = t; w.post(false) },
			"interrupt": func(t *rapid.T) { w.t = t; w.post(true) },
			"takeover":  func(t *rapid.T) { w.t = t; w.step(cairn.Takeover{Epoch: 2}) },
			"again":     func(t *rapid.T) { w.t = t; w.again() },
			"wake": func(t *rapid.T) {
				w.t = t
				w.now = w.now.Add(rapid.SampledFrom([]time.Duration{time.Millisecond, time.Second, time.Minute}).Draw(t, "later"))
				w.step(cairn.Wake{})
			},
			"pause":  func(t *rapid.T) { w.t = t; w.step(cairn.Control{Action: cairn.ControlPause}) },
			"resume": func(t *rapid.T) { w.t = t; w.step(cairn.Control{Action: cairn.ControlResume}) },
		})
		w.t = t
		w.replays()
		w.drains()
	})
}
