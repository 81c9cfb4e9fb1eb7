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
	data, err := readBounded(openWithoutWaiting, path)
	if err != nil {
		return nil, err
	}
	return Parse(path, data)
}

// Parse reads an agent file. The end of its name says what it is: .md (YAML
// front matter between two lines of "---", the rest is the instructions), .yaml,
// .yml or .json. A schema file and the folders of skills that it names are read
// from its directory or one below.
// What is wrong with the text is an *[Error].
func Parse(name string, data []byte) (*File, error) {
	s := &source{name: name, what: "an agent file"}
	if len(data) > MaxSize {
		return nil, s.at(place{}, "the file has %d bytes; the most is %d", len(data), MaxSize)
	}
	// The digest of an agent is its version: it must not depend on how a checkout ends its lines.
	text, err := s.take(data)
	if err != nil {
		return nil, err
	}
	d := &decoder{source: s, places: map[string]place{}, elsewhere: map[string]spot{}, skillNames: map[string]string{}}
	d.load = func(at place, file string) (json.RawMessage, error) { return s.loadSchema(at, file) }
	f := &File{Agent: new(cairn.Agent), d: d}
	t, body, err := s.read(text)
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
	if there, ok := f.d.elsewhere[e.Path]; ok {
		return there.source.at(there.at, "%s", e.Problem)
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
func (s *source) read(text string) (parsed, *tree, error) {
	switch ext := strings.ToLower(filepath.Ext(s.name)); ext {
	case ".json":
		t, err := s.readJSON([]byte(text))
		return parsed{t, true}, nil, err
	case ".yaml", ".yml":
		t, err := s.readYAML(text, 0)
		return parsed{tree: t}, nil, err
	case ".md", ".markdown":
		front, body, ok := s.split()
		if !ok && s.fence(1) {
			return parsed{}, nil, s.at(place{Line: 1, Column: 1}, "the line --- that ends the fields is missing")
		}
		if !ok {
			return parsed{}, nil, s.at(place{Line: 1, Column: 1}, "expected --- on the first line: the fields of the agent stand between two such lines, the instructions after them")
		}
		t, err := s.readYAML(front, 1)
		return parsed{tree: t}, body, err
	default:
		return parsed{}, nil, s.at(place{}, "the name of an agent file ends in .md, .yaml, .yml or .json")
	}
}

// fence says whether a line, counted from 1, is one of those around the front matter.
func (s *source) fence(line int) bool { return strings.TrimRight(s.lines[line-1], " \t") == "---" }

// split parts the front matter of a Markdown file from its text; not ok: it has none.
func (s *source) split() (front string, body *tree, ok bool) {
	if !s.fence(1) {
		return "", nil, false
	}
	for n := 2; n <= len(s.lines); n++ {
		if !s.fence(n) {
			continue
		}
		text := strings.Join(s.lines[n:], "\n")
		start := n + 1
		for start <= len(s.lines) && strings.TrimSpace(s.lines[start-1]) == "" {
			start++
		}
		return strings.Join(s.lines[1:n-1], "\n") + "\n", &tree{Kind: yamltree.Text, Text: text, At: place{Line: start, Column: 1}}, true
	}
	return "", nil, false
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
	data, err := readBounded(func(n string) (*os.File, error) { return root.OpenFile(n, os.O_RDONLY|noWait, 0) }, filepath.FromSlash(name))
	if err != nil {
		return nil, s.at(at, "cannot read %q: %s", short(name), cause(err))
	}
	inner := &source{name: filepath.Join(dir, name), what: "a schema", lines: strings.Split(string(data), "\n")}
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
	} else if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is no regular file", name)
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

// openWithoutWaiting opens a file; of a pipe it does not wait for the one who writes.
func openWithoutWaiting(name string) (*os.File, error) {
	return os.OpenFile(name, os.O_RDONLY|noWait, 0)
}

// cause is an I/O error without the path, which the message has already.
func cause(err error) string {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return e.Err.Error()
	}
	return err.Error()
}
