package config

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/internal/yamltree"
)

// decoder fills Go values from a tree by the names of their JSON form. It
// remembers where every value stood, so that what a later check says of a path
// can be shown at its line.
type decoder struct {
	*source
	json   bool // the file is JSON: amounts may be nano-dollars, as in the API
	places map[string]place
	// load reads a file named relative to this one.
	load func(at place, name string) (json.RawMessage, error)
	// elsewhere are the places of what stands in other files: the fields of skills.
	elsewhere  map[string]spot
	skillBytes int               // of the skills read so far
	skillNames map[string]string // name to folder of the skills read so far
}

var (
	typeMoney    = reflect.TypeFor[cairn.Money]()
	typeDuration = reflect.TypeFor[cairn.Duration]()
	typeRaw      = reflect.TypeFor[json.RawMessage]()
	typeTools    = reflect.TypeFor[cairn.ToolSource]()
	typeMCP      = reflect.TypeFor[cairn.MCPServer]()
	typeOutput   = reflect.TypeFor[cairn.Output]()
	typeBytes    = reflect.TypeFor[cairn.Bytes]()
	typeContent  = reflect.TypeFor[[]byte]()
	typeSkill    = reflect.TypeFor[cairn.Skill]()
	typeBudget   = reflect.TypeFor[cairn.Budget]()
	typeLimits   = reflect.TypeFor[cairn.Limits]()

	typeEnvironment = reflect.TypeFor[cairn.Environment]()
)

// later are fields of agent definitions that this version does not have yet.
var later = map[reflect.Type]map[string]string{
	reflect.TypeFor[cairn.Agent](): {
		"harness": "agents run on the built-in harness",
		"memory":  "an agent remembers what its session holds",
	},
	reflect.TypeFor[cairn.ToolSource](): {
		"agent":      "agents cannot be tools of agents",
		"credential": "put a header or an environment variable with the tool",
	},
	reflect.TypeFor[cairn.Limits](): {
		"subagents": "agents cannot be tools of agents",
	},
}

// decode fills v, which stands at a path of the definition.
func (d *decoder) decode(t *tree, path string, v reflect.Value) error {
	if _, ok := d.places[path]; !ok {
		d.places[path] = t.At
	}
	switch v.Type() {
	case typeRaw:
		v.SetBytes(toJSON(t))
		return nil
	case typeMoney:
		return d.money(t, v)
	case typeDuration:
		if t.Kind == yamltree.Text {
			var dur cairn.Duration
			if err := dur.UnmarshalText([]byte(t.Text)); err == nil {
				v.SetInt(int64(dur))
				return nil
			}
		}
		return d.expected(t, "a duration like 30s, 5m or 2h")
	case typeBytes:
		return d.size(t, v)
	case typeContent:
		b, err := base64.StdEncoding.DecodeString(t.Text)
		if t.Kind != yamltree.Text || err != nil {
			return d.expected(t, "the bytes of a file in base64")
		}
		v.SetBytes(b)
		return nil
	case typeSkill:
		if t.Kind == yamltree.Text { // ./skills/pdf
			skill, err := d.loadSkill(t.At, t.Text, path)
			if err != nil {
				return err
			}
			v.Set(reflect.ValueOf(skill))
			return nil
		}
		if t.Kind != yamltree.Mapping {
			return d.expected(t, "the folder of a skill, like ./skills/pdf")
		}
	case typeTools:
		if t.Kind == yamltree.Text && slices.Contains(cairn.Builtins, t.Text) { // tools: [read, bash]
			return d.expected(t, fmt.Sprintf("fields: write {builtin: [%s]}", t.Text))
		}
	case typeMCP:
		if t.Kind == yamltree.Text { // mcp: https://…
			v.FieldByName("URL").SetString(t.Text)
			d.places[path+".url"] = t.At
			return nil
		}
	}
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		return d.decode(t, path, v.Elem())
	case reflect.Struct:
		if file, ok := v.Addr().Interface().(*cairn.SkillFile); ok {
			file.Content = []byte{} // without a content the file is empty, which is not null in JSON
		}
		return d.fields(t, path, v)
	case reflect.Map:
		if t.Kind != yamltree.Mapping {
			return d.expected(t, "a mapping of names")
		}
		if len(t.Fields) == 0 {
			return nil // as in the JSON of a definition, which leaves it out
		}
		m := reflect.MakeMapWithSize(v.Type(), len(t.Fields))
		for _, f := range t.Fields {
			at := path + "." + f.Name
			d.places[at] = f.At
			item := reflect.New(v.Type().Elem()).Elem()
			if err := d.decode(f.Value, at, item); err != nil {
				return err
			}
			m.SetMapIndex(reflect.ValueOf(f.Name).Convert(v.Type().Key()), item)
		}
		v.Set(m)
		return nil
	case reflect.Slice:
		if t.Kind != yamltree.List {
			if elem := v.Type().Elem(); t.Kind == yamltree.Text && (elem.Kind() == reflect.String || elem == typeSkill) {
				return d.expected(t, fmt.Sprintf("a list: write [%s]", strconv.Quote(t.Text)))
			}
			return d.expected(t, "a list")
		}
		if len(t.Items) == 0 {
			return nil
		}
		s := reflect.MakeSlice(v.Type(), len(t.Items), len(t.Items))
		for i, item := range t.Items {
			if err := d.decode(item, fmt.Sprintf("%s[%d]", path, i), s.Index(i)); err != nil {
				return err
			}
		}
		v.Set(s)
		return nil
	}
	return d.scalar(t, v)
}

