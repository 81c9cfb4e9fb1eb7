package vault

import (
	"fmt"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"

	"github.com/cairn-run/cairn"
)

// entries are what an age file holds: lines of NAME=VALUE, with comments and
// blank lines, or a YAML mapping of names to text.
type entries struct {
	lines  []string // as they stand; of YAML: none
	at     map[string]int
	values map[string]string
	yaml   bool
}

// maxEntries bounds a file.
const maxEntries = 1000

// parseEntries reads a file that was decrypted. Its errors name lines, and hold
// nothing of what stands there.
func parseEntries(data []byte) (*entries, error) {
	e := &entries{at: map[string]int{}, values: map[string]string{}}
	text := strings.ReplaceAll(string(data), "\r\n", "\n")
	for i, line := range strings.Split(strings.TrimSuffix(text, "\n"), "\n") {
		e.lines = append(e.lines, line)
		bare := strings.TrimSpace(line)
		if bare == "" || bare[0] == '#' {
			continue
		}
		name, value, ok := strings.Cut(strings.TrimPrefix(bare, "export "), "=")
		name = strings.TrimSpace(name)
		switch {
		case !ok || !isName(name):
			if len(e.values) == 0 {
				return parseYAML(text)
			}
			return nil, fmt.Errorf("line %d: write NAME=VALUE", i+1)
		case has(e.values, name):
			return nil, fmt.Errorf("line %d: the name of line %d is given again", i+1, e.at[name]+1)
		case len(e.values) >= maxEntries:
			return nil, fmt.Errorf("more than %d entries", maxEntries)
		}
		e.at[name], e.values[name] = i, unquote(strings.TrimSpace(value))
	}
	if text == "" {
		e.lines = nil
	}
	return e, nil
}

func has[V any](m map[string]V, k string) bool { _, ok := m[k]; return ok }

// unquote takes one pair of quotes off, as a shell would.
func unquote(s string) string {
	if len(s) >= 2 && (s[0] == '"' || s[0] == '\'') && s[len(s)-1] == s[0] {
		return s[1 : len(s)-1]
	}
	return s
}

func parseYAML(text string) (*entries, error) {
	bad := fmt.Errorf("it is neither lines of NAME=VALUE nor a YAML mapping of names to text")
	if strings.Count(text, "[")+strings.Count(text, "{")+strings.Count(text, "- ")+strings.Count(text, "? ") > maxEntries {
		return nil, bad // the parser is recursive
	}
	var values map[string]string
	if yaml.UnmarshalWithOptions([]byte(text), &values, yaml.Strict()) != nil || len(values) == 0 || len(values) > maxEntries {
		return nil, bad // the parser's own words quote the file
	}
	for name := range values {
		if !isName(name) {
			return nil, bad
		}
	}
	return &entries{values: values, yaml: true}, nil
}

// names lists the entries, sorted.
func (e *entries) names() []string {
	var list []string
	for n := range e.values {
		list = append(list, n)
	}
	slices.Sort(list)
	return list
}

var errYAML = &cairn.Error{Code: cairn.CodeInvalid, Message: "this file is YAML and is not written from here: edit it with age, or choose another"}

// set puts an entry in its place, or at the end.
func (e *entries) set(name, value string) error {
	if e.yaml {
		return errYAML
	}
	if strings.ContainsAny(value, "\n\r\x00") {
		return &cairn.Error{Code: cairn.CodeInvalid, Message: "a line cannot hold a value with line breaks: keep it in a YAML file encrypted with age"}
	}
	if !has(e.values, name) && len(e.values) >= maxEntries {
		return &cairn.Error{Code: cairn.CodeInvalid, Message: fmt.Sprintf("the file has %d entries already", maxEntries)}
	}
	line := name + "=" + value
	if unquote(value) != value {
		line = name + `="` + value + `"` // or its own quotes would be taken off
	}
	if i, ok := e.at[name]; ok {
		e.lines[i] = line
	} else {
		e.at[name] = len(e.lines)
		e.lines = append(e.lines, line)
	}
	e.values[name] = value
	return nil
}

// remove takes an entry out; false: there is none, or the file is YAML.
func (e *entries) remove(name string) bool {
	i, ok := e.at[name]
	if !ok {
		return false
	}
	e.lines = slices.Delete(e.lines, i, i+1)
	delete(e.at, name)
	delete(e.values, name)
	for n, j := range e.at {
		if j > i {
			e.at[n] = j - 1
		}
	}
	return true
}

// text is the file as it is to be encrypted.
func (e *entries) text() []byte { return []byte(strings.Join(e.lines, "\n") + "\n") }
