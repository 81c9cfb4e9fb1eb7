package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cairn-run/cairn"
	v1 "github.com/cairn-run/cairn/api/v1"
)

// TestAnswers checks that the commands under an ask say what they mean.
func TestAnswers(t *testing.T) {
	t.Parallel()
	a := &app{Env: Env{Getenv: func(string) string { return "" }}}
	for _, c := range []struct {
		ask  cairn.Ask
		want []string
	}{
		{cairn.Ask{Kind: cairn.AskApproval}, []string{"cairn approve ask_1", "cairn reject ask_1 --reason TEXT"}},
		{cairn.Ask{Kind: cairn.AskClientTool}, []string{"cairn answer ask_1 RESULT"}},
		{cairn.Ask{Kind: cairn.AskQuestion}, []string{"cairn answer ask_1 TEXT", "cairn reject ask_1    # it gets no answer"}},
		{cairn.Ask{Kind: cairn.AskUnknown}, []string{
			"cairn approve ask_1   # yes, it took place",
			"cairn reject ask_1    # no, it did not",
		}},
		{cairn.Ask{Kind: cairn.AskBudget, Amount: 5 * cairn.Dollar / 100}, []string{
			"cairn approve ask_1   # allow $0.05 more",
			"cairn reject ask_1    # stop here",
		}},
	} {
		c.ask.ID = "ask_1"
		if d := cmp.Diff(c.want, a.answers(c.ask, style{})); d != "" {
			t.Errorf("%s (-want +got):\n%s", c.ask.Kind, d)
		}
	}
}

// TestOnExpiry checks that what happens when nobody answers is never blank.
func TestOnExpiry(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		ask  cairn.Ask
		want string
	}{
		{cairn.Ask{Kind: cairn.AskApproval, OnExpire: "approve"}, "approve"},
		{cairn.Ask{Kind: cairn.AskApproval}, "reject"},
		{cairn.Ask{Kind: cairn.AskClientTool}, "the call fails"},
	} {
		c.ask.ID, c.ask.Expires = "ask_1", time.Date(2026, 11, 20, 9, 0, 0, 0, time.UTC)
		lines := newPrompt(c.ask).shown(style{}, time.UTC)
		want := "  open until 2026-11-20 09:00:00, then: " + c.want
		if got := lines[len(lines)-1]; got != want {
			t.Errorf("%s: got %q, want %q", c.ask.Kind, got, want)
		}
	}
}

// TestMessage checks that what the API said is told without where it came from.
func TestMessage(t *testing.T) {
	t.Parallel()
	said := (&v1.ErrorInfo{Code: cairn.CodeConflict, Message: "the first decision stands"}).Cairn()
	for _, c := range []struct {
		err  error
		want string
	}{
		{said, "the first decision stands"},
		{fmt.Errorf("ask_1 was approved: %w", said), "ask_1 was approved: the first decision stands"},
		{&exit{ExitTemporary, fmt.Errorf("interrupted: %w", said)}, "interrupted: the first decision stands"},
		{errors.Join(said, errors.New("close")), "the first decision stands\nclose"},
		{fmt.Errorf("open: %w", cairn.Errorf(cairn.CodeFull, "no room")), "open: no room"},
	} {
		if got := message(c.err); got != c.want {
			t.Errorf("got %q, want %q", got, c.want)
		}
	}
}

// TestQuestion: what an agent asks is shown in full and safely, and a line answers
// it: the number of an option, or any words.
func TestQuestion(t *testing.T) {
	t.Parallel()
	ask := cairn.Ask{ID: "ask_1", Kind: cairn.AskQuestion, Tool: "ask_person", Args: json.RawMessage(
		`{"question":"Which\u001b[2J one?\nNow.","options":["red","7",{"label":"blue"}],"context":"It matters."}`)}
	want := []string{"", "The agent asks:  ask_1", "  Which[2J one?", "  Now.", "   1 red", "   2 7", `   3 {"label":"blue"}`, "  It matters."}
	if d := cmp.Diff(want, newPrompt(ask).shown(style{}, time.UTC)); d != "" {
		t.Error(d)
	}
	for line, want := range map[string]string{"1": "red", "3": `{"label":"blue"}`, "7": "7", "4": "4", "green": "green"} {
		p := newPrompt(ask)
		if got := p.question(style{}); got != "1 to 3, or your own words (q: later) > " {
			t.Fatal(got)
		}
		a, err := p.typed(line)
		if err != nil || a.verb != cairn.VerbAnswer || a.text != want {
			t.Errorf("%q: %+v, %v", line, a, err)
		}
	}
	p := newPrompt(cairn.Ask{Kind: cairn.AskQuestion, Args: json.RawMessage(`{"question":"Why?"}`)})
	if got := p.question(style{}); got != "your answer (q: later) > " {
		t.Error(got)
	}
	if a, err := p.typed(""); err != nil || a.verb != "" || a.quit {
		t.Errorf("an empty line: %+v, %v", a, err)
	}
	if a, err := p.typed("q"); err != nil || !a.quit {
		t.Errorf("q: %+v, %v", a, err)
	}
}

func TestGist(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ tool, args, want string }{
		{"bash", `{"command":"ls -la"}`, "ls -la"},
		{"bash", `{"command":"cd x\nmake\n"}`, "cd x … (2 lines)"},
		{"bash", `{"stop":"bg_1"}`, "stop bg_1"},
		{"python", `{"code":"print(1)"}`, "print(1)"},
		{"read", `{"path":"a\u001b[2Jb","offset":3}`, "a[2Jb"},
		{"search", `{"pattern":"TODO","path":"src"}`, "TODO src"},
		{"http", `{"url":"https://example.com"}`, "GET https://example.com"},
		{"refund", `{"amount": 70}`, `{"amount":70}`},
		{"bash", `{"command":7}`, `{"command":7}`},
		{"list", `{}`, ""},
		{"list", `not json`, "not json"},
	} {
		if got := gist(c.tool, json.RawMessage(c.args)); got != c.want {
			t.Errorf("%s %s: %q, want %q", c.tool, c.args, got, c.want)
		}
	}
	for structured, want := range map[string]string{
		`{"exit_code":0}`: "", `{"exit_code":2}`: "exit 2", `{"status":404}`: "status 404", `{"timed_out":true,"exit_code":137}`: "timed out",
		`{"status":"lost"}`: "", `[]`: "", ``: "", `{"status":7}`: "",
	} {
		if got := verdict(&cairn.ToolResult{Structured: json.RawMessage(structured)}); got != want {
			t.Errorf("%s: %q, want %q", structured, got, want)
		}
	}
}
