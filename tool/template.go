package tool

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// maxTemplate bounds the length of a template, in bytes.
const maxTemplate = 4096

// placeholder is a name, nested with dots.
var placeholder = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_-]*(\.[A-Za-z0-9_-]+)*$`)

// Template is a text with the names of arguments in braces: "refund:{charge_id}",
// nested ones with dots: "{order.id}".
type Template struct {
	text  []string // what stands around the names: one more than there are names
	names []string
}

// ParseTemplate reads a template; an error says what is wrong with it.
func ParseTemplate(s string) (Template, error) {
	if len(s) > maxTemplate {
		return Template{}, fmt.Errorf("longer than %d bytes", maxTemplate)
	}
	var t Template
	rest := s
	for {
		i := strings.IndexAny(rest, "{}")
		if i < 0 {
			t.text = append(t.text, rest)
			return t, nil
		}
		if rest[i] == '}' {
			return Template{}, fmt.Errorf("%q has a '}' without a '{'", s)
		}
		end := strings.IndexByte(rest[i:], '}')
		if end < 0 {
			return Template{}, fmt.Errorf("%q has a '{' without a '}'", s)
		}
		name := rest[i+1 : i+end]
		if !placeholder.MatchString(name) {
			return Template{}, fmt.Errorf("%q: {%s} is not the name of an argument; write {name} or {outer.inner}", s, name)
		}
		t.text = append(t.text, rest[:i])
		t.names = append(t.names, name)
		rest = rest[i+end+1:]
	}
}

// Names lists the arguments the template needs, each once.
func (t Template) Names() []string {
	names := slices.Clone(t.names)
	slices.Sort(names)
	return slices.Compact(names)
}

// Render puts arguments in: strings as they are, all else as JSON, each through
// escape. args is decoded JSON. An argument that is missing, null or empty is an
// error, because what is rendered names one thing.
func (t Template) Render(args map[string]any, escape func(string) string) (string, error) {
	var b strings.Builder
	b.WriteString(t.text[0])
	for i, name := range t.names {
		v, ok := Lookup(args, name)
		if !ok || v == nil || v == "" {
			return "", fmt.Errorf("the argument %q is missing or empty", name)
		}
		s, ok := v.(string)
		if !ok {
			j, err := json.Marshal(v)
			if err != nil {
				return "", fmt.Errorf("the argument %q: %w", name, err)
			}
			s = string(j)
		}
		b.WriteString(escape(s))
		b.WriteString(t.text[i+1])
	}
	return b.String(), nil
}

// only says that the template is nothing but one name, and which.
func (t Template) only() (string, bool) {
	if len(t.names) == 1 && t.text[0] == "" && t.text[1] == "" {
		return t.names[0], true
	}
	return "", false
}

// Lookup finds a value by its name in decoded JSON; dots lead into objects, after
// a name that holds the dot itself.
func Lookup(object map[string]any, name string) (any, bool) {
	if v, ok := object[name]; ok {
		return v, true
	}
	for i := range name {
		if name[i] != '.' {
			continue
		}
		if inner, ok := object[name[:i]].(map[string]any); ok {
			if v, ok := Lookup(inner, name[i+1:]); ok {
				return v, true
			}
		}
	}
	return nil, false
}
