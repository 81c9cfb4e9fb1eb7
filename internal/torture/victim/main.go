// Command victim is the runtime that the torture kills: a node like any other,
// built with failpoints, whose model calls are counted by the effect server
// before they are answered.
package main

import (
	"context"
	"flag"
	"fmt"
	"iter"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/internal/effectserver"
	"github.com/cairn-run/cairn/kernel"
	"github.com/cairn-run/cairn/model"
	"github.com/cairn-run/cairn/model/script"
	"github.com/cairn-run/cairn/node"
)

func main() {
	if len(os.Args) > 1 && os.Args[1] == "warden" {
		if err := warden(os.Args[2:], os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, "warden:", err)
			os.Exit(75)
		}
		return
	}
	dir := flag.String("data", "", "data directory")
	effects := flag.String("effects", "", "URL of the effect server, which counts model calls; default none")
	scripts := flag.String("scripts", "", "directory of script models")
	sandbox := flag.String("sandbox", "", "driver of sandboxes; default the node's")
	flag.Parse()
	if err := run(*dir, *effects, *scripts, *sandbox); err != nil {
		fmt.Fprintln(os.Stderr, "victim:", err)
		os.Exit(75)
	}
}

func run(dir, effects, scripts, sandbox string) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	var models model.Driver = script.Open(scripts)
	if effects != "" {
		models = counted{models, effectserver.Client{Base: effects}}
	}
	n, err := node.Open(ctx, node.Options{
		Dir: dir, Socket: true, Token: "torture", Version: "torture",
		Logger:  slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})),
		Models:  map[string]model.Driver{script.Provider: models},
		Sandbox: sandbox,
		Kernel:  kernel.Options{SnapshotLag: 20, CacheBytes: 64 << 10}, WALPages: 256, // so that 100 kills see every failpoint
	})
	if err != nil {
		return err
	}
	if err := n.Start(ctx); err != nil {
		return err
	}
	fmt.Fprintln(os.Stdout, "ready")
	select {
	case <-ctx.Done():
	case err := <-n.Failed():
		return err
	}
	drain, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := n.Drain(drain); err != nil {
		return err
	}
	return n.Close()
}

// counted tells the effect server of every call before it is made, as a provider
// would put it on the bill.
type counted struct {
	model.Driver
	effects effectserver.Client
}

// Call counts and answers.
func (c counted) Call(ctx context.Context, call model.Call) iter.Seq2[model.Chunk, error] {
	return func(yield func(model.Chunk, error) bool) {
		err := c.effects.Model(ctx, effectserver.ModelCall{
			Effect: string(call.Key), Attempt: call.Attempt, Session: string(call.Session.ID),
		})
		if err != nil {
			yield(model.Chunk{}, &model.Failure{Err: &cairn.Error{
				Code: cairn.CodeUnavailable, Message: "the bill cannot be written", Retryable: true, Err: err,
			}})
			return
		}
		for chunk, err := range c.Driver.Call(ctx, call) {
			if !yield(chunk, err) {
				return
			}
		}
	}
}
