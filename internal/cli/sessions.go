package cli

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/cairn-run/cairn"
	v1 "github.com/cairn-run/cairn/api/v1"
	"github.com/cairn-run/cairn/client"
)

// active are the statuses of sessions that are not over.
var active = []cairn.Status{
	cairn.StatusQueued, cairn.StatusRunning, cairn.StatusWaiting, cairn.StatusPaused, cairn.StatusIdle, cairn.StatusCancelling,
}

func (a *app) psCommand() *cobra.Command {
	var all bool
	var agent string
	var status []string
	var limit int
	c := &cobra.Command{
		Use:   "ps",
		Short: "List sessions, newest first",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if limit < 1 || limit > 1000 { // the client takes 0 for not given
				return usage(fmt.Errorf("--limit: %d is not between 1 and 1000", limit))
			}
			q := client.SessionQuery{Agent: agent, Limit: limit, Status: active}
			if all {
				q.Status = nil
			}
			if len(status) > 0 {
				q.Status = nil
				for _, s := range status {
					q.Status = append(q.Status, cairn.Status(s))
				}
			}
			return a.ps(c.Context(), q)
		},
	}
	c.Flags().BoolVarP(&all, "all", "a", false, "also sessions that are over")
	c.Flags().StringVar(&agent, "agent", "", "only sessions of this agent")
	c.Flags().StringSliceVar(&status, "status", nil, "only these statuses, separated by commas")
	c.Flags().IntVarP(&limit, "limit", "n", 100, "at most so many, 1 to 1000")
	return c
}

func (a *app) ps(ctx context.Context, q client.SessionQuery) error {
	list := v1.SessionList{Sessions: []v1.Session{}}
	still := false // nobody carries the sessions on
	if !a.fresh() {
		err := a.with(ctx, func(ctx context.Context, l *link) (err error) {
			list, err = l.Sessions(ctx, q)
			still = l.paused
			return err
		})
		if err != nil {
			return err
		}
	}
	if a.json {
		for _, s := range list.Sessions {
			if err := a.printJSON(s); err != nil {
				return err
			}
		}
		return nil
	}
	if len(list.Sessions) == 0 {
		a.note("no sessions%s", map[bool]string{true: " that go on (--all lists those that are over)"}[len(q.Status) == len(active)])
		return nil
	}
	sessionTable(list.Sessions, a.Now(), a.out).print(a.Stdout, a.out)
	if list.Next != "" {
		a.note("there are more: -n, --agent and --status choose")
	}
	if still && slices.ContainsFunc(list.Sessions, func(s v1.Session) bool { return underWay(s.Status) }) {
		a.note("no server is running: what is under way goes on with %s, or %s", a.command("serve"), a.command("attach SESSION"))
	}
	return nil
}

// underWay says that a session of this status needs a process that carries it on.
func underWay(s cairn.Status) bool {
	return s == cairn.StatusQueued || s == cairn.StatusRunning || s == cairn.StatusCancelling
}

// sessionTable lists sessions.
func sessionTable(sessions []v1.Session, now time.Time, s style) *table {
	t := &table{head: []string{"SESSION", "AGENT", "STATUS", "SANDBOX", "AGE", "STEPS", "TOOLS", "TOKENS", "COST", "TITLE"}, right: map[int]bool{5: true, 6: true, 7: true, 8: true}}
	for _, x := range sessions {
		status := s.status(x.Status)
		if n := openAsks(x.Waiting); n > 0 {
			status += s.dim(" (" + plural(n, "ask") + ")")
		}
		if x.Status == cairn.StatusIdle && x.LastError != nil {
			status += s.red(" (failed)") // its last run did; the session takes messages
		}
		t.add(word(x.ID), oneLine(x.Agent, 24), status, sandboxCell(x.Sandbox, s), age(now.Sub(x.Created)), count(int64(x.ModelCalls)),
			count(int64(x.ToolCalls)), count(x.Usage.Total()), x.Cost.String(), oneLine(x.Title, 40))
	}
	return t
}

// sandboxCell names the driver of a session's commands in a list.
func sandboxCell(name string, s style) string {
	switch name {
	case "":
		return s.dim("-")
	case sandboxNone:
		return s.wrap("1;31", name)
	}
	return word(name)
}

// openAsks counts the asks a session waits for.
func openAsks(waiting []string) int {
	n := 0
	for _, w := range waiting {
		if strings.HasPrefix(w, "ask:") {
			n++
		}
	}
	return n
}

func (a *app) showCommand() *cobra.Command {
	var full bool
	c := &cobra.Command{
		Use:   "show SESSION|last",
		Short: "Show a session: timeline, effects, asks and cost",
		Args:  cobra.ExactArgs(1),
		RunE:  func(c *cobra.Command, args []string) error { return a.show(c.Context(), args[0], full) },
	}
	c.Flags().BoolVar(&full, "full", false, "do not cut long texts")
	return c
}

