package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/cairn-run/cairn/client"
)

// DefaultListen is the address that serve listens on when nothing else is said.
const DefaultListen = "127.0.0.1:7717"

// serveFlags are the flags of serve.
type serveFlags struct {
	listen, format, level   string
	drain                   time.Duration
	scripts, hosts, origins []string
}

func (a *app) serveCommand() *cobra.Command {
	var f serveFlags
	c := &cobra.Command{
		Use:   "serve",
		Short: "Serve the API and carry all sessions on",
		Long: "serve takes the data directory, carries every unfinished session on, and serves the API on TCP and on a\n" +
			"socket in the data directory that the other commands use. The bearer token for TCP is printed at the first\n" +
			"start and stands, readable by the owner alone, in the file token of the data directory; $CAIRN_TOKEN sets another.\n\n" +
			"SIGTERM or an interrupt ends it: it takes no more work and gives what is under way time to finish. A second one\n" +
			"ends it at once, which loses nothing either.",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return a.serve(c.Context(), f) },
	}
	c.Flags().StringVar(&f.listen, "listen", DefaultListen, "TCP address of the API; empty: only the socket")
	c.Flags().StringArrayVar(&f.hosts, "host", nil, "name by which it may be called besides localhost and addresses (repeatable)")
	c.Flags().StringArrayVar(&f.origins, "origin", nil, "web origin, such as https://app.example.com, whose pages may call it (repeatable)")
	c.Flags().DurationVar(&f.drain, "drain", 30*time.Second, "how long work that is under way may take at the end")
	c.Flags().StringArrayVar(&f.scripts, "scripts", nil, "directory of script models")
	c.Flags().StringVar(&a.providers, "providers", "", providersHelp)
	a.sandboxFlag(c.Flags())
	c.Flags().StringVar(&f.format, "log-format", "text", "text or json")
	c.Flags().StringVar(&f.level, "log-level", "info", "debug, info, warn or error")
	return c
}

// serving is what serve prints with --json once it is ready.
type serving struct {
	Listen string `json:"listen,omitzero"`
	Socket string `json:"socket,omitzero"`
	Data   string `json:"data"`
	Token  string `json:"token,omitzero"` // only when it was made just now
	PID    int    `json:"pid"`
}

func (a *app) serve(ctx context.Context, f serveFlags) (err error) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(f.level)); err != nil {
		return usage(fmt.Errorf("--log-level: %q is none of debug, info, warn and error", f.level))
	}
	if f.format != "text" && f.format != "json" {
		return usage(fmt.Errorf("--log-format: %q is neither text nor json", f.format))
	}
	for _, h := range f.hosts {
		if u, err := url.Parse("//" + h); err != nil || h == "" || u.Host != h || u.Port() != "" || u.User != nil {
			return usage(fmt.Errorf("--host: %q is not a name alone, such as cairn.example.com", h))
		}
	}
	for _, o := range f.origins {
		if u, err := url.Parse(o); err != nil || u.Host == "" || u.Scheme+"://"+u.Host != strings.TrimSuffix(o, "/") || u.Scheme != "https" && u.Scheme != "http" {
			return usage(fmt.Errorf("--origin: %q is not scheme and host, such as https://app.example.com", o))
		}
	}
	if a.data == "" {
		return usage(errors.New("no data directory: give --data DIR or set CAIRN_DATA"))
	}
	if a.server != "" && a.server != a.Getenv("CAIRN_SERVER") {
		return usage(errors.New("serve is the server: --server is for the other commands"))
	}
	a.server = ""
	if err := a.sandboxKnown(); err != nil {
		return err
	}
	if err := a.alreadyServed(ctx); err != nil {
		return err
	}
	a.warnSandbox()
	node, err := patient(ctx, func() (Node, error) {
		return a.Open(ctx, NodeOptions{
			Dir: a.data, Listen: f.listen, Hosts: f.hosts, Origins: f.origins, Socket: true, Logger: a.logger(a.Stderr, level, f.format),
			Scripts: a.scriptFolders(f.scripts...), Providers: a.providers, Token: a.Getenv("CAIRN_TOKEN"), Version: a.Version, Sandbox: a.sandbox,
		})
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, node.Close()) }()
	if err := node.Start(ctx); err != nil {
		return err
	}
	if err := a.printServing(node); err != nil {
		return err
	}
	var failed <-chan error
	if n, ok := node.(Failing); ok {
		failed = n.Failed()
	}
	select {
	case <-ctx.Done():
	case s := <-a.Signals:
		a.note("%s: finishing what is under way (%s at most; again: at once)", s, f.drain)
	case err := <-failed:
		return &exit{ExitTemporary, fmt.Errorf("the store gave up: %w", err)}
	}
	return a.drain(node, f.drain)
}

// alreadyServed says at once that a server has the data directory. Whoever else
// has it is waited for, because a command holds it for a moment only.
func (a *app) alreadyServed(ctx context.Context) error {
	path := filepath.Join(a.data, socketName)
	if _, err := os.Stat(path); err == nil && a.probe(ctx, client.Unix(path, a.Getenv("CAIRN_TOKEN"))) == nil {
		return &exit{ExitInUse, fmt.Errorf("%s is in use: %s; a process answers on %s, and the other commands talk to it", a.data, a.checkLock().Found, path)}
	}
	return nil
}

// drain waits for what is under way, unless a second signal comes.
func (a *app) drain(node Node, most time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), most)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- node.Drain(ctx) }()
	select {
	case err := <-done:
		if errors.Is(err, context.DeadlineExceeded) {
			a.note("not everything finished in %s: it goes on at the next start", most)
			return nil // nothing is lost by it
		}
		return err
	case <-a.Signals:
		cancel()
		return errors.Join(<-done, &exit{code: ExitTemporary, err: errors.New("stopped at once: what was under way goes on at the next start")})
	}
}

func (a *app) printServing(node Node) error {
	token, fresh := node.Token()
	s := serving{Listen: node.Addr(), Socket: node.SocketPath(), Data: a.data, PID: os.Getpid()}
	if fresh {
		s.Token = token
	}
	if a.json {
		return a.printJSON(s)
	}
	w := a.Stdout
	fmt.Fprintf(w, "cairn %s\n", a.Version)
	if s.Listen != "" {
		fmt.Fprintf(w, "  API     http://%s/v1\n", s.Listen)
	}
	if s.Socket != "" {
		fmt.Fprintf(w, "  socket  %s\n", s.Socket)
	}
	fmt.Fprintf(w, "  data    %s\n", s.Data)
	if fresh && token != "" {
		fmt.Fprintf(w, "  token   %s\n          made just now, kept in the file %s of the data directory; it is not shown again\n", token, tokenName)
	}
	return nil
}
