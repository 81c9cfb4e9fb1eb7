// Command demo plays the demo of the README; it exits with 1 when anything does not
// add up.
//
//	make demo                       the script model: no key
//	make demo MODEL=ollama/qwen3    the same agent file for real
//
// It needs bin/cairn, which make builds.
package main

import (
	"context"
	"os"
	"os/signal"

	codingagent "github.com/cairn-run/cairn/examples/coding-agent"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	code := codingagent.Command(ctx, append([]string{"-cairn", "bin/cairn"}, os.Args[1:]...), os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}
