package api

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"runtime/debug"
	"strings"
	"time"

	"github.com/cairn-run/cairn"
)

func hostSet(names []string) map[string]bool {
	set := map[string]bool{"localhost": true}
	for _, n := range names {
		set[strings.ToLower(n)] = true
	}
	return set
}

func originSet(origins []string) map[string]bool {
	set := map[string]bool{}
	for _, o := range origins {
		set[strings.ToLower(strings.TrimSuffix(o, "/"))] = true
	}
	return set
}

// hostAllowed says whether the server may be called by this name. Addresses
// always may: a page cannot claim one by changing its DNS.
func (a *API) hostAllowed(hostport string) bool {
	host := hostport
	if h, _, err := net.SplitHostPort(hostport); err == nil {
		host = h
	}
	host = strings.ToLower(strings.Trim(host, "[]"))
	return net.ParseIP(host) != nil || a.hosts[host] || strings.HasSuffix(host, ".localhost")
}

// guard refuses what a browser sends on behalf of a page that is not the API's
// own: pages of other origins, and names that are not this server's. It
// returns the origin that may read the response; empty: the request has none, or
// its own.
func (a *API) guard(r *http.Request) (origin string, err error) {
	if overSocket(r.Context()) {
		return "", nil // browsers cannot reach it
	}
	if !a.hostAllowed(r.Host) {
		return "", cairn.Errorf(cairn.CodeDenied,
			"this server is not called %q: use its address or localhost, or let it have the name (cairn serve --host)", r.Host)
	}
	origin = r.Header.Get("Origin")
	if origin == "" {
		switch r.Header.Get("Sec-Fetch-Site") {
		case "", "same-origin", "none":
			return "", nil
		}
		return "", cairn.Errorf(cairn.CodeDenied, "a page of another site may not call this server")
	}
	if a.origins[strings.ToLower(origin)] {
		return origin, nil
	}
	u, err := url.Parse(origin)
	if err != nil || u.Host == "" || !strings.EqualFold(u.Host, r.Host) {
		return "", cairn.Errorf(cairn.CodeDenied,
			"a page of another origin may not call this server: let it, if it should (cairn serve --origin)")
	}
	return "", nil
}

// preflight answers a browser that asks what a page of an allowed origin may do.
func preflight(w http.ResponseWriter) {
	h := w.Header()
	h.Set("Access-Control-Allow-Methods", "GET, POST")
	h.Set("Access-Control-Allow-Headers", "Authorization, Content-Type, Idempotency-Key, Last-Event-ID")
	h.Set("Access-Control-Max-Age", "600")
	w.WriteHeader(http.StatusNoContent)
}

// ServeHTTP guards, authenticates and routes a request.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	rec := &recorder{ResponseWriter: w}
	began := time.Now()
	defer func() {
		if p := recover(); p != nil {
			if p == http.ErrAbortHandler { //nolint:errorlint // net/http compares it the same way
				panic(p)
			}
			err := fmt.Errorf("panic: %v", p)
			if r.Context().Err() == nil {
				a.Logger.Error("api: panic", "path", r.URL.Path, "error", err, "stack", string(debug.Stack()))
			}
			if rec.status == 0 {
				a.refuse(rec, r, err)
			}
		}
		a.Logger.Debug("api: request", "method", r.Method, "path", r.URL.Path, "status", rec.status, "took", time.Since(began))
	}()

	h := rec.Header()
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-store")
	h.Add("Vary", "Origin")
	origin, err := a.guard(r)
	if err != nil {
		a.refuse(rec, r, err)
		return
	}
	if origin != "" {
		h.Set("Access-Control-Allow-Origin", origin)
		h.Set("Access-Control-Expose-Headers", "Location, Retry-After")
		if r.Method == http.MethodOptions {
			preflight(rec)
			return
		}
	}
	if !open(r.URL.Path) {
		id, err := a.authenticate(r)
		if err != nil {
			h.Set("WWW-Authenticate", "Bearer")
			a.refuse(rec, r, err)
			return
		}
		r = r.WithContext(context.WithValue(r.Context(), identityKey{}, id))
	}
	handler, pattern := a.mux.Handler(r)
	if pattern == "" {
		a.noRoute(rec, r, handler)
		return
	}
	a.mux.ServeHTTP(rec, r)
}

// noRoute answers what the mux has no route for, with a body of the API's form.
func (a *API) noRoute(w http.ResponseWriter, r *http.Request, handler http.Handler) {
	probe := &discard{header: http.Header{}}
	handler.ServeHTTP(probe, r)
	if probe.status == http.StatusMethodNotAllowed {
		allow := probe.header.Get("Allow")
		w.Header().Set("Allow", allow)
		a.write(w, r, newError(http.StatusMethodNotAllowed, cairn.CodeInvalid,
			fmt.Sprintf("%s is not possible here; there is %s", r.Method, allow)))
		return
	}
	a.refuse(w, r, cairn.Errorf(cairn.CodeNotFound, "there is nothing at this path; see /v1/openapi.json"))
}

// discard keeps what a handler of the mux says without sending it.
type discard struct {
	header http.Header
	status int
}

func (d *discard) Header() http.Header         { return d.header }
func (d *discard) Write(b []byte) (int, error) { return len(b), nil }
func (d *discard) WriteHeader(status int)      { d.status = status }

// recorder remembers the status that was sent.
type recorder struct {
	http.ResponseWriter
	status int
}

// WriteHeader remembers the status and sends it.
func (r *recorder) WriteHeader(status int) {
	if r.status == 0 {
		r.status = status
	}
	r.ResponseWriter.WriteHeader(status)
}

// Write sends a piece of the body.
func (r *recorder) Write(b []byte) (int, error) {
	if r.status == 0 {
		r.status = http.StatusOK
	}
	return r.ResponseWriter.Write(b)
}

// Unwrap gives http.ResponseController the writer below.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }
