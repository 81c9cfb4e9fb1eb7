package engine_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cairn-run/cairn"
)

// amounts are the fields of events that hold money.
var amounts = map[string]bool{
	"amount": true, "apart": true, "budget": true, "cost": true, "estimated": true, "granted": true, "limit": true, "need": true,
	"reserved": true, "run": true, "session": true, "spent": true,
}

// line prints an event with every field it has: ids of the session as the
// sequence number they derive from, times since the start of the script, digests
// cut short.
func (p *script) line(t *testing.T, e cairn.Event) string {
	t.Helper()
	if p.names == nil {
		p.names = map[string]string{}
	}
	for _, name := range []string{
		string(cairn.EffectIDAt(p.key.ID, e.Seq)), string(cairn.AskIDAt(p.key.ID, e.Seq)), string(cairn.RunIDAt(p.key.ID, e.Seq)),
	} {
		p.names[name] = fmt.Sprintf("@%d", e.Seq)
	}
	b, err := json.Marshal(e.Data)
	if err != nil {
		t.Fatal(err)
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	var fields map[string]any
	if err := d.Decode(&fields); err != nil {
		t.Fatalf("%s: %v", e.Type(), err)
	}
	step := ""
	if e.Step != "" {
		step = " " + p.names[string(e.Step)]
	}
	return strings.TrimRight(fmt.Sprintf("%3d %s%s %s", e.Seq, e.Type(), step, p.fields(fields)), " ") + "\n"
}

func (p *script) fields(m map[string]any) string {
	var out []string
	for _, k := range slices.Sorted(maps.Keys(m)) {
		if s := p.value(k, m[k]); s != "" {
			out = append(out, k+"="+s)
		}
	}
	return strings.Join(out, " ")
}

func (p *script) value(key string, v any) string {
	switch v := v.(type) {
	case map[string]any:
		if key == "args" || key == "plan" || key == "structured" { // what a tool means by its words is not ours to say
			b, err := json.Marshal(v)
			if err == nil {
				return string(b)
			}
		}
		if kind, ok := v["kind"].(string); ok && (key == "content" || key == "parts") {
			b, err := json.Marshal(v)
			if err == nil {
				var part cairn.Part
				if json.Unmarshal(b, &part) == nil && string(part.Kind) == kind {
					return printPart(part)
				}
			}
		}
		if len(v) == 0 {
			return "{}"
		}
		return "{" + p.fields(v) + "}"
	case []any:
		var out []string
		for _, e := range v {
			out = append(out, p.value(key, e))
		}
		return "[" + strings.Join(out, " ") + "]"
	case json.Number:
		if n, err := v.Int64(); err == nil && amounts[key] {
			return cairn.Money(n).String()
		}
		return v.String()
	case string:
		if name, ok := p.names[v]; ok {
			return name
		}
		if hex, ok := strings.CutPrefix(v, "sha256:"); ok && len(hex) == 64 {
			return "#" + hex[:6]
		}
		if at, err := time.Parse(time.RFC3339Nano, v); err == nil {
			return since(at)
		}
		if v == "" || strings.ContainsAny(v, " \n\"") {
			return strconv.Quote(v)
		}
		return v
	case bool:
		return strconv.FormatBool(v)
	}
	return ""
}

// printPart prints a part of a message in a few characters.
func printPart(part cairn.Part) string {
	switch part.Kind {
	case cairn.PartToolCall:
		return part.Tool + "(" + part.Args + ")"
	case cairn.PartToolResult:
		mark := ""
		if part.IsError {
			mark = "!"
		}
		return fmt.Sprintf("%s=>%s%q", part.Tool, mark, part.Text)
	case cairn.PartReasoning:
		return fmt.Sprintf("reasoning[%s]%q", part.Provider, part.Text)
	case cairn.PartOpaque:
		return fmt.Sprintf("opaque[%s]%s", part.Provider, part.Opaque)
	case cairn.PartText, cairn.PartImage, cairn.PartFile:
	}
	return strconv.Quote(part.Text)
}
