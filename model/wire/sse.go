package wire

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"iter"

	"github.com/cairn-run/cairn"
)

// MaxEvent bounds one server-sent event, in bytes: an image in base64 fits.
const MaxEvent = 64 << 20

// Event is one server-sent event.
type Event struct {
	Type string // its "event" field; empty: none
	Data []byte // its "data" lines, joined with a newline; valid until the next event
}

// Events reads server-sent events
// (https://html.spec.whatwg.org/multipage/server-sent-events.html). Comments,
// ids and events without data are skipped. What a cut left of a line is dropped;
// an event whose lines are whole and whose last blank line is missing is not,
// because servers forget that line. CodeCut: an event is larger than [MaxEvent].
// Other errors are those of r.
func Events(r io.Reader) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		s := &scanner{r: bufio.NewReaderSize(r, 32<<10)}
		var e Event
		var data []byte
		has := false
		for {
			line, err := s.line()
			if err != nil {
				if errors.Is(err, io.EOF) {
					err = nil
				}
				if err != nil {
					yield(Event{}, err)
				} else if has {
					e.Data = data
					yield(e, nil)
				}
				return
			}
			if len(line) == 0 {
				if has {
					e.Data = data
					if !yield(e, nil) {
						return
					}
				}
				e, data, has = Event{}, data[:0], false
				continue
			}
			field, value, _ := bytes.Cut(line, []byte(":"))
			value = bytes.TrimPrefix(value, []byte(" "))
			switch string(field) {
			case "event":
				e.Type = string(value)
			case "data":
				if has {
					data = append(data, '\n')
				}
				has = true
				if data = append(data, value...); len(data) > MaxEvent {
					yield(Event{}, errTooLarge)
					return
				}
			}
		}
	}
}

var errTooLarge = &cairn.Error{Code: cairn.CodeCut, Message: "the provider sent an event that is too large"}

// scanner reads lines that end with LF, CR or CRLF.
type scanner struct {
	r     *bufio.Reader
	buf   []byte
	begun bool
	cr    bool // the last line ended with CR: an LF that follows belongs to it
}

// line returns the next whole line without its end. io.EOF: there is none; what
// is left without an end was cut off.
func (s *scanner) line() ([]byte, error) {
	s.buf = s.buf[:0]
	for {
		chunk, err := s.r.Peek(1)
		if err != nil {
			return nil, err
		}
		if s.cr {
			s.cr = false
			if chunk[0] == '\n' {
				s.discard(1)
				continue
			}
		}
		chunk, _ = s.r.Peek(s.r.Buffered())
		i := bytes.IndexAny(chunk, "\r\n")
		if i < 0 {
			s.buf = append(s.buf, chunk...)
			s.discard(len(chunk))
		} else {
			s.cr = chunk[i] == '\r'
			s.buf = append(s.buf, chunk[:i]...)
			s.discard(i + 1)
		}
		if len(s.buf) > MaxEvent {
			return nil, errTooLarge
		}
		if i < 0 {
			continue
		}
		if !s.begun {
			s.begun = true
			return bytes.TrimPrefix(s.buf, []byte("\xef\xbb\xbf")), nil
		}
		return s.buf, nil
	}
}

func (s *scanner) discard(n int) {
	_, _ = s.r.Discard(n) // never more than is buffered
}
