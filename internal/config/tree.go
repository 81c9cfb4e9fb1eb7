package config

import (
	"bytes"
	"encoding/json"
)

// kind says what a value is.
type kind int

const (
	kindNull kind = iota
	kindBool
	kindNumber
	kindText
	kindList
	kindMapping
)

// String is the word for the kind in a message.
func (k kind) String() string {
	return [...]string{"nothing", "true or false", "a number", "text", "a list", "a mapping"}[k]
}

// tree is a value of a file with the place where it stands. YAML and JSON are
// read into the same form.
type tree struct {
	kind   kind
	at     place
	text   string // of text; of a number as JSON; "true" or "false"
	items  []*tree
	fields []field
}

// field is an entry of a mapping.
type field struct {
	name  string
	at    place
	value *tree
}

// maxDepth bounds the nesting of a file.
const maxDepth = 100

// json writes the value as JSON, the fields in the order of the file.
func (t *tree) json() json.RawMessage {
	var b bytes.Buffer
	t.write(&b)
	return b.Bytes()
}

func (t *tree) write(b *bytes.Buffer) {
	switch t.kind {
	case kindNull:
		b.WriteString("null")
	case kindBool, kindNumber:
		b.WriteString(t.text)
	case kindText:
		writeText(b, t.text)
	case kindList:
		b.WriteByte('[')
		for i, item := range t.items {
			if i > 0 {
				b.WriteByte(',')
			}
			item.write(b)
		}
		b.WriteByte(']')
	case kindMapping:
		b.WriteByte('{')
		for i, f := range t.fields {
			if i > 0 {
				b.WriteByte(',')
			}
			writeText(b, f.name)
			b.WriteByte(':')
			f.value.write(b)
		}
		b.WriteByte('}')
	}
}

func writeText(b *bytes.Buffer, s string) {
	e := json.NewEncoder(b)
	e.SetEscapeHTML(false)
	_ = e.Encode(s)         // a string into a buffer cannot fail
	b.Truncate(b.Len() - 1) // the newline
}
