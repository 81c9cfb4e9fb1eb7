// Package node joins the parts: one Cairn node, which `cairn serve` and a Go
// program that embeds Cairn both start.
package node

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/api"
	"github.com/cairn-run/cairn/api/files"
	"github.com/cairn-run/cairn/blob"
	"github.com/cairn-run/cairn/blob/dir"
	"github.com/cairn-run/cairn/client"
	"github.com/cairn-run/cairn/internal/config"
	"github.com/cairn-run/cairn/journal"
	"github.com/cairn-run/cairn/journal/sqlite"
	"github.com/cairn-run/cairn/kernel"
	"github.com/cairn-run/cairn/model"
	"github.com/cairn-run/cairn/model/script"
	"github.com/cairn-run/cairn/tool"
	"github.com/cairn-run/cairn/tool/builtin"
	toolhttp "github.com/cairn-run/cairn/tool/http"
	"github.com/cairn-run/cairn/tool/mcp"
)

// Names in the data directory.
const (
	socketFile = "cairn.sock"
	tokenFile  = "token"
	blobDir    = "blobs"
)

// Options say how a node is opened.
type Options struct {
	Dir     string       // data directory; it is made when it does not exist
	Listen  string       // TCP address; empty: none
	Hosts   []string     // names it may be called by there, besides localhost and addresses
	Origins []string     // web origins ("https://app.example.com") whose pages may call it, besides its own
	Socket  bool         // listen on cairn.sock in the data directory
	Logger  *slog.Logger // default: discard
	Scripts []string     // directories of script models
	Token   string       // bearer token; empty: the stored one, or a new one
	Version string
	// Sandbox is the driver of agents' commands: "ns" (namespaces of Linux, the
	// default) or [SandboxNone], which confines nothing and is shown in every list.
	Sandbox string
	// Paused opens the store and the API and performs nothing.
	Paused bool
	// Providers is a file of model providers instead of the one in Dir.
	Providers string
	// Models are drivers beside the built-in ones, by provider.
	Models map[string]model.Driver
	// Wrap is put around every driver, beneath the time-outs; nil: nothing is.
	Wrap func(provider string, d model.Driver) model.Driver
	// Guard bounds the attempts at model calls, Breaker says when a model is not
	// tried for a while. Scripts have no breaker: what they do is meant.
	Guard   model.GuardOptions
	Breaker model.BreakerOptions
	// Now is the clock; default time.Now.
	Now func() time.Time
	// Kernel tunes the kernel; its Now and Logger are set from here.
	Kernel kernel.Options
	// WALPages tunes when the store checkpoints; see sqlite.Options.
	WALPages int
}

// Node is one node: a store, a kernel, an API.
type Node struct {
	o       Options
	store   *sqlite.Store
	journal *journal.Journal
	live    *kernel.Live
	kernel  *kernel.Kernel
	host    *host
	breaker map[string]*model.Breaker // by provider
	mcp     *mcp.Driver
	hands   *hands
	api     *api.API
	token   string
	fresh   bool

	server  *http.Server
	addr    string
	stop    context.CancelFunc
	works   bool // the kernel runs, or ran
	running sync.WaitGroup
	failed  chan error
	drain   sync.Once
	closing sync.Once
}

// Open opens the data directory. journal.ErrLocked: another process has it.
func Open(ctx context.Context, o Options) (_ *Node, err error) {
	if o.Dir == "" {
		return nil, errors.New("node: no data directory")
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	n := &Node{o: o, live: kernel.NewLive(), failed: make(chan error, 1)}
	n.store, err = sqlite.Open(ctx, o.Dir, sqlite.Options{Now: o.Now, Fatal: n.fail, WALPages: o.WALPages})
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = n.store.Close() // the first error is the one to tell
		}
	}()
	folder, err := dir.Open(filepath.Join(o.Dir, blobDir))
	if err != nil {
		return nil, err
	}
	n.journal = journal.New(n.store, blobs{blob.New(folder, blob.Options{})})
	if n.token, n.fresh, err = bearer(o.Dir, o.Token); err != nil {
		return nil, err
	}
	if n.hands, err = openHands(o, n.result); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = n.hands.close() // the first error is the one to tell
		}
	}()
	n.mcp = mcp.New(mcp.Options{Log: o.Logger})
	drivers := map[string]model.Driver{}
	found, err := OpenProviders(ProviderOptions{Dir: o.Dir, File: o.Providers, Now: o.Now})
	switch {
	case err == nil:
		drivers = found.Drivers()
	case !o.Paused: // who only looks, or stops something, needs no model
		return nil, err
	}
	drivers[script.Provider] = script.Open(o.Scripts...)
	maps.Copy(drivers, o.Models)
	n.breaker = map[string]*model.Breaker{}
	for name, d := range drivers {
		if o.Wrap != nil {
			d = o.Wrap(name, d)
		}
		d = model.Guard(d, o.Guard)
		drivers[name] = d
		if name != script.Provider {
			n.breaker[name] = model.NewBreaker(d, o.Breaker)
			drivers[name] = n.breaker[name]
		}
	}
	n.host = newHost(n.journal, model.NewRouter(drivers), tool.New(tool.Options{
		HTTP: toolhttp.New(), MCP: n.mcp, Builtin: builtin.Tools(), Native: n.hands.tools, Log: o.Logger,
	}))
	n.host.release = n.hands.tools.Release
	o.Kernel.Now, o.Kernel.Logger, o.Kernel.Sandbox = o.Now, o.Logger, n.hands.sandbox.Name()
	n.kernel = kernel.New(n.journal, n.host, n.live, o.Kernel)
	me := api.Identity{Tenant: cairn.DefaultTenant, Principal: cairn.Principal{Kind: "user", ID: "local"}}
	n.api, err = api.New(api.Config{
		Journal: n.journal, Live: n.live, Agents: n, Files: files.New(n.hands.files), Circuits: n.Circuits,
		Auth: api.StaticTokens(map[string]api.Identity{n.token: me}), Socket: &me, Hosts: o.Hosts, Origins: o.Origins,
		Now: o.Now, NewID: newULID, Version: o.Version, Logger: o.Logger,
	})
	if err != nil {
		return nil, err
	}
	return n, nil
}

