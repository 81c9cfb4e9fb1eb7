package vault

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cairn-run/cairn"
)

// FuzzEntries: what was read and written is read again as the same, and changing
// one entry changes no other.
func FuzzEntries(f *testing.F) {
	for _, s := range []string{"", "A=1\n", "# c\n\nexport A = 'x'\nB=\"\n", "A: x\nB: |\n  y\n", "A=1\nA=2", "[[[[", "{A: 1}", "A=\"\"\"\""} {
		f.Add(s, "NEW", "value")
	}
	f.Fuzz(func(t *testing.T, text, name, value string) {
		e, err := parseEntries([]byte(text))
		if err != nil || e.yaml {
			return
		}
		again, err := parseEntries(e.text())
		if err != nil || cmp.Diff(e.values, again.values) != "" {
			t.Fatalf("%q: %v\n%s", text, err, cmp.Diff(e.values, again.values))
		}
		s, terr := trimmed(cairn.NewSecret(value))
		if !isName(name) || terr != nil || e.set(name, s.Reveal()) != nil {
			return
		}
		again, err = parseEntries(e.text())
		if err != nil || cmp.Diff(e.values, again.values) != "" || again.values[name] != s.Reveal() {
			t.Fatalf("%q with %s=%q: %v\n%s", text, name, value, err, cmp.Diff(e.values, again.values))
		}
		if !e.remove(name) || e.remove(name) {
			t.Fatal("an entry is not removed once")
		}
		if again, err = parseEntries(e.text()); err != nil || cmp.Diff(e.values, again.values) != "" {
			t.Fatalf("%q without %s: %v\n%s", text, name, err, cmp.Diff(e.values, again.values))
		}
	})
}
