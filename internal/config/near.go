package config

import (
	"reflect"
	"strings"

	"github.com/cairn-run/cairn"
)

// elsewhereCalled are fields of other programs' agent files, and what they are here.
var elsewhereCalled = map[string]string{
	"prompt":             "write instructions, or the text of a Markdown file",
	"system":             "write instructions, or the text of a Markdown file",
	"system_prompt":      "write instructions, or the text of a Markdown file",
	"max_tokens":         "write params: {max_output: 4096}",
	"max_turns":          "write limits: {steps: 100}",
	"max_steps":          "write limits: {steps: 100}",
	"mcp_servers":        "write tools: [{mcp: https://…}]",
	"mcpservers":         "write tools: [{mcp: https://…}]",
	"permissions":        "write policy: {allow: […], ask: […], deny: […]}",
	"response_format":    "write output: {schema: ./schema.json}",
	"allowed_tools":      "write tools, and rules under policy",
	"replies":            "this is the script of a model; an agent names it as its model: script/NAME",
	"cases":              "this is the script of a model; an agent names it as its model: script/NAME",
	"recording":          "this is a recording, the script of a model; an agent names it as its model: script/NAME",
	"fallbacks":          "write fallback: [provider/name]",
	"disallowed_tools":   "write policy: {deny: […]}",
	"working_dir":        "commands begin in the directory of the session's files",
	"allowed_domains":    "write environment: {network: [api.example.com]}",
	"network_allow_list": "write environment: {network: [api.example.com]}",
}

// unknown says what is wrong with a field that a struct does not have, and which
// one was most likely meant.
func (d *decoder) unknown(f field, t reflect.Type) error {
	known := names(t)
	if n, ok := near(f.Name, known); ok {
		return d.at(f.At, "field %q is not known: did you mean %q?", f.Name, n)
	}
	root := reflect.TypeFor[cairn.Agent]()
	if t != root && fieldIndex(root, f.Name) >= 0 {
		return d.at(f.At, "field %q is not known here: it stands on its own, not under another field", f.Name)
	}
	if t == root {
		if what, ok := elsewhereCalled[strings.ReplaceAll(strings.ToLower(f.Name), "-", "_")]; ok {
			return d.at(f.At, "field %q is not known: %s", f.Name, what)
		}
		for i := range t.NumField() {
			inner := t.Field(i).Type
			if inner.Kind() == reflect.Pointer {
				inner = inner.Elem()
			}
			if inner.Kind() == reflect.Struct && fieldIndex(inner, f.Name) >= 0 {
				return d.at(f.At, "field %q is not known here: did you mean it under %q?", f.Name, jsonName(t.Field(i)))
			}
		}
	}
	return d.at(f.At, "field %q is not known here: expected one of %s", short(f.Name), strings.Join(known, ", "))
}

// near finds the known name that somebody most likely meant: at most a third of
// the letters wrong, swapped, missing or too many.
func near(name string, known []string) (string, bool) {
	if len(name) > 64 {
		return "", false
	}
	name = strings.ReplaceAll(strings.ToLower(name), "-", "_")
	best, bestDistance := "", len(name)/3+1
	for _, k := range known {
		if d := distance(name, k); d < bestDistance || (d == bestDistance && best == "" && d == 1) {
			best, bestDistance = k, d
		}
	}
	return best, best != ""
}

// distance is the number of letters to insert, delete, replace or swap with
// their neighbour to make b of a (optimal string alignment).
func distance(a, b string) int {
	before, last := []int(nil), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row := make([]int, len(b)+1)
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last = last, row
	}
	return last[len(b)]
}
