// Package mcp reaches the tools of MCP servers, over stdio and over streamable
// HTTP, with the official Go SDK.
//
// A server is connected to when it is first needed, once for each version of an
// agent and each tenant, and shared by its sessions; a connection that nobody
// uses for a while is closed. Each call is made only if the server's current
// definition of the tool is the one that was pinned.
//
// A session that the server has lost is opened once more, and the call made
// again, only when it is certain that it was not made, or when a repeat does no
// harm. The SDK reports broken requests alike, so the transport records how far
// each came (see [trail]).
package mcp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/tool"
)

// Options of a driver; the zero value works.
type Options struct {
	// Connections bounds the servers connected to at once; default 256.
	Connections int
	// Idle is how long a connection is kept that nobody uses; default 5 min.
	Idle time.Duration
	// Version is what servers are told of this runtime; default "0".
	Version string
	Log     *slog.Logger // default: slog.Default()
}

const (
	defaultConnections = 256
	defaultIdle        = 5 * time.Minute
	dialTimeout        = 10 * time.Second
	// A server that does not answer the newest handshake in time is tried once more
	// with the one before it, which old servers know.
	firstHandshake  = 15 * time.Second
	legacyHandshake = 45 * time.Second
	legacyVersion   = "2025-11-25"
	// retryOpen is how long a failure to connect is remembered, so that calls that
	// wait for one server do not try it one after the other.
	retryOpen = time.Second
)

var errClosed = errors.New("the driver is closed")

// Driver reaches MCP servers. It is safe for concurrent use.
type Driver struct {
	opts      Options
	log       *slog.Logger
	transport *http.Transport
	spawner   *spawner

	ctx  context.Context // ends with Close
	stop context.CancelCauseFunc

	mu    sync.Mutex
	links map[linkKey]*link
	work  sync.WaitGroup // calls, and sessions that are being closed
}

var _ tool.Driver = (*Driver)(nil)

// linkKey names a connection: tenants and versions never share one.
type linkKey struct {
	tenant cairn.TenantID
	digest cairn.Digest
	source int
}

// link is the place of one connection, open or not.
type link struct {
	key    linkKey
	agent  string
	server *cairn.MCPServer

	// Guarded by Driver.mu.
	users int
	used  time.Time
	timer *time.Timer

	opening chan struct{} // held while the fields below are used
	session *session
	failed  error
	at      time.Time // of failed
}

