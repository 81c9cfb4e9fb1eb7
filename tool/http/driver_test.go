package http_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/tool"
	toolhttp "github.com/cairn-run/cairn/tool/http"
	"github.com/cairn-run/cairn/tool/tooltest"
)

// handler is a target as the conformance suite wants it.
func handler(ledger *tooltest.Ledger) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		name := strings.TrimPrefix(r.URL.Path, "/")
		if name != tooltest.Echo && name != tooltest.Fail {
			ledger.Act(r.Header.Get("Idempotency-Key"))
		}
		w.Header().Set("Content-Type", "application/json")
		switch name {
		case tooltest.Echo:
			_, _ = w.Write(body)
		case tooltest.Fail:
			w.WriteHeader(http.StatusNotFound)
			_, _ = io.WriteString(w, `{"error":"no such charge"}`)
		case tooltest.Write:
			_, _ = io.WriteString(w, `{"done":true}`)
		case tooltest.Crash:
			panic(http.ErrAbortHandler)
		case tooltest.Hang:
			<-r.Context().Done()
		case tooltest.Large:
			w.Header().Set("Content-Type", "text/plain")
			_, _ = io.WriteString(w, strings.Repeat("x", tooltest.LargeSize))
		}
	})
}

// nobody is an address at which nobody listens.
func nobody(t *testing.T) string {
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	}()
	return "http://" + l.Addr().String()
}

func newDriver(t *testing.T) *toolhttp.Driver {
	d := toolhttp.New()
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	return d
}

func entry(h cairn.HTTPTool) tool.Target {
	return tool.Target{Tenant: "acme", Agent: "desk", Entry: &cairn.ToolSource{HTTP: &h}}
}

func TestConformance(t *testing.T) {
	t.Parallel()
	tooltest.Run(t, func(t *testing.T) *tooltest.Subject {
		ledger := tooltest.NewLedger(t)
		s := httptest.NewServer(handler(ledger))
		t.Cleanup(s.Close)
		return &tooltest.Subject{
			Driver: newDriver(t),
			Target: func(name string) (tool.Target, string) {
				return entry(cairn.HTTPTool{Name: name, URL: s.URL + "/" + name, InputSchema: json.RawMessage(tooltest.Schema)}), name
			},
			Nobody: entry(cairn.HTTPTool{Name: "x", URL: nobody(t)}),
			Ledger: ledger,
		}
	})
}

func call(h cairn.HTTPTool, args string) tool.Call {
	return tool.Call{
		Target: entry(h), Tool: h.Name, Class: cairn.ClassIrreversible, Args: json.RawMessage(args),
		Key: "key-1", MaxOutput: tool.DefaultMaxOutput,
	}
}

