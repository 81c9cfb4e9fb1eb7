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
	names := make([]string, 0, len(tools))
	for _, t := range tools {
		names = append(names, t.Name)
	}
	return suggest(name, names, "there are no tools")
}

// suggest quotes a name that is not among the known ones and says which of them
// are close to it, or which there are; none is said when there are none.
func suggest(name string, known []string, none string) string {
	type candidate struct {
		name     string
		distance int
	}
	var near []candidate
	for _, k := range known {
		d := distance(strings.ToLower(name), strings.ToLower(k))
		if d <= max(2, len(k)/4) || (len(name) > 2 && strings.Contains(k, name)) {
			near = append(near, candidate{k, d})
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
	if len(known) == 0 {
		return quoted + "; " + none
	}
	more := ""
	if len(known) > maxListed {
		more = fmt.Sprintf(" and %d more", len(known)-maxListed)
	}
	return quoted + "; there are: " + strings.Join(known[:min(len(known), maxListed)], ", ") + more
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
