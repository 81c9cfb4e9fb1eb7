package hand

import (
	"fmt"
	"strings"
)

const (
	diffContext = 3
	// maxDistance bounds the work of a comparison: texts that differ in more lines
	// are shown as one change.
	maxDistance = 400
)

// unified is the difference of two texts in the unified format, without the names
// of files, at most maximum bytes long.
func unified(old, text string, maximum int) string {
	a, b := strings.SplitAfter(old, "\n"), strings.SplitAfter(text, "\n")
	a, b = withoutEmpty(a), withoutEmpty(b)
	script := compare(a, b)
	var out strings.Builder
	for i := 0; i < len(script); {
		if script[i].op == ' ' {
			i++
			continue
		}
		from := max(0, i-diffContext)
		end, quiet := i, 0
		for j := i; j < len(script) && quiet <= 2*diffContext; j++ {
			if script[j].op == ' ' {
				quiet++
			} else {
				quiet, end = 0, j+1
			}
		}
		to := min(len(script), end+diffContext)
		hunk(&out, script[from:to], a, b)
		i = to
		if out.Len() > maximum {
			break
		}
	}
	s := strings.ToValidUTF8(out.String(), "\uFFFD")
	if len(s) > maximum {
		s = cut(s, maximum)
		s = s[:strings.LastIndexByte(s, '\n')+1] + "[the rest of the difference is left out]\n"
	}
	return strings.TrimSuffix(s, "\n")
}

func withoutEmpty(lines []string) []string {
	if n := len(lines); n > 0 && lines[n-1] == "" {
		return lines[:n-1]
	}
	return lines
}

// step is one line of a difference: ' ' in both, '-' in the old, '+' in the new.
// old and now are the numbers of the lines before it.
type step struct {
	op       byte
	old, now int
}

func hunk(out *strings.Builder, steps []step, a, b []string) {
	removed, added := 0, 0
	for _, s := range steps {
		if s.op != '+' {
			removed++
		}
		if s.op != '-' {
			added++
		}
	}
	first := func(at, n int) int { // a range of no lines is named by the line before it
		if n == 0 {
			return at
		}
		return at + 1
	}
	fmt.Fprintf(out, "@@ -%d,%d +%d,%d @@\n", first(steps[0].old, removed), removed, first(steps[0].now, added), added)
	for _, s := range steps {
		from := a
		at := s.old
		if s.op == '+' {
			from, at = b, s.now
		}
		text, ended := strings.CutSuffix(from[at], "\n")
		text = strings.TrimSuffix(text, "\r")
		if len(text) > maxLine {
			text = cut(text, maxLine) + "…"
		}
		out.WriteByte(s.op)
		out.WriteString(text)
		out.WriteByte('\n')
		if !ended {
			out.WriteString("\\ No newline at end of file\n")
		}
	}
}

// compare finds a shortest script from a to b (E. Myers, "An O(ND) Difference
// Algorithm and Its Variations", 1986), after the lines that are the same at both
// ends were set aside.
func compare(a, b []string) []step {
	head := 0
	for head < len(a) && head < len(b) && a[head] == b[head] {
		head++
	}
	tail := 0
	for tail < len(a)-head && tail < len(b)-head && a[len(a)-1-tail] == b[len(b)-1-tail] {
		tail++
	}
	script := make([]step, 0, len(a)+8)
	for i := range head {
		script = append(script, step{' ', i, i})
	}
	script = append(script, middle(a, b, head, len(a)-tail, len(b)-tail)...)
	for i := range tail {
		script = append(script, step{' ', len(a) - tail + i, len(b) - tail + i})
	}
	return script
}

// middle compares a[head:aEnd] with b[head:bEnd].
func middle(a, b []string, head, aEnd, bEnd int) []step {
	n, m := aEnd-head, bEnd-head
	limit := min(n+m, maxDistance)
	v := make([]int, 2*limit+3)
	at := limit + 1
	var trace [][]int
	found := -1
search:
	for d := 0; d <= limit; d++ {
		trace = append(trace, append([]int(nil), v...))
		for k := -d; k <= d; k += 2 {
			x := v[at+k-1] + 1
			if k == -d || k != d && v[at+k-1] < v[at+k+1] {
				x = v[at+k+1]
			}
			y := x - k
			for x < n && y < m && a[head+x] == b[head+y] {
				x, y = x+1, y+1
			}
			v[at+k] = x
			if x >= n && y >= m {
				found = d
				break search
			}
		}
	}
	var steps []step
	if found < 0 { // too different: all of one, then all of the other
		for i := range n {
			steps = append(steps, step{'-', head + i, head})
		}
		for i := range m {
			steps = append(steps, step{'+', head + n, head + i})
		}
		return steps
	}
	x, y := n, m
	for d := found; d >= 0; d-- {
		v := trace[d]
		k := x - y
		from := k - 1
		if k == -d || k != d && v[at+k-1] < v[at+k+1] {
			from = k + 1
		}
		px := v[at+from]
		py := px - from
		if d == 0 {
			px, py = 0, 0
		}
		for x > px && y > py {
			x, y = x-1, y-1
			steps = append(steps, step{' ', head + x, head + y})
		}
		if d > 0 {
			if x == px {
				y--
				steps = append(steps, step{'+', head + x, head + y})
			} else {
				x--
				steps = append(steps, step{'-', head + x, head + y})
			}
		}
	}
	for i, j := 0, len(steps)-1; i < j; i, j = i+1, j-1 {
		steps[i], steps[j] = steps[j], steps[i]
	}
	return steps
}
