package tool

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"net/url"

	"github.com/cairn-run/cairn"
)

// maxKey bounds an idempotency key, in bytes; 255 is what targets commonly take.
const maxKey = 255

// renderKey makes the idempotency key of a call from its template. Arguments are
// percent-encoded, so that two different calls cannot make the same key by what
// they put between the template's own separators, and so that a key fits a header.
func renderKey(template string, args map[string]any) (string, error) {
	t, err := ParseTemplate(template)
	if err != nil {
		return "", err
	}
	key, err := t.Render(args, url.QueryEscape)
	if err != nil {
		return "", err
	}
	if len(key) > maxKey {
		sum := fmt.Sprintf("~%x", sha256.Sum256([]byte(key)))
		key = key[:maxKey-len(sum)] + sum
	}
	return key, nil
}

// decodeObject reads arguments, keeping the digits of numbers.
func decodeObject(args []byte) (map[string]any, error) {
	d := json.NewDecoder(bytes.NewReader(args))
	d.UseNumber()
	var object map[string]any
	if err := d.Decode(&object); err != nil {
		return nil, err
	}
	if object == nil {
		return nil, fmt.Errorf("not a JSON object")
	}
	return object, nil
}

// action is what an approval is bound to.
type action struct {
	Tool       string           `json:"tool"`
	Definition cairn.Digest     `json:"definition"`
	Arguments  json.RawMessage  `json:"arguments"`
	Principal  cairn.SessionKey `json:"principal"`
	Target     string           `json:"target"`
}

// digest is the SHA-256 of the canonical JSON of the action.
func (a action) digest() (cairn.Digest, error) {
	b, err := json.Marshal(a)
	if err != nil {
		return "", err
	}
	if b, err = cairn.Canonical(b); err != nil {
		return "", err
	}
	return cairn.DigestOf(b), nil
}

// targetOf names whom a call reaches, without credentials in headers or environment.
func targetOf(a *cairn.Agent, source int) string {
	if source < 0 || source >= len(a.Tools) {
		return ""
	}
	switch e := a.Tools[source]; {
	case e.HTTP != nil:
		return "http " + method(e.HTTP) + " " + e.HTTP.URL
	case e.MCP != nil && e.MCP.URL != "":
		return "mcp " + e.MCP.URL
	case e.MCP != nil:
		return fmt.Sprintf("mcp %q", e.MCP.Command)
	case e.Client != nil:
		return "client"
	default:
		return "engine"
	}
}
