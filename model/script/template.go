package script

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"github.com/cairn-run/cairn"
)

// checkTemplates says what is wrong with the templates of a text.
func checkTemplates(text string) error {
	_, err := expand(text, func(name string) (any, error) {
		switch {
		case name == "user", name == "task", name == "turn":
			return "", nil
		case strings.HasPrefix(name, "result.") && len(name) > len("result."):
			return "", nil
		}
		return nil, fmt.Errorf("template {{%s}} names nothing: use {{result.TOOL.field}}, {{user}}, {{task}} or {{turn}}", name)
	})
	return err
}

// expand puts values in the place of the templates of a text. A text that is
// nothing but one template becomes its value; else the result is a string.
func expand(text string, value func(name string) (any, error)) (any, error) {
	if !strings.Contains(text, "{{") {
		return text, nil
	}
	var out strings.Builder
	for rest := text; ; {
		before, after, found := strings.Cut(rest, "{{")
		out.WriteString(before)
		if !found {
			return out.String(), nil
		}
		name, tail, closed := strings.Cut(after, "}}")
		if !closed {
			return nil, fmt.Errorf("a template is not closed: write }} after {{%.40s", after)
		}
		v, err := value(strings.TrimSpace(name))
		if err != nil {
			return nil, err
		}
		if tail == "" && out.Len() == 0 {
			return v, nil
		}
		s, err := asText(v)
		if err != nil {
			return nil, err
		}
		out.WriteString(s)
		rest = tail
	}
}

// asText is how a value stands inside a text.
func asText(v any) (string, error) {
	if s, ok := v.(string); ok {
		return s, nil
	}
	b, err := marshal(v)
	return string(b), err
}

// marshal writes JSON with sorted keys, and "<" as "<".
func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// value finds what a template names in the conversation.
func (c *conversation) value(name string) (any, error) {
	switch name {
	case "user":
		return c.user, nil
	case "task":
		return c.task, nil
	case "turn":
		return json.Number(strconv.Itoa(c.turn)), nil
	}
	// A tool's name may hold dots: the longest that has a result is meant.
	parts := strings.Split(strings.TrimPrefix(name, "result."), ".")
	for n := len(parts); n > 0; n-- {
		v, found := c.result(strings.Join(parts[:n], "."), n < len(parts))
		if !found {
			continue
		}
		for i, field := range parts[n:] {
			var ok bool
			switch at := v.(type) {
			case map[string]any:
				v, ok = at[field]
			case []any:
				k, err := strconv.Atoi(field)
				if ok = err == nil && k >= 0 && k < len(at); ok {
					v = at[k]
				}
			}
			if !ok {
				return nil, fmt.Errorf("{{%s}}: the result has no %q", name, strings.Join(parts[n:n+i+1], "."))
			}
		}
		return v, nil
	}
	return nil, fmt.Errorf("{{%s}}: the request holds no such result", name)
}

// result is the latest result of a tool that is not an error: decoded if it is
// JSON, and only such if it must be, else its text.
func (c *conversation) result(tool string, mustJSON bool) (any, bool) {
	for i := len(c.messages) - 1; i >= 0; i-- {
		m := &c.messages[i]
		if m.Role != cairn.RoleTool {
			continue
		}
		for j := len(m.Content) - 1; j >= 0; j-- {
			p := &m.Content[j]
			if p.Kind != cairn.PartToolResult || p.IsError || c.toolOf(i, j) != tool {
				continue
			}
			if v, err := decode(p.Text); err == nil {
				return v, true
			}
			if !mustJSON {
				return p.Text, true
			}
		}
	}
	return nil, false
}

// decode reads a JSON text; numbers keep their digits.
func decode(text string) (any, error) {
	if !json.Valid([]byte(text)) {
		return nil, fmt.Errorf("not JSON")
	}
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	var v any
	err := d.Decode(&v)
	return v, err
}
