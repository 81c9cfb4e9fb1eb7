package yamltree_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cairn-run/cairn/internal/yamltree"
)

// show writes a tree on one line, each value with its kind and where it is shown.
func show(n *yamltree.Node) string {
	s := fmt.Sprintf("%s@%d:%d", n.Kind, n.At.Line, n.At.Column)
	if n.Start != n.At {
		s += fmt.Sprintf("(%d:%d)", n.Start.Line, n.Start.Column)
	}
	if n.Text != "" {
		s += "=" + n.Text
	}
	var inner []string
	for _, item := range n.Items {
		inner = append(inner, show(item))
	}
	for _, f := range n.Fields {
		inner = append(inner, fmt.Sprintf("%s@%d:%d %s", f.Name, f.At.Line, f.At.Column, show(f.Value)))
	}
	if len(inner) > 0 {
		s += "[" + strings.Join(inner, ", ") + "]"
	}
	return s
}

func TestParse(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"":                     "",
		"# nothing\n---\n":     "",
		"a: b\n":               "a mapping@1:1[a@1:1 text@1:4=b]",
		"x: {a: 1, b: {}}":     "a mapping@1:1[x@1:1 a mapping@1:5(1:4)[a@1:5 a number@1:8=1, b@1:11 a mapping@1:14]]",
		"- a: ~\n  b: true":    "a list@1:1[a mapping@1:3[a@1:3 nothing@1:3(1:6), b@2:3 true or false@2:6=true]]",
		"[0x10, 1_0, +3, -0]":  "a list@1:1[a number@1:2=16, a number@1:8=10, a number@1:13=3, a number@1:17=-0]",
		"[1.10, 5., .5e1]":     "a list@1:1[a number@1:2=1.10, a number@1:8=5, a number@1:12=5]",
		"[.inf, -.inf, .nan]":  "a list@1:1[a number@1:2=.inf, a number@1:8=-.inf, a number@1:15=.nan]",
		"1: a\ntrue: b\n~: c":  "a mapping@1:1[1@1:1 text@1:4=a, true@2:1 text@2:7=b, ~@3:1 text@3:4=c]",
		"[&a x, *a, !!str y]":  "a list@1:1[an anchor@1:2, an alias@1:8, a tag@1:12]",
		"%YAML 1.2\n---\na":    "this form of YAML@1:1; text@3:1=a",
		"a\n...\n---\nb: 1\n":  "text@1:1=a; a mapping@4:1[b@4:1 a number@4:4=1]",
		"é: ü":                 "a mapping@1:1[é@1:1 text@1:4=ü]",
		"a: |\n  x\n  y\nb: 1": "a mapping@1:1[a@1:1 text@1:4=x\ny\n, b@4:1 a number@4:4=1]",
	} {
		docs, bad := yamltree.Parse(text, yamltree.Options{Depth: 10})
		if bad != nil {
			t.Errorf("%q: %v", text, bad)
			continue
		}
		var got []string
		for _, d := range docs {
			got = append(got, show(d.Root))
		}
		if d := cmp.Diff(want, strings.Join(got, "; ")); d != "" {
			t.Errorf("%q (-want +got):\n%s", text, d)
		}
	}
	docs, _ := yamltree.Parse("[1e3, '1e3', 12345678901234567890123, 1, 1.0, x]", yamltree.Options{Depth: 1})
	var flags []string
	for _, n := range docs[0].Root.Items {
		flags = append(flags, fmt.Sprintf("%s %t %t", n.Kind, n.Numeric, n.Integer))
	}
	want := []string{"text true false", "text false false", "text true false", "a number false true", "a number false false", "text false false"}
	if d := cmp.Diff(want, flags); d != "" {
		t.Error(d)
	}
}

