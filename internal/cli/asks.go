package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/cairn-run/cairn"
	v1 "github.com/cairn-run/cairn/api/v1"
	"github.com/cairn-run/cairn/client"
)

func (a *app) asksCommand() *cobra.Command {
	var session, status string
	c := &cobra.Command{
		Use:   "asks",
		Short: "List what waits for an answer, oldest first",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return a.asks(c.Context(), session, cairn.AskStatus(status))
		},
	}
	c.Flags().StringVar(&session, "session", "", "only those of this session")
	c.Flags().StringVar(&status, "status", "open", "open, approved, approved_edited, rejected, answered, expired, cancelled or superseded")
	return c
}

func (a *app) asks(ctx context.Context, session string, status cairn.AskStatus) error {
	var list v1.AskList
	if !a.fresh() {
		err := a.with(ctx, func(ctx context.Context, l *link) error {
			q := client.AskQuery{Status: status, Limit: 1000}
			if session != "" {
				id, err := l.sessionOf(ctx, session)
				if err != nil {
					return err
				}
				q.Session = id
			}
			var err error
			list, err = l.Asks(ctx, q)
			return err
		})
		if err != nil {
			return err
		}
	}
	if a.json {
		for _, ask := range list.Asks {
			if err := a.printJSON(ask); err != nil {
				return err
			}
		}
		return nil
	}
	if len(list.Asks) == 0 {
		a.note("nothing waits for an answer")
		return nil
	}
	for _, ask := range list.Asks {
		for i, line := range newPrompt(askOf(ask)).shown(a.out, a.Location) {
			if i > 0 {
				fmt.Fprintln(a.Stdout, line)
			}
		}
		if ask.Status == cairn.AskOpen {
			for _, line := range a.answers(askOf(ask), a.out) {
				fmt.Fprintln(a.Stdout, "  "+line)
			}
		}
		fmt.Fprintf(a.Stdout, "  %s\n\n", a.out.dim("session   "+word(ask.Session)+", asked "+ask.Opened.In(a.Location).Format("2006-01-02 15:04:05")))
	}
	return nil
}

// answers are the commands that answer an ask. Where a yes or a no is not about
// making the call, they say what it is about.
func (a *app) answers(ask cairn.Ask, s style) []string {
	id := word(ask.ID)
	pair := func(yes, no string) []string {
		return []string{
			a.command("approve %s", id) + s.dim("   # "+yes),
			a.command("reject %s", id) + s.dim("    # "+no),
		}
	}
	switch ask.Kind {
	case cairn.AskApproval:
		return []string{a.command("approve %s", id), a.command("reject %s --reason TEXT", id)}
	case cairn.AskClientTool:
		return []string{a.command("answer %s RESULT", id)}
	case cairn.AskQuestion:
		return []string{a.command("answer %s TEXT", id), a.command("reject %s", id) + s.dim("    # it gets no answer")}
	case cairn.AskUnknown:
		return pair("yes, it took place", "no, it did not")
	case cairn.AskBudget:
		return pair(fmt.Sprintf("allow %s more", ask.Amount), "stop here")
	}
	return pair("yes", "no")
}

// printAsks lists asks and what became of them.
func printAsks(w io.Writer, asks []v1.Ask, loc *time.Location, s style) {
	if len(asks) == 0 {
		return
	}
	fmt.Fprintf(w, "\n%s\n", s.bold("Asks"))
	t := &table{head: []string{"ASK", "KIND", "TOOL", "STATUS", "BY", "ASKED"}}
	for _, x := range asks {
		status, by := askStatus(x.Status), ""
		if x.Status == cairn.AskOpen {
			status = s.yellow(status)
		}
		if x.By != nil {
			by = principal(*x.By)
		}
		t.add(word(x.ID), strings.ReplaceAll(word(x.Kind), "_", " "), oneLine(x.Tool, 40), status, by, x.Opened.In(loc).Format("15:04:05"))
	}
	t.print(w, s)
}

