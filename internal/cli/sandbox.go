package cli

import (
	"errors"
	"fmt"

	"github.com/spf13/pflag"
)

// Drivers of the agents' commands.
const (
	sandboxNamespaces = "ns"
	sandboxNone       = "none"
)

func (a *app) sandboxFlag(f *pflag.FlagSet) {
	f.StringVar(&a.sandbox, "sandbox", "", "driver of the agent's commands: ns (namespaces of Linux, the default), or none, which confines nothing")
}

// sandboxKnown looks at --sandbox before anything is opened.
func (a *app) sandboxKnown() error {
	switch a.sandbox {
	case "", sandboxNamespaces, sandboxNone:
		return nil
	}
	return usage(fmt.Errorf("--sandbox: %q is neither %s nor %s", a.sandbox, sandboxNamespaces, sandboxNone))
}

// openedSandbox says what --sandbox means for a node that was found or opened.
func (a *app) openedSandbox(l *link) error {
	if a.sandbox != "" && l.node == nil {
		return usage(errors.New("--sandbox: the session runs in the server; give it to cairn serve"))
	}
	a.warnSandbox()
	return nil
}

// warnSandbox says, on a line that stands out, that nothing is confined. A program
// reads it in run.started.
func (a *app) warnSandbox() {
	if a.sandbox == sandboxNone && !a.json {
		fmt.Fprintln(a.Stderr, a.err.wrap("1;31", "warning:"), "--sandbox none: the commands of agents run on this machine with your rights, and can read and change all that you can")
	}
}
