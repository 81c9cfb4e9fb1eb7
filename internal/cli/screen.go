package cli

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// screen writes lines and, on a terminal, keeps one line below them that says
// what is going on.
type screen struct {
	w     io.Writer
	live  bool // a terminal
	width func() int
	bar   string // as it stands on the terminal
}

const (
	eraseLine = "\r\x1b[2K"
	// barPause is how often the line is drawn anew, at most.
	barPause = 100 * time.Millisecond
)

// lines prints whole lines above the bar.
func (s *screen) lines(lines ...string) {
	if len(lines) == 0 {
		return
	}
	out := strings.Join(lines, "\n") + "\n"
	if s.live && s.bar != "" {
		out = eraseLine + out + s.bar
	}
	_, _ = io.WriteString(s.w, out) // nobody is left to tell
}

// fresh is the bar that stands below the next lines, if there is one at all.
func (s *screen) fresh(bar string) {
	switch {
	case s.bar == "":
	case bar == "":
		// The next lines erase a bar only if they know of one: the one that stands on
		// the terminal is taken away now, or they would be written behind it.
		s.status("")
	default:
		s.bar = bar
	}
}

// status draws the bar; the empty one takes it away.
func (s *screen) status(bar string) {
	if !s.live || bar == s.bar {
		return
	}
	s.bar = bar
	_, _ = io.WriteString(s.w, eraseLine+bar)
}

// ask prints a question and leaves the cursor behind it.
func (s *screen) ask(question string) {
	s.status("")
	_, _ = io.WriteString(s.w, question)
}

// statusBar says in one line what a session is doing. It is pure.
func statusBar(v *view, now time.Time, width int, st style) string {
	if v.ended() || width < 12 {
		return ""
	}
	facts := []string{v.now()}
	if v.steps > 0 {
		facts = append(facts, fmt.Sprintf("step %d", v.steps))
	}
	if n := v.usage.Total(); n > 0 {
		facts = append(facts, count(n)+" tokens")
	}
	if v.cost > 0 || v.usage.Total() > 0 { // usage may not have been reported
		facts = append(facts, v.cost.String())
	}
	if !v.started.IsZero() {
		facts = append(facts, wholeSeconds(now.Sub(v.started)))
	}
	bar := strings.Join(facts, " · ")
	room := width - 3
	bar = cut(bar, room)
	if m := v.model; m != nil && m.text != "" {
		if left := room - len([]rune(bar)) - 3; left > 12 {
			return st.cyan("* ") + st.dim(bar) + " | " + tail(oneLine(m.text, 0), left)
		}
	}
	return st.cyan("* ") + st.dim(bar)
}

// wholeSeconds prints a duration that is still growing.
func wholeSeconds(d time.Duration) string {
	if d = d.Truncate(time.Second); d < time.Minute {
		return fmt.Sprintf("%ds", max(int(d.Seconds()), 0))
	}
	return took(d)
}
