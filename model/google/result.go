package google

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strconv"
	"strings"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/model/wire"
)

// results encodes the results of a message's calls: as many functionResponse
// parts as there were calls, in their order, then what media they hold. Which call
// a result is of is said by its place, because ids may repeat.
func (h *history) results(parts []cairn.Part) ([]json.RawMessage, error) {
	var out, beside []json.RawMessage
	holders := 0
	for i := range parts {
		if len(parts[i].Parts) > 0 {
			holders++
		}
	}
	for i := range parts {
		p := &parts[i]
		call := called{name: function(p.Tool)}
		if i < len(h.calls) {
			call = h.calls[i]
		}
		response, err := response(p)
		if err != nil {
			return nil, err
		}
		raw, err := wire.Encode(Part{FunctionResponse: &FunctionResponse{Name: call.name, Response: response, ID: call.id}})
		if err != nil {
			return nil, err
		}
		out = append(out, raw)
		if holders > 1 && len(p.Parts) > 0 {
			label := cairn.Text("From result " + strconv.Itoa(i+1) + ", " + call.name + ":")
			if beside, err = appendPart(beside, &label); err != nil {
				return nil, err
			}
		}
		for j := range p.Parts {
			more, err := appendPart(beside, &p.Parts[j])
			if err != nil { // no reason to refuse every later request of the session
				note := cairn.Text(unseen(&p.Parts[j]))
				if more, err = appendPart(beside, &note); err != nil {
					return nil, err
				}
			}
			beside = more
		}
	}
	h.calls = nil
	return append(out, beside...), nil
}

// response is the object that Google wants of a result. An object is sent as it
// is, everything else under "output" or "error".
func response(p *cairn.Part) (json.RawMessage, error) {
	var value any = p.Text
	top, ok := structured(p.Text)
	if ok {
		raw := wire.Compact(json.RawMessage(p.Text))
		if !p.IsError && !top["output"] && !top["error"] {
			return raw, nil
		}
		value = raw // its own "error" would be taken for ours
	}
	if p.IsError {
		return wire.Encode(struct {
			Error any `json:"error"`
		}{value})
	}
	return wire.Encode(struct {
		Output any `json:"output"`
	}{value})
}

// maxDepth is how deep an object may be that is sent as one: Google reads it into
// protobuf messages, several for each level, and a hundred is where parsers stop
// (https://protobuf.dev/programming-guides/proto-limits/).
const maxDepth = 24

// structured says whether text is a JSON object that Google would read as it is
// meant, and what its keys are. Google reads it into a Struct, whose numbers are
// doubles and whose keys are unique
// (https://protobuf.dev/reference/protobuf/google.protobuf/#struct): an id of 19
// digits would be another one afterwards. Such an object is sent as text.
func structured(text string) (top map[string]bool, ok bool) {
	if t := strings.TrimLeft(text, " \t\r\n"); t == "" || t[0] != '{' || !json.Valid([]byte(text)) {
		return nil, false
	}
	dec := json.NewDecoder(bytes.NewReader([]byte(text)))
	dec.UseNumber()
	type level struct {
		keys map[string]bool // nil: an array
		key  bool            // a key is next
	}
	var stack []level
	for {
		token, err := dec.Token()
		if errors.Is(err, io.EOF) {
			return top, true
		}
		if err != nil {
			return nil, false
		}
		at := len(stack) - 1
		if s, isString := token.(string); isString && at >= 0 && stack[at].key {
			// "$ref" is Google's own way to point at a part of the result.
			if stack[at].keys[s] || s == "$ref" {
				return nil, false
			}
			stack[at].keys[s], stack[at].key = true, false
			continue
		}
		if n, isNumber := token.(json.Number); isNumber && !exact(n.String()) {
			return nil, false
		}
		delim, isDelim := token.(json.Delim)
		if at >= 0 && stack[at].keys != nil && (!isDelim || delim == '{' || delim == '[') {
			stack[at].key = true // after this value
		}
		if !isDelim {
			continue
		}
		switch delim {
		case '{':
			keys := map[string]bool{}
			if top == nil {
				top = keys
			}
			stack = append(stack, level{keys, true})
		case '[':
			stack = append(stack, level{})
		default:
			stack = stack[:at]
		}
		if len(stack) > maxDepth {
			return nil, false
		}
	}
}

// exact says whether a double holds a number: any with 15 digits, and of longer
// ones those that come back the same.
func exact(lit string) bool {
	f, err := strconv.ParseFloat(lit, 64)
	if err != nil {
		return false
	}
	digits := 0
	for _, c := range lit {
		if c == 'e' || c == 'E' {
			break
		}
		if c >= '0' && c <= '9' {
			digits++
		}
	}
	return digits <= 15 || strconv.FormatFloat(f, 'f', -1, 64) == lit
}
