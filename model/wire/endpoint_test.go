package wire

import (
	"bufio"
	"context"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/model"
)

// serve starts a server and returns an endpoint for it, with connections of its own.
func serve(t *testing.T, h http.HandlerFunc) *Endpoint {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	return &Endpoint{Name: "acme", URL: s.URL, Client: &http.Client{Transport: transport}, Key: keyOf("sk-secret-secret")}
}

func keyOf(s string) func(context.Context) (cairn.Secret, error) {
	return func(context.Context) (cairn.Secret, error) { return cairn.NewSecret(s), nil }
}

func TestRequest(t *testing.T) {
	t.Parallel()
	type seen struct {
		Method, URL, Body string
		Header            map[string]string
	}
	var got seen
	e := serve(t, func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		got = seen{r.Method, r.URL.String(), string(b), map[string]string{}}
		for _, k := range []string{"Authorization", "X-Api-Key", "Content-Type", "X-More", "Idempotency-Key"} {
			if v := r.Header.Get(k); v != "" {
				got.Header[k] = v
			}
		}
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
		_, _ = io.WriteString(w, `{}`)
	})
	e.URL += "/base/?api-version=1"
	e.Query = map[string]string{"q": "a b"}
	e.Header = map[string]string{"x-more": "yes", "idempotency-key": "no"}
	post := func() {
		t.Helper()
		r, err := e.Post(t.Context(), "/v1/messages", []byte(`{"a":1}`))
		if err != nil {
			t.Fatal(err)
		}
		if r.Stream {
			t.Error("taken for a stream")
		}
		if b, err := r.All(); err != nil || string(b) != `{}` {
			t.Errorf("%s, %v", b, err)
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}
	post()
	want := seen{"POST", "/base/v1/messages?api-version=1&q=a+b", `{"a":1}`, map[string]string{
		"Authorization": "Bearer sk-secret-secret", "Content-Type": "application/json", "X-More": "yes",
	}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	e.KeyHeader = "X-Api-Key"
	post()
	want.Header = map[string]string{"X-Api-Key": "sk-secret-secret", "Content-Type": "application/json", "X-More": "yes"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	e.Key = keyOf("")
	post()
	delete(want.Header, "X-Api-Key")
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	r, err := e.Get(t.Context(), "/v1/models?limit=5&q=z")
	if err != nil {
		t.Fatal(err)
	}
	_ = r.Close()
	want = seen{"GET", "/base/v1/models?api-version=1&limit=5&q=z", "", map[string]string{"X-More": "yes"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// TestRedirect: a redirect is an error, and what it points to is never asked: the
// key would go there.
func TestRedirect(t *testing.T) {
	t.Parallel()
	var asked atomic.Int32
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked.Add(1) }))
	defer other.Close()
	for _, status := range []int{301, 302, 303, 307, 308} {
		e := serve(t, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, other.URL, status) })
		for _, client := range []*http.Client{e.Client, {Transport: e.Client.Transport, CheckRedirect: func(*http.Request, []*http.Request) error { return nil }}} {
			e.Client = client
			_, err := e.Post(t.Context(), "/x", []byte(`{}`))
			if cairn.CodeOf(err) != cairn.CodeInvalid {
				t.Errorf("%d: %v", status, err)
			}
		}
	}
	if n := asked.Load(); n != 0 {
		t.Errorf("%d requests were redirected", n)
	}
}

// TestOnce: a server that takes a request and hangs up has it once, on a fresh
// connection and on one that was used before, with a header that net/http takes
// for leave to repeat, too.
func TestOnce(t *testing.T) {
	t.Parallel()
	var n atomic.Int32
	e := serve(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		if n.Add(1) == 1 {
			w.Header().Set("Content-Type", "application/json")
			return
		}
		c, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		_ = c.Close()
	})
	e.Header = map[string]string{"Idempotency-Key": "x", "X-Idempotency-Key": "x"}
	r, err := e.Post(t.Context(), "/x", []byte(`{}`))
	if err != nil {
		t.Fatal(err)
	}
	_, _ = r.All()
	_ = r.Close()
	for i := range 3 {
		before := n.Load()
		_, err = e.Post(t.Context(), "/x", []byte(`{}`))
		f := model.AsFailure(err)
		if f.Err.Code != cairn.CodeCut || !f.Err.Retryable || f.Err.NotDone {
			t.Errorf("%d: %v", i, err)
		}
		if got := n.Load() - before; got != 1 {
			t.Errorf("%d: the server had the request %d times", i, got)
		}
	}
}

