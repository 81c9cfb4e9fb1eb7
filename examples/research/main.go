// Command research plays the research example: an agent fetches several pages at
// once, is lured by one of them to an address it may not reach, writes notes into
// its workspace and answers with a report that has to fit a schema. It checks
// every citation against the page.
//
//	go run ./examples/research
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
	flag.StringVar(&o.Sandbox, "sandbox", "", "none: files are written without a sandbox")
	flag.StringVar(&o.Model, "model", "", "provider/name: the agent on a real model, instead of the script")
	flag.Parse()
	stage.Play("research", 10*time.Minute, func(ctx context.Context) error {
		_, err := run(ctx, "examples/research", o)
		return err
	})
}

const question = "Which of the message queues alder, birch, cedar and dogwood keeps every acknowledged message through a power cut, " +
	"as it is installed? Their pages are http://127.0.0.1:7719/alder, /birch, /cedar and /dogwood."

// run plays the example and returns the journal's last word, for the tests.
func run(ctx context.Context, example string, o stage.Options) (_ *played, err error) {
	s, err := stage.Open(o)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	web, err := open(ctx, &pages)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, web.close()) }()
	collector, err := open(ctx, nil)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, collector.close()) }()
	return play(ctx, s, example, web, collector)
}
