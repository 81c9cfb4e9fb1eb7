package anthropic

import (
	"bytes"
	"encoding/json"

	"github.com/cairn-run/cairn/model/wire"
)

// object is a JSON object whose members keep their order and their bytes, so that
// a block can be changed in one place and stay what it was in all others.
type object []member

type member struct {
	key   string
	value json.RawMessage
}

// parseObject reads an object. False: it is something else, or not JSON.
func parseObject(raw []byte) (object, bool) {
	dec := json.NewDecoder(bytes.NewReader(raw))
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return nil, false
	}
	var o object
	for dec.More() {
		t, err := dec.Token()
		key, ok := t.(string)
		if err != nil || !ok {
			return nil, false
		}
		var v json.RawMessage
		if dec.Decode(&v) != nil {
			return nil, false
		}
		o = append(o, member{key, v})
	}
	if _, err := dec.Token(); err != nil {
		return nil, false
	}
	return o, true
}

// get returns a member's value; of two with one name the last counts. nil: there
// is none.
func (o object) get(key string) json.RawMessage {
	for i := len(o) - 1; i >= 0; i-- {
		if o[i].key == key {
			return o[i].value
		}
	}
	return nil
}

// text returns a member that is a string, else "".
func (o object) text(key string) string {
	var s string
	_ = json.Unmarshal(o.get(key), &s) // what is no string leaves ""
	return s
}

// set changes a member in its place, or adds it at the end.
func (o *object) set(key string, value json.RawMessage) {
	for i := len(*o) - 1; i >= 0; i-- {
		if (*o)[i].key == key {
			(*o)[i].value = value
			return
		}
	}
	*o = append(*o, member{key, value})
}

// setText is set with a string.
func (o *object) setText(key, value string) { o.set(key, quote(value)) }

// encode writes the object without white space.
func (o object) encode() json.RawMessage {
	b := []byte{'{'}
	for i, m := range o {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, quote(m.key)...)
		b = append(b, ':')
		b = append(b, m.value...)
	}
	return wire.Compact(append(b, '}'))
}

// quote is a string as JSON.
func quote(s string) json.RawMessage {
	b, _ := wire.Encode(s) // a string can always be encoded
	return b
}

func isNull(raw json.RawMessage) bool { return len(raw) == 0 || string(raw) == "null" }

// isObject says whether a JSON document is an object.
func isObject(raw []byte) bool {
	raw = bytes.TrimLeft(raw, " \t\r\n")
	return len(raw) > 0 && raw[0] == '{' && json.Valid(raw)
}
