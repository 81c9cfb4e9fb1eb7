package config

import (
	"bytes"
	"encoding/json"

	"github.com/cairn-run/cairn/internal/yamltree"
)

// A tree is a value of a file with the place where it stands. YAML and JSON are
// read into the same form.
type (
	tree  = yamltree.Node
	field = yamltree.Field
	place = yamltree.Place
)

// maxDepth bounds the nesting of a file.
const maxDepth = 100

// toJSON writes a value as JSON, the fields in the order of the file.
func toJSON(t *tree) json.RawMessage {
	var b bytes.Buffer
	write(&b, t)
	return b.Bytes()
}

func write(b *bytes.Buffer, t *tree) {
	switch t.Kind {
	case yamltree.Null:
		b.WriteString("null")
	case yamltree.Bool, yamltree.Number:
		b.WriteString(t.Text)
	case yamltree.Text:
		writeText(b, t.Text)
	case yamltree.List:
		b.WriteByte('[')
		for i, item := range t.Items {
			if i > 0 {
				b.WriteByte(',')
			}
			write(b, item)
		}
		b.WriteByte(']')
	case yamltree.Mapping:
		b.WriteByte('{')
		for i, f := range t.Fields {
			if i > 0 {
				b.WriteByte(',')
			}
			writeText(b, f.Name)
			b.WriteByte(':')
			write(b, f.Value)
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