func TestKinds(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		kind, body string
		stream     bool
	}{
		"stream":         {"text/event-stream; charset=utf-8", "data: a\n\n", true},
		"json":           {"application/json", "{}", false},
		"stream unnamed": {"text/plain", "data: a\n\n", true},
		"event first":    {"text/plain", "event: x\ndata: a\n\n", true},
		"comment first":  {"application/octet-stream", ": hi\n\ndata: a\n\n", true},
		"json unnamed":   {"text/plain", "{}", false},
		"stream as JSON": {"application/json", "data: a\n\n", true},
		"JSON as stream": {"text/event-stream", `{"error":"no"}`, false},
		"nothing":        {"text/plain", "", false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := serve(t, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", test.kind)
				_, _ = io.WriteString(w, test.body)
			})
			r, err := e.Post(t.Context(), "/x", nil)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = r.Close() }()
			if r.Stream != test.stream {
				t.Fatalf("stream is %t", r.Stream)
			}
			if r.Stream {
				n := 0
				for e, err := range r.Events() {
					n++
					if err != nil || string(e.Data) != "a" {
						t.Errorf("%s, %v", e.Data, err)
					}
				}
				if n != 1 {
					t.Errorf("%d events", n)
				}
				return
			}
			if b, err := r.All(); err != nil || string(b) != test.body {
				t.Errorf("%q, %v", b, err)
			}
		})
	}
}

// TestPage: a web page, whatever it calls itself, is a wrong URL or a login.
func TestPage(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"text/html; charset=utf-8", "text/event-stream", "application/json", ""} {
		e := serve(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", kind)
			_, _ = io.WriteString(w, "<!doctype html>")
		})
		_, err := e.Post(t.Context(), "/x", nil)
		if f := model.AsFailure(err); f.Err.Code != cairn.CodeCut || !strings.Contains(f.Err.Message, "web page") {
			t.Errorf("%q: %+v", kind, f.Err)
		}
	}
}

// TestErrorStays: an error whose body does not end is told all the same.
func TestErrorStays(t *testing.T) {
	t.Parallel()
	e := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusTooManyRequests)
		_, _ = io.WriteString(w, "slower")
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	})
	_, err := e.Post(t.Context(), "/x", []byte(`{}`)) // returns, or the test does not end
	if f := model.AsFailure(err); f.Err.Code != cairn.CodeRateLimited || !strings.Contains(f.Err.Message, "slower") {
		t.Errorf("%+v", f.Err)
	}
}

func listenAny(t *testing.T) net.Listener {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// raw answers each connection with the same bytes and closes it.
func raw(t *testing.T, answer string) *Endpoint {
	t.Helper()
	l := listenAny(t)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			req, err := http.ReadRequest(bufio.NewReader(c))
			if err == nil {
				_, _ = io.Copy(io.Discard, req.Body)
				_, _ = io.WriteString(c, answer)
			}
			_ = c.Close()
		}
	}()
	t.Cleanup(func() { _ = l.Close(); <-done })
	return &Endpoint{Name: "acme", URL: "http://" + l.Addr().String(), Client: &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}}
}

func TestCut(t *testing.T) {
	t.Parallel()
	head := "HTTP/1.1 200 OK\r\nContent-Type: "
	for name, answer := range map[string]string{
		"before anything": "",
		"in the head":     "HTTP/1.1 200 OK\r\nConte",
		"no HTTP":         "hello\r\n\r\n",
		"in a document":   head + "application/json\r\nContent-Length: 10\r\n\r\n{",
		"in a stream":     head + "text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n5\r\ndata:\r\n",
		"before a byte":   head + "text/plain\r\nContent-Length: 10\r\n\r\n",
	} {
		e := raw(t, answer)
		r, err := e.Post(t.Context(), "/x", []byte(`{}`))
		if err == nil {
			if r.Stream {
				for _, err = range r.Events() {
					if err != nil {
						break
					}
				}
			} else {
				_, err = r.All()
			}
			_ = r.Close()
		}
		if err == nil {
			t.Errorf("%s: no error", name)
			continue
		}
		if f := model.AsFailure(err); f.Err.Code != cairn.CodeCut || !f.Err.Retryable || f.Err.NotDone {
			t.Errorf("%s: %v", name, f)
		}
	}
}

