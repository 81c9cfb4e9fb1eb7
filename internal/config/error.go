package config

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// Error is what is wrong with a file, and where.
type Error struct {
	File    string // as it was given to [Parse]
	Line    int    // from 1
	Column  int    // from 1, in characters
	Problem string // what is wrong and what was expected
	Source  string // the text of the line
}

// maxSource bounds how much of a line is shown, in characters.
const maxSource = 120

// Error implements error: the place and the problem on the first line, then
// the line of the file with a mark under the place.
func (e *Error) Error() string {
	head := fmt.Sprintf("%s:%d:%d: %s", e.File, e.Line, e.Column, e.Problem)
	if strings.TrimSpace(e.Source) == "" {
		return head
	}
	source, column := window(e.Source, e.Column)
	number := fmt.Sprintf("%5d", e.Line)
	// Tabs stay tabs under the line, so that the mark stands where the eye sees it.
	var pad strings.Builder
	for i, c := range []rune(source) {
		if i >= column-1 {
			break
		}
		if c == '\t' {
			pad.WriteByte('\t')
		} else {
			pad.WriteByte(' ')
		}
	}
	return fmt.Sprintf("%s\n%s | %s\n%s | %s^", head, number, source, strings.Repeat(" ", len(number)), pad.String())
}

// window cuts a long line to the part around a column.
func window(source string, column int) (string, int) {
	runes := []rune(strings.TrimRight(source, " \t\r"))
	for i, r := range runes {
		if r != '\t' && (r < ' ' || r == 0x7f || r == utf8.RuneError) {
			runes[i] = '?' // control characters do not reach a terminal
		}
	}
	if len(runes) <= maxSource {
		return string(runes), min(column, len(runes)+1)
	}
	from := max(0, min(column-1-maxSource/2, len(runes)-maxSource))
	return string(runes[from : from+maxSource]), min(column-from, maxSource+1)
}

// at makes an error at a place of the file; the zero place means the whole file.
func (s *source) at(p place, format string, args ...any) *Error {
	if p.Line < 1 {
		p = place{Line: 1, Column: 1}
	}
	e := &Error{File: s.name, Line: p.Line, Column: max(p.Column, 1), Problem: fmt.Sprintf(format, args...)}
	if p.Line <= len(s.lines) {
		e.Source = s.lines[p.Line-1]
	}
	return e
}

// source is a file being read.
type source struct {
	name  string
	what  string // "an agent file", for messages
	lines []string
}
