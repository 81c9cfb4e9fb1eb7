package client

import (
	"context"
	"io"
	"net/http"
	"strconv"
	"sync"
)

// Local returns a client of a handler in the same process: no socket, no copy
// through the kernel, streams included.
func Local(h http.Handler, token string) *Client {
	return New("http://localhost", token, &http.Client{Transport: Transport(h)})
}

// Transport returns a transport whose requests are answered by a handler in the
// same process.
func Transport(h http.Handler) http.RoundTripper { return &local{h} }

// local is a transport that calls a handler.
type local struct{ handler http.Handler }

// RoundTrip runs the handler in a goroutine of its own, whose context ends with
// the request, and when the body is closed.
func (l *local) RoundTrip(r *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancel(r.Context())
	in := r.Clone(ctx)
	in.RequestURI = r.URL.RequestURI()
	in.Host = r.URL.Host
	in.RemoteAddr = "local"
	if in.Body == nil {
		in.Body = http.NoBody
	}
	pr, pw := io.Pipe()
	w := &localWriter{header: http.Header{}, pipe: pw, started: make(chan struct{})}
	context.AfterFunc(ctx, func() { _ = pr.CloseWithError(ctx.Err()) }) // always nil
	go func() {
		defer func() {
			_ = in.Body.Close() // the handler has had it
			if p := recover(); p != nil {
				w.abort()
				return
			}
			w.finish()
		}()
		l.handler.ServeHTTP(w, in)
	}()
	select {
	case <-ctx.Done():
		cancel()
		return nil, ctx.Err()
	case <-w.started:
	}
	if w.aborted {
		cancel()
		return nil, io.ErrUnexpectedEOF
	}
	return &http.Response{
		Status: strconv.Itoa(w.status) + " " + http.StatusText(w.status), StatusCode: w.status,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: w.sent, Body: &localBody{pr, cancel}, ContentLength: -1, Request: r,
	}, nil
}

type localBody struct {
	*io.PipeReader
	cancel context.CancelFunc
}

// Read ends the request at the end of the body.
func (b *localBody) Read(p []byte) (int, error) {
	n, err := b.PipeReader.Read(p)
	if err != nil {
		b.cancel()
	}
	return n, err
}

// Close ends the request.
func (b *localBody) Close() error {
	b.cancel()
	return b.PipeReader.Close()
}

// localWriter is the response of a handler in the same process.
type localWriter struct {
	header, sent http.Header
	status       int
	pipe         *io.PipeWriter
	once         sync.Once
	started      chan struct{}
	aborted      bool
}

// Header is what will be sent.
func (w *localWriter) Header() http.Header { return w.header }

// WriteHeader lets the client have the response.
func (w *localWriter) WriteHeader(status int) {
	w.once.Do(func() {
		w.status, w.sent = status, w.header.Clone()
		close(w.started)
	})
}

// Write waits until the client has read b.
func (w *localWriter) Write(b []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	return w.pipe.Write(b)
}

// Flush has nothing to do: nothing is held back.
func (w *localWriter) Flush() { w.WriteHeader(http.StatusOK) }

func (w *localWriter) finish() {
	w.WriteHeader(http.StatusOK)
	_ = w.pipe.Close() // always nil
}

func (w *localWriter) abort() {
	w.once.Do(func() {
		w.aborted = true
		close(w.started)
	})
	_ = w.pipe.CloseWithError(io.ErrUnexpectedEOF) // always nil
}
