package cli

import (
	"fmt"
	"strings"
	"time"

	"github.com/cairn-run/cairn"
)

// trace prints the events of a session, one line a fact. It is a pure function
// of the events, the view and the settings.
type trace struct {
	style style
	loc   *time.Location
	most  int // characters of one text; zero: all
	// blocks prints the words of the agent as they are, over several lines.
	blocks bool
}

// line is one fact.
func (t trace) line(at time.Time, topic, text string) string {
	return fmt.Sprintf("%s %s %s", t.style.dim(at.In(t.loc).Format("15:04:05")), t.style.dim(fmt.Sprintf("%-7s", topic)), text)
}

// lines are the lines of an event. v has folded the event already.
func (t trace) lines(v *view, e cairn.Event) []string {
	topic, text := t.fact(v, e)
	if topic == "" {
		return nil
	}
	out := []string{t.line(e.At, topic, text)}
	if d, ok := e.Data.(cairn.ModelCompleted); ok {
		who := "agent"
		if d.Purpose == cairn.PurposeCompact {
			who = "summary"
		}
		if said := strings.TrimSpace(clean(cairn.TextOf(d.Answer.Content))); said != "" {
			if t.blocks {
				said = strings.ReplaceAll(said, "\n", "\n"+strings.Repeat(" ", 17))
			} else {
				said = oneLine(said, t.most)
			}
			out = append(out, t.line(e.At, who, t.style.bold(said)))
		}
	}
	return out
}

func (t trace) fact(v *view, e cairn.Event) (topic, text string) {
	s := t.style
	switch d := e.Data.(type) {
	case cairn.SessionCreated:
		return "session", spaced(word(d.Key.ID), "created for agent", word(d.Agent), s.dim(digest(d.Digest)), quoted(oneLine(d.Title, 80)))
	case cairn.SessionForked:
		return "session", fmt.Sprintf("%s forked from %s at event %d", word(d.Key.ID), word(d.Parent.ID), d.At)
	case cairn.SessionIdle:
		return "session", s.green("idle") + ": waits for the next message"
	case cairn.SessionMoving:
		return "session", spaced("is to go on under agent", word(d.Agent), s.dim(digest(d.Digest)), "by "+principal(d.By), quoted(oneLine(d.Reason, t.most)))
	case cairn.SessionMoved:
		return "session", spaced("goes on under agent", word(d.Agent), s.dim(digest(d.Digest))) + ", before that " + s.dim(digest(d.From))
	case cairn.RunStarted:
		text = word(e.Run) + " started"
		if d.Sandbox != "" {
			text += ", " + s.sandbox(d.Sandbox)
		}
		if d.Budget > 0 {
			text += ", budget " + d.Budget.String()
		}
		if !d.Deadline.IsZero() {
			text += ", until " + d.Deadline.In(t.loc).Format("15:04:05")
		}
		return "run", text
	case cairn.RunEnding:
		text = "ending as " + word(d.Outcome)
		if d.Error != nil {
			text += ": " + t.problem(*d.Error)
		}
		return "run", text
	case cairn.RunCompleted:
		text = s.green("completed")
		if d.Degraded {
			text += s.yellow(" (degraded)")
		}
		return "run", text + ": " + t.account(d.Summary)
	case cairn.RunFailed:
		return "run", s.red("failed") + ": " + t.problem(d.Error) + "; " + t.account(d.Summary)
	case cairn.RunCancelled:
		return "run", s.yellow("cancelled") + ": " + t.account(d.Summary)
	case cairn.RunCancelling:
		text = "cancelling, by " + principal(d.By)
		if d.Error != nil {
			text = "stopping: " + t.problem(*d.Error)
		}
		return "run", spaced(s.yellow(text), quoted(oneLine(d.Reason, t.most)))
	case cairn.RunPaused:
		return "run", spaced(s.yellow("paused")+" by "+principal(d.By), quoted(oneLine(d.Reason, t.most)))
	case cairn.RunResumed:
		return "run", "resumed by " + principal(d.By)
	case cairn.MessageCreated:
		who := word(d.Origin)
		if d.Origin == "user" && d.By.ID != "" {
			who = principal(d.By)
		}
		if d.Interrupt {
			who += " (interrupts)"
		}
		return "message", who + ": " + partsLine(d.Content, t.most)
	case cairn.ModelRequested:
		text = fmt.Sprintf("%s asked, step %d", oneLine(d.Model, 60), v.steps)
		if d.Purpose != cairn.PurposeTurn {
			text += " to " + word(d.Purpose)
		}
		if d.Attempt > 1 {
			text += fmt.Sprintf(", attempt %d", d.Attempt)
		}
		return "model", text
	case cairn.ModelRetried:
		text = fmt.Sprintf("attempt %d failed: %s; next with %s at %s", d.Attempt, t.problem(d.Error), oneLine(d.Model, 60), d.NextAt.In(t.loc).Format("15:04:05"))
		return "model", s.yellow(text) + costNote(d.Cost, d.Status)
	case cairn.ModelCompleted:
		used, counted := tokens(d.Answer.Usage), d.Answer.Usage != (cairn.Usage{}) || len(d.Answer.RawUsage) > 0
		if !counted {
			used = "usage not reported"
		}
		text = fmt.Sprintf("%s answered in %s: %s, %s", oneLine(d.Answer.Model, 60), took(time.Duration(d.Took)), used, d.Cost)
		if d.Status != cairn.CostExact && d.Status != "" && (counted || d.Cost > 0) { // nothing of a free model is estimated
			text += " " + s.yellow("("+word(d.Status)+")")
		}
		switch d.Answer.Stop {
		case cairn.StopMaxOutput, cairn.StopRefusal:
			text += " " + s.yellow(strings.ReplaceAll(string(d.Answer.Stop), "_", " "))
		}
		return "model", text
	case cairn.ModelFailed:
		return "model", s.red("given up: "+t.problem(d.Error)) + costNote(d.Cost, d.Status)
	}
	return t.toolFact(v, e)
}