func (a *app) approveCommand() *cobra.Command {
	var comment, edit string
	c := &cobra.Command{
		Use:   "approve ASK|SESSION",
		Short: "Approve what is asked: make the call, it took place, spend more",
		Long: "approve answers an open ask. Of a session that asks one thing its id will do. The first decision\n" +
			"counts; a second one ends with code 6. It works while no server runs: the decision is recorded.",
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			ans := answer{verb: cairn.VerbApprove, comment: comment}
			if edit != "" {
				text, err := untilSignal(a, func() (string, error) { return fileOrText(edit) })
				if err != nil {
					return err
				}
				if err := isObject([]byte(text)); err != nil {
					return usage(fmt.Errorf("--edit: %w", err))
				}
				ans.verb, ans.args = cairn.VerbEdit, json.RawMessage(text)
			}
			return a.decideCommand(c.Context(), args[0], ans)
		},
	}
	c.Flags().StringVar(&comment, "comment", "", "a remark for the record")
	c.Flags().StringVar(&edit, "edit", "", "approve with other arguments: JSON, or @FILE; they are checked like the first")
	return c
}

func (a *app) rejectCommand() *cobra.Command {
	var reason string
	c := &cobra.Command{
		Use:   "reject ASK|SESSION",
		Short: "Reject what is asked: do not make the call, it did not take place, spend no more",
		Args:  cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return a.decideCommand(c.Context(), args[0], answer{verb: cairn.VerbReject, comment: reason})
		},
	}
	c.Flags().StringVar(&reason, "reason", "", "why; the agent is told")
	return c
}

func (a *app) answerCommand() *cobra.Command {
	var failed bool
	c := &cobra.Command{
		Use:   "answer ASK|SESSION TEXT|RESULT",
		Short: "Answer what an agent asks, or give the result of a call that is the client's to make",
		Long: "answer answers a question of an agent, in words, or gives the result of a client tool: text, JSON, or @FILE.\n" +
			"Of a session that asks one thing its id will do.",
		Example: "  cairn answer ask_… \"Use the staging database.\"\n  cairn answer last @result.json",
		Args:    cobra.ExactArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			text, err := untilSignal(a, func() (string, error) { return fileOrText(args[1]) })
			if err != nil {
				return err
			}
			r := resultOf(text)
			r.IsError = failed
			return a.decideCommand(c.Context(), args[0], answer{verb: cairn.VerbAnswer, result: r})
		},
	}
	c.Flags().BoolVar(&failed, "failed", false, "the call failed; the result says why")
	return c
}

// fileOrText is the argument, or the content of the file it names behind an @.
func fileOrText(arg string) (string, error) {
	name, ok := strings.CutPrefix(arg, "@")
	if !ok {
		return arg, nil
	}
	f, err := os.Open(name)
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }() // it is only read
	b, err := io.ReadAll(io.LimitReader(f, v1.MaxBody+1))
	if err != nil {
		return "", err
	}
	if len(b) > v1.MaxBody {
		return "", usage(fmt.Errorf("%s has more than %d bytes", name, v1.MaxBody))
	}
	return strings.TrimSpace(string(b)), nil
}

func (a *app) decideCommand(ctx context.Context, arg string, ans answer) error {
	if a.fresh() {
		return cairn.Errorf(cairn.CodeNotFound, "there are no sessions in %s", a.data)
	}
	return a.with(ctx, func(ctx context.Context, l *link) error {
		id, err := l.askOf(ctx, arg)
		if err != nil {
			return err
		}
		ask, err := a.decide(ctx, l, id, ans)
		if err != nil {
			return a.misfit(ctx, l, id, ans, err)
		}
		if err := a.print(ask, func(w io.Writer) {
			fmt.Fprintf(w, "%s %s\n", ask.ID, a.out.green(askStatus(ask.Status)))
		}); err != nil {
			return err
		}
		l.carried(ask.Session)
		return nil
	})
}

