package builtin

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/tool"
)

const (
	dialTime      = 10 * time.Second
	maxHops       = 5
	maxBody       = 8 << 20  // bytes of an answer that are read
	shownBody     = 64 << 10 // bytes of it that the model sees, if the tool's cap is not smaller
	maxHeaders    = 16 << 10 // bytes of the headers a model may send
	maxRetryAfter = time.Hour
	userAgent     = "cairn"
)

// web makes requests for agents. Every request has a connection of its own: what one
// agent may reach says nothing of another.
type web struct {
	dialer  *net.Dialer
	resolve func(ctx context.Context, host string) ([]netip.Addr, error)
}

func newWeb() *web {
	return &web{
		dialer: &net.Dialer{Timeout: dialTime},
		resolve: func(ctx context.Context, host string) ([]netip.Addr, error) {
			return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
		},
	}
}

type httpArgs struct {
	URL     string            `json:"url"`
	Method  string            `json:"method"`
	Headers map[string]string `json:"headers"`
	Body    *string           `json:"body"`
	JSON    json.RawMessage   `json:"json"`
	Text    bool              `json:"text"`
}

// httpFacts is the structured form of an answer.
type httpFacts struct {
	Status  int               `json:"status"`
	URL     string            `json:"url"` // of the answer, after redirects
	Headers map[string]string `json:"headers,omitempty"`
	Bytes   int64             `json:"bytes"` // of the content that were read
}

// shownHeaders are the headers of an answer that say something to an agent.
var shownHeaders = []string{"Content-Type", "Content-Length", "Location", "Last-Modified", "Etag", "Link", "Retry-After", "Allow"}

// call makes one request.
func (w *web) call(ctx context.Context, c tool.Call) (*cairn.ToolResult, error) {
	var a httpArgs
	if err := json.Unmarshal(c.Args, &a); err != nil {
		return nil, badArgs(err)
	}
	if a.Method == "" {
		a.Method = http.MethodGet
	}
	reads := a.Method == http.MethodGet || a.Method == http.MethodHead
	if !reads && c.Class == cairn.ClassRead {
		return said(true, "This agent may make only GET and HEAD requests. Whoever runs it can allow %s by declaring what a repeat would do: effects: {http: {class: idempotent}}, or irreversible.", a.Method), nil
	}
	u, err := url.Parse(a.URL)
	if err != nil {
		return said(true, "The URL cannot be read."), nil
	}
	to, err := allow(c.Definition.Environment.Network, u)
	if err != nil {
		return denied(err), nil
	}
	var connected atomic.Bool
	traced := httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn:      func(httptrace.GotConnInfo) { connected.Store(true) },
		WroteHeaders: func() { connected.Store(true) },
	})
	req, why := newRequest(traced, a, u)
	if why != "" {
		return said(true, "%s", why), nil
	}
	if !reads {
		req.Header.Set("Idempotency-Key", c.Key)
	}
	client, closeIdle := w.client(c.Definition.Environment.Network)
	defer closeIdle()
	resp, err := client.Do(req)
	if err != nil {
		if resp != nil {
			_ = resp.Body.Close() // of no use
		}
		return broken(ctx, err, to.host, connected.Load())
	}
	defer func() { _ = resp.Body.Close() }() // read as far as it is wanted
	return w.outcome(ctx, c, a, resp, reads)
}

// client makes a client that reaches what the rules allow, hop by hop.
func (w *web) client(rules []string) (*http.Client, func()) {
	transport := &http.Transport{
		Proxy: nil, // those of the environment are for the node, not for agents
		DialContext: func(ctx context.Context, _, addr string) (net.Conn, error) {
			// Each hop is looked at again: addr is what net/http made of the URL.
			host, port, err := net.SplitHostPort(addr)
			if err != nil {
				return nil, err
			}
			u := &url.URL{Scheme: "http", Host: net.JoinHostPort(host, port)}
			to, err := allow(rules, u)
			if err != nil {
				return nil, err
			}
			return w.dial(ctx, to)
		},
		TLSHandshakeTimeout:    dialTime,
		DisableKeepAlives:      true,
		MaxResponseHeaderBytes: 256 << 10,
		ForceAttemptHTTP2:      true,
	}
	return &http.Client{Transport: transport, CheckRedirect: func(req *http.Request, via []*http.Request) error {
		before := via[len(via)-1]
		if req.Method != http.MethodGet && req.Method != http.MethodHead || via[0].Method != req.Method {
			return http.ErrUseLastResponse // a write is never sent twice, or elsewhere
		}
		if len(via) > maxHops {
			return &cairn.Error{Code: cairn.CodeToolFailed, Message: fmt.Sprintf("more than %d redirects", maxHops)}
		}
		if before.URL.Scheme == "https" && req.URL.Scheme != "https" {
			return &cairn.Error{Code: cairn.CodeDenied, Message: "a redirect from https to http is not followed"}
		}
		if _, err := allow(rules, req.URL); err != nil {
			return err
		}
		if !strings.EqualFold(req.URL.Host, via[0].URL.Host) {
			for name := range req.Header { // what was meant for one host is not for another
				if name != "Accept" && name != "User-Agent" && name != "Accept-Language" {
					req.Header.Del(name)
				}
			}
		}
		return nil
	}}, transport.CloseIdleConnections
}