// showing is what show prints with --json.
type showing struct {
	Session v1.Session      `json:"session"`
	Usage   v1.SessionUsage `json:"usage"`
	Effects []effectRow     `json:"effects"`
	Asks    []v1.Ask        `json:"asks"`
	Events  []v1.Event      `json:"events"`
}

// effectRow is one effect as it ended.
type effectRow struct {
	ID      cairn.EffectID    `json:"id"`
	Tool    string            `json:"tool"`
	Class   cairn.EffectClass `json:"class,omitzero"`
	Outcome string            `json:"outcome"` // open, completed, failed, denied, done, not_done
	Attempt int               `json:"attempt,omitzero"`
	Took    cairn.Duration    `json:"took,omitzero"`
	Hook    bool              `json:"hook,omitzero"`
}

// maxTimeline is how many events show prints; what is before is left to logs.
const maxTimeline = 1000

func (a *app) show(ctx context.Context, arg string, full bool) error {
	if a.fresh() {
		return cairn.Errorf(cairn.CodeNotFound, "there are no sessions in %s", a.data)
	}
	return a.with(ctx, func(ctx context.Context, l *link) error {
		id, err := l.sessionOf(ctx, arg)
		if err != nil {
			return err
		}
		s, err := l.Session(ctx, id)
		if err != nil {
			return err
		}
		used, err := l.SessionUsage(ctx, id)
		if err != nil {
			return err
		}
		events, cutOff, err := l.tail(ctx, id, maxTimeline)
		if err != nil {
			return err
		}
		asks, err := l.allAsks(ctx, id)
		if err != nil {
			return err
		}
		t := trace{style: a.out, loc: a.Location, most: 160, blocks: full}
		if full {
			t.most = 0
		}
		lines, effects, err := timeline(t, id, events)
		if err != nil {
			return err
		}
		return a.print(showing{s, used, effects, asks, events}, func(w io.Writer) {
			printSession(w, s, used, a.command("diff %s", id), a.Now(), a.Location, a.out)
			if cutOff {
				fmt.Fprintf(w, "\n%s\n", a.out.dim(fmt.Sprintf("the last %s; %s shows all", plural(len(events), "event"), a.command("logs %s", id))))
			}
			fmt.Fprintf(w, "\n%s\n%s\n", a.out.bold("Timeline"), strings.Join(lines, "\n"))
			printEffects(w, effects, a.out)
			printAsks(w, asks, a.Location, a.out)
			printModels(w, used, a.out)
		})
	})
}

// tail reads the last events of a session, in pages.
func (l *link) tail(ctx context.Context, id cairn.SessionID, most int) (events []v1.Event, cutOff bool, err error) {
	before := tailSeq
	for {
		page, err := l.Events(ctx, id, client.EventQuery{Before: before, Limit: min(most-len(events), 1000)})
		if err != nil {
			return nil, false, err
		}
		events = append(slices.Clone(page.Events), events...)
		if page.Prev == 0 || len(page.Events) == 0 {
			return events, false, nil
		}
		if len(events) >= most {
			return events, true, nil
		}
		before = page.Prev
	}
}

// allAsks reads the asks of a session, whatever became of them.
func (l *link) allAsks(ctx context.Context, id cairn.SessionID) ([]v1.Ask, error) {
	asks := []v1.Ask{}
	for _, status := range []cairn.AskStatus{
		cairn.AskOpen, cairn.AskApproved, cairn.AskEdited, cairn.AskRejected, cairn.AskAnswered, cairn.AskLapsed, cairn.AskCancelled, cairn.AskSuperseded,
	} {
		list, err := l.Asks(ctx, client.AskQuery{Session: id, Status: status, Limit: 1000})
		if err != nil {
			return nil, err
		}
		asks = append(asks, list.Asks...)
	}
	slices.SortStableFunc(asks, func(x, y v1.Ask) int { return x.Opened.Compare(y.Opened) })
	return asks, nil
}

// timeline folds events into lines and the effects they tell of.
func timeline(t trace, id cairn.SessionID, events []v1.Event) (lines []string, effects []effectRow, err error) {
	v := newView(id)
	effects = []effectRow{}
	at := map[cairn.EffectID]int{}
	for i := range events {
		e, err := events[i].Cairn()
		if err != nil {
			return nil, nil, fmt.Errorf("event %d: %w", events[i].Seq, err)
		}
		v.event(e)
		lines = append(lines, t.lines(v, e)...)
		c := v.calls[e.Step]
		if c == nil {
			continue
		}
		row := effectRow{ID: c.id, Tool: c.tool, Class: c.class, Outcome: c.outcome, Attempt: c.attempt, Took: cairn.Duration(c.took), Hook: c.hook}
		switch {
		case c.unknown:
			row.Outcome = "unknown"
		case c.outcome == "" && c.waiting:
			row.Outcome = "waiting"
		case c.outcome == "":
			row.Outcome = "open"
		}
		if n, ok := at[c.id]; ok {
			effects[n] = row
		} else {
			at[c.id] = len(effects)
			effects = append(effects, row)
		}
	}
	return lines, effects, nil
}

