package cli

import (
	"fmt"
	"io"
	"strings"
)

// table prints columns as wide as what is in them. Colours do not count.
type table struct {
	head []string
	rows [][]string
	// right are the columns of numbers.
	right map[int]bool
}

func (t *table) add(cells ...string) { t.rows = append(t.rows, cells) }

// print writes the table, its head dimmed.
func (t *table) print(w io.Writer, s style) {
	width := make([]int, len(t.head))
	for i, h := range t.head {
		width[i] = columns(h)
	}
	for _, r := range t.rows {
		for i, c := range r {
			width[i] = max(width[i], columns(c))
		}
	}
	line := func(cells []string, paint func(string) string) {
		var b strings.Builder
		for i, c := range cells {
			pad := strings.Repeat(" ", width[i]-columns(c))
			switch {
			case t.right[i]:
				b.WriteString(pad + paint(c))
			case i == len(cells)-1:
				b.WriteString(paint(c))
			default:
				b.WriteString(paint(c) + pad)
			}
			if i < len(cells)-1 {
				b.WriteString("  ")
			}
		}
		fmt.Fprintln(w, strings.TrimRight(b.String(), " "))
	}
	line(t.head, s.dim)
	for _, r := range t.rows {
		line(r, func(c string) string { return c })
	}
}
