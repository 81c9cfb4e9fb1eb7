package engine_test

import (
	"flag"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"pgregory.net/rapid"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/engine"
)

// windowed drives a world whose models have small windows and count every token:
// what does not fit is refused, as a provider would.
type windowed struct {
	*world
	density int64            // tokens in a thousand bytes
	real    map[string]int64 // the windows of the models, whether they are known or not
	counts  bool             // usage is reported
	checked int
	met     func(situation string)
}

// situations are what TestWindow has to meet.
var situations = []string{
	"summary", "summary overflows", "summary fails", "summary is lost", "summary is interrupted", "summary is stopped and comes",
	"summary waits for money", "message during a summary", "pause during a summary", "fork during a summary", "fork after a cut",
	"cut without a summary", "second cut before an answer", "overflow ends the run", "fallback is smaller", "reflect turn overflows",
	"window is not known", "takeover after a cut",
}

func newWindowed(t *rapid.T, met func(string)) *windowed {
	a := &cairn.Agent{
		Name: "a", Model: "script/one", Fallback: []string{"other/two"}, Instructions: "Be exact.",
		Limits: cairn.Limits{Parallel: 8, Invalid: 3},
		Params: cairn.Params{MaxOutput: rapid.SampledFrom([]int64{0, 200, 1000}).Draw(t, "max output")},
		Budget: cairn.Budget{
			Run:   cairn.Money(rapid.SampledFrom([]int64{0, 0, 200_000_000}).Draw(t, "run cap")),
			Agent: cairn.Money(rapid.SampledFrom([]int64{0, 0, 300_000_000}).Draw(t, "agent cap")),
		},
	}
	if rapid.IntRange(0, 4).Draw(t, "drops") == 0 {
		a.Context.Compact = cairn.CompactDrop
	}
	if rapid.Bool().Draw(t, "reflects") {
		a.Reflect = &cairn.Reflect{Every: 2}
	}
	w := &windowed{
		world: &world{t: t, now: epoch, begun: map[cairn.EffectID]int{}, env: &engine.Env{Agent: a, Tools: tools()}}, met: met,
		density: rapid.SampledFrom([]int64{200, 333, 600, 1000}).Draw(t, "density"), real: map[string]int64{},
		counts: rapid.IntRange(0, 3).Draw(t, "counts") > 0,
	}
	for _, name := range []string{"script/one", "other/two"} {
		window := rapid.SampledFrom([]int64{2000, 4096, 8000, 16_000}).Draw(t, "window of "+name)
		w.real[name] = window
		if rapid.IntRange(0, 3).Draw(t, "known") == 0 {
			window = 0
			met("window is not known")
		}
		provider, _, _ := strings.Cut(name, "/")
		w.env.Models = append(w.env.Models, cairn.ModelInfo{
			Name: name, Provider: provider, Priced: true, Window: window,
			Prices: cairn.Flat(cairn.Rates{Input: cairn.Dollar, CacheRead: cairn.Dollar / 10, CacheWrite5m: cairn.Dollar * 5 / 4, Output: 5 * cairn.Dollar}),
		})
	}
	w.step(cairn.Start{Agent: "a", Digest: a.Digest(), Content: w.words("task", 2000)})
	if rapid.IntRange(0, 3).Draw(t, "filled") > 0 {
		w.fill()
	}
	return w
}

// fill talks until the window is full and a summary is asked for.
func (w *windowed) fill() {
	for range 40 {
		e, ok := w.model()
		if !ok || e.Model.Purpose == cairn.PurposeCompact {
			return
		}
		req, n := w.request(e)
		if n+req.Params.MaxOutput > w.real[e.Model.Model] {
			return
		}
		out := cairn.ModelOutcome{Effect: e.ID, Attempt: e.Attempt, Answer: &cairn.ModelAnswer{
			Model: e.Model.Model, Stop: cairn.StopEnd, Content: []cairn.Part{cairn.Text(strings.Repeat("filling ", 20))},
		}}
		if w.counts {
			out.Answer.Usage = cairn.Usage{Input: n, Output: 170 * w.density / 1000}
		}
		w.step(out)
		w.step(cairn.Post{Content: []cairn.Part{cairn.Text(strings.Repeat("more ", 20))}})
	}
}

