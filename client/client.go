// Package client is the Go client of the API: typed methods over HTTP, a unix
// socket or a handler in the same process, and a stream that survives dropped
// connections. Errors come back as *cairn.Error; what the server said of single
// fields or of an ask that was decided before is in their cause, a
// *v1.ErrorInfo.
package client

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/cairn-run/cairn"
	v1 "github.com/cairn-run/cairn/api/v1"
)

const (
	// requestTimeout bounds one try of a request that is not a stream.
	requestTimeout = 60 * time.Second
	// transferTimeout bounds the wait for the answer to an upload, or for the first
	// byte of a download: the server has to store, or to compare, many files.
	transferTimeout = 30 * time.Minute
	// tries is how often a request is sent while the server says "later".
	tries = 4
	// firstWait is the pause before the second try; it doubles.
	firstWait = 200 * time.Millisecond
	// maxWait bounds what a Retry-After is heeded.
	maxWait = 10 * time.Second
	// maxResponse bounds a response body, in bytes.
	maxResponse = 64 << 20
)

// Client talks to one server. It may be used by many goroutines.
type Client struct {
	base  string
	token string
	http  *http.Client
	// files is for uploads and downloads.
	files *http.Client
}

// New returns a client of the server at base ("http://127.0.0.1:7717"). With a
// nil hc it uses a client of its own; one that is given must not have a Timeout,
// which would end streams.
func New(base, token string, hc *http.Client) *Client {
	if hc != nil {
		return &Client{base: strings.TrimSuffix(base, "/"), token: token, http: hc, files: hc}
	}
	return over(base, token, &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           (&net.Dialer{Timeout: 10 * time.Second}).DialContext,
		TLSHandshakeTimeout:   10 * time.Second,
		ResponseHeaderTimeout: requestTimeout,
		IdleConnTimeout:       time.Minute,
		ForceAttemptHTTP2:     true,
	})
}

// over returns a client over a transport of its own.
func over(base, token string, t *http.Transport) *Client {
	files := t.Clone()
	files.ResponseHeaderTimeout = transferTimeout
	return &Client{base: strings.TrimSuffix(base, "/"), token: token, http: &http.Client{Transport: t}, files: &http.Client{Transport: files}}
}

// Unix returns a client of the server that listens on a unix socket. Without a
// token it is whom the server takes the socket's user for.
func Unix(path, token string) *Client {
	dialer := &net.Dialer{Timeout: 10 * time.Second}
	return over("http://localhost", token, &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, "unix", path)
		},
		ResponseHeaderTimeout: requestTimeout,
		IdleConnTimeout:       time.Minute,
	})
}

// Close gives idle connections back.
func (c *Client) Close() {
	c.http.CloseIdleConnections()
	c.files.CloseIdleConnections()
}

// Option changes one request.
type Option func(*options)

type options struct {
	key      string
	until    bool
	patience time.Duration
}

// Key sets the Idempotency-Key of a POST. Without it every call has a new one,
// so that only its own tries are one request.
func Key(key string) Option { return func(o *options) { o.key = key } }

// UntilIdle ends a stream when the session has nothing to do any more.
func UntilIdle() Option { return func(o *options) { o.until = true } }

// Patience is how long a stream looks for a server that does not answer; default
// one minute.
func Patience(d time.Duration) Option { return func(o *options) { o.patience = d } }

func gather(opts []Option) options {
	o := options{patience: time.Minute}
	for _, f := range opts {
		f(&o)
	}
	return o
}

// CreateSession starts a session.
func (c *Client) CreateSession(ctx context.Context, s v1.CreateSession, opts ...Option) (v1.Session, error) {
	return post[v1.Session](ctx, c, "/v1/sessions", s, opts)
}

// SessionQuery narrows a list of sessions; zero values take all.
type SessionQuery struct {
	Status []cairn.Status
	Agent  string
	Before cairn.SessionID
	Limit  int
}

// Sessions lists sessions, newest first.
func (c *Client) Sessions(ctx context.Context, q SessionQuery) (v1.SessionList, error) {
	v := url.Values{}
	if len(q.Status) > 0 {
		v.Set("status", joined(q.Status))
	}
	set(v, "agent", q.Agent)
	set(v, "before", string(q.Before))
	number(v, "limit", uint64(q.Limit))
	return get[v1.SessionList](ctx, c, "/v1/sessions", v)
}

// Session shows a session.
func (c *Client) Session(ctx context.Context, id cairn.SessionID) (v1.Session, error) {
	return get[v1.Session](ctx, c, sessionPath(id, ""), nil)
}