func TestUnreachable(t *testing.T) {
	t.Parallel()
	plain := serve(t, func(http.ResponseWriter, *http.Request) {})
	plain.URL = strings.Replace(plain.URL, "http:", "https:", 1)
	strange := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	strange.Config.ErrorLog = log.New(io.Discard, "", 0)
	strange.StartTLS()
	defer strange.Close()
	closed := serve(t, func(http.ResponseWriter, *http.Request) {})
	l := listenAny(t)
	closed.URL = "http://" + l.Addr().String()
	_ = l.Close()
	tests := map[string]struct {
		e    *Endpoint
		want cairn.Error
	}{
		"no TLS":      {plain, cairn.Error{Code: cairn.CodeUnavailable, NotDone: true}},
		"certificate": {&Endpoint{Name: "acme", URL: strange.URL}, cairn.Error{Code: cairn.CodeUnavailable, NotDone: true}},
		"closed":      {closed, cairn.Error{Code: cairn.CodeUnavailable, NotDone: true, Retryable: true}},
		"no URL":      {&Endpoint{Name: "acme"}, cairn.Error{Code: cairn.CodeInvalid, NotDone: true}},
		"no scheme":   {&Endpoint{Name: "acme", URL: "example.com/x"}, cairn.Error{Code: cairn.CodeInvalid, NotDone: true}},
		"a file":      {&Endpoint{Name: "acme", URL: "file:///etc/passwd"}, cairn.Error{Code: cairn.CodeInvalid, NotDone: true}},
		"no key": {
			&Endpoint{Name: "acme", URL: closed.URL, Key: func(context.Context) (cairn.Secret, error) { return cairn.Secret{}, errors.New("locked") }},
			cairn.Error{Code: cairn.CodeAuth, NotDone: true},
		},
		"no key, typed": {
			&Endpoint{Name: "acme", URL: closed.URL, Key: func(context.Context) (cairn.Secret, error) {
				return cairn.Secret{}, &cairn.Error{Code: cairn.CodeNotFound, Message: "no such secret"}
			}},
			cairn.Error{Code: cairn.CodeNotFound, NotDone: true},
		},
		"a line in the key": {&Endpoint{Name: "acme", URL: closed.URL, Key: keyOf("sk-secret\n")}, cairn.Error{Code: cairn.CodeAuth, NotDone: true}},
	}
	// What stops a request before it is sent costs nothing.
	with := func(transport *http.Transport, change func(*Endpoint)) *Endpoint {
		e := &Endpoint{Name: "acme", URL: "https://acme.example", Key: keyOf("sk-secret-secret"), Client: &http.Client{Transport: transport}}
		if change != nil {
			change(e)
		}
		return e
	}
	proxy := func(at string) *http.Transport {
		return &http.Transport{
			Proxy:                  func(*http.Request) (*url.URL, error) { return url.Parse(at) },
			OnProxyConnectResponse: proxyAnswered,
		}
	}
	refusing := serve(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusProxyAuthRequired) })
	deaf := listenAny(t) // hangs up when TLS begins
	go func() {
		for {
			c, err := deaf.Accept()
			if err != nil {
				return
			}
			_ = c.Close()
		}
	}()
	t.Cleanup(func() { _ = deaf.Close() })
	for name, test := range map[string]struct {
		e    *Endpoint
		want cairn.Error
	}{
		"no proxy":      {with(proxy(closed.URL), nil), cairn.Error{Code: cairn.CodeUnavailable, NotDone: true, Retryable: true}},
		"proxy refuses": {with(proxy(refusing.URL), nil), cairn.Error{Code: cairn.CodeUnavailable, NotDone: true}},
		"TLS hangs up": {
			with(&http.Transport{}, func(e *Endpoint) { e.URL = "https://" + deaf.Addr().String() }),
			cairn.Error{Code: cairn.CodeUnavailable, NotDone: true, Retryable: true},
		},
		"header's name":   {with(&http.Transport{}, func(e *Endpoint) { e.KeyHeader = "X Key:" }), cairn.Error{Code: cairn.CodeInvalid, NotDone: true}},
		"header's value":  {with(&http.Transport{}, func(e *Endpoint) { e.Header = map[string]string{"X-A": "b\r\nX-C: d"} }), cairn.Error{Code: cairn.CodeInvalid, NotDone: true}},
		"quoting a key":   {quoting(t, "HTTP/1.1 200 OK\r\nBearer sk-secret-secret\r\n\r\n"), cairn.Error{Code: cairn.CodeCut, Retryable: true}},
		"quoting a piece": {quoting(t, "HTTP/1.1 SECRET-SECRET\r\n\r\n"), cairn.Error{Code: cairn.CodeCut, Retryable: true}},
	} {
		tests[name] = test
	}
	for name, test := range tests {
		_, err := test.e.Post(t.Context(), "/x", []byte(`{}`))
		e := model.AsFailure(err).Err
		if got := (cairn.Error{Code: e.Code, Retryable: e.Retryable, NotDone: e.NotDone}); got != test.want {
			t.Errorf("%s: %+v, want %+v: %v", name, got, test.want, err)
		}
		if said := strings.ToLower(err.Error()); strings.Contains(said, "sk-secret") || strings.Contains(said, "secret-secret") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// quoting answers with bytes that are no HTTP and quote the key.
func quoting(t *testing.T, answer string) *Endpoint {
	t.Helper()
	e := raw(t, answer)
	e.Key = keyOf("sk-secret-secret")
	return e
}

// TestCancelBefore: a call that ends while there is no connection yet bought nothing,
// and the reason that others read is not changed.
func TestCancelBefore(t *testing.T) {
	t.Parallel()
	reason := &cairn.Error{Code: cairn.CodeInterrupted, Message: "sk-secret-secret"}
	for name, cause := range map[string]error{"cancelled": nil, "interrupted": reason} {
		ctx, cancel := context.WithCancelCause(t.Context())
		begun := make(chan struct{})
		e := &Endpoint{Name: "acme", URL: "http://acme.example", Key: keyOf("sk-secret-secret"), Client: &http.Client{Transport: &http.Transport{
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				close(begun)
				<-ctx.Done()
				return nil, ctx.Err()
			},
		}}}
		go func() { <-begun; cancel(cause) }()
		_, err := e.Post(ctx, "/x", []byte(`{}`))
		if f := model.AsFailure(err); !f.Err.NotDone || f.Err.Retryable || f.Err.Code != cairn.CodeCancelled && f.Err.Code != cairn.CodeInterrupted {
			t.Errorf("%s: %+v", name, f.Err)
		}
	}
	if reason.NotDone || reason.Message != "sk-secret-secret" {
		t.Errorf("the reason was changed: %+v", reason)
	}
}

