package policy

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/cairn-run/cairn"
)

// decode reads canonical arguments, keeping the digits of numbers.
func decode(args []byte) (any, error) {
	if len(bytes.TrimSpace(args)) == 0 {
		return map[string]any{}, nil
	}
	// What is not canonical is made so: a duplicate key would let two readers see two calls.
	c, err := cairn.Canonical(args)
	if err != nil {
		return nil, err
	}
	d := json.NewDecoder(bytes.NewReader(c))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return nil, err
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, fmt.Errorf("text after the arguments")
	}
	return v, nil
}

// text is what a glob is matched against: strings as they are decoded, all else
// as canonical JSON.
func text(v any) string {
	if s, ok := v.(string); ok {
		return s
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil { // decoded JSON always encodes
		return ""
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// leaves calls visit for every string in v, keys left out, until it returns true.
func leaves(v any, visit func(string) bool) bool {
	switch v := v.(type) {
	case string:
		return visit(v)
	case []any:
		for _, e := range v {
			if leaves(e, visit) {
				return true
			}
		}
	case map[string]any:
		for _, e := range v {
			if leaves(e, visit) {
				return true
			}
		}
	}
	return false
}

// suspect says whether a rule that asks or denies is met by v: by its text, by
// any string inside it, and by those strings with their white space evened out,
// so that a second blank does not get past a rule.
func suspect(g Glob, v any) bool {
	if g.Match(text(v)) {
		return true
	}
	return leaves(v, func(s string) bool {
		if g.Match(s) {
			return true
		}
		even := strings.Join(strings.Fields(s), " ")
		return even != s && g.Match(even)
	})
}

// anywhere finds the values a path may mean, for rules that ask or deny: names
// are compared without case, because many readers of JSON do so; a name may hold
// dots; and every element of an array counts.
func anywhere(v any, path string, visit func(any) bool) bool {
	if path == "" {
		return visit(v)
	}
	switch v := v.(type) {
	case []any:
		for _, e := range v {
			if anywhere(e, path, visit) {
				return true
			}
		}
	case map[string]any:
		for key, e := range v {
			rest, ok := under(path, key)
			if ok && anywhere(e, rest, visit) {
				return true
			}
		}
	}
	return false
}

// under says whether key is the first part of path, without case, and returns
// what follows. Letters whose cases differ in length make the cut a matter of
// runes, not of bytes.
func under(path, key string) (string, bool) {
	for i := 0; i <= len(path); i++ {
		if (i == len(path) || path[i] == '.') && strings.EqualFold(path[:i], key) {
			if i == len(path) {
				return "", true
			}
			return path[i+1:], true
		}
	}
	return "", false
}

// exactly finds the values a path means, for rules that allow: names are
// compared as they are, a name that differs in case only makes the match fail,
// and each element of an array must pass. It returns false when nothing is there.
func exactly(v any, path []string, pass func(any) bool) bool {
	if len(path) == 0 {
		return pass(v)
	}
	switch v := v.(type) {
	case []any:
		for _, e := range v {
			if !exactly(e, path, pass) {
				return false
			}
		}
		return len(v) > 0
	case map[string]any:
		for key := range v {
			if key != path[0] && strings.EqualFold(key, path[0]) {
				return false
			}
		}
		e, ok := v[path[0]]
		return ok && exactly(e, path[1:], pass)
	}
	return false
}

// onlyString returns the string of arguments that hold exactly one, directly
// under a name; other fields may hold numbers, booleans and null.
func onlyString(v any) (string, bool) {
	object, ok := v.(map[string]any)
	if !ok {
		return "", false
	}
	only, n := "", 0
	for _, e := range object {
		switch e := e.(type) {
		case string:
			only = e
			n++
		case []any, map[string]any:
			return "", false
		}
	}
	return only, n == 1
}
