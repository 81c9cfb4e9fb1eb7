package cli

import (
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
