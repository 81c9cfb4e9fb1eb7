package api

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/cairn-run/cairn"
)

// Bounds of what is sent and received as a stream of bytes.
const (
	// maxTransfers is how many uploads and downloads may go on at once.
	maxTransfers = 32
	// transferTimeout bounds an upload or a download as a whole.
	transferTimeout = 30 * time.Minute
	// transferPause is how long the other side may take for one piece.
	transferPause = 30 * time.Second
	// transferBuffer is what is gathered before the response begins, in bytes: an
	// error up to then has a status of its own.
	transferBuffer = 64 << 10
)

// rawOutput is a response that is no JSON.
type rawOutput struct{ Body func(huma.Context) }

// binary is the schema of a body that is just bytes.
func binary() *huma.Schema { return &huma.Schema{Type: huma.TypeString, Format: "binary"} }

// bytesOf describes a response of these media types.
func bytesOf(description string, media ...string) map[string]*huma.Response {
	content := map[string]*huma.MediaType{}
	for _, m := range media {
		content[m] = &huma.MediaType{Schema: binary()}
	}
	return map[string]*huma.Response{"200": {Description: description, Content: content}}
}

// slot takes one of the places for uploads and downloads; release gives it back.
func (a *API) slot() (release func(), err error) {
	if a.closing.Err() != nil {
		return nil, cairn.Errorf(cairn.CodeUnavailable, "the server is shutting down")
	}
	select {
	case a.transfers <- struct{}{}:
		return func() { <-a.transfers }, nil
	default:
		f := newError(http.StatusServiceUnavailable, cairn.CodeUnavailable, "too many files are being sent: try again later")
		f.info.Retryable, f.info.RetryAfter = true, cairn.Duration(2*time.Second)
		return nil, f
	}
}

// transfer runs what sends or receives bytes, after the handler and its time-out:
// it ends with the request, with the server, or when it takes too long.
func (a *API) transfer(operation string, do func(ctx context.Context, w http.ResponseWriter, r *http.Request) error) *rawOutput {
	return &rawOutput{func(hc huma.Context) {
		r, w := humago.Unwrap(hc)
		out := &paced{w: w, control: http.NewResponseController(w)}
		ctx, cancel := context.WithTimeout(r.Context(), transferTimeout)
		defer cancel()
		stop := context.AfterFunc(a.closing, cancel)
		defer stop()
		err := func() error {
			release, err := a.slot()
			if err != nil {
				return err
			}
			defer release()
			return do(ctx, out, r)
		}()
		if err == nil {
			return
		}
		f := a.failure(r.Context(), operation, err)
		if out.began {
			panic(http.ErrAbortHandler) // the client must not take what it got for the whole
		}
		a.write(out, r, f)
	}}
}

// send streams a body: the first bytes wait in a buffer, so that what fails at
// once is reported with a status.
func send(w http.ResponseWriter, media string, write func(io.Writer) error) error {
	b := bufio.NewWriterSize(&typed{w, media}, transferBuffer)
	if err := write(b); err != nil {
		return err
	}
	if err := b.Flush(); err != nil {
		return err
	}
	w.Header().Set("Content-Type", media) // of an empty body
	w.WriteHeader(http.StatusOK)
	return nil
}

// typed says what the body is with its first bytes.
type typed struct {
	w     http.ResponseWriter
	media string
}

// Write sends a piece.
func (t *typed) Write(p []byte) (int, error) {
	if t.media != "" {
		t.w.Header().Set("Content-Type", t.media)
		t.media = ""
	}
	return t.w.Write(p)
}

// paced gives the client a while for each piece, instead of one for all.
type paced struct {
	w       http.ResponseWriter
	control *http.ResponseController
	began   bool
}

// Header is what will be sent.
func (p *paced) Header() http.Header { return p.w.Header() }

// WriteHeader begins the response, once.
func (p *paced) WriteHeader(status int) {
	if p.began {
		return
	}
	p.began = true
	p.extend()
	p.w.WriteHeader(status)
}

// Write sends b in pieces.
func (p *paced) Write(b []byte) (n int, err error) {
	p.WriteHeader(http.StatusOK)
	for piece := range slices.Chunk(b, transferBuffer) {
		p.extend()
		m, err := p.w.Write(piece)
		n += m
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

// extend moves the deadline on; a handler in the same process has none.
func (p *paced) extend() { _ = p.control.SetWriteDeadline(time.Now().Add(transferPause)) }

// upload reads a request's body within a bound in bytes, giving the client a while
// for each piece.
type upload struct {
	r       io.Reader
	control *http.ResponseController
	left    int64
	ctx     context.Context
	// err is why it ended before its end: whoever reads may have wrapped it.
	err error
}

// errTooLarge: the body has more bytes than are taken.
var errTooLarge = errors.New("api: the body is too large")

// Read reads a piece.
func (u *upload) Read(p []byte) (int, error) {
	if u.err != nil {
		return 0, u.err
	}
	if err := u.ctx.Err(); err != nil {
		u.err = err
		return 0, err
	}
	_ = u.control.SetReadDeadline(time.Now().Add(transferPause)) // a handler in the same process has none
	if int64(len(p)) > u.left+1 {
		p = p[:u.left+1] // one more tells a body that ends here from one that does not
	}
	n, err := u.r.Read(p)
	if int64(n) > u.left {
		u.err = errTooLarge
		return int(u.left), u.err
	}
	u.left -= int64(n)
	switch {
	case errors.Is(err, io.EOF):
		// From here on net/http watches the connection, and takes a deadline that passes
		// for a client that is gone: storing may take its time.
		_ = u.control.SetReadDeadline(time.Time{}) // a handler in the same process has none
	case err != nil:
		u.err = err
	}
	return n, err
}