func (t trace) toolFact(v *view, e cairn.Event) (topic, text string) {
	s := t.style
	topic = "tool"
	name := ""
	if c := v.calls[e.Step]; c != nil {
		name = oneLine(c.tool, 64)
		if c.hook {
			topic = "hook"
		}
	}
	if name == "" {
		name = word(e.Step)
	}
	switch d := e.Data.(type) {
	case cairn.ToolCallRequested:
		note := ""
		switch d.Verdict {
		case cairn.VerdictAsk:
			note = s.yellow("needs approval")
		case cairn.VerdictDeny:
			note = s.red("not allowed")
		}
		if d.Sandbox != "" {
			note = spaced(note, s.sandbox(d.Sandbox))
		}
		return topic, spaced(s.cyan(name), jsonLine(d.Args, t.most), note)
	case cairn.ToolCallDenied:
		by := ""
		if d.By != "" {
			by = "by " + oneLine(d.By, 80)
		}
		return topic, spaced(s.cyan(name), s.red("denied"), by) + ": " + oneLine(d.Reason, t.most) + ruleBeside(d)
	case cairn.ToolCallStarted:
		return topic, fmt.Sprintf("%s started", s.cyan(name))
	case cairn.ToolCallRetried:
		return topic, fmt.Sprintf("%s %s", s.cyan(name), s.yellow(fmt.Sprintf("attempt %d failed: %s; again at %s", d.Attempt, t.problem(d.Error), d.NextAt.In(t.loc).Format("15:04:05"))))
	case cairn.ToolCallCompleted:
		word := "done"
		if d.Result.IsError {
			word = s.yellow("answered with an error")
		}
		if note := verdict(&d.Result); note != "" {
			word += ", " + note
		}
		if d.Took > 0 {
			word += " in " + took(time.Duration(d.Took))
		}
		text = fmt.Sprintf("%s %s: %s", s.cyan(name), word, oneLine(resultText(&d.Result), t.most))
		if d.Result.Truncated > 0 {
			text += s.yellow(fmt.Sprintf(" (%s bytes cut)", count(d.Result.Truncated)))
		}
		if seen := d.Result.Shown; seen != nil {
			text += s.dim(fmt.Sprintf(" (the model sees %s of %s bytes)", count(seen.Head+seen.Tail), count(int64(len(cairn.TextOf(d.Result.Content))))))
		}
		return topic, text
	case cairn.ToolCallFailed:
		text = s.cyan(name) + " " + s.red("failed") + ": " + t.problem(d.Error)
		if said := oneLine(resultText(d.Result), t.most); said != "" {
			text += ": " + said
		}
		if len(d.Killed) > 0 {
			text += "; killed " + oneLine(strings.Join(d.Killed, ", "), t.most)
		}
		return topic, text
	case cairn.ToolCallUnknown:
		text = s.cyan(name) + " " + s.red("unknown") + ": nobody knows whether it took place (" + oneLine(d.Reason, t.most) + ")"
		if d.Reconcile {
			text += "; finding out"
		}
		return topic, text
	case cairn.EffectReconciled:
		found := s.green("it took place")
		if d.Finding == cairn.FoundNotDone {
			found = s.green("it did not take place")
		}
		return topic, fmt.Sprintf("%s settled by %s: %s", s.cyan(name), oneLine(d.By, 80), found)
	case cairn.WorkspaceSnapshotted:
		text = changesText(d.Changes)
		if text == "" {
			text = "the same as before"
		} else {
			text += s.dim(fmt.Sprintf(" (%s bytes)", count(d.Changes.Bytes)))
		}
		if len(d.Running) > 0 {
			text += "; still running: " + oneLine(strings.Join(d.Running, ", "), t.most)
		}
		return "files", text
	case cairn.SandboxReleasing:
		return "sandbox", "ending what still runs"
	case cairn.SandboxReleased:
		text = "released"
		if len(d.Killed) > 0 {
			text += "; killed " + oneLine(strings.Join(d.Killed, ", "), t.most)
		}
		if d.Error != nil {
			text += s.red("; not certain that all is dead: " + t.problem(*d.Error))
		}
		return "sandbox", text
	case cairn.PlanUpdated:
		return "plan", jsonLine(d.Plan, t.most)
	case cairn.ToolsetRequested:
		return "tools", "asking the servers for their tools"
	case cairn.ToolsetRetried:
		return "tools", s.yellow(fmt.Sprintf("attempt %d failed: %s", d.Attempt, t.problem(d.Error)))
	case cairn.ToolsetFailed:
		return "tools", s.red("given up: " + t.problem(d.Error))
	case cairn.ToolsetPinned:
		var names []string
		for _, tool := range d.Tools {
			names = append(names, tool.Name)
		}
		return "tools", plural(len(d.Tools), "tool") + " pinned: " + oneLine(strings.Join(names, ", "), t.most)
	case cairn.AskOpened:
		return "ask", s.yellow(askLine(d.Ask, t.most))
	case cairn.AskResolved:
		text = word(d.Ask) + " " + askStatus(d.Status)
		if d.By != (cairn.Principal{}) { // else something else closed it
			text += " by " + principal(d.By)
		}
		return "ask", spaced(text, jsonLine(d.Args, t.most), quoted(oneLine(d.Comment, t.most)))
	case cairn.AskExpired:
		return "ask", s.yellow(fmt.Sprintf("%s expired: nobody answered, taken as %s", word(d.Ask), word(d.Action)))
	case cairn.BudgetExceeded:
		return "budget", s.yellow(fmt.Sprintf("of the %s would be exceeded: %s of %s are spent, %s more are needed", word(d.Scope), d.Spent, d.Limit, d.Need))
	case cairn.BudgetRaised:
		return "budget", fmt.Sprintf("of the %s raised by %s, by %s", word(d.Scope), d.Amount, principal(d.By))
	case cairn.BudgetRequested:
		if d.Amount < 0 {
			return "budget", fmt.Sprintf("%s given back", -d.Amount)
		}
		return "budget", fmt.Sprintf("%s drawn", d.Amount)
	case cairn.BudgetDrawn:
		if d.Error != nil {
			return "budget", s.yellow("not granted: " + t.problem(*d.Error))
		}
		if d.Granted < 0 {
			return "budget", fmt.Sprintf("%s returned", -d.Granted)
		}
		return "budget", fmt.Sprintf("%s granted", d.Granted)
	case cairn.ContextCompacted:
		text = fmt.Sprintf("compacted from %s to %s bytes", count(d.Before), count(d.After))
		if d.Summary == 0 {
			text += ", without a summary"
		}
		return "context", text
	case cairn.CacheBroken:
		text = fmt.Sprintf("the prompt cache was broken at byte %s: %s", count(d.Byte), strings.ReplaceAll(word(d.Reason), "_", " "))
		if d.Tokens > 0 {
			text += fmt.Sprintf("; %s tokens were paid for again, %s more than from the cache", count(d.Tokens), d.Cost)
		}
		return "context", text
	}
	return "event", oneLine(string(e.Type()), 60)
}