// New returns a driver without connections.
func New(o Options) *Driver {
	if o.Connections <= 0 {
		o.Connections = defaultConnections
	}
	if o.Idle <= 0 {
		o.Idle = defaultIdle
	}
	if o.Version == "" {
		o.Version = "0"
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	d := &Driver{opts: o, log: o.Log, spawner: newSpawner(), links: map[linkKey]*link{}}
	d.ctx, d.stop = context.WithCancelCause(context.Background())
	d.transport = &http.Transport{ // without the proxies of the environment
		DialContext:            (&net.Dialer{Timeout: dialTimeout, KeepAlive: 30 * time.Second}).DialContext,
		TLSHandshakeTimeout:    dialTimeout,
		IdleConnTimeout:        90 * time.Second,
		MaxConnsPerHost:        256,
		MaxIdleConnsPerHost:    64,
		MaxResponseHeaderBytes: 256 << 10,
		ForceAttemptHTTP2:      true,
	}
	return d
}

// closed says that Close was called.
func (d *Driver) closed() bool { return d.ctx.Err() != nil }

// Close stops the calls that are under way, ends every session and every child
// process with its group, and returns when they have ended.
func (d *Driver) Close() error {
	d.mu.Lock()
	if d.closed() {
		d.mu.Unlock()
		d.work.Wait()
		return nil
	}
	d.stop(errClosed)
	links := d.links
	d.links = map[linkKey]*link{}
	for _, l := range links {
		if l.timer != nil {
			l.timer.Stop()
		}
		d.work.Go(func() { d.closeLink(l) })
	}
	d.mu.Unlock()
	d.work.Wait()
	d.transport.CloseIdleConnections()
	d.spawner.close()
	return nil
}

// Validate reports what is wrong with an entry, as a *cairn.FieldError.
func (d *Driver) Validate(e *cairn.ToolSource) error {
	m := e.MCP
	bad := func(field, format string, args ...any) error {
		return &cairn.FieldError{Path: "mcp." + field, Problem: fmt.Sprintf(format, args...)}
	}
	switch {
	case (m.URL == "") == (len(m.Command) == 0):
		return bad("url", "give either url (streamable HTTP) or command (stdio)")
	case m.URL != "":
		u, err := url.Parse(m.URL)
		if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Hostname() == "" {
			return bad("url", "not an http or https URL")
		}
		if u.User != nil {
			return bad("url", "holds a user name; put credentials into headers")
		}
		if len(m.Env) > 0 {
			return bad("env", "only for a command")
		}
		for name, value := range m.Headers {
			if name == "" || strings.ContainsAny(name, " :\r\n\t") || strings.ContainsAny(value, "\r\n\x00") {
				return bad("headers."+name, "not a header")
			}
		}
	default:
		if strings.TrimSpace(m.Command[0]) == "" {
			return bad("command[0]", "empty: give a program and its arguments")
		}
		if len(m.Headers) > 0 {
			return bad("headers", "only for a url")
		}
		for name, value := range m.Env {
			if name == "" || strings.ContainsAny(name, "=\x00") || strings.Contains(value, "\x00") {
				return bad("env."+name, "not an environment variable")
			}
		}
	}
	if ourName(m.Prefix) != m.Prefix || len(m.Prefix) > maxName/2 {
		return bad("prefix", "%q: use letters, digits, '_' and '-', at most %d", m.Prefix, maxName/2)
	}
	return nil
}

// List asks a server for its tools, see [tool.Driver].
func (d *Driver) List(ctx context.Context, t tool.Target) ([]cairn.ToolSpec, error) {
	var specs []cairn.ToolSpec
	err := d.with(ctx, t, func(ctx context.Context, s *session) (lost, again bool, err error) {
		l, lost, err := s.tools(ctx, time.Now())
		if err != nil {
			return lost, lost, err
		}
		specs = append(specs, l.specs...)
		return false, false, nil
	})
	return specs, err
}

// Call makes one attempt, see [tool.Driver].
func (d *Driver) Call(ctx context.Context, c tool.Call) (*cairn.ToolResult, error) {
	var result *cairn.ToolResult
	err := d.with(ctx, c.Target, func(ctx context.Context, s *session) (lost, again bool, err error) {
		result, lost, err = s.call(ctx, c)
		e, ok := errors.AsType[*cairn.Error](err)
		return lost, lost && ok && (e.NotDone || c.Class.Repeatable()), err
	})
	if err != nil {
		return nil, err
	}
	return result, nil
}

// with runs f on the session of a target; when f says that the session is lost
// and that it may be done again, once more on a new one.
func (d *Driver) with(ctx context.Context, t tool.Target, f func(context.Context, *session) (lost, again bool, err error)) error {
	l, err := d.use(t)
	if err != nil {
		return err
	}
	defer d.leave(l)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(d.ctx, func() { cancel(errClosed) })()
	for second := false; ; second = true {
		s, err := d.open(ctx, l)
		if err != nil {
			return err
		}
		lost, again, err := f(ctx, s)
		if lost {
			d.drop(l, s)
		}
		if err == nil || !again || second || ctx.Err() != nil {
			return err
		}
	}
}

// use finds or makes the place of a connection and holds it open.
func (d *Driver) use(t tool.Target) (*link, error) {
	key := linkKey{t.Tenant, t.Digest, t.Source}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed() {
		return nil, &cairn.Error{Code: cairn.CodeUnavailable, Message: "this node is stopping", Retryable: true, NotDone: true, Err: errClosed}
	}
	l := d.links[key]
	if l == nil {
		if len(d.links) >= d.opts.Connections && !d.evict() {
			return nil, &cairn.Error{
				Code: cairn.CodeUnavailable, Retryable: true, NotDone: true,
				Message: fmt.Sprintf("all %d connections to MCP servers are in use", d.opts.Connections),
			}
		}
		l = &link{key: key, agent: t.Agent, server: t.Entry.MCP, opening: make(chan struct{}, 1)}
		d.links[key] = l
	}
	if l.timer != nil {
		l.timer.Stop()
	}
	l.users++
	d.work.Add(1)
	return l, nil
}

func (d *Driver) leave(l *link) {
	d.mu.Lock()
	defer d.mu.Unlock()
	defer d.work.Done()
	l.users--
	l.used = time.Now()
	if l.users == 0 && !d.closed() {
		l.timer = time.AfterFunc(d.opts.Idle, func() { d.expire(l) })
	}
}

// expire closes a connection that nobody uses.
func (d *Driver) expire(l *link) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if l.users == 0 && !d.closed() && d.links[l.key] == l && time.Since(l.used) >= d.opts.Idle {
		d.forget(l)
	}
}

// evict closes the connection that was not used for the longest time. It is
// called with the lock held.
func (d *Driver) evict() bool {
	var oldest *link
	for _, l := range d.links {
		if l.users == 0 && (oldest == nil || l.used.Before(oldest.used)) {
			oldest = l
		}
	}
	if oldest == nil {
		return false
	}
	d.forget(oldest)
	return true
}

// forget removes a place and closes its session. It is called with the lock held.
func (d *Driver) forget(l *link) {
	delete(d.links, l.key)
	if l.timer != nil {
		l.timer.Stop()
	}
	d.work.Go(func() { d.closeLink(l) })
}

func (d *Driver) closeLink(l *link) {
	l.opening <- struct{}{}
	defer func() { <-l.opening }()
	if l.session != nil {
		l.session.close()
		l.session = nil
	}
}

// drop closes a session that is of no more use, beside what goes on.
func (d *Driver) drop(l *link, s *session) {
	l.opening <- struct{}{}
	defer func() { <-l.opening }()
	if l.session != s {
		return // another call dropped it
	}
	l.session = nil
	d.work.Go(s.close) // a call is under way, so Close has not stopped waiting yet
}

