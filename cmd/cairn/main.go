// Command cairn runs agents. See docs/cli.md.
package main

import (
	"context"
	"crypto/rand"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/cairn-run/cairn/internal/cli"
	"github.com/cairn-run/cairn/node"
	"github.com/cairn-run/cairn/sandbox"
	"github.com/cairn-run/cairn/sandbox/ns"
)

// version is set when a release is built (-ldflags "-X main.version=v1.2.3").
var version string

func main() {
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	home, err := os.UserHomeDir()
	if err != nil {
		home = "" // --data or CAIRN_DATA has to say it then
	}
	os.Exit(cli.Run(context.Background(), cli.Env{
		Args:   os.Args[1:],
		Getenv: os.Getenv, Home: home,
		Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr,
		Terminal: cli.TerminalOf(os.Stdin, os.Stdout, os.Stderr),
		Signals:  signals, Now: time.Now, NewKey: newKey,
		Open: open, Version: versionText(),
		Sandbox: func(dir string) (sandbox.Driver, error) { return ns.Open(ns.Options{Dir: dir}) },
	}))
}

// newKey makes a ULID: the ids of sessions take their time from it.
func newKey() string { return ulid.MustNew(ulid.Now(), rand.Reader).String() }

// open opens a node in this process.
func open(ctx context.Context, o cli.NodeOptions) (cli.Node, error) {
	n, err := node.Open(ctx, node.Options{
		Dir: o.Dir, Listen: o.Listen, Hosts: o.Hosts, Origins: o.Origins, Socket: o.Socket, Logger: o.Logger,
		Scripts: o.Scripts, Token: o.Token, Version: o.Version, Paused: o.Paused, Providers: o.Providers, Wrap: o.Wrap, Sandbox: o.Sandbox,
	})
	if err != nil {
		return nil, err // not a Node that holds nil
	}
	return n, nil
}

// versionText is the version of the release, else that of the source.
func versionText() string {
	if version != "" {
		return version
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	if v := info.Main.Version; v != "" && v != "(devel)" {
		return v
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" && len(s.Value) >= 12 {
			return "devel-" + s.Value[:12]
		}
	}
	return "devel"
}
