package google

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"

	"github.com/cairn-run/cairn/model/wire"
)

// Bounds of arguments that come in pieces.
const (
	maxNodes     = 1 << 16
	maxArgsDepth = 64
)

// tree is the arguments of a call as far as they have come, in the order in which
// they came.
type tree struct {
	root  *node
	nodes int
}

// node is a value: an object (keys), an array (items), a string (text) or any
// other scalar (raw). None of them: nothing was said of it yet.
type node struct {
	keys  []string
	named map[string]*node
	items []*node
	text  *strings.Builder
	raw   json.RawMessage
}

func newTree() *tree { return &tree{root: &node{named: map[string]*node{}}} }

// set takes one piece. False: it does not fit what came before, or is too large.
func (t *tree) set(p *PartialArg) bool {
	steps, ok := parsePath(p.JSONPath)
	if !ok || len(steps) == 0 || len(steps) > maxArgsDepth {
		return false
	}
	n := t.root
	for _, s := range steps {
		if n = t.child(n, s); n == nil {
			return false
		}
	}
	if n.named != nil || n.items != nil {
		return false
	}
	switch {
	case p.StringValue != nil:
		if n.raw != nil {
			return false
		}
		if n.text == nil {
			n.text = &strings.Builder{}
		}
		n.text.WriteString(*p.StringValue)
		return true
	case p.BoolValue != nil:
		n.raw = strconv.AppendBool(nil, *p.BoolValue)
	case len(p.NumberValue) > 0 && string(p.NumberValue) != "null":
		var f float64
		if json.Unmarshal(p.NumberValue, &f) != nil {
			return false
		}
		n.raw = p.NumberValue
	default:
		// nullValue, or a piece that says nothing: protobuf's null is a value that an
		// encoder may write as null.
		if n.text != nil {
			return true
		}
		n.raw = json.RawMessage("null")
	}
	return n.text == nil
}

// child is what a step leads to; nil: nowhere.
func (t *tree) child(n *node, s step) *node {
	if n.text != nil || n.raw != nil {
		return nil
	}
	if s.index < 0 {
		if n.items != nil {
			return nil
		}
		if n.named == nil {
			n.named = map[string]*node{}
		}
		if c, ok := n.named[s.key]; ok {
			return c
		}
		if t.nodes++; t.nodes > maxNodes {
			return nil
		}
		c := &node{}
		n.keys = append(n.keys, s.key)
		n.named[s.key] = c
		return c
	}
	if n.named != nil {
		return nil
	}
	for len(n.items) <= s.index {
		if t.nodes++; t.nodes > maxNodes {
			return nil
		}
		n.items = append(n.items, &node{})
	}
	return n.items[s.index]
}

// encode writes the arguments as one object.
func (t *tree) encode() json.RawMessage {
	var b bytes.Buffer
	t.root.encode(&b)
	return b.Bytes()
}

func (n *node) encode(b *bytes.Buffer) {
	switch {
	case n.named != nil:
		b.WriteByte('{')
		for i, k := range n.keys {
			if i > 0 {
				b.WriteByte(',')
			}
			writeString(b, k)
			b.WriteByte(':')
			n.named[k].encode(b)
		}
		b.WriteByte('}')
	case n.items != nil:
		b.WriteByte('[')
		for i, c := range n.items {
			if i > 0 {
				b.WriteByte(',')
			}
			c.encode(b)
		}
		b.WriteByte(']')
	case n.text != nil:
		writeString(b, n.text.String())
	case n.raw != nil:
		b.Write(n.raw)
	default:
		b.WriteString("null")
	}
}

func writeString(b *bytes.Buffer, s string) {
	raw, _ := wire.Encode(s) // a string always can be
	b.Write(raw)
}

// step is one step of a path: a key, or an index (then key is empty).
type step struct {
	key   string
	index int // -1: a key
}

// parsePath reads the paths that name one place: "$.a[0]['b c']" (RFC 9535).
func parsePath(p string) ([]step, bool) {
	rest, ok := strings.CutPrefix(p, "$")
	if !ok {
		return nil, false
	}
	var steps []step
	for rest != "" {
		if len(steps) >= maxArgsDepth {
			return nil, false
		}
		var s step
		if rest, s, ok = parseStep(rest); !ok {
			return nil, false
		}
		steps = append(steps, s)
	}
	return steps, true
}

func parseStep(p string) (rest string, s step, ok bool) {
	if p[0] == '.' {
		p = p[1:]
		end := strings.IndexAny(p, ".[")
		if end < 0 {
			end = len(p)
		}
		return p[end:], step{p[:end], -1}, end > 0
	}
	if p[0] != '[' || len(p) < 3 {
		return "", s, false
	}
	if q := p[1]; q == '\'' || q == '"' {
		var key strings.Builder
		for i := 2; i < len(p); i++ {
			switch {
			case p[i] == '\\' && i+1 < len(p):
				i++
				if strings.IndexByte(`'"\/`, p[i]) < 0 {
					return "", s, false // \n, \u… : no name of an argument
				}
				key.WriteByte(p[i])
			case p[i] == q:
				return p[min(i+2, len(p)):], step{key.String(), -1}, i+1 < len(p) && p[i+1] == ']'
			default:
				key.WriteByte(p[i])
			}
		}
		return "", s, false
	}
	digits, rest, found := strings.Cut(p[1:], "]")
	if !found || digits == "" || len(digits) > 6 || strings.Trim(digits, "0123456789") != "" {
		return "", s, false
	}
	n, err := strconv.Atoi(digits)
	return rest, step{index: n}, err == nil
}