func (w *windowed) words(what string, most int) []cairn.Part {
	n := rapid.IntRange(1, most).Draw(w.t, what)
	if n > most/4 && rapid.Bool().Draw(w.t, "short") {
		n = most / 8
	}
	return []cairn.Part{cairn.Text(strings.Repeat("words. ", n/7+1)[:n])}
}

// request renders the request of an effect and counts its tokens.
func (w *windowed) request(e cairn.Effect) (*cairn.ModelRequest, int64) {
	req, err := engine.Render(w.env.Agent, w.env.Tools, e.Model.Model, e.Model.Manifest, w.events(e.Model.Manifest))
	if err != nil {
		w.t.Fatal(err)
	}
	n := len(req.System)
	for _, d := range req.Tools {
		n += len(d.Name) + len(d.InputSchema)
	}
	for _, m := range req.Messages {
		n += 8
		for _, p := range m.Content {
			n += len(p.Text) + len(p.Args) + len(p.Tool)
		}
	}
	return req, (int64(n)*w.density + 999) / 1000
}

func (w *windowed) model() (cairn.Effect, bool) {
	for _, e := range engine.Open(w.s) {
		if e.Kind == cairn.EffectModel && !e.Hold {
			return e, true
		}
	}
	return cairn.Effect{}, false
}

// say answers the open model call, if its request fits.
func (w *windowed) say() {
	e, ok := w.model()
	if !ok {
		w.perform()
		return
	}
	out := cairn.ModelOutcome{Effect: e.ID, Attempt: e.Attempt}
	summary := e.Model.Purpose == cairn.PurposeCompact
	req, n := w.request(e)
	if n+req.Params.MaxOutput > w.real[e.Model.Model] {
		switch {
		case summary:
			w.met("summary overflows")
		case e.Model.Purpose == cairn.PurposeReflect:
			w.met("reflect turn overflows")
		}
		out.Error = &cairn.Error{Code: cairn.CodeOverflow, Message: "too long", NotDone: true}
		w.step(out)
		return
	}
	if e.Stop && summary {
		w.met("summary is stopped and comes")
	}
	room := int(req.Params.MaxOutput * 1000 / w.density)
	a := &cairn.ModelAnswer{Model: e.Model.Model, Stop: cairn.StopEnd}
	size := 0
	if rapid.IntRange(0, 9).Draw(w.t, "says") > 0 {
		a.Content = w.words("said", max(1, min(room-100, 3000)))
		size = len(a.Content[0].Text)
	}
	calls := rapid.SampledFrom([]int{0, 1, 1, 2, 6}).Draw(w.t, "calls")
	if summary && rapid.IntRange(0, 9).Draw(w.t, "calls in a summary") > 0 || size+calls*6 > room {
		calls = 0
	}
	for range calls {
		tool := rapid.SampledFrom([]string{"look", "look", "put", "plan"}).Draw(w.t, "tool")
		a.Content = append(a.Content, cairn.Part{Kind: cairn.PartToolCall, CallID: "c", Tool: tool, Args: "{}"})
		out.Checks = append(out.Checks, w.world.check(tool))
		a.Stop = cairn.StopToolUse
		size += 6
	}
	if w.counts {
		a.Usage = cairn.Usage{Input: n, Output: (int64(size)*w.density + 999) / 1000}
		if rapid.Bool().Draw(w.t, "written") {
			a.Usage.Input, a.Usage.CacheWrite5m = 0, n
		}
	}
	out.Answer = a
	w.step(out)
}

// fail lets the open model call fail.
func (w *windowed) fail() {
	e, ok := w.model()
	if !ok {
		return
	}
	if e.Model.Purpose == cairn.PurposeCompact {
		w.met("summary fails")
	}
	err := &cairn.Error{Code: cairn.CodeCancelled, Message: "stopped"}
	if !e.Stop {
		err = rapid.SampledFrom([]*cairn.Error{
			{Code: cairn.CodeCircuitOpen, Retryable: true, NotDone: true, RetryAfter: cairn.Duration(time.Second)},
			{Code: cairn.CodeOverloaded, Retryable: true},
			{Code: cairn.CodeCut, Retryable: true},
			{Code: cairn.CodeAuth},
			{Code: cairn.CodeCancelled, NotDone: true},
		}).Draw(w.t, "error")
	}
	w.step(cairn.ModelOutcome{Effect: e.ID, Attempt: e.Attempt, Error: err})
}

