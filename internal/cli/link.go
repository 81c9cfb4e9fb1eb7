package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/client"
	"github.com/cairn-run/cairn/journal"
)

// need is what a command wants of the node when it has to open one itself.
type need int

const (
	needStore need = iota // to read, and to deliver inputs
	needRun               // to carry sessions on
)

// link is the way to a node.
type link struct {
	*client.Client
	node   Node // in this process; nil: another process or machine
	paused bool // node performs nothing
	app    *app
	noted  bool
}

// Bounds of finding a node.
const (
	socketName   = "cairn.sock"
	tokenName    = "token"
	probeTimeout = 2 * time.Second
	// settleTime is how long a process that has just taken the data directory may
	// need until it answers, or one that is ending until it is gone.
	settleTime   = 5 * time.Second
	settlePause  = 50 * time.Millisecond
	drainTimeout = 10 * time.Second
	drainSilence = time.Second
)

// connect finds the node: a server by address, the process that holds the data
// directory, or a node in this process.
func (a *app) connect(ctx context.Context, n need) (*link, error) {
	if a.server != "" {
		token := a.Getenv("CAIRN_TOKEN")
		if token == "" {
			token = a.storedToken()
		}
		if u, err := url.Parse(a.server); err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
			return nil, usage(fmt.Errorf("server %q: write its address like http://127.0.0.1:7717", a.server))
		}
		c := client.New(a.server, token, nil)
		if err := a.probe(ctx, c); err != nil {
			return nil, fmt.Errorf("server %s: %w", a.server, err)
		}
		return &link{Client: c, app: a}, nil
	}
	if a.data == "" {
		return nil, usage(errors.New("no data directory: give --data DIR or set CAIRN_DATA"))
	}
	return patient(ctx, func() (*link, error) { return a.local(ctx, n) })
}

// patient tries again for a while when another process has the data directory: it
// may be about to answer, or about to end.
func patient[T any](ctx context.Context, open func() (T, error)) (T, error) {
	for deadline := time.Now().Add(settleTime); ; {
		got, err := open()
		if err == nil || !errors.Is(err, journal.ErrLocked) || time.Now().After(deadline) {
			return got, err
		}
		select {
		case <-ctx.Done():
			return got, ctx.Err()
		case <-time.After(settlePause):
		}
	}
}

// local tries the socket, then the data directory itself.
func (a *app) local(ctx context.Context, n need) (*link, error) {
	path := filepath.Join(a.data, socketName)
	if _, err := os.Stat(path); err == nil {
		c := client.Unix(path, a.Getenv("CAIRN_TOKEN"))
		if a.probe(ctx, c) == nil {
			return &link{Client: c, app: a}, nil
		}
	}
	node, err := a.Open(ctx, NodeOptions{
		Dir: a.data, Logger: a.quietLogger(), Scripts: a.scriptFolders(), Providers: a.providers, Version: a.Version,
		// Who performs nothing is not to be found: another command would wait for it.
		Socket: n == needRun, Paused: n == needStore, Wrap: a.wrap, Sandbox: a.sandbox,
	})
	if err != nil {
		return nil, a.unwritable(err)
	}
	if err := node.Start(ctx); err != nil {
		return nil, errors.Join(err, node.Close())
	}
	return &link{Client: node.Client(), node: node, paused: n == needStore, app: a}, nil
}

// unwritable says what to do when the data directory cannot be written. Commands
// that only look have to write there, too: who reads takes the lock first.
func (a *app) unwritable(err error) error {
	if errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EROFS) {
		return fmt.Errorf("%w\nthe data directory %s has to be writable for this user; --data or $CAIRN_DATA names another, --server a server that has it", err, a.data)
	}
	return err
}

// probe asks a node whether it is there.
func (a *app) probe(ctx context.Context, c *client.Client) error {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	_, err := c.Version(ctx)
	return err
}

// fresh says that nothing was ever stored in the data directory, so that a
// command that only looks need not make it.
func (a *app) fresh() bool {
	if a.server != "" || a.data == "" {
		return false
	}
	entries, err := os.ReadDir(a.data)
	return errors.Is(err, os.ErrNotExist) || (err == nil && len(entries) == 0)
}

// close ends a node of this process: what is under way gets time to finish, until
// a signal says that it should not.
func (l *link) close() error {
	if l.node == nil {
		return nil
	}
	var err error
	if !l.paused {
		ctx, cancel := l.app.interruptible(context.Background())
		ctx, stop := context.WithTimeout(ctx, drainTimeout)
		err = l.drain(ctx)
		stop()
		cancel()
	}
	return errors.Join(err, l.node.Close())
}

// drain lets what is under way finish, and says so when that takes a while: a
// model may be in the middle of its answer.
func (l *link) drain(ctx context.Context) error {
	done := make(chan error, 1)
	go func() { done <- l.node.Drain(ctx) }()
	select {
	case err := <-done:
		return err
	case <-time.After(drainSilence):
	}
	l.app.note("finishing what is under way, %s at most; an interrupt ends it at once", drainTimeout)
	return <-done
}

// carried tells, once, that nobody is there to act on what was delivered.
func (l *link) carried(s cairn.SessionID) {
	if l.node == nil || !l.paused || l.noted {
		return
	}
	l.noted = true
	l.app.note("recorded; no server is running: %s, or %s, will carry it out", l.app.carrying("serve"), l.app.carrying("attach %s", s))
}

// with runs a command that looks or delivers over a link. An interrupt ends it.
func (a *app) with(ctx context.Context, do func(context.Context, *link) error) (err error) {
	ctx, stop := a.interruptible(ctx)
	defer stop()
	l, err := a.connect(ctx, needStore)
	if err != nil {
		return interrupted(ctx, err)
	}
	defer func() { err = errors.Join(err, l.close()) }()
	return interrupted(ctx, do(ctx, l))
}

// interrupted says that a command ended because somebody wanted it to.
func interrupted(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil {
		return &exit{ExitTemporary, fmt.Errorf("interrupted: %w", err)}
	}
	return err
}

// interruptible returns a context that the first signal cancels.
func (a *app) interruptible(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		select {
		case <-a.Signals:
			cancel()
		case <-ctx.Done():
		}
	}()
	return ctx, sync.OnceFunc(func() { cancel(); <-done })
}

// storedToken is the token of the data directory; empty: there is none.
func (a *app) storedToken() string {
	b, err := os.ReadFile(filepath.Join(a.data, tokenName))
	if err != nil || len(b) > 4<<10 {
		return ""
	}
	return strings.TrimSpace(string(b))
}

// sessionOf finds a session by its id; "last" is the newest.
func (l *link) sessionOf(ctx context.Context, id string) (cairn.SessionID, error) {
	if id != "last" {
		if !strings.HasPrefix(id, "ses_") {
			id = "ses_" + id
		}
		return cairn.SessionID(id), nil
	}
	list, err := l.Sessions(ctx, client.SessionQuery{Limit: 1})
	if err != nil {
		return "", err
	}
	if len(list.Sessions) == 0 {
		return "", cairn.Errorf(cairn.CodeNotFound, "there are no sessions yet: cairn run AGENT --input TEXT starts one")
	}
	return list.Sessions[0].ID, nil
}
