package workspace

import (
	"bytes"
	"fmt"
	"io"
)

// maxEdits bounds the work of comparing two files: beyond that many lines removed and
// added, what lies between the lines they begin and end with is replaced as a whole.
// The memory is its square times 4 bytes.
const maxEdits = 1500

// edit replaces lines a0..a1 of the old file by lines b0..b1 of the new one.
type edit struct{ a0, a1, b0, b1 int }

// splitLines cuts a text after each newline.
func splitLines(b []byte) [][]byte {
	if len(b) == 0 {
		return nil
	}
	lines := bytes.SplitAfter(b, []byte("\n"))
	if len(lines[len(lines)-1]) == 0 {
		lines = lines[:len(lines)-1]
	}
	return lines
}

// compareLines finds the edits that make b of a: the fewest, by Myers' algorithm (An
// O(ND) Difference Algorithm, 1986), unless there are more than maxEdits.
func compareLines(a, b [][]byte) []edit {
	ids := map[string]int{}
	number := func(lines [][]byte) []int {
		out := make([]int, len(lines))
		for i, l := range lines {
			id, ok := ids[string(l)]
			if !ok {
				id = len(ids)
				ids[string(l)] = id
			}
			out[i] = id
		}
		return out
	}
	x, y := number(a), number(b)
	head := 0
	for head < len(x) && head < len(y) && x[head] == y[head] {
		head++
	}
	tail := 0
	for tail < len(x)-head && tail < len(y)-head && x[len(x)-1-tail] == y[len(y)-1-tail] {
		tail++
	}
	x, y = x[head:len(x)-tail], y[head:len(y)-tail]
	if len(x) == 0 && len(y) == 0 {
		return nil
	}
	edits, ok := myers(x, y)
	if !ok {
		edits = []edit{{0, len(x), 0, len(y)}}
	}
	for i := range edits {
		edits[i].a0 += head
		edits[i].a1 += head
		edits[i].b0 += head
		edits[i].b1 += head
	}
	return edits
}

// myers returns the edits in order, or false when there are too many.
func myers(x, y []int) ([]edit, bool) {
	n, m := len(x), len(y)
	limit := min(n+m, maxEdits)
	v := make([]int32, 2*limit+3) // furthest x on diagonal k, at k+limit+1
	off := limit + 1
	var trace [][]int32 // of each d, diagonals -d..d
	found := -1
search:
	for d := 0; d <= limit; d++ {
		for k := -d; k <= d; k += 2 {
			var i int
			if k == -d || k != d && v[off+k-1] < v[off+k+1] {
				i = int(v[off+k+1])
			} else {
				i = int(v[off+k-1]) + 1
			}
			j := i - k
			for i < n && j < m && i >= 0 && j >= 0 && x[i] == y[j] {
				i++
				j++
			}
			v[off+k] = int32(i) //nolint:gosec // lines of a file in memory
			if i >= n && j >= m {
				found = d
				break search
			}
		}
		trace = append(trace, bytes32(v[off-d:off+d+1]))
	}
	if found < 0 {
		return nil, false
	}
	// Walk back from the end, one edit at a time.
	var rev []edit
	i, j := n, m
	for d := found; d > 0; d-- {
		prev := trace[d-1]
		at := func(k int) int32 {
			if k < -(d-1) || k > d-1 {
				return -1
			}
			return prev[k+d-1]
		}
		k := i - j
		var pk int
		if k == -d || k != d && at(k-1) < at(k+1) {
			pk = k + 1
		} else {
			pk = k - 1
		}
		pi := int(at(pk))
		pj := pi - pk
		if pk == k+1 { // down: a line of y was added
			rev = append(rev, edit{pi, pi, pj, pj + 1})
		} else {
			rev = append(rev, edit{pi, pi + 1, pj, pj})
		}
		i, j = pi, pj
	}
	var out []edit
	for q := len(rev) - 1; q >= 0; q-- {
		e := rev[q]
		if l := len(out) - 1; l >= 0 && out[l].a1 == e.a0 && out[l].b1 == e.b0 {
			out[l].a1, out[l].b1 = e.a1, e.b1
			continue
		}
		out = append(out, e)
	}
	return out, true
}

func bytes32(v []int32) []int32 { return append([]int32(nil), v...) }

// contextLines is how many unchanged lines a hunk shows around its changes.
const contextLines = 3

// writeHunks writes the edits in unified form.
func writeHunks(w io.Writer, a, b [][]byte, edits []edit) error {
	for len(edits) > 0 {
		last := 0
		for last+1 < len(edits) && edits[last+1].a0-edits[last].a1 <= 2*contextLines {
			last++
		}
		hunk := edits[:last+1]
		edits = edits[last+1:]
		first, end := hunk[0], hunk[len(hunk)-1]
		before := min(contextLines, first.a0)
		after := min(contextLines, len(a)-end.a1)
		a0, a1 := first.a0-before, end.a1+after
		b0, b1 := first.b0-before, end.b1+after
		if _, err := fmt.Fprintf(w, "@@ -%s +%s @@\n", span(a0, a1), span(b0, b1)); err != nil {
			return err
		}
		at := a0
		for _, e := range hunk {
			for ; at < e.a0; at++ {
				if err := writeLine(w, ' ', a[at]); err != nil {
					return err
				}
			}
			for ; at < e.a1; at++ {
				if err := writeLine(w, '-', a[at]); err != nil {
					return err
				}
			}
			for i := e.b0; i < e.b1; i++ {
				if err := writeLine(w, '+', b[i]); err != nil {
					return err
				}
			}
		}
		for ; at < a1; at++ {
			if err := writeLine(w, ' ', a[at]); err != nil {
				return err
			}
		}
	}
	return nil
}

// span is "line,count" of lines from..to, counted from 1; of none, the line before.
func span(from, to int) string {
	switch n := to - from; n {
	case 0:
		return fmt.Sprintf("%d,0", from)
	case 1:
		return fmt.Sprintf("%d", from+1)
	default:
		return fmt.Sprintf("%d,%d", from+1, n)
	}
}

func writeLine(w io.Writer, mark byte, line []byte) error {
	b := make([]byte, 0, len(line)+32)
	b = append(append(b, mark), line...)
	if line[len(line)-1] != '\n' {
		b = append(b, "\n\\ No newline at end of file\n"...)
	}
	_, err := w.Write(b)
	return err
}