// work lets a tool answer, with little or with much.
func (w *windowed) work() {
	for _, e := range engine.Open(w.s) {
		switch {
		case e.Hold || e.Stop:
		case e.Kind == cairn.EffectTool:
			w.step(cairn.ToolOutcome{Effect: e.ID, Attempt: e.Attempt, Result: &cairn.ToolResult{
				Content: w.words("result", rapid.SampledFrom([]int{50, 2000, 20_000}).Draw(w.t, "size")),
			}})
			return
		case e.Kind == cairn.EffectDraw:
			w.perform()
			return
		}
	}
	w.say()
}

func (w *windowed) post(interrupt bool) {
	if m := w.s.Model; m != nil && m.Purpose == cairn.PurposeCompact {
		w.met(map[bool]string{true: "summary is interrupted", false: "message during a summary"}[interrupt])
	}
	w.step(cairn.Post{Content: w.words("post", 1500), Interrupt: interrupt})
}

func (w *windowed) fork() {
	if w.s.Final != "" || len(w.s.Key.ID) > 8 {
		return
	}
	if m := w.s.Model; m != nil && m.Purpose == cairn.PurposeCompact {
		w.met("fork during a summary")
	}
	if w.s.Run.Compacted {
		w.met("fork after a cut")
	}
	w.granted = 0 // an account of its own
	w.step(cairn.Fork{Parent: w.s.Key, At: w.s.Seq})
}

// check looks at the facts that came since the last time.
func (w *windowed) check(t *rapid.T) {
	w.t = t
	for ; w.checked < len(w.history); w.checked++ {
		switch d := w.history[w.checked].Data.(type) {
		case cairn.ModelRequested:
			if d.Purpose == cairn.PurposeCompact {
				w.met("summary")
				switch w.history[w.checked-2].Data.(type) { // before the question
				case cairn.BudgetDrawn, cairn.BudgetRaised:
					w.met("summary waits for money")
				}
				w.oneSummary()
			}
		case cairn.ContextCompacted:
			w.cut(d)
		case cairn.ModelCompleted:
			w.paid(d.Cost)
		case cairn.ModelRetried:
			w.paid(d.Cost)
			if d.Error.Code == cairn.CodeLost && w.s.Model != nil && w.s.Model.Purpose == cairn.PurposeCompact {
				w.met("summary is lost")
			}
			if d.Model == "other/two" && w.real["other/two"] < w.real["script/one"] {
				w.met("fallback is smaller")
			}
		case cairn.ModelFailed:
			w.paid(d.Cost)
		case cairn.RunFailed:
			w.account(d.Summary)
			if d.Error.Code == cairn.CodeOverflow {
				w.met("overflow ends the run")
				w.nothingLeft()
			}
		case cairn.RunCompleted:
			w.account(d.Summary)
			w.noReflection(d.Output)
		}
	}
	if e, ok := w.model(); ok {
		w.unseen(e)
	}
}

// paid checks that no attempt costs more than was reserved for it.
func (w *windowed) paid(cost cairn.Money) {
	for j := w.checked - 1; j >= 0; j-- {
		if d, ok := w.history[j].Data.(cairn.ModelRequested); ok {
			if cost > d.Reserved {
				w.t.Fatalf("event %d was settled at %s; %s was reserved", w.history[w.checked].Seq, cost, d.Reserved)
			}
			return
		}
	}
}

// account checks a run's summary against its events.
func (w *windowed) account(sum cairn.RunSummary) {
	var cost, estimated cairn.Money
	var usage cairn.Usage
	add := func(c cairn.Money, s cairn.CostStatus, u cairn.Usage) {
		cost, usage = cost+c, usage.Add(u)
		if s != cairn.CostExact {
			estimated += c
		}
	}
	for _, e := range w.history {
		if e.Run != w.history[w.checked].Run {
			continue
		}
		switch d := e.Data.(type) {
		case cairn.ModelCompleted:
			add(d.Cost, d.Status, d.Answer.Usage)
		case cairn.ModelRetried:
			add(d.Cost, d.Status, d.Usage)
		case cairn.ModelFailed:
			add(d.Cost, d.Status, d.Usage)
		}
	}
	if sum.Cost != cost || sum.Estimated != estimated || sum.Usage != usage {
		w.t.Fatalf("the summary says %s, %s of it estimated, %+v; the events say %s, %s, %+v", sum.Cost, sum.Estimated, sum.Usage, cost, estimated, usage)
	}
}

