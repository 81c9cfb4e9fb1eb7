package cli

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/google/go-cmp/cmp"

	"github.com/cairn-run/cairn"
	v1 "github.com/cairn-run/cairn/api/v1"
)

var update = flag.Bool("update", false, "write what was found as what is expected")

const testSession = cairn.SessionID("ses_01TEST")

// history is a made-up session in which every type of event takes place.
func history() []cairn.Event {
	user := cairn.Principal{Kind: "user", ID: "ada"}
	at := time.Date(2026, 11, 20, 9, 0, 0, 0, time.UTC)
	var events []cairn.Event
	add := func(step cairn.EffectID, d cairn.EventData) {
		at = at.Add(250 * time.Millisecond)
		events = append(events, cairn.Event{Seq: cairn.Seq(len(events) + 1), At: at, Run: "run_1", Step: step, Data: d})
	}
	use := cairn.Usage{Input: 1200, CacheRead: 800, Output: 84}
	said := func(text string) cairn.ModelAnswer {
		return cairn.ModelAnswer{Model: "script/support", Content: []cairn.Part{cairn.Text(text)}, Stop: cairn.StopToolUse, Usage: use}
	}
	failure := cairn.Error{Code: cairn.CodeOverloaded, Message: "the provider is busy", Retryable: true}
	add("", cairn.SessionCreated{Key: cairn.SessionKey{Tenant: "default", ID: testSession}, Agent: "support", Digest: cairn.DigestOf([]byte("support")), Owner: user, Title: "Order A1"})
	add("", cairn.SessionForked{Key: cairn.SessionKey{ID: testSession}, Parent: cairn.SessionKey{ID: "ses_01PARENT"}, At: 1})
	add("eff_t", cairn.ToolsetRequested{})
	add("eff_t", cairn.ToolsetRetried{Attempt: 1, Error: failure, NextAt: at.Add(time.Second)})
	add("eff_t", cairn.ToolsetFailed{Attempt: 2, Error: failure})
	add("eff_t", cairn.ToolsetPinned{Tools: []cairn.ToolSpec{{ToolDef: cairn.ToolDef{Name: "get_order"}}, {ToolDef: cairn.ToolDef{Name: "refund"}}}})
	add("", cairn.RunStarted{Digest: cairn.DigestOf([]byte("support")), Sandbox: "ns", Budget: cairn.Dollar / 2, Deadline: at.Add(time.Hour)})
	add("", cairn.MessageCreated{Content: []cairn.Part{cairn.Text("Where is order A1?\nI want my money back.")}, Origin: "user", By: user})
	add("eff_m1", cairn.ModelRequested{Model: "script/support", Attempt: 1, Reserved: cairn.Dollar / 100})
	add("eff_m1", cairn.ModelRetried{Attempt: 1, Error: failure, Cost: 1_000_000, Status: cairn.CostEstimated, NextAt: at.Add(2 * time.Second), Model: "script/support"})
	add("eff_m1", cairn.ModelRequested{Model: "script/support", Attempt: 2, Reserved: cairn.Dollar / 100})
	add("eff_m1", cairn.ModelCompleted{Attempt: 2, Answer: said("I will look at the order.\nOne moment."), Cost: 4_200_000, Status: cairn.CostExact, Took: cairn.Duration(820 * time.Millisecond)})
	add("eff_a", cairn.ToolCallRequested{Tool: "get_order", Class: cairn.ClassRead, Args: json.RawMessage(`{"id":"A1"}`), Verdict: cairn.VerdictAllow})
	add("eff_b", cairn.ToolCallRequested{Tool: "export", Class: cairn.ClassRead, Args: json.RawMessage(`{}`), Verdict: cairn.VerdictDeny, Rule: "deny: export"})
	add("eff_b", cairn.ToolCallDenied{Rule: "deny: export", Reason: "not allowed by policy"})
	add("eff_a", cairn.ToolCallRetried{Attempt: 1, Error: cairn.Error{Code: cairn.CodeTimeout, Message: "no answer in 5s"}, NextAt: at.Add(time.Second)})
	add("eff_a", cairn.ToolCallCompleted{Attempt: 2, Result: cairn.ToolResult{Content: []cairn.Part{cairn.Text(`{"status":"lost","total":70}`)}, Truncated: 12345, Shown: &cairn.Shown{Head: 12, Tail: 8}}, Took: cairn.Duration(12 * time.Millisecond)})
	add("eff_p", cairn.ToolCallRequested{Tool: "plan", Host: cairn.HostEngine, Args: json.RawMessage(`{"steps":["refund"]}`)})
	add("eff_p", cairn.PlanUpdated{Plan: json.RawMessage(`{"steps":["refund"]}`)})
	add("eff_p", cairn.ToolCallCompleted{Attempt: 1, Result: cairn.ToolResult{Content: []cairn.Part{cairn.Text("ok")}}})
	add("eff_r", cairn.ToolCallRequested{Tool: "refund", Class: cairn.ClassIrreversible, Args: json.RawMessage(`{"amount":70,"charge":"c1"}`), Verdict: cairn.VerdictAsk, Rule: "ask: refund"})
	ask := cairn.Ask{ID: "ask_1", Kind: cairn.AskApproval, Effect: "eff_r", Tool: "refund", Class: cairn.ClassIrreversible, Args: json.RawMessage(`{"amount":70,"charge":"c1"}`), Rule: "ask: refund", Opened: at}
	add("eff_r", cairn.AskOpened{Ask: ask})
	add("eff_r", cairn.AskResolved{Ask: "ask_1", Status: cairn.AskEdited, By: user, Args: json.RawMessage(`{"amount":60,"charge":"c1"}`), Comment: "ten are kept"})
	add("eff_r", cairn.ToolCallStarted{Attempt: 1})
	add("eff_r", cairn.ToolCallUnknown{Attempt: 1, Reason: "the process died", Reconcile: true})
	add("eff_r", cairn.EffectReconciled{Finding: cairn.FoundDone, By: "query"})
	add("eff_c", cairn.ToolCallRequested{Tool: "locate", Host: cairn.HostClient, Args: json.RawMessage(`{}`)})
	add("eff_c", cairn.AskOpened{Ask: cairn.Ask{ID: "ask_2", Kind: cairn.AskClientTool, Effect: "eff_c", Tool: "locate"}})
	add("eff_c", cairn.AskExpired{Ask: "ask_2", Action: "reject"})
	add("eff_c", cairn.ToolCallFailed{Error: cairn.Error{Code: cairn.CodeExpired, Message: "nobody answered"}, Killed: []string{"pid 12"}})
	add("eff_g", cairn.BudgetRequested{Amount: cairn.Dollar})
	add("eff_g", cairn.BudgetDrawn{Error: &cairn.Error{Code: cairn.CodeBudget, Message: "the agent has spent its budget"}})
	add("", cairn.BudgetExceeded{Scope: "run", Limit: cairn.Dollar / 2, Spent: 4_900_000, Need: cairn.Dollar})
	add("", cairn.AskOpened{Ask: cairn.Ask{ID: "ask_3", Kind: cairn.AskBudget, Scope: "run", Amount: cairn.Dollar}})
	add("", cairn.AskResolved{Ask: "ask_3", Status: cairn.AskApproved, By: user})
	add("", cairn.BudgetRaised{Scope: "run", Amount: cairn.Dollar, By: user})
	add("", cairn.ContextCompacted{KeepFrom: 9, Note: "…", Before: 123456, After: 2345})
	add("", cairn.CacheBroken{Reason: "model_switched", At: 9})
	bash := func(id cairn.EffectID, command string) {
		args, err := json.Marshal(map[string]string{"command": command})
		if err != nil {
			panic(err)
		}
		add(id, cairn.ToolCallRequested{Tool: "bash", Class: cairn.ClassWorkspace, Files: cairn.AccessWrite, Args: args, Verdict: cairn.VerdictAllow})
	}
	bash("eff_s1", "go test ./...\necho done")
	add("eff_s1", cairn.WorkspaceSnapshotted{Snapshotted: cairn.Snapshotted{Snapshot: cairn.Snapshot{Layer: 1}, Changes: cairn.Changes{Added: 2, Modified: 1, Bytes: 2048}, Running: []string{"server"}}})
	add("eff_s1", cairn.ToolCallCompleted{Attempt: 1, Result: cairn.ToolResult{IsError: true, Content: []cairn.Part{cairn.Text("--- FAIL: TestAdd\nFAIL\n")}, Structured: json.RawMessage(`{"exit_code":1}`)}, Took: cairn.Duration(1200 * time.Millisecond)})
	bash("eff_s2", "ls")
	add("eff_s2", cairn.WorkspaceSnapshotted{Snapshotted: cairn.Snapshotted{Snapshot: cairn.Snapshot{Layer: 1, Dir: "/tmp"}}})
	add("eff_s2", cairn.ToolCallCompleted{Attempt: 1, Result: cairn.ToolResult{Content: []cairn.Part{cairn.Text("README.md\nmain.go\n")}, Structured: json.RawMessage(`{"exit_code":0}`)}, Took: cairn.Duration(8 * time.Millisecond)})
	add("eff_q", cairn.ToolCallRequested{Tool: "ask_person", Host: cairn.HostPerson, Args: json.RawMessage(`{"question":"Which database?","options":["staging","production"]}`)})
	add("eff_q", cairn.AskOpened{Ask: cairn.Ask{ID: "ask_4", Kind: cairn.AskQuestion, Effect: "eff_q", Tool: "ask_person", Args: json.RawMessage(`{"question":"Which database?","options":["staging","production"]}`)}})
	add("eff_q", cairn.AskResolved{Ask: "ask_4", Status: cairn.AskAnswered, By: user})
	add("eff_q", cairn.ToolCallCompleted{Attempt: 1, Result: cairn.ToolResult{Content: []cairn.Part{cairn.Text("staging")}}})
	add("eff_p2", cairn.ToolCallRequested{Tool: "plan", Host: cairn.HostEngine, Args: json.RawMessage(`{}`)})
	add("eff_p2", cairn.PlanUpdated{Plan: json.RawMessage(`{"steps":[{"title":"look","status":"done"},{"title":"mend","status":"in_progress"},{"title":"prove","status":"pending"},{"title":"sing","status":"dropped"}]}`)})
	add("eff_p2", cairn.ToolCallCompleted{Attempt: 1, Result: cairn.ToolResult{Content: []cairn.Part{cairn.Text("ok")}}})
	add("", cairn.SessionMoving{Agent: "support", Digest: cairn.DigestOf([]byte("next")), By: user, Reason: "a larger model"})
	add("", cairn.SessionMoved{From: cairn.DigestOf([]byte("support")), Agent: "support", Digest: cairn.DigestOf([]byte("next"))})
	add("eff_z", cairn.SandboxReleasing{})
	add("eff_z", cairn.SandboxReleased{Killed: []string{"pid 40 sleep"}})
	add("eff_z", cairn.SandboxReleased{Error: &cairn.Error{Code: cairn.CodeUnavailable, Message: "the sandbox could not be ended"}})
	add("", cairn.RunPaused{By: user, Reason: "lunch"})
	add("", cairn.RunResumed{By: user})
	add("eff_m2", cairn.ModelRequested{Model: "script/support", Attempt: 1, Purpose: cairn.PurposeReflect})
	add("eff_m2", cairn.ModelFailed{Attempt: 1, Error: failure, Cost: 2_000_000, Status: cairn.CostEstimated})
	add("", cairn.RunEnding{Outcome: "failed", Error: &failure})
	add("eff_h", cairn.ToolCallRequested{Tool: "release", Hook: true, Args: json.RawMessage(`{}`)})
	add("eff_h", cairn.ToolCallCompleted{Attempt: 1, Result: cairn.ToolResult{IsError: true, Content: []cairn.Part{cairn.Text("nothing to release")}}})
	sum := cairn.RunSummary{Outcome: "failed", ModelCalls: 3, Retries: 1, LostCalls: 1, ToolCalls: map[string]int{"get_order": 1, "refund": 1}, Usage: use, Cost: 7_200_000, Estimated: 3_000_000, Duration: cairn.Duration(11 * time.Second), Unknown: []cairn.EffectID{"eff_x"}, HooksFailed: []string{"release"}}
	add("", cairn.RunFailed{Error: failure, Summary: sum})
	add("", cairn.SessionIdle{})
	add("", cairn.RunStarted{Digest: cairn.DigestOf([]byte("support")), Sandbox: "none"})
	add("", cairn.RunCancelling{By: user, Reason: "enough"})
	add("", cairn.RunCancelled{Summary: cairn.RunSummary{Outcome: "cancelled", ModelCalls: 1, Cost: 1_000}})
	add("", cairn.RunCompleted{Summary: cairn.RunSummary{ModelCalls: 1}, Degraded: true, Final: true})
	add("", cairn.UnknownEvent{Type: "moon.landed", Raw: json.RawMessage(`{}`)})
	return events
}

