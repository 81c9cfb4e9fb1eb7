package cli

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/cairn-run/cairn"
)

// story prints the events of a session for a person who looks on: a line for each
// call when it is over, the words of the agent as they are. What stands below it
// while something goes on is the board. Like trace it is a pure function of the
// events, the view and the settings.
type story struct {
	style  style
	glyphs glyphs
	loc    *time.Location
	// prompts says that what is asked is put to the person besides.
	prompts bool
}

// mostText bounds the text of one fact, in characters.
const mostText = 400

// errorLines is how many of the last lines of a failed command are shown.
const errorLines = 4

// maxPlan is how many items of a plan are shown.
const maxPlan = 12

// lines are the lines of an event on a terminal of so many columns. v has folded
// the event already.
func (s story) lines(v *view, e cairn.Event, width int) []string {
	width = max(min(width, maxColumns)-1, minColumns)
	st := s.style
	switch d := e.Data.(type) {
	case cairn.SessionCreated:
		head := spaced(st.bold(oneLine(d.Agent, 64)), st.dim(digest(d.Digest)), st.dim("·"), st.dim(word(d.Key.ID)))
		return []string{spaced(head, quoted(oneLine(d.Title, 80)))}
	case cairn.RunStarted:
		return s.started(d)
	case cairn.MessageCreated:
		return s.message(d, width)
	case cairn.ToolCallRequested:
		if d.Sandbox == sandboxNone {
			return []string{s.style.sandbox(d.Sandbox)}
		}
		return nil
	case cairn.ModelRequested, cairn.SessionIdle, cairn.RunEnding, cairn.ToolCallStarted,
		cairn.WorkspaceSnapshotted, cairn.SandboxReleasing, cairn.BudgetRequested, cairn.ToolsetRequested:
		return nil // the board shows it, or what follows does
	case cairn.ModelCompleted:
		return s.answer(v, d, width)
	case cairn.PlanUpdated:
		return s.plan(d, width)
	case cairn.RunCompleted, cairn.RunFailed, cairn.RunCancelled:
		return s.over(v, e, width)
	case cairn.SandboxReleased:
		if len(d.Killed) == 0 && d.Error == nil {
			return nil
		}
	case cairn.BudgetDrawn:
		if d.Error == nil {
			return nil
		}
	case cairn.AskOpened:
		if s.prompts {
			return nil
		}
	}
	if lines, ok := s.call(v, e, width); ok {
		return lines
	}
	topic, text := trace{style: st, loc: s.loc, most: mostText}.fact(v, e)
	return []string{"  " + st.dim(topic) + "  " + text}
}

func (s story) started(d cairn.RunStarted) []string {
	var facts []string
	if d.Sandbox != "" && d.Sandbox != sandboxNone {
		facts = append(facts, s.style.sandbox(d.Sandbox))
	}
	if d.Budget > 0 {
		facts = append(facts, "budget "+d.Budget.String())
	}
	if !d.Deadline.IsZero() {
		facts = append(facts, "until "+d.Deadline.In(s.loc).Format("15:04:05"))
	}
	var out []string
	if len(facts) > 0 {
		out = append(out, s.style.dim(strings.Join(facts, " · ")))
	}
	if d.Sandbox == sandboxNone {
		out = append(out, s.style.sandbox(d.Sandbox))
	}
	return out
}

// message shows what was said to the agent.
func (s story) message(d cairn.MessageCreated, width int) []string {
	text := strings.TrimSpace(clean(cairn.TextOf(d.Content)))
	if rest := partsLine(d.Content, mostText); text == "" {
		text = rest
	}
	lines := wrapped(text, width-2)
	if len(lines) > 12 {
		lines = append(lines[:10], fmt.Sprintf("… (%d lines more)", len(lines)-10))
	}
	out := []string{""}
	for i, l := range lines {
		switch {
		case i > 0:
			l = "  " + l
		case d.Origin == "user" || d.Origin == "":
			l = s.style.cyan(s.glyphs.user) + " " + l
		default:
			l = s.style.dim(s.glyphs.user+" "+word(d.Origin)+": ") + l
		}
		out = append(out, l)
	}
	return out
}

// answer shows that a model call is over, and what the agent said.
func (s story) answer(v *view, d cairn.ModelCompleted, width int) []string {
	st := s.style
	facts := []string{fmt.Sprintf("step %d", v.steps), oneLine(d.Answer.Model, 48), took(time.Duration(d.Took))}
	if d.Purpose != cairn.PurposeTurn {
		facts[0] += " to " + word(d.Purpose)
	}
	switch {
	case d.Answer.Usage != (cairn.Usage{}) || len(d.Answer.RawUsage) > 0:
		facts = append(facts, tokens(d.Answer.Usage))
	default:
		facts = append(facts, "usage not reported")
	}
	cost := d.Cost.String()
	if d.Status != cairn.CostExact && d.Status != "" && d.Cost > 0 {
		cost += " (" + word(d.Status) + ")"
	}
	line := st.dim(fit(s.glyphs.step+" "+strings.Join(append(facts, cost), " · "), width))
	switch d.Answer.Stop {
	case cairn.StopMaxOutput, cairn.StopRefusal:
		line += " " + st.yellow(strings.ReplaceAll(string(d.Answer.Stop), "_", " "))
	}
	out := []string{"", line}
	said := strings.TrimSpace(clean(cairn.TextOf(d.Answer.Content)))
	if said == "" {
		return out
	}
	for _, l := range wrapped(said, width-2) {
		if d.Purpose == cairn.PurposeCompact {
			l = st.dim(l)
		} else {
			l = st.bold(l)
		}
		out = append(out, strings.TrimRight("  "+l, " "))
	}
	return out
}

