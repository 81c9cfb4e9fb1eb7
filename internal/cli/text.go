package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/cairn-run/cairn"
)

// style colours text on terminals and leaves it alone elsewhere.
type style struct{ color bool }

func (s style) wrap(code, text string) string {
	if !s.color || text == "" {
		return text
	}
	return "\x1b[" + code + "m" + text + reset
}

// reset ends a colour.
const reset = "\x1b[0m"

func (s style) bold(t string) string   { return s.wrap("1", t) }
func (s style) dim(t string) string    { return s.wrap("2", t) }
func (s style) red(t string) string    { return s.wrap("31", t) }
func (s style) green(t string) string  { return s.wrap("32", t) }
func (s style) yellow(t string) string { return s.wrap("33", t) }
func (s style) cyan(t string) string   { return s.wrap("36", t) }

// status colours a session's status.
func (s style) status(st cairn.Status) string {
	switch st {
	case cairn.StatusCompleted, cairn.StatusIdle:
		return s.green(string(st))
	case cairn.StatusFailed:
		return s.red(string(st))
	case cairn.StatusWaiting, cairn.StatusPaused, cairn.StatusCancelling:
		return s.yellow(string(st))
	case cairn.StatusRunning:
		return s.cyan(string(st))
	}
	return string(st)
}

// sandbox names the driver of a run's commands. That nothing confines them stands
// out.
func (s style) sandbox(name string) string {
	if name == sandboxNone {
		return s.wrap("1;31", "sandbox none: commands are not confined")
	}
	return "sandbox " + word(name)
}

// clean makes text that a model or a tool wrote safe for a terminal: control
// characters and characters that turn the direction of writing are taken out, so
// that nothing can be shown as something else. Line breaks and tabs stay.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t':
			return r
		case r == utf8.RuneError, unicode.IsControl(r), unicode.Is(unicode.Bidi_Control, r), r == '\u2028', r == '\u2029':
			return -1
		}
		return r
	}, strings.ReplaceAll(s, "\r\n", "\n"))
}

// oneLine cleans text, puts it on one line and cuts it after so many characters;
// zero: it is not cut.
func oneLine(s string, most int) string {
	s = strings.Join(strings.Fields(clean(s)), " ")
	return cut(s, most)
}

// word makes an id or a name safe to print, wherever it came from.
func word[S ~string](s S) string { return oneLine(string(s), 80) }

// cut shortens text to so many characters.
func cut(s string, most int) string {
	if most <= 0 || utf8.RuneCountInString(s) <= most {
		return s
	}
	return string([]rune(s)[:max(most-1, 0)]) + "…"
}

// tail keeps the last characters of text.
func tail(s string, most int) string {
	r := []rune(s)
	if len(r) <= most {
		return s
	}
	return "…" + string(r[len(r)-max(most-1, 0):])
}

// count prints a number with separators: 12,345.
func count(n int64) string {
	s := strconv.FormatInt(n, 10)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// plural prints "1 step" and "2 steps".
func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return count(int64(n)) + " " + noun + "s"
}

// took prints a duration as people read it: 12ms, 3.4s, 2m05s, 3h20m, 5d.
func took(d time.Duration) string {
	switch {
	case d < 0:
		return "0ms"
	case d < time.Second:
		return fmt.Sprintf("%dms", d.Milliseconds())
	case d < time.Minute:
		return fmt.Sprintf("%.1fs", d.Truncate(100*time.Millisecond).Seconds())
	case d < time.Hour:
		return fmt.Sprintf("%dm%02ds", int(d.Minutes()), int(d.Seconds())%60)
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh%02dm", int(d.Hours()), int(d.Minutes())%60)
	}
	return fmt.Sprintf("%dd", int(d.Hours())/24)
}

// age is how long ago something was, to the second.
func age(d time.Duration) string {
	if d < time.Minute {
		return fmt.Sprintf("%ds", int(max(d, 0).Seconds()))
	}
	return took(d)
}

// tokens prints what a call used.
func tokens(u cairn.Usage) string {
	s := count(u.Prompt()) + " in"
	if u.CacheRead > 0 {
		s += fmt.Sprintf(" (%s cached)", count(u.CacheRead))
	}
	return s + ", " + count(u.Output) + " out"
}

// digest shortens a digest for people.
func digest(d cairn.Digest) string {
	hex, ok := strings.CutPrefix(string(d), "sha256:")
	if !ok || len(hex) < 12 {
		return word(d)
	}
	return word(hex[:12])
}

// principal names who did something.
func principal(p cairn.Principal) string {
	switch {
	case p.ID != "" && p.Kind != "":
		return oneLine(p.Kind+":"+p.ID, 80)
	case p.ID != "":
		return oneLine(p.ID, 80)
	case p.Kind != "":
		return oneLine(p.Kind, 80)
	}
	return "somebody"
}

// jsonLine prints arguments on one line, exactly; nothing for an empty object.
func jsonLine(raw json.RawMessage, most int) string {
	var b bytes.Buffer
	if json.Compact(&b, raw) != nil {
		return oneLine(string(raw), most)
	}
	s := b.String()
	if s == "{}" || s == "null" {
		return ""
	}
	return cut(escapeHidden(readable(s)), most)
}

// readable writes the characters that encoding/json escapes for the sake of HTML
// as themselves.
func readable(s string) string {
	var b strings.Builder
	for s != "" {
		i := strings.IndexByte(s, '\\')
		if i < 0 || i+1 == len(s) {
			break
		}
		b.WriteString(s[:i])
		s = s[i:]
		size := 2 // of an escape; a backslash is one too
		if len(s) >= 6 {
			switch s[:6] {
			case `\u003c`:
				s, size = "<"+s[6:], 1
			case `\u003e`:
				s, size = ">"+s[6:], 1
			case `\u0026`:
				s, size = "&"+s[6:], 1
			}
		}
		b.WriteString(s[:size])
		s = s[size:]
	}
	return b.String() + s
}

// escapeHidden writes what clean would take out of JSON as JSON escapes: what
// somebody approves is shown as it is, and safely.
func escapeHidden(s string) string {
	var b strings.Builder
	for _, r := range s {
		if c := string(r); r == utf8.RuneError || (r != '\n' && clean(c) == "") {
			fmt.Fprintf(&b, `\u%04x`, r)
		} else {
			b.WriteString(c)
		}
	}
	return b.String()
}

// resultText is what a tool said, as text.
func resultText(r *cairn.ToolResult) string {
	if r == nil {
		return ""
	}
	if s := cairn.TextOf(r.Content); s != "" {
		return s
	}
	if len(r.Structured) > 0 {
		return string(r.Structured)
	}
	for _, p := range r.Content {
		return fmt.Sprintf("[%s %s]", word(p.Kind), word(p.MediaType))
	}
	return ""
}

// spaced joins what is not empty with a space.
func spaced(parts ...string) string {
	var kept []string
	for _, p := range parts {
		if p != "" {
			kept = append(kept, p)
		}
	}
	return strings.Join(kept, " ")
}
