// Command server is the shop of the support-desk demo:
//
//	go run ./examples/support-desk/server -ledger /tmp/ledger.jsonl -slow 30s
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	supportdesk "github.com/cairn-run/cairn/examples/support-desk"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := supportdesk.Main(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}
