package cli

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/cairn-run/cairn"
	v1 "github.com/cairn-run/cairn/api/v1"
	"github.com/cairn-run/cairn/client"
)

// sessionsCommand gathers what is done with sessions; ps and show stand for
// themselves too.
func (a *app) sessionsCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "sessions",
		Short: "List, show and move sessions",
	}
	ls := a.psCommand()
	ls.Use, ls.Short, ls.Example = "ls", "List sessions, newest first (cairn ps)", "  cairn sessions ls --all"
	show := a.showCommand()
	show.Short, show.Example = show.Short+" (cairn show)", "  cairn sessions show last"
	c.AddCommand(ls, show, a.moveCommand())
	return c
}

func (a *app) moveCommand() *cobra.Command {
	var reason string
	c := &cobra.Command{
		Use:   "move SESSION|last AGENT[@VERSION]|AGENTFILE",
		Short: "Let a session go on under another agent, or another version of its own",
		Long: "A session stays pinned to the version of its agent that it began with, until it is moved. move changes its\n" +
			"model, instructions and tools, from the next model call on; calls that are open end under the definition that\n" +
			"made them. A model call that waits for its next attempt is given up, and what was asked about money lapses.\n" +
			"A run keeps its own budget and time limit. It is recorded who did it and why. VERSION is the digest, or the\n" +
			"beginning of it, that cairn agents history shows; an agent file is registered first, as apply does.",
		Example: "  cairn sessions move last coder.md --reason \"a larger model\"\n  cairn sessions move ses_… coder@3f9a21c0",
		Args:    cobra.ExactArgs(2),
		RunE:    func(c *cobra.Command, args []string) error { return a.move(c.Context(), args[0], args[1], reason) },
	}
	c.Flags().StringVar(&reason, "reason", "", "why, for the record")
	return c
}

func (a *app) move(ctx context.Context, arg, target, reason string) error {
	file, err := readAgentArg(target)
	if err != nil {
		return err
	}
	if a.fresh() {
		return cairn.Errorf(cairn.CodeNotFound, "there are no sessions in %s", a.data)
	}
	if file != nil {
		if err := a.keepScripts(target, file.Agent, nil); err != nil {
			return err
		}
	}
	return a.with(ctx, func(ctx context.Context, l *link) error {
		ctx, cancel := context.WithTimeout(ctx, callTimeout)
		defer cancel()
		id, err := l.sessionOf(ctx, arg)
		if err != nil {
			return err
		}
		m := v1.Move{Reason: reason}
		if file != nil {
			applied, err := l.apply(ctx, file)
			if err != nil {
				return err
			}
			m.Agent, m.Version = applied.Name, applied.Digest
		} else {
			name, version, _ := strings.Cut(target, "@")
			v, err := l.version(ctx, name, version)
			if err != nil {
				return err
			}
			m.Agent, m.Version = v.Name, v.Digest
		}
		moving, err := l.Move(ctx, id, m, client.Key(a.NewKey()))
		if err != nil {
			return err
		}
		if err := a.print(moving, func(w io.Writer) {
			if moving.From == moving.Digest {
				fmt.Fprintf(w, "%s runs under %s %s already\n", id, word(moving.Agent), digest(moving.Digest))
				return
			}
			fmt.Fprintf(w, "%s goes on under %s %s from its next model call on\n", id, word(moving.Agent), digest(moving.Digest))
		}); err != nil {
			return err
		}
		l.carried(id)
		return nil
	})
}
