package engine_test

import (
	"encoding/json"
	"fmt"
	"iter"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/engine"
	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// world drives one session with random inputs and checks after each what must
// always hold.
type world struct {
	envs    map[cairn.Digest]*engine.Env // by the digest of the definition
	files   cairn.Snapshot               // recorded last
	layers  int64
	t       *rapid.T
	env     *engine.Env
	s       engine.State
	history []cairn.Event
	now     time.Time
	// begun are the effects that a performer of this owner has under way.
	begun map[cairn.EffectID]int
	// last is the request that was rendered last, and at which event.
	last     *cairn.ModelRequest
	lastSeq  cairn.Seq
	granted  cairn.Money
	drawn    map[string]cairn.Money // by shared budget
	spent    map[string]cairn.Money // by the shared budget of the agent it was spent under
	refused  bool                   // by a shared budget, at any time
	inputs   int
	requests int
}

func tools() []cairn.ToolSpec {
	mk := func(name string, host cairn.ToolHost, class cairn.EffectClass) cairn.ToolSpec {
		d := cairn.ToolDef{Name: name, InputSchema: json.RawMessage(`{"type":"object"}`)}
		return cairn.ToolSpec{ToolDef: d, Host: host, Class: class, Digest: d.Digest(), Retries: 2}
	}
	pay := mk("pay", cairn.HostRuntime, cairn.ClassIrreversible)
	pay.Retries = 0
	refund := mk("refund", cairn.HostRuntime, cairn.ClassIrreversible)
	refund.Retries = 0
	refund.Reconcile = &cairn.Reconcile{Tool: "look", Done: map[string]json.RawMessage{"status": json.RawMessage(`"done"`)}}
	return []cairn.ToolSpec{
		mk("look", cairn.HostRuntime, cairn.ClassRead), mk("put", cairn.HostRuntime, cairn.ClassIdempotent),
		pay, refund, mk("plan", cairn.HostEngine, cairn.ClassRead), mk("ui", cairn.HostClient, cairn.ClassIrreversible),
	}
}

func newWorld(t *rapid.T) *world {
	a := &cairn.Agent{
		Name: "a", Model: "script/one", Fallback: []string{"script/two"}, Instructions: "Be exact.",
		Limits: cairn.Limits{Steps: rapid.IntRange(2, 30).Draw(t, "steps"), Parallel: 3, Invalid: 2},
		Budget: cairn.Budget{
			Run:      cairn.Money(rapid.SampledFrom([]int64{0, 100_000_000, 300_000_000}).Draw(t, "run cap")),
			Session:  cairn.Money(rapid.SampledFrom([]int64{0, 400_000_000}).Draw(t, "session cap")),
			Agent:    cairn.Money(rapid.SampledFrom([]int64{0, 500_000_000}).Draw(t, "agent cap")),
			OnBreach: rapid.SampledFrom([]cairn.Breach{cairn.BreachPause, cairn.BreachStop}).Draw(t, "breach"),
		},
		Params: cairn.Params{MaxOutput: 1000},
	}
	if rapid.Bool().Draw(t, "wall") {
		a.Limits.Wall = cairn.Duration(time.Minute)
	}
	if rapid.Bool().Draw(t, "hooks") {
		a.OnExit = []cairn.Hook{{Tool: "put"}, {Tool: "pay", When: "failed"}}
	}
	if rapid.Bool().Draw(t, "reflects") {
		a.Reflect = &cairn.Reflect{Every: 3}
	}
	if rapid.Bool().Draw(t, "schema") {
		a.Output = &cairn.Output{Schema: json.RawMessage(`{"type":"object"}`)}
	}
	if rapid.Bool().Draw(t, "mcp") {
		a.Tools = []cairn.ToolSource{{MCP: &cairn.MCPServer{URL: "http://127.0.0.1:1/mcp"}}}
	}
	rates := cairn.Rates{Input: 3 * cairn.Dollar, Output: 15 * cairn.Dollar}
	w := &world{
		t: t, now: time.Date(2026, 11, 20, 0, 0, 0, 0, time.UTC), begun: map[cairn.EffectID]int{},
		env: &engine.Env{
			Agent: a, Tools: append(tools(), fileTools()...), Sandbox: "ns",
			Models: []cairn.ModelInfo{
				{Name: "script/one", Provider: "script", Prices: cairn.Flat(rates), Priced: true, Window: 8000},
				{Name: "script/two", Provider: "script", Prices: cairn.Flat(rates), Priced: rapid.Bool().Draw(t, "priced"), Window: 8000},
			},
			Hooks: make([]cairn.Check, len(a.OnExit)),
		},
	}
	for i, h := range a.OnExit {
		w.env.Hooks[i] = w.check(h.Tool)
	}
	other := *a
	other.Instructions = "Be exact and quick."
	moved := *w.env
	moved.Agent = &other
	third := *a
	third.Name, third.Budget.Agent = "b", cairn.Money(rapid.SampledFrom([]int64{0, 300_000_000}).Draw(t, "other agent cap"))
	handed := *w.env
	handed.Agent = &third
	w.envs = map[cairn.Digest]*engine.Env{a.Digest(): w.env, other.Digest(): &moved, third.Digest(): &handed}
	w.step(cairn.Start{Agent: "a", Digest: a.Digest(), Content: []cairn.Part{cairn.Text("Do it.")}, Once: rapid.Bool().Draw(t, "once")})
	return w
}

func (w *world) check(tool string) cairn.Check {
	return cairn.Check{Verdict: cairn.VerdictAllow, Args: json.RawMessage(`{}`), Digest: cairn.DigestOf([]byte(tool))}
}

// step feeds one input, folds what follows and checks every invariant.
func (w *world) step(d cairn.InputData) {
	if w.inputs++; w.spent == nil {
		w.drawn, w.spent = map[string]cairn.Money{}, map[string]cairn.Money{}
	}
	key := w.s.Key // as it is named since the last fork
	if f, ok := d.(cairn.Fork); ok {
		key = cairn.SessionKey{Tenant: "t", ID: f.Parent.ID + "f"}
	} else if key == (cairn.SessionKey{}) {
		key = cairn.SessionKey{Tenant: "t", ID: "ses_1"}
	}
	in := cairn.Input{
		ID: fmt.Sprint("in", w.inputs), To: key, At: w.now,
		From: cairn.Principal{Kind: "user", ID: "ann"}, Data: d,
	}
	if env := w.envs[w.s.Digest]; env != nil {
		w.env = env
	}
	before := w.s
	frozen := jsonOf(w.t, before)
	final := before.Final
	events := engine.Step(w.env, before, in)
	for _, e := range events {
		if e.Seq != w.s.Seq+1 {
			w.t.Fatalf("event %d after %d", e.Seq, w.s.Seq)
		}
		if e.At.Before(w.s.At) {
			w.t.Fatalf("time goes back at %d", e.Seq)
		}
		if final != "" && !afterEnd(e) {
			w.t.Fatalf("%s after the session was %s", e.Type(), final)
		}
		under, before := "agent:"+w.s.Agent, w.s.Money.Spent
		if f, ok := e.Data.(cairn.WorkspaceSnapshotted); ok {
			w.files = f.Snapshot
		}
		w.s = engine.Fold(w.s, e)
		w.spent[under] += w.s.Money.Spent - before
		w.history = append(w.history, e)
	}
	if env := w.envs[w.s.Digest]; env != nil {
		w.env = env
	}
	if got := jsonOf(w.t, before); got != frozen {
		w.t.Fatalf("step changed the state it was given:\n%s", cmp.Diff(frozen, got))
	}
	w.invariants()
}

func afterEnd(e cairn.Event) bool {
	switch e.Data.(type) {
	case cairn.EffectReconciled, cairn.AskResolved, cairn.AskOpened:
		return true
	}
	return false
}

func jsonOf(t *rapid.T, v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func (w *world) invariants() {
	s := w.s
	m := s.Money
	if s.Model == nil && m.Reserved != 0 {
		w.t.Fatalf("%d reserved with no call open", m.Reserved)
	}
	if limit := s.Run.Cap; limit > 0 && s.Run.Active && s.Run.Spent+m.Reserved > limit+m.RaisedRun {
		w.t.Fatalf("run budget overspent: %s + %s of %s", s.Run.Spent, m.Reserved, limit)
	}
	if limit := w.env.Agent.Budget.Session; limit > 0 && m.Spent+m.Reserved > limit+m.RaisedSession {
		w.t.Fatalf("session budget overspent: %s + %s of %s", m.Spent, m.Reserved, limit)
	}
	if w.env.Agent.Budget.Agent > 0 && m.Spent+m.Reserved > m.Granted+m.Apart {
		w.t.Fatalf("more is spent or reserved than was drawn: %s + %s of %s", m.Spent, m.Reserved, m.Granted)
	}
	for _, env := range w.envs { // all that has a name has the same shared budget, or none
		id := "agent:" + env.Agent.Name
		if spent := w.spent[id]; env.Agent.Budget.Agent > 0 && !s.Run.Active && !w.refused && spent != w.drawn[id] {
			w.t.Fatalf("%s was spent under %s, and %s drawn from its budget", spent, id, w.drawn[id])
		}
	}
	if m.Granted != w.granted {
		w.t.Fatalf("the journal says %s was drawn, the budget says %s", m.Granted, w.granted)
	}
	open := engine.Open(s)
	if s.Run.Active && len(open) == 0 && len(s.Asks) == 0 && engine.WakeAt(s).IsZero() && !s.Run.Paused {
		w.t.Fatalf("the run is stuck: nothing is open, asked or timed\n%s", jsonOf(w.t, s))
	}
	if s.Final != "" && s.Run.Active {
		w.t.Fatal("final with an active run")
	}
	reads, writes := 0, 0
	for _, e := range open {
		if e.Kind == cairn.EffectTool && e.Tool.Files != cairn.AccessNone {
			if e.Tool.Workspace != w.files || e.Tool.Sandbox != "ns" {
				w.t.Fatalf("a call is to be made on the state %+v; the last recorded one is %+v", e.Tool.Workspace, w.files)
			}
			if !e.Hold && !e.Stop && e.Tool.Files == cairn.AccessRead {
				reads++
			} else if !e.Hold && !e.Stop {
				writes++
			}
		}
		if e.Kind == cairn.EffectModel && e.Attempt == 1 && e.Model.Manifest.To > w.lastSeq {
			w.render(e)
		}
	}
	if writes > 1 || (writes == 1 && reads > 0) {
		w.t.Fatalf("%d calls may write the files and %d may read them at once", writes, reads)
	}
	if !s.Run.Active && (len(s.Files.Running) > 0 || s.Release != 0) {
		w.t.Fatal("the run is over and something still runs in its sandbox")
	}
}

func (w *world) events(m cairn.Manifest) iter.Seq2[cairn.Event, error] {
	return func(yield func(cairn.Event, error) bool) {
		for _, e := range w.history {
			if (e.Seq >= m.From && e.Seq <= m.To) || slices.Contains(m.Apart(), e.Seq) {
				if !yield(e, nil) {
					return
				}
			}
		}
	}
}

// render checks that the request is valid and that its prefix has not changed.
func (w *world) render(e cairn.Effect) {
	req, err := engine.Render(w.env.Agent, w.env.Tools, e.Model.Model, e.Model.Manifest, w.events(e.Model.Manifest))
	if err != nil {
		w.t.Fatalf("render: %v\n%s", err, jsonOf(w.t, w.history))
	}
	w.requests++
	broken := false
	for _, h := range w.history {
		switch h.Data.(type) {
		case cairn.ContextCompacted, cairn.SessionMoved:
			broken = broken || h.Seq > w.lastSeq
		}
	}
	if w.last != nil && w.last.Model != req.Model {
		broken = true
	}
	if !broken && w.s.Context.Last.To == w.lastSeq && w.s.Context.Asked == req.Model && !w.s.Continues(e.Model.Manifest, req.Model) {
		w.t.Fatal("nothing has changed since the last answer, and the request is said not to continue it")
	}
	if e.Model.Purpose == cairn.PurposeCompact { // it is about the last one that was answered; its question is in no other request
		return
	}
	if w.last != nil && !broken {
		if len(req.Messages) < len(w.last.Messages) {
			w.t.Fatalf("the request lost messages: %d, then %d", len(w.last.Messages), len(req.Messages))
		}
		if diff := cmp.Diff(w.last.Messages, req.Messages[:len(w.last.Messages)]); diff != "" {
			w.t.Fatalf("the prefix changed and nothing was cut:\n%s", diff)
		}
	}
	w.last, w.lastSeq = req, e.Model.Manifest.To
}

// answer is a random answer that stays within the reservation.
func (w *world) answer(e cairn.Effect) cairn.ModelOutcome {
	out := cairn.ModelOutcome{Effect: e.ID, Attempt: e.Attempt}
	a := &cairn.ModelAnswer{Model: e.Model.Model, Stop: cairn.StopEnd, Usage: cairn.Usage{
		Input: rapid.Int64Range(0, 500).Draw(w.t, "input"), Output: rapid.Int64Range(0, 1000).Draw(w.t, "output"),
	}}
	if rapid.Bool().Draw(w.t, "text") {
		a.Content = append(a.Content, cairn.Text(rapid.SampledFrom([]string{"ok", "", "a longer text about nothing"}).Draw(w.t, "said")))
	}
	if rapid.IntRange(0, 4).Draw(w.t, "opaque") == 0 {
		a.Content = append(a.Content, cairn.Part{Kind: cairn.PartOpaque, Provider: "script", Opaque: json.RawMessage(`{"x":1}`)})
	}
	for range rapid.SampledFrom([]int{0, 0, 1, 1, 2, 5}).Draw(w.t, "calls") {
		tool := rapid.SampledFrom([]string{"look", "put", "pay", "refund", "plan", "ui", "sh", "sh", "see", "deploy", "ask_person", "nonsense"}).Draw(w.t, "tool")
		a.Content = append(a.Content, cairn.Part{Kind: cairn.PartToolCall, CallID: "c", Tool: tool, Args: "{}"})
		c := w.check(tool)
		c.Verdict = rapid.SampledFrom([]cairn.Verdict{cairn.VerdictAllow, cairn.VerdictAllow, cairn.VerdictAsk, cairn.VerdictDeny}).Draw(w.t, "verdict")
		if tool == "nonsense" || rapid.IntRange(0, 5).Draw(w.t, "invalid") == 0 {
			c = cairn.Check{Error: cairn.Errorf(cairn.CodeInvalidArgs, "no")}
		}
		out.Checks = append(out.Checks, c)
		a.Stop = cairn.StopToolUse
	}
	if rapid.IntRange(0, 3).Draw(w.t, "bad output") == 0 {
		out.OutputError = "not an object"
	}
	out.Answer = a
	return out
}

func (w *world) failure() *cairn.Error {
	code := rapid.SampledFrom([]cairn.Code{
		cairn.CodeOverloaded, cairn.CodeRateLimited, cairn.CodeCut, cairn.CodeTimeout, cairn.CodeOverflow, cairn.CodeAuth,
		cairn.CodeToolFailed, cairn.CodeUnknown, cairn.CodeCancelled, cairn.CodeInternal,
	}).Draw(w.t, "code")
	return &cairn.Error{
		Code: code, Message: "failed", Retryable: rapid.Bool().Draw(w.t, "retryable"), NotDone: rapid.Bool().Draw(w.t, "not done"),
		RetryAfter: cairn.Duration(rapid.SampledFrom([]time.Duration{0, time.Second, time.Hour}).Draw(w.t, "after")),
	}
}

// perform feeds the outcome of one open effect.
func (w *world) perform() {
	var due []cairn.Effect
	for _, e := range engine.Open(w.s) {
		if e.Stop || !e.NotBefore.After(w.now) {
			due = append(due, e)
		}
	}
	if len(due) == 0 {
		return
	}
	e := rapid.SampledFrom(due).Draw(w.t, "effect")
	bad := rapid.IntRange(0, 3).Draw(w.t, "fails") == 0
	if e.Hold {
		return
	}
	if e.Stop && e.Kind != cairn.EffectReconcile {
		err := &cairn.Error{Code: cairn.CodeCancelled, Message: "stopped", NotDone: rapid.Bool().Draw(w.t, "unbegun")}
		switch e.Kind {
		case cairn.EffectModel:
			w.step(cairn.ModelOutcome{Effect: e.ID, Attempt: e.Attempt, Error: err})
		case cairn.EffectToolset:
			w.step(cairn.ToolsetOutcome{Effect: e.ID, Attempt: e.Attempt, Error: err})
		default:
			w.step(cairn.ToolOutcome{Effect: e.ID, Attempt: e.Attempt, Error: err, Killed: []string{"pid 1"}})
		}
		return
	}
	switch e.Kind {
	case cairn.EffectModel:
		if bad {
			w.step(cairn.ModelOutcome{Effect: e.ID, Attempt: e.Attempt, Error: w.failure()})
			return
		}
		w.step(w.answer(e))
	case cairn.EffectTool:
		if e.Tool.MustStart {
			c := w.check(e.Tool.Tool)
			if bad {
				c.Verdict = cairn.VerdictDeny
			}
			w.step(cairn.Starting{Effect: e.ID, Check: c})
			return
		}
		out := cairn.ToolOutcome{Effect: e.ID, Attempt: e.Attempt}
		if bad {
			out.Error = w.failure()
		} else {
			out.Result = &cairn.ToolResult{Content: []cairn.Part{cairn.Text("result")}}
		}
		if e.Tool.Files == cairn.AccessWrite && rapid.Bool().Draw(w.t, "changes files") {
			w.layers++
			out.Files = &cairn.Snapshotted{Snapshot: cairn.Snapshot{Layer: w.layers, Tree: "t"}}
			if rapid.Bool().Draw(w.t, "background") {
				out.Files.Running = []string{"server"}
			}
		}
		w.step(out)
	case cairn.EffectReconcile:
		f := rapid.SampledFrom([]cairn.Finding{cairn.FoundDone, cairn.FoundNotDone, cairn.FoundUnclear}).Draw(w.t, "finding")
		w.step(cairn.ReconcileOutcome{Effect: e.ID, Attempt: 1, Finding: f})
	case cairn.EffectToolset:
		out := cairn.ToolsetOutcome{Effect: e.ID, Attempt: e.Attempt, Tools: tools()[:1]}
		if bad {
			out.Tools, out.Error = nil, w.failure()
		}
		w.step(out)
	case cairn.EffectRelease:
		w.step(cairn.ReleaseOutcome{Effect: e.ID, Killed: w.s.Files.Running})
	case cairn.EffectDraw:
		out := cairn.DrawOutcome{Effect: e.ID, Granted: e.Draw.Amount}
		from := e.Draw.Budgets[0]
		if w.drawn[from.ID]+e.Draw.Amount > from.Limit {
			out.Granted, out.Error = 0, cairn.Errorf(cairn.CodeBudget, "exhausted")
			w.refused = true
		}
		w.granted += out.Granted
		w.drawn[from.ID] += out.Granted
		w.step(out)
	}
}

func (w *world) decide() {
	if len(w.s.Asks) == 0 {
		return
	}
	a := rapid.SampledFrom(w.s.Asks).Draw(w.t, "ask")
	d := cairn.Decide{Decision: cairn.Decision{Ask: a.ID, Verb: cairn.VerbApprove}}
	switch {
	case a.Kind == cairn.AskClientTool, a.Kind == cairn.AskQuestion && rapid.Bool().Draw(w.t, "answers"):
		d.Verb, d.Result = cairn.VerbAnswer, &cairn.ToolResult{Content: []cairn.Part{cairn.Text("clicked")}}
	case rapid.Bool().Draw(w.t, "reject"):
		d.Verb = cairn.VerbReject
	case a.Kind == cairn.AskApproval && rapid.Bool().Draw(w.t, "edit"):
		c := w.check("edited")
		if rapid.Bool().Draw(w.t, "slip") {
			c = cairn.Check{Error: cairn.Errorf(cairn.CodeInvalidArgs, "no")}
		}
		d.Verb, d.Args, d.Check = cairn.VerbEdit, json.RawMessage(`{"a":1}`), &c
	}
	w.step(d)
}

// TestProperties: whatever happens, in whatever order, what must hold holds.
func TestProperties(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t)
		t.Repeat(map[string]func(*rapid.T){
			"perform":  func(t *rapid.T) { w.t = t; w.perform() },
			"perform2": func(t *rapid.T) { w.t = t; w.perform() },
			"perform3": func(t *rapid.T) { w.t = t; w.perform() },
			"decide":   func(t *rapid.T) { w.t = t; w.decide() },
			"post":     func(t *rapid.T) { w.t = t; w.step(cairn.Post{Content: []cairn.Part{cairn.Text("and?")}}) },
			"interrupt": func(t *rapid.T) {
				w.t = t
				w.step(cairn.Post{Content: []cairn.Part{cairn.Text("stop!")}, Interrupt: true})
			},
			"move": func(t *rapid.T) {
				w.t = t
				to := rapid.SampledFrom(slices.Sorted(maps.Keys(w.envs))).Draw(t, "to")
				w.step(cairn.Move{Agent: w.envs[to].Agent.Name, Digest: to})
			},
			"takeover": func(t *rapid.T) { w.t = t; w.step(cairn.Takeover{Epoch: 2}) },
			"wake": func(t *rapid.T) {
				w.t = t
				w.now = w.now.Add(rapid.SampledFrom([]time.Duration{time.Millisecond, time.Second, time.Minute, 25 * time.Hour}).Draw(t, "later"))
				w.step(cairn.Wake{})
			},
			"control": func(t *rapid.T) {
				w.t = t
				action := rapid.SampledFrom([]cairn.ControlAction{
					cairn.ControlPause, cairn.ControlResume, cairn.ControlResume, cairn.ControlPause, cairn.ControlResume, cairn.ControlCancel,
				}).Draw(t, "action")
				w.step(cairn.Control{Action: action})
			},
		})
		w.t = t
		w.replays()
		w.drains()
	})
}

