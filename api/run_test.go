package api_test

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/api"
	v1 "github.com/cairn-run/cairn/api/v1"
	"github.com/cairn-run/cairn/client"
	"github.com/cairn-run/cairn/model"
)

// worked is a session with two runs: the first with a model call that was tried
// twice and four tool calls, the second still open.
func worked(t *testing.T, w *world) cairn.SessionID {
	t.Helper()
	s := w.start()
	key := cairn.SessionKey{Tenant: tenantOne, ID: s.ID}
	v, err := w.journal.Agent(t.Context(), tenantOne, "desk", "")
	if err != nil {
		t.Fatal(err)
	}
	at := func(run cairn.RunID, step cairn.EffectID, d cairn.EventData) cairn.Event {
		return cairn.Event{Run: run, Step: step, Data: d}
	}
	use := cairn.Usage{Input: 10, Output: 2}
	busy := cairn.Error{Code: cairn.CodeOverloaded, Message: "busy"}
	w.own(s.ID).commit(step{events: []cairn.Event{
		event(cairn.SessionCreated{Key: key, Agent: "desk", Digest: v.Digest}),
		at("run_1", "", cairn.RunStarted{Digest: v.Digest, Sandbox: "none"}),
		at("run_1", "eff_m", cairn.ModelRequested{Model: "script/desk", Attempt: 1}),
		at("run_1", "eff_m", cairn.ModelRetried{Attempt: 1, Error: busy, Usage: use, Cost: 3, Status: cairn.CostEstimated, Model: "script/desk"}),
		at("run_1", "eff_m", cairn.ModelRequested{Model: "script/desk", Attempt: 2}),
		at("run_1", "eff_m", cairn.ModelCompleted{Attempt: 2, Answer: cairn.ModelAnswer{Model: "script/desk", Usage: use}, Cost: 5, Status: cairn.CostExact, Took: cairn.Duration(time.Second)}),
		at("run_1", "eff_a", cairn.ToolCallRequested{Tool: "bash", Class: cairn.ClassWorkspace, Args: json.RawMessage(`{"command":"ls"}`)}),
		at("run_1", "eff_b", cairn.ToolCallRequested{Tool: "refund", Class: cairn.ClassIrreversible, Verdict: cairn.VerdictAsk, Args: json.RawMessage(`{"text":"` + strings.Repeat("x", 3000) + `"}`)}),
		at("run_1", "eff_b", cairn.AskOpened{Ask: cairn.Ask{ID: "ask_1", Kind: cairn.AskApproval, Effect: "eff_b"}}),
		at("run_1", "eff_a", cairn.WorkspaceSnapshotted{Snapshotted: cairn.Snapshotted{Snapshot: cairn.Snapshot{Layer: 1}, Changes: cairn.Changes{Added: 2}}}),
		at("run_1", "eff_a", cairn.ToolCallCompleted{Attempt: 1, Result: cairn.ToolResult{IsError: true}, Took: cairn.Duration(time.Minute)}),
		at("run_1", "eff_b", cairn.AskResolved{Ask: "ask_1", Status: cairn.AskApproved}),
		at("run_1", "eff_b", cairn.ToolCallStarted{Attempt: 1}),
		at("run_1", "eff_b", cairn.ToolCallUnknown{Attempt: 1, Reason: "died"}),
		at("run_1", "eff_b", cairn.EffectReconciled{Finding: cairn.FoundDone, By: "query"}),
		at("run_1", "eff_c", cairn.ToolCallRequested{Tool: "rm"}),
		at("run_1", "eff_c", cairn.ToolCallDenied{Rule: "deny: rm", Reason: "no"}),
		at("run_1", "", cairn.RunFailed{Error: busy, Summary: cairn.RunSummary{Outcome: "failed", ModelCalls: 1}}),
		at("run_2", "", cairn.RunStarted{Digest: v.Digest}),
		at("run_2", "eff_d", cairn.ToolCallRequested{Tool: "where"}),
		at("run_2", "eff_d", cairn.AskOpened{Ask: cairn.Ask{ID: "ask_2", Kind: cairn.AskClientTool, Effect: "eff_d"}}),
	}})
	return s.ID
}

