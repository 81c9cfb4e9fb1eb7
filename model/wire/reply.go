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
	// MaxBody bounds an answer, and all that a stream says, in bytes.
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

// newReply finds out what a reply holds: its first byte says more than its type,
// because servers send an error as JSON where a stream was begun, and streams under
// other types. A web page is no answer: the URL is that of a site, or of a login on
// the way.
func newReply(name string, key cairn.Secret, resp *http.Response) (*Reply, error) {
	b := bufio.NewReader(resp.Body)
	r := &Reply{Header: resp.Header, body: resp.Body, read: b, key: key, name: name}
	first, err := b.Peek(1)
	if err != nil && !errors.Is(err, io.EOF) {
		_ = resp.Body.Close()
		return nil, r.broken(err)
	}
	kind, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	r.Stream = kind == "text/event-stream"
	switch string(first) {
	case "d", "e", "i", "r", ":": // data, event, id, retry, a comment
		r.Stream = true
	case "{", "[":
		r.Stream = false
	case "<":
		_ = resp.Body.Close()
		return nil, &cairn.Error{
			Code: cairn.CodeCut, Retryable: true, NotDone: true,
			Message: name + " answered with a web page: its URL is not that of the API, or a proxy or a login stands between",
		}
	}
	return r, nil
}

// Events reads the reply as a stream; see the function [Events]. CodeCut, too: the
// stream is larger than [MaxBody].
func (r *Reply) Events() iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		for e, err := range Events(&bounded{r.read, MaxBody}) {
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
	return scrub(&cairn.Error{Code: cairn.CodeCut, Retryable: true, Message: "the answer of " + r.name + " broke off", Err: err}, r.key)
}

// bounded fails after so many bytes: what is left out must not look like an end.
type bounded struct {
	io.Reader
	left int64
}

// Read implements io.Reader.
func (b *bounded) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, errTooLarge
	}
	n, err := b.Reader.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	return n, err
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