func TestRequest(t *testing.T) {
	t.Parallel()
	type request struct{ Method, URI, Body, Type, Key, Auth string }
	seen := make(chan request, 1)
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		seen <- request{r.Method, r.RequestURI, string(b), r.Header.Get("Content-Type"), r.Header.Get("Idempotency-Key"), r.Header.Get("Authorization")}
	}))
	t.Cleanup(s.Close)
	d := newDriver(t)
	for name, test := range map[string]struct {
		tool cairn.HTTPTool
		args string
		want request
	}{
		"post": {
			cairn.HTTPTool{URL: "/refunds/{id}"},
			`{"amount":5000000000000000001,"id":"ch/1 ä?","note":"<b>"}`,
			request{"POST", "/refunds/ch%2F1%20%C3%A4%3F", `{"amount":5000000000000000001,"note":"<b>"}`, "application/json", "key-1", ""},
		},
		"nothing left for the body": {
			cairn.HTTPTool{Method: "put", URL: "/r/{id}"}, `{"id":7}`, request{"PUT", "/r/7", `{}`, "application/json", "key-1", ""},
		},
		"query": {
			cairn.HTTPTool{Method: "GET", URL: "/s?v=1&q={q}"},
			`{"n":[1,2],"o":{"a":1},"q":"a&b=c","z":null}`,
			request{"GET", "/s?v=1&q=a%26b%3Dc&n=1&n=2&o=%7B%22a%22%3A1%7D", "", "", "key-1", ""},
		},
		"delete": {
			cairn.HTTPTool{Method: "DELETE", URL: "/r/{id}"}, `{"id":"1","force":true}`, request{"DELETE", "/r/1?force=true", "", "", "key-1", ""},
		},
		"headers": {
			cairn.HTTPTool{URL: "/", Headers: map[string]string{"authorization": "Bearer s3cret"}},
			`{}`,
			request{"POST", "/", "{}", "application/json", "key-1", "Bearer s3cret"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			test.tool.URL = s.URL + test.tool.URL
			if _, err := d.Call(t.Context(), call(test.tool, test.args)); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, <-seen); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestArgumentsThatMustNotReachTheURL(t *testing.T) {
	t.Parallel()
	d := newDriver(t)
	for _, args := range []string{`{"id":".."}`, `{"id":"."}`, `{"id":""}`, `{"id":null}`, `{}`} {
		_, err := d.Call(t.Context(), call(cairn.HTTPTool{Method: "DELETE", URL: "http://127.0.0.1:1/items/{id}"}, args))
		e, ok := errors.AsType[*cairn.Error](err)
		if !ok || e.Code != cairn.CodeInvalidArgs || !e.NotDone {
			t.Errorf("%s: %v", args, err)
		}
	}
}

func TestStatuses(t *testing.T) {
	t.Parallel()
	type outcome struct {
		Code               cairn.Code
		NotDone, Retryable bool
		RetryAfter         string
		IsError            bool
		Text               string
	}
	for status, test := range map[int]struct {
		header map[string]string
		body   string
		want   outcome
	}{
		200: {nil, `{"a":1}`, outcome{Text: `{"a":1}`, RetryAfter: "0s"}},
		204: {nil, "", outcome{Text: "HTTP 204 No Content", RetryAfter: "0s"}},
		400: {nil, "bad", outcome{IsError: true, Text: "HTTP 400 Bad Request\nbad", RetryAfter: "0s"}},
		401: {nil, "", outcome{Code: cairn.CodeAuth, RetryAfter: "0s"}},
		408: {nil, "", outcome{Code: cairn.CodeTimeout, Retryable: true, RetryAfter: "0s"}},
		409: {nil, "", outcome{IsError: true, Text: "HTTP 409 Conflict", RetryAfter: "0s"}},
		429: {map[string]string{"Retry-After": "7"}, "", outcome{Code: cairn.CodeRateLimited, NotDone: true, Retryable: true, RetryAfter: "7s"}},
		500: {nil, "", outcome{Code: cairn.CodeOverloaded, Retryable: true, RetryAfter: "0s"}},
		501: {nil, "", outcome{Code: cairn.CodeToolFailed, RetryAfter: "0s"}},
		503: {
			map[string]string{"Date": "Fri, 20 Nov 2026 07:00:00 GMT", "Retry-After": "Fri, 20 Nov 2026 07:02:00 GMT"},
			"",
			outcome{Code: cairn.CodeOverloaded, Retryable: true, RetryAfter: "2m0s"},
		},
	} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			t.Parallel()
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "application/json")
				for k, v := range test.header {
					w.Header().Set(k, v)
				}
				w.WriteHeader(status)
				_, _ = io.WriteString(w, test.body)
			}))
			t.Cleanup(s.Close)
			r, err := newDriver(t).Call(t.Context(), call(cairn.HTTPTool{URL: s.URL}, `{}`))
			got := outcome{RetryAfter: "0s"}
			if e, ok := errors.AsType[*cairn.Error](err); ok {
				got = outcome{Code: e.Code, NotDone: e.NotDone, Retryable: e.Retryable, RetryAfter: e.RetryAfter.String()}
			} else {
				got.IsError, got.Text = r.IsError, cairn.TextOf(r.Content)
			}
			if d := cmp.Diff(test.want, got); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestRedirects(t *testing.T) {
	t.Parallel()
	var writes atomic.Int32
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("another host was asked") }))
	t.Cleanup(other.Close)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			writes.Add(1)
		}
		switch r.URL.Path {
		case "/away":
			http.Redirect(w, r, other.URL, http.StatusFound)
		case "/moved":
			http.Redirect(w, r, "/here", http.StatusTemporaryRedirect)
		case "/see":
			http.Redirect(w, r, "/here", http.StatusSeeOther)
		case "/limited":
			http.Redirect(w, r, "/full", http.StatusSeeOther)
		case "/full":
			w.WriteHeader(http.StatusTooManyRequests)
		case "/here":
			_, _ = io.WriteString(w, "here")
		}
	}))
	t.Cleanup(s.Close)
	d := newDriver(t)
	for _, test := range []struct {
		method, path string
		code         cairn.Code
	}{
		{"GET", "/moved", ""},
		{"POST", "/see", ""},                     // the answer to a write is read elsewhere
		{"POST", "/moved", cairn.CodeToolFailed}, // a write is not sent again
		{"POST", "/away", cairn.CodeCut},
		{"POST", "/limited", cairn.CodeCut}, // the write was done: 429 is not its answer
		{"GET", "/away", cairn.CodeCut},
	} {
		_, err := d.Call(t.Context(), call(cairn.HTTPTool{Method: test.method, URL: s.URL + test.path}, `{}`))
		e, ok := errors.AsType[*cairn.Error](err)
		if got := cairn.CodeOf(err); got != test.code || (ok && e.NotDone) {
			t.Errorf("%s %s: %v, want %q", test.method, test.path, err, test.code)
		}
	}
	if n := writes.Load(); n != 4 {
		t.Errorf("%d writes were sent, want 4", n)
	}
}

