// Package command lets a program be the cairn command for a [stage.Stage], so that
// it needs no binary beside it.
package command

import (
	"context"
	"crypto/rand"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/cairn-run/cairn/examples/stage"
	"github.com/cairn-run/cairn/internal/cli"
	"github.com/cairn-run/cairn/node"
)

// Main makes the process the cairn command, and does not return, when a stage
// started it as that. Programs call it first in main, tests in TestMain.
func Main() {
	if os.Getenv(stage.AsCommand) == "" {
		return
	}
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	os.Exit(cli.Run(context.Background(), cli.Env{
		Args: os.Args[1:], Getenv: os.Getenv,
		Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr,
		Terminal: cli.TerminalOf(os.Stdin, os.Stdout, os.Stderr),
		Signals:  signals, Now: time.Now,
		NewKey:  func() string { return ulid.MustNew(ulid.Now(), rand.Reader).String() },
		Open:    open,
		Version: "example",
	}))
}

// open opens a node in this process, as the command does.
func open(ctx context.Context, o cli.NodeOptions) (cli.Node, error) {
	n, err := node.Open(ctx, node.Options{
		Dir: o.Dir, Listen: o.Listen, Socket: o.Socket, Logger: o.Logger,
		Scripts: o.Scripts, Token: o.Token, Version: o.Version, Paused: o.Paused, Providers: o.Providers, Wrap: o.Wrap,
		Sandbox: o.Sandbox,
	})
	if err != nil {
		return nil, err // not a Node that holds nil
	}
	return n, nil
}
