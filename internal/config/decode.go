package config

import (
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/cairn-run/cairn"
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
}

var (
	typeMoney    = reflect.TypeFor[cairn.Money]()
	typeDuration = reflect.TypeFor[cairn.Duration]()
	typeRaw      = reflect.TypeFor[json.RawMessage]()
	typeMCP      = reflect.TypeFor[cairn.MCPServer]()
	typeOutput   = reflect.TypeFor[cairn.Output]()
	typeBudget   = reflect.TypeFor[cairn.Budget]()
	typeLimits   = reflect.TypeFor[cairn.Limits]()
)

// later are fields of agent definitions that this version does not have yet.
var later = map[reflect.Type]map[string]string{
	reflect.TypeFor[cairn.Agent](): {
		"harness":     "agents run on the built-in harness",
		"environment": "tools run where their server runs",
		"memory":      "an agent remembers what its session holds",
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
		d.places[path] = t.at
	}
	switch v.Type() {
	case typeRaw:
		v.SetBytes(t.json())
		return nil
	case typeMoney:
		return d.money(t, v)
	case typeDuration:
		if t.kind == kindText {
			var dur cairn.Duration
			if err := dur.UnmarshalText([]byte(t.text)); err == nil {
				v.SetInt(int64(dur))
				return nil
			}
		}
		return d.expected(t, "a duration like 30s, 5m or 2h")
	case typeMCP:
		if t.kind == kindText { // mcp: https://…
			v.FieldByName("URL").SetString(t.text)
			d.places[path+".url"] = t.at
			return nil
		}
	}
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		return d.decode(t, path, v.Elem())
	case reflect.Struct:
		return d.fields(t, path, v)
	case reflect.Map:
		if t.kind != kindMapping {
			return d.expected(t, "a mapping of names")
		}
		m := reflect.MakeMapWithSize(v.Type(), len(t.fields))
		for _, f := range t.fields {
			at := path + "." + f.name
			d.places[at] = f.at
			item := reflect.New(v.Type().Elem()).Elem()
			if err := d.decode(f.value, at, item); err != nil {
				return err
			}
			m.SetMapIndex(reflect.ValueOf(f.name).Convert(v.Type().Key()), item)
		}
		v.Set(m)
		return nil
	case reflect.Slice:
		if t.kind != kindList {
			if t.kind == kindText && v.Type().Elem().Kind() == reflect.String {
				return d.expected(t, fmt.Sprintf("a list: write [%s]", strconv.Quote(t.text)))
			}
			return d.expected(t, "a list")
		}
		s := reflect.MakeSlice(v.Type(), len(t.items), len(t.items))
		for i, item := range t.items {
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
		if t.kind == kindNumber || t.kind == kindBool {
			return d.expected(t, fmt.Sprintf("text: put it in quotes, %q", t.text))
		}
		if t.kind != kindText {
			return d.expected(t, "text")
		}
		v.SetString(t.text)
	case reflect.Bool:
		if t.kind != kindBool {
			return d.expected(t, "true or false")
		}
		v.SetBool(t.text == "true")
	case reflect.Int, reflect.Int64:
		n, err := strconv.ParseInt(t.text, 10, v.Type().Bits())
		if t.kind != kindNumber || err != nil {
			return d.expected(t, "a whole number")
		}
		v.SetInt(n)
	case reflect.Float64:
		f, err := strconv.ParseFloat(t.text, 64)
		if t.kind != kindNumber || err != nil || math.IsInf(f, 0) {
			return d.expected(t, "a number")
		}
		v.SetFloat(f)
	default:
		return d.at(t.at, "a value of type %s cannot be read from a file", v.Type())
	}
	return nil
}

func (d *decoder) money(t *tree, v reflect.Value) error {
	switch {
	case t.kind == kindText:
		m, err := cairn.ParseMoney(t.text)
		if err != nil {
			return d.at(t.at, "%v", err)
		}
		v.SetInt(int64(m))
	case t.kind == kindNumber && d.json:
		n, err := strconv.ParseInt(t.text, 10, 64)
		if err != nil {
			return d.expected(t, "an amount like \"$1.25\", or a whole number of nano-dollars")
		}
		v.SetInt(n)
	case t.kind == kindNumber:
		return d.expected(t, fmt.Sprintf("an amount: write $%s", t.text))
	default:
		return d.expected(t, "an amount like $1.25")
	}
	return nil
}

func (d *decoder) fields(t *tree, path string, v reflect.Value) error {
	if t.kind != kindMapping {
		return d.expected(t, "fields: "+strings.Join(names(v.Type()), ", "))
	}
	for _, f := range t.fields {
		if why, ok := later[v.Type()][f.name]; ok {
			return d.at(f.at, "field %q is not available in this version: %s", f.name, why)
		}
		i := fieldIndex(v.Type(), f.name)
		if i < 0 {
			return d.unknown(f, v.Type())
		}
		at := f.name
		if path != "" {
			at = path + "." + f.name
		}
		d.places[at] = f.value.at
		if f.value.kind == kindNull && v.Type().Field(i).Type != typeRaw {
			return d.at(f.at, "field %q is empty: give it a value or take it out", f.name)
		}
		if v.Type() == typeOutput && f.name == "schema" && f.value.kind == kindText {
			raw, err := d.load(f.value.at, f.value.text)
			if err != nil {
				return err
			}
			v.Field(i).SetBytes(raw)
			continue
		}
		if err := d.decode(f.value, at, v.Field(i)); err != nil {
			return err
		}
		if why := nothing(v.Type(), i, v.Field(i)); why != "" {
			return d.at(f.value.at, "%s: %s", at, why)
		}
	}
	return nil
}

// nothing is what to say of a budget or a limit that is written as zero; empty:
// it is none. In a definition zero is a field that was left out, so who wrote it
// to forbid all spending would get no limit.
func nothing(t reflect.Type, i int, v reflect.Value) string {
	if t != typeBudget && t != typeLimits {
		return ""
	}
	otherwise := "no limit"
	if preset := rules[fieldKey(t, t.Field(i))].preset; preset != "" {
		otherwise = "the default, " + preset
	}
	switch {
	case !v.CanInt(), v.Int() != 0, jsonName(t.Field(i)) == "invalid": // that one counts failures and allows nothing
		return ""
	case v.Type() == typeMoney:
		return "$0 would allow nothing; leave it out for " + otherwise
	}
	return "0 would allow nothing; leave it out for " + otherwise
}

func (d *decoder) unknown(f field, t reflect.Type) error {
	known := names(t)
	if n, ok := near(f.name, known); ok {
		return d.at(f.at, "field %q is not known: did you mean %q?", f.name, n)
	}
	return d.at(f.at, "field %q is not known here: expected one of %s", f.name, strings.Join(known, ", "))
}

func (d *decoder) expected(t *tree, what string) error {
	found := t.kind.String()
	switch t.kind {
	case kindNumber, kindBool:
		found = t.text
	case kindText:
		found = strconv.Quote(short(t.text))
	}
	return d.at(t.at, "expected %s; found %s", what, found)
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
