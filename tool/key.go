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

// action is what an approval is bound to. Its fields stand in the order of their
// names, and nothing in it is escaped for HTML: with canonical arguments its
// encoding is canonical as it is.
type action struct {
	Arguments  json.RawMessage `json:"arguments"`
	Definition cairn.Digest    `json:"definition"`
	Principal  principal       `json:"principal"`
	Target     string          `json:"target"`
	Tool       string          `json:"tool"`
}

type principal struct {
	Session cairn.SessionID `json:"session"`
	Tenant  cairn.TenantID  `json:"tenant"`
}

// canonical is the canonical JSON of the action.
func (a action) canonical() ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(a); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
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