// misfit says of an answer that an ask of its kind does not take which command
// does; any other error stays as it is.
func (a *app) misfit(ctx context.Context, l *link, id cairn.AskID, ans answer, err error) error {
	if cairn.CodeOf(err) != cairn.CodeInvalid {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	ask, aerr := l.Ask(ctx, id)
	if aerr != nil {
		return err
	}
	client := ask.Kind == cairn.AskClientTool
	switch ans.verb {
	case cairn.VerbApprove, cairn.VerbEdit:
		if ask.Kind == cairn.AskQuestion {
			return cairn.Errorf(cairn.CodeInvalid, "%s is a question: answer it with %s", id, a.command("answer %s TEXT", id))
		}
		if client {
			return cairn.Errorf(cairn.CodeInvalid, "%s is not approved: the call is yours to make, give its result with %s", id, a.command("answer %s RESULT", id))
		}
		if ans.verb == cairn.VerbEdit && ask.Kind != cairn.AskApproval {
			return cairn.Errorf(cairn.CodeInvalid, "%s has nothing to edit: use %s without --edit", id, a.command("approve %s", id))
		}
	case cairn.VerbAnswer:
		if !client && ask.Kind != cairn.AskUnknown && ask.Kind != cairn.AskQuestion {
			return cairn.Errorf(cairn.CodeInvalid, "%s takes no result: use %s or %s", id, a.command("approve %s", id), a.command("reject %s", id))
		}
	case cairn.VerbReject: // every kind takes it
	}
	return err
}

// askOf finds an ask by its id, or by the session that has it open.
func (l *link) askOf(ctx context.Context, arg string) (cairn.AskID, error) {
	if arg != "last" && !strings.HasPrefix(arg, "ses_") {
		if !strings.HasPrefix(arg, "ask_") {
			arg = "ask_" + arg
		}
		return cairn.AskID(arg), nil
	}
	s, err := l.sessionOf(ctx, arg)
	if err != nil {
		return "", err
	}
	list, err := l.Asks(ctx, client.AskQuery{Session: s})
	switch {
	case err != nil:
		return "", err
	case len(list.Asks) == 0:
		return "", cairn.Errorf(cairn.CodeConflict, "%s asks nothing", s)
	case len(list.Asks) > 1:
		var ids []string
		for _, ask := range list.Asks {
			ids = append(ids, word(ask.ID)+" ("+oneLine(ask.Tool, 40)+")")
		}
		return "", usage(fmt.Errorf("%s asks more than one thing, name one: %s", s, strings.Join(ids, ", ")))
	}
	return list.Asks[0].ID, nil
}

// decide answers an ask. That it was decided before is said with who did.
func (a *app) decide(ctx context.Context, l *link, id cairn.AskID, ans answer) (ask v1.Ask, err error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	key := client.Key(a.NewKey())
	switch ans.verb {
	case cairn.VerbApprove:
		ask, err = l.Approve(ctx, id, v1.Approve{Digest: ans.digest, Comment: ans.comment}, key)
	case cairn.VerbReject:
		ask, err = l.Reject(ctx, id, v1.Approve{Digest: ans.digest, Comment: ans.comment}, key)
	case cairn.VerbEdit:
		ask, err = l.Edit(ctx, id, v1.Edit{Args: ans.args, Digest: ans.digest, Comment: ans.comment}, key)
	case cairn.VerbAnswer:
		body := v1.Answer{Text: ans.text, Comment: ans.comment}
		if ans.result != nil {
			body.Result = *ans.result
		}
		ask, err = l.Answer(ctx, id, body, key)
	default:
		return ask, fmt.Errorf("no such answer: %q", ans.verb)
	}
	if info, ok := errors.AsType[*v1.ErrorInfo](err); ok && info.Ask != nil && info.Ask.By != nil {
		return ask, fmt.Errorf("%s was %s by %s: %w", id, askStatus(info.Ask.Status), principal(*info.Ask.By), err)
	}
	return ask, err
}