func (d *decoder) scalar(t *tree, v reflect.Value) error {
	switch v.Kind() {
	case reflect.String:
		if t.Kind == yamltree.Number || t.Kind == yamltree.Bool {
			return d.expected(t, fmt.Sprintf("text: put it in quotes, %q", t.Text))
		}
		if t.Kind != yamltree.Text {
			return d.expected(t, "text")
		}
		v.SetString(t.Text)
	case reflect.Bool:
		if t.Kind != yamltree.Bool {
			return d.expected(t, "true or false")
		}
		v.SetBool(t.Text == "true")
	case reflect.Int, reflect.Int64:
		n, err := strconv.ParseInt(t.Text, 10, v.Type().Bits())
		if t.Kind != yamltree.Number || err != nil {
			return d.expected(t, "a whole number")
		}
		v.SetInt(n)
	case reflect.Float64:
		f, err := strconv.ParseFloat(t.Text, 64)
		if t.Kind != yamltree.Number || err != nil || math.IsInf(f, 0) {
			return d.expected(t, "a number")
		}
		v.SetFloat(f)
	default:
		return d.at(t.At, "a value of type %s cannot be read from a file", v.Type())
	}
	return nil
}

func (d *decoder) money(t *tree, v reflect.Value) error {
	switch {
	case t.Kind == yamltree.Text:
		m, err := cairn.ParseMoney(t.Text)
		if err != nil {
			return d.at(t.At, "%v", err)
		}
		v.SetInt(int64(m))
	case t.Kind == yamltree.Number && d.json:
		n, err := strconv.ParseInt(t.Text, 10, 64)
		if err != nil {
			return d.expected(t, "an amount like \"$1.25\", or a whole number of nano-dollars")
		}
		v.SetInt(n)
	case t.Kind == yamltree.Number:
		return d.expected(t, fmt.Sprintf("an amount: write $%s", t.Text))
	default:
		return d.expected(t, "an amount like $1.25")
	}
	return nil
}

func (d *decoder) size(t *tree, v reflect.Value) error {
	var b cairn.Bytes
	if t.Kind != yamltree.Text && t.Kind != yamltree.Number {
		return d.expected(t, "a size like 512Mi or 1Gi")
	}
	if err := b.UnmarshalText([]byte(t.Text)); err != nil {
		return d.at(t.At, "%v", err)
	}
	v.SetInt(int64(b))
	return nil
}

func (d *decoder) fields(t *tree, path string, v reflect.Value) error {
	if t.Kind != yamltree.Mapping {
		return d.expected(t, "fields: "+strings.Join(names(v.Type()), ", "))
	}
	for _, f := range t.Fields {
		if why, ok := later[v.Type()][f.Name]; ok {
			return d.at(f.At, "field %q is not available in this version: %s", f.Name, why)
		}
		i := fieldIndex(v.Type(), f.Name)
		if i < 0 {
			return d.unknown(f, v.Type())
		}
		at := f.Name
		if path != "" {
			at = path + "." + f.Name
		}
		d.places[at] = f.Value.At
		if f.Value.Kind == yamltree.Null && v.Type().Field(i).Type != typeRaw {
			return d.at(f.At, "field %q is empty: give it a value or take it out", f.Name)
		}
		if v.Type() == typeOutput && f.Name == "schema" && f.Value.Kind == yamltree.Text {
			raw, err := d.load(f.Value.At, f.Value.Text)
			if err != nil {
				return err
			}
			v.Field(i).SetBytes(raw)
			continue
		}
		if err := d.decode(f.Value, at, v.Field(i)); err != nil {
			return err
		}
		if why := nothing(v.Type(), i, v.Field(i)); why != "" {
			return d.at(f.Value.At, "%s: %s", at, why)
		}
	}
	return nil
}

// nothing is what to say of a budget or a limit that is written as zero; empty:
// it is none. In a definition zero is a field that was left out, so who wrote it
// to forbid all spending would get no limit.
func nothing(t reflect.Type, i int, v reflect.Value) string {
	if t != typeBudget && t != typeLimits && t != typeEnvironment {
		return ""
	}
	otherwise := "no limit"
	if preset := rules[fieldKey(t, t.Field(i))].preset; preset != "" {
		otherwise = "the default, " + preset
	}
	switch {
	case v.CanFloat() && v.Float() == 0:
	case !v.CanInt(), v.Int() != 0, jsonName(t.Field(i)) == "invalid": // that one counts failures and allows nothing
		return ""
	case v.Type() == typeMoney:
		return "$0 would allow nothing; leave it out for " + otherwise
	}
	return "0 would allow nothing; leave it out for " + otherwise
}

func (d *decoder) expected(t *tree, what string) error {
	found := t.Kind.String()
	switch t.Kind {
	case yamltree.Number, yamltree.Bool:
		found = t.Text
	case yamltree.Text:
		found = strconv.Quote(short(t.Text))
	}
	return d.at(t.At, "expected %s; found %s", what, found)
}

// locate is the place of a path, or of the nearest value that holds it.
func (d *decoder) locate(path string) (place, bool) {
	for exact := true; ; exact = false {
		if p, ok := d.places[path]; ok {
			return p, exact
		}
		i := strings.LastIndexAny(path, ".[")
		if i < 0 {
			return d.places[""], false
		}
		path = path[:i]
	}
}

// names lists the JSON names of a struct's fields in their order.
func names(t reflect.Type) []string {
	var list []string
	for i := range t.NumField() {
		list = append(list, jsonName(t.Field(i)))
	}
	return list
}

func fieldIndex(t reflect.Type, name string) int { return slices.Index(names(t), name) }

func jsonName(f reflect.StructField) string {
	name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
	return name
}

// short cuts a text for a message.
func short(s string) string {
	if r := []rune(s); len(r) > 40 {
		return string(r[:40]) + "…"
	}
	return s
}
