// Command cmd runs the effect server of the crash tests by hand:
//
//	go run ./internal/effectserver/cmd -listen 127.0.0.1:7800 -file /tmp/effects.jsonl -lose 0.1
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/cairn-run/cairn/internal/effectserver"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := effectserver.Main(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}
