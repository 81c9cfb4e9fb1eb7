//go:build !linux || !(amd64 || arm64)

package ns

import (
	"context"
	"os"
	"runtime"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/sandbox"
)

// Owner is the user and group that the files of sessions must belong to.
func Owner() (uid, gid int) { return os.Getuid(), os.Getgid() }

// Open returns a driver that says that it cannot be used here.
func Open(Options) (sandbox.Driver, error) { return absent{}, nil }

type absent struct{}

func (absent) Name() string { return "ns" }

func (absent) Probe(context.Context) sandbox.Caps {
	return sandbox.Caps{
		Why: "namespaces are part of Linux, on amd64 and arm64; this is " + runtime.GOOS + " on " + runtime.GOARCH,
		Fix: "run the runtime in a Linux machine, or choose --sandbox none for agents you trust",
	}
}

func (a absent) Create(ctx context.Context, _ sandbox.Spec) (sandbox.Instance, error) {
	c := a.Probe(ctx)
	return nil, &cairn.Error{Code: cairn.CodeUnavailable, Message: c.Why + ": " + c.Fix, NotDone: true}
}

func (absent) Close() error { return nil }
