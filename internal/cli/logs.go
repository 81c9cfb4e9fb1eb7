package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/cairn-run/cairn"
	v1 "github.com/cairn-run/cairn/api/v1"
	"github.com/cairn-run/cairn/client"
)

// logFlags are the flags of logs.
type logFlags struct {
	follow, full bool
	after        uint64
	last         int
	types        []string
}

func (a *app) logsCommand() *cobra.Command {
	var f logFlags
	c := &cobra.Command{
		Use:   "logs SESSION|last",
		Short: "Print the events of a session",
		Long: "logs prints the events of a session, one line a fact, or with --json the events themselves.\n" +
			"It performs nothing: with -f it shows what a server, or an attach elsewhere, is doing.",
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error { return a.logs(c.Context(), args[0], f) },
	}
	c.Flags().BoolVarP(&f.follow, "follow", "f", false, "go on until the session is over, or an interrupt")
	c.Flags().Uint64Var(&f.after, "after", 0, "only events after this sequence number")
	c.Flags().IntVarP(&f.last, "last", "n", 0, "only the last so many")
	c.Flags().StringSliceVar(&f.types, "type", nil, "only these types, like tool_call.completed")
	c.Flags().BoolVar(&f.full, "full", false, "do not cut long texts")
	return c
}

// joined lists types of events.
func joined(types []cairn.EventType) string {
	names := make([]string, len(types))
	for i, t := range types {
		names[i] = string(t)
	}
	return strings.Join(names, ", ")
}

func (a *app) logs(ctx context.Context, arg string, f logFlags) error {
	if a.fresh() {
		return cairn.Errorf(cairn.CodeNotFound, "there are no sessions in %s", a.data)
	}
	wanted := map[cairn.EventType]bool{}
	for _, t := range f.types {
		if !slices.Contains(cairn.EventTypes(), cairn.EventType(t)) {
			return usage(fmt.Errorf("--type: no event is called %q; there is: %s", t, joined(cairn.EventTypes())))
		}
		wanted[cairn.EventType(t)] = true
	}
	return a.with(ctx, func(ctx context.Context, l *link) error {
		id, err := l.sessionOf(ctx, arg)
		if err != nil {
			return err
		}
		t := trace{style: a.out, loc: a.Location, most: 200, blocks: f.full}
		if f.full {
			t.most = 0
		}
		v := newView(id)
		show := func(wire v1.Event) error {
			e, err := wire.Cairn()
			if err != nil {
				return fmt.Errorf("event %d: %w", wire.Seq, err)
			}
			v.event(e)
			if len(wanted) > 0 && !wanted[wire.Type] {
				return nil
			}
			if a.json {
				return a.printJSON(wire)
			}
			for _, line := range t.lines(v, e) {
				if _, err := fmt.Fprintln(a.Stdout, line); err != nil {
					return err
				}
			}
			return nil
		}
		seq := cairn.Seq(f.after)
		if f.last > 0 {
			events, _, err := l.tail(ctx, id, f.last)
			if err != nil {
				return err
			}
			for _, e := range events {
				seq = e.Seq
				if err := show(e); err != nil {
					return err
				}
			}
		}
		if seq, err = l.page(ctx, id, seq, show); err != nil || !f.follow {
			return err
		}
		return a.tailStream(ctx, l, v, seq, show)
	})
}

// page reads events after seq to the end and returns the last one's number.
func (l *link) page(ctx context.Context, id cairn.SessionID, seq cairn.Seq, show func(v1.Event) error) (cairn.Seq, error) {
	for {
		page, err := l.Events(ctx, id, client.EventQuery{After: seq, Limit: 1000})
		if err != nil {
			return seq, err
		}
		for _, e := range page.Events {
			if err := show(e); err != nil {
				return seq, err
			}
		}
		if len(page.Events) == 0 || page.Next <= seq {
			return seq, nil
		}
		seq = page.Next
	}
}

// tailStream shows what comes until the session is over.
func (a *app) tailStream(ctx context.Context, l *link, v *view, seq cairn.Seq, show func(v1.Event) error) error {
	if v.status.Final() {
		return nil
	}
	if l.node != nil {
		a.note("no server is running: nothing will happen until %s, or %s", a.carrying("attach %s", v.id), a.carrying("serve"))
		return nil
	}
	for item, err := range l.Stream(ctx, v.id, seq) {
		if errors.Is(err, context.Canceled) {
			return nil // an interrupt ends a log
		}
		if err != nil {
			return err
		}
		if item.Event == nil {
			continue
		}
		if err := show(*item.Event); err != nil {
			return err
		}
		if v.status.Final() {
			return nil
		}
	}
	return nil
}