func newULID() string { return ulid.MustNew(ulid.Now(), rand.Reader).String() }

// Start serves and, unless the node is paused, performs. It returns at once.
func (n *Node) Start(ctx context.Context) error {
	ctx, n.stop = context.WithCancel(context.WithoutCancel(ctx))
	listeners, err := n.listen(ctx)
	if err != nil {
		return err
	}
	n.server = n.api.Server(nil)
	for _, l := range listeners {
		n.running.Go(func() {
			if err := n.server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
				n.fail(fmt.Errorf("serve %s: %w", l.Addr(), err))
			}
		})
	}
	if n.o.Paused {
		return nil
	}
	n.works = true
	n.running.Go(func() {
		if err := n.kernel.Run(ctx); err != nil {
			n.fail(err)
		}
	})
	return nil
}

func (n *Node) listen(ctx context.Context) ([]net.Listener, error) {
	var all []net.Listener
	var lc net.ListenConfig
	if n.o.Listen != "" {
		l, err := lc.Listen(ctx, "tcp", n.o.Listen)
		if err != nil {
			return nil, fmt.Errorf("listen on %s: %w (choose another address with --listen)", n.o.Listen, err)
		}
		n.addr = l.Addr().String()
		all = append(all, l)
	}
	if n.o.Socket {
		path := n.SocketPath()
		_ = os.Remove(path) // the lock on the directory says that nobody listens there
		l, err := lc.Listen(ctx, "unix", path)
		if err == nil {
			err = os.Chmod(path, 0o600)
			all = append(all, l)
		}
		if err != nil {
			for _, l := range all {
				_ = l.Close() // the first error is the one to tell
			}
			return nil, fmt.Errorf("listen on %s: %w", path, err)
		}
	}
	return all, nil
}

// fail reports the first error that ends the node.
func (n *Node) fail(err error) {
	select {
	case n.failed <- err:
	default:
	}
}

// Failed yields the error after which the node can do nothing more: the process
// should end with exit code 75 and be started again.
func (n *Node) Failed() <-chan error { return n.failed }

// Addr is where the node listens; empty: nowhere.
func (n *Node) Addr() string { return n.addr }

// SocketPath is the path of its unix socket; empty: it has none.
func (n *Node) SocketPath() string {
	if !n.o.Socket {
		return ""
	}
	return filepath.Join(n.o.Dir, socketFile)
}

// Client is a client of this node, without a network.
func (n *Node) Client() *client.Client { return client.Local(n.api, n.token) }

// Token is the bearer token, and whether it was made just now.
func (n *Node) Token() (token string, fresh bool) { return n.token, n.fresh }

// Journal is the node's journal.
func (n *Node) Journal() *journal.Journal { return n.journal }

// Circuits says of the models whose last calls failed how often that was, and
// whether they are left alone for a while; by name.
func (n *Node) Circuits() []model.CircuitState {
	var all []model.CircuitState
	for _, b := range n.breaker {
		all = append(all, b.State()...)
	}
	slices.SortFunc(all, func(a, b model.CircuitState) int { return strings.Compare(a.Model, b.Model) })
	return all
}

// Owned is the number of sessions that are being worked on.
func (n *Node) Owned() int { return n.kernel.Owned() }

// ReadAgent reads an agent file (Markdown, YAML or JSON, docs/agent-file.md) with the
// skills it names. What is wrong with it is said with file
// and line.
func ReadAgent(path string) (*cairn.Agent, error) {
	f, err := config.ReadAgent(path)
	if err != nil {
		return nil, err
	}
	return f.Agent, nil
}

// Apply validates a definition and makes it the current version of its name.
func (n *Node) Apply(ctx context.Context, t cairn.TenantID, a *cairn.Agent) (journal.AgentVersion, bool, error) {
	return n.host.apply(ctx, t, a, n.o.Now())
}

// Check is [Node.Apply] without its effect: it says whether the version would be new.
func (n *Node) Check(ctx context.Context, t cairn.TenantID, a *cairn.Agent) (journal.AgentVersion, bool, error) {
	return n.host.check(ctx, t, a, n.o.Now())
}

// Drain starts nothing new and waits until what is under way is recorded; when
// ctx is done first, that is stopped, and how it stopped is recorded.
func (n *Node) Drain(ctx context.Context) error {
	n.drain.Do(func() {
		if n.works {
			n.kernel.Drain(ctx)
		}
	})
	return nil
}

// shutdownTimeout bounds how long open requests may take to end.
const shutdownTimeout = 5 * time.Second

// Close ends everything the node started. What was not drained is left as a
// crash would leave it.
func (n *Node) Close() error {
	var errs []error
	n.closing.Do(func() {
		if n.server != nil {
			ctx, cancel := context.WithTimeout(context.Background(), shutdownTimeout)
			if n.server.Shutdown(ctx) != nil {
				errs = append(errs, n.server.Close())
			}
			cancel()
		}
		if n.stop != nil {
			n.stop()
		}
		n.running.Wait()
		n.api.Close()
		errs = append(errs, n.mcp.Close(), n.hands.close(), n.store.Close())
	})
	return errors.Join(errs...)
}
