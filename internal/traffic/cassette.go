package traffic

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// cassette reads the two YAML forms. go-vcr 4: url, code, body as text. vcrpy:
// uri, status.code, body.string, or parsed_body where pydantic-ai keeps JSON as a
// tree.
func (c *Corpus) cassette(corpus, file string, raw []byte) error {
	var doc yaml.Node
	if err := yaml.Unmarshal(raw, &doc); err != nil {
		return err
	}
	if doc.Kind != yaml.DocumentNode || len(doc.Content) != 1 {
		return errors.New("not one document")
	}
	all := get(doc.Content[0], "interactions")
	if all == nil {
		return errors.New("no interactions")
	}
	for i, n := range all.Content {
		name := fmt.Sprintf("%s/%s#%d", corpus, strings.TrimSuffix(file, ".yaml"), i)
		if get(n, "request") == nil && (get(n, "request_sample") != nil || get(n, "request_stream") != nil) {
			c.exclude(corpus, name, "xAI over gRPC")
			continue
		}
		if err := c.interaction(corpus, name, n); err != nil {
			return fmt.Errorf("interaction %d: %w", i, err)
		}
	}
	return nil
}

func (c *Corpus) interaction(corpus, name string, n *yaml.Node) error {
	req, resp := get(n, "request"), get(n, "response")
	target, err := text(firstNode(get(req, "url"), get(req, "uri")))
	if err != nil {
		return err
	}
	u, err := url.Parse(string(target))
	if err != nil {
		return err
	}
	method, err := text(get(req, "method"))
	if err != nil {
		return err
	}
	e := Exchange{Name: name, Corpus: corpus, Path: u.Path, Provider: providerOf(u)}
	if e.Header, err = headers(get(resp, "headers")); err != nil {
		return err
	}
	if e.Body, err = document(firstNode(get(resp, "parsed_body"), get(resp, "body", "string"), get(resp, "body"))); err != nil {
		return fmt.Errorf("answer: %w", err)
	}
	var reason string
	if e.Wire, reason = route(strings.ToUpper(string(method)), u, e.Header.Get("Content-Type")); reason != "" {
		c.exclude(corpus, name, reason)
		return nil
	}
	if e.Request, err = document(firstNode(get(req, "parsed_body"), get(req, "body"))); err != nil {
		return fmt.Errorf("request: %w", err)
	}
	code, err := text(firstNode(get(resp, "code"), get(resp, "status", "code")))
	if err != nil {
		return err
	}
	if e.Status, err = strconv.Atoi(string(code)); err != nil {
		return err
	}
	e.Stream = strings.HasPrefix(e.Header.Get("Content-Type"), "text/event-stream")
	if e.Model, err = modelOf(u.Path, e.Request); err != nil {
		return err
	}
	c.Exchanges = append(c.Exchanges, e)
	return nil
}

func firstNode(all ...*yaml.Node) *yaml.Node {
	for _, n := range all {
		if n != nil {
			return n
		}
	}
	return nil
}

func headers(n *yaml.Node) (http.Header, error) {
	h := http.Header{}
	if n == nil {
		return h, nil
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		for _, v := range n.Content[i+1].Content {
			s, err := text(v)
			if err != nil {
				return nil, err
			}
			h.Add(n.Content[i].Value, string(s))
		}
	}
	for _, transfer := range []string{"Content-Encoding", "Content-Length", "Transfer-Encoding"} {
		h.Del(transfer)
	}
	return h, nil
}

// modelOf is the model that a request names, in its body or in its path.
func modelOf(path string, body []byte) (string, error) {
	var doc struct {
		Model string `json:"model"`
	}
	if err := json.Unmarshal(body, &doc); err != nil {
		return "", fmt.Errorf("the request is not JSON: %w", err)
	}
	if doc.Model != "" {
		return doc.Model, nil
	}
	for _, before := range []string{"/models/", "/model/"} {
		if _, rest, ok := strings.Cut(path, before); ok {
			for _, after := range []string{":generateContent", ":streamGenerateContent", ":rawPredict", ":streamRawPredict", "/invoke"} {
				rest = strings.TrimSuffix(rest, after)
			}
			return rest, nil
		}
	}
	return "", errors.New("no model")
}

// reframe makes server-sent events of a file with one payload a line.
func reframe(w Wire, lines []byte) ([]byte, error) {
	var b bytes.Buffer
	for line := range bytes.Lines(lines) {
		line = bytes.TrimSpace(line)
		if len(line) == 0 {
			continue
		}
		if w == Responses || w == Messages { // their events have a name, which the payload repeats
			var event struct {
				Type string `json:"type"`
			}
			_ = json.Unmarshal(line, &event) // one recording has broken lines, kept as they are
			if event.Type != "" {
				fmt.Fprintf(&b, "event: %s\n", event.Type)
			}
		}
		b.WriteString("data: ")
		b.Write(line)
		b.WriteString("\n\n")
	}
	if b.Len() == 0 {
		return nil, errors.New("no chunks")
	}
	if w == Chat {
		b.WriteString("data: [DONE]\n\n") // the files leave it out, and their own tests add it
	}
	return b.Bytes(), nil
}