// problem is an error for people.
func (t trace) problem(e cairn.Error) string {
	return strings.ReplaceAll(word(e.Code), "_", " ") + ": " + oneLine(e.Message, t.most)
}

// account sums a run up.
func (t trace) account(r cairn.RunSummary) string {
	calls := 0
	for _, n := range r.ToolCalls {
		calls += n
	}
	text := fmt.Sprintf("%s, %s, %s tokens, %s, %s", plural(r.ModelCalls, "model call"), plural(calls, "tool call"), count(r.Usage.Total()), r.Cost, took(time.Duration(r.Duration)))
	if r.Retries > 0 {
		text += ", " + count(int64(r.Retries)) + " retried"
	}
	if r.LostCalls > 0 {
		text += ", " + count(int64(r.LostCalls)) + " lost"
	}
	if r.Estimated > 0 {
		text += ", of the cost " + r.Estimated.String() + " estimated"
	}
	if len(r.Unknown) > 0 {
		text += ", " + t.style.red(plural(len(r.Unknown), "call")+" of unknown outcome")
	}
	if len(r.HooksFailed) > 0 {
		text += ", " + t.style.red("failed at the end: "+oneLine(strings.Join(r.HooksFailed, ", "), t.most))
	}
	return text
}

// askLine says what is asked, from the canonical arguments.
func askLine(a cairn.Ask, most int) string {
	text := word(a.ID) + " "
	switch a.Kind {
	case cairn.AskApproval:
		text += "may this call be made? " + spaced(oneLine(a.Tool, 64), jsonLine(a.Args, most))
		if a.Rule == "" && a.Reason != "" { // why it is asked again, for example
			text += " (" + oneLine(a.Reason, most) + ")"
		}
	case cairn.AskClientTool:
		text += "this call is the client's to make: " + spaced(oneLine(a.Tool, 64), jsonLine(a.Args, most))
	case cairn.AskUnknown:
		text += "did this call take place? " + spaced(oneLine(a.Tool, 64), jsonLine(a.Args, most))
	case cairn.AskBudget:
		text += fmt.Sprintf("may the %s spend %s more?", word(a.Scope), a.Amount)
	case cairn.AskQuestion:
		q := questionOf(a.Args)
		text += "the agent asks: " + oneLine(q.Text, most)
		if len(q.Options) > 0 {
			text += " [" + oneLine(strings.Join(q.Options, " | "), most) + "]"
		}
	default:
		text += spaced(word(a.Kind), oneLine(a.Tool, 64), jsonLine(a.Args, most))
	}
	return text + bracket("rule", a.Rule)
}

