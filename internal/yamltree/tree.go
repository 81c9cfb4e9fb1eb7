// Package yamltree reads a YAML text into a tree of plain values, each with the
// place where it stands. It is what the readers of this repository's files have
// in common: nesting is bounded, a name is plain text and is given once, and
// what is wrong has a line and a column.
//
// It is not a YAML library, and no decoder. It knows no fields and no file: what
// a value has to be, how much text there may be, and how a mistake is worded to
// the reader of one kind of file belongs to the package of that kind. Anchors,
// aliases and tags are never resolved; they are in the tree so that they can be
// refused in the reader's own words.
package yamltree

import "github.com/goccy/go-yaml/ast"

// Place is where something stands in a file. The zero place is not known.
type Place struct {
	Line   int // from 1
	Column int // from 1, in characters
}

// Kind says what a value is.
type Kind int

// The kinds. From [Anchor] on they are forms that a strict reader refuses.
const (
	Null Kind = iota
	Bool
	Number
	NoNumber // a number that JSON does not have: infinite, or none
	Text
	List
	Mapping
	Anchor
	Alias
	Tag
	Other
)

// String is the word for the kind in a message.
func (k Kind) String() string {
	return [...]string{
		"nothing", "true or false", "a number", "a number", "text", "a list", "a mapping",
		"an anchor", "an alias", "a tag", "this form of YAML",
	}[k]
}

// Node is a value.
type Node struct {
	Kind Kind
	// Start is where the value begins, and At where it is shown: of a mapping, at its
	// first name, which stands after a brace; of nothing, at its own name.
	Start, At Place
	// Text is that of a text; of a number, its JSON; of true or false, the word; of
	// [NoNumber], what stands there.
	Text string
	// Integer says of a number that it is written as a whole one.
	Integer bool
	// Numeric says of a text that it has no quotes and is a number in JSON: 1e3, and
	// numbers of many digits, are text in YAML.
	Numeric bool
	Items   []*Node
	Fields  []Field // in the order of the file
}

// Field is an entry of a mapping.
type Field struct {
	Name  string
	At    Place // of the name
	Value *Node
}

// Find returns the first value, in the order of the file, of which a condition
// holds: this one, or one inside it. There may be none.
func (n *Node) Find(holds func(*Node) bool) *Node {
	if holds(n) {
		return n
	}
	for _, item := range n.Items {
		if found := item.Find(holds); found != nil {
			return found
		}
	}
	for _, f := range n.Fields {
		if found := f.Value.Find(holds); found != nil {
			return found
		}
	}
	return nil
}

// Document is one of the documents of a text.
type Document struct {
	Start Place // of its ---, or of the root if it has none
	Root  *Node
	Body  ast.Node // the root as the parser has it, to be decoded by the YAML library
}

// Error is what is wrong with a text, and where. Its words may quote the text.
type Error struct {
	At      Place
	Problem string
	// Syntax says that this is no YAML; else it is YAML beyond the bounds.
	Syntax bool
	// Repeated is the name that is given again, if that is the problem.
	Repeated string
}

// Error implements error, without the place: who knows the file writes both.
func (e *Error) Error() string {
	if e.Syntax {
		return "not YAML: " + e.Problem
	}
	return e.Problem
}
