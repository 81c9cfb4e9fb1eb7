package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/client"
	"github.com/cairn-run/cairn/model"
	"github.com/cairn-run/cairn/model/script"
	"github.com/cairn-run/cairn/node"
)

// watch follows a session, and when the node it was followed at goes away, at
// whoever has the data directory then: at worst this process.
func (f *follower) watch(ctx context.Context) error {
	err := f.persist(ctx, f.follow)
	if errors.Is(err, errSettled) {
		return nil
	}
	return err
}

// persist does something over the link, over another one when the node goes away.
func (f *follower) persist(ctx context.Context, do func(context.Context) error) error {
	for {
		err := do(ctx)
		if cairn.CodeOf(err) != cairn.CodeUnavailable || f.link.node != nil || f.app.server != "" {
			return err
		}
		l, cerr := f.app.connect(ctx, needRun)
		if cerr != nil {
			return errors.Join(err, cerr)
		}
		f.link = l
		if l.node != nil {
			f.app.note("the process that had the session is gone: it goes on here")
		}
	}
}

// outcome is the last line of --json output of run and attach.
type outcomeLine struct {
	Type    string          `json:"type"` // "outcome"
	Session cairn.SessionID `json:"session_id"`
	Run     cairn.RunID     `json:"run_id,omitzero"`
	Status  cairn.Status    `json:"status"`
	Outcome string          `json:"outcome"` // completed, failed, cancelled, waiting, paused, detached
	Answer  string          `json:"answer,omitzero"`
	Error   *cairn.Error    `json:"error,omitempty"`
	Asks    []cairn.AskID   `json:"asks,omitempty"`
	Usage   cairn.Usage     `json:"usage"`
	Cost    cairn.Money     `json:"cost"`
	Exit    int             `json:"exit"`
}

// outcome says how following ended and returns the exit code as an error.
func (f *follower) outcome(ctx context.Context, err error) error {
	v := f.v
	out := outcomeLine{Type: "outcome", Session: v.id, Run: v.run, Status: v.status, Usage: v.usage, Cost: v.cost, Error: v.err}
	switch {
	case errors.Is(err, errLeft):
		out.Outcome, out.Exit = "detached", ExitDetached
	case err != nil:
		return err
	case v.outcome == "failed", v.status == cairn.StatusFailed:
		out.Outcome, out.Exit = "failed", ExitFailed
	case v.outcome == "cancelled", v.status == cairn.StatusCancelled:
		out.Outcome, out.Exit = "cancelled", ExitCancelled
	case v.status == cairn.StatusPaused:
		out.Outcome, out.Exit = "paused", ExitWaiting
	case v.status == cairn.StatusWaiting:
		out.Outcome, out.Exit = "waiting", ExitWaiting
		for _, a := range v.asks {
			out.Asks = append(out.Asks, a.ID)
		}
	default:
		out.Outcome, out.Exit = "completed", ExitOK
		if out.Answer, err = f.answer(ctx); err != nil {
			return err
		}
	}
	if f.app.json {
		if err := f.app.printJSON(out); err != nil {
			return err
		}
	} else {
		f.tell(out)
	}
	if out.Exit == ExitOK {
		return nil
	}
	return &exit{code: out.Exit}
}

