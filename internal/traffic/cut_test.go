package traffic_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/internal/traffic"
	"github.com/cairn-run/cairn/model/wire"
)

// everyByte is the size below which a stream goes through its whole driver cut at
// every byte. Of a larger one, cuts that leave the same events behind go through
// it once; which they leave is looked at for every byte.
const everyByte = 1 << 10

// TestNoStreamCutShortIsAnAnswer cuts every recorded stream at every byte. What is
// left must never be an answer, unless it is the whole one.
func TestNoStreamCutShortIsAnAnswer(t *testing.T) {
	t.Parallel()
	var streams []*traffic.Exchange
	c := traffic.Load(t)
	for i := range c.Exchanges {
		if c.Exchanges[i].Stream {
			streams = append(streams, &c.Exchanges[i])
		}
	}
	var bytesCut, calls, whole atomic.Int64
	work := make(chan *traffic.Exchange)
	var wg sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for e := range work {
				s, err := newCut(t.Context(), e)
				if err == nil {
					err = s.run(t.Context())
				}
				if err != nil {
					t.Errorf("%s: %v", e.Name, err)
				}
				bytesCut.Add(int64(len(e.Body)))
				calls.Add(s.calls)
				whole.Add(s.whole)
			}
		})
	}
	for i := 0; i < len(streams); i += streamsStep {
		work <- streams[i]
	}
	close(work)
	wg.Wait()
	t.Logf("%d streams cut at each of %d bytes: %d calls of a driver, %d of them gave the whole answer", (len(streams)+streamsStep-1)/streamsStep, bytesCut.Load(), calls.Load(), whole.Load())
}

// cut is one stream that is cut.
type cut struct {
	e     *traffic.Exchange
	full  heard
	calls int64
	whole int64 // calls that gave the whole answer although something was cut off
	// reader is as large as the one that wire.Events makes, which takes it for its own.
	reader *bufio.Reader
}

func newCut(ctx context.Context, e *traffic.Exchange) (*cut, error) {
	full, err := decode(ctx, e)
	return &cut{e: e, full: full, reader: bufio.NewReaderSize(nil, 64<<10)}, err
}

// run cuts. An event cut in its middle is the same to a driver wherever in its
// middle it is cut: what the reader of events makes of each cut is looked at, from
// the last blank line on, where the reader's state is that of its start.
func (s *cut) run(ctx context.Context) error {
	body := s.e.Body
	if len(body) <= everyByte {
		for n := range body {
			if err := s.at(ctx, n, nil); err != nil {
				return err
			}
			if err := s.at(ctx, n, io.ErrUnexpectedEOF); err != nil {
				return err
			}
		}
		return nil
	}
	for from, event := 0, 0; from < len(body); event++ {
		to := boundary(body, from)
		last := "" // what the cut before left of this event
		for n := from; n < to; n++ {
			left, err := s.remains(body[from:n])
			if err != nil {
				return fmt.Errorf("cut at byte %d: %w", n, err)
			}
			if left == last && n > from {
				continue
			}
			last = left
			if err := s.at(ctx, n, nil); err != nil {
				return err
			}
			if event%8 == 0 || to == len(body) {
				if err := s.at(ctx, n, io.ErrUnexpectedEOF); err != nil {
					return err
				}
			}
		}
		from = to
	}
	return nil
}

// boundary is the end of the first event from here on, its blank line included.
func boundary(body []byte, from int) int {
	end := len(body)
	for _, blank := range []string{"\n\n", "\r\n\r\n"} {
		if i := bytes.Index(body[from:], []byte(blank)); i >= 0 {
			end = min(end, from+i+len(blank))
		}
	}
	return end
}

// remains are the events that are left of a piece that begins after a blank line.
func (s *cut) remains(piece []byte) (string, error) {
	s.reader.Reset(bytes.NewReader(piece))
	left := ""
	for event, err := range wire.Events(s.reader) {
		if err != nil {
			return "", err
		}
		if left != "" {
			return "", errors.New("two events without a blank line between them")
		}
		left = "event " + event.Type + "\n" + string(event.Data)
	}
	return left, nil
}

// at calls the driver with the first n bytes of the stream, which then ends, or
// breaks with err.
func (s *cut) at(ctx context.Context, n int, err error) error {
	s.calls++
	got, broken := listen(ctx, driverOf(s.e, &prefix{e: s.e, n: n, err: err}), ask(s.e))
	if broken != nil {
		return fmt.Errorf("cut at byte %d of %d: %w", n, len(s.e.Body), broken)
	}
	switch {
	case got.answer != nil && s.full.answer == nil:
		return fmt.Errorf("cut at byte %d of %d: an answer, where the whole stream gives none", n, len(s.e.Body))
	case got.answer != nil:
		if diff := cmp.Diff(s.full.answer, got.answer); diff != "" {
			return fmt.Errorf("cut at byte %d of %d: another answer than the whole one (-whole +cut):\n%s", n, len(s.e.Body), diff)
		}
		s.whole++
	case s.full.answer != nil && (got.failed.Err.Code != cairn.CodeCut || !got.failed.Err.Retryable || got.failed.Err.NotDone):
		return fmt.Errorf("cut at byte %d of %d: %w, want a cut stream that may be tried again", n, len(s.e.Body), got.failed)
	}
	return nil
}

// prefix answers with the beginning of a stream.
type prefix struct {
	e   *traffic.Exchange
	n   int
	err error
}

// RoundTrip implements http.RoundTripper.
func (p *prefix) RoundTrip(req *http.Request) (*http.Response, error) {
	_ = req.Body.Close() // it was in memory
	var body io.Reader = bytes.NewReader(p.e.Body[:p.n])
	if p.err != nil {
		body = io.MultiReader(body, failing{p.err})
	}
	return &http.Response{
		StatusCode: p.e.Status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: p.e.Header, ContentLength: -1, Body: io.NopCloser(body), Request: req,
	}, nil
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }
