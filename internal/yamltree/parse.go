package yamltree

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// maxDocuments bounds a text, by its lines of --- and ...: the parser's time grows
// with their square.
const maxDocuments = 100

// Options bound a text and say where it stands.
type Options struct {
	Depth   int // the deepest nesting
	Columns int // what begins after this column is nested too deep, too; 0: nothing is
	Before  int // lines of the file before the text
}

// Parse reads the documents of a text; those that hold nothing are left out.
func Parse(text string, o Options) (docs []Document, bad *Error) {
	defer func() {
		// The parser is given files that people are still writing.
		if p := recover(); p != nil {
			docs, bad = nil, &Error{Problem: fmt.Sprint(p), Syntax: true}
		}
	}()
	r := reader{o, strings.Count(text, "\n") + 1}
	tokens := lexer.Tokenize(text)
	if bad := r.bound(tokens); bad != nil {
		return nil, bad
	}
	file, err := parser.Parse(tokens, 0, parser.AllowDuplicateMapKey()) // mapping refuses them
	if err != nil {
		if e, ok := errors.AsType[yaml.Error](err); ok {
			return nil, &Error{At: r.place(e.GetToken()), Problem: e.GetMessage(), Syntax: true}
		}
		return nil, &Error{Problem: err.Error(), Syntax: true}
	}
	for _, d := range file.Docs {
		if d.Body == nil {
			continue
		}
		root, bad := r.node(d.Body, 0)
		if bad != nil {
			return nil, bad
		}
		start := root.Start
		if d.Start != nil {
			start = r.place(d.Start)
		}
		docs = append(docs, Document{start, root, d.Body})
	}
	return docs, nil
}

// At is the place of a token.
func At(t *token.Token) Place {
	if t == nil || t.Position == nil {
		return Place{}
	}
	return Place{max(t.Position.Line, 1), max(t.Position.Column, 1)}
}

type reader struct {
	Options
	lines int // of the text
}

func (r reader) place(t *token.Token) Place {
	p := At(t)
	if p.Line > 0 {
		// The lexer's places of quoted and block texts are those of their end on some
		// paths, and may be outside the text.
		p.Line = min(p.Line, r.lines) + r.Before
	}
	return p
}

func (r reader) tooDeep(p Place) *Error {
	return &Error{At: p, Problem: fmt.Sprintf("nested more than %d deep", r.Depth)}
}

// bound refuses nesting that the parser, which is recursive, would follow to the
// end. Block style, where each level is a longer line of its own, is bounded by
// the size of the text here, and by the depth in the tree. It refuses a --- after
// a ---, too: the parser would leave out all that follows.
func (r reader) bound(tokens token.Tokens) *Error {
	flow, entries, line, documents, header := 0, 0, 0, 0, false
	for _, t := range tokens {
		switch t.Type {
		case token.DocumentHeaderType, token.DocumentEndType:
			if header && t.Type == token.DocumentHeaderType {
				return &Error{At: r.place(t), Problem: "a document with nothing in it: take this line out"}
			}
			if documents++; documents > maxDocuments {
				return &Error{At: r.place(t), Problem: fmt.Sprintf("more than %d documents", maxDocuments)}
			}
			header = t.Type == token.DocumentHeaderType
			continue
		case token.CommentType:
			continue
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
		header = false
		if flow > r.Depth || entries > r.Depth || r.Columns > 0 && t.Position.Column > r.Columns {
			return r.tooDeep(r.place(t))
		}
	}
	return nil
}

func (r reader) node(n ast.Node, depth int) (*Node, *Error) {
	if n == nil {
		first := Place{r.Before + 1, 1}
		return &Node{Start: first, At: first}, nil
	}
	t := &Node{Start: r.place(n.GetToken()), At: r.place(n.GetToken())}
	if depth > r.Depth {
		return nil, r.tooDeep(t.At)
	}
	switch n := n.(type) {
	case *ast.NullNode:
	case *ast.BoolNode:
		t.Kind, t.Text = Bool, strconv.FormatBool(n.Value)
	case *ast.IntegerNode:
		t.Kind, t.Text, t.Integer = Number, n.Token.Value, true
		if !isNumber(t.Text) {
			t.Text = fmt.Sprint(n.Value) // 0x10, 1_000
		}
	case *ast.FloatNode:
		t.Kind, t.Text = Number, n.Token.Value
		switch {
		case isNumber(t.Text):
		case math.IsInf(n.Value, 0):
			t.Kind = NoNumber
		default:
			t.Text = strconv.FormatFloat(n.Value, 'g', -1, 64)
		}
	case *ast.InfinityNode, *ast.NanNode:
		t.Kind, t.Text = NoNumber, n.GetToken().Value
	case *ast.StringNode:
		t.Kind, t.Text, t.Numeric = Text, n.Value, n.Token.Type == token.StringType && isNumber(n.Value)
	case *ast.LiteralNode:
		t.Kind, t.Text = Text, n.Value.Value
	case *ast.SequenceNode:
		t.Kind = List
		for _, v := range n.Values {
			item, bad := r.node(v, depth+1)
			if bad != nil {
				return nil, bad
			}
			t.Items = append(t.Items, item)
		}
	case *ast.MappingNode:
		return t, r.mapping(t, n.Values, n.IsFlowStyle, depth)
	case *ast.MappingValueNode:
		return t, r.mapping(t, []*ast.MappingValueNode{n}, false, depth)
	case *ast.AnchorNode:
		t.Kind = Anchor
	case *ast.AliasNode:
		t.Kind = Alias
	case *ast.TagNode:
		t.Kind = Tag
	default:
		t.Kind = Other
	}
	return t, nil
}

func (r reader) mapping(t *Node, values []*ast.MappingValueNode, braces bool, depth int) *Error {
	t.Kind = Mapping
	if len(values) > 0 {
		t.At = r.place(values[0].Key.GetToken())
		if !braces {
			t.Start = t.At // its own token is the first colon
		}
	}
	seen := make(map[string]Place, len(values))
	for _, v := range values {
		f := Field{At: r.place(v.Key.GetToken())}
		switch k := v.Key.(type) {
		case *ast.StringNode:
			f.Name = k.Value
		case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.NullNode:
			f.Name = k.GetToken().Value // JSON knows only text: as it is written
		default:
			return &Error{At: f.At, Problem: "a name has to be plain text"}
		}
		if first, again := seen[f.Name]; again {
			problem := fmt.Sprintf("mapping key %q already defined at [%d:%d]", f.Name, first.Line, first.Column)
			return &Error{At: f.At, Problem: problem, Syntax: true, Repeated: f.Name}
		}
		seen[f.Name] = f.At
		var bad *Error
		if f.Value, bad = r.node(v.Value, depth+1); bad != nil {
			return bad
		}
		if f.Value.Kind == Null {
			f.Value.At = f.At
		}
		t.Fields = append(t.Fields, f)
	}
	return nil
}

// isNumber says whether a text is a number in JSON.
func isNumber(s string) bool {
	return s != "" && (s[0] == '-' || '0' <= s[0] && s[0] <= '9') && json.Valid([]byte(s))
}
