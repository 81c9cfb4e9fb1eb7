package effectserver

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"time"
)

// listening is the first line a server prints: the caller reads the address.
const listening = "effect server on http://%s\n"

// Main is the program: it serves until ctx ends and returns the exit code. It is
// called by the command in cmd and by test binaries that are their own server.
func Main(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	var (
		opt    Options
		flags  = flag.NewFlagSet("effectserver", flag.ContinueOnError)
		listen = flags.String("listen", "127.0.0.1:0", "address to serve on")
		file   = flags.String("file", "effects.jsonl", "the durable file")
	)
	flags.SetOutput(stderr)
	flags.Uint64Var(&opt.Faults.Seed, "seed", 1, "of the chances")
	flags.Float64Var(&opt.Faults.Refuse, "refuse", 0, "chance of a 429 that did nothing")
	flags.Float64Var(&opt.Faults.Fail, "fail", 0, "chance of a 503 that did nothing")
	flags.Float64Var(&opt.Faults.Lose, "lose", 0, "chance of an effect that is done and not answered")
	flags.DurationVar(&opt.Faults.Delay, "delay", 0, "the longest an effect takes")
	flags.DurationVar(&opt.Settle, "settle", 0, "how long the reconcile query waits for an unknown key (default 100ms)")
	if err := flags.Parse(args); err != nil {
		return 2
	}
	opt.Logger = slog.New(slog.NewTextHandler(stderr, nil))
	if err := serve(ctx, *listen, *file, opt, stdout); err != nil {
		opt.Logger.Error("effect server", "err", err)
		return 1
	}
	return 0
}

func serve(ctx context.Context, listen, file string, opt Options, stdout io.Writer) error {
	// A server that is started anew waits for the one before to let go of the file.
	openCtx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	s, err := Open(openCtx, file, opt)
	if err != nil {
		return err
	}
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", listen)
	if err != nil {
		return errors.Join(err, s.Close())
	}
	h := &http.Server{Handler: s, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: time.Minute}
	stopped := make(chan error, 1)
	go func() {
		<-ctx.Done()
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		stopped <- h.Shutdown(grace)
	}()
	if _, err := fmt.Fprintf(stdout, listening, l.Addr()); err != nil {
		return errors.Join(err, l.Close(), s.Close())
	}
	if err := h.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return errors.Join(err, s.Close())
	}
	return errors.Join(<-stopped, s.Close())
}