// plan shows a plan as a list of what is done and what is to do.
func (s story) plan(d cairn.PlanUpdated, width int) []string {
	var p struct {
		Steps []struct{ Title, Status string }
	}
	if json.Unmarshal(d.Plan, &p) != nil || len(p.Steps) == 0 {
		return []string{fit("  "+s.style.dim("plan")+"  "+jsonLine(d.Plan, 0), width)}
	}
	items := p.Steps
	out := []string{"  " + s.style.dim("plan")}
	for i, item := range items {
		if i == maxPlan {
			return append(out, s.style.dim(fmt.Sprintf("    … %d more", len(items)-i)))
		}
		line := fit(oneLine(item.Title, 0), width-6)
		switch item.Status {
		case "done":
			line = s.style.green(s.glyphs.done) + " " + s.style.dim(line)
		case "in_progress":
			line = s.style.cyan(s.glyphs.next) + " " + line
		case "dropped":
			line = s.style.dim(s.glyphs.bad + " " + line)
		default:
			line = s.style.dim(s.glyphs.later) + " " + line
		}
		out = append(out, "    "+line)
	}
	return out
}

// over sums the run up.
func (s story) over(v *view, e cairn.Event, width int) []string {
	_, text := trace{style: s.style, loc: s.loc, most: mostText}.fact(v, e)
	if files := changesText(v.changed); files != "" {
		text += ", files " + files
	}
	sign := s.style.red(s.glyphs.bad)
	switch e.Data.(type) {
	case cairn.RunCompleted:
		sign = s.style.green(s.glyphs.ok)
	case cairn.RunCancelled:
		sign = s.style.yellow(s.glyphs.bad)
	}
	out := []string{""}
	for i, l := range wrapped(text, width-2) {
		if i == 0 {
			l = sign + " " + l
		} else {
			l = "  " + l
		}
		out = append(out, l)
	}
	return out
}

// call shows what became of a tool call; false: the event is about none.
func (s story) call(v *view, e cairn.Event, width int) ([]string, bool) {
	st := s.style
	c := v.calls[e.Step]
	if c == nil {
		c = &viewCall{tool: word(e.Step)}
	}
	tr := trace{style: style{}, loc: s.loc, most: mostText}
	var notes, below []string
	sign := st.green(s.glyphs.ok)
	switch d := e.Data.(type) {
	case cairn.ToolCallCompleted:
		if c.tool == cairn.BuiltinPlan {
			return nil, true // the plan itself is shown
		}
		notes = append(notes, verdict(&d.Result))
		text := resultText(&d.Result)
		switch {
		case d.Result.IsError:
			sign = st.red(s.glyphs.bad)
			below = lastLines(text, errorLines)
		case quietTools[c.tool]:
		case commands[c.tool]:
			below = lastLines(text, 1)
		default:
			if first := oneLine(text, 0); first != "" {
				below = []string{first}
			}
		}
		if d.Took > 0 {
			notes = append(notes, took(time.Duration(d.Took)))
		}
		if d.Result.Truncated > 0 {
			notes = append(notes, count(d.Result.Truncated)+" bytes cut")
		}
	case cairn.ToolCallFailed:
		sign = st.red(s.glyphs.bad)
		below = wrapped(tr.problem(d.Error), width-6)
		if said := resultText(d.Result); said != "" {
			below = append(below, lastLines(said, errorLines)...)
		}
		if len(d.Killed) > 0 {
			below = append(below, "killed "+oneLine(strings.Join(d.Killed, ", "), mostText))
		}
		notes = append(notes, verdict(d.Result))
		if d.Took > 0 {
			notes = append(notes, took(time.Duration(d.Took)))
		}
	case cairn.ToolCallDenied:
		sign = st.red(s.glyphs.bad)
		notes = append(notes, "denied")
		below = []string{spaced(oneLine(d.Reason, mostText), by(d.By)) + ruleBeside(d)}
	case cairn.ToolCallRetried:
		sign = st.yellow(s.glyphs.again)
		notes = append(notes, fmt.Sprintf("attempt %d failed, again at %s", d.Attempt, d.NextAt.In(s.loc).Format("15:04:05")))
		below = []string{tr.problem(d.Error)}
	case cairn.ToolCallUnknown:
		sign = st.red(s.glyphs.unknown)
		notes = append(notes, "unknown")
		below = []string{"nobody knows whether it took place: " + oneLine(d.Reason, mostText)}
	case cairn.EffectReconciled:
		if d.Finding == cairn.FoundNotDone {
			sign = st.yellow(s.glyphs.bad)
		}
		notes = append(notes, strings.TrimPrefix(string(e.Type()), "effect."))
		_, text := tr.fact(v, e)
		below = []string{text}
	default:
		return nil, false
	}
	if c.files {
		notes = append(notes, changesText(c.changes))
	}
	line := callLine(st, sign, c, strings.Join(nonEmpty(notes), " · "), width)
	out := []string{line}
	for _, l := range below {
		out = append(out, "    "+st.dim(fit(s.glyphs.bar+" "+l, width-4)))
	}
	return out, true
}

// quietTools are those whose results are for the model alone, commands those
// whose last line says how it went.
var (
	quietTools = map[string]bool{
		cairn.BuiltinRead: true, cairn.BuiltinList: true, cairn.BuiltinSearch: true, cairn.BuiltinWrite: true, cairn.BuiltinEdit: true,
		cairn.BuiltinReadResult: true,
	}
	commands = map[string]bool{cairn.BuiltinBash: true, cairn.BuiltinPython: true}
)

func by(who string) string {
	if who == "" {
		return ""
	}
	return "by " + oneLine(who, 80)
}

func nonEmpty(list []string) []string {
	out := list[:0:0]
	for _, s := range list {
		if s != "" {
			out = append(out, s)
		}
	}
	return out
}
