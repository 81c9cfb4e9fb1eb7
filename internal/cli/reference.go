package cli

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

// Reference is the part of docs/cli.md that lists the commands, their flags and
// the exit codes, in Markdown. It is made of the commands themselves.
func Reference() string {
	var b strings.Builder
	a := &app{}
	root := a.root()
	for _, g := range root.Groups() {
		fmt.Fprintf(&b, "### %s\n\n", strings.TrimSuffix(g.Title, ":"))
		for _, c := range root.Commands() {
			if c.GroupID == g.ID {
				writeCommand(&b, c)
			}
		}
	}
	b.WriteString("### Flags of every command\n\n```\n" + strings.TrimRight(root.PersistentFlags().FlagUsages(), "\n") + "\n```\n\n")
	b.WriteString("### Exit codes\n\n| code | meaning |\n|---|---|\n")
	for _, c := range ExitCodes() {
		fmt.Fprintf(&b, "| %d | %s |\n", c.Code, c.Meaning)
	}
	b.WriteString("\n")
	return b.String()
}

func writeCommand(b *strings.Builder, c *cobra.Command) {
	fmt.Fprintf(b, "#### `%s`\n\n", c.Parent().CommandPath()+" "+c.Use)
	text := c.Short + "."
	if c.Long != "" {
		text = c.Long
	}
	b.WriteString(text + "\n\n")
	if c.Example != "" {
		b.WriteString("```sh\n" + unindent(c.Example) + "\n```\n\n")
	}
	if flags := strings.TrimRight(c.LocalNonPersistentFlags().FlagUsages(), "\n"); flags != "" {
		b.WriteString("```\n" + flags + "\n```\n\n")
	}
	for _, sub := range visibleCommands(c) {
		writeCommand(b, sub)
	}
}

func unindent(s string) string {
	lines := strings.Split(s, "\n")
	for i, l := range lines {
		lines[i] = strings.TrimPrefix(l, "  ")
	}
	return strings.Join(lines, "\n")
}
