package codingagent

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/cairn-run/cairn/sandbox/ns"
)

// usable says what is missing, and how to go on, where no sandbox can be had.
func usable(ctx context.Context, chosen string) (err error) {
	if chosen != "" {
		return nil
	}
	dir, err := os.MkdirTemp("", "cairn-probe-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	d, err := ns.Open(ns.Options{Dir: dir})
	if err != nil {
		return err
	}
	caps := d.Probe(ctx)
	if err := d.Close(); err != nil || caps.Usable {
		return err
	}
	return unusable(caps.Why, caps.Fix)
}

func unusable(why, fix string) error {
	if fix != "" {
		fix = "\n  to get one           " + fix
	}
	return fmt.Errorf(`the demo needs a sandbox, and this machine does not give one: %s
%s
  what there is        bin/cairn doctor
  to go on without     make demo SANDBOX=none

Without a sandbox the commands of the agent run as you, on this machine, with your files and your network in reach.
Here they are those of examples/coding-agent/scripts/coder.yaml`, why, fix)
}
