package client

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"iter"
)

// maxFrame bounds one server-sent event, in bytes: a message of MaxParts in JSON
// and its envelope fit.
const maxFrame = 32 << 20

// frame is one server-sent event.
type frame struct {
	id    string
	hasID bool
	event string
	data  []byte
}

// errFrame ends a stream that is not server-sent events within bounds.
var errFrame = errors.New("client: malformed stream")

// frames reads server-sent events (WHATWG HTML, section 9.2). An event that is
// cut off by the end of the stream is not one. The data of a frame is valid
// until the next.
func frames(r io.Reader) iter.Seq2[frame, error] {
	return func(yield func(frame, error) bool) {
		lines := &lineReader{Reader: bufio.NewReaderSize(r, 64<<10)}
		var f frame
		var data, line []byte
		seen := false
		first := true
		for {
			var err error
			if line, err = lines.next(line[:0]); err != nil {
				if !errors.Is(err, io.EOF) {
					yield(frame{}, err)
				}
				return
			}
			if first {
				line = bytes.TrimPrefix(line, []byte("\xef\xbb\xbf"))
				first = false
			}
			if len(line) == 0 {
				if seen {
					f.data = bytes.TrimSuffix(data, []byte("\n"))
					if !yield(f, nil) {
						return
					}
				}
				f, data, seen = frame{}, data[:0], false
				continue
			}
			name, value, _ := bytes.Cut(line, []byte(":"))
			value = bytes.TrimPrefix(value, []byte(" "))
			switch string(name) {
			case "id":
				if !bytes.ContainsRune(value, 0) {
					f.id, f.hasID = string(value), true
				}
			case "event":
				f.event = string(value)
			case "data":
				if len(data)+len(value) > maxFrame {
					yield(frame{}, fmt.Errorf("%w: an event is larger than %d bytes", errFrame, maxFrame))
					return
				}
				data = append(append(data, value...), '\n')
				seen = true
			}
		}
	}
}

// lineReader reads lines that end in LF, CR or both.
type lineReader struct {
	*bufio.Reader
	skip bool // the last line ended in CR: a LF that follows belongs to it
}

// next appends the next line to buf, without its end. io.EOF: there is no further
// complete line.
func (r *lineReader) next(buf []byte) ([]byte, error) {
	for {
		if _, err := r.Peek(1); err != nil {
			return buf, err
		}
		chunk, _ := r.Peek(r.Buffered()) // what is there already cannot fail
		if r.skip {
			r.skip = false
			if chunk[0] == '\n' {
				_, _ = r.Discard(1) // likewise
				continue
			}
		}
		end := bytes.IndexAny(chunk, "\r\n")
		whole := end >= 0
		if !whole {
			end = len(chunk)
		}
		if len(buf)+end > maxFrame {
			return buf, fmt.Errorf("%w: a line is longer than %d bytes", errFrame, maxFrame)
		}
		buf = append(buf, chunk[:end]...)
		if !whole {
			_, _ = r.Discard(end) // likewise
			continue
		}
		r.skip = chunk[end] == '\r'
		_, _ = r.Discard(end + 1) // likewise
		return buf, nil
	}
}
