package wire

import (
	"bytes"
	"encoding/json"

	"github.com/cairn-run/cairn"
)

// Encode writes a value as JSON without a newline at its end, and without the
// escapes that are meant for HTML: what a provider sees is what was said.
func Encode(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// Compact takes the white space out of a JSON document and changes nothing else.
// What is not JSON is returned as it is.
func Compact(raw json.RawMessage) json.RawMessage {
	var b bytes.Buffer
	if json.Compact(&b, raw) != nil {
		return raw
	}
	return b.Bytes()
}

// Malformed is the error of an answer that is not what the wire promises. It is
// worth another attempt.
func Malformed(name, what string) *cairn.Error {
	return &cairn.Error{Code: cairn.CodeCut, Message: "the answer of " + name + " is malformed: " + what, Retryable: true}
}