// replays checks that the history gives the same state again, also through its
// stored form, and that a snapshot at any place changes nothing.
func (w *world) replays() {
	var s engine.State
	cut := rapid.IntRange(0, len(w.history)).Draw(w.t, "snapshot at")
	for i, e := range w.history {
		var back cairn.Event
		if err := json.Unmarshal([]byte(jsonOf(w.t, e)), &back); err != nil {
			w.t.Fatal(err)
		}
		if i == cut {
			var copied engine.State
			if err := json.Unmarshal([]byte(jsonOf(w.t, s)), &copied); err != nil {
				w.t.Fatal(err)
			}
			s = copied
		}
		s = engine.Fold(s, back)
	}
	if a, b := jsonOf(w.t, w.s), jsonOf(w.t, s); a != b {
		w.t.Fatalf("replay differs:\n%s", cmp.Diff(a, b))
	}
}

// drains checks that a cancelled session comes to its end when everything that
// is open reports, and that every call then has an answer or is an open question.
func (w *world) drains() {
	w.step(cairn.Control{Action: cairn.ControlResume})
	w.step(cairn.Control{Action: cairn.ControlCancel})
	for range 200 {
		if w.s.Final != "" {
			break
		}
		w.now = w.now.Add(time.Hour)
		w.step(cairn.Wake{})
		w.perform()
	}
	if w.s.Final == "" {
		w.t.Fatalf("a cancelled session does not end:\n%s", jsonOf(w.t, w.s))
	}
	closed := map[cairn.EffectID]bool{}
	for _, e := range w.history {
		switch e.Data.(type) {
		case cairn.ToolCallCompleted, cairn.ToolCallFailed, cairn.ToolCallDenied, cairn.EffectReconciled:
			if closed[e.Step] {
				w.t.Fatalf("call %s is answered twice", e.Step)
			}
			closed[e.Step] = true
		}
	}
	for _, e := range w.history {
		if _, ok := e.Data.(cairn.ToolCallRequested); ok && !closed[e.Step] {
			if !slices.ContainsFunc(w.s.Calls, func(c engine.Call) bool {
				return cairn.EffectIDAt("ses_1", c.Seq) == e.Step && c.Phase == engine.PhaseUnknown
			}) {
				w.t.Fatalf("call %s has no answer", e.Step)
			}
		}
	}
}
