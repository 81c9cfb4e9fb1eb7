package codingagent

import (
	"context"
	"flag"
	"fmt"
	"io"
	"time"

	"github.com/cairn-run/cairn/examples/stage"
)

// Command is the program: it plays the demo and returns the exit code.
//
//	-cairn FILE     the cairn binary; default: the program itself, see stage/command
//	-sandbox none   commands run unprotected, as the user, on this machine
//	-model NAME     the agent on a real model, provider/name, instead of the script
//	-example DIR    where the files of the demo are; default examples/coding-agent
func Command(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	o := stage.Options{Out: stdout}
	flags := flag.NewFlagSet("demo", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&o.Cairn, "cairn", "", "the cairn binary; default: this program is it")
	flags.StringVar(&o.Sandbox, "sandbox", "", "none: commands run unprotected, as you, on this machine")
	flags.StringVar(&o.Model, "model", "", "provider/name: the agent on a real model, instead of the script")
	example := flags.String("example", "examples/coding-agent", "where the files of the demo are")
	if err := flags.Parse(args); err != nil {
		return 2
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Minute)
	defer cancel()
	if err := Run(ctx, *example, o); err != nil {
		fmt.Fprintln(stderr, "demo:", err)
		return 1
	}
	return 0
}
