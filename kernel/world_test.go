package kernel_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/blob"
	"github.com/cairn-run/cairn/engine"
	"github.com/cairn-run/cairn/journal"
	"github.com/cairn-run/cairn/journal/memory"
	"github.com/cairn-run/cairn/kernel"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const tenant = cairn.TenantID("t")

// performer is one kind of work of the outside world.
type performer func(ctx context.Context, j kernel.Job) cairn.InputData

// outside is the world as the tests want it: a host made of functions.
type outside struct {
	t     testing.TB
	tools []cairn.ToolSpec
	model performer
	tool  performer
	query performer
	find  performer
	// release ends what still runs in a sandbox.
	release performer
	// repeats says that a new owner may do again, in the same attempt, what may be repeated.
	repeats  bool
	verdict  func(tool, args string) cairn.Check
	agentErr func() error

	mu     sync.Mutex
	agents map[cairn.Digest]*cairn.Agent
	begun  map[string]int
	once   map[cairn.EffectID]int // of what must not be repeated
	order  []string
	now    int // under way
	most   int // under way at once
}

var _ kernel.Host = (*outside)(nil)

func (h *outside) Agent(_ context.Context, _ cairn.TenantID, name string, d cairn.Digest) (*cairn.Agent, error) {
	if h.agentErr != nil {
		if err := h.agentErr(); err != nil {
			return nil, err
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if a := h.agents[d]; a != nil {
		return a, nil
	}
	return nil, cairn.Errorf(cairn.CodeNotFound, "there is no agent %s with version %s", name, d)
}

func (h *outside) Models(_ context.Context, a *cairn.Agent) ([]cairn.ModelInfo, error) {
	return []cairn.ModelInfo{{
		Name: a.Model, Provider: "script", Priced: true,
		Prices: cairn.Flat(cairn.Rates{Input: cairn.Dollar, Output: 5 * cairn.Dollar}),
	}}, nil
}

func (h *outside) Tools(_ *cairn.Agent, pinned []cairn.ToolSpec) []cairn.ToolSpec {
	return slices.Concat(h.tools, pinned)
}

func (h *outside) Check(_ *cairn.Agent, _ []cairn.ToolSpec, _ cairn.SessionKey, tool, args string) cairn.Check {
	if h.verdict != nil {
		return h.verdict(tool, args)
	}
	return allow(tool, args)
}

func allow(tool, args string) cairn.Check {
	if args == "" {
		args = "{}"
	}
	canonical, err := cairn.Canonical([]byte(args))
	if err != nil {
		return cairn.Check{Error: cairn.Errorf(cairn.CodeInvalidArgs, "%v", err)}
	}
	return cairn.Check{Verdict: cairn.VerdictAllow, Args: canonical, Digest: cairn.DigestOf(append([]byte(tool), canonical...))}
}

func (h *outside) CheckOutput(*cairn.Agent, string) string { return "" }

// Perform counts attempts: the same one is never begun twice.
func (h *outside) Perform(ctx context.Context, j kernel.Job) cairn.InputData {
	e := j.Effect
	name := fmt.Sprintf("%s %s#%d", e.Kind, e.ID, e.Attempt)
	h.mu.Lock()
	if h.begun[name]++; h.begun[name] > 1 && e.Kind != cairn.EffectReconcile && (!h.repeats || e.Kind != cairn.EffectTool) {
		h.t.Errorf("%s is performed %d times", name, h.begun[name])
	}
	if e.Kind == cairn.EffectTool && !e.Tool.Class.Repeatable() {
		if h.once[e.ID]++; h.once[e.ID] > 1 {
			h.t.Errorf("%s, which must not be repeated, is performed again in attempt %d", e.Tool.Tool, e.Attempt)
		}
	}
	h.now++
	h.most = max(h.most, h.now)
	if e.Tool != nil {
		h.order = append(h.order, e.Tool.Tool+string(e.Tool.Args))
	}
	h.mu.Unlock()
	defer func() {
		h.mu.Lock()
		h.now--
		h.mu.Unlock()
	}()
	switch e.Kind {
	case cairn.EffectModel:
		return h.model(ctx, j)
	case cairn.EffectTool:
		return h.tool(ctx, j)
	case cairn.EffectReconcile:
		return h.query(ctx, j)
	case cairn.EffectToolset:
		return h.find(ctx, j)
	case cairn.EffectRelease:
		return h.release(ctx, j)
	case cairn.EffectDraw:
	}
	h.t.Errorf("the host is asked to perform a %s", e.Kind)
	return nil
}

// performed is how often a tool was begun, with whatever arguments.
func (h *outside) performed(tool string) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	n := 0
	for _, o := range h.order {
		if len(o) >= len(tool) && o[:len(tool)] == tool {
			n++
		}
	}
	return n
}

// says makes a model of answers: which one it gives depends on how many stand in
// the request, so that it says the same to every owner and every attempt.
func says(answers ...cairn.ModelAnswer) performer {
	return func(_ context.Context, j kernel.Job) cairn.InputData {
		turn := 0
		for _, m := range j.Request.Messages {
			if m.Role == cairn.RoleAssistant {
				turn++
			}
		}
		a := text("That is all.")
		if turn < len(answers) {
			a = answers[turn]
		}
		return cairn.ModelOutcome{Answer: &a}
	}
}

func text(s string) cairn.ModelAnswer {
	return cairn.ModelAnswer{
		Model: "script/one", Stop: cairn.StopEnd, Content: []cairn.Part{cairn.Text(s)}, Usage: cairn.Usage{Input: 50, Output: 10},
	}
}

// calls makes an answer of tool calls: tool, arguments, tool, arguments …
func calls(pairs ...string) cairn.ModelAnswer {
	a := text("I act.")
	a.Stop = cairn.StopToolUse
	for i := 0; i < len(pairs); i += 2 {
		a.Content = append(a.Content, cairn.Part{Kind: cairn.PartToolCall, CallID: fmt.Sprint("c", i), Tool: pairs[i], Args: pairs[i+1]})
	}
	return a
}

func done(s string) cairn.InputData {
	return cairn.ToolOutcome{Result: &cairn.ToolResult{Content: []cairn.Part{cairn.Text(s)}}}
}

// stopped is what a performer says that was stopped.
func stopped(e cairn.Effect) cairn.InputData {
	err := &cairn.Error{Code: cairn.CodeCancelled, Message: "stopped"}
	if e.Kind == cairn.EffectModel {
		return cairn.ModelOutcome{Error: err}
	}
	return cairn.ToolOutcome{Error: err, Killed: []string{"pid 7"}}
}

// world is a store, the outside, and the kernels that work on them.
type world struct {
	t        testing.TB
	store    journal.Store
	j        *journal.Journal
	host     *outside
	agent    *cairn.Agent
	sessions []cairn.SessionKey
	sent     atomic.Int64
}

// newWorld makes a world over a store; nil: one in memory. It closes the store.
func newWorld(t testing.TB, store journal.Store) *world {
	t.Helper()
	if store == nil {
		store = memory.Open(memory.Options{})
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	tool := func(name string, class cairn.EffectClass, host cairn.ToolHost) cairn.ToolSpec {
		d := cairn.ToolDef{Name: name, InputSchema: json.RawMessage(`{"type":"object"}`)}
		return cairn.ToolSpec{ToolDef: d, Host: host, Class: class, Digest: d.Digest()}
	}
	refund := tool("refund", cairn.ClassIrreversible, cairn.HostRuntime)
	refund.Reconcile = &cairn.Reconcile{Tool: "look", Done: map[string]json.RawMessage{"status": json.RawMessage(`"done"`)}}
	w := &world{t: t, store: store, j: journal.New(store, blob.New(&blob.Memory{}, blob.Options{})), host: &outside{
		t: t, agents: map[cairn.Digest]*cairn.Agent{}, begun: map[string]int{}, once: map[cairn.EffectID]int{},
		tools: []cairn.ToolSpec{
			tool("look", cairn.ClassRead, cairn.HostRuntime), tool("put", cairn.ClassIdempotent, cairn.HostRuntime),
			tool("pay", cairn.ClassIrreversible, cairn.HostRuntime), refund, tool("ui", cairn.ClassRead, cairn.HostClient),
		},
		model: says(text("Done.")),
		tool:  func(context.Context, kernel.Job) cairn.InputData { return done("ok") },
		query: func(context.Context, kernel.Job) cairn.InputData {
			return cairn.ReconcileOutcome{Finding: cairn.FoundDone}
		},
		find: func(context.Context, kernel.Job) cairn.InputData { return cairn.ToolsetOutcome{} },
	}}
	w.use(&cairn.Agent{Name: "a", Model: "script/one", Instructions: "Be exact."})
	return w
}

// use makes a definition the one that sessions are started with.
func (w *world) use(a *cairn.Agent) {
	w.t.Helper()
	if err := a.Validate(); err != nil {
		w.t.Fatal(err)
	}
	w.agent = a
	w.host.mu.Lock()
	defer w.host.mu.Unlock()
	w.host.agents[a.Digest()] = a
}

// node is a running kernel.
type node struct {
	*kernel.Kernel
	live *kernel.Live
	// crash ends it as a dying process would, and returns what Run returned.
	crash func() error
	ended chan struct{}
}

// node starts a kernel; it is crashed at the end of the test, if it still runs.
func (w *world) node(o kernel.Options) *node {
	w.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	n := &node{live: kernel.NewLive(), ended: make(chan struct{})}
	n.Kernel = kernel.New(w.j, w.host, n.live, o)
	var err error
	go func() {
		defer close(n.ended)
		err = n.Run(ctx)
	}()
	n.crash = func() error {
		cancel()
		<-n.ended
		return err
	}
	w.t.Cleanup(func() { _ = n.crash() })
	return n
}

// start creates a session.
func (w *world) start(message string, once bool) cairn.SessionKey {
	w.t.Helper()
	k := cairn.SessionKey{Tenant: tenant, ID: cairn.NewSessionID(fmt.Sprintf("%026d", len(w.sessions)))}
	w.sessions = append(w.sessions, k)
	d := cairn.Start{Agent: w.agent.Name, Digest: w.agent.Digest(), Once: once}
	if message != "" {
		d.Content = []cairn.Part{cairn.Text(message)}
	}
	in := w.input(k, d)
	in.ID = "start"
	if err := w.j.Post(context.Background(), in, &journal.NewSession{Summary: cairn.Summary{
		Session: k, Agent: d.Agent, Digest: d.Digest, Status: cairn.StatusQueued, Created: in.At, Updated: in.At,
	}}, nil); err != nil {
		w.t.Fatal(err)
	}
	return k
}

func (w *world) input(k cairn.SessionKey, d cairn.InputData) cairn.Input {
	n := w.sent.Add(1)
	return cairn.Input{ID: fmt.Sprint("in", n), To: k, At: time.Now().UTC(), From: cairn.Principal{Kind: "user", ID: "ann"}, Data: d}
}

// send delivers an input.
func (w *world) send(k cairn.SessionKey, d cairn.InputData) {
	w.t.Helper()
	if err := w.j.Post(context.Background(), w.input(k, d), nil, nil); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) say(k cairn.SessionKey, message string) {
	w.t.Helper()
	w.send(k, cairn.Post{Content: []cairn.Part{cairn.Text(message)}})
}

// decide answers an ask as the API does: with the compare-and-set on its row.
func (w *world) decide(k cairn.SessionKey, id cairn.AskID, verb cairn.AskVerb) error {
	d := cairn.Decide{Decision: cairn.Decision{Ask: id, Verb: verb}}
	in := w.input(k, d)
	return w.j.Post(context.Background(), in, nil, &journal.AskClose{Session: k, ID: id, Status: d.Status(), By: in.From, At: in.At})
}

// asks are the open rows of a session.
func (w *world) asks(k cairn.SessionKey) []cairn.Ask {
	w.t.Helper()
	rows, err := w.j.Asks(context.Background(), k.Tenant, journal.AskFilter{Session: k.ID})
	if err != nil {
		w.t.Fatal(err)
	}
	var all []cairn.Ask
	for _, r := range rows {
		all = append(all, r.Ask)
	}
	return all
}

func (w *world) ask(k cairn.SessionKey) cairn.Ask {
	w.t.Helper()
	all := w.asks(k)
	if len(all) != 1 {
		w.t.Fatalf("%d asks are open, not one: %v", len(all), w.types(k))
	}
	return all[0]
}

func (w *world) status(k cairn.SessionKey) cairn.Status {
	w.t.Helper()
	s, err := w.j.Summary(context.Background(), k)
	if err != nil {
		w.t.Fatal(err)
	}
	return s.Status
}

// pass lets time pass in a bubble, until nothing moves any more.
func pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

// until waits in a bubble until a session has a status.
func (w *world) until(k cairn.SessionKey, want cairn.Status) {
	w.t.Helper()
	for range 2000 {
		synctest.Wait()
		if w.status(k) == want {
			return
		}
		pass(50 * time.Millisecond)
	}
	w.t.Fatalf("%s is %s, not %s: %v", k, w.status(k), want, w.types(k))
}

func (w *world) history(k cairn.SessionKey) []cairn.Event {
	w.t.Helper()
	var all []cairn.Event
	for e, err := range w.j.Events(context.Background(), k, 0) {
		if err != nil {
			w.t.Fatal(err)
		}
		all = append(all, e)
	}
	return all
}

func (w *world) types(k cairn.SessionKey) []string {
	w.t.Helper()
	var all []string
	for _, e := range w.history(k) {
		all = append(all, string(e.Type()))
	}
	return all
}

// count is how many events of a type a session has.
func (w *world) count(k cairn.SessionKey, types ...cairn.EventType) int {
	w.t.Helper()
	n := 0
	for _, e := range w.history(k) {
		if slices.Contains(types, e.Type()) {
			n++
		}
	}
	return n
}

// has checks that a history holds exactly these types, in this order, among
// those that are listed.
func (w *world) has(k cairn.SessionKey, want ...string) {
	w.t.Helper()
	var got []string
	for _, t := range w.types(k) {
		if slices.Contains(want, t) {
			got = append(got, t)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		w.t.Fatalf("history of %s (-want +got):\n%s\n%v", k, diff, w.types(k))
	}
}

// nothingLost checks that the last run lost no model call and bought none for nothing.
func (w *world) nothingLost(k cairn.SessionKey) {
	w.t.Helper()
	for _, e := range w.history(k) {
		if d, ok := e.Data.(cairn.RunCompleted); ok && (d.Summary.LostCalls != 0 || d.Summary.Estimated != 0) {
			w.t.Errorf("%s: %d model calls are lost, %s are estimated: %v", k, d.Summary.LostCalls, d.Summary.Estimated, w.types(k))
		}
	}
}

// verify checks every session: the list row and the rows of asks say what the
// history says, each call was answered once, and nothing is reserved for nothing.
func (w *world) verify() {
	w.t.Helper()
	for _, k := range w.sessions {
		var s engine.State
		closed := map[cairn.EffectID]int{}
		for _, e := range w.history(k) {
			s = engine.Fold(s, e)
			switch e.Data.(type) {
			case cairn.ToolCallCompleted, cairn.ToolCallFailed, cairn.ToolCallDenied, cairn.EffectReconciled:
				if closed[e.Step]++; closed[e.Step] > 1 {
					w.t.Errorf("%s: call %s is answered twice", k, e.Step)
				}
			}
		}
		row, err := w.j.Summary(context.Background(), k)
		if err != nil {
			w.t.Error(err)
			continue
		}
		if want := s.Summary(); s.Seq > 0 {
			if diff := cmp.Diff(want, row); diff != "" {
				w.t.Errorf("%s: the list row differs from the history (-history +row):\n%s", k, diff)
			}
		}
		var open, rows []cairn.AskID
		for _, a := range s.Asks {
			open = append(open, a.ID)
		}
		for _, a := range w.asks(k) {
			rows = append(rows, a.ID)
		}
		if diff := cmp.Diff(open, rows); diff != "" {
			w.t.Errorf("%s: the rows of asks differ from the history (-history +rows):\n%s", k, diff)
		}
		if s.Model == nil && s.Money.Reserved != 0 {
			w.t.Errorf("%s: %s is reserved for nothing", k, s.Money.Reserved)
		}
	}
}

// bubble runs a test with a world of its own in a bubble of time.
func bubble(t *testing.T, test func(*testing.T, *world)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		test(t, w)
		synctest.Wait()
		w.verify()
	})
}

// bubbleOf is bubble in a subtest that is named by its seed.
func bubbleOf(t *testing.T, name string, seed uint64, test func(*testing.T, *world)) {
	t.Helper()
	t.Run(fmt.Sprintf("%s=%d", name, seed), func(t *testing.T) { bubble(t, test) })
}
