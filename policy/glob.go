package policy

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// maxGlob bounds the length of one glob, in bytes.
const maxGlob = 1024

// Glob is a compiled pattern: '*' stands for any characters (none too, line
// ends and slashes too), '?' for one character, and a backslash takes the
// character after it as it is. A glob matches the whole of a text.
//
// The pieces between the stars are looked for from left to right and never
// looked for again, so the time is at most the length of the text times the
// length of the glob, whatever either of them holds.
type Glob struct {
	text   string
	pieces [][]rune // between the stars; anyRune is '?'
}

// anyRune stands for '?' in a piece: no text holds it.
const anyRune rune = -1

// CompileGlob reads a glob; an error says what is wrong with it.
func CompileGlob(s string) (Glob, error) {
	if len(s) > maxGlob {
		return Glob{}, fmt.Errorf("a glob is longer than %d bytes", maxGlob)
	}
	if !utf8.ValidString(s) {
		return Glob{}, fmt.Errorf("the glob %q is not UTF-8", s)
	}
	g := Glob{text: s, pieces: [][]rune{nil}}
	last := 0
	runes := []rune(s)
	for i := 0; i < len(runes); i++ {
		r := runes[i]
		switch r {
		case '*':
			g.pieces = append(g.pieces, nil)
			last++
			continue
		case '?':
			r = anyRune
		case '\\':
			if i++; i == len(runes) {
				return Glob{}, fmt.Errorf("the glob %q ends with a backslash; write \\\\ for a backslash", s)
			}
			r = runes[i]
		}
		g.pieces[last] = append(g.pieces[last], r)
	}
	return g, nil
}

// String is the text the glob was compiled from.
func (g Glob) String() string { return g.text }

// Match says whether the glob matches all of s.
func (g Glob) Match(s string) bool {
	if len(g.pieces) == 0 { // the zero glob
		return s == ""
	}
	first := g.pieces[0]
	n, ok := prefix(s, first)
	if !ok {
		return false
	}
	s = s[n:]
	if len(g.pieces) == 1 {
		return s == ""
	}
	for _, piece := range g.pieces[1 : len(g.pieces)-1] {
		if len(piece) == 0 {
			continue
		}
		end, ok := find(s, piece)
		if !ok {
			return false
		}
		s = s[end:]
	}
	last := g.pieces[len(g.pieces)-1]
	start := len(s)
	for range last {
		if start == 0 {
			return false
		}
		_, size := utf8.DecodeLastRuneInString(s[:start])
		start -= size
	}
	n, ok = prefix(s[start:], last)
	return ok && start+n == len(s)
}

// prefix says whether s starts with the piece, and how many bytes it takes.
func prefix(s string, piece []rune) (int, bool) {
	n := 0
	for _, want := range piece {
		if n == len(s) {
			return 0, false
		}
		r, size := utf8.DecodeRuneInString(s[n:])
		if want != anyRune && r != want {
			return 0, false
		}
		n += size
	}
	return n, true
}

// find returns where the first occurrence of the piece in s ends.
func find(s string, piece []rune) (int, bool) {
	if literal, ok := literal(piece); ok {
		i := strings.Index(s, literal)
		return i + len(literal), i >= 0
	}
	for i := 0; i < len(s); {
		if n, ok := prefix(s[i:], piece); ok {
			return i + n, true
		}
		_, size := utf8.DecodeRuneInString(s[i:])
		i += size
	}
	return 0, false
}

func literal(piece []rune) (string, bool) {
	for _, r := range piece {
		if r == anyRune {
			return "", false
		}
	}
	return string(piece), true
}