// forbidden says why a model may not set a header; empty: it may.
func forbidden(name string) string {
	switch name {
	case "Authorization", "Proxy-Authorization", "Cookie":
		return "is not sent: credentials do not go through an agent's arguments; declare a tool for that service, with its credential"
	case "Host", "Content-Length", "Transfer-Encoding", "Connection", "Keep-Alive", "Upgrade", "Te", "Trailer", "Expect", "Idempotency-Key", "Proxy-Connection":
		return "is set by the runtime"
	}
	return ""
}

// newRequest makes the request; why says in words for the model why it cannot.
func newRequest(ctx context.Context, a httpArgs, u *url.URL) (req *http.Request, why string) {
	var body io.Reader
	if a.Body != nil && len(a.JSON) > 0 {
		return nil, "Give either body or json."
	}
	media := ""
	switch {
	case len(a.JSON) > 0:
		body, media = bytes.NewReader(a.JSON), "application/json"
	case a.Body != nil:
		body, media = strings.NewReader(*a.Body), "text/plain; charset=utf-8"
	}
	if body != nil && (a.Method == http.MethodGet || a.Method == http.MethodHead) {
		return nil, "A GET or HEAD request has no body."
	}
	clean := *u
	clean.Fragment, clean.RawFragment = "", ""
	req, err := http.NewRequestWithContext(ctx, a.Method, clean.String(), body)
	if err != nil {
		return nil, "The request cannot be made: the URL or the method is not valid."
	}
	req.Header.Set("User-Agent", userAgent)
	if media != "" {
		req.Header.Set("Content-Type", media)
	}
	size := 0
	for name, value := range a.Headers {
		canonical := http.CanonicalHeaderKey(name)
		if why := forbidden(canonical); why != "" {
			return nil, fmt.Sprintf("The header %s %s.", canonical, why)
		}
		if size += len(name) + len(value); size > maxHeaders {
			return nil, fmt.Sprintf("The headers have more than %d bytes.", maxHeaders)
		}
		if !validHeader(name, value) {
			return nil, fmt.Sprintf("%.40q is not a header that can be sent.", name)
		}
		req.Header.Set(canonical, value)
	}
	return req, ""
}

// validHeader holds names to tokens and values to visible text (RFC 9110, 5.1 and 5.5).
func validHeader(name, value string) bool {
	token := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("!#$%&'*+-.^_`|~", r)
	}
	return name != "" && strings.TrimFunc(name, token) == "" && !strings.ContainsFunc(name, func(r rune) bool { return !token(r) }) &&
		!strings.ContainsFunc(value, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f })
}

// denied is what the model sees of a refusal.
func denied(err error) *cairn.ToolResult {
	e := cairn.AsError(err)
	return said(true, "Not done: %s.", e.Message)
}

// broken says what is known of a request that got no whole answer.
func broken(ctx context.Context, err error, host string, connected bool) (*cairn.ToolResult, error) {
	var e *cairn.Error
	if errors.As(err, &e) && (e.Code == cairn.CodeDenied || e.Code == cairn.CodeToolFailed) {
		return denied(e), nil
	}
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err // without the URL: its query may hold something secret
	}
	e = &cairn.Error{NotDone: !connected, Retryable: true, Err: err}
	switch {
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		e.Code, e.Message = cairn.CodeTimeout, host+" did not answer in time"
	case ctx.Err() != nil:
		e.Code, e.Message, e.Retryable = cairn.CodeCancelled, "stopped", false
	case !connected:
		e.Code, e.Message = cairn.CodeUnavailable, "no connection to "+host
		if dns, ok := errors.AsType[*net.DNSError](err); ok && dns.IsNotFound {
			return said(true, "There is no host %s.", host), nil
		}
	default:
		e.Code, e.Message = cairn.CodeCut, "the connection to "+host+" broke before the whole answer was there"
	}
	return nil, e
}

