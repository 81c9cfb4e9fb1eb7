package hand

import (
	"bufio"
	"strings"
)

// Apply makes one replacement.
func Apply(body, old, text string, all bool) (string, int, error) {
	return apply(body, "f", []replacement{{old, text, all}})
}

// Unified is the difference that an edit shows.
func Unified(old, text string) string { return unified(old, text, maxDiff) }

// Fits says whether a path fits a glob.
func Fits(glob, p string) (bool, error) {
	g, err := compileGlobs([]string{glob})
	return g.match(p), err
}

// Compare is a shortest script between two lists of lines.
func Compare(a, b []string) (script []byte, old, now []int) {
	for _, s := range compare(a, b) {
		script, old, now = append(script, s.op), append(old, s.old), append(now, s.now)
	}
	return script, old, now
}

// Ignored says whether the text of a .gitignore file in / leaves a file out.
func Ignored(text, p string) bool {
	return parseIgnores(strings.NewReader(text), "/", nil).ignored("/"+p, false)
}

// ReadText is what read shows of a text when at most about scan bytes are looked at.
func ReadText(text string, offset, limit int, scan int64) (string, error) {
	s, err := readLines(bufio.NewReader(strings.NewReader(text)), offset, limit, 1<<20, scan)
	if err != nil {
		return "", err
	}
	r, err := s.response(readFacts{Path: "f", Bytes: int64(len(text))}, offset)
	return r.Text, err
}
