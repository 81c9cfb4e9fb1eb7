package config

import (
	"encoding/json"
	"errors"
	"math"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// readYAML reads a YAML text that starts after `skip` lines of the file.
func (s *source) readYAML(text string, skip int) (*tree, error) {
	r := &yamlReader{source: s, skip: skip}
	tokens := lexer.Tokenize(text)
	if err := r.bound(tokens); err != nil {
		return nil, err
	}
	file, err := parser.Parse(tokens, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		return nil, r.fail(err)
	}
	var body ast.Node
	for _, doc := range file.Docs {
		if doc.Body == nil {
			continue
		}
		if body != nil {
			return nil, r.at(r.place(doc.Start), "a second YAML document: a file holds one agent")
		}
		body = doc.Body
	}
	if body == nil {
		return &tree{kind: kindNull, at: place{skip + 1, 1}}, nil
	}
	return r.value(body, 0)
}

type yamlReader struct {
	*source
	skip int
}

func (r *yamlReader) place(t *token.Token) place {
	if t == nil || t.Position == nil {
		return place{r.skip + 1, 1}
	}
	p := place{t.Position.Line + r.skip, t.Position.Column}
	// The lexer's columns of quoted and block texts are those of their end on
	// some paths; a place outside the file would show the wrong line.
	p.line = min(max(p.line, r.skip+1), max(len(r.lines), 1))
	return p
}

// bound refuses nesting that the parser, which is recursive, would follow to the end.
func (r *yamlReader) bound(tokens token.Tokens) error {
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
		if flow > maxDepth || entries > maxDepth {
			return r.at(r.place(t), "nested more than %d deep", maxDepth)
		}
	}
	return nil
}

func (r *yamlReader) fail(err error) error {
	e, ok := errors.AsType[yaml.Error](err)
	if !ok {
		return r.at(place{r.skip + 1, 1}, "not YAML: %v", err)
	}
	p := r.place(e.GetToken())
	hint := ""
	if line := r.lines[p.line-1]; strings.Contains(line[:len(line)-len(strings.TrimLeft(line, " \t"))], "\t") {
		hint = " (indent with spaces, not with tabs)"
	}
	return r.at(p, "not YAML: %s%s", e.GetMessage(), hint)
}

func (r *yamlReader) value(n ast.Node, depth int) (*tree, error) {
	if n == nil {
		return &tree{kind: kindNull, at: place{r.skip + 1, 1}}, nil
	}
	t := &tree{at: r.place(n.GetToken())}
	if depth > maxDepth {
		return nil, r.at(t.at, "nested more than %d deep", maxDepth)
	}
	switch n := n.(type) {
	case *ast.NullNode:
		t.kind = kindNull
	case *ast.BoolNode:
		t.kind, t.text = kindBool, strconv.FormatBool(n.Value)
	case *ast.IntegerNode:
		t.kind = kindNumber
		switch v := n.Value.(type) {
		case int64:
			t.text = strconv.FormatInt(v, 10)
		case uint64:
			t.text = strconv.FormatUint(v, 10)
		default:
			return nil, r.at(t.at, "number %s is out of range", n.GetToken().Value)
		}
	case *ast.FloatNode:
		t.kind, t.text = kindNumber, n.GetToken().Value
		if !isJSONNumber(t.text) {
			if math.IsInf(n.Value, 0) || math.IsNaN(n.Value) {
				return nil, r.at(t.at, "number %s is out of range", t.text)
			}
			t.text = strconv.FormatFloat(n.Value, 'g', -1, 64)
		}
	case *ast.StringNode:
		t.kind, t.text = kindText, n.Value
	case *ast.LiteralNode:
		t.kind, t.text = kindText, n.Value.Value
	case *ast.SequenceNode:
		t.kind = kindList
		for _, v := range n.Values {
			item, err := r.value(v, depth+1)
			if err != nil {
				return nil, err
			}
			t.items = append(t.items, item)
		}
	case *ast.MappingNode:
		return r.mapping(t, n.Values, depth)
	case *ast.MappingValueNode:
		return r.mapping(t, []*ast.MappingValueNode{n}, depth)
	case *ast.InfinityNode, *ast.NanNode:
		return nil, r.at(t.at, "%s is not a number that can be used", n.GetToken().Value)
	case *ast.AnchorNode, *ast.AliasNode:
		return nil, r.at(t.at, "anchors and aliases cannot be used in an agent file: write the value out, or put text that starts with & or * in quotes")
	case *ast.TagNode:
		return nil, r.at(t.at, "tags cannot be used in an agent file: put text that starts with ! in quotes")
	default:
		return nil, r.at(t.at, "this form of YAML (%s) cannot be used in an agent file", strings.ToLower(n.Type().String()))
	}
	return t, nil
}

func (r *yamlReader) mapping(t *tree, values []*ast.MappingValueNode, depth int) (*tree, error) {
	t.kind = kindMapping
	seen := make(map[string]bool, len(values))
	for i, v := range values {
		p := r.place(v.Key.GetToken())
		if i == 0 {
			t.at = p
		}
		name, ok := keyOf(v.Key)
		if !ok {
			return nil, r.at(p, "a field's name has to be plain text")
		}
		if seen[name] {
			return nil, r.at(p, "field %q is given twice", name)
		}
		seen[name] = true
		value, err := r.value(v.Value, depth+1)
		if err != nil {
			return nil, err
		}
		if value.kind == kindNull {
			value.at = p // what is not there is shown at its name
		}
		t.fields = append(t.fields, field{name, p, value})
	}
	return t, nil
}

// keyOf is the name that a key spells; JSON knows only text, so 1 and true are
// read as they are written.
func keyOf(k ast.MapKeyNode) (string, bool) {
	switch k := k.(type) {
	case *ast.StringNode:
		return k.Value, true
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.NullNode:
		return k.GetToken().Value, true
	}
	return "", false
}

func isJSONNumber(s string) bool {
	var n json.Number
	return json.Unmarshal([]byte(s), &n) == nil && n.String() == s
}
