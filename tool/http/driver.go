// Package http performs tools that are one HTTP request each.
//
// What is certain about a broken request is taken from the connection: when none
// came about, nothing was done; once there was one, the target may have acted.
// A redirect is followed on the same host only, and only with GET or HEAD, so
// that no write is ever sent twice or elsewhere. Proxies of the environment
// (HTTP_PROXY and its like) are not used: an agent's definition says whom it
// talks to.
package http

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptrace"
	"sync/atomic"
	"time"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/tool"
)

// Time-outs and bounds of connections to one host.
const (
	dialTimeout     = 10 * time.Second
	idleTimeout     = 90 * time.Second
	maxConnsPerHost = 256
	maxIdlePerHost  = 64
	maxRedirects    = 5
	maxHeaderBytes  = 256 << 10
)

// Driver performs HTTP tools. It is safe for concurrent use.
type Driver struct {
	client *http.Client
	// once has a connection for each request. On one that was used before,
	// net/http sends a GET again by itself when it breaks; a GET that must not be
	// repeated goes here.
	once *http.Client
}

var _ tool.Driver = (*Driver)(nil)

// New returns a driver with a pool of connections of its own.
func New() *Driver {
	pool := &http.Transport{
		DialContext:            (&net.Dialer{Timeout: dialTimeout, KeepAlive: 30 * time.Second}).DialContext,
		TLSHandshakeTimeout:    dialTimeout,
		IdleConnTimeout:        idleTimeout,
		MaxConnsPerHost:        maxConnsPerHost,
		MaxIdleConnsPerHost:    maxIdlePerHost,
		MaxResponseHeaderBytes: maxHeaderBytes,
		ExpectContinueTimeout:  time.Second,
		ForceAttemptHTTP2:      true,
	}
	once := pool.Clone()
	once.DisableKeepAlives = true
	return &Driver{
		client: &http.Client{Transport: pool, CheckRedirect: redirect},
		once:   &http.Client{Transport: once, CheckRedirect: redirect},
	}
}

// Close gives idle connections back. Calls that are under way end by themselves.
func (d *Driver) Close() error {
	d.client.CloseIdleConnections()
	d.once.CloseIdleConnections()
	return nil
}

// redirect follows a redirect that reads from the same host; all others are
// answers, see [outcome].
func redirect(req *http.Request, via []*http.Request) error {
	first := via[0]
	read := req.Method == http.MethodGet || req.Method == http.MethodHead
	if !read || req.URL.Scheme != first.URL.Scheme || req.URL.Host != first.URL.Host || len(via) > maxRedirects {
		return http.ErrUseLastResponse
	}
	return nil
}

// Validate reports what is wrong with an entry, as a *cairn.FieldError.
func (d *Driver) Validate(e *cairn.ToolSource) error { return validate(e.HTTP) }

// List returns nothing: HTTP tools are declared.
func (d *Driver) List(context.Context, tool.Target) ([]cairn.ToolSpec, error) { return nil, nil }

// Call makes one attempt, see [tool.Driver].
func (d *Driver) Call(ctx context.Context, c tool.Call) (*cairn.ToolResult, error) {
	var connected atomic.Bool
	traced := httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn:      func(httptrace.GotConnInfo) { connected.Store(true) },
		WroteHeaders: func() { connected.Store(true) },
	})
	req, err := newRequest(traced, c)
	if err != nil {
		return nil, &cairn.Error{Code: cairn.CodeInvalidArgs, Message: err.Error(), NotDone: true}
	}
	client := d.client
	if !c.Class.Repeatable() && req.Body == nil {
		client = d.once
	}
	resp, err := client.Do(req)
	if err != nil {
		if resp != nil {
			_ = resp.Body.Close() // already of no use
		}
		return nil, broken(ctx, err, req.URL.Host, connected.Load())
	}
	defer func() { _ = resp.Body.Close() }() // read as far as it is wanted
	return outcome(ctx, resp, c)
}

// broken says what is known of a request that got no whole response.
func broken(ctx context.Context, err error, host string, connected bool) *cairn.Error {
	err = bare(err)
	e := &cairn.Error{NotDone: !connected, Retryable: true, Err: err}
	switch {
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		e.Code, e.Message = cairn.CodeTimeout, host+" did not answer in time"
	case ctx.Err() != nil:
		e.Code, e.Message, e.Retryable = cairn.CodeCancelled, "stopped", false
	case !connected:
		e.Code, e.Message = cairn.CodeUnavailable, "no connection to "+host+": "+reason(err)
	default:
		e.Code, e.Message = cairn.CodeCut, "the connection to "+host+" broke before the whole answer was there"
	}
	return e
}

// reason says why there was no connection, without addresses of the network.
func reason(err error) string {
	if dns, ok := errors.AsType[*net.DNSError](err); ok && dns.IsNotFound {
		return "no such host"
	}
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == "dial" {
		if op.Timeout() {
			return "it did not accept in time"
		}
		return "it refused, or cannot be reached"
	}
	return "it could not be set up"
}