// endless says the same for ever.
type endless struct{ say string }

func (e endless) Read(p []byte) (int, error) {
	n := 0
	for n < len(p) {
		n += copy(p[n:], e.say)
	}
	return n, nil
}

// TestBounded: a stream without an end, of events, comments or blank lines, is given
// up, and does not look like one that is over.
func TestBounded(t *testing.T) {
	t.Parallel()
	for _, say := range []string{"data: x\n\n", ": x\n", "\n"} {
		var last error
		for _, err := range Events(&bounded{endless{say}, 1 << 20}) {
			last = err
		}
		if cairn.CodeOf(last) != cairn.CodeCut {
			t.Errorf("%q: ended with %v", say, last)
		}
	}
}

// TestURLUnsaid: a URL may hold a credential, so errors do not hold the URL.
func TestURLUnsaid(t *testing.T) {
	t.Parallel()
	l := listenAny(t)
	_ = l.Close()
	e := &Endpoint{Name: "acme", URL: "http://" + l.Addr().String() + "/hidden", Query: map[string]string{"key": "hidden"}}
	_, err := e.Post(t.Context(), "/x", []byte(`{}`))
	if err == nil || strings.Contains(err.Error(), "hidden") {
		t.Error(err)
	}
	if _, ok := errors.AsType[*url.Error](err); ok {
		t.Error("it is a url.Error")
	}
}

// oneEvent reads the first event of a stream.
func oneEvent(t *testing.T, r *Reply) {
	t.Helper()
	for _, err := range r.Events() {
		if err != nil {
			t.Error(err)
		}
		return
	}
	t.Error("no event")
}

// TestDrain: after an answer that was read to its last event the connection is used
// again.
func TestDrain(t *testing.T) {
	t.Parallel()
	from := map[string]bool{}
	e := serve(t, func(w http.ResponseWriter, r *http.Request) {
		from[r.RemoteAddr] = true
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(w, "data: a\n\n")
		_ = http.NewResponseController(w).Flush()
		_, _ = io.WriteString(w, ": end\n\n")
	})
	for range 3 {
		r, err := e.Post(t.Context(), "/x", []byte(`{}`))
		if err != nil {
			t.Fatal(err)
		}
		oneEvent(t, r)
		r.Drain()
		_ = r.Close()
	}
	if len(from) != 1 {
		t.Errorf("%d connections", len(from))
	}
}

// TestDrainEnds: a server that never ends its answer does not hold anybody.
func TestDrainEnds(t *testing.T) {
	t.Parallel()
	e := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(w, "data: a\n\n")
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	})
	r, err := e.Post(t.Context(), "/x", []byte(`{}`))
	if err != nil {
		t.Fatal(err)
	}
	oneEvent(t, r)
	r.Drain() // returns, or the test does not end
	_ = r.Close()
}

// TestCancel: what ends a call is told from what breaks it.
func TestCancel(t *testing.T) {
	t.Parallel()
	e := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(w, "data: a\n\n")
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	r, err := e.Post(ctx, "/x", []byte(`{}`))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	var last error
	for _, err := range r.Events() {
		cancel()
		last = err
	}
	if !errors.Is(last, context.Canceled) {
		t.Errorf("ended with %v", last)
	}
}

func TestCompact(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"{ \"a\" : \"<b> \u2028\" }\n": "{\"a\":\"<b> \u2028\"}", "not json": "not json", "": "",
	} {
		if got := string(Compact([]byte(in))); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	b, err := Encode(map[string]string{"a": "<&>"})
	if err != nil || string(b) != `{"a":"<&>"}` {
		t.Errorf("%s, %v", b, err)
	}
}
