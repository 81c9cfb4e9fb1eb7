package wire

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/cairn-run/cairn"
)

// maxErrorBody and errorTime bound what is read of an error, in bytes and in time.
const (
	maxErrorBody = 1 << 20
	errorTime    = 2 * time.Second
)

// Endpoint is where a provider is reached. It is safe for concurrent use.
type Endpoint struct {
	// Name is the provider's name in model names, and in messages.
	Name string
	// URL is the base of every path; required. A query it has is added to every
	// request.
	URL string
	// Key gives the credential, at every call anew; nil, or an empty one: none is
	// sent.
	Key func(context.Context) (cairn.Secret, error)
	// KeyHeader carries the credential; default Authorization, where "Bearer " is
	// put before it.
	KeyHeader string
	// Header and Query are added to every request.
	Header map[string]string
	Query  map[string]string
	// Client makes the requests; default a client of this package. Redirects are not
	// followed, whatever it says. Its transport must not repeat requests.
	Client *http.Client
}

// defaultClient bounds connecting; how long an answer may take is the caller's
// to say, through the context. A connection over which nothing comes back, pings
// included, is closed: what is sent on it later would wait for the caller's bound.
var defaultClient = &http.Client{
	Transport: &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		OnProxyConnectResponse: proxyAnswered,
		DialContext:            (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
		TLSHandshakeTimeout:    10 * time.Second,
		ForceAttemptHTTP2:      true,
		MaxIdleConns:           256,
		MaxIdleConnsPerHost:    64,
		IdleConnTimeout:        90 * time.Second,
		ExpectContinueTimeout:  time.Second,
		HTTP2:                  &http.HTTP2Config{SendPingTimeout: 30 * time.Second, PingTimeout: 15 * time.Second},
	},
}

// proxyAnswered types the refusal of a proxy: net/http keeps its status text only.
func proxyAnswered(_ context.Context, _ *url.URL, _ *http.Request, resp *http.Response) error {
	if resp.StatusCode == http.StatusOK {
		return nil
	}
	return &cairn.Error{
		Code: cairn.CodeUnavailable, Retryable: resp.StatusCode >= 500, NotDone: true,
		Message: fmt.Sprintf("the proxy (HTTPS_PROXY) answered HTTP %d and did not connect", resp.StatusCode),
	}
}

// stay does not follow a redirect: the credential would go along.
func stay(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// Post sends a JSON document to a path below the URL and returns the reply if the
// provider accepted it. Any other status is a *cairn.Error of [Classify]. Errors
// of the network are returned as they are, without the URL: model.AsFailure types
// them.
func (e *Endpoint) Post(ctx context.Context, path string, body []byte) (*Reply, error) {
	return e.do(ctx, http.MethodPost, path, bytes.NewReader(body))
}

// Get asks for a JSON document, such as the list of models.
func (e *Endpoint) Get(ctx context.Context, path string) (*Reply, error) {
	return e.do(ctx, http.MethodGet, path, nil)
}

func (e *Endpoint) do(ctx context.Context, method, path string, body io.Reader) (*Reply, error) {
	target, err := e.target(path)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, method, target, body)
	if err != nil {
		return nil, e.badURL()
	}
	req.Header.Set("Accept", "application/json, text/event-stream")
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	for k, v := range e.Header {
		req.Header.Set(k, v)
	}
	// With one of these net/http takes a POST for something that may be repeated.
	req.Header.Del("Idempotency-Key")
	req.Header.Del("X-Idempotency-Key")
	key, err := e.sign(ctx, req)
	if err != nil {
		return nil, err
	}
	client := *defaultClient
	if e.Client != nil {
		client = *e.Client
	}
	client.CheckRedirect = stay
	// A request that never had a connection was not sent: nothing was bought. Only
	// net/http's own transport says so for certain.
	var sent atomic.Bool
	if _, ok := client.Transport.(*http.Transport); !ok {
		sent.Store(true)
	}
	trace := &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { sent.Store(true) }}
	resp, err := client.Do(req.WithContext(httptrace.WithClientTrace(ctx, trace)))
	if err != nil {
		if u, ok := errors.AsType[*url.Error](err); ok {
			err = u.Err // the URL may hold a credential
		}
		return nil, unquoted(e.unreachable(err, sent.Load()), key)
	}
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		defer func() { _ = resp.Body.Close() }()
		stop := time.AfterFunc(errorTime, func() { _ = resp.Body.Close() })
		defer stop.Stop()
		said, _ := io.ReadAll(io.LimitReader(resp.Body, maxErrorBody)) // what came of it says enough
		return nil, scrub(Classify(e.Name, resp.StatusCode, resp.Header, said), key)
	}
	return newReply(e.Name, key, resp)
}

