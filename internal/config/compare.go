package config

import (
	"encoding/json"
	"strings"

	"github.com/rogpeppe/go-internal/diff"
)

// Change is one field in which two definitions differ.
type Change struct {
	// Field is the name of the field; of a skill "skills.pdf" and of a file in
	// it "skills.pdf/SKILL.md".
	Field string `json:"field"`
	// Old and New are the values, and absent where there is none. Those of skills are
	// left out: Diff has what differs.
	Old json.RawMessage `json:"old,omitempty"`
	New json.RawMessage `json:"new,omitempty"`
	// Diff is the unified difference of the field as [Readable] writes it, without the
	// names of files.
	Diff string `json:"diff"`
}

// Compare says field by field how two definitions, as canonical JSON, differ.
// An empty old definition has no fields.
func Compare(before, after []byte) ([]Change, error) {
	a, err := sides(before)
	if err != nil {
		return nil, err
	}
	b, err := sides(after)
	if err != nil {
		return nil, err
	}
	var changes []Change
	for _, name := range merge(a.names, b.names) {
		if d := Diff(a.text[name], b.text[name]); d != "" {
			changes = append(changes, Change{Field: name, Old: a.raw[name], New: b.raw[name], Diff: d})
		}
	}
	return changes, nil
}

// Diff is the unified difference of two texts without the names of files; empty: they
// are the same.
func Diff(before, after string) string {
	d := string(diff.Diff("a", []byte(before), "b", []byte(after)))
	for range 3 { // "diff a b", "--- a", "+++ b"
		_, d, _ = strings.Cut(d, "\n")
	}
	return d
}

// side is a definition taken apart for a comparison.
type side struct {
	names []string
	text  map[string]string
	raw   map[string]json.RawMessage
}

func sides(definition []byte) (side, error) {
	s := side{text: map[string]string{}, raw: map[string]json.RawMessage{}}
	if len(definition) == 0 {
		return s, nil
	}
	sections, err := Readable(definition)
	if err != nil {
		return s, err
	}
	if err := json.Unmarshal(definition, &s.raw); err != nil {
		return s, err
	}
	add := func(name, text string) {
		s.names = append(s.names, name)
		s.text[name] = text
	}
	for _, section := range sections {
		if section.Name != "skills" {
			add(section.Name, section.Text)
			continue
		}
		for _, skill := range skillsIn(s.raw["skills"]) {
			name := "skills." + skill.Name
			add(name, "name: "+scalarText(skill.Name)+"\ndescription: "+scalarText(skill.Description)+"\n")
			for _, f := range skill.Files {
				add(name+"/"+f.Path, fileText(f))
			}
		}
		delete(s.raw, "skills")
	}
	return s, nil
}

// merge joins two lists of names that have the same order: what only the second
// has stands behind its neighbour there.
func merge(a, b []string) []string {
	at := make(map[string]int, len(a))
	for i, name := range a {
		at[name] = i
	}
	all := make([]string, 0, len(a)+len(b))
	taken := 0 // of a
	for _, name := range b {
		i, both := at[name]
		switch {
		case !both:
			all = append(all, name)
		case i >= taken:
			all = append(all, a[taken:i+1]...)
			taken = i + 1
		}
	}
	return append(all, a[taken:]...)
}