// tell says to a person how it ended and what can be done.
func (f *follower) tell(out outcomeLine) {
	a, v := f.app, f.v
	switch out.Outcome {
	case "completed":
		if !a.Terminal.Out || !a.Terminal.Err || f.quiet { // else it has just been shown
			if out.Answer != "" {
				fmt.Fprintln(a.Stdout, out.Answer)
			}
		}
		if v.status == cairn.StatusIdle && !f.quiet {
			a.note("%s is idle: %s", v.id, a.command("send %s TEXT", v.id))
		}
	case "failed":
		if f.quiet && v.err != nil {
			fmt.Fprintln(a.Stderr, a.err.red("failed:"), f.trace.problem(*v.err))
		}
		f.adviseOnFailure()
	case "waiting":
		fmt.Fprintf(a.Stderr, "%s waits for %s:\n", v.id, plural(len(v.asks), "answer"))
		for _, ask := range v.asks {
			fmt.Fprintf(a.Stderr, "  %s\n", a.err.yellow(askLine(ask, 200)))
			for _, line := range a.answers(ask, a.err) {
				fmt.Fprintf(a.Stderr, "    %s\n", line)
			}
		}
		if slices.ContainsFunc(v.asks, func(ask cairn.Ask) bool { return ask.Kind == cairn.AskBudget }) {
			a.note("a model call is reserved at the most it may cost: a smaller params.max_output needs less, and a model\n" +
				"without a price (cairn models shows prices) is reserved at the highest of its provider")
		}
		fmt.Fprintf(a.Stderr, "then %s\n", a.carrying("attach %s", v.id))
	case "paused":
		fmt.Fprintf(a.Stderr, "%s is paused: %s, then %s\n", v.id, a.command("resume %s", v.id), a.carrying("attach %s", v.id))
	case "detached":
		if f.link.node != nil {
			fmt.Fprintf(a.Stderr, "left; %s is recorded and stops here: %s, or %s, carries it on\n", v.id, a.carrying("attach %s", v.id), a.carrying("serve"))
		} else {
			fmt.Fprintf(a.Stderr, "left; %s goes on: %s shows it\n", v.id, a.command("attach %s", v.id))
		}
	}
	if provider, _ := model.Split(v.unpriced); provider != "" && provider != script.Provider {
		a.note("%s has no price, so what was reserved is taken for its cost: give it one under prices in %s", oneLine(v.unpriced, 60), node.ProvidersFile)
	}
}

// adviseOnFailure says where to look when a model could not be had.
func (f *follower) adviseOnFailure() {
	a, v := f.app, f.v
	provider, _ := model.Split(v.gaveUp)
	if v.err == nil || provider == "" || provider == script.Provider || a.server != "" {
		return
	}
	switch v.err.Code {
	case cairn.CodeAuth, cairn.CodeNotFound, cairn.CodeUnavailable, cairn.CodeTimeout, cairn.CodeCircuitOpen:
	default:
		return
	}
	from := "" // the server's keys may be others
	if f.link.node == nil {
		from = " from here"
	}
	again := ""
	if v.status == cairn.StatusIdle {
		again = "; then " + a.carrying("send %s TEXT -f", v.id)
	}
	a.note("%s says what can be reached%s, and with which key%s", a.carrying("models %s", shellWord(provider)), from, again)
}

// command is a command line that reaches the same node.
func (a *app) command(format string, args ...any) string {
	where := ""
	switch {
	case a.server != "" && a.server != a.Getenv("CAIRN_SERVER"):
		where = " --server " + shellWord(a.server)
	case a.server == "" && a.data != a.Getenv("CAIRN_DATA") && a.data != a.defaultData():
		where = " --data " + shellWord(a.data)
	}
	return "cairn" + where + " " + fmt.Sprintf(format, args...)
}

// carrying is a command line that opens the node itself: it needs the same model
// providers, or what it carries on has lost its model.
func (a *app) carrying(format string, args ...any) string {
	line := a.command(format, args...)
	if a.providers != "" {
		line += " --providers " + shellWord(a.providers)
	}
	return line
}

// shellWord quotes a word for a POSIX shell where that is needed.
func shellWord(s string) string {
	if s != "" && strings.IndexFunc(s, func(r rune) bool {
		return !strings.ContainsRune("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./:~@%+=,", r)
	}) < 0 {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// answer is the text of the run's final answer.
func (f *follower) answer(ctx context.Context) (string, error) {
	if f.output == 0 || f.said == f.output {
		return f.v.answer, nil
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	page, err := f.link.Events(ctx, f.v.id, client.EventQuery{After: f.output - 1, Limit: 1})
	if err != nil {
		return "", err
	}
	for _, e := range page.Events {
		var d cairn.ModelCompleted
		if e.Type == d.EventType() && json.Unmarshal(e.Data, &d) == nil {
			return cairn.TextOf(d.Answer.Content), nil
		}
	}
	return f.v.answer, nil
}