func TestRuns(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id := worked(t, w)
	ann := w.client(tokenAnn)
	list, err := ann.Runs(t.Context(), id, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	type row struct {
		ID          cairn.RunID
		Status      string
		Sandbox     string
		First, Last cairn.Seq
		Over        bool
	}
	var got []row
	for _, r := range list.Runs {
		got = append(got, row{r.ID, r.Status, r.Sandbox, r.FirstSeq, r.LastSeq, r.Summary != nil && r.Error != nil && !r.Ended.IsZero()})
	}
	want := []row{{"run_1", "failed", "none", 2, 18, true}, {"run_2", "open", "", 19, 21, false}}
	if d := cmp.Diff(want, got); d != "" || list.Next != 0 {
		t.Error(d, list.Next)
	}
	first, err := ann.Runs(t.Context(), id, 0, 1)
	if err != nil || len(first.Runs) != 1 || first.Next == 0 {
		t.Fatalf("%+v, %v", first, err)
	}
	second, err := ann.Runs(t.Context(), id, first.Next, 1)
	if err != nil || len(second.Runs) != 1 || second.Runs[0].ID != "run_2" || second.Next != 0 {
		t.Errorf("%+v, %v", second, err)
	}
}

func TestSteps(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id := worked(t, w)
	ann := w.client(tokenAnn)
	list, err := ann.Steps(t.Context(), id, "", 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	type row struct {
		ID           cairn.EffectID
		Kind, Status string
		Attempts     int
		Ended        bool
	}
	rows := func(steps []v1.Step) (out []row) {
		for _, s := range steps {
			out = append(out, row{s.ID, s.Kind, s.Status, s.Attempts, !s.Ended.IsZero()})
		}
		return out
	}
	want := []row{
		{"eff_m", "model", "completed", 2, true},
		{"eff_a", "tool", "completed", 1, true},
		{"eff_b", "tool", "done", 1, true},
		{"eff_c", "tool", "denied", 0, true},
		{"eff_d", "tool", "waiting", 0, false},
	}
	if d := cmp.Diff(want, rows(list.Steps)); d != "" {
		t.Error(d)
	}
	m, a, b := list.Steps[0], list.Steps[1], list.Steps[2]
	if m.Usage == nil || m.Usage.Total() != 24 || m.Cost != 8 || m.CostStatus != cairn.CostEstimated {
		t.Errorf("%+v", m)
	}
	if a.Files == nil || a.Files.Changes.Added != 2 || !a.IsError || string(a.Args) != `{"command":"ls"}` || time.Duration(a.Took) != time.Minute {
		t.Errorf("%+v", a)
	}
	if b.Args != nil || b.FirstSeq != 8 || b.LastSeq != 15 {
		t.Errorf("%+v", b)
	}
	// Pages: a step that ends after the page is whole all the same.
	var paged []v1.Step
	for after := cairn.Seq(0); ; {
		page, err := ann.Steps(t.Context(), id, "", after, 2)
		if err != nil {
			t.Fatal(err)
		}
		paged = append(paged, page.Steps...)
		if after = page.Next; after == 0 {
			break
		}
	}
	if d := cmp.Diff(list.Steps, paged); d != "" {
		t.Error(d)
	}
	if of, err := ann.Steps(t.Context(), id, "run_2", 0, 0); err != nil || len(of.Steps) != 1 {
		t.Errorf("%+v, %v", of, err)
	}
	for _, path := range []string{"/runs", "/steps", "/export"} {
		if a := w.call(http.MethodGet, "/v1/sessions/"+string(id)+path, tokenEve, ""); a.status != 404 {
			t.Errorf("%s: another tenant gets status %d", path, a.status)
		}
	}
}

// TestExport reads an export as somebody else's program would.
func TestExport(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id := worked(t, w)
	var out bytes.Buffer
	if err := w.client(tokenAnn).Export(t.Context(), id, &out); err != nil {
		t.Fatal(err)
	}
	hash := sha256.New()
	var types []string
	var end v1.ExportEnd
	lines := bufio.NewScanner(&out)
	for lines.Scan() {
		var l struct {
			Type       string          `json:"type"`
			Digest     cairn.Digest    `json:"digest"`
			Definition json.RawMessage `json:"definition"`
		}
		if err := json.Unmarshal(lines.Bytes(), &l); err != nil {
			t.Fatal(err)
		}
		types = append(types, l.Type)
		if l.Type == v1.ExportEndType {
			if err := json.Unmarshal(lines.Bytes(), &end); err != nil {
				t.Fatal(err)
			}
			break
		}
		hash.Write(append(lines.Bytes(), '\n'))
	}
	if got := strings.Join(types, " "); !strings.HasPrefix(got, "export agent session.created run.started") || !strings.HasSuffix(got, "ask.opened end") {
		t.Errorf("lines %s", got)
	}
	if end.Events != 21 || end.Last != 21 || end.Digest != cairn.Digest("sha256:"+hex.EncodeToString(hash.Sum(nil))) {
		t.Errorf("%+v", end)
	}
}

func TestMove(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.start()
	var applied v1.Applied
	w.post(tokenAnn, "/v1/agents", `{"name":"desk2","model":"script/other"}`, 0, &applied)
	ann := w.client(tokenAnn)
	m := v1.Move{Agent: "desk2", Reason: "cheaper"}
	got, err := ann.Move(t.Context(), s.ID, m, client.Key("k"))
	if err != nil {
		t.Fatal(err)
	}
	if got.Digest != applied.Digest || got.From != s.Digest || got.Effective != v1.NextModelCall {
		t.Errorf("%+v", got)
	}
	again, err := ann.Move(t.Context(), s.ID, m, client.Key("k"))
	if err != nil || again.Input != got.Input {
		t.Errorf("%+v, %v", again, err)
	}
	if _, err := ann.Move(t.Context(), s.ID, v1.Move{Agent: "desk"}, client.Key("k")); cairn.CodeOf(err) != cairn.CodeConflict {
		t.Errorf("the same key for another move: %v", err)
	}
	if _, err := ann.Move(t.Context(), s.ID, v1.Move{Agent: "desk", Version: s.Digest}); err != nil {
		t.Errorf("back to a version: %v", err)
	}
	inputs, err := w.journal.Inputs(t.Context(), cairn.SessionKey{Tenant: tenantOne, ID: s.ID}, 10)
	if err != nil || len(inputs) != 3 {
		t.Fatalf("%v, %v", inputs, err)
	}
	if d := cmp.Diff(cairn.Move{Agent: "desk2", Digest: applied.Digest, Reason: "cheaper"}, inputs[1].Data); d != "" {
		t.Error(d)
	}
	for name, c := range map[string]struct {
		move v1.Move
		code cairn.Code
	}{
		"no agent":   {v1.Move{Agent: "nobody"}, cairn.CodeNotFound},
		"no version": {v1.Move{Agent: "desk", Version: cairn.DigestOf([]byte("x"))}, cairn.CodeNotFound},
		"other name": {v1.Move{Agent: "desk2", Version: s.Digest}, cairn.CodeNotFound},
		"empty":      {v1.Move{}, cairn.CodeInvalid},
	} {
		if _, err := ann.Move(t.Context(), s.ID, c.move); cairn.CodeOf(err) != c.code {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := w.client(tokenEve).Move(t.Context(), s.ID, v1.Move{Agent: "desk"}); cairn.CodeOf(err) != cairn.CodeNotFound {
		t.Errorf("the session of another tenant: %v", err)
	}
	w.own(s.ID).commit(step{status: cairn.StatusCancelled, events: events(1)})
	if _, err := ann.Move(t.Context(), s.ID, m); cairn.CodeOf(err) != cairn.CodeConflict {
		t.Errorf("a session that is over: %v", err)
	}
}

func TestCircuits(t *testing.T) {
	t.Parallel()
	until := time.Unix(100, 0).UTC()
	w := newWorld(t, func(c *api.Config) {
		c.Circuits = func() []model.CircuitState {
			return []model.CircuitState{{Model: "openai/x", Circuit: model.CircuitOpen, Failures: 5, Until: until, Code: cairn.CodeOverloaded, Message: "busy"}}
		}
	})
	got, err := w.client(tokenAnn).Circuits(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want := v1.CircuitList{Circuits: []v1.Circuit{{Model: "openai/x", State: "open", Failures: 5, Until: until, Code: cairn.CodeOverloaded, Message: "busy"}}}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if none, err := newWorld(t).client(tokenAnn).Circuits(t.Context()); err != nil || none.Circuits == nil || len(none.Circuits) != 0 {
		t.Errorf("%+v, %v", none, err)
	}
}

// TestQuestion: a question takes an answer in words or as a result, and a refusal.
func TestQuestion(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	key, ids := asking(w, cairn.Ask{Kind: cairn.AskQuestion, Tool: "ask_person"}, cairn.Ask{Kind: cairn.AskQuestion}, cairn.Ask{Kind: cairn.AskQuestion})
	ann, ctx := w.client(tokenAnn), t.Context()
	path := "/v1/asks/" + string(ids[0]) + "/answer"
	for _, body := range []string{`{}`, `{"text":""}`, `{"text":"a","result":{"content":"b"}}`, `{"result":{}}`} {
		if a := w.call(http.MethodPost, path, tokenAnn, body); a.status != 422 {
			t.Errorf("%s: status %d: %s", body, a.status, a.body)
		}
	}
	if _, err := ann.Approve(ctx, ids[0], v1.Approve{}); cairn.CodeOf(err) != cairn.CodeInvalid {
		t.Errorf("a question was approved: %v", err)
	}
	if a, err := ann.Answer(ctx, ids[0], v1.Answer{Text: "blue"}); err != nil || a.Status != cairn.AskAnswered || a.Kind != cairn.AskQuestion {
		t.Errorf("%+v, %v", a, err)
	}
	if _, err := ann.Answer(ctx, ids[1], v1.Answer{Result: v1.Result{Structured: json.RawMessage(`{"n":1}`)}}); err != nil {
		t.Error(err)
	}
	if _, err := ann.Reject(ctx, ids[2], v1.Approve{}); err != nil {
		t.Error(err)
	}
	inputs, err := w.journal.Inputs(ctx, key, 10)
	if err != nil || len(inputs) != 3 {
		t.Fatalf("%v, %v", inputs, err)
	}
	want := cairn.Decision{Ask: ids[0], Verb: cairn.VerbAnswer, Result: &cairn.ToolResult{Content: []cairn.Part{cairn.Text("blue")}}}
	if d := cmp.Diff(want, inputs[0].Data.(cairn.Decide).Decision); d != "" {
		t.Error(d)
	}
}
