package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sort"
	"unicode/utf8"

	"github.com/cairn-run/cairn/internal/yamltree"
)

// readJSON reads a JSON text into a tree.
func (s *source) readJSON(data []byte) (*tree, error) {
	r := &jsonReader{source: s, data: data, d: json.NewDecoder(bytes.NewReader(data))}
	r.d.UseNumber()
	for i, b := range data {
		if b == '\n' {
			r.breaks = append(r.breaks, i)
		}
	}
	t, err := r.value(0)
	if err != nil {
		return nil, err
	}
	p := r.next()
	if _, err := r.d.Token(); !errors.Is(err, io.EOF) {
		return nil, s.at(p, "text after the end of the JSON value")
	}
	return t, nil
}

type jsonReader struct {
	*source
	data   []byte
	d      *json.Decoder
	breaks []int // offsets of the line breaks
}

// place turns an offset in bytes into a place.
func (r *jsonReader) place(offset int) place {
	offset = min(max(offset, 0), len(r.data))
	line := sort.SearchInts(r.breaks, offset)
	start := 0
	if line > 0 {
		start = r.breaks[line-1] + 1
	}
	return place{Line: line + 1, Column: utf8.RuneCount(r.data[start:offset]) + 1}
}

// next is the place of the next token.
func (r *jsonReader) next() place {
	i := int(r.d.InputOffset())
	for i < len(r.data) && bytes.IndexByte([]byte(" \t\r\n,:"), r.data[i]) >= 0 {
		i++
	}
	return r.place(i)
}

func (r *jsonReader) fail(err error) error {
	if e, ok := errors.AsType[*json.SyntaxError](err); ok {
		return r.at(r.place(int(e.Offset)-1), "not JSON: %s", e)
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return r.at(r.place(len(bytes.TrimRight(r.data, " \t\r\n"))), "the JSON ends too early")
	}
	return r.at(r.next(), "not JSON: %v", err)
}

func (r *jsonReader) value(depth int) (*tree, error) {
	t := &tree{At: r.next()}
	if depth > maxDepth {
		return nil, r.at(t.At, "nested more than %d deep", maxDepth)
	}
	token, err := r.d.Token()
	if err != nil {
		return nil, r.fail(err)
	}
	switch v := token.(type) {
	case nil:
		t.Kind = yamltree.Null
	case bool:
		t.Kind, t.Text = yamltree.Bool, fmt.Sprint(v)
	case json.Number:
		t.Kind, t.Text = yamltree.Number, v.String()
	case string:
		t.Kind, t.Text = yamltree.Text, v
	case json.Delim:
		if v == '[' {
			t.Kind = yamltree.List
			for r.d.More() {
				item, err := r.value(depth + 1)
				if err != nil {
					return nil, err
				}
				t.Items = append(t.Items, item)
			}
		} else {
			t.Kind = yamltree.Mapping
			seen := map[string]bool{}
			for r.d.More() {
				p := r.next()
				key, err := r.d.Token()
				if err != nil {
					return nil, r.fail(err)
				}
				name, _ := key.(string)
				if seen[name] {
					return nil, r.at(p, "field %q is given twice", name)
				}
				seen[name] = true
				value, err := r.value(depth + 1)
				if err != nil {
					return nil, err
				}
				t.Fields = append(t.Fields, field{Name: name, At: p, Value: value})
			}
		}
		if _, err := r.d.Token(); err != nil {
			return nil, r.fail(err)
		}
	}
	return t, nil
}
