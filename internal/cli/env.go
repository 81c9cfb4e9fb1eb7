package cli

import (
	"context"
	"io"
	"log/slog"
	"os"
	"time"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/client"
	"github.com/cairn-run/cairn/journal"
	"github.com/cairn-run/cairn/model"
	"github.com/cairn-run/cairn/sandbox"
)

// Env is the outside of the process.
type Env struct {
	Args   []string // without the name of the program
	Getenv func(string) string
	Home   string // of the user; empty: not known
	Stdin  io.Reader
	Stdout io.Writer
	Stderr io.Writer
	// Terminal says which of the three are terminals.
	Terminal Terminal
	// Signals delivers interrupts and requests to stop; nil: there are none.
	Signals <-chan os.Signal
	Now     func() time.Time
	// Location is the zone that times are shown in; nil: the local one.
	Location *time.Location
	// NewKey makes an idempotency key that was never used before, a ULID: the id of
	// a session takes its time, and so its place in lists, from it.
	NewKey func() string
	// Grace is how long after an interrupt a second one still cancels; default 1.5s.
	Grace time.Duration
	// Open opens the node of a data directory in this process.
	Open func(context.Context, NodeOptions) (Node, error)
	// Sandbox opens the driver of commands, for doctor; nil: it cannot be looked at. The
	// directory is an empty one that is removed afterwards.
	Sandbox func(dir string) (sandbox.Driver, error)
	Version string
}

// Terminal says what of the standard streams is a terminal.
type Terminal struct {
	In, Out, Err bool
	// Width is the number of columns, Height that of lines; nil: 80 and 24.
	Width, Height func() int
}

// NodeOptions say how a node is opened.
type NodeOptions struct {
	Dir     string       // data directory; it is made when it does not exist
	Listen  string       // TCP address; empty: none
	Hosts   []string     // names it may be called by there, besides localhost and addresses
	Origins []string     // web origins whose pages may call it
	Socket  bool         // listen on the socket in the data directory
	Logger  *slog.Logger // never nil
	Scripts []string     // directories of script models
	// Providers is a file of model providers instead of the one in Dir.
	Providers string
	Token     string // bearer token; empty: the stored one, or a new one
	Version   string
	// Paused opens the store and the API and performs nothing.
	Paused bool
	// Sandbox is the driver of the agents' commands, "ns" or "none"; empty: the
	// default of this machine.
	Sandbox string
	// Wrap is put around every model driver; nil: nothing is.
	Wrap func(provider string, d model.Driver) model.Driver
}

// Node is a node in this process.
type Node interface {
	// Start begins to serve and, unless it is paused, to perform.
	Start(ctx context.Context) error
	Addr() string       // where it listens; empty: nowhere
	SocketPath() string // empty: none
	Client() *client.Client
	// Token is the bearer token, and whether it was made just now.
	Token() (token string, fresh bool)
	// Apply registers a definition and says whether its version is new.
	Apply(ctx context.Context, t cairn.TenantID, a *cairn.Agent) (journal.AgentVersion, bool, error)
	// Drain stops taking work and waits for what is under way.
	Drain(ctx context.Context) error
	Close() error
}

// Failing is a [Node] that can give up by itself, after an I/O error of its
// store. The channel yields the error once.
type Failing interface{ Failed() <-chan error }
