// Command incident plays the incident example: an agent looks for the cause of an
// outage, asks a person, restarts an instance with a person's approval, and loses
// the answer of the restart. What became of it is found out, not tried again; and
// however the run ends, the alerts it muted come back.
//
//	go run ./examples/incident
package main

import (
	"context"
	"errors"
	"flag"
	"os"
	"time"

	"github.com/cairn-run/cairn/examples/stage"
	"github.com/cairn-run/cairn/examples/stage/command"
)

func main() {
	command.Main()
	o := stage.Options{Out: os.Stdout}
	way := approved
	flag.StringVar(&o.Sandbox, "sandbox", "", "none: files are read without a sandbox")
	flag.Func("person", "what the person does: approve (default), reject, cancel", func(v string) error {
		for _, w := range []decision{approved, rejected, cancelled} {
			if string(w) == v {
				way = w
				return nil
			}
		}
		return errors.New("approve, reject or cancel")
	})
	flag.Parse()
	stage.Play("incident", 10*time.Minute, func(ctx context.Context) error {
		_, err := run(ctx, "examples/incident", way, o)
		return err
	})
}

// run plays the example and returns what the service saw, for the tests.
func run(ctx context.Context, example string, way decision, o stage.Options) (_ *played, err error) {
	s, err := stage.Open(o)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	ops, err := open(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, ops.close()) }()
	return play(ctx, s, example, way, ops)
}