// Send sends a message to a session.
func (c *Client) Send(ctx context.Context, id cairn.SessionID, m v1.PostMessage, opts ...Option) (v1.Accepted, error) {
	return post[v1.Accepted](ctx, c, sessionPath(id, "/messages"), m, opts)
}

// Cancel stops everything in a session; final.
func (c *Client) Cancel(ctx context.Context, id cairn.SessionID, reason string, opts ...Option) (v1.Accepted, error) {
	return post[v1.Accepted](ctx, c, sessionPath(id, "/cancel"), v1.Control{Reason: reason}, opts)
}

// Pause stops a session before its next effect.
func (c *Client) Pause(ctx context.Context, id cairn.SessionID, reason string, opts ...Option) (v1.Accepted, error) {
	return post[v1.Accepted](ctx, c, sessionPath(id, "/pause"), v1.Control{Reason: reason}, opts)
}

// Resume lets a paused session go on.
func (c *Client) Resume(ctx context.Context, id cairn.SessionID, opts ...Option) (v1.Accepted, error) {
	return post[v1.Accepted](ctx, c, sessionPath(id, "/resume"), v1.Control{}, opts)
}

// Move lets a session go on under another agent or version, from its next model
// call on.
func (c *Client) Move(ctx context.Context, id cairn.SessionID, m v1.Move, opts ...Option) (v1.Moving, error) {
	return post[v1.Moving](ctx, c, sessionPath(id, "/move"), m, opts)
}

// Runs lists the runs of a session that began after an event, oldest first.
func (c *Client) Runs(ctx context.Context, id cairn.SessionID, after cairn.Seq, limit int) (v1.RunList, error) {
	v := url.Values{}
	number(v, "after", uint64(after))
	number(v, "limit", uint64(limit))
	return get[v1.RunList](ctx, c, sessionPath(id, "/runs"), v)
}

// Steps lists the model calls and tool calls of a session that began after an
// event, oldest first; of one run if it is named.
func (c *Client) Steps(ctx context.Context, id cairn.SessionID, run cairn.RunID, after cairn.Seq, limit int) (v1.StepList, error) {
	v := url.Values{}
	set(v, "run", string(run))
	number(v, "after", uint64(after))
	number(v, "limit", uint64(limit))
	return get[v1.StepList](ctx, c, sessionPath(id, "/steps"), v)
}

// EventQuery chooses a page of events; zero values take the first hundred.
type EventQuery struct {
	After  cairn.Seq
	Before cairn.Seq // not zero: the last events before this one
	Limit  int
	Types  []cairn.EventType
}

// Events pages through the history of a session.
func (c *Client) Events(ctx context.Context, id cairn.SessionID, q EventQuery) (v1.EventPage, error) {
	v := url.Values{}
	number(v, "after", uint64(q.After))
	number(v, "before", uint64(q.Before))
	number(v, "limit", uint64(q.Limit))
	if len(q.Types) > 0 {
		v.Set("types", joined(q.Types))
	}
	return get[v1.EventPage](ctx, c, sessionPath(id, "/events"), v)
}

// SessionUsage shows what a session used, by model.
func (c *Client) SessionUsage(ctx context.Context, id cairn.SessionID) (v1.SessionUsage, error) {
	return get[v1.SessionUsage](ctx, c, sessionPath(id, "/usage"), nil)
}

// AskQuery narrows a list of asks; zero values take all that are open.
type AskQuery struct {
	Session cairn.SessionID
	Status  cairn.AskStatus
	After   cairn.AskID
	Limit   int
}

// Asks lists what waits for an answer, oldest first.
func (c *Client) Asks(ctx context.Context, q AskQuery) (v1.AskList, error) {
	v := url.Values{}
	set(v, "session", string(q.Session))
	set(v, "status", string(q.Status))
	set(v, "after", string(q.After))
	number(v, "limit", uint64(q.Limit))
	return get[v1.AskList](ctx, c, "/v1/asks", v)
}

// Ask shows an ask.
func (c *Client) Ask(ctx context.Context, id cairn.AskID) (v1.Ask, error) {
	return get[v1.Ask](ctx, c, askPath(id, ""), nil)
}

// Approve approves what is asked. A decision that came second is an error of
// code conflict; its *v1.ErrorInfo holds the ask as it was decided.
func (c *Client) Approve(ctx context.Context, id cairn.AskID, b v1.Approve, opts ...Option) (v1.Ask, error) {
	return post[v1.Ask](ctx, c, askPath(id, "/approve"), b, opts)
}

