// Command data-pipeline plays the data-pipeline example: an agent loads a CSV file
// into a SQLite database with Python, in a sandbox. One row breaks the load, which
// is rolled back; the row is rejected by name and the rest is loaded. The example
// then opens the database itself and counts.
//
//	go run ./examples/data-pipeline
package main

import (
	"context"
	"errors"
	"flag"
	"os"
	"os/exec"
	"time"

	"github.com/cairn-run/cairn/examples/stage"
	"github.com/cairn-run/cairn/examples/stage/command"
)

func main() {
	command.Main()
	o := stage.Options{Out: os.Stdout}
	flag.StringVar(&o.Sandbox, "sandbox", "", "none: commands run unprotected, as you, on this machine")
	flag.StringVar(&o.Model, "model", "", "provider/name: the agent on a real model, instead of the script")
	flag.Parse()
	stage.Play("data-pipeline", 10*time.Minute, func(ctx context.Context) error {
		_, err := run(ctx, "examples/data-pipeline", o)
		return err
	})
}

// run plays the example and returns what is in the database, for the tests.
func run(ctx context.Context, example string, o stage.Options) (_ *played, err error) {
	if _, err := exec.LookPath("python3"); err != nil {
		return nil, errors.New("this example needs python3, which the sandbox shows to the agent: apt-get install python3, or the like")
	}
	s, err := stage.Open(o)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	return play(ctx, s, example)
}
