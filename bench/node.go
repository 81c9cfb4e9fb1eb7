package main

import (
	"context"
	"errors"
	"flag"
	"os"
	"os/signal"
	"runtime/pprof"
	"syscall"
	"time"

	"github.com/cairn-run/cairn/node"
)

// nodeCommand makes this program a node that writes a CPU profile: what
// `cairn serve` joins, for figures of another process.
const nodeCommand = "node"

// runNode is the node's process; it ends with SIGTERM.
func runNode(ctx context.Context, args []string) (err error) {
	flags := flag.NewFlagSet(nodeCommand, flag.ContinueOnError)
	data := flags.String("data", "", "data directory")
	scripts := flags.String("scripts", "", "directory of script models")
	profile := flags.String("cpuprofile", "", "write a CPU profile")
	if err := flags.Parse(args); err != nil {
		return err
	}
	f, err := os.Create(*profile)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if err := pprof.StartCPUProfile(f); err != nil {
		return err
	}
	defer pprof.StopCPUProfile()
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM)
	defer stop()
	n, err := node.Open(ctx, node.Options{Dir: *data, Socket: true, Scripts: []string{*scripts}})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, n.Close()) }()
	if err := n.Start(ctx); err != nil {
		return err
	}
	select {
	case <-ctx.Done():
	case err := <-n.Failed():
		return err
	}
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	return n.Drain(drain)
}
