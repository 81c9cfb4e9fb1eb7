package cairn

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"strconv"
	"unicode/utf8"
)

// Canonical returns the canonical form of a JSON text: keys sorted by their bytes, no white
// space, numbers as RFC 8785 (JSON Canonicalization Scheme) prints them, except
// that integers of any length keep their digits. Two texts that mean the same
// have the same canonical form; a duplicate key is an error, because two
// readers may disagree on which one counts.
func Canonical(text []byte) ([]byte, error) {
	if !utf8.Valid(text) {
		return nil, fmt.Errorf("JSON is not valid UTF-8")
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	v, err := canonicalValue(d, 0)
	if err != nil {
		return nil, err
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, fmt.Errorf("JSON has text after its value")
	}
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(out.Bytes(), []byte("\n")), nil
}

// maxJSONDepth bounds the nesting of arguments and schemas.
const maxJSONDepth = 200

func canonicalValue(d *json.Decoder, depth int) (any, error) {
	if depth > maxJSONDepth {
		return nil, fmt.Errorf("JSON is nested more than %d deep", maxJSONDepth)
	}
	t, err := d.Token()
	if err != nil {
		return nil, err
	}
	switch t := t.(type) {
	case json.Number:
		return canonicalNumber(t)
	case json.Delim:
		if t == '[' {
			list := []any{}
			for d.More() {
				v, err := canonicalValue(d, depth+1)
				if err != nil {
					return nil, err
				}
				list = append(list, v)
			}
			_, err := d.Token()
			return list, err
		}
		object := map[string]any{}
		for d.More() {
			k, err := d.Token()
			if err != nil {
				return nil, err
			}
			key, _ := k.(string)
			if _, ok := object[key]; ok {
				return nil, fmt.Errorf("JSON has the key %q twice", key)
			}
			if object[key], err = canonicalValue(d, depth+1); err != nil {
				return nil, err
			}
		}
		_, err := d.Token()
		return object, err
	}
	return t, nil
}

func canonicalNumber(n json.Number) (any, error) {
	text := n.String()
	integer := true
	for i, c := range text {
		if (c < '0' || c > '9') && (i > 0 || c != '-') {
			integer = false
		}
	}
	if integer {
		if text == "-0" {
			return json.Number("0"), nil
		}
		return n, nil
	}
	f, err := n.Float64()
	if err != nil || math.IsInf(f, 0) {
		return nil, fmt.Errorf("number %s is out of range", text)
	}
	if f == 0 { // -0.0 too
		return json.Number("0"), nil
	}
	if f == math.Trunc(f) && math.Abs(f) < 1e21 {
		return json.Number(strconv.FormatFloat(f, 'f', -1, 64)), nil
	}
	return f, nil // encoding/json prints floats as ECMAScript does
}