// TestNothingIsSentTwice holds net/http to it: on a connection that was used
// before and breaks, it would send a request with an Idempotency-Key, or a GET,
// once more.
func TestNothingIsSentTwice(t *testing.T) {
	t.Parallel()
	for _, method := range []string{"GET", "POST", "DELETE"} {
		for _, http2 := range []bool{false, true} {
			t.Run(fmt.Sprint(method, " http2=", http2), func(t *testing.T) {
				t.Parallel()
				var sent atomic.Int32
				s := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
					if r.URL.Path == "/crash" {
						sent.Add(1)
						panic(http.ErrAbortHandler)
					}
					if r.ProtoMajor == 2 != http2 {
						t.Errorf("got %s", r.Proto)
					}
				}))
				d := newDriver(t)
				if s.EnableHTTP2 = http2; http2 {
					s.StartTLS()
					d.Trust(s.Client().Transport.(*http.Transport).TLSClientConfig)
				} else {
					s.Start()
				}
				t.Cleanup(s.Close)
				h := cairn.HTTPTool{Method: method, URL: s.URL + "/ok", Headers: map[string]string{"X-Idempotency-Key": "1"}}
				for range 3 {
					if _, err := d.Call(t.Context(), call(h, `{}`)); err != nil {
						t.Fatal(err)
					}
				}
				h.URL = s.URL + "/crash"
				_, err := d.Call(t.Context(), call(h, `{}`))
				if e, ok := errors.AsType[*cairn.Error](err); !ok || e.NotDone || e.Code != cairn.CodeCut {
					t.Errorf("%v", err)
				}
				if n := sent.Load(); n != 1 {
					t.Errorf("sent %d times", n)
				}
			})
		}
	}
}