func printSession(w io.Writer, x v1.Session, used v1.SessionUsage, diff string, now time.Time, loc *time.Location, s style) {
	row := func(label, text string) {
		if text != "" {
			fmt.Fprintf(w, "%s %s\n", s.dim(fmt.Sprintf("%-9s", label)), text)
		}
	}
	row("session", s.bold(word(x.ID)))
	row("title", oneLine(x.Title, 200))
	row("agent", oneLine(x.Agent, 64)+" "+s.dim(digest(x.Digest)))
	row("status", s.status(x.Status))
	if x.Sandbox == sandboxNone {
		row("sandbox", s.wrap("1;31", "none: commands are not confined"))
	} else {
		row("sandbox", word(x.Sandbox))
	}
	if x.Workspace != "" {
		row("workspace", digest(x.Workspace)+s.dim("   "+diff+" shows what changed"))
	}
	row("waits for", oneLine(strings.Join(x.Waiting, ", "), 400))
	row("created", fmt.Sprintf("%s, %s ago", x.Created.In(loc).Format("2006-01-02 15:04:05"), age(now.Sub(x.Created))))
	row("updated", x.Updated.In(loc).Format("2006-01-02 15:04:05"))
	row("work", fmt.Sprintf("%s, %s, %s, %s", plural(x.Runs, "run"), plural(x.ModelCalls, "model call"), plural(x.ToolCalls, "tool call"), plural(int(x.LastSeq), "event")))
	row("tokens", tokens(x.Usage))
	cost := x.Cost.String() + ofWhich(used)
	if x.Reserved > 0 {
		cost += ", " + x.Reserved.String() + " reserved for calls in flight"
	}
	row("cost", cost)
	if e := x.LastError; e != nil {
		row("error", s.red(strings.ReplaceAll(word(e.Code), "_", " ")+": "+oneLine(e.Message, 400)))
	}
}

func printEffects(w io.Writer, effects []effectRow, s style) {
	if len(effects) == 0 {
		return
	}
	fmt.Fprintf(w, "\n%s\n", s.bold("Effects"))
	t := &table{head: []string{"EFFECT", "TOOL", "CLASS", "OUTCOME", "TRIES", "TOOK"}, right: map[int]bool{4: true, 5: true}}
	for _, e := range effects {
		outcome := strings.ReplaceAll(e.Outcome, "_", " ")
		switch e.Outcome {
		case "failed", "unknown":
			outcome = s.red(outcome)
		case "denied", "waiting", "open":
			outcome = s.yellow(outcome)
		default:
			outcome = s.green(outcome)
		}
		tool, tries, span := oneLine(e.Tool, 40), "", ""
		if e.Hook {
			tool += s.dim(" (at the end)")
		}
		if e.Attempt > 0 {
			tries = count(int64(e.Attempt))
		}
		if e.Took > 0 {
			span = took(time.Duration(e.Took))
		}
		t.add(word(e.ID), tool, word(e.Class), outcome, tries, span)
	}
	t.print(w, s)
}

func printModels(w io.Writer, u v1.SessionUsage, s style) {
	if len(u.Models) == 0 {
		return
	}
	fmt.Fprintf(w, "\n%s\n", s.bold("Cost"))
	t := &table{head: []string{"MODEL", "CALLS", "FAILED", "IN", "CACHED", "OUT", "COST", "ESTIMATED"}, right: map[int]bool{1: true, 2: true, 3: true, 4: true, 5: true, 6: true, 7: true}}
	for _, m := range u.Models {
		estimated := ""
		if m.Estimated > 0 {
			estimated = m.Estimated.String()
		}
		t.add(oneLine(m.Model, 60), count(int64(m.Attempts)), count(int64(m.Failed)), count(m.Usage.Prompt()), count(m.Usage.CacheRead), count(m.Usage.Output), m.Cost.String(), estimated)
	}
	if len(u.Models) > 1 {
		estimated := ""
		if e := estimatedOf(u); e > 0 {
			estimated = e.String()
		}
		t.add("total", "", "", count(u.Usage.Prompt()), count(u.Usage.CacheRead), count(u.Usage.Output), u.Cost.String(), estimated)
	}
	t.print(w, s)
}

// estimatedOf is the part of a session's cost that is not exact.
func estimatedOf(u v1.SessionUsage) (sum cairn.Money) {
	for _, m := range u.Models {
		sum += m.Estimated
	}
	return sum
}

// ofWhich says beside a session's cost how much of it is not exact.
func ofWhich(u v1.SessionUsage) string {
	if e := estimatedOf(u); e > 0 {
		return ", of which " + e.String() + " estimated"
	}
	return ""
}
