package cli

import "strings"

// printed is the end of what a tool has printed so far, for showing.
type printed struct {
	attempt int
	text    string
}

// maxPrinted is what is kept of it, in bytes.
const maxPrinted = 8 << 10

// add takes a piece; that of a later attempt begins anew.
func (p *printed) add(attempt int, text string) {
	if attempt > p.attempt {
		p.attempt, p.text = attempt, ""
	}
	if attempt < p.attempt {
		return
	}
	if p.text += text; len(p.text) > maxPrinted {
		p.text = p.text[len(p.text)-maxPrinted:]
	}
}

// last returns the last lines with something on them, safe for a terminal.
func (p *printed) last(n int) []string { return lastLines(p.text, n) }

// lastLines returns the last lines of text that have something on them, as a
// terminal would show them in the end: what was written over by a carriage return
// is gone, and so are colours and other escapes.
func lastLines(text string, n int) []string {
	var out []string
	lines := strings.Split(strings.ReplaceAll(text, "\r\n", "\n"), "\n")
	for i := len(lines) - 1; i >= 0 && len(out) < n; i-- {
		line := strings.TrimRight(lines[i], "\r")
		if at := strings.LastIndexByte(line, '\r'); at >= 0 {
			line = line[at+1:]
		}
		line = strings.TrimRight(strings.ReplaceAll(clean(withoutEscapes(line)), "\t", "    "), " ")
		if line != "" {
			out = append([]string{line}, out...)
		}
	}
	return out
}

// withoutEscapes takes out the escape sequences of terminals (ECMA-48): control
// sequences, and strings like a title or a link.
func withoutEscapes(s string) string {
	if !strings.ContainsRune(s, '\x1b') {
		return s
	}
	var b strings.Builder
	for s != "" {
		at := strings.IndexByte(s, '\x1b')
		if at < 0 {
			b.WriteString(s)
			break
		}
		b.WriteString(s[:at])
		s = s[at+1:]
		if s == "" {
			break
		}
		switch kind := s[0]; kind {
		case '[':
			end := strings.IndexFunc(s[1:], func(r rune) bool { return r >= 0x40 && r <= 0x7e })
			if end < 0 {
				return b.String() // the rest of it is still to come
			}
			s = s[1+end+1:]
		case ']', 'P', 'X', '^', '_':
			end := strings.IndexAny(s, "\a\x1b")
			if end < 0 {
				return b.String()
			}
			if s[end] == '\a' {
				end++
			}
			s = s[end:]
			s = strings.TrimPrefix(s, "\x1b\\")
		default:
			if kind < 0x80 {
				s = s[1:]
			}
		}
	}
	return b.String()
}