func wire(t testing.TB, events []cairn.Event) []v1.Event {
	t.Helper()
	out := make([]v1.Event, len(events))
	for i, e := range events {
		var err error
		if out[i], err = v1.EventFrom(testSession, e); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

// golden compares text with a file of testdata.
func golden(t *testing.T, file, got string) {
	t.Helper()
	path := "testdata/" + file
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), got); d != "" {
		t.Errorf("%s: run with -update and read the difference (-want +got):\n%s", path, d)
	}
}

// TestTrace prints every type of event, plain and on a terminal, with the status
// line after it.
func TestTrace(t *testing.T) {
	t.Parallel()
	seen := map[cairn.EventType]bool{}
	for _, e := range history() {
		seen[e.Type()] = true
	}
	for _, typ := range cairn.EventTypes() {
		if !seen[typ] {
			t.Errorf("no event of type %s is printed", typ)
		}
	}
	lines, effects, err := timeline(trace{loc: time.UTC, most: 160}, testSession, wire(t, history()))
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	fmt.Fprintln(&b, strings.Join(lines, "\n"))
	printEffects(&b, effects, style{})
	golden(t, "trace.txt", b.String())

	b.Reset()
	st := style{color: true}
	told := story{style: st, glyphs: unicodeGlyphs, loc: time.UTC}
	below := board{style: style{}, glyphs: unicodeGlyphs}
	v := newView(testSession)
	for _, e := range history() {
		v.event(e)
		for _, line := range told.lines(v, e, 80) {
			fmt.Fprintln(&b, line)
		}
		for _, line := range below.lines(v, e.At, 60, 12) {
			fmt.Fprintf(&b, "%50s%s\n", "", line)
		}
	}
	golden(t, "trace_terminal.txt", strings.ReplaceAll(b.String(), "\x1b", "^"))
}

