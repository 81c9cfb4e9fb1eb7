package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/internal/yamltree"
)

// MaxSize is the largest agent file, and the largest schema file, in bytes.
const MaxSize = 1 << 20

// File is an agent file that was read.
type File struct {
	Agent *cairn.Agent
	d     *decoder
}

// ParseAgent reads an agent file; see [Parse].
func ParseAgent(name string, data []byte) (*cairn.Agent, error) {
	f, err := Parse(name, data)
	if err != nil {
		return nil, err
	}
	return f.Agent, nil
}

// ReadAgent reads the agent file at a path.
func ReadAgent(path string) (*File, error) {
	data, err := readBounded(os.Open, path)
	if err != nil {
		return nil, err
	}
	return Parse(path, data)
}

// Parse reads an agent file. The end of its name says what it is: .md (YAML
// front matter between two lines of "---", the rest is the instructions), .yaml,
// .yml or .json. A schema file it names is read from its directory or one below.
// What is wrong with the text is an *[Error].
func Parse(name string, data []byte) (*File, error) {
	s := &source{name: name}
	if len(data) > MaxSize {
		return nil, s.at(place{}, "the file has %d bytes; the most is %d", len(data), MaxSize)
	}
	data = bytes.TrimPrefix(data, []byte("\uFEFF"))
	// The digest of an agent is its version: it must not depend on how a checkout ends its lines.
	data = bytes.ReplaceAll(data, []byte("\r\n"), []byte("\n"))
	text := string(data)
	s.lines = strings.Split(text, "\n")
	for i, line := range s.lines {
		if at := strings.IndexFunc(line, func(r rune) bool { return r == utf8.RuneError }); at >= 0 && !utf8.ValidString(line) {
			return nil, s.at(place{Line: i + 1, Column: utf8.RuneCountInString(line[:at]) + 1}, "not UTF-8 text")
		}
	}
	d := &decoder{source: s, places: map[string]place{}}
	d.load = func(at place, file string) (json.RawMessage, error) { return s.loadSchema(at, file) }
	f := &File{Agent: new(cairn.Agent), d: d}
	t, body, err := s.read(data, text)
	if err != nil {
		return nil, err
	}
	d.json = t.fromJSON
	if t.tree.Kind == yamltree.Null {
		return nil, s.at(t.tree.At, "no fields: an agent needs at least name and model")
	}
	if err := d.decode(t.tree, "", reflect.ValueOf(f.Agent).Elem()); err != nil {
		return nil, err
	}
	if body != nil {
		if p, ok := d.places["instructions"]; ok && strings.TrimSpace(body.Text) != "" {
			return nil, s.at(p, "the instructions are given twice: here and as the text of the file")
		}
		if text := strings.Trim(body.Text, "\n"); text != "" {
			f.Agent.Instructions = text
			d.places["instructions"] = body.At
		}
	}
	if err := f.Locate(f.Agent.Validate()); err != nil {
		return nil, err
	}
	if err := f.check(); err != nil {
		return nil, err
	}
	return f, nil
}

// Locate turns a *cairn.FieldError that a check of the definition gave into an
// *[Error] at the line of the file; it returns anything else as it is.
func (f *File) Locate(err error) error {
	e, ok := errors.AsType[*cairn.FieldError](err)
	if !ok {
		return err
	}
	p, exact := f.d.locate(e.Path)
	if exact {
		return f.d.at(p, "%s: %s", e.Path, e.Problem)
	}
	if e.Path == "name" || e.Path == "model" { // the two that have to be there
		return f.d.at(p, "field %q is missing", e.Path)
	}
	return f.d.at(p, "%s: %s", e.Path, e.Problem)
}

// parsed is the tree of a file.
type parsed struct {
	tree     *tree
	fromJSON bool
}

// read splits a file into its fields and, for Markdown, its text.
func (s *source) read(data []byte, text string) (parsed, *tree, error) {
	switch ext := strings.ToLower(filepath.Ext(s.name)); ext {
	case ".json":
		t, err := s.readJSON(data)
		return parsed{t, true}, nil, err
	case ".yaml", ".yml":
		t, err := s.readYAML(text, 0)
		return parsed{tree: t}, nil, err
	case ".md", ".markdown":
		front, body, err := s.split()
		if err != nil {
			return parsed{}, nil, err
		}
		t, err := s.readYAML(front, 1)
		return parsed{tree: t}, body, err
	default:
		return parsed{}, nil, s.at(place{}, "the name of an agent file ends in .md, .yaml, .yml or .json")
	}
}

