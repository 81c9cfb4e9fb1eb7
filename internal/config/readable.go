package config

import (
	"encoding/json"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/internal/yamltree"
)

// Section is one field of a definition as people read it.
type Section struct {
	Name string // "budget"
	Text string // YAML, with the name: "budget:\n  run: $0.50\n"
}

// Readable writes the canonical JSON of a definition as YAML, a section for each
// of its fields in the order of the reference, fields of a newer version last.
// But for skills, whose files are only named, the text of all sections is an agent
// file of the same version.
func Readable(definition []byte) ([]Section, error) {
	s := &source{name: "definition", what: "a definition", lines: []string{string(definition)}}
	t, err := s.readJSON(definition)
	if err != nil {
		return nil, err
	}
	if t.Kind != yamltree.Mapping {
		return nil, fmt.Errorf("a definition is an object; found %s", t.Kind)
	}
	root := reflect.TypeFor[cairn.Agent]()
	var sections []Section
	for _, f := range inOrder(t.Fields, root) {
		var w yamlWriter
		w.field(f, typeOf(root, f.Name), 0)
		sections = append(sections, Section{f.Name, w.b.String()})
	}
	return sections, nil
}

// inOrder sorts the fields of a struct as it declares them, the unknown ones behind.
func inOrder(fields []field, t reflect.Type) []field {
	if t == nil || t.Kind() != reflect.Struct {
		return fields
	}
	known := names(t)
	at := func(f field) int {
		if i := slices.Index(known, f.Name); i >= 0 {
			return i
		}
		return len(known)
	}
	sorted := slices.Clone(fields)
	slices.SortStableFunc(sorted, func(a, b field) int { return at(a) - at(b) })
	return sorted
}

// typeOf is the type of a field, pointers taken off; nil: not known.
func typeOf(t reflect.Type, name string) reflect.Type {
	if t == nil {
		return nil
	}
	var inner reflect.Type
	switch t.Kind() {
	case reflect.Struct:
		i := fieldIndex(t, name)
		if i < 0 {
			return nil
		}
		inner = t.Field(i).Type
	case reflect.Map, reflect.Slice:
		inner = t.Elem()
	default:
		return nil
	}
	for inner.Kind() == reflect.Pointer {
		inner = inner.Elem()
	}
	if inner == typeRaw {
		return nil
	}
	return inner
}

// yamlWriter writes a tree as YAML in block style.
type yamlWriter struct{ b strings.Builder }

// field writes "name: value" at an indentation.
func (w *yamlWriter) field(f field, t reflect.Type, indent int) {
	w.b.WriteString(strings.Repeat("  ", indent) + scalarText(f.Name) + ":")
	w.value(f.Value, t, indent)
}

// value writes what stands behind a colon, with the end of the line.
func (w *yamlWriter) value(n *tree, t reflect.Type, indent int) {
	switch n.Kind {
	case yamltree.Mapping:
		if len(n.Fields) == 0 {
			w.b.WriteString(" {}\n")
			return
		}
		w.b.WriteByte('\n')
		for _, f := range inOrder(n.Fields, t) {
			w.field(f, typeOf(t, f.Name), indent+1)
		}
	case yamltree.List:
		w.list(n, t, indent)
	case yamltree.Text:
		switch {
		case t == typeDuration && durationText.MatchString(n.Text):
			w.b.WriteString(" " + shorter(n.Text) + "\n")
		case t == typeBytes && bytesText.MatchString(n.Text):
			w.b.WriteString(" " + n.Text + "\n")
		default:
			w.text(n.Text, indent)
		}
	case yamltree.Number:
		s := n.Text
		if t == typeMoney {
			if nano, err := strconv.ParseInt(s, 10, 64); err == nil {
				s = cairn.Money(nano).String()
			}
		}
		w.b.WriteString(" " + s + "\n")
	case yamltree.Bool:
		w.b.WriteString(" " + n.Text + "\n")
	default:
		w.b.WriteString(" null\n")
	}
}

// maxFlow is the longest list, in bytes, that stands on one line.
const maxFlow = 100

func (w *yamlWriter) list(n *tree, t reflect.Type, indent int) {
	inner := typeOf(t, "")
	if inner == typeSkill {
		w.skills(n, indent)
		return
	}
	if line, ok := flow(n); ok {
		w.b.WriteString(" " + line + "\n")
		return
	}
	w.b.WriteByte('\n')
	for _, item := range n.Items {
		lead := strings.Repeat("  ", indent+1) + "-"
		if item.Kind != yamltree.Mapping || len(item.Fields) == 0 {
			w.b.WriteString(lead)
			w.value(item, inner, indent+1)
			continue
		}
		for i, f := range inOrder(item.Fields, inner) {
			if i == 0 {
				w.b.WriteString(lead + " " + scalarText(f.Name) + ":")
				w.value(f.Value, typeOf(inner, f.Name), indent+2)
				continue
			}
			w.field(f, typeOf(inner, f.Name), indent+2)
		}
	}
}

