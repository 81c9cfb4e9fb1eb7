package cli

import (
	"context"
	"io"

	"github.com/spf13/cobra"

	"github.com/cairn-run/cairn"
)

func (a *app) exportCommand() *cobra.Command {
	var out string
	c := &cobra.Command{
		Use:   "export SESSION|last",
		Short: "Write the whole history of a session in a portable form",
		Long: "export writes a session as JSON, one object a line: a head, the definitions of the agents it ran under, every\n" +
			"event, and an end with the SHA-256 of all before it. docs/cli.md describes the form. Its files are written by\n" +
			"cairn files archive.",
		Example: "  cairn export last -o session.ndjson\n  cairn export ses_… | jq -r .type",
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return a.fetch(c.Context(), args[0], out, func(ctx context.Context, l *link, id cairn.SessionID, w io.Writer) error {
				return l.Export(ctx, id, w)
			})
		},
	}
	c.Flags().StringVarP(&out, "output", "o", "", "write it to this file, which must not exist yet")
	return c
}
