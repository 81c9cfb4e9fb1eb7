package tool

import (
	"fmt"
	"slices"
	"strings"

	"github.com/cairn-run/cairn"
)

const (
	maxClose   = 3  // names that are suggested
	maxListed  = 12 // names that are listed when none is close
	maxCompare = 64 // letters that are compared
)

// unknownName quotes a name that no tool has and says which names are close to it,
// or which there are.
func unknownName(name string, tools []cairn.ToolSpec) string {
	type candidate struct {
		name     string
		distance int
	}
	var near []candidate
	for _, t := range tools {
		d := distance(strings.ToLower(name), strings.ToLower(t.Name))
		if d <= max(2, len(t.Name)/4) || (len(name) > 2 && strings.Contains(t.Name, name)) {
			near = append(near, candidate{t.Name, d})
		}
	}
	slices.SortFunc(near, func(a, b candidate) int {
		if a.distance != b.distance {
			return a.distance - b.distance
		}
		return strings.Compare(a.name, b.name)
	})
	quoted := fmt.Sprintf("%q", name)
	if len(name) > 2*maxCompare {
		quoted = fmt.Sprintf("%q…", strings.ToValidUTF8(name[:2*maxCompare], ""))
	}
	if len(near) > 0 {
		names := make([]string, 0, maxClose)
		for _, c := range near[:min(len(near), maxClose)] {
			names = append(names, c.name)
		}
		return quoted + "; did you mean " + strings.Join(names, " or ") + "?"
	}
	if len(tools) == 0 {
		return quoted + "; there are no tools"
	}
	names := make([]string, 0, maxListed)
	for _, t := range tools[:min(len(tools), maxListed)] {
		names = append(names, t.Name)
	}
	more := ""
	if len(tools) > maxListed {
		more = fmt.Sprintf(" and %d more", len(tools)-maxListed)
	}
	return quoted + "; there are: " + strings.Join(names, ", ") + more
}

// distance is the number of letters to insert, delete or replace (Levenshtein);
// long names are compared by their start.
func distance(a, b string) int {
	a, b = a[:min(len(a), maxCompare)], b[:min(len(b), maxCompare)]
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range a {
		before := row[0]
		row[0] = i + 1
		for j := range b {
			cost := before
			if a[i] != b[j] {
				cost++
			}
			before = row[j+1]
			row[j+1] = min(row[j+1]+1, row[j]+1, cost)
		}
	}
	return row[len(b)]
}