// TestFoldTwice: an event that is seen twice changes nothing.
func TestFoldTwice(t *testing.T) {
	t.Parallel()
	once, twice := newView(testSession), newView(testSession)
	for _, e := range history() {
		once.event(e)
		twice.event(e)
		twice.event(e)
	}
	if once.cost != twice.cost || once.usage != twice.usage || once.steps != twice.steps || len(once.asks) != len(twice.asks) {
		t.Errorf("once %+v, twice %+v", once, twice)
	}
}

// FuzzTrace checks that no event, whatever a model or a tool wrote into it,
// brings control characters to a terminal or more than one line to a pipe.
func FuzzTrace(f *testing.F) {
	for _, e := range wire(f, history()) {
		f.Add(string(e.Type), []byte(e.Data))
	}
	f.Fuzz(func(t *testing.T, typ string, data []byte) {
		e := v1.Event{Seq: 1, Type: cairn.EventType(typ), Session: testSession, Step: "eff_1", Data: data}
		in, err := e.Cairn()
		if err != nil {
			return
		}
		v := newView(testSession)
		v.event(in)
		lines := trace{loc: time.UTC, most: 80}.lines(v, in)
		lines = append(lines, board{glyphs: plainGlyphs}.lines(v, in.At, 80, 24)...)
		for _, l := range (story{glyphs: plainGlyphs, loc: time.UTC}).lines(v, in, 80) {
			if strings.Contains(l, "\n") {
				t.Fatalf("a line of the story has a line break: %q", l)
			}
			lines = append(lines, l)
		}
		for _, a := range v.asks {
			shown := newPrompt(a).shown(style{}, time.UTC)
			lines = append(lines, strings.Split(strings.Join(shown, "\n"), "\n")...)
		}
		for _, line := range lines {
			if i := strings.IndexFunc(line, func(r rune) bool { return r != '\t' && unicode.IsControl(r) }); i >= 0 {
				t.Fatalf("a control character in %q", line)
			}
		}
	})
}

// TestShownCut: arguments that are too long to show are not approved unseen.
func TestShownCut(t *testing.T) {
	t.Parallel()
	args, err := json.Marshal(map[string]string{"text": strings.Repeat("x", 2*maxShown)})
	if err != nil {
		t.Fatal(err)
	}
	lines := newPrompt(cairn.Ask{ID: "ask_1", Kind: cairn.AskApproval, Args: args}).shown(style{}, time.UTC)
	if !slices.ContainsFunc(lines, func(l string) bool { return strings.Contains(l, "cut after 8,000 characters") }) {
		t.Errorf("nothing says that the arguments are cut")
	}
}