func TestHalfAnAnswer(t *testing.T) {
	t.Parallel()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "100")
		_, _ = io.WriteString(w, `{"done":`)
	}))
	t.Cleanup(s.Close)
	_, err := newDriver(t).Call(t.Context(), call(cairn.HTTPTool{URL: s.URL}, `{}`))
	if e, ok := errors.AsType[*cairn.Error](err); !ok || e.Code != cairn.CodeCut || e.NotDone {
		t.Errorf("%v", err)
	}
}

func TestErrorsHoldNoSecrets(t *testing.T) {
	t.Parallel()
	h := cairn.HTTPTool{URL: nobody(t) + "/x?api_key=s3cret", Headers: map[string]string{"Authorization": "s3cret"}}
	_, err := newDriver(t).Call(t.Context(), call(h, `{}`))
	if err == nil || strings.Contains(err.Error(), "s3cret") {
		t.Errorf("%v", err)
	}
}

func TestKinds(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		media, body string
		kind        cairn.PartKind
		structured  string
	}{
		{"application/json; charset=utf-8", `{"n":12345678901234567890}`, cairn.PartText, `{"n":12345678901234567890}`},
		{"application/problem+json", `[1]`, cairn.PartText, `[1]`},
		{"application/json", `{"broken"`, cairn.PartText, ""},
		{"text/plain", `{"a":1}`, cairn.PartText, ""},
		{"image/png", "\x89PNG", cairn.PartImage, ""},
		{"application/pdf", "%PDF", cairn.PartFile, ""},
	} {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", test.media)
			_, _ = io.WriteString(w, test.body)
		}))
		t.Cleanup(s.Close)
		r, err := newDriver(t).Call(t.Context(), call(cairn.HTTPTool{Method: "GET", URL: s.URL}, `{}`))
		if err != nil {
			t.Fatal(err)
		}
		if len(r.Content) != 1 || r.Content[0].Kind != test.kind || string(r.Structured) != test.structured {
			t.Errorf("%s: %+v", test.media, r)
		}
	}
}

func TestValidate(t *testing.T) {
	t.Parallel()
	d := newDriver(t)
	for field, h := range map[string]cairn.HTTPTool{
		"":                {URL: "https://api.example.com/refunds/{charge_id}?v={v}"},
		"http.url":        {URL: "https://{host}/refunds"},
		"http.method":     {URL: "https://a.example", Method: "CONNECT"},
		"http.headers.A:": {URL: "https://a.example", Headers: map[string]string{"A:": "x"}},
		"http.headers.A":  {URL: "https://a.example", Headers: map[string]string{"A": "x\r\nB: y"}},
	} {
		err := d.Validate(&cairn.ToolSource{HTTP: &h})
		f, _ := errors.AsType[*cairn.FieldError](err)
		if (field == "") != (err == nil) || (f != nil && f.Path != field) {
			t.Errorf("%q: %v", field, err)
		}
	}
	for _, url := range []string{"", "api.example.com", "ftp://a.example", "https://", "https://u:p@a.example", "https://a.example/{", "https://a.example/{a b}", "https://a.example/#x"} {
		if err := d.Validate(&cairn.ToolSource{HTTP: &cairn.HTTPTool{URL: url}}); err == nil {
			t.Errorf("%q is taken", url)
		}
	}
}

func FuzzURL(f *testing.F) {
	f.Add("https://a.example/x/{id}?q={q}", "..", "a&b")
	f.Fuzz(func(t *testing.T, url, id, q string) {
		d := toolhttp.New()
		h := cairn.HTTPTool{Method: "GET", URL: url}
		if d.Validate(&cairn.ToolSource{HTTP: &h}) != nil {
			return
		}
		args, err := json.Marshal(map[string]string{"id": id, "q": q})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel() // the request is made, and never sent
		_, err = d.Call(ctx, call(h, string(args)))
		if e, ok := errors.AsType[*cairn.Error](err); !ok || !e.NotDone {
			t.Fatalf("%v", err)
		}
	})
}