// flow writes a short list of scalars on one line.
func flow(n *tree) (string, bool) {
	parts := make([]string, len(n.Items))
	size := 0
	for i, item := range n.Items {
		switch item.Kind {
		case yamltree.Text:
			parts[i] = scalarText(item.Text)
		case yamltree.Number, yamltree.Bool:
			parts[i] = item.Text
		default:
			return "", false
		}
		if size += len(parts[i]); size > maxFlow || strings.ContainsAny(item.Text, "\n") {
			return "", false
		}
	}
	return "[" + strings.Join(parts, ", ") + "]", true
}

// skills names the files of skills, with their size and the hash of their bytes.
func (w *yamlWriter) skills(n *tree, indent int) {
	if len(n.Items) == 0 {
		w.b.WriteString(" []\n")
		return
	}
	w.b.WriteByte('\n')
	pad := strings.Repeat("  ", indent+1)
	for _, s := range skillsIn(toJSON(n)) {
		w.b.WriteString(pad + "- name:")
		w.text(s.Name, indent+2)
		w.b.WriteString(pad + "  description:")
		w.text(s.Description, indent+2)
		w.b.WriteString(pad + "  files:\n")
		for _, f := range s.Files {
			mode := ""
			if f.Executable {
				mode = ", executable"
			}
			sum := strings.TrimPrefix(string(cairn.DigestOf(f.Content)), "sha256:")
			fmt.Fprintf(&w.b, "%s    - %s # %d bytes, %s%s\n", pad, scalarText(f.Path), len(f.Content), sum[:min(12, len(sum))], mode)
		}
	}
}

// skillsIn reads the skills of a definition; what is not one is left out.
func skillsIn(raw json.RawMessage) []cairn.Skill {
	var list []cairn.Skill
	_ = json.Unmarshal(raw, &list) // what could be read is shown
	return list
}

func (w *yamlWriter) text(s string, indent int) {
	if !block(s) {
		w.b.WriteString(" " + scalarText(s) + "\n")
		return
	}
	head := " |-\n"
	if strings.HasSuffix(s, "\n") {
		head, s = " |\n", strings.TrimSuffix(s, "\n")
	}
	w.b.WriteString(head)
	pad := strings.Repeat("  ", indent+1)
	for line := range strings.SplitSeq(s, "\n") {
		if line != "" {
			w.b.WriteString(pad + line)
		}
		w.b.WriteByte('\n')
	}
}

// block says whether a text of several lines can stand in YAML as it is.
func block(s string) bool {
	if !strings.Contains(s, "\n") || !plainRunes(s) || strings.HasPrefix(s, "\n") || strings.HasSuffix(s, "\n\n") {
		return false
	}
	for line := range strings.SplitSeq(s, "\n") {
		if strings.TrimRight(line, " ") != line {
			return false
		}
	}
	return !strings.HasPrefix(s, " ")
}

// plainRunes says whether a text holds only what a terminal shows as it is.
func plainRunes(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool {
		return r == utf8.RuneError || r == '\uFEFF' || r != '\n' && !unicode.IsPrint(r)
	})
}

// simple is text that YAML reads as text without quotes.
var simple = regexp.MustCompile(`^[A-Za-z/.$][A-Za-z0-9/._$+*?=-]*([ :][A-Za-z0-9/._$+*?=-]+)*\.?$`)

// shorter leaves the zeros out of a duration as Go writes it: 2h for 2h0m0s.
func shorter(s string) string {
	for _, unit := range []string{"m0s", "h0m"} {
		if strings.HasSuffix(s, unit) {
			s = s[:len(s)-2]
		}
	}
	return s
}

// Durations and sizes that need no quotes.
var (
	durationText = regexp.MustCompile(`^([0-9]+h)?([0-9]+m)?[0-9.]+(s|ms)$`)
	bytesText    = regexp.MustCompile(`^[0-9]+[KMGT]i$`)
)

// words are texts that YAML reads as something else.
var words = []string{"true", "false", "null", "yes", "no", "on", "off", "y", "n", "~", ".inf", ".nan"}

// scalarText writes a text on one line: as it is, or quoted, with escapes for
// all that a terminal might show as something else.
func scalarText(s string) string {
	if simple.MatchString(s) && !slices.Contains(words, strings.ToLower(s)) && !isNumeric(s) {
		return s
	}
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\t':
			b.WriteString(`\t`)
		case r == ' ' || unicode.IsPrint(r) && r != utf8.RuneError:
			b.WriteRune(r)
		case r > 0xFFFF:
			fmt.Fprintf(&b, `\U%08x`, r)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	b.WriteByte('"')
	return b.String()
}

// isNumeric says whether YAML might take a text for a number.
func isNumeric(s string) bool {
	return strings.ContainsAny(s[:1], "0123456789+-.") && strings.ContainsAny(s, "0123456789")
}

// fileText is the text of a skill's file, for a comparison; bytes that are no text
// are shown by their hash.
func fileText(f cairn.SkillFile) string {
	mode := ""
	if f.Executable {
		mode = "(executable)\n"
	}
	if utf8.Valid(f.Content) && !slices.Contains(f.Content, 0) {
		return mode + string(f.Content)
	}
	return fmt.Sprintf("%s(%d bytes, %s)\n", mode, len(f.Content), cairn.DigestOf(f.Content))
}
