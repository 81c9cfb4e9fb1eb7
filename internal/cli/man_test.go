package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"
)

// TestManPage compares a page with that of testdata; -update writes it.
func TestManPage(t *testing.T) {
	t.Parallel()
	const golden = "testdata/cairn-example.1"
	root := &cobra.Command{Use: "cairn"}
	root.PersistentFlags().Bool("json", false, "print JSON")
	c := &cobra.Command{
		Use: "example FILE", Short: "Show what a page is made of",
		Long: "example has text with a \\ backslash, 'quotes', \"more\", a ~ and a --flag.\n.SH A line that looks like a request\n\n" +
			"  indented -i text\n\nAnd an end.",
		Example: "  cairn example 'a.md' --name x\n  .cairn",
		RunE:    func(*cobra.Command, []string) error { return nil },
	}
	c.Flags().StringP("name", "n", "x", "takes a `NAME`\nin two lines")
	c.Flags().Bool("quiet", false, "say nothing")
	root.AddCommand(c)
	got := manPage(c, "v1.2.3")
	if *update {
		if err := os.WriteFile(golden, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), got); d != "" {
		t.Errorf("run with -update and read the difference (-want +got):\n%s", d)
	}
}

// TestManPages: there is a page for every command, and in no page can a text be taken
// for a request.
func TestManPages(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "man", "man1")
	a := &app{Env: Env{Version: "v0", Stdout: new(strings.Builder)}}
	root := a.root()
	if err := a.man(root, dir); err != nil {
		t.Fatal(err)
	}
	requests := []string{".TH", ".SH", ".TP", ".PP", ".B", ".nf", ".fi", ".nh", ".ad"}
	for _, c := range commandsOf(root) {
		if c.Hidden || c.Name() == "help" {
			continue
		}
		page, err := os.ReadFile(filepath.Join(dir, manName(c)+".1"))
		if err != nil {
			t.Error(err)
			continue
		}
		for line := range strings.Lines(string(page)) {
			word, _, _ := strings.Cut(strings.TrimSpace(line), " ")
			known := false
			for _, r := range requests {
				known = known || word == r
			}
			if (strings.HasPrefix(line, ".") || strings.HasPrefix(line, "'")) && !known {
				t.Errorf("%s: %q is read as a request", manName(c), line)
			}
		}
	}
}