// Reject rejects what is asked.
func (c *Client) Reject(ctx context.Context, id cairn.AskID, b v1.Approve, opts ...Option) (v1.Ask, error) {
	return post[v1.Ask](ctx, c, askPath(id, "/reject"), b, opts)
}

// Edit approves with other arguments.
func (c *Client) Edit(ctx context.Context, id cairn.AskID, b v1.Edit, opts ...Option) (v1.Ask, error) {
	return post[v1.Ask](ctx, c, askPath(id, "/edit"), b, opts)
}

// Answer answers a question, or gives the result of a tool that the client
// executes.
func (c *Client) Answer(ctx context.Context, id cairn.AskID, b v1.Answer, opts ...Option) (v1.Ask, error) {
	return post[v1.Ask](ctx, c, askPath(id, "/answer"), b, opts)
}

// Apply makes a definition the current version of its agent.
func (c *Client) Apply(ctx context.Context, a *cairn.Agent, opts ...Option) (v1.Applied, error) {
	return post[v1.Applied](ctx, c, "/v1/agents", a, opts)
}

// Check says what applying a definition would do, and what is wrong with it.
func (c *Client) Check(ctx context.Context, a *cairn.Agent, opts ...Option) (v1.Applied, error) {
	return post[v1.Applied](ctx, c, "/v1/agents?dry_run=true", a, opts)
}

// Versions lists the versions of an agent, newest first, at most limit; 0: 100.
func (c *Client) Versions(ctx context.Context, name string, limit int) (v1.AgentVersions, error) {
	v := url.Values{}
	number(v, "limit", uint64(max(limit, 0)))
	return get[v1.AgentVersions](ctx, c, "/v1/agents/"+url.PathEscape(name)+"/versions", v)
}

// Agents lists the current version of every agent.
func (c *Client) Agents(ctx context.Context) (v1.AgentList, error) {
	return get[v1.AgentList](ctx, c, "/v1/agents", nil)
}

// Agent shows the version of an agent with this digest; empty: the current one.
func (c *Client) Agent(ctx context.Context, name string, digest cairn.Digest) (v1.AgentVersion, error) {
	v := url.Values{}
	set(v, "digest", string(digest))
	return get[v1.AgentVersion](ctx, c, "/v1/agents/"+url.PathEscape(name), v)
}

// Circuits lists the models whose last calls failed.
func (c *Client) Circuits(ctx context.Context) (v1.CircuitList, error) {
	return get[v1.CircuitList](ctx, c, "/v1/models/circuits", nil)
}

// Usage adds up all sessions by agent.
func (c *Client) Usage(ctx context.Context) (v1.Totals, error) {
	return get[v1.Totals](ctx, c, "/v1/usage", nil)
}

// Health says whether the server is up. It needs no token.
func (c *Client) Health(ctx context.Context) error {
	_, err := get[v1.Health](ctx, c, "/v1/health", nil)
	return err
}

// Ready says whether the node takes requests. It needs no token.
func (c *Client) Ready(ctx context.Context) error {
	_, err := get[v1.Health](ctx, c, "/v1/ready", nil)
	return err
}

// Version says what is running.
func (c *Client) Version(ctx context.Context) (v1.Version, error) {
	return get[v1.Version](ctx, c, "/v1/version", nil)
}

func sessionPath(id cairn.SessionID, rest string) string {
	return "/v1/sessions/" + url.PathEscape(string(id)) + rest
}

func askPath(id cairn.AskID, rest string) string {
	return "/v1/asks/" + url.PathEscape(string(id)) + rest
}

func set(v url.Values, name, value string) {
	if value != "" {
		v.Set(name, value)
	}
}

func number(v url.Values, name string, n uint64) {
	if n > 0 {
		v.Set(name, strconv.FormatUint(n, 10))
	}
}

func joined[S ~string](list []S) string {
	out := make([]string, len(list))
	for i, s := range list {
		out[i] = string(s)
	}
	return strings.Join(out, ",")
}

func get[T any](ctx context.Context, c *Client, path string, query url.Values) (T, error) {
	if len(query) > 0 {
		path += "?" + query.Encode()
	}
	return do[T](ctx, c, http.MethodGet, path, nil, "")
}

func post[T any](ctx context.Context, c *Client, path string, body any, opts []Option) (T, error) {
	o := gather(opts)
	if o.key == "" {
		o.key = ulid.MustNew(ulid.Now(), rand.Reader).String() // crypto/rand never fails
	}
	b, err := json.Marshal(body)
	if err != nil {
		var none T
		return none, &cairn.Error{Code: cairn.CodeInvalid, Message: "the request cannot be written as JSON", Err: err}
	}
	return do[T](ctx, c, http.MethodPost, path, b, o.key)
}

