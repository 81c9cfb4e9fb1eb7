// Command cmd tortures the runtime and prints what came of it as JSON. It exits
// with 1 when a promise did not hold.
//
//	go run ./internal/torture/cmd -kills 2000 -seed 1
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"time"

	"github.com/cairn-run/cairn/internal/torture"
)

func main() {
	var o torture.Options
	flag.IntVar(&o.Kills, "kills", 100, "how often the runtime is killed")
	flag.IntVar(&o.Sessions, "sessions", 50, "sessions going on at once")
	flag.Uint64Var(&o.Seed, "seed", uint64(time.Now().UnixNano()), "of every choice")
	flag.BoolVar(&o.Hands, "hands", false, "agents with files and sandboxes, and kills of their helpers")
	flag.IntVar(&o.UID, "uid", 0, "user and group of the victim; default whoever this is")
	flag.StringVar(&o.Dir, "dir", "", "directory to work in; default a temporary one that is removed")
	flag.Parse()
	o.GID = o.UID
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	code := run(ctx, o)
	stop()
	os.Exit(code)
}

func run(ctx context.Context, o torture.Options) int {
	fail := func(err error) int {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	if o.Dir == "" {
		dir, err := os.MkdirTemp("", "cairn-torture-")
		if err != nil {
			return fail(err)
		}
		defer func() { _ = os.RemoveAll(dir) }()
		if err := os.Chmod(dir, 0o755); err != nil { //nolint:gosec // the victim may be another user
			return fail(err)
		}
		o.Dir = dir
	}
	o.Log = os.Stderr
	var err error
	if o.Victim, o.Effects, err = torture.Build(ctx, o.Dir); err != nil {
		return fail(err)
	}
	fmt.Fprintf(os.Stderr, "seed %d\n", o.Seed)
	res, err := torture.Run(ctx, o)
	if err != nil {
		return fail(err)
	}
	e := json.NewEncoder(os.Stdout)
	e.SetIndent("", "  ")
	if err := e.Encode(res); err != nil {
		return fail(err)
	}
	if len(res.Violations) > 0 {
		return 1
	}
	return 0
}
