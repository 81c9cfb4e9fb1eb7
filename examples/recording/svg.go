package recording

import (
	"fmt"
	"html"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// Measures of the SVG, in its own units: a character of the usual monospace fonts
// at this size.
const (
	charWidth, lineHeight = 7.2, 17
	margin                = 14
)

// The pace for reading.
const (
	soonest = 80 * time.Millisecond   // what comes later is seen to come later
	longest = 900 * time.Millisecond  // a wait
	reading = 2500 * time.Millisecond // before a heading
	turning = 1800 * time.Millisecond // after half a screen that came at once
	resting = 8 * time.Second         // at the end, before it begins anew
)

var heading = regexp.MustCompile(`^[0-9]+\. `)

// SVG is the recording as an image that plays by itself, over and over, in light and
// dark; where motion is not wanted it shows the end. It loads nothing and runs no
// script. The pace is made for reading: waits are cut, and there is a pause before each
// heading, which is a bold line that begins with a number, and in long output.
func (r *Recording) SVG(title string) []byte {
	shown, total := r.pace()
	width, height := float64(r.columns)*charWidth+2*margin, r.rows*lineHeight+2*margin
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %.0f %d" role="img" aria-label="%s">
<title>%[3]s</title>
<style>
.bg{fill:#fbfaf7;stroke:#d8d4c8}text{font:12px ui-monospace,SFMono-Regular,Menlo,Consolas,"DejaVu Sans Mono",monospace;fill:#24292f;white-space:pre}
.b{font-weight:700}.d{fill:#6e7781}.c31{fill:#b42318}.c32{fill:#1a7f37}.c33{fill:#8a5a00}.c34{fill:#0550ae}.c35{fill:#8250df}.c36{fill:#0e7490}
@media (prefers-color-scheme:dark){.bg{fill:#0f1419;stroke:#2b333b}text{fill:#d6dde4}.d{fill:#8b949e}.c31{fill:#ff8a80}.c32{fill:#56d364}.c33{fill:#e3b341}.c34{fill:#79b8ff}.c35{fill:#d2a8ff}.c36{fill:#56d4dd}}
`, width, height, html.EscapeString(title))
	// Lines that appear together share an animation.
	seconds := total.Seconds()
	percent := func(at time.Duration) float64 { return 100 * at.Seconds() / seconds }
	groups := map[time.Duration]int{}
	for _, at := range shown {
		if _, ok := groups[at]; ok {
			continue
		}
		n := len(groups)
		groups[at] = n
		if at > 0 {
			fmt.Fprintf(&b, "@keyframes k%d{0%%{opacity:0}%.3f%%{opacity:1}}.k%d{animation:k%d %.1fs step-end infinite}\n", n, percent(at), n, n, seconds)
		}
	}
	b.WriteString("@keyframes s{0%{transform:none}")
	for i, at := range shown {
		if i >= r.rows && (i+1 == len(shown) || shown[i+1] != at) {
			fmt.Fprintf(&b, "%.3f%%{transform:translateY(-%dpx)}", percent(at), (i+1-r.rows)*lineHeight)
		}
	}
	last := max(len(shown)-r.rows, 0) * lineHeight
	fmt.Fprintf(&b, "}.s{transform:translateY(-%dpx);animation:s %.1fs step-end infinite}\n", last, seconds)
	b.WriteString("@media (prefers-reduced-motion:reduce){*{animation:none!important}}\n</style>\n")
	fmt.Fprintf(&b, `<rect class="bg" x=".5" y=".5" width="%.0f" height="%d" rx="8"/><clipPath id="v"><rect width="%.0f" height="%d" x="0" y="%d"/></clipPath><g clip-path="url(#v)"><g class="s">`+"\n",
		width-1, height-1, width, r.rows*lineHeight, margin+1)
	for i, l := range r.lines {
		if l.plain() == "" {
			continue
		}
		class := fmt.Sprintf("k%d", groups[shown[i]])
		if l.more {
			class += " more"
		}
		fmt.Fprintf(&b, `<text x="%d" y="%d" class="%s" textLength="%.1f" lengthAdjust="spacingAndGlyphs" xml:space="preserve">`,
			margin, margin+(i+1)*lineHeight-4, class, float64(utf8.RuneCountInString(l.plain()))*charWidth)
		spans(&b, l)
		b.WriteString("</text>\n")
	}
	b.WriteString("</g></g></svg>\n")
	return []byte(b.String())
}

// spans writes the pieces of a line without the spaces at its end.
func spans(b *strings.Builder, l line) {
	room := utf8.RuneCountInString(l.plain())
	for _, s := range l.text {
		text := []rune(s.text)
		if text = text[:min(len(text), room)]; len(text) == 0 {
			return
		}
		room -= len(text)
		var class []string
		if s.style.bold {
			class = append(class, "b")
		}
		if s.style.dim {
			class = append(class, "d")
		}
		if s.style.colour != 0 {
			class = append(class, fmt.Sprintf("c%d", s.style.colour))
		}
		escaped := html.EscapeString(string(text))
		if class == nil {
			b.WriteString(escaped)
			continue
		}
		fmt.Fprintf(b, `<tspan class="%s">%s</tspan>`, strings.Join(class, " "), escaped)
	}
}

// pace is when each line is shown, and how long all of it takes.
func (r *Recording) pace() (shown []time.Duration, total time.Duration) {
	shown = make([]time.Duration, len(r.lines))
	var real time.Duration
	burst, begun := 0, false // lines since the last pause
	for i, l := range r.lines {
		gap := min(l.at-real, longest)
		if l.at > real {
			gap = max(gap, soonest)
		}
		text := l.plain()
		switch {
		case begun && heading.MatchString(text) && slices.ContainsFunc(l.text, func(s span) bool { return s.style.bold }):
			gap = reading
		case burst >= r.rows/2 && !l.more:
			gap = max(gap, turning)
		}
		begun = begun || text != ""
		if burst++; gap >= longest {
			burst = 0
		}
		real = l.at
		total += gap
		shown[i] = total
	}
	return shown, total + resting
}

var (
	textElement = regexp.MustCompile(`(?s)<text ([^>]*)>(.*?)</text>`)
	tag         = regexp.MustCompile(`<[^>]*>`)
)

// TextOf is the text that an SVG of this package shows, a line for each that is not
// empty.
func TextOf(svg []byte) string {
	var b strings.Builder
	for i, m := range textElement.FindAllSubmatch(svg, -1) {
		if i > 0 && !strings.Contains(string(m[1]), ` more"`) {
			b.WriteByte('\n')
		}
		b.WriteString(html.UnescapeString(string(tag.ReplaceAll(m[2], nil))))
	}
	b.WriteByte('\n')
	return b.String()
}
