package cli

import (
	"sort"
	"strings"
	"unicode"
	"unicode/utf8"
)

// wide are the ranges of characters that take two columns: East Asian Wide and
// Fullwidth of Unicode 16 (EastAsianWidth.txt), which hold the emoji that are shown
// as pictures. Unassigned characters inside a block of wide ones count as wide.
var wide = [...][2]rune{
	{0x1100, 0x115f},
	{0x231a, 0x231b},
	{0x2329, 0x232a},
	{0x23e9, 0x23ec},
	{0x23f0, 0x23f0},
	{0x23f3, 0x23f3},
	{0x25fd, 0x25fe},
	{0x2614, 0x2615},
	{0x2630, 0x2637},
	{0x2648, 0x2653},
	{0x267f, 0x267f},
	{0x268a, 0x268f},
	{0x2693, 0x2693},
	{0x26a1, 0x26a1},
	{0x26aa, 0x26ab},
	{0x26bd, 0x26be},
	{0x26c4, 0x26c5},
	{0x26ce, 0x26ce},
	{0x26d4, 0x26d4},
	{0x26ea, 0x26ea},
	{0x26f2, 0x26f3},
	{0x26f5, 0x26f5},
	{0x26fa, 0x26fa},
	{0x26fd, 0x26fd},
	{0x2705, 0x2705},
	{0x270a, 0x270b},
	{0x2728, 0x2728},
	{0x274c, 0x274c},
	{0x274e, 0x274e},
	{0x2753, 0x2755},
	{0x2757, 0x2757},
	{0x2795, 0x2797},
	{0x27b0, 0x27b0},
	{0x27bf, 0x27bf},
	{0x2b1b, 0x2b1c},
	{0x2b50, 0x2b50},
	{0x2b55, 0x2b55},
	{0x2e80, 0x303e},
	{0x3041, 0x3247},
	{0x3250, 0xa4cf},
	{0xa960, 0xa97c},
	{0xac00, 0xd7a3},
	{0xf900, 0xfaff},
	{0xfe10, 0xfe19},
	{0xfe30, 0xfe6b},
	{0xff01, 0xff60},
	{0xffe0, 0xffe6},
	{0x16fe0, 0x18d08},
	{0x1aff0, 0x1b2fb},
	{0x1d300, 0x1d356},
	{0x1d360, 0x1d376},
	{0x1f004, 0x1f004},
	{0x1f0cf, 0x1f0cf},
	{0x1f18e, 0x1f18e},
	{0x1f191, 0x1f19a},
	{0x1f200, 0x1f320},
	{0x1f32d, 0x1f335},
	{0x1f337, 0x1f37c},
	{0x1f37e, 0x1f393},
	{0x1f3a0, 0x1f3ca},
	{0x1f3cf, 0x1f3d3},
	{0x1f3e0, 0x1f3f0},
	{0x1f3f4, 0x1f3f4},
	{0x1f3f8, 0x1f43e},
	{0x1f440, 0x1f440},
	{0x1f442, 0x1f4fc},
	{0x1f4ff, 0x1f53d},
	{0x1f54b, 0x1f54e},
	{0x1f550, 0x1f567},
	{0x1f57a, 0x1f57a},
	{0x1f595, 0x1f596},
	{0x1f5a4, 0x1f5a4},
	{0x1f5fb, 0x1f64f},
	{0x1f680, 0x1f6c5},
	{0x1f6cc, 0x1f6cc},
	{0x1f6d0, 0x1f6d2},
	{0x1f6d5, 0x1f6d7},
	{0x1f6dc, 0x1f6df},
	{0x1f6eb, 0x1f6ec},
	{0x1f6f4, 0x1f6fc},
	{0x1f7e0, 0x1f7eb},
	{0x1f7f0, 0x1f7f0},
	{0x1f90c, 0x1f93a},
	{0x1f93c, 0x1f945},
	{0x1f947, 0x1f9ff},
	{0x1fa70, 0x1faff},
	{0x20000, 0x2fffd},
	{0x30000, 0x3fffd},
}

// runeWidth is how many columns a character takes on a terminal.
func runeWidth(r rune) int {
	switch {
	case r < 0x300:
		if r < 0x20 || r >= 0x7f && r < 0xa0 || r == 0xad {
			return 0
		}
		return 1
	case unicode.In(r, unicode.Mn, unicode.Me, unicode.Cf), r >= 0x1160 && r <= 0x11ff:
		return 0 // it is put on the character before it
	}
	i := sort.Search(len(wide), func(i int) bool { return wide[i][1] >= r })
	if i < len(wide) && wide[i][0] <= r {
		return 2
	}
	return 1
}

// columns is how many columns text takes. Colours take none.
func columns(s string) int {
	n := 0
	each(s, func(_ string, width int) bool {
		n += width
		return true
	})
	return n
}

// each yields a text's characters, and its colours as one of no width.
func each(s string, yield func(piece string, width int) bool) {
	for s != "" {
		if strings.HasPrefix(s, "\x1b[") {
			if end := strings.IndexByte(s, 'm'); end > 0 {
				if !yield(s[:end+1], 0) {
					return
				}
				s = s[end+1:]
				continue
			}
		}
		r, size := utf8.DecodeRuneInString(s)
		if !yield(s[:size], runeWidth(r)) {
			return
		}
		s = s[size:]
	}
}

// fit cuts text to so many columns. A colour that was begun is ended.
func fit(s string, most int) string {
	if columns(s) <= most {
		return s
	}
	if most <= 0 {
		return ""
	}
	var b strings.Builder
	n, coloured := 0, false
	each(s, func(piece string, width int) bool {
		if n+width > most-1 {
			return false
		}
		if piece[0] == '\x1b' {
			coloured = piece != reset
		}
		n += width
		b.WriteString(piece)
		return true
	})
	b.WriteString("…")
	if coloured {
		b.WriteString(reset)
	}
	return b.String()
}

// fitTail keeps the last columns of text that holds no colours.
func fitTail(s string, most int) string {
	over := columns(s) - most
	if over <= 0 {
		return s
	}
	if most <= 0 {
		return ""
	}
	skipped, at := 0, 0
	each(s, func(piece string, width int) bool {
		if skipped > over { // one more makes room for the mark
			return false
		}
		skipped += width
		at += len(piece)
		return true
	})
	return "…" + s[at:]
}

// wrapped breaks text at spaces into lines of so many columns, and keeps the line
// breaks and the indentation it has. A word that is longer than a line stays whole:
// the terminal breaks it, and it can be copied.
func wrapped(text string, most int) []string {
	var out []string
	for line := range strings.SplitSeq(strings.ReplaceAll(text, "\t", "    "), "\n") {
		line = strings.TrimRight(line, " ")
		if columns(line) <= most {
			out = append(out, line)
			continue
		}
		indent := line[:len(line)-len(strings.TrimLeft(line, " "))]
		if len(indent) > most/2 {
			indent = ""
		}
		current, used := indent, len(indent)
		for i, w := range strings.Fields(line) {
			n := columns(w)
			switch {
			case i == 0:
			case used+1+n > most:
				out = append(out, current)
				current, used = indent, len(indent)
			default:
				current += " "
				used++
			}
			current += w
			used += n
		}
		out = append(out, current)
	}
	return out
}
