package cli

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

func (a *app) manCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "man DIR",
		Short: "Write the manual pages into a directory",
		Long: "man writes a page of section 1 for cairn and for each of its commands into DIR, which is made if it is not there.\n" +
			"The pages are made of the same texts as --help.",
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error { return a.man(c.Root(), args[0]) },
	}
}

func (a *app) man(root *cobra.Command, dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	n := 0
	for _, c := range commandsOf(root) {
		if c.Hidden || c.Name() == "help" {
			continue
		}
		page := manPage(c, a.Version)
		if err := os.WriteFile(filepath.Join(dir, manName(c)+".1"), []byte(page), 0o644); err != nil { //nolint:gosec // manual pages are for everybody
			return err
		}
		n++
	}
	return a.print(struct {
		Dir   string `json:"dir"`
		Pages int    `json:"pages"`
	}{dir, n}, func(w io.Writer) { fmt.Fprintf(w, "%s in %s\n", plural(n, "page"), dir) })
}

// manName is the name of a command's page: cairn-agents-show.
func manName(c *cobra.Command) string { return strings.ReplaceAll(c.CommandPath(), " ", "-") }

// manPage writes a manual page with the macros of man(7). It has no date: a page is
// the same however often it is made.
func manPage(c *cobra.Command, version string) string {
	var b strings.Builder
	section := func(title string) { fmt.Fprintf(&b, ".SH %s\n", title) }
	fmt.Fprintf(&b, ".TH \"%s\" \"1\" \"\" \"cairn %s\" \"Cairn\"\n", strings.ToUpper(manName(c)), roff(version))
	b.WriteString(".nh\n.ad l\n") // neither hyphens that are not there nor wide gaps
	section("NAME")
	fmt.Fprintf(&b, "%s \\- %s\n", roff(manName(c)), roff(lowerFirst(c.Short)))
	section("SYNOPSIS")
	use := c.UseLine()
	if c.HasAvailableSubCommands() && !c.Runnable() {
		use = c.CommandPath() + " COMMAND"
	}
	fmt.Fprintf(&b, ".B %s\n", roff(use))
	section("DESCRIPTION")
	text := c.Long
	if text == "" {
		text = c.Short + "."
	}
	body, codes, _ := strings.Cut(text, "\n\nExit codes:\n")
	paragraphs(&b, body)
	if subs := visibleCommands(c); len(subs) > 0 {
		section("COMMANDS")
		for _, sub := range subs {
			fmt.Fprintf(&b, ".TP\n.B %s\n%s\n", roff(sub.CommandPath()), roff(sub.Short))
		}
	}
	flagSection(&b, "OPTIONS", c.NonInheritedFlags())
	flagSection(&b, "OPTIONS OF EVERY COMMAND", c.InheritedFlags())
	if c.Example != "" {
		section("EXAMPLES")
		fmt.Fprintf(&b, ".nf\n%s\n.fi\n", roffLines(unindent(c.Example)))
	}
	if codes != "" {
		section("EXIT STATUS")
		for _, code := range ExitCodes() {
			fmt.Fprintf(&b, ".TP\n.B %d\n%s\n", code.Code, roff(code.Meaning))
		}
	}
	section("SEE ALSO")
	b.WriteString(strings.Join(seeAlso(c), ",\n") + "\n")
	return b.String()
}

// seeAlso are the pages of the command above, of those below, and of cairn.
func seeAlso(c *cobra.Command) []string {
	var names []string
	add := func(c *cobra.Command) { names = append(names, fmt.Sprintf("\\fB%s\\fP(1)", roff(manName(c)))) }
	if c.HasParent() {
		add(c.Parent())
		if c.Parent().HasParent() {
			add(c.Root())
		}
	}
	for _, sub := range visibleCommands(c) {
		add(sub)
	}
	return names
}

func visibleCommands(c *cobra.Command) []*cobra.Command {
	var list []*cobra.Command
	for _, sub := range c.Commands() {
		if !sub.Hidden && sub.Name() != "help" {
			list = append(list, sub)
		}
	}
	return list
}

func flagSection(b *strings.Builder, title string, flags *pflag.FlagSet) {
	first := true
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Hidden {
			return
		}
		if first {
			fmt.Fprintf(b, ".SH %s\n", title)
			first = false
		}
		name := "--" + f.Name
		if f.Shorthand != "" {
			name = "-" + f.Shorthand + ", " + name
		}
		value, about := pflag.UnquoteUsage(f)
		if value != "" {
			value = " \\fI" + roff(value) + "\\fP"
		}
		switch f.DefValue {
		case "", "false", "0", "[]":
		default:
			about += " (default " + f.DefValue + ")"
		}
		fmt.Fprintf(b, ".TP\n\\fB%s\\fP%s\n%s\n", roff(name), value, roff(about))
	})
}

// paragraphs writes text: what is indented stands as it is.
func paragraphs(b *strings.Builder, text string) {
	for i, p := range strings.Split(text, "\n\n") {
		if i > 0 {
			b.WriteString(".PP\n")
		}
		if strings.HasPrefix(p, "  ") {
			fmt.Fprintf(b, ".nf\n%s\n.fi\n", roffLines(p))
			continue
		}
		b.WriteString(roffLines(p) + "\n")
	}
}

func roffLines(text string) string {
	lines := strings.Split(text, "\n")
	for i, l := range lines {
		lines[i] = roff(l)
	}
	return strings.Join(lines, "\n")
}

// roff writes a line so that it is read as text: nothing in it is a request or an
// escape, and a hyphen can be copied as one.
func roff(s string) string {
	s = strings.NewReplacer(`\`, `\(rs`, "-", `\-`, "~", `\(ti`, "^", `\(ha`, "`", `\(ga`, "'", `\(aq`, `"`, `\(dq`).Replace(strings.ReplaceAll(s, "\n", " "))
	if strings.HasPrefix(s, ".") {
		s = `\&` + s
	}
	return s
}

func lowerFirst(s string) string {
	if s == "" {
		return s
	}
	return strings.ToLower(s[:1]) + s[1:]
}
