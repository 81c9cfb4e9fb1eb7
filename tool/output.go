package tool

import (
	"fmt"
	"unicode/utf8"

	"github.com/cairn-run/cairn"
)

const (
	// DefaultMaxOutput is the cap on a result that declares none, in bytes.
	DefaultMaxOutput = 256 << 10
	// maxMaxOutput is the largest cap that may be declared, in bytes.
	maxMaxOutput = 16 << 20
	// roomForMarker is what the note about the cut may take, in bytes; a smaller
	// cap has no note.
	roomForMarker = 64
)

// Capture keeps the head and the tail of an output and counts what lies between:
// errors stand at the end as often as answers at the start.
type Capture struct {
	max   int
	buf   []byte // all of it, or the head once there is a tail
	tail  []byte
	total int64
}

// NewCapture keeps at most maximum bytes, the note about the cut included.
func NewCapture(maximum int64) *Capture {
	return &Capture{max: int(min(max(maximum, 1), maxMaxOutput))}
}

// sizes parts what is kept into head and tail, the note left out.
func (c *Capture) sizes() (head, tail int) {
	room := c.max
	if room > 4*roomForMarker {
		room -= roomForMarker
	}
	return room - room/3, room / 3
}

// Write takes a piece of the output. It never fails.
func (c *Capture) Write(p []byte) (int, error) {
	n := len(p)
	c.total += int64(n)
	if c.tail == nil {
		if len(c.buf)+len(p) <= c.max {
			c.buf = append(c.buf, p...)
			return n, nil
		}
		head, tail := c.sizes()
		fill := max(0, min(head-len(c.buf), len(p)))
		c.buf = append(c.buf, p[:fill]...)
		p = p[fill:]
		c.tail = make([]byte, 0, 2*tail+1)
		over := min(head, len(c.buf))
		c.keepTail(c.buf[over:])
		c.buf = c.buf[:over:over]
	}
	c.keepTail(p)
	return n, nil
}

func (c *Capture) keepTail(p []byte) {
	_, size := c.sizes()
	if len(p) >= size {
		c.tail = append(c.tail[:0], p[len(p)-size:]...)
		return
	}
	if len(c.tail)+len(p) > cap(c.tail) {
		keep := c.tail[max(0, len(c.tail)-size):]
		c.tail = append(c.tail[:0], keep...)
	}
	c.tail = append(c.tail, p...)
}

// Total is the number of bytes that were written.
func (c *Capture) Total() int64 { return c.total }

// Bytes returns what was kept, and how many bytes were cut out of its middle.
func (c *Capture) Bytes() ([]byte, int64) {
	if c.tail == nil {
		return c.buf, 0
	}
	_, size := c.sizes()
	head, tail := c.buf, c.tail[max(0, len(c.tail)-size):]
	head = head[:len(head)-incomplete(head)] // no character is cut in two
	for i := 0; i < utf8.UTFMax && len(tail) > 0 && !utf8.RuneStart(tail[0]); i++ {
		tail = tail[1:]
	}
	cut := c.total - int64(len(head)) - int64(len(tail))
	out := make([]byte, 0, c.max)
	out = append(out, head...)
	if c.max > 4*roomForMarker {
		out = fmt.Appendf(out, "\n[… %d bytes cut out here …]\n", cut)
	}
	return append(out, tail...), cut
}

// incomplete is the number of bytes at the end of b that begin a character
// without ending it.
func incomplete(b []byte) int {
	for i := 1; i <= min(utf8.UTFMax-1, len(b)); i++ {
		c := b[len(b)-i]
		if utf8.RuneStart(c) {
			if c >= utf8.RuneSelf && !utf8.FullRune(b[len(b)-i:]) {
				return i
			}
			return 0
		}
	}
	return 0
}

// capText cuts the middle out of a text that is too long.
func capText(s string, maximum int64) (string, int64) {
	if int64(len(s)) <= maximum {
		return s, 0
	}
	c := NewCapture(maximum)
	_, _ = c.Write([]byte(s)) // never fails
	b, cut := c.Bytes()
	return string(b), cut
}

// normalise caps a result and gives it the form that is recorded: text is
// UTF-8, a part that does not fit is replaced by a note, and JSON is never cut in
// two.
func normalise(r *cairn.ToolResult, maximum int64) *cairn.ToolResult {
	out := &cairn.ToolResult{Content: []cairn.Part{}, IsError: r.IsError, Truncated: r.Truncated}
	left := maximum
	for _, p := range r.Content {
		var cut int64
		switch {
		case p.Kind == cairn.PartText:
			p.Text = validText(p.Text)
			if left <= 0 && p.Text != "" {
				out.Truncated += int64(len(p.Text))
				continue
			}
			p.Text, cut = capText(p.Text, left)
			left -= int64(len(p.Text))
		case int64(len(p.Data)) > left:
			cut = int64(len(p.Data))
			p = cairn.Text(fmt.Sprintf("[%s, %d bytes, left out: it is larger than the output cap]", mediaOf(p), cut))
		default:
			left -= int64(len(p.Data))
		}
		out.Truncated += cut
		out.Content = append(out.Content, p)
	}
	if len(r.Structured) > 0 {
		if c, err := cairn.Canonical(r.Structured); err == nil && int64(len(c)) <= maximum {
			out.Structured = c
		} else {
			out.Truncated += int64(len(r.Structured))
		}
	}
	return out
}

func mediaOf(p cairn.Part) string {
	if p.MediaType != "" {
		return p.MediaType
	}
	return string(p.Kind)
}

// validText replaces what is not UTF-8, as encoding/json would, so that what is
// recorded is what the model saw.
func validText(s string) string {
	if utf8.ValidString(s) {
		return s
	}
	out := make([]byte, 0, len(s))
	for _, r := range s {
		out = utf8.AppendRune(out, r)
	}
	return string(out)
}
