package engine_test

import (
	"encoding/json"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/engine"
)

// TestScripts runs testdata/scripts: each command is one input, and below it
// stand all events that follow, what is open then, and when the session wakes.
// `go test ./engine -run TestScripts -rewrite` writes them anew; read the
// difference. The commands are described in testdata/scripts/README.md.
func TestScripts(t *testing.T) {
	t.Parallel()
	for _, file := range scripts(t) {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			t.Parallel()
			p := &script{}
			datadriven.RunTest(t, file, p.run)
		})
	}
}

func scripts(t testing.TB) []string {
	t.Helper()
	files, err := filepath.Glob("testdata/scripts/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	return files
}

// histories plays every script and returns the histories of its sessions.
func histories(t *testing.T) map[string][]cairn.Event {
	t.Helper()
	all := map[string][]cairn.Event{}
	for _, file := range scripts(t) {
		p := &script{}
		name := strings.TrimSuffix(filepath.Base(file), ".txt")
		n := 0
		keep := func() {
			if n++; len(p.history) > 0 {
				all[fmt.Sprintf("%s-%d", name, n)] = p.history
			}
		}
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		datadriven.RunTestFromString(t, string(text), func(t *testing.T, d *datadriven.TestData) string {
			if d.Cmd == "agent" && p.env != nil {
				keep()
			}
			return p.run(t, d)
		})
		keep()
	}
	return all
}

// epoch is when every script begins.
var epoch = time.Date(2026, 11, 20, 0, 0, 0, 0, time.UTC)

// script is one session that is driven by commands.
type script struct {
	env     *engine.Env
	s       engine.State
	key     cairn.SessionKey
	now     time.Time
	history []cairn.Event
	inputs  int
	names   map[string]string // ids of the session, as @seq
	envs    map[cairn.Digest]*engine.Env
}

func (p *script) run(t *testing.T, d *datadriven.TestData) string {
	t.Helper()
	fail := func(format string, args ...any) {
		t.Helper()
		d.Fatalf(t, format, args...)
	}
	// arg is the n-th plain word after the command.
	var words []string
	options := map[string]string{}
	for _, a := range d.CmdArgs {
		if len(a.Vals) == 0 {
			words = append(words, a.Key)
		} else {
			options[a.Key] = strings.Join(a.Vals, ",")
		}
	}
	has := func(w string) bool {
		for _, x := range words {
			if x == w {
				return true
			}
		}
		return false
	}
	word := func(n int) string {
		if n >= len(words) {
			fail("%s needs more words", d.Cmd)
		}
		return words[n]
	}
	seq := func(w string) cairn.Seq {
		n, err := strconv.ParseUint(strings.TrimPrefix(w, "@"), 10, 64)
		if err != nil || w[0] != '@' {
			fail("%q is not a sequence number: write @7", w)
		}
		return cairn.Seq(n)
	}
	text := strings.TrimSpace(d.Input)
	var content []cairn.Part
	if text != "" {
		content = []cairn.Part{cairn.Text(text)}
	}
	failure := func(n int) *cairn.Error {
		e := &cairn.Error{Code: cairn.Code(word(n)), Message: "it failed", Retryable: has("retryable"), NotDone: has("not-done")}
		if after := options["after"]; after != "" {
			e.RetryAfter = cairn.Duration(duration(t, after))
		}
		return e
	}
	result := func() *cairn.ToolResult {
		if text == "" {
			return nil
		}
		return &cairn.ToolResult{Content: content, IsError: has("is-error")}
	}

	switch d.Cmd {
	case "agent":
		p.agent(t, text, options)
		return ""
	case "start":
		return p.step(t, cairn.Start{
			Agent: "a", Digest: p.env.Agent.Digest(), Content: content, Once: has("once"), Title: options["title"],
			Budget:    cairn.Budget{Run: dollars(t, options["run"]), Session: dollars(t, options["session"]), Agent: dollars(t, options["shared"])},
			Workspace: cairn.Digest(options["workspace"]), Project: strings.ReplaceAll(options["project"], "_", " "),
		})
	case "move":
		was := p.env
		now, err := p.definition(text, options)
		if err != nil {
			fail("%v", err)
		}
		p.env = was
		p.envs[now.Agent.Digest()] = now
		return p.step(t, cairn.Move{Agent: now.Agent.Name, Digest: now.Agent.Digest(), Reason: options["reason"]})
	case "released":
		e, ok := p.open(cairn.EffectRelease, 0)
		if !ok {
			return notOpen
		}
		out := cairn.ReleaseOutcome{Effect: e.ID}
		if k := options["killed"]; k != "" {
			out.Killed = []string{k}
		}
		if has("drained") {
			out.Error = cairn.Errorf(cairn.CodeCancelled, "stopped")
		}
		if has("failed") {
			out.Error = cairn.Errorf(cairn.CodeUnavailable, "the sandbox could not be ended")
		}
		return p.step(t, out)
	case "post", "interrupt":
		return p.step(t, cairn.Post{Content: content, Interrupt: d.Cmd == "interrupt"})
	case "pause", "resume", "cancel":
		return p.step(t, cairn.Control{Action: cairn.ControlAction(d.Cmd), Reason: options["reason"]})
	case "time":
		p.now = p.now.Add(duration(t, word(0)))
		return p.state()
	case "wake":
		if len(words) > 0 {
			p.now = p.now.Add(duration(t, word(0)))
		} else if at := p.nextTimer(); !at.IsZero() {
			p.now = at
		}
		return p.step(t, cairn.Wake{})
	case "takeover":
		in := cairn.Takeover{Epoch: 2}
		for _, w := range words {
			in.Held = append(in.Held, cairn.EffectIDAt(p.key.ID, seq(w)))
		}
		return p.step(t, in)
	case "answer":
		e, ok := p.open(cairn.EffectModel, 0)
		if !ok {
			return notOpen
		}
		return p.step(t, p.answer(t, e, d.Input, options))
	case "model-error":
		e, ok := p.open(cairn.EffectModel, 0)
		if !ok {
			return notOpen
		}
		out := cairn.ModelOutcome{Effect: e.ID, Attempt: e.Attempt, Error: failure(0)}
		if u := options["usage"]; u != "" {
			v := usage(t, u)
			out.Usage = &v
		}
		return p.step(t, out)
	case "begin":
		e, ok := p.open(cairn.EffectTool, seq(word(0)))
		if !ok {
			return notOpen
		}
		c := check(e.Tool.Tool, string(e.Tool.Args))
		switch {
		case has("deny"):
			c.Verdict, c.Rule = cairn.VerdictDeny, "deny["+e.Tool.Tool+"]"
		case has("changed"):
			c.Digest = cairn.DigestOf([]byte("another definition"))
		case has("invalid"):
			c.Error = cairn.Errorf(cairn.CodeUnknownTool, "the tool is gone")
		}
		return p.step(t, cairn.Starting{Effect: e.ID, Check: c})
	case "result":
		return p.step(t, cairn.ToolOutcome{
			Effect: p.effect(seq(word(0))), Attempt: p.attempt(seq(word(0)), options), Result: result(), Files: snapshotted(t, options),
		})
	case "tool-error":
		out := cairn.ToolOutcome{Effect: p.effect(seq(word(0))), Attempt: p.attempt(seq(word(0)), options), Error: failure(1), Result: result(), Files: snapshotted(t, options)}
		if k := options["killed"]; k != "" {
			out.Killed = []string{k}
		}
		return p.step(t, out)
	case "reconcile":
		out := cairn.ReconcileOutcome{Effect: p.effect(seq(word(0))), Attempt: 1, Finding: cairn.Finding(word(1)), Result: result()}
		if len(words) > 2 {
			out.Error = failure(2)
		}
		return p.step(t, out)
	case "toolset":
		e, ok := p.open(cairn.EffectToolset, 0)
		if !ok {
			return notOpen
		}
		out := cairn.ToolsetOutcome{Effect: e.ID, Attempt: e.Attempt}
		if has("ok") {
			out.Tools = tools()[:1]
		} else {
			out.Error = failure(0)
		}
		return p.step(t, out)
	case "draw":
		e, ok := p.open(cairn.EffectDraw, 0)
		if !ok {
			return notOpen
		}
		if word(0) == "ok" {
			return p.step(t, cairn.DrawOutcome{Effect: e.ID, Granted: e.Draw.Amount})
		}
		return p.step(t, cairn.DrawOutcome{Effect: e.ID, Error: cairn.Errorf(cairn.CodeBudget, "a shared budget is exhausted")})
	case "approve", "reject", "edit", "respond":
		verb := map[string]cairn.AskVerb{
			"approve": cairn.VerbApprove, "reject": cairn.VerbReject, "edit": cairn.VerbEdit, "respond": cairn.VerbAnswer,
		}[d.Cmd]
		in := cairn.Decide{Decision: cairn.Decision{
			Ask: cairn.AskIDAt(p.key.ID, seq(word(0))), Verb: verb, Comment: options["comment"], Result: result(),
		}}
		if d.Cmd == "edit" {
			in.Args, in.Result = json.RawMessage(text), nil
			c := check("edited", text)
			switch {
			case has("slip"):
				c = cairn.Check{Error: cairn.Errorf(cairn.CodeInvalidArgs, "amount is missing")}
			case has("deny"):
				c.Verdict, c.Rule = cairn.VerdictDeny, "deny[pay:*]"
			}
			in.Check = &c
		}
		return p.step(t, in)
	case "fork":
		parent, at := p.key, p.s.Seq
		p.key.ID = cairn.SessionID(word(0))
		return p.step(t, cairn.Fork{Parent: parent, At: at})
	case "render":
		return p.render(t)
	}
	fail("no command %q", d.Cmd)
	return ""
}

// snapshotted is the state a call left: layer=N, dir=, running=.
func snapshotted(t *testing.T, options map[string]string) *cairn.Snapshotted {
	t.Helper()
	if options["layer"] == "" {
		return nil
	}
	n, err := strconv.ParseInt(options["layer"], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	f := &cairn.Snapshotted{
		Snapshot: cairn.Snapshot{Layer: n, Tree: cairn.Digest("tree" + options["layer"]), Dir: options["dir"]},
		Changes:  cairn.Changes{Modified: 1, Bytes: 10},
	}
	if r := options["running"]; r != "" {
		f.Running = []string{r}
	}
	return f
}

// fileTools are added to the others with tools=files.
func fileTools() []cairn.ToolSpec {
	mk := func(name string, host cairn.ToolHost, class cairn.EffectClass, files cairn.Access) cairn.ToolSpec {
		d := cairn.ToolDef{Name: name, InputSchema: json.RawMessage(`{"type":"object"}`)}
		return cairn.ToolSpec{ToolDef: d, Host: host, Class: class, Files: files, Digest: d.Digest(), Retries: 2}
	}
	return []cairn.ToolSpec{
		mk("sh", cairn.HostRuntime, cairn.ClassWorkspace, cairn.AccessWrite),
		mk("see", cairn.HostRuntime, cairn.ClassRead, cairn.AccessRead),
		mk("deploy", cairn.HostRuntime, cairn.ClassIrreversible, cairn.AccessWrite),
		mk("ask_person", cairn.HostPerson, cairn.ClassRead, cairn.AccessNone),
	}
}

// agent begins a new session whose definition is the default with the JSON of
// the body laid over it.
func (p *script) agent(t *testing.T, body string, options map[string]string) {
	t.Helper()
	env, err := p.definition(body, options)
	if err != nil {
		t.Fatal(err)
	}
	*p = script{now: epoch, key: cairn.SessionKey{Tenant: "t", ID: "ses_1"}, env: env, envs: map[cairn.Digest]*engine.Env{env.Agent.Digest(): env}}
}

func (p *script) definition(body string, options map[string]string) (*engine.Env, error) {
	a := &cairn.Agent{
		Name: "a", Model: "script/one", Fallback: []string{"other/two"}, Instructions: "Be exact.",
		Params: cairn.Params{MaxOutput: 1000},
	}
	if body != "" {
		if err := json.Unmarshal([]byte(body), a); err != nil {
			return nil, fmt.Errorf("agent: %w", err)
		}
	}
	if err := a.Validate(); err != nil {
		return nil, err
	}
	env := &engine.Env{Agent: a, Tools: tools(), Sandbox: "ns"}
	if options["tools"] == "files" {
		env.Tools = append(env.Tools, fileTools()...)
	}
	written := cairn.Money(0)
	if w := options["cache-write"]; w != "" {
		var err error
		if written, err = cairn.ParseMoney(w); err != nil {
			return nil, err
		}
	}
	windows := strings.Split(options["window"], ",") // of the fallbacks after the first: as the one before
	for i, name := range append([]string{a.Model}, a.Fallback...) {
		provider, _, _ := strings.Cut(name, "/")
		window, _ := strconv.ParseInt(windows[min(i, len(windows)-1)], 10, 64)
		env.Models = append(env.Models, cairn.ModelInfo{
			Name: name, Provider: provider, Priced: options["unpriced"] != name, Window: window,
			Prices: cairn.Flat(cairn.Rates{Input: 3 * cairn.Dollar, CacheRead: cairn.Dollar / 2, CacheWrite5m: written, Output: 15 * cairn.Dollar}),
		})
	}
	for _, h := range a.OnExit {
		env.Hooks = append(env.Hooks, check(h.Tool, string(h.Arguments)))
	}
	return env, nil
}

// check is what schema and policy say of a call that is in order.
func check(tool, args string) cairn.Check {
	if args == "" {
		args = "{}"
	}
	canonical, err := cairn.Canonical([]byte(args))
	if err != nil {
		return cairn.Check{Error: cairn.Errorf(cairn.CodeInvalidArgs, "%v", err)}
	}
	return cairn.Check{Verdict: cairn.VerdictAllow, Args: canonical, Digest: cairn.DigestOf(append([]byte(tool), canonical...))}
}

func (p *script) effect(n cairn.Seq) cairn.EffectID { return cairn.EffectIDAt(p.key.ID, n) }

// notOpen is what a command prints whose effect is not open.
const notOpen = "not open\n"

// open finds the open effect of a kind; zero: whichever there is.
func (p *script) open(kind cairn.EffectKind, n cairn.Seq) (cairn.Effect, bool) {
	for _, e := range engine.Open(p.s) {
		if e.Kind == kind && (n == 0 || e.Seq == n) {
			return e, true
		}
	}
	return cairn.Effect{}, false
}

// attempt is the one under way, unless the command names another.
func (p *script) attempt(n cairn.Seq, options map[string]string) int {
	if a, err := strconv.Atoi(options["attempt"]); err == nil {
		return a
	}
	for _, e := range engine.Open(p.s) {
		if e.Seq == n {
			return e.Attempt
		}
	}
	return 1
}

// answer reads the lines of an answer: text, reasoning, opaque and call.
func (p *script) answer(t *testing.T, e cairn.Effect, body string, options map[string]string) cairn.ModelOutcome {
	t.Helper()
	a := &cairn.ModelAnswer{Model: e.Model.Model, Stop: cairn.StopEnd, Usage: usage(t, "100/10")}
	out := cairn.ModelOutcome{Effect: e.ID, Attempt: e.Attempt, Answer: a, OutputError: strings.ReplaceAll(options["bad"], "_", " ")}
	for line := range strings.Lines(body) {
		kind, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch kind {
		case "":
		case "text":
			a.Content = append(a.Content, cairn.Text(rest))
		case "reasoning", "opaque":
			provider, _, _ := strings.Cut(e.Model.Model, "/")
			part := cairn.Part{Kind: cairn.PartKind(kind), Provider: provider, Text: rest}
			if kind == "opaque" {
				part.Text, part.Opaque = "", json.RawMessage(rest)
			}
			a.Content = append(a.Content, part)
		case "call": // call TOOL ARGS [verdict]
			fields := strings.Fields(rest)
			if len(fields) < 2 {
				t.Fatalf("call needs a tool and its arguments: %q", line)
			}
			id := fmt.Sprintf("c%d", len(out.Checks))
			a.Content = append(a.Content, cairn.Part{Kind: cairn.PartToolCall, CallID: id, Tool: fields[0], Args: fields[1]})
			c := check(fields[0], fields[1])
			if len(fields) > 2 {
				switch fields[2] {
				case "ask", "deny":
					c.Verdict = cairn.Verdict(fields[2])
					c.Rule = fields[2] + "[" + fields[0] + "]"
				case "invalid":
					c = cairn.Check{Error: cairn.Errorf(cairn.CodeInvalidArgs, "amount is missing")}
				case "unknown":
					c = cairn.Check{Error: cairn.Errorf(cairn.CodeUnknownTool, "there is no tool %q", fields[0])}
				default:
					t.Fatalf("no verdict %q", fields[2])
				}
			}
			out.Checks = append(out.Checks, c)
			a.Stop = cairn.StopToolUse
		default:
			t.Fatalf("an answer has no %q", kind)
		}
	}
	if u := options["usage"]; u != "" {
		a.Usage = usage(t, u)
	}
	if s := options["stop"]; s != "" {
		a.Stop = cairn.StopReason(s)
	}
	a.Service = options["service"]
	if s := options["charged"]; s != "" {
		m := dollars(t, s)
		a.Charged = &m
	}
	if s := options["beside"]; s != "" {
		a.Beside = []string{s}
	}
	if s := options["broken"]; s != "" {
		n, err := strconv.ParseInt(s, 10, 64)
		if err != nil {
			t.Fatalf("broken=%s: %v", s, err)
		}
		out.Broken = &cairn.PrefixBreak{Byte: n}
	}
	return out
}

// step feeds an input and prints what follows.
func (p *script) step(t *testing.T, data cairn.InputData) string {
	t.Helper()
	p.inputs++
	if env := p.envs[p.s.Digest]; env != nil {
		p.env = env
	}
	events := engine.Step(p.env, p.s, cairn.Input{
		ID: fmt.Sprintf("in%d", p.inputs), To: p.key, At: p.now, From: cairn.Principal{Kind: "user", ID: "ann"}, Data: data,
	})
	var out strings.Builder
	for _, e := range events {
		p.s = engine.Fold(p.s, e)
		p.history = append(p.history, e)
		out.WriteString(p.line(t, e))
	}
	return out.String() + p.state()
}

// state prints what is open now and when the session wakes.
func (p *script) state() string {
	s := p.s
	var out strings.Builder
	fmt.Fprintf(&out, "= %s", s.Status())
	for _, e := range engine.Open(s) {
		fmt.Fprintf(&out, " %s@%d#%d", e.Kind, e.Seq, e.Attempt)
		for _, mark := range []struct {
			name string
			on   bool
		}{{"stop", e.Stop}, {"hold", e.Hold}, {"must-start", e.Tool != nil && e.Tool.MustStart}} {
			if mark.on {
				out.WriteString(":" + mark.name)
			}
		}
		if !e.NotBefore.IsZero() {
			out.WriteString(":at" + since(e.NotBefore))
		}
	}
	for _, a := range s.Asks {
		fmt.Fprintf(&out, " ask@%d", a.Seq)
	}
	if at := engine.WakeAt(s); !at.IsZero() {
		out.WriteString(" wake" + since(at))
	}
	if s.Money.Reserved != 0 {
		fmt.Fprintf(&out, " reserved %s", s.Money.Reserved)
	}
	if s.Money.Spent != 0 {
		fmt.Fprintf(&out, " spent %s", s.Money.Spent)
	}
	if s.Money.Granted != 0 {
		fmt.Fprintf(&out, " granted %s", s.Money.Granted)
	}
	return out.String() + "\n"
}

func since(at time.Time) string { return "+" + at.Sub(epoch).String() }

// nextTimer is when something is due that is not yet.
func (p *script) nextTimer() time.Time {
	next := engine.WakeAt(p.s)
	for _, e := range engine.Open(p.s) {
		if e.NotBefore.After(p.now) && (next.IsZero() || e.NotBefore.Before(next)) {
			next = e.NotBefore
		}
	}
	return next
}

// render prints the request of the open model call.
func (p *script) render(t *testing.T) string {
	t.Helper()
	if env := p.envs[p.s.Digest]; env != nil {
		p.env = env
	}
	e, ok := p.open(cairn.EffectModel, 0)
	if !ok {
		return notOpen
	}
	m := e.Model.Manifest
	var events iter.Seq2[cairn.Event, error] = func(yield func(cairn.Event, error) bool) {
		for _, e := range p.history {
			if ((e.Seq >= m.From && e.Seq <= m.To) || slices.Contains(m.Apart(), e.Seq)) && !yield(e, nil) {
				return
			}
		}
	}
	req, err := engine.Render(p.env.Agent, p.env.Tools, e.Model.Model, m, events)
	if err != nil {
		return "error: " + err.Error() + "\n"
	}
	var out strings.Builder
	fmt.Fprintf(&out, "%s: %d tools, at most %d tokens\n", req.Model, len(req.Tools), req.Params.MaxOutput)
	if req.System != "Be exact." {
		fmt.Fprintf(&out, "system: %q\n", req.System)
	}
	for _, msg := range req.Messages {
		fmt.Fprintf(&out, "%s:", msg.Role)
		for _, part := range msg.Content {
			out.WriteString(" " + printPart(part))
		}
		out.WriteString("\n")
	}
	return out.String()
}

func duration(t *testing.T, s string) time.Duration {
	t.Helper()
	d, err := time.ParseDuration(strings.TrimPrefix(s, "+"))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func dollars(t *testing.T, s string) cairn.Money {
	t.Helper()
	if s == "" {
		return 0
	}
	m, err := cairn.ParseMoney(s)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// usage reads "input/output", "input/output/cache read" or "input/output/cache
// read/cache write".
func usage(t *testing.T, s string) cairn.Usage {
	t.Helper()
	var n [8]int64
	for i, f := range strings.Split(s, "/") {
		v, err := strconv.ParseInt(f, 10, 64)
		if err != nil || i >= len(n) {
			t.Fatalf("usage %q: write input/output", s)
		}
		n[i] = v
	}
	return cairn.Usage{
		Input: n[0], Output: n[1], CacheRead: n[2], CacheWrite5m: n[3],
		CacheWrite1h: n[4], InputAudio: n[5], OutputAudio: n[6], Searches: n[7],
	}
}
