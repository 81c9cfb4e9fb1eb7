// Command demo plays the refund desk: a support agent (on the script model) works with a
// real tool server that has a ledger of its own; one call is denied, one is approved,
// the runtime is killed with SIGKILL in the middle of a refund, and carries on. It
// exits with 1 when anything was done twice, lost, or is not accounted for.
//
//	go run ./examples/support-desk/demo
package main

import (
	"context"
	"flag"
	"os"
	"os/signal"
	"time"

	"github.com/cairn-run/cairn/examples/stage"
	"github.com/cairn-run/cairn/examples/stage/command"
	supportdesk "github.com/cairn-run/cairn/examples/support-desk"
)

// asShop in the environment makes the process the tool server.
const asShop = "CAIRN_SUPPORT_DESK_SHOP"

func main() {
	command.Main()
	shop()
	o := stage.Options{Out: os.Stdout}
	flag.StringVar(&o.Cairn, "cairn", "", "the cairn binary; default: this program is it")
	flag.Parse()
	stage.Play("demo", 5*time.Minute, func(ctx context.Context) error {
		return run(ctx, "examples/support-desk", o)
	})
}

// shop makes the process the tool server, and does not return, when it was started
// as that.
func shop() {
	if os.Getenv(asShop) == "" {
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	code := supportdesk.Main(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}
