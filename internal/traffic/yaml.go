package traffic

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v3"
)

// get is the value of a key in a mapping; nil: there is none, or it is null.
func get(n *yaml.Node, keys ...string) *yaml.Node {
	for _, key := range keys {
		if n == nil || n.Kind != yaml.MappingNode {
			return nil
		}
		var found *yaml.Node
		for i := 0; i+1 < len(n.Content); i += 2 {
			if n.Content[i].Value == key {
				found = n.Content[i+1]
			}
		}
		n = found
	}
	if n != nil && n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	if n != nil && n.Kind == yaml.ScalarNode && kindOf(n) == isNull {
		return nil
	}
	return n
}

// text is a scalar's value; bytes where it is !!binary.
func text(n *yaml.Node) ([]byte, error) {
	switch {
	case n == nil:
		return nil, nil
	case n.Kind != yaml.ScalarNode:
		return nil, fmt.Errorf("line %d: not a scalar", n.Line)
	case n.Tag == "!!binary":
		return base64.StdEncoding.DecodeString(strings.Join(strings.Fields(n.Value), ""))
	}
	return []byte(n.Value), nil
}

// document is a body: text as it stands, a tree as compact JSON.
func document(n *yaml.Node) ([]byte, error) {
	if n == nil || n.Kind == yaml.ScalarNode {
		return text(n)
	}
	var b bytes.Buffer
	if err := writeJSON(&b, n); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// writeJSON writes a tree with the order of its keys and the text of its numbers.
func writeJSON(b *bytes.Buffer, n *yaml.Node) error {
	switch n.Kind {
	case yaml.AliasNode:
		return writeJSON(b, n.Alias)
	case yaml.MappingNode:
		b.WriteByte('{')
		for i := 0; i+1 < len(n.Content); i += 2 {
			if i > 0 {
				b.WriteByte(',')
			}
			writeString(b, n.Content[i].Value)
			b.WriteByte(':')
			if err := writeJSON(b, n.Content[i+1]); err != nil {
				return err
			}
		}
		b.WriteByte('}')
		return nil
	case yaml.SequenceNode:
		b.WriteByte('[')
		for i, item := range n.Content {
			if i > 0 {
				b.WriteByte(',')
			}
			if err := writeJSON(b, item); err != nil {
				return err
			}
		}
		b.WriteByte(']')
		return nil
	case yaml.ScalarNode:
	default:
		return fmt.Errorf("line %d: a node of kind %d", n.Line, n.Kind)
	}
	switch kindOf(n) {
	case isNull:
		b.WriteString("null")
	case isTrue:
		b.WriteString("true")
	case isFalse:
		b.WriteString("false")
	case isNumber:
		if !json.Valid([]byte(n.Value)) {
			return fmt.Errorf("line %d: the number %s is not one in JSON", n.Line, n.Value)
		}
		b.WriteString(n.Value)
	default:
		if n.Tag == "!!binary" {
			return fmt.Errorf("line %d: bytes in a tree", n.Line)
		}
		writeString(b, n.Value)
	}
	return nil
}

type kind int

const (
	isString kind = iota
	isNull
	isTrue
	isFalse
	isNumber
)

// number is what PyYAML, which wrote the trees, resolves as an integer or a float
// of the decimal system: YAML 1.1, where a float has a dot (1e3 is a string).
// https://yaml.org/type/int.html, https://yaml.org/type/float.html
var number = regexp.MustCompile(`^[-+]?(0|[1-9][0-9_]*|[0-9][0-9_]*\.[0-9_]*([eE][-+][0-9]+)?)$`)

// kindOf resolves a scalar as YAML 1.1 does. The library resolves as 1.2 and would
// read some of PyYAML's plain strings as numbers.
func kindOf(n *yaml.Node) kind {
	const quoted = yaml.DoubleQuotedStyle | yaml.SingleQuotedStyle | yaml.LiteralStyle | yaml.FoldedStyle
	if n.Style&(quoted|yaml.TaggedStyle) != 0 {
		return isString
	}
	switch n.Value {
	case "", "~", "null", "Null", "NULL":
		return isNull
	case "true", "True", "TRUE", "yes", "Yes", "YES", "on", "On", "ON":
		return isTrue
	case "false", "False", "FALSE", "no", "No", "NO", "off", "Off", "OFF":
		return isFalse
	}
	if number.MatchString(n.Value) {
		return isNumber
	}
	return isString
}

// writeString writes a JSON string with the escapes that JSON demands and no
// others, as providers write text.
func writeString(b *bytes.Buffer, s string) {
	const hex = "0123456789abcdef"
	b.WriteByte('"')
	for _, c := range []byte(s) {
		switch c {
		case '"', '\\':
			b.WriteByte('\\')
			b.WriteByte(c)
		case '\n':
			b.WriteString(`\n`)
		case '\r':
			b.WriteString(`\r`)
		case '\t':
			b.WriteString(`\t`)
		case '\b':
			b.WriteString(`\b`)
		case '\f':
			b.WriteString(`\f`)
		default:
			if c < 0x20 {
				b.WriteString(`\u00`)
				b.WriteByte(hex[c>>4])
				b.WriteByte(hex[c&0xF])
			} else {
				b.WriteByte(c)
			}
		}
	}
	b.WriteByte('"')
}
