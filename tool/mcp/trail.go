package mcp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/cairn-run/cairn"
)

// trail records how far the request of one call came: the SDK reports any broken
// request alike, and whether a call may have taken place depends on it.
type trail struct {
	claimed atomic.Bool  // by the call's own POST, not by what follows it
	sent    atomic.Bool  // bytes of it may have reached the server
	status  atomic.Int64 // HTTP status of its answer; zero: none
	wait    atomic.Int64 // nanoseconds the server asked to wait
}

type trailKey struct{}

func withTrail(ctx context.Context) (context.Context, *trail) {
	t := &trail{}
	return context.WithValue(ctx, trailKey{}, t), t
}

func trailOf(ctx context.Context) *trail {
	t, _ := ctx.Value(trailKey{}).(*trail)
	return t
}

// maxBody bounds one HTTP response that is not an event stream, in bytes; events
// have the same bound each.
const maxBody = 16 << 20

// errTooLarge ends a response that is larger than maxBody.
var errTooLarge = errors.New("the answer is too large")

// roundTripper sends the requests of one server: with its headers, to its host
// only, with bounded answers, and leaving a trail.
type roundTripper struct {
	base    http.RoundTripper
	scheme  string
	host    string
	headers map[string]string
}

// RoundTrip implements http.RoundTripper.
func (r *roundTripper) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.URL.Scheme != r.scheme || req.URL.Host != r.host {
		return nil, fmt.Errorf("the request leads to another host")
	}
	ctx := req.Context()
	t := trailOf(ctx)
	if req.Method != http.MethodPost || (req.Response == nil && t != nil && t.claimed.Swap(true)) {
		t = nil // resuming a stream, or telling the server that the call is cancelled
	}
	if t != nil {
		ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
			GotConn:      func(httptrace.GotConnInfo) { t.sent.Store(true) },
			WroteHeaders: func() { t.sent.Store(true) },
		})
	}
	req = req.Clone(ctx)
	for name, value := range r.headers {
		canonical := textproto.CanonicalMIMEHeaderKey(name)
		if strings.HasSuffix(canonical, "Idempotency-Key") {
			// Spelt like this net/http does not send the request again by itself.
			canonical = strings.ToLower(canonical)
		}
		req.Header[canonical] = []string{value}
	}
	resp, err := r.base.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	if t != nil {
		t.status.Store(int64(resp.StatusCode))
		if n, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && n > 0 {
			t.wait.Store(int64(min(time.Duration(n)*time.Second, time.Hour)))
		}
	}
	if !strings.HasPrefix(resp.Header.Get("Content-Type"), "text/event-stream") {
		resp.Body = &boundedBody{ReadCloser: resp.Body, left: maxBody}
	}
	return resp, nil
}

// boundedBody fails when more comes than was agreed.
type boundedBody struct {
	io.ReadCloser
	left int64
}

// Read implements io.Reader.
func (b *boundedBody) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, errTooLarge
	}
	if int64(len(p)) > b.left {
		p = p[:b.left]
	}
	n, err := b.ReadCloser.Read(p)
	b.left -= int64(n)
	return n, err
}

// sameHost follows a redirect on the same host that keeps the method, as servers
// do that want a slash at the end of their address. Any other is refused.
func sameHost(req *http.Request, via []*http.Request) error {
	first := via[0]
	if req.Method != first.Method || req.URL.Scheme != first.URL.Scheme || req.URL.Host != first.URL.Host || len(via) > 3 {
		return http.ErrUseLastResponse
	}
	return nil
}

// failure says what is known of a call that ended with err. lost says that the
// session is of no more use.
func failure(ctx context.Context, err error, t *trail, stateful bool) (e *cairn.Error, lost bool) {
	e = &cairn.Error{NotDone: !t.sent.Load(), Err: bare(err)}
	status := int(t.status.Load())
	wire := wireError(err)
	switch {
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		e.Code, e.Message, e.Retryable = cairn.CodeTimeout, "the MCP server did not answer in time", true
	case errors.Is(context.Cause(ctx), errClosed):
		e.Code, e.Message, e.Retryable = cairn.CodeUnavailable, "this node is stopping", true
	case ctx.Err() != nil:
		e.Code, e.Message = cairn.CodeCancelled, "stopped"
	case e.NotDone:
		e.Code, e.Message, e.Retryable = cairn.CodeUnavailable, "the MCP server could not be reached", true
		return e, true
	case status == http.StatusNotFound && stateful:
		// The protocol's answer to a session that the server does not know: the
		// request went no further.
		e.Code, e.Message, e.Retryable, e.NotDone = cairn.CodeLost, "the MCP server has lost the session", true, true
		return e, true
	case status == http.StatusTooManyRequests:
		e.Code, e.Message, e.Retryable, e.NotDone = cairn.CodeRateLimited, "the MCP server answered HTTP 429", true, true
		e.RetryAfter = cairn.Duration(t.wait.Load())
	case status == http.StatusUnauthorized, status == http.StatusForbidden:
		e.Code, e.Message = cairn.CodeAuth, fmt.Sprintf("the MCP server answered HTTP %d: its credential was refused", status)
	case wire != nil && refusal(wire.Code):
		e.Code, e.Message = cairn.CodeToolFailed, "the MCP server refused the call: "+short(wire.Message)
	case wire != nil:
		e.Code, e.Message, e.Retryable = cairn.CodeOverloaded, "the MCP server failed: "+short(wire.Message), true
	case status >= 500:
		e.Code, e.Message, e.Retryable = cairn.CodeOverloaded, fmt.Sprintf("the MCP server answered HTTP %d", status), true
		e.RetryAfter = cairn.Duration(t.wait.Load())
	case status >= 300:
		e.Code, e.Message = cairn.CodeToolFailed, fmt.Sprintf("the MCP server answered HTTP %d", status)
		return e, true
	default:
		e.Code, e.Message, e.Retryable = cairn.CodeCut, "the connection to the MCP server broke before its answer was there", true
		return e, true
	}
	return e, false
}

// bare takes URLs out of an error: their query may hold a credential.
func bare(err error) error {
	if u, ok := errors.AsType[*url.Error](err); ok {
		return u.Err
	}
	return err
}

// maxMessage bounds what a server's error says in an event, in bytes.
const maxMessage = 2000

func short(s string) string {
	if len(s) > maxMessage {
		return strings.ToValidUTF8(s[:maxMessage], "") + "…"
	}
	return strings.ToValidUTF8(s, "�")
}
