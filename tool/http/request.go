package http

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/textproto"
	"strings"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/tool"
)

// idempotencyHeader carries the key of a call (the IETF draft of this name).
const idempotencyHeader = "Idempotency-Key"

var methods = map[string]bool{"GET": true, "HEAD": true, "POST": true, "PUT": true, "PATCH": true, "DELETE": true}

// method is the HTTP method of a tool, in capitals.
func method(t *cairn.HTTPTool) string {
	if t.Method == "" {
		return http.MethodPost
	}
	return strings.ToUpper(t.Method)
}

// newRequest makes the request of a call.
func newRequest(ctx context.Context, c tool.Call) (*http.Request, error) {
	t := c.Entry.HTTP
	args, err := decode(c.Args)
	if err != nil {
		return nil, err
	}
	a, err := parseAddress(t.URL)
	if err != nil {
		return nil, err
	}
	u, err := a.render(args)
	if err != nil {
		return nil, err
	}
	rest := a.remaining(args)
	m := method(t)
	var body []byte
	switch m {
	case http.MethodGet, http.MethodHead, http.MethodDelete:
		addQuery(u, rest)
	default:
		if body, err = encode(rest); err != nil {
			return nil, err
		}
	}
	var reader io.Reader
	if body != nil {
		reader = bytes.NewReader(body)
	}
	req, err := http.NewRequestWithContext(ctx, m, u.String(), reader)
	if err != nil {
		return nil, fmt.Errorf("the request cannot be made from these arguments")
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	req.Header.Set("Accept", "application/json, */*;q=0.5")
	req.Header.Set("User-Agent", "cairn")
	for name, value := range t.Headers {
		if strings.EqualFold(name, "Host") {
			req.Host = value
			continue
		}
		setHeader(req.Header, name, value)
	}
	setHeader(req.Header, idempotencyHeader, c.Key)
	return req, nil
}

// setHeader sets a header. net/http takes a request whose header map has the
// entry Idempotency-Key or X-Idempotency-Key as one that it may send again by
// itself after a broken connection; whether a call may be repeated is not for it
// to decide, so these two are spelt in small letters, which means the same to
// every server and nothing to net/http.
func setHeader(h http.Header, name, value string) {
	canonical := textproto.CanonicalMIMEHeaderKey(name)
	if canonical == idempotencyHeader || canonical == "X-"+idempotencyHeader {
		h[strings.ToLower(canonical)] = []string{value}
		return
	}
	h[canonical] = []string{value}
}

// decode reads arguments, keeping the digits of numbers.
func decode(args []byte) (map[string]any, error) {
	if len(bytes.TrimSpace(args)) == 0 {
		return map[string]any{}, nil
	}
	d := json.NewDecoder(bytes.NewReader(args))
	d.UseNumber()
	var object map[string]any
	if err := d.Decode(&object); err != nil {
		return nil, fmt.Errorf("the arguments are not a JSON object")
	}
	if object == nil {
		object = map[string]any{}
	}
	return object, nil
}

// encode writes JSON with sorted names: every attempt sends the same bytes.
func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, fmt.Errorf("the arguments cannot be encoded")
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// plain is a value as it stands in a query: strings as they are, all else as JSON.
func plain(v any) string {
	if s, ok := v.(string); ok {
		return s
	}
	b, err := encode(v)
	if err != nil { // decoded JSON always encodes
		return ""
	}
	return string(b)
}

// validHeader says whether a header can be sent (RFC 9110, section 5).
func validHeader(name, value string) bool {
	if name == "" {
		return false
	}
	for _, c := range []byte(name) {
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		if !letter && !strings.ContainsRune("!#$%&'*+-.^_`|~", rune(c)) {
			return false
		}
	}
	for _, c := range []byte(value) {
		if c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return true
}
