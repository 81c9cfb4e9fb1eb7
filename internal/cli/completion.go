package cli

import (
	"fmt"

	"github.com/spf13/cobra"
)

// shells are those that completions are written for.
var shells = []string{"bash", "zsh", "fish", "powershell"}

func (a *app) completionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "completion bash|zsh|fish|powershell",
		Short: "Print the completions of a shell",
		Long: "completion prints a script that makes a shell complete the commands, their flags, and the ids of sessions, asks\n" +
			"and agents. bash needs the package bash-completion. Load it for one shell with\n\n" +
			"  source <(cairn completion bash)\n" +
			"  source <(cairn completion zsh)\n" +
			"  cairn completion fish | source\n" +
			"  cairn completion powershell | Out-String | Invoke-Expression\n\n" +
			"and for good by writing it where the shell looks:\n\n" +
			"  cairn completion bash > ~/.local/share/bash-completion/completions/cairn\n" +
			"  cairn completion zsh  > \"${fpath[1]}/_cairn\"\n" +
			"  cairn completion fish > ~/.config/fish/completions/cairn.fish",
		Args:      cobra.MatchAll(cobra.ExactArgs(1), cobra.OnlyValidArgs),
		ValidArgs: shells,
		RunE: func(c *cobra.Command, args []string) error {
			root := c.Root()
			switch args[0] {
			case "bash":
				return root.GenBashCompletionV2(a.Stdout, true)
			case "zsh":
				return root.GenZshCompletion(a.Stdout)
			case "fish":
				return root.GenFishCompletion(a.Stdout, true)
			case "powershell":
				return root.GenPowerShellCompletionWithDesc(a.Stdout)
			}
			return usage(fmt.Errorf("%q is not one of %v", args[0], shells)) // OnlyValidArgs said so before
		},
	}
}
