package hand

import (
	"fmt"
	"strings"
)

// looksNumbered says whether every line of a text begins as read shows lines.
func looksNumbered(s string) bool {
	lines := strings.Split(strings.TrimSuffix(s, "\n"), "\n")
	for _, line := range lines {
		digits := strings.TrimLeft(line, " ")
		rest := strings.TrimLeft(digits, "0123456789")
		if len(rest) == len(digits) || !strings.HasPrefix(rest, "\t") {
			return false
		}
	}
	return true
}

// typographic are characters that are often written one for the other.
var typographic = strings.NewReplacer(
	"\u2018", "'", "\u2019", "'", "\u201c", `"`, "\u201d", `"`, "\u2013", "-", "\u2014", "-", "\u2212", "-",
	"\u00a0", " ", "\u202f", " ", "\u2026", "...",
)

// missing says why a text is not there, as far as can be seen: the lines nearest to
// it, and in what they differ.
func missing(body, old string) string {
	if looksNumbered(old) {
		return " It begins with line numbers as read shows them: leave them out."
	}
	if body == "" {
		return " The file is empty."
	}
	if strings.Contains(old, "\uFFFD") && !isPlain(body) {
		return " It holds U+FFFD, which stands for bytes of the file that are no UTF-8: edit text without them, or change those bytes with a program in bash."
	}
	if i := strings.Index(strings.ToLower(body), strings.ToLower(old)); i >= 0 && len(strings.ToLower(body)) == len(body) {
		return fmt.Sprintf(" It stands in line %d with other upper and lower case letters.", 1+strings.Count(body[:i], "\n"))
	}
	lines := splitLines(body)
	want := splitLines(old)
	if at := find(lines, want, squeeze); at >= 0 {
		return fmt.Sprintf(" It differs from %s in white space only%s:\n%s", rangeOf(at, len(want)), whiteSpace(lines[at:], want), excerpt(lines, at, len(want)))
	}
	if at := find(lines, want, func(s string) string { return squeeze(typographic.Replace(s)) }); at >= 0 {
		return fmt.Sprintf(" It differs from %s in quotes, dashes or spaces that only look alike:\n%s", rangeOf(at, len(want)), excerpt(lines, at, len(want)))
	}
	if at := nearest(lines, want); at >= 0 {
		return " Nearest to it:\n" + excerpt(lines, at, len(want))
	}
	return " Nothing in the file is like it; read the file again."
}

// maxNearLines and maxNearWindow bound the lines that are compared.
const (
	maxNearLines  = 20_000
	maxNearWindow = 40
	maxExcerpt    = 12
)

func splitLines(s string) []string {
	s = strings.TrimSuffix(s, "\n")
	lines := strings.SplitN(s, "\n", maxNearLines+1)
	if len(lines) > maxNearLines {
		lines = lines[:maxNearLines]
	}
	for i := range lines {
		lines[i] = strings.TrimSuffix(lines[i], "\r")
	}
	return lines
}

// squeeze leaves white space out.
func squeeze(s string) string { return strings.Join(strings.Fields(s), "") }

// find looks for lines that are the same in another form; -1: there are none.
func find(lines, want []string, form func(string) string) int {
	wanted, empty := make([]string, len(want)), true
	for i, w := range want {
		wanted[i] = form(w)
		empty = empty && wanted[i] == ""
	}
	if empty {
		return -1
	}
	formed := make([]string, len(lines))
	for i, line := range lines {
		formed[i] = form(line)
	}
	for i := 0; i+len(wanted) <= len(formed); i++ {
		same := true
		for j, w := range wanted {
			// The ends of what is looked for may lie inside a line.
			switch have := formed[i+j]; {
			case len(wanted) == 1:
				same = strings.Contains(have, w)
			case j == 0:
				same = strings.HasSuffix(have, w)
			case j == len(wanted)-1:
				same = strings.HasPrefix(have, w)
			default:
				same = have == w
			}
			if !same {
				break
			}
		}
		if same {
			return i
		}
	}
	return -1
}

// nearest finds the window of lines that is most like the wanted ones: around those
// lines that are like the longest of them. -1: nothing is like it.
func nearest(lines, want []string) int {
	anchor := 0
	for i, w := range want {
		if len(strings.TrimSpace(w)) > len(strings.TrimSpace(want[anchor])) {
			anchor = i
		}
	}
	text := cut(strings.TrimSpace(want[anchor]), 200)
	best, bestScore := -1, 0
	scores := make([]int, len(lines))
	top := 0
	for i, line := range lines {
		scores[i] = likeness(text, cut(strings.TrimSpace(line), 200))
		top = max(top, scores[i])
	}
	if top < 40 {
		return -1
	}
	tried := 0
	for i, s := range scores {
		if s < top-15 {
			continue
		}
		if tried++; tried > 200 {
			break
		}
		at, sum := max(0, i-anchor), 0
		for j := range min(len(want), maxNearWindow) {
			if at+j < len(lines) {
				sum += likeness(cut(strings.TrimSpace(want[j]), 200), cut(strings.TrimSpace(lines[at+j]), 200))
			}
		}
		if sum > bestScore || best < 0 {
			best, bestScore = at, sum
		}
	}
	return best
}

func rangeOf(at, n int) string {
	if n == 1 {
		return fmt.Sprintf("line %d", at+1)
	}
	return fmt.Sprintf("lines %d to %d", at+1, at+n)
}

// whiteSpace says in what the first line that differs does so: how it is indented,
// or what stands at its end.
func whiteSpace(lines, want []string) string {
	for i, w := range want {
		if i >= len(lines) || lines[i] == w {
			continue
		}
		have, asked := indent(lines[i]), indent(w)
		switch {
		case have != asked && i > 0 || have != asked && len(want) == 1 && !strings.Contains(lines[i], w):
			return fmt.Sprintf(" (line indented with %q in the file, %q in old_text)", have, asked)
		case strings.TrimRight(lines[i], " \t") == strings.TrimRight(w, " \t"):
			return fmt.Sprintf(" (line end: %q in the file, %q in old_text)", trailing(lines[i]), trailing(w))
		}
	}
	return ""
}

func indent(s string) string   { return s[:len(s)-len(strings.TrimLeft(s, " \t"))] }
func trailing(s string) string { return s[len(strings.TrimRight(s, " \t")):] }

func excerpt(lines []string, at, n int) string {
	var b strings.Builder
	end := min(at+min(n, maxExcerpt), len(lines))
	for i := at; i < end; i++ {
		line := strings.ToValidUTF8(lines[i], "\uFFFD")
		if len(line) > 300 {
			line = cut(line, 300) + "…"
		}
		numbered(&b, i+1, line)
	}
	if n > maxExcerpt {
		b.WriteString("   ...\n")
	}
	return strings.TrimSuffix(b.String(), "\n")
}