func TestRefused(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"a: 1\nb: 2\na: 3":                 `5:1: not YAML: mapping key "a" already defined at [3:1]`,
		"{a: 1, \"a\": 2}":                 `3:8: not YAML: mapping key "a" already defined at [3:2]`,
		"a: 1\n---\n# b\n---\nc: 1":        "6:1: a document with nothing in it: take this line out",
		strings.Repeat("--- a\n", 100_000): "103:1: more than 100 documents",
		"a: [1":                            "3:4: not YAML: sequence end token ']' not found",
		"a:\n\t- b":                        "4:1: not YAML: found character '\\t' that cannot start any token",
		"? a\n: b":                         "3:1: a name has to be plain text",
		"? [a]\n: b":                       "4:1: not YAML: found an invalid key for this map",
		"a: {<<: {b: 1}}":                  "3:5: a name has to be plain text",
		"&a b: c":                          "3:1: a name has to be plain text",
		strings.Repeat("[", 5):             "3:5: nested more than 4 deep",
		strings.Repeat("- ", 5):            "3:9: nested more than 4 deep",
		strings.Repeat("? ", 100_000):      "3:9: nested more than 4 deep",
		"a:\n b:\n  c:\n   d: e":           "",
		"a:\n b:\n  c:\n   d:\n    e: f":   "7:8: nested more than 4 deep",
		strings.Repeat(" ", 60) + "a: 1":   "3:61: nested more than 4 deep",
	} {
		_, bad := yamltree.Parse(text, yamltree.Options{Depth: 4, Columns: 60, Before: 2})
		got := ""
		if bad != nil {
			got = fmt.Sprintf("%d:%d: %.80s", bad.At.Line, bad.At.Column, bad)
		}
		if strings.ReplaceAll(got, "\t", `\t`) != want {
			t.Errorf("%.40q\n got: %s\nwant: %s", text, got, want)
		}
	}
}

// TestStart: a second document is shown where it begins, with and without a line of its own.
func TestStart(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]yamltree.Place{"a: 1\n---\nb: 2": {Line: 2, Column: 1}, "a: 1\n...\nb: 2": {Line: 3, Column: 1}} {
		docs, bad := yamltree.Parse(text, yamltree.Options{Depth: 4})
		if bad != nil || len(docs) != 2 || docs[1].Start != want {
			t.Errorf("%q: %+v, %v", text, docs, bad)
		}
	}
}

// FuzzParse checks that whatever is accepted keeps to what the package says, and
// that every place is one of the text.
func FuzzParse(f *testing.F) {
	for _, s := range []string{
		"a: {b: [1, 0x10, 1e3, .inf, ~, true, 'x', \"y\"]}\n", "a: |\n  x\nb: >-\n  y\n", "a: &a [*a]\n? b\n: !!set {<<: *a}\n",
		"%YAML 1.2\n---\na: 1\n...\n---\n- b\n", "[[[", "- - - -", "? ? ?", "a: 1\na: 2\r\n", "{a, a: 2}", "\ufeffa: 'b", "# x\n",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		const depth, before = 8, 3
		lines := strings.Count(text, "\n") + 1
		inside := func(p yamltree.Place) {
			t.Helper()
			if p.Line <= before || p.Line > before+lines || p.Column < 1 {
				t.Fatalf("%+v in a text of %d lines", p, lines)
			}
		}
		docs, bad := yamltree.Parse(text, yamltree.Options{Depth: depth, Before: before})
		if bad != nil {
			if bad.At != (yamltree.Place{}) {
				inside(bad.At)
			}
			if bad.Problem == "" || docs != nil {
				t.Fatalf("%+v, %d documents", bad, len(docs))
			}
			return
		}
		var check func(n *yamltree.Node, level int)
		check = func(n *yamltree.Node, level int) {
			inside(n.At)
			inside(n.Start)
			switch {
			case level > depth:
				t.Fatalf("%d levels", level)
			case n.Kind == yamltree.Number && !json.Valid([]byte(n.Text)), n.Numeric && (n.Kind != yamltree.Text || !json.Valid([]byte(n.Text))):
				t.Fatalf("%q is no number in JSON", n.Text)
			case n.Integer && n.Kind != yamltree.Number, n.Items != nil && n.Kind != yamltree.List, n.Fields != nil && n.Kind != yamltree.Mapping:
				t.Fatalf("%+v", n)
			}
			for _, item := range n.Items {
				check(item, level+1)
			}
			var names []string
			for _, f := range n.Fields {
				inside(f.At)
				if slices.Contains(names, f.Name) {
					t.Fatalf("%q is there twice", f.Name)
				}
				names = append(names, f.Name)
				check(f.Value, level+1)
			}
		}
		for _, d := range docs {
			inside(d.Start)
			check(d.Root, 0)
			if all := d.Root.Find(func(*yamltree.Node) bool { return true }); all != d.Root {
				t.Fatal("the root is not found first")
			}
		}
	})
}
