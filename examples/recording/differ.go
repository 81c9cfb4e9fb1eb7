package recording

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

var (
	ids     = regexp.MustCompile(`\b(ses|run|ask|eff|inp)_[0-9A-HJKMNP-TV-Z]{26}\b`)
	hashes  = regexp.MustCompile(`\b[0-9a-f]{7,64}\b`)
	lengths = regexp.MustCompile(`\b([0-9.]+(ms|µs|s|m|h))+\b`)
	numbers = regexp.MustCompile(`[0-9][0-9,.:]*`)
)

// masked are the lines of a text, without empty ones, with ids, hashes, times and
// numbers replaced and spaces evened out: what is the same in every run. Between two
// headings they are sorted, because what goes on at once is told in any order.
func masked(text string) [][]string {
	parts := [][]string{nil}
	for l := range strings.SplitSeq(text, "\n") {
		head := heading.MatchString(l)
		l = ids.ReplaceAllString(l, "${1}_…")
		l = hashes.ReplaceAllStringFunc(l, func(s string) string {
			if strings.ContainsAny(s, "0123456789") {
				return "#"
			}
			return s
		})
		l = lengths.ReplaceAllString(l, "#")
		l = numbers.ReplaceAllString(l, "#")
		if l = strings.Join(strings.Fields(l), " "); l == "" {
			continue
		}
		if head {
			parts = append(parts, nil)
		}
		parts[len(parts)-1] = append(parts[len(parts)-1], l)
	}
	for _, p := range parts {
		slices.Sort(p)
	}
	return parts
}

// Differ says how two texts differ in what is the same in every run; empty: they do
// not.
func Differ(want, got string) string {
	w, g := masked(want), masked(got)
	var b strings.Builder
	for i := range max(len(w), len(g)) {
		var x, y []string
		if i < len(w) {
			x = w[i]
		}
		if i < len(g) {
			y = g[i]
		}
		for _, l := range without(x, y) {
			fmt.Fprintf(&b, "- %s\n", l)
		}
		for _, l := range without(y, x) {
			fmt.Fprintf(&b, "+ %s\n", l)
		}
	}
	return b.String()
}

// without are the lines of one list that the other has not, or not as often.
func without(lines, other []string) []string {
	count := map[string]int{}
	for _, l := range other {
		count[l]++
	}
	var out []string
	for _, l := range lines {
		if count[l]--; count[l] < 0 {
			out = append(out, l)
		}
	}
	return out
}
