package cairn_test

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"github.com/cairn-run/cairn"
)

func TestCanonical(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		`{"b":1,"a":[ true , null ]}`:    `{"a":[true,null],"b":1}`,
		`{"é":1,"z":2,"a":3}`:            `{"a":3,"z":2,"é":1}`, // by bytes
		`"<&>"`:                          `"<&>"`,
		`"\u0041\u00e9"`:                 `"Aé"`,
		`1.0`:                            `1`,
		`1e2`:                            `100`,
		`-0`:                             `0`,
		`0.1`:                            `0.1`,
		`1e-7`:                           `1e-7`,
		`123456789012345678901234567890`: `123456789012345678901234567890`,
		`9007199254740993`:               `9007199254740993`, // no float holds it
		`1e21`:                           `1e+21`,
		` {} `:                           `{}`,
		strings.Repeat("[", 150) + strings.Repeat("]", 150): strings.Repeat("[", 150) + strings.Repeat("]", 150),
	} {
		got, err := cairn.Canonical([]byte(text))
		if err != nil || string(got) != want {
			t.Errorf("Canonical(%s) = %s, %v; want %s", text, got, err, want)
		}
	}
	for _, text := range []string{
		``, ` `, `{`, `{"a":1}{}`, `{"a":1,"a":2}`, `{"a":{"b":1,"b":1}}`, `1e400`, "\"\xff\"", `nul`, `[1,]`, `01`,
		strings.Repeat("[", 300) + strings.Repeat("]", 300),
	} {
		if got, err := cairn.Canonical([]byte(text)); err == nil {
			t.Errorf("Canonical(%q) = %s; want an error", text, got)
		}
	}
}

// FuzzCanonical: the canonical form is its own canonical form, and means what the
// text means.
func FuzzCanonical(f *testing.F) {
	for _, s := range []string{
		`{"b":1,"a":[1.0,2e2,-0,0.1]}`, `"\ud800"`, `[1e20,1e21,1e-7,123456789012345678901]`, `{"a":{"a":{}}}`, `"\u2028<"`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		one, err := cairn.Canonical(text)
		if err != nil {
			return
		}
		two, err := cairn.Canonical(one)
		if err != nil {
			t.Fatalf("%s has the canonical form %s, which has none: %v", text, one, err)
		}
		if !bytes.Equal(one, two) {
			t.Fatalf("%s has the canonical form %s, and that has %s", text, one, two)
		}
		var a, b any
		if err := json.Unmarshal(text, &a); err != nil {
			t.Fatalf("%s is no JSON and has a canonical form: %v", text, err)
		}
		if err := json.Unmarshal(one, &b); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(a, b) {
			t.Fatalf("%s means %v, its canonical form %s means %v", text, a, one, b)
		}
	})
}