// split parts the front matter of a Markdown file from its text.
func (s *source) split() (front string, body *tree, err error) {
	fence := func(line string) bool { return strings.TrimRight(line, " \t") == "---" }
	if !fence(s.lines[0]) {
		return "", nil, s.at(place{Line: 1, Column: 1}, "expected --- on the first line: the fields of the agent stand between two such lines, the instructions after them")
	}
	for i, line := range s.lines[1:] {
		if fence(line) {
			n := i + 2 // lines up to and with the second fence
			text := strings.Join(s.lines[n:], "\n")
			start := n + 1
			for start <= len(s.lines) && strings.TrimSpace(s.lines[start-1]) == "" {
				start++
			}
			return strings.Join(s.lines[1:i+1], "\n") + "\n", &tree{Kind: yamltree.Text, Text: text, At: place{Line: start, Column: 1}}, nil
		}
	}
	return "", nil, s.at(place{Line: 1, Column: 1}, "the line --- that ends the fields is missing")
}

// loadSchema reads the JSON Schema that output.schema names.
func (s *source) loadSchema(at place, name string) (json.RawMessage, error) {
	dir := filepath.Dir(s.name)
	if !filepath.IsLocal(filepath.FromSlash(name)) {
		return nil, s.at(at, "%q is not below the directory of this file", short(name))
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, s.at(at, "cannot read %q: %s", short(name), cause(err))
	}
	defer func() { _ = root.Close() }() // it is only read
	data, err := readBounded(root.Open, filepath.FromSlash(name))
	if err != nil {
		return nil, s.at(at, "cannot read %q: %s", short(name), cause(err))
	}
	inner := &source{name: filepath.Join(dir, name), lines: strings.Split(string(data), "\n")}
	if !utf8.Valid(data) {
		return nil, inner.at(place{}, "not UTF-8 text")
	}
	var t *tree
	switch strings.ToLower(filepath.Ext(name)) {
	case ".yaml", ".yml":
		t, err = inner.readYAML(string(data), 0)
	default:
		t, err = inner.readJSON(bytes.TrimPrefix(data, []byte("\uFEFF")))
	}
	if err != nil {
		return nil, err
	}
	if t.Kind != yamltree.Mapping {
		return nil, inner.at(t.At, "expected a JSON Schema, a mapping; found %s", t.Kind)
	}
	return toJSON(t), nil
}

// readBounded reads a regular file of at most MaxSize bytes.
func readBounded(open func(string) (*os.File, error), name string) ([]byte, error) {
	f, err := open(name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // it is only read
	if info, err := f.Stat(); err != nil {
		return nil, err
	} else if info.IsDir() {
		return nil, fmt.Errorf("%s is a directory", name)
	}
	data, err := io.ReadAll(io.LimitReader(f, MaxSize+1))
	if err != nil {
		return nil, err
	}
	if len(data) > MaxSize {
		return nil, fmt.Errorf("%s has more than %d bytes", name, MaxSize)
	}
	return data, nil
}

// cause is an I/O error without the path, which the message has already.
func cause(err error) string {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return e.Err.Error()
	}
	return err.Error()
}

// IsAgent says whether a file looks like an agent's: it has a field called model
// and no replies, as the script of a model has. Other Markdown, YAML and JSON may
// lie beside agent files; what cannot be read as such at all is none.
func IsAgent(path string) (bool, error) {
	data, err := readBounded(os.Open, path)
	if err != nil {
		return false, err
	}
	text := strings.ReplaceAll(string(bytes.TrimPrefix(data, []byte("\uFEFF"))), "\r\n", "\n")
	s := &source{name: path, lines: strings.Split(text, "\n")}
	if strings.HasSuffix(strings.ToLower(path), ".json") {
		t, err := s.readJSON([]byte(text))
		if err != nil { // reading it as an agent will say what is wrong
			return strings.Contains(text, `"model"`), nil //nolint:nilerr // see above
		}
		has := func(name string) bool {
			return slices.ContainsFunc(t.Fields, func(f field) bool { return f.Name == name })
		}
		return has("model") && !has("replies") && !has("cases") && !has("default"), nil
	}
	lines := s.lines
	switch strings.ToLower(filepath.Ext(path)) {
	case ".md", ".markdown":
		front, _, err := s.split()
		if err != nil {
			return false, nil //nolint:nilerr // Markdown without fields is just text
		}
		lines = strings.Split(front, "\n")
	}
	has := func(name string) bool {
		return slices.ContainsFunc(lines, func(l string) bool { return strings.HasPrefix(l, name+":") })
	}
	return has("model") && !has("replies") && !has("cases") && !has("default"), nil
}
