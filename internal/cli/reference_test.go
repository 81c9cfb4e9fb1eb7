package cli

import (
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/pflag"
)

// TestReference holds docs/cli.md equal to what the commands say. Run with
// -update after a change.
func TestReference(t *testing.T) {
	t.Parallel()
	const file = "../../docs/cli.md"
	const from, to = "<!-- generated: go test ./internal/cli -update -->\n", "<!-- end -->\n"
	guide, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(guide), from)
	_, after, ok2 := strings.Cut(rest, to)
	if !ok || !ok2 {
		t.Fatalf("%s has no generated part", file)
	}
	want := before + from + Reference() + to + after
	if *update {
		if err := os.WriteFile(file, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if d := cmp.Diff(want, string(guide)); d != "" {
		t.Errorf("%s is not up to date: go test ./internal/cli -update (-want +committed):\n%s", file, d)
	}
}

// TestHelp holds the texts of all commands to one form: a line without a full stop
// that begins with a capital, an example that can be parsed, and no flag without a
// word on it.
func TestHelp(t *testing.T) {
	t.Parallel()
	root := (&app{}).root()
	for _, c := range commandsOf(root) {
		path := c.CommandPath()
		if c.Hidden || c.Name() == "help" || c == root {
			continue
		}
		if c.Short == "" || strings.HasSuffix(c.Short, ".") || strings.ToUpper(c.Short[:1]) != c.Short[:1] || strings.Contains(c.Short, "\n") {
			t.Errorf("%s: %q is no short text: one line that begins with a capital and has no full stop", path, c.Short)
		}
		if c.Parent() == root && c.GroupID == "" {
			t.Errorf("%s stands in no group", path)
		}
		if c.Long != "" && !strings.HasSuffix(strings.TrimRight(c.Long, "\n"), ".") && !strings.Contains(c.Long, "\n  ") {
			t.Errorf("%s: the long text does not end with a full stop", path)
		}
		if c.Runnable() && !strings.Contains(c.Example, path) {
			t.Errorf("%s has no example: set Example, or add one to examples", path)
		}
		c.LocalNonPersistentFlags().VisitAll(func(f *pflag.Flag) {
			if f.Usage == "" || strings.HasSuffix(f.Usage, ".") {
				t.Errorf("%s --%s: %q: say what it is for, without a full stop", path, f.Name, f.Usage)
			}
		})
		// What stands in an example is understood.
		for line := range strings.Lines(c.Example) {
			line, _, _ = strings.Cut(strings.TrimSpace(line), "    #")
			i := strings.Index(line, path+" ")
			if i < 0 || strings.ContainsAny(line[i:], "|<>") {
				continue
			}
			words := strings.Fields(line[i:])
			of, _, err := root.Find(words[1:])
			if err != nil {
				t.Errorf("%s: the example %q: %v", path, line, err)
				continue
			}
			for _, w := range words {
				name, ok := strings.CutPrefix(w, "--")
				name, _, _ = strings.Cut(name, "=")
				if ok && of.Flags().Lookup(name) == nil && of.InheritedFlags().Lookup(name) == nil {
					t.Errorf("%s: the example %q has a flag that is not known: --%s", path, line, name)
				}
			}
		}
	}
	for path := range examples {
		if c, _, err := root.Find(strings.Fields(path)[1:]); err != nil || c.CommandPath() != path {
			t.Errorf("%q has examples and is no command", path)
		}
	}
}