// sign adds the credential to a request and returns it.
func (e *Endpoint) sign(ctx context.Context, req *http.Request) (cairn.Secret, error) {
	if e.Key == nil {
		return cairn.Secret{}, nil
	}
	key, err := e.Key(ctx)
	if err != nil {
		return key, keyError(e.Name, err)
	}
	if key.Empty() {
		return key, nil
	}
	if strings.ContainsFunc(key.Reveal(), func(r rune) bool { return r < ' ' || r > '~' }) {
		return key, &cairn.Error{
			Code: cairn.CodeAuth, NotDone: true,
			Message: "the key of model provider " + e.Name + " has a line break or another character that no key has",
		}
	}
	if e.KeyHeader == "" {
		req.Header.Set("Authorization", "Bearer "+key.Reveal())
	} else {
		req.Header.Set(e.KeyHeader, key.Reveal())
	}
	return key, nil
}

// target joins the URL, a path with its query, and the queries of every request.
func (e *Endpoint) target(path string) (string, error) {
	base, always, _ := strings.Cut(e.URL, "?")
	path, own, _ := strings.Cut(path, "?")
	u, err := url.Parse(strings.TrimSuffix(base, "/") + path)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return "", e.badURL()
	}
	q, err := url.ParseQuery(always)
	if err != nil {
		return "", e.badURL()
	}
	for k, v := range e.Query {
		q.Set(k, v)
	}
	more, err := url.ParseQuery(own)
	if err != nil {
		return "", e.badURL()
	}
	for k, v := range more {
		q[k] = v
	}
	u.RawQuery = q.Encode()
	return u.String(), nil
}

func (e *Endpoint) badURL() *cairn.Error {
	return &cairn.Error{
		Code: cairn.CodeInvalid, NotDone: true,
		Message: fmt.Sprintf("the URL of model provider %s is not one: write http:// or https://, a host and a path", e.Name),
	}
}

// unreachable types what model.AsFailure does not know: TLS, a proxy, a broken
// connection in the words of HTTP, and that a request was not sent.
func (e *Endpoint) unreachable(err error, sent bool) error {
	if sent && known(err) {
		return err
	}
	out := &cairn.Error{Code: cairn.CodeCut, Retryable: true, Message: "the connection to " + e.Name + " broke", Err: err}
	if sent {
		return out
	}
	out.Code, out.NotDone, out.Message = cairn.CodeUnavailable, true, e.Name+" cannot be reached"
	_, alert := errors.AsType[tls.AlertError](err)
	_, record := errors.AsType[tls.RecordHeaderError](err)
	_, certificate := errors.AsType[*tls.CertificateVerificationError](err)
	typed, isTyped := errors.AsType[*cairn.Error](err)
	op, isOp := errors.AsType[*net.OpError](err)
	n, isNet := errors.AsType[net.Error](err)
	switch {
	case isTyped: // the proxy's, or why the context ended
		other := *typed
		other.NotDone = true
		return &other
	case errors.Is(err, context.Canceled):
		out.Code, out.Retryable, out.Message = cairn.CodeCancelled, false, "the model call was stopped"
	case isNet && n.Timeout(): // a deadline is one, too
		out.Code, out.Message = cairn.CodeTimeout, e.Name+" did not take a connection in time"
	case certificate:
		out.Retryable, out.Message = false, "the certificate of "+e.Name+" is not one that this machine trusts"
	case record, strings.Contains(err.Error(), "HTTP response to HTTPS client"):
		out.Retryable, out.Message = false, e.Name+" does not speak TLS at its URL: write http://, or another port"
	case alert:
		out.Message = e.Name + " does not agree to a TLS connection"
	case isOp && op.Op == "proxyconnect":
		out.Message = "the proxy on the way to " + e.Name + " (HTTPS_PROXY) cannot be reached"
	case strings.HasPrefix(err.Error(), "net/http: invalid header field"):
		out.Code, out.Retryable, out.Message = cairn.CodeInvalid, false, "a header of model provider "+e.Name+" has a name or a value that HTTP does not allow"
	}
	return out
}

// known says whether model.AsFailure finds the type of an error itself.
func known(err error) bool {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return true
	}
	if _, ok := errors.AsType[*cairn.Error](err); ok {
		return true
	}
	if _, ok := errors.AsType[*net.OpError](err); ok {
		return true
	}
	if _, ok := errors.AsType[*net.DNSError](err); ok {
		return true
	}
	n, ok := errors.AsType[net.Error](err)
	return ok && n.Timeout()
}

func keyError(name string, err error) *cairn.Error {
	if known, ok := errors.AsType[*cairn.Error](err); ok {
		other := *known
		other.NotDone = true
		return &other
	}
	return &cairn.Error{Code: cairn.CodeAuth, Message: "the key of model provider " + name + " could not be had", NotDone: true, Err: err}
}
