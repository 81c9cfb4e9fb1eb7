package swe

import (
	"regexp"
	"strconv"
	"strings"
)

// window is what the recorded editor showed of a file.
type window struct {
	path  string
	total int            // lines of the file
	lines map[int]string // by number, from 1
	from  int            // the first that is shown
	to    int            // the last
}

var (
	windowHead = regexp.MustCompile(`(?m)^\[File: (.+) \((\d+) lines total\)\]$`)
	windowLine = regexp.MustCompile(`^(\d+):(.*)$`)
	// windowNote are the lines between those of the file.
	windowNote = regexp.MustCompile(`^(\(\d+ more lines (above|below)\)|<<<<< (START|END) CURSOR >>>>>)$`)
)

// maxLines bounds the lines of a file that was shown.
const maxLines = 100_000

// shown finds the first window of an observation.
func shown(observation string) (window, bool) {
	m := windowHead.FindStringSubmatchIndex(observation)
	if m == nil {
		return window{}, false
	}
	w := window{path: observation[m[2]:m[3]], lines: map[int]string{}}
	var err error
	if w.total, err = strconv.Atoi(observation[m[4]:m[5]]); err != nil || w.total > maxLines {
		return window{}, false
	}
	for l := range strings.SplitSeq(strings.TrimPrefix(observation[m[1]:], "\n"), "\n") {
		p := windowLine.FindStringSubmatch(l)
		if p == nil {
			if windowNote.MatchString(l) {
				continue
			}
			break
		}
		n, err := strconv.Atoi(p[1])
		if err != nil || n < 1 || n > w.total || (w.to > 0 && n != w.to+1) {
			break
		}
		if w.from == 0 {
			w.from = n
		}
		w.to, w.lines[n] = n, p[2]
	}
	return w, w.from > 0
}

// numbered finds the lines that a result of the read tool, or of lines.py, shows:
// a number, a tab or a colon, the line.
var resultLine = regexp.MustCompile(`^ *(\d+)[\t:](.*)$`)

func numbered(text string) map[int]string {
	out := map[int]string{}
	for l := range strings.SplitSeq(text, "\n") {
		if p := resultLine.FindStringSubmatch(l); p != nil {
			if n, err := strconv.Atoi(p[1]); err == nil {
				out[n] = p[2]
			}
		}
	}
	return out
}
