package wire

import (
	"bufio"
	"errors"
	"io"
	"iter"
	"mime"
	"net/http"
	"time"

	"github.com/cairn-run/cairn"
)

const (
	// MaxBody bounds an answer that is not a stream, in bytes.
	MaxBody = 256 << 20
	// maxRest and restTime bound what is read after the end of an answer, in bytes
	// and in time.
	maxRest  = 16 << 10
	restTime = 50 * time.Millisecond
)

// Reply is what a provider began to answer. It has to be closed.
type Reply struct {
	Stream bool // server-sent events follow, else one JSON document
	Header http.Header
	body   io.ReadCloser
	read   io.Reader
	key    cairn.Secret
	name   string
}

// newReply finds out what a reply holds. A server that names neither of the two
// types is judged by its first byte.
func newReply(name string, key cairn.Secret, resp *http.Response) (*Reply, error) {
	r := &Reply{Header: resp.Header, body: resp.Body, read: resp.Body, key: key, name: name}
	kind, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	switch kind {
	case "text/event-stream":
		r.Stream = true
	case "application/json":
	default:
		b := bufio.NewReader(resp.Body)
		r.read = b
		first, err := b.Peek(1)
		if err != nil && !errors.Is(err, io.EOF) {
			_ = resp.Body.Close()
			return nil, r.broken(err)
		}
		r.Stream = len(first) > 0 && (first[0] == 'd' || first[0] == 'e' || first[0] == ':') // data, event, a comment
	}
	return r, nil
}

// Events reads the reply as a stream; see the function [Events].
func (r *Reply) Events() iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		for e, err := range Events(r.read) {
			if err != nil {
				err = r.broken(err)
			}
			if !yield(e, err) {
				return
			}
		}
	}
}

// All reads the whole reply. CodeCut: it is larger than [MaxBody].
func (r *Reply) All() ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r.read, MaxBody+1))
	if err != nil {
		return nil, r.broken(err)
	}
	if len(b) > MaxBody {
		return nil, &cairn.Error{Code: cairn.CodeCut, Message: "the answer of " + r.name + " is too large"}
	}
	return b, nil
}

// broken types the error of a body: whatever ends one that had begun, other than
// the caller or a time-out, cut it off. HTTP/2 has its own words for that.
func (r *Reply) broken(err error) error {
	if known(err) {
		return err
	}
	return &cairn.Error{Code: cairn.CodeCut, Retryable: true, Message: "the answer of " + r.name + " broke off", Err: err}
}

// Failed types an error that the provider reports inside a reply it had accepted:
// body is a JSON document with an error in one of the forms that [Classify] reads.
// What it said until then was worked on, so it is never "not done".
func (r *Reply) Failed(body []byte) *cairn.Error {
	e := scrub(Classify(r.name, 0, r.Header, body), r.key)
	e.NotDone = false
	return e
}

// Drain reads the little that may follow the last event, so that the connection
// can be used again. It gives up soon; call it after the answer was passed on.
func (r *Reply) Drain() {
	stop := time.AfterFunc(restTime, func() { _ = r.body.Close() })
	defer stop.Stop()
	_, _ = io.CopyN(io.Discard, r.read, maxRest) // only the connection is at stake
}

// Close ends the reply.
func (r *Reply) Close() error { return r.body.Close() }