// cut checks that a cut makes the conversation smaller, and follows an answer or
// a refusal of the provider.
func (w *windowed) cut(d cairn.ContextCompacted) {
	if d.After >= d.Before {
		w.t.Fatalf("a cut makes %d bytes of %d", d.After, d.Before)
	}
	if d.Summary == 0 {
		w.met("cut without a summary")
	}
	allowed := false // by the provider, or because another model is asked
	for j := w.checked - 1; j >= 0; j-- {
		switch e := w.history[j].Data.(type) {
		case cairn.ModelCompleted:
			if e.Purpose != cairn.PurposeCompact {
				return
			}
		case cairn.ModelFailed:
			allowed = allowed || e.Error.Code == cairn.CodeOverflow
		case cairn.ModelRetried, cairn.RunStarted, cairn.SessionForked:
			allowed = true
		case cairn.ContextCompacted:
			if allowed {
				w.met("second cut before an answer")
				return
			}
			w.t.Fatalf("the cut at %d follows the one at %d with no answer between", w.history[w.checked].Seq, w.history[j].Seq)
		}
	}
}

// oneSummary checks that a summary is asked for once, unless a person stopped it.
func (w *windowed) oneSummary() {
	for j := w.checked - 1; j >= 0; j-- {
		switch e := w.history[j].Data.(type) {
		case cairn.ModelCompleted:
			if e.Purpose == cairn.PurposeCompact {
				w.t.Fatalf("event %d asks for a second summary of the same", w.history[w.checked].Seq)
			}
			return
		case cairn.ModelRequested:
			if e.Attempt == 1 && e.Purpose == cairn.PurposeCompact && w.history[j].Step != w.history[w.checked].Step {
				w.t.Fatalf("event %d asks for a second summary of the same", w.history[w.checked].Seq)
			}
		case cairn.MessageCreated:
			if e.Interrupt {
				return
			}
		case cairn.SessionForked, cairn.RunStarted:
			return
		}
	}
}

// nothingLeft checks that a run that ends because it does not fit was cut to the
// last turn that may be removed.
func (w *windowed) nothingLeft() {
	c := w.s.Context
	for _, turn := range c.Turns {
		gone := turn.Bytes - c.TaskBytes - c.PlanBytes - 512
		if turn.Seq > c.From && turn.Seq <= c.Answer && gone > c.Bytes/4 {
			w.t.Fatalf("the run ended at %d because nothing is left to remove; %d of %d bytes lie before %d", w.history[w.checked].Seq, gone, c.Bytes, turn.Seq)
		}
	}
}

// noReflection checks that what a run ends with is not what the model said when
// it was asked to look back.
func (w *windowed) noReflection(output cairn.Seq) {
	var last cairn.MessageCreated
	for _, e := range w.history {
		if e.Seq == output {
			if last.Purpose == cairn.PurposeReflect {
				w.t.Fatalf("the run is completed with a reflection, %d", output)
			}
			return
		}
		if d, ok := e.Data.(cairn.MessageCreated); ok && d.Purpose != cairn.PurposeCompact {
			last = d
		}
	}
}

// unseen checks that what came since the last answered request is in this one.
func (w *windowed) unseen(e cairn.Effect) {
	var to cairn.Seq
	manifests := map[cairn.EffectID]cairn.Seq{}
	for _, h := range w.history {
		switch d := h.Data.(type) {
		case cairn.ModelRequested:
			manifests[h.Step] = d.Manifest.To
		case cairn.ModelCompleted:
			if d.Purpose != cairn.PurposeCompact {
				to = manifests[h.Step]
			}
		}
	}
	m := e.Model.Manifest
	for _, h := range w.history {
		if _, ok := h.Data.(cairn.MessageCreated); ok && h.Seq > to && h.Seq < m.From {
			w.t.Fatalf("message %d was cut before an answer saw it; the last one saw what came until %d", h.Seq, to)
		}
	}
}

