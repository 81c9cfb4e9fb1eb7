package traffic

import (
	"bytes"
	"io"
	"net/http"
)

// Transport answers every request with what was recorded. It reads the request to
// its end and keeps nothing of it.
type Transport struct{ Exchange *Exchange }

// RoundTrip implements http.RoundTripper.
func (t *Transport) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Body != nil {
		_, err := io.Copy(io.Discard, req.Body)
		_ = req.Body.Close() // it was in memory
		if err != nil {
			return nil, err
		}
	}
	if err := req.Context().Err(); err != nil {
		return nil, err
	}
	return &http.Response{
		Status: http.StatusText(t.Exchange.Status), StatusCode: t.Exchange.Status,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: t.Exchange.Header.Clone(), ContentLength: int64(len(t.Exchange.Body)),
		Body: io.NopCloser(bytes.NewReader(t.Exchange.Body)), Request: req,
	}, nil
}

// Client is an HTTP client whose every request is answered with the exchange.
func (e *Exchange) Client() *http.Client { return &http.Client{Transport: &Transport{Exchange: e}} }