// open returns the session of a link, connecting if there is none. The error is a
// *cairn.Error with NotDone.
func (d *Driver) open(ctx context.Context, l *link) (*session, error) {
	select {
	case l.opening <- struct{}{}:
		defer func() { <-l.opening }()
	case <-ctx.Done():
		return nil, stopped(ctx)
	}
	if ctx.Err() != nil {
		return nil, stopped(ctx)
	}
	if l.session != nil {
		if l.session.alive() {
			return l.session, nil
		}
		d.work.Go(l.session.close)
		l.session = nil
	}
	if l.failed != nil && time.Since(l.at) < retryOpen {
		return nil, l.failed
	}
	s, err := d.connect(ctx, l.server, firstHandshake, "")
	if err != nil && ctx.Err() == nil && errors.Is(err, context.DeadlineExceeded) {
		s, err = d.connect(ctx, l.server, legacyHandshake, legacyVersion)
	}
	if err != nil {
		d.log.WarnContext(ctx, "no connection to an MCP server", "tenant", l.key.tenant, "agent", l.agent, "source", l.key.source, "error", err)
		if ctx.Err() != nil {
			return nil, stopped(ctx)
		}
		l.failed, l.at = unreachable(l, err), time.Now()
		return nil, l.failed
	}
	l.session, l.failed = s, nil
	return s, nil
}

func unreachable(l *link, err error) *cairn.Error {
	e := &cairn.Error{Code: cairn.CodeUnavailable, Retryable: true, NotDone: true, Err: err}
	if l.server.URL != "" {
		host := "its host"
		if u, err := url.Parse(l.server.URL); err == nil {
			host = u.Host
		}
		e.Message = fmt.Sprintf("tools[%d]: no connection to the MCP server at %s", l.key.source, host)
		return e
	}
	if why := notStartable(err); why != "" {
		e.Code, e.Retryable = cairn.CodeInvalid, false
		e.Message = fmt.Sprintf("tools[%d].mcp.command[0]: the program %q %s; write an absolute path, or a name that is found in PATH", l.key.source, l.server.Command[0], why)
		return e
	}
	e.Message = fmt.Sprintf("tools[%d]: the MCP server %q did not start or did not answer; its own words are in the log at level debug", l.key.source, l.server.Command[0])
	return e
}

// connect opens a session. version is the newest protocol to offer; empty: the SDK's.
func (d *Driver) connect(ctx context.Context, m *cairn.MCPServer, limit time.Duration, version string) (*session, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	client := sdk.NewClient(&sdk.Implementation{Name: "cairn", Version: d.opts.Version}, &sdk.ClientOptions{
		Logger:         d.log,
		Capabilities:   &sdk.ClientCapabilities{},                  // nothing is offered to servers
		MultiRoundTrip: &sdk.MultiRoundTripOptions{Disabled: true}, // a call is repeated by its owner only
	})
	var transport sdk.Transport
	var c *child
	var ready atomic.Pointer[session]
	if m.URL != "" {
		u, err := url.Parse(m.URL)
		if err != nil {
			return nil, bare(err)
		}
		transport = &sdk.StreamableClientTransport{
			Endpoint: m.URL,
			HTTPClient: &http.Client{
				Transport:     &roundTripper{base: d.transport, scheme: u.Scheme, host: u.Host, headers: m.Headers},
				CheckRedirect: sameHost,
			},
			MaxRetries:           2,    // to take up the stream of an answer again
			DisableStandaloneSSE: true, // nothing is awaited but answers
			MaxEventSize:         maxBody,
		}
	} else {
		env, secrets := environment(m.Env)
		var err error
		if c, err = startChild(m.Command, env, secrets, d.spawner.do, d.log.With("command", m.Command[0])); err != nil {
			return nil, &startError{program: m.Command[0], err: err}
		}
		c.changed = func() {
			if s := ready.Load(); s != nil { // before, nothing has been listed
				s.forget()
			}
		}
		transport = c
	}
	cs, err := client.Connect(ctx, transport, &sdk.ClientSessionOptions{ProtocolVersion: version})
	if err != nil {
		if c != nil {
			err = errors.Join(bare(err), c.kill())
		}
		if ctx.Err() != nil {
			err = errors.Join(ctx.Err(), bare(err))
		}
		return nil, bare(err)
	}
	s := newSession(cs, c, m.Prefix)
	ready.Store(s)
	return s, nil
}

// environment is what a child gets: the few names that programs need to run, and
// what is declared; nothing else of our own, where secrets may stand. The second
// result is what must not be logged.
func environment(declared map[string]string) (env, secrets []string) {
	for _, name := range []string{"PATH", "HOME", "LANG"} {
		if _, ok := declared[name]; ok {
			continue
		}
		if v, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+v)
		}
	}
	for name, v := range declared {
		env = append(env, name+"="+v)
		secrets = append(secrets, v)
	}
	if len(env) == 0 { // nil would mean our own
		env = []string{}
	}
	return env, secrets
}
