package cli

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/cairn-run/cairn"
	v1 "github.com/cairn-run/cairn/api/v1"
	"github.com/cairn-run/cairn/client"
)

func (a *app) sendCommand() *cobra.Command {
	var interrupt, follow, wait bool
	var attach []string
	c := &cobra.Command{
		Use:   "send SESSION|last TEXT|FILE|-",
		Short: "Send a message: it starts a run, or steers the one that goes on",
		Args:  cobra.ExactArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			content, err := a.content(args[1], attach, false)
			if err != nil {
				return err
			}
			return a.send(c.Context(), args[0], v1.PostMessage{Content: content, Interrupt: interrupt}, follow, wait)
		},
	}
	c.Flags().BoolVar(&interrupt, "interrupt", false, "stop the running calls first; else the message joins after them")
	c.Flags().BoolVarP(&follow, "follow", "f", false, "then show what the session does, until its run ends")
	c.Flags().StringVar(&a.providers, "providers", "", "with --follow: "+providersHelp)
	a.sandboxFlag(c.Flags())
	c.Flags().BoolVar(&wait, "wait", false, "with --follow: stay while an ask is open")
	c.Flags().StringArrayVar(&attach, "attach", nil, attachHelp)
	return c
}

func (a *app) send(ctx context.Context, arg string, m v1.PostMessage, follow, wait bool) error {
	if a.fresh() {
		return cairn.Errorf(cairn.CodeNotFound, "there are no sessions in %s", a.data)
	}
	var id cairn.SessionID
	var last cairn.Seq
	err := a.with(ctx, func(ctx context.Context, l *link) error {
		if follow && a.providers != "" && l.node == nil {
			return errProviders()
		}
		ctx, cancel := context.WithTimeout(ctx, callTimeout)
		defer cancel()
		var err error
		if id, err = l.sessionOf(ctx, arg); err != nil {
			return err
		}
		s, err := l.Session(ctx, id)
		if err != nil {
			return err
		}
		last = s.LastSeq
		accepted, err := l.Send(ctx, id, m, client.Key(a.NewKey()))
		if err != nil || follow {
			return err
		}
		if err := a.print(accepted, func(w io.Writer) { fmt.Fprintf(w, "%s has the message\n", id) }); err != nil {
			return err
		}
		l.carried(id)
		return nil
	})
	if err != nil || !follow {
		return err
	}
	return a.attach(ctx, string(id), last, wait, false)
}

func (a *app) controlCommand(action cairn.ControlAction) *cobra.Command {
	about := map[cairn.ControlAction]string{
		cairn.ControlPause:  "Stop a session before its next effect",
		cairn.ControlResume: "Let a paused session go on",
		cairn.ControlCancel: "Stop everything in a session; final",
	}
	var reason string
	c := &cobra.Command{
		Use:   string(action) + " SESSION|last",
		Short: about[action],
		Args:  cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return a.control(c.Context(), action, args[0], reason)
		},
	}
	if action != cairn.ControlResume {
		c.Flags().StringVar(&reason, "reason", "", "why, for the record")
	}
	return c
}

func (a *app) control(ctx context.Context, action cairn.ControlAction, arg, reason string) error {
	if a.fresh() {
		return cairn.Errorf(cairn.CodeNotFound, "there are no sessions in %s", a.data)
	}
	return a.with(ctx, func(ctx context.Context, l *link) error {
		ctx, cancel := context.WithTimeout(ctx, callTimeout)
		defer cancel()
		id, err := l.sessionOf(ctx, arg)
		if err != nil {
			return err
		}
		key := client.Key(a.NewKey())
		var accepted v1.Accepted
		switch action {
		case cairn.ControlPause:
			accepted, err = l.Pause(ctx, id, reason, key)
		case cairn.ControlResume:
			accepted, err = l.Resume(ctx, id, key)
		default:
			accepted, err = l.Cancel(ctx, id, reason, key)
		}
		if err != nil {
			return err
		}
		if err := a.print(accepted, func(w io.Writer) { fmt.Fprintf(w, "%s: %s is recorded\n", id, action) }); err != nil {
			return err
		}
		l.carried(id)
		return nil
	})
}