// TestWindow: small windows, known or not, of models that count as they like:
// everything ends well, and with -rapid.checks=1000 every situation is met.
func TestWindow(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	met := map[string]int{}
	rapid.Check(t, func(t *rapid.T) {
		w := newWindowed(t, func(s string) { mu.Lock(); met[s]++; mu.Unlock() })
		say := func(t *rapid.T) { w.t = t; w.say() }
		work := func(t *rapid.T) { w.t = t; w.work() }
		t.Repeat(map[string]func(*rapid.T){
			"": w.check, "say": say, "say2": say, "work": work, "work2": work, "work3": work, "work4": work, "work5": work,
			"fail":      func(t *rapid.T) { w.t = t; w.fail() },
			"post":      func(t *rapid.T) { w.t = t; w.post(false) },
			"interrupt": func(t *rapid.T) { w.t = t; w.post(true) },
			"fork":      func(t *rapid.T) { w.t = t; w.fork() },
			"decide":    func(t *rapid.T) { w.t = t; w.decide() },
			"takeover": func(t *rapid.T) {
				w.t = t
				if w.s.Run.Compacted {
					w.met("takeover after a cut")
				}
				w.step(cairn.Takeover{Epoch: 2})
			},
			"wake": func(t *rapid.T) { w.t = t; w.now = w.now.Add(time.Minute); w.step(cairn.Wake{}) },
			"pause": func(t *rapid.T) {
				w.t = t
				if m := w.s.Model; m != nil && m.Purpose == cairn.PurposeCompact {
					w.met("pause during a summary")
				}
				w.step(cairn.Control{Action: cairn.ControlPause})
				w.say()
				w.step(cairn.Control{Action: cairn.ControlResume})
			},
		})
		w.t = t
		w.replays()
	})
	t.Log(met)
	if n, err := strconv.Atoi(flag.Lookup("rapid.checks").Value.String()); err != nil || n < 1000 {
		return // too few to meet all of them every time
	}
	for _, s := range situations {
		if met[s] == 0 {
			t.Errorf("never met: %s", s)
		}
	}
}

// TestBatch: the results of as many calls as are made at once, each as long as a
// tool may say, still fit the window together, and no rune of them is cut in two.
func TestBatch(t *testing.T) {
	t.Parallel()
	for _, window := range []int64{16_000, 32_000, 128_000} {
		env, s, history := started(t)
		env.Models[0].Window = window
		step := func(d cairn.InputData) {
			for _, e := range engine.Step(env, s, cairn.Input{To: s.Key, At: epoch, Data: d}) {
				s = engine.Fold(s, e)
				history = append(history, e)
			}
		}
		out := cairn.ModelOutcome{Effect: engine.Open(s)[0].ID, Attempt: 1, Answer: &cairn.ModelAnswer{Model: "script/one", Stop: cairn.StopToolUse}}
		for range cairn.DefaultParallel {
			out.Answer.Content = append(out.Answer.Content, cairn.Part{Kind: cairn.PartToolCall, CallID: "c", Tool: "look", Args: "{}"})
			out.Checks = append(out.Checks, check("look", "{}"))
		}
		step(out)
		for _, e := range engine.Open(s) {
			step(cairn.ToolOutcome{Effect: e.ID, Attempt: 1, Result: &cairn.ToolResult{Content: []cairn.Part{cairn.Text(strings.Repeat("日本語€", 20_000))}}})
		}
		w := world{history: history}
		m := engine.Open(s)[0].Model.Manifest
		req, err := engine.Render(env.Agent, env.Tools, "script/one", m, w.events(m))
		if err != nil {
			t.Fatal(err)
		}
		n := int64(len(req.Prefix()))
		if n/3+m.Params.MaxOutput > window {
			t.Errorf("a window of %d tokens: the request has %d bytes, and %d tokens may be answered", window, n, m.Params.MaxOutput)
		}
		for _, p := range req.Messages[2].Content {
			if !utf8.ValidString(p.Text) || !strings.HasPrefix(p.Text, "日本語") {
				t.Fatalf("shown is %q", p.Text)
			}
		}
	}
}
