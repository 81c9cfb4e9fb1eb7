package script

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"

	"github.com/cairn-run/cairn"
)

// maxNesting bounds how deep a file may be nested: the parser is recursive.
const maxNesting = 120

// mistake is what is wrong with a file, and where: from 1, 0 if the place is not known.
type mistake struct {
	file         string
	line, column int
	problem      string
}

func (m *mistake) Error() string {
	if m.line == 0 {
		return m.file + ": " + m.problem
	}
	return fmt.Sprintf("%s:%d:%d: %s", m.file, m.line, m.column, m.problem)
}

// reader reads values out of a YAML tree into Go variables. It keeps the first
// mistake and does nothing after it. It remembers where each path stood, so that
// what [Script.Validate] finds can be shown at its line.
type reader struct {
	file   string
	places map[string]*token.Position
	err    error
}

// parse returns the one document of a file; nil after a mistake.
func (r *reader) parse(text string) (body ast.Node) {
	defer func() {
		// The parser is given files that people are still writing.
		if p := recover(); p != nil {
			body, r.err = nil, &mistake{file: r.file, problem: fmt.Sprintf("not YAML: %v", p)}
		}
	}()
	tokens := lexer.Tokenize(text)
	if t := tooDeep(tokens); t != nil {
		r.failToken(t, "nested more than %d deep", maxNesting)
		return nil
	}
	f, err := parser.Parse(tokens, 0)
	if err != nil {
		if e, ok := errors.AsType[yaml.Error](err); ok {
			r.failToken(e.GetToken(), "not YAML: %s", e.GetMessage())
		} else {
			r.failToken(nil, "not YAML: %v", err)
		}
		return nil
	}
	for _, doc := range f.Docs {
		switch {
		case doc.Body == nil:
		case body != nil:
			r.failToken(doc.Start, "a second document: a file holds one script")
			return nil
		default:
			body = doc.Body
		}
	}
	if body == nil {
		r.failToken(nil, "the file is empty: give replies, cases, a default or a recording")
	}
	return body
}

// tooDeep finds the token that nests deeper than the bound. Block style needs no
// bound where each level is a longer line of its own: the size of the file is one.
func tooDeep(tokens token.Tokens) *token.Token {
	flow, entries, line := 0, 0, 0
	for _, t := range tokens {
		switch t.Type {
		case token.MappingStartType, token.SequenceStartType:
			flow++
		case token.MappingEndType, token.SequenceEndType:
			flow--
		case token.SequenceEntryType, token.MappingKeyType, token.MappingValueType:
			if t.Position.Line != line {
				line, entries = t.Position.Line, 0
			}
			if flow == 0 {
				entries++
			}
		}
		if flow > maxNesting || entries > maxNesting {
			return t
		}
	}
	return nil
}

func (r *reader) failToken(t *token.Token, format string, args ...any) {
	if r.err != nil {
		return
	}
	m := &mistake{file: r.file, problem: fmt.Sprintf(format, args...)}
	if t != nil && t.Position != nil {
		m.line, m.column = max(t.Position.Line, 1), max(t.Position.Column, 1)
	}
	r.err = m
}

func (r *reader) fail(n ast.Node, format string, args ...any) {
	r.failToken(start(n), format, args...)
}

// start is the first token of a node. A block mapping gives its first colon.
func start(n ast.Node) *token.Token {
	switch n := n.(type) {
	case *ast.MappingNode:
		if !n.IsFlowStyle && len(n.Values) > 0 {
			return n.Values[0].Key.GetToken()
		}
	case *ast.MappingValueNode:
		return n.Key.GetToken()
	}
	return n.GetToken()
}

