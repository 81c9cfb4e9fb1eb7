package script

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/internal/yamltree"
)

// maxNesting bounds how deep a file may be nested.
const maxNesting = 120

// mistake is what is wrong with a file, and where, if that is known.
type mistake struct {
	file    string
	at      yamltree.Place
	problem string
}

func (m *mistake) Error() string {
	if m.at.Line == 0 {
		return m.file + ": " + m.problem
	}
	return fmt.Sprintf("%s:%d:%d: %s", m.file, m.at.Line, m.at.Column, m.problem)
}

// reader reads values out of a YAML tree into Go variables. It keeps the first
// mistake and does nothing after it. It remembers where each path stood, so that
// what [Script.Validate] finds can be shown at its line.
type reader struct {
	file   string
	places map[string]yamltree.Place
	err    error
}

// parse returns the root of the one document of a file; nil after a mistake.
func (r *reader) parse(text string) *yamltree.Node {
	docs, bad := yamltree.Parse(text, yamltree.Options{Depth: maxNesting})
	switch {
	case bad != nil:
		r.failAt(bad.At, "%v", bad)
	case len(docs) == 0:
		r.failAt(yamltree.Place{}, "the file is empty: give replies, cases, a default or a recording")
	case len(docs) > 1:
		r.failAt(docs[1].Start, "a second document: a file holds one script")
	default:
		return docs[0].Root
	}
	return nil
}

func (r *reader) failAt(at yamltree.Place, format string, args ...any) {
	if r.err == nil {
		r.err = &mistake{r.file, at, fmt.Sprintf(format, args...)}
	}
}

func (r *reader) fail(n *yamltree.Node, format string, args ...any) {
	r.failAt(n.Start, format, args...)
}

// failPath shows a mistake of a path at the nearest thing that is in the file.
func (r *reader) failPath(path, problem string) {
	m := &mistake{file: r.file, problem: strings.TrimPrefix(path+": "+problem, ": ")}
	for at := path; ; {
		if p, ok := r.places[at]; ok {
			m.at = p
			break
		}
		i := strings.LastIndexAny(at, ".[")
		if i < 0 {
			break
		}
		at = at[:i]
	}
	r.err = m
}

// into reads one value that stands at a path.
type into func(path string, n *yamltree.Node)

// field is a field that a mapping may have.
type field struct {
	name string
	read into
}

// object reads a mapping whose fields are known.
func (r *reader) object(path string, n *yamltree.Node, fields ...field) {
	r.mapping(path, n, func(path string, in yamltree.Field) {
		i := slices.IndexFunc(fields, func(f field) bool { return f.name == in.Name })
		if i < 0 {
			names := make([]string, len(fields))
			for i, f := range fields {
				names[i] = f.name
			}
			r.failAt(in.At, "unknown field %q; there is: %s", in.Name, strings.Join(names, ", "))
			return
		}
		if in.Value.Kind == yamltree.Null {
			r.failAt(in.At, "field %q is empty: give it a value, or leave it out", in.Name)
			return
		}
		fields[i].read(path, in.Value)
	})
}

// mapping visits the entries of a mapping.
func (r *reader) mapping(path string, n *yamltree.Node, visit func(path string, f yamltree.Field)) {
	if r.err == nil && n.Kind != yamltree.Mapping {
		r.fail(n, "expected a mapping (name: value), found %s", n.Kind)
	}
	for _, f := range n.Fields {
		if r.err != nil {
			return
		}
		inner := strings.TrimPrefix(path+"."+f.Name, ".")
		r.places[inner] = f.At
		visit(inner, f)
	}
}

// list visits the entries of a sequence.
func (r *reader) list(path string, n *yamltree.Node, visit into) {
	if r.err == nil && n.Kind != yamltree.List {
		r.fail(n, "expected a list, found %s", n.Kind)
	}
	for i, v := range n.Items {
		if r.err != nil {
			return
		}
		inner := fmt.Sprintf("%s[%d]", path, i)
		r.places[inner] = v.Start
		visit(inner, v)
	}
}

// text reads a string. Numbers and the like have to be quoted.
func (r *reader) text(to *string) into {
	return func(_ string, n *yamltree.Node) {
		if n.Kind != yamltree.Text {
			r.fail(n, "expected text, found %s: put it in quotes", n.Kind)
			return
		}
		*to = n.Text
	}
}

func (r *reader) boolean(to *bool) into {
	return func(_ string, n *yamltree.Node) {
		if n.Kind != yamltree.Bool {
			r.fail(n, "expected true or false, found %s", n.Kind)
			return
		}
		*to = n.Text == "true"
	}
}

// integer reads a whole number that is not negative.
func integer[T int | int64](r *reader, to *T) into {
	return func(_ string, n *yamltree.Node) {
		v, err := strconv.ParseInt(n.Text, 10, 32)
		if !n.Integer || err != nil || v < 0 {
			r.fail(n, "expected a whole number from 0 to %d", math.MaxInt32)
			return
		}
		*to = T(v)
	}
}

func (r *reader) duration(to *cairn.Duration) into {
	return func(_ string, n *yamltree.Node) {
		if n.Kind != yamltree.Text {
			r.fail(n, "expected a duration like 30s, 5m or 2h")
			return
		}
		if err := to.UnmarshalText([]byte(n.Text)); err != nil {
			r.fail(n, "%v", err)
		}
	}
}

func (r *reader) money(to *cairn.Money) into {
	return func(_ string, n *yamltree.Node) {
		// A number is refused: elsewhere it means nano-dollars.
		if n.Kind != yamltree.Text || !strings.HasPrefix(n.Text, "$") {
			r.fail(n, "expected dollars per million tokens, like $2.50")
			return
		}
		v, err := cairn.ParseMoney(n.Text)
		if err != nil {
			r.fail(n, "%v", err)
			return
		}
		*to = v
	}
}

// optional reads into a value that is made when the field is there.
func optional[T any](to **T, read func(*T) into) into {
	return func(path string, n *yamltree.Node) {
		*to = new(T)
		read(*to)(path, n)
	}
}

// value reads any JSON value: nil, bool, json.Number, string, []any, map[string]any.
func (r *reader) value(path string, n *yamltree.Node) any {
	if r.err != nil {
		return nil
	}
	switch {
	case n.Kind == yamltree.Null:
		return nil
	case n.Kind == yamltree.Bool:
		return n.Text == "true"
	case n.Kind == yamltree.Number, n.Numeric:
		return json.Number(n.Text)
	case n.Kind == yamltree.Text:
		return n.Text
	case n.Kind == yamltree.List:
		list := []any{}
		r.list(path, n, func(path string, n *yamltree.Node) { list = append(list, r.value(path, n)) })
		return list
	case n.Kind == yamltree.Mapping:
		object := map[string]any{}
		r.mapping(path, n, func(path string, f yamltree.Field) { object[f.Name] = r.value(path, f.Value) })
		return object
	case n.Kind == yamltree.NoNumber:
		r.fail(n, "JSON has no such number")
	default:
		r.fail(n, "%s cannot be used here: write the value out, or put text in quotes", n.Kind)
	}
	return nil
}

func (r *reader) json(to *json.RawMessage) into {
	return func(path string, n *yamltree.Node) {
		v := r.value(path, n)
		if r.err != nil {
			return
		}
		b, err := marshal(v)
		if err != nil {
			r.fail(n, "%v", err)
			return
		}
		*to = b
	}
}
