package cli

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/cairn-run/cairn"
	v1 "github.com/cairn-run/cairn/api/v1"
)

func (a *app) usageCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "usage [SESSION|last]",
		Short: "Tokens and cost, by agent or of one session by model",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) == 1 {
				return a.sessionUsage(c.Context(), args[0])
			}
			return a.usage(c.Context())
		},
	}
}

func (a *app) usage(ctx context.Context) error {
	totals := v1.Totals{Agents: []v1.AgentTotal{}}
	if !a.fresh() {
		err := a.with(ctx, func(ctx context.Context, l *link) (err error) {
			totals, err = l.Usage(ctx)
			return err
		})
		if err != nil {
			return err
		}
	}
	return a.print(totals, func(w io.Writer) {
		t := &table{head: []string{"AGENT", "SESSIONS", "IN", "CACHED", "OUT", "COST", "RESERVED"}, right: map[int]bool{1: true, 2: true, 3: true, 4: true, 5: true, 6: true}}
		row := func(name string, x v1.Total) {
			t.add(name, count(int64(x.Sessions)), count(x.Usage.Prompt()), count(x.Usage.CacheRead), count(x.Usage.Output), x.Cost.String(), x.Reserved.String())
		}
		for _, x := range totals.Agents {
			row(oneLine(x.Agent, 40), x.Total)
		}
		row("total", totals.Total)
		t.print(w, a.out)
	})
}

func (a *app) sessionUsage(ctx context.Context, arg string) error {
	if a.fresh() {
		return cairn.Errorf(cairn.CodeNotFound, "there are no sessions in %s", a.data)
	}
	return a.with(ctx, func(ctx context.Context, l *link) error {
		id, err := l.sessionOf(ctx, arg)
		if err != nil {
			return err
		}
		u, err := l.SessionUsage(ctx, id)
		if err != nil {
			return err
		}
		return a.print(u, func(w io.Writer) {
			fmt.Fprintf(w, "%s: %s, %s, %s, %s%s\n", u.Session, plural(u.Runs, "run"), plural(u.ModelCalls, "model call"), plural(u.ToolCalls, "tool call"), u.Cost, ofWhich(u))
			printModels(w, u, a.out)
		})
	})
}