// failPath shows a mistake of a path at the nearest thing that is in the file.
func (r *reader) failPath(path, problem string) {
	m := &mistake{file: r.file, problem: strings.TrimPrefix(path+": "+problem, ": ")}
	for at := path; ; {
		if p := r.places[at]; p != nil {
			m.line, m.column = p.Line, p.Column
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
type into func(path string, n ast.Node)

// field is a field that a mapping may have.
type field struct {
	name string
	read into
}

// object reads a mapping whose fields are known.
func (r *reader) object(path string, n ast.Node, fields ...field) {
	r.mapping(path, n, func(name, path string, key, value ast.Node) {
		i := slices.IndexFunc(fields, func(f field) bool { return f.name == name })
		if i < 0 {
			names := make([]string, len(fields))
			for i, f := range fields {
				names[i] = f.name
			}
			r.fail(key, "unknown field %q; there is: %s", name, strings.Join(names, ", "))
			return
		}
		if _, null := value.(*ast.NullNode); null {
			r.fail(key, "field %q is empty: give it a value, or leave it out", name)
			return
		}
		fields[i].read(path, value)
	})
}

// mapping visits the entries of a mapping.
func (r *reader) mapping(path string, n ast.Node, visit func(name, path string, key, value ast.Node)) {
	if r.err != nil {
		return
	}
	var values []*ast.MappingValueNode
	switch n := n.(type) {
	case *ast.MappingNode:
		values = n.Values
	case *ast.MappingValueNode:
		values = []*ast.MappingValueNode{n}
	default:
		r.fail(n, "expected a mapping (name: value), found %s", kind(n))
		return
	}
	seen := make(map[string]bool, len(values))
	for _, v := range values {
		if r.err != nil {
			return
		}
		name, ok := key(v.Key)
		switch {
		case !ok:
			r.fail(v.Key, "a name has to be plain text")
		case seen[name]:
			r.fail(v.Key, "%q is given twice", name)
		default:
			seen[name] = true
			inner := strings.TrimPrefix(path+"."+name, ".")
			r.places[inner] = v.Key.GetToken().Position
			visit(name, inner, v.Key, v.Value)
		}
	}
}

// key is the name a key spells.
func key(k ast.MapKeyNode) (string, bool) {
	switch k := k.(type) {
	case *ast.StringNode:
		return k.Value, true
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.NullNode:
		return k.GetToken().Value, true
	}
	return "", false
}

// list visits the entries of a sequence.
func (r *reader) list(path string, n ast.Node, visit into) {
	if r.err != nil {
		return
	}
	s, ok := n.(*ast.SequenceNode)
	if !ok {
		r.fail(n, "expected a list, found %s", kind(n))
		return
	}
	for i, v := range s.Values {
		if r.err != nil {
			return
		}
		inner := fmt.Sprintf("%s[%d]", path, i)
		r.places[inner] = start(v).Position
		visit(inner, v)
	}
}

// text reads a string. Numbers and the like have to be quoted.
func (r *reader) text(to *string) into {
	return func(_ string, n ast.Node) {
		s, ok := text(n)
		if !ok {
			r.fail(n, "expected text, found %s: put it in quotes", kind(n))
			return
		}
		*to = s
	}
}

func text(n ast.Node) (string, bool) {
	switch n := n.(type) {
	case *ast.StringNode:
		return n.Value, true
	case *ast.LiteralNode:
		return n.Value.Value, true
	}
	return "", false
}

func (r *reader) boolean(to *bool) into {
	return func(_ string, n ast.Node) {
		b, ok := n.(*ast.BoolNode)
		if !ok {
			r.fail(n, "expected true or false, found %s", kind(n))
			return
		}
		*to = b.Value
	}
}

// integer reads a whole number that is not negative.
func integer[T int | int64](r *reader, to *T) into {
	return func(_ string, n ast.Node) {
		i, ok := n.(*ast.IntegerNode)
		if ok {
			var v int64
			if v, ok = whole(i.Value); ok && v >= 0 && v <= math.MaxInt32 {
				*to = T(v)
				return
			}
		}
		r.fail(n, "expected a whole number from 0 to %d", math.MaxInt32)
	}
}

func whole(v any) (int64, bool) {
	switch v := v.(type) {
	case int64:
		return v, true
	case uint64:
		return int64(min(v, math.MaxInt64)), true
	}
	return 0, false
}

func (r *reader) duration(to *cairn.Duration) into {
	return func(_ string, n ast.Node) {
		s, ok := text(n)
		if !ok {
			r.fail(n, "expected a duration like 30s, 5m or 2h")
			return
		}
		if err := to.UnmarshalText([]byte(s)); err != nil {
			r.fail(n, "%v", err)
		}
	}
}

func (r *reader) money(to *cairn.Money) into {
	return func(_ string, n ast.Node) {
		// A number is refused: elsewhere it means nano-dollars.
		s, ok := text(n)
		if !ok || !strings.HasPrefix(s, "$") {
			r.fail(n, "expected dollars per million tokens, like $2.50")
			return
		}
		v, err := cairn.ParseMoney(s)
		if err != nil {
			r.fail(n, "%v", err)
			return
		}
		*to = v
	}
}

// optional reads into a value that is made when the field is there.
func optional[T any](to **T, read func(*T) into) into {
	return func(path string, n ast.Node) {
		*to = new(T)
		read(*to)(path, n)
	}
}

// value reads any JSON value: nil, bool, json.Number, string, []any, map[string]any.
func (r *reader) value(path string, n ast.Node) any {
	if r.err != nil {
		return nil
	}
	switch n := n.(type) {
	case *ast.NullNode:
		return nil
	case *ast.BoolNode:
		return n.Value
	case *ast.StringNode:
		// A plain 1e3 or a number of many digits is a number in JSON, though not to
		// the parser.
		if n.Token.Type == token.StringType && isNumber(n.Value) {
			return json.Number(n.Value)
		}
		return n.Value
	case *ast.LiteralNode:
		return n.Value.Value
	case *ast.IntegerNode:
		if s := n.Token.Value; isNumber(s) {
			return json.Number(s)
		}
		return json.Number(fmt.Sprint(n.Value)) // 0x10, 1_000
	case *ast.FloatNode:
		if s := n.Token.Value; isNumber(s) {
			return json.Number(s)
		}
		if math.IsInf(n.Value, 0) {
			r.fail(n, "JSON has no such number")
			return nil
		}
		return json.Number(strconv.FormatFloat(n.Value, 'g', -1, 64))
	case *ast.InfinityNode, *ast.NanNode:
		r.fail(n, "JSON has no such number")
		return nil
	case *ast.SequenceNode:
		list := []any{}
		r.list(path, n, func(path string, n ast.Node) { list = append(list, r.value(path, n)) })
		return list
	case *ast.MappingNode, *ast.MappingValueNode:
		object := map[string]any{}
		r.mapping(path, n, func(name, path string, _, value ast.Node) { object[name] = r.value(path, value) })
		return object
	}
	r.fail(n, "%s cannot be used here: write the value out, or put text in quotes", kind(n))
	return nil
}

func (r *reader) json(to *json.RawMessage) into {
	return func(path string, n ast.Node) {
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

// isNumber says whether a text is a number in JSON.
func isNumber(s string) bool {
	if s == "" || s[0] != '-' && (s[0] < '0' || s[0] > '9') {
		return false
	}
	return json.Valid([]byte(s))
}

// kind is the word for a node in a message.
func kind(n ast.Node) string {
	switch n.(type) {
	case *ast.NullNode:
		return "nothing"
	case *ast.BoolNode:
		return "true or false"
	case *ast.IntegerNode, *ast.FloatNode, *ast.InfinityNode, *ast.NanNode:
		return "a number"
	case *ast.StringNode, *ast.LiteralNode:
		return "text"
	case *ast.SequenceNode:
		return "a list"
	case *ast.MappingNode, *ast.MappingValueNode:
		return "a mapping"
	case *ast.AnchorNode:
		return "an anchor"
	case *ast.AliasNode:
		return "an alias"
	case *ast.TagNode:
		return "a tag"
	}
	return "this form of YAML"
}
