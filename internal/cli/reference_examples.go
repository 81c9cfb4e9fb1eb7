package cli

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

// examples are what people type, by the path of the command. A command that has
// an example of its own keeps it.
var examples = map[string][]string{
	"cairn agents": {
		"cairn agents",
		"cairn agents support@3fa21b9c",
	},
	"cairn agents show": {
		"cairn agents show support",
		"cairn agents show support@3fa21b9c --json",
	},
	"cairn agents history": {"cairn agents history support"},
	"cairn agents diff": {
		"cairn agents diff support                     # the current version and the one before",
		"cairn agents diff support 3fa21b9c 9b1c77aa",
	},
	"cairn apply": {
		"cairn apply agents/ --dry-run    # what would change",
		"cairn apply agents/              # shows it, asks, and registers it",
		"cairn apply agents/ --yes        # does not ask",
		"cairn apply support.md --check   # only whether the file is right",
	},
	"cairn attach":   {"cairn attach last", "cairn attach ses_01M7WJY103T0MD0N1JC8JC1YX4 --wait"},
	"cairn sessions": {"cairn sessions ls --all", "cairn sessions move last coder.md"},
	"cairn ps":       {"cairn ps", "cairn ps --all --agent support", "cairn ps --status waiting --json"},
	"cairn show":     {"cairn show last", "cairn show last --full"},
	"cairn logs":     {"cairn logs last -f", "cairn logs last --type tool_call.completed --json"},
	"cairn asks":     {"cairn asks", "cairn asks --status rejected --json"},
	"cairn usage":    {"cairn usage", "cairn usage last"},
	"cairn send":     {`cairn send last "And order A2?" -f`, `cairn send last --interrupt "Stop: it is the wrong order."`, "git diff | cairn send last -"},
	"cairn approve":  {"cairn approve last", `cairn approve ask_01M7WJY103T0MD0N1JC8JC1YX4 --edit '{"amount": 50}'`},
	"cairn reject":   {`cairn reject last --reason "Ask the customer first."`},
	"cairn answer":   {"cairn answer last @result.json", `cairn answer last --failed "no such user"`},
	"cairn pause":    {"cairn pause last"},
	"cairn resume":   {"cairn resume last"},
	"cairn cancel":   {`cairn cancel last --reason "wrong order"`},
	"cairn serve":    {"cairn serve", "cairn serve --listen 127.0.0.1:9000 --log-format json", `cairn serve --listen ""    # only the socket in the data directory`},
	"cairn models":   {"cairn models", "cairn models anthropic --prices"},
	"cairn doctor":   {"cairn doctor", "cairn doctor --json | jq '.findings[] | select(.health != \"ok\")'"},
	"cairn version":  {"cairn version", "cairn version --json"},
	"cairn completion": {
		"source <(cairn completion bash)",
		"cairn completion fish > ~/.config/fish/completions/cairn.fish",
	},
	"cairn man": {"cairn man ~/.local/share/man/man1", "man cairn-run"},
}

// addExamples gives commands their examples.
func addExamples(root *cobra.Command) {
	for _, c := range commandsOf(root) {
		if lines := examples[c.CommandPath()]; c.Example == "" && len(lines) > 0 {
			c.Example = "  " + strings.Join(lines, "\n  ")
		}
	}
}

// refuseUnknown makes commands that only hold others say so when something else is
// asked of them, with what was most likely meant.
func refuseUnknown(root *cobra.Command) {
	for _, c := range commandsOf(root) {
		if c == root || c.Runnable() || !c.HasSubCommands() {
			continue
		}
		c.SuggestionsMinimumDistance = 2 // letters, as for the commands of cairn itself
		c.Args = func(c *cobra.Command, args []string) error {
			if len(args) == 0 {
				return nil
			}
			text := fmt.Sprintf("unknown command %q for %q", args[0], c.CommandPath())
			if near := c.SuggestionsFor(args[0]); len(near) > 0 {
				text += "\n\nDid you mean this?\n\t" + strings.Join(near, "\n\t") + "\n"
			}
			return errors.New(text)
		}
		c.RunE = func(c *cobra.Command, _ []string) error { return c.Help() }
	}
}

// refuseUnknownHelp makes the help of a command that is none an error.
func refuseUnknownHelp(root *cobra.Command) {
	root.InitDefaultHelpCmd()
	for _, c := range root.Commands() {
		if c.Name() == "help" {
			c.Args = func(_ *cobra.Command, args []string) error {
				_, _, err := root.Find(args)
				return err
			}
		}
	}
}