// do sends a request, again while the server says "later". Every request may be
// repeated: a POST has its key.
func do[T any](ctx context.Context, c *Client, method, path string, body []byte, key string) (T, error) {
	wait := firstWait
	for try := 1; ; try++ {
		out, err := once[T](ctx, c, method, path, body, key)
		e := cairn.AsError(err)
		if e == nil || !again(e) || try == tries || ctx.Err() != nil {
			if e == nil {
				return out, nil // not a typed nil
			}
			return out, e
		}
		pause := min(max(wait, time.Duration(e.RetryAfter)), maxWait)
		wait *= 2
		select {
		case <-ctx.Done():
			return out, e
		case <-time.After(pause):
		}
	}
}

// errDial marks a server that cannot be reached at all: trying again within a
// second or two does not help.
var errDial = errors.New("client: no connection")

// again says that the same request may succeed soon.
func again(e *cairn.Error) bool {
	switch e.Code {
	case cairn.CodeUnavailable, cairn.CodeRateLimited, cairn.CodeTimeout, cairn.CodeOverloaded:
		return !errors.Is(e, errDial)
	default:
		return false
	}
}

func once[T any](ctx context.Context, c *Client, method, path string, body []byte, key string) (T, error) {
	var out T
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	resp, err := c.send(ctx, method, path, body, http.Header{"Idempotency-Key": {key}})
	if err != nil {
		return out, err
	}
	defer func() { _ = resp.Body.Close() }() // it was read as far as it is of use
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxResponse+1))
	if err != nil {
		return out, unreachable(c.base, err)
	}
	if len(b) > maxResponse {
		return out, cairn.Errorf(cairn.CodeInternal, "the response is larger than %d bytes", maxResponse)
	}
	if err := json.Unmarshal(b, &out); err != nil {
		return out, notV1(err)
	}
	return out, nil
}

// send sends one request whose body, if it has one, is JSON. Empty headers are
// left out.
func (c *Client) send(ctx context.Context, method, path string, body []byte, headers http.Header) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, bytes.NewReader(body))
	if err != nil {
		return nil, &cairn.Error{Code: cairn.CodeInvalid, Message: "the address of the server is not a URL", Err: err}
	}
	for name, values := range headers {
		if values[0] != "" {
			req.Header[name] = values
		}
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	return c.answer(c.http, req)
}

// answer sends a request and turns every response that is not a success into an
// error.
func (c *Client) answer(hc *http.Client, req *http.Request) (*http.Response, error) {
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	resp, err := hc.Do(req)
	if err != nil {
		return nil, unreachable(c.base, err)
	}
	if resp.StatusCode/100 == 2 {
		return resp, nil
	}
	defer func() { _ = resp.Body.Close() }() // the error is what counts
	return nil, refusal(resp)
}

// unreachable says that there was no response.
func unreachable(base string, err error) *cairn.Error {
	e := &cairn.Error{Code: cairn.CodeUnavailable, Message: "no answer from " + base, Retryable: true, Err: err}
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == "dial" {
		e.Message = "no server at " + base + ": is it running?"
		e.Err = errors.Join(errDial, err)
	}
	return e
}

// refusal reads the error a server reported; a proxy may have answered in its
// place.
func refusal(resp *http.Response) *cairn.Error {
	b, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	var body v1.ErrorBody
	if err == nil && json.Unmarshal(b, &body) == nil && body.Error.Code != "" {
		return body.Error.Cairn()
	}
	e := &cairn.Error{Code: cairn.CodeInternal, Message: fmt.Sprintf("the server answered %s", resp.Status)}
	switch {
	case resp.StatusCode == http.StatusTooManyRequests, resp.StatusCode == http.StatusServiceUnavailable,
		resp.StatusCode == http.StatusBadGateway, resp.StatusCode == http.StatusGatewayTimeout:
		e.Code, e.Retryable = cairn.CodeUnavailable, true
	case resp.StatusCode == http.StatusUnauthorized:
		e.Code = cairn.CodeAuth
	case resp.StatusCode == http.StatusForbidden:
		e.Code = cairn.CodeDenied
	case resp.StatusCode == http.StatusNotFound:
		e.Code = cairn.CodeNotFound
	case resp.StatusCode/100 == 4:
		e.Code = cairn.CodeInvalid
	}
	if s, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && s > 0 {
		e.RetryAfter = cairn.Duration(time.Duration(s) * time.Second)
	}
	return e
}
