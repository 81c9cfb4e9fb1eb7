package openai

import (
	"bytes"
	"encoding/json"
	"errors"
	"strconv"
	"strings"

	"github.com/cairn-run/cairn/model/wire"
)

// Member is a name and a value of a JSON object.
type Member struct {
	Name  string
	Value json.RawMessage
}

// Object is a JSON object that keeps the order of its members and their bytes.
type Object []Member

var errNoObject = errors.New("not a JSON object")

// parseObject reads an object. The values share no memory with raw.
func parseObject(raw []byte) (Object, error) {
	dec := json.NewDecoder(bytes.NewReader(raw))
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return nil, errNoObject
	}
	var o Object
	for dec.More() {
		t, err := dec.Token()
		if err != nil {
			return nil, errNoObject
		}
		name, ok := t.(string)
		if !ok {
			return nil, errNoObject
		}
		var v json.RawMessage
		if err := dec.Decode(&v); err != nil {
			return nil, errNoObject
		}
		o = append(o, Member{name, wire.Compact(v)})
	}
	if t, err := dec.Token(); err != nil || t != json.Delim('}') {
		return nil, errNoObject
	}
	return o, nil
}

// Get returns the value of a member; nil: there is none.
func (o Object) Get(name string) json.RawMessage {
	for i := len(o) - 1; i >= 0; i-- {
		if o[i].Name == name {
			return o[i].Value
		}
	}
	return nil
}

// Set replaces a member in its place, or puts it at the end.
func (o *Object) Set(name string, v json.RawMessage) {
	for i := len(*o) - 1; i >= 0; i-- {
		if (*o)[i].Name == name {
			(*o)[i].Value = v
			return
		}
	}
	*o = append(*o, Member{name, v})
}

// remove takes a member out.
func (o *Object) remove(name string) {
	for i := len(*o) - 1; i >= 0; i-- {
		if (*o)[i].Name == name {
			*o = append((*o)[:i:i], (*o)[i+1:]...)
		}
	}
}

// MarshalJSON writes the members in their order.
func (o Object) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	b.WriteByte('{')
	for i, m := range o {
		if i > 0 {
			b.WriteByte(',')
		}
		b.Write(quote(m.Name))
		b.WriteByte(':')
		if len(m.Value) == 0 {
			b.WriteString("null")
		}
		b.Write(m.Value)
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

// UnmarshalJSON keeps the order of the members.
func (o *Object) UnmarshalJSON(b []byte) error {
	v, err := parseObject(b)
	*o = v
	return err
}

// raw is the object's bytes. Its values have to be JSON.
func (o Object) raw() json.RawMessage {
	b, _ := o.MarshalJSON() // never fails
	return b
}

// quote writes a string as JSON, without the escapes that are meant for HTML.
func quote(s string) json.RawMessage {
	b, err := wire.Encode(s)
	if err != nil {
		return json.RawMessage(`""`) // a string can always be encoded
	}
	return b
}

// text reads a JSON string; anything else is "".
func text(raw json.RawMessage) string {
	if len(raw) == 0 || raw[0] != '"' {
		return ""
	}
	var s string
	if json.Unmarshal(raw, &s) != nil {
		return ""
	}
	return s
}

// list reads a JSON array; anything else is empty.
func list(raw json.RawMessage) []json.RawMessage {
	if len(raw) == 0 || raw[0] != '[' {
		return nil
	}
	var l []json.RawMessage
	if json.Unmarshal(raw, &l) != nil {
		return nil
	}
	return l
}

// isList says whether the value is an array.
func isList(raw json.RawMessage) bool { return len(raw) > 0 && raw[0] == '[' }

// array writes values as a JSON array.
func array(items []json.RawMessage) json.RawMessage {
	b := []byte{'['}
	for i, it := range items {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, it...)
	}
	return append(b, ']')
}

// isNull says that a value is missing or null.
func isNull(raw json.RawMessage) bool { return len(raw) == 0 || string(raw) == "null" }

// isEmpty says that a value says nothing: null, "", [] or {}.
func isEmpty(raw json.RawMessage) bool {
	switch string(raw) {
	case "", "null", `""`, "[]", "{}":
		return true
	}
	return false
}

// isObject says whether a text is one JSON object.
func isObject(s string) bool {
	s = strings.TrimSpace(s)
	return strings.HasPrefix(s, "{") && json.Valid([]byte(s))
}

// tolerate reads a document and passes over values that have another type than
// the documents of the wire say: other servers are freer than their model. An
// error says that it is no JSON.
func tolerate(b []byte, v any) error {
	err := json.Unmarshal(b, v)
	if _, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return nil
	}
	return err
}

// Count is a number of tokens. Servers write it as 7, 7.0, "7" or null.
type Count int64

// UnmarshalJSON reads any number; what is none, or below zero, is 0.
func (c *Count) UnmarshalJSON(b []byte) error {
	*c = 0
	b = bytes.Trim(b, `"`)
	if n, err := strconv.ParseInt(string(b), 10, 64); err == nil {
		*c = Count(max(n, 0))
	} else if f, err := strconv.ParseFloat(string(b), 64); err == nil && f > 0 {
		*c = Count(min(f, maxCount))
	}
	*c = min(*c, maxCount)
	return nil
}

// maxCount is more tokens than any answer has, and keeps their cost away from
// overflow at any price.
const maxCount = 1 << 32