// outcome makes the result of an answer. What says that the request was not let
// through, or leaves open whether a write was done, is an error.
func (w *web) outcome(ctx context.Context, c tool.Call, a httpArgs, resp *http.Response, reads bool) (*cairn.ToolResult, error) {
	status := strings.TrimSpace(fmt.Sprintf("%d %s", resp.StatusCode, http.StatusText(resp.StatusCode)))
	host := resp.Request.URL.Host
	switch {
	case resp.StatusCode == http.StatusTooManyRequests:
		return nil, &cairn.Error{
			Code: cairn.CodeRateLimited, Message: host + " answered " + status, Retryable: true, NotDone: true,
			RetryAfter: retryAfter(resp.Header.Get("Retry-After")),
		}
	case resp.StatusCode >= 500 && resp.StatusCode != http.StatusNotImplemented && !reads:
		return nil, &cairn.Error{Code: cairn.CodeOverloaded, Message: host + " answered " + status, Retryable: true}
	}
	raw, err := io.ReadAll(io.LimitReader(resp.Body, maxBody+1))
	if err != nil {
		return broken(ctx, err, host, true)
	}
	f := httpFacts{Status: resp.StatusCode, URL: shownURL(resp.Request.URL), Bytes: int64(min(len(raw), maxBody)), Headers: map[string]string{}}
	lines := []string{"HTTP " + status}
	if resp.Request.URL.String() != a.URL && f.URL != a.URL {
		lines = append(lines, "from "+f.URL)
	}
	for _, name := range shownHeaders {
		if v := resp.Header.Get(name); v != "" && len(v) <= 1000 {
			v = strings.ToValidUTF8(v, "\uFFFD")
			f.Headers[strings.ToLower(name)] = v
			if name == "Content-Type" || name == "Location" || name == "Retry-After" {
				lines = append(lines, strings.ToLower(name)+": "+v)
			}
		}
	}
	text, note := readable(raw, resp.Header.Get("Content-Type"), a.Text)
	if len(raw) > maxBody {
		note = append(note, fmt.Sprintf("only the first %s were read", cairn.Bytes(maxBody)))
	}
	lines = append(lines, note...)
	kept := tool.NewCapture(min(shownBody, c.MaxOutput*3/4))
	_, _ = kept.Write([]byte(text)) // never fails
	shown, cut := kept.Bytes()
	r := said(resp.StatusCode >= 400, "%s\n%s", strings.Join(lines, "\n"), separated(string(shown)))
	r.Truncated = cut
	r.Structured, _ = json.Marshal(f) // plain values always encode
	return r, nil
}

// shownURL is a URL without what may be secret in it.
func shownURL(u *url.URL) string {
	c := *u
	c.User = nil
	return c.String()
}

// readable makes text of an answer.
func readable(raw []byte, contentType string, reduce bool) (text string, notes []string) {
	raw = raw[:min(len(raw), maxBody)]
	if len(raw) == 0 {
		return "", []string{"the answer has no content"}
	}
	media, params, err := mime.ParseMediaType(contentType)
	if err != nil {
		media, params, _ = mime.ParseMediaType(http.DetectContentType(raw))
	}
	if !isText(media) || bytes.IndexByte(raw, 0) >= 0 {
		return "", []string{fmt.Sprintf("the answer is no text: %s, %d bytes", media, len(raw))}
	}
	switch strings.ToLower(params["charset"]) {
	case "iso-8859-1", "latin1", "us-ascii", "windows-1252":
		if !utf8.Valid(raw) {
			wide := make([]rune, len(raw))
			for i, c := range raw {
				wide[i] = windows1252(c)
			}
			raw = []byte(string(wide))
		}
	}
	if !utf8.Valid(raw) {
		note := "not valid UTF-8: the bytes shown as \uFFFD are others"
		if set := params["charset"]; set != "" && !strings.EqualFold(set, "utf-8") {
			note += fmt.Sprintf("; the answer says that it is %.40q, which is not read here", set)
		}
		notes = append(notes, note)
	}
	text = strings.ToValidUTF8(string(raw), "\uFFFD")
	if reduce && (media == "text/html" || media == "application/xhtml+xml") {
		return htmlText(text), append(notes, "reduced to its text")
	}
	return text, notes
}

// windows1252 is the character of a byte. What calls itself ISO 8859-1 is read as the
// same (WHATWG Encoding, 4.2), where the bytes 0x80 to 0x9f are no control characters.
func windows1252(c byte) rune {
	const high = "\u20ac\u0081\u201a\u0192\u201e\u2026\u2020\u2021\u02c6\u2030\u0160\u2039\u0152\u008d\u017d\u008f" +
		"\u0090\u2018\u2019\u201c\u201d\u2022\u2013\u2014\u02dc\u2122\u0161\u203a\u0153\u009d\u017e\u0178"
	if c >= 0x80 && c < 0xa0 {
		return []rune(high)[c-0x80]
	}
	return rune(c)
}

func isText(media string) bool {
	kind, sub, _ := strings.Cut(media, "/")
	if kind == "text" || strings.HasSuffix(sub, "+json") || strings.HasSuffix(sub, "+xml") {
		return true
	}
	switch sub {
	case "json", "xml", "javascript", "x-javascript", "yaml", "x-yaml", "toml", "x-www-form-urlencoded", "x-ndjson", "graphql", "sql", "x-sh":
		return true
	}
	return false
}

// retryAfter reads the number of seconds a target asks to wait; other forms are taken
// for none.
func retryAfter(v string) cairn.Duration {
	n, err := strconv.Atoi(strings.TrimSpace(v))
	if err != nil || n < 0 {
		return 0
	}
	return cairn.Duration(min(time.Duration(n)*time.Second, maxRetryAfter))
}
