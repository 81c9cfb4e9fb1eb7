// Command server is the airline desk as an MCP server:
//
//	go run ./examples/airline/server -db ../shared/data/agent-decisions/tau-bench/airline -data /tmp/desk
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/cairn-run/cairn/examples/airline"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := airline.Main(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}
