package cli

import (
	"fmt"
	"strings"
	"time"

	"github.com/cairn-run/cairn"
)

// Bounds of what stands below the lines on a terminal.
const (
	maxBoard    = 10 // lines, and never more than half of the terminal
	maxOpen     = 4  // calls that are shown one by one
	maxPrintout = 3  // lines of what the call that spoke last prints
	minColumns  = 20 // of a terminal that shows anything there
	maxColumns  = 120
)

// board says what a session is doing, on lines that are drawn anew while it does.
// It is pure.
type board struct {
	style  style
	glyphs glyphs
}

// lines are the lines of this moment, each within width columns; none: nothing
// goes on.
func (b board) lines(v *view, now time.Time, width, height int) []string {
	if v.ended() || width < minColumns {
		return nil
	}
	room := max(min(maxBoard, height/2), 1)
	width = min(width, maxColumns) - 1 // a full line would leave the cursor in doubt
	out := b.calls(v, now, width, room-1)
	if m := v.model; m != nil && len(out) == 0 && room > 1 {
		if said := lastLines(m.text, 1); said != nil {
			out = append(out, b.style.dim("  "+fitTail(oneLine(said[0], 0), width-2)))
		}
	}
	return append(out, b.status(v, now, width, len(out) > 0))
}

// calls shows the calls that are open, and the end of what the one that spoke last
// has printed.
func (b board) calls(v *view, now time.Time, width, room int) []string {
	var open []*viewCall
	for _, id := range v.order {
		if c := v.calls[id]; c != nil {
			open = append(open, c)
		}
	}
	loud := loudest(open)
	var out []string
	for i, c := range open {
		left := len(open) - i
		if i == maxOpen && left > 1 || len(out) == room-1 && left > 1 || len(out) >= room {
			if room > 0 {
				out = append(out[:min(len(out), room-1)], b.style.dim("  … "+plural(left, "more call")))
			}
			break
		}
		out = append(out, b.call(c, now, width))
		if c != loud {
			continue
		}
		most := min(maxPrintout, room-len(out)-(left-1))
		for _, line := range c.out.last(max(most, 0)) {
			out = append(out, "    "+b.style.dim(fit(b.glyphs.bar+" "+line, width-4)))
		}
	}
	return out
}

// loudest is the call that printed last; nil: none has.
func loudest(open []*viewCall) (loud *viewCall) {
	for _, c := range open {
		if c.out.text != "" && (loud == nil || c.spoke.After(loud.spoke)) {
			loud = c
		}
	}
	return loud
}

// call is the line of one open call: its sign, its name, what it does, since when.
func (b board) call(c *viewCall, now time.Time, width int) string {
	sign, note := b.style.cyan(b.glyphs.spinner(now)), wholeSeconds(now.Sub(c.since))
	switch {
	case c.unknown:
		sign, note = b.style.red(b.glyphs.unknown), "outcome unknown"
	case c.waiting:
		sign, note = b.style.yellow(b.glyphs.ask), "waits for an answer"
	case c.since.IsZero():
		note = ""
	}
	return callLine(b.style, sign, c, note, width)
}

// callLine puts a call on one line; what it does is cut, the notes are kept.
func callLine(s style, sign string, c *viewCall, note string, width int) string {
	name := oneLine(c.tool, 24)
	if c.hook {
		name += " (at the end)"
	}
	head := "  " + sign + " " + s.bold(name)
	text := head
	if does := gist(c.tool, c.args); does != "" {
		left := width - columns(head) - 2
		if note != "" {
			left -= columns(note) + 2
		}
		if left > 3 {
			text += "  " + fit(does, left)
		}
	}
	if note != "" {
		text += "  " + s.dim(note)
	}
	return fit(text, width)
}

// status is the last line: what goes on, unless the lines above say it, and what
// it came to so far.
func (b board) status(v *view, now time.Time, width int, said bool) string {
	var facts []string
	if !said || v.model != nil || v.status != cairn.StatusRunning || len(v.asks) > 0 {
		facts = append(facts, b.doing(v, now))
	}
	if v.steps > 0 {
		facts = append(facts, fmt.Sprintf("step %d", v.steps))
	}
	if !v.started.IsZero() {
		facts = append(facts, wholeSeconds(now.Sub(v.started)))
	}
	if n := v.usage.Total(); n > 0 {
		facts = append(facts, count(n)+" tokens")
	}
	if v.cost > 0 || v.usage.Total() > 0 { // usage may not have been reported
		facts = append(facts, v.cost.String())
	}
	if files := changesText(v.changed); files != "" {
		facts = append(facts, "files "+files)
	}
	sign := b.style.cyan(b.glyphs.spinner(now))
	if v.status == cairn.StatusPaused || len(v.asks) > 0 && len(v.order) == waitingCalls(v) {
		sign = b.style.yellow(b.glyphs.ask)
	}
	return sign + " " + b.style.dim(fit(strings.Join(facts, " · "), width-2))
}

func waitingCalls(v *view) int {
	n := 0
	for _, id := range v.order {
		if c := v.calls[id]; c != nil && c.waiting {
			n++
		}
	}
	return n
}

// doing says in a few words what goes on, and since when.
func (b board) doing(v *view, now time.Time) string {
	text := v.now()
	if m := v.model; m != nil && strings.HasPrefix(text, "model ") {
		text += " " + wholeSeconds(now.Sub(m.since))
		if m.attempt > 1 {
			text += fmt.Sprintf(", attempt %d", m.attempt)
		}
	}
	return text
}

// wholeSeconds prints a duration that is still growing.
func wholeSeconds(d time.Duration) string {
	if d = d.Truncate(time.Second); d < time.Minute {
		return fmt.Sprintf("%ds", max(int(d.Seconds()), 0))
	}
	return took(d)
}