// askStatus is the state of an ask in words.
func askStatus(s cairn.AskStatus) string {
	if s == cairn.AskEdited {
		return "approved with other arguments"
	}
	return oneLine(strings.ReplaceAll(string(s), "_", " "), 40)
}

// partsLine shows the content of a message on one line.
func partsLine(parts []cairn.Part, most int) string {
	var out []string
	for _, p := range parts {
		switch p.Kind {
		case cairn.PartText:
			out = append(out, p.Text)
		default:
			out = append(out, fmt.Sprintf("[%s %s, %s bytes]", word(p.Kind), word(p.MediaType), count(int64(len(p.Data)))))
		}
	}
	return oneLine(strings.Join(out, " "), most)
}

func costNote(cost cairn.Money, status cairn.CostStatus) string {
	if cost == 0 {
		return ""
	}
	if status != "" && status != cairn.CostExact {
		return fmt.Sprintf("; it cost %s (%s)", cost, word(status))
	}
	return "; it cost " + cost.String()
}

func quoted(s string) string {
	if s == "" {
		return ""
	}
	return `"` + s + `"`
}

// ruleBeside names the rule that denied a call, if the reason does not.
func ruleBeside(d cairn.ToolCallDenied) string {
	if strings.Contains(d.Reason, d.Rule) {
		return ""
	}
	return bracket("rule", d.Rule)
}

func bracket(label, s string) string {
	if s == "" {
		return ""
	}
	return " (" + label + " " + oneLine(s, 120) + ")"
}
