package builtin

import (
	"strings"
	"sync"
	"time"
	"unicode/utf8"
)

const (
	maxHeldLine = 64 << 10 // bytes of a line that is still open
	maxEscape   = 4 << 10  // bytes of an escape sequence that is dropped
	sayEvery    = 100 * time.Millisecond
	maxSaid     = 256 << 10 // bytes of output that are shown while a call goes on
)

// screen makes text of what a program writes to its terminal: escape sequences are
// dropped, what a carriage return or a backspace takes back is gone, bytes that are no
// UTF-8 become U+FFFD, and other control characters vanish. Finished pieces go to
// sink; say is shown them while they come, several times a second at most.
type screen struct {
	sink func(text string)
	say  func(text string)

	mu      sync.Mutex
	state   escape
	escaped int    // bytes of the sequence so far
	part    []byte // of a character
	line    []byte // the line that is open
	open    int    // bytes of it that went to the sink: they cannot be taken back
	shown   int    // bytes of it that were said
	back    bool   // a carriage return: the next character begins the line anew
	raw     int64  // bytes that were written
	foreign int64  // of them those that are no text: not UTF-8, or NUL

	saying strings.Builder
	said   int
	timer  *time.Timer
	closed bool
}

// escape is where in an escape sequence the stream is (ECMA-48, 5.4 and 5.6).
type escape int

const (
	ground    escape = iota
	escSeen          // after ESC
	inControl        // after ESC [
	inString         // after ESC ], P, X, ^ or _: up to BEL or ESC \
	stringEsc        // after ESC in a string
	oneMore          // after ESC and an intermediate byte
)

func newScreen(sink, say func(string)) *screen { return &screen{sink: sink, say: say} }

// Write takes a piece of output. It never fails.
func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := len(p)
	if s.closed {
		return n, nil
	}
	s.raw += int64(n)
	for i := 0; i < len(p); {
		if n := plainRun(p[i:]); n > 0 && s.state == ground && len(s.part) == 0 {
			n = min(n, maxHeldLine)
			s.put(p[i : i+n]...)
			i += n
			continue
		}
		s.byte(p[i])
		i++
	}
	if s.timer == nil && (s.saying.Len() > 0 || len(s.line) > s.shown) && s.said < maxSaid {
		s.timer = time.AfterFunc(sayEvery, s.tick)
	}
	return n, nil
}

// plainRun is how many bytes at the beginning are visible ASCII: most of all output.
func plainRun(p []byte) int {
	for i, c := range p {
		if c < ' ' || c > '~' {
			return i
		}
	}
	return len(p)
}

func (s *screen) byte(c byte) {
	if s.state != ground && !s.inEscape(c) {
		return
	}
	switch {
	case len(s.part) > 0 || c >= utf8.RuneSelf:
		s.wide(c)
	case c == 0x1b:
		s.state, s.escaped = escSeen, 0
	case c == '\n':
		s.back = false
		s.line = append(s.line, '\n')
		s.flush()
	case c == '\r':
		s.back = true
	case c == '\b':
		if len(s.line) > s.open {
			_, n := utf8.DecodeLastRune(s.line)
			s.line = s.line[:len(s.line)-n]
			s.shown = min(s.shown, len(s.line))
		}
	case c == '\t' || c >= ' ' && c != 0x7f:
		s.put(c)
	case c == 0:
		s.foreign++
	}
}

// inEscape takes a byte of an escape sequence; true: it is none, and ordinary.
func (s *screen) inEscape(c byte) bool {
	if s.escaped++; s.escaped > maxEscape || c == '\n' || c == 0x18 || c == 0x1a { // CAN and SUB end any sequence
		s.state = ground
		return c == '\n'
	}
	switch s.state {
	case escSeen:
		switch {
		case c == '[':
			s.state = inControl
		case c == ']' || c == 'P' || c == 'X' || c == '^' || c == '_':
			s.state = inString
		case c >= 0x20 && c <= 0x2f:
			s.state = oneMore
		default:
			s.state = ground
		}
	case inControl:
		if c >= 0x40 && c <= 0x7e {
			s.state = ground
		}
	case inString:
		switch c {
		case 0x07:
			s.state = ground
		case 0x1b:
			s.state = stringEsc
		}
	case stringEsc:
		if s.state = inString; c == '\\' {
			s.state = ground
		}
	case oneMore:
		if c < 0x20 || c > 0x2f {
			s.state = ground
		}
	}
	return false
}

// wide collects the bytes of a character.
func (s *screen) wide(c byte) {
	if len(s.part) > 0 && utf8.RuneStart(c) { // the one before was never finished
		s.foreign += int64(len(s.part))
		s.part = s.part[:0]
		s.put([]byte("\uFFFD")...)
		s.byte(c)
		return
	}
	s.part = append(s.part, c)
	if !utf8.FullRune(s.part) {
		return
	}
	r, n := utf8.DecodeRune(s.part)
	if r == utf8.RuneError && n == 1 {
		s.foreign++
	}
	rest := string(s.part[n:])
	s.part = s.part[:0]
	if r >= 0x80 && r < 0xa0 { // control characters of eight bits
		return
	}
	s.put(utf8.AppendRune(nil, r)...)
	for i := range len(rest) {
		s.byte(rest[i])
	}
}

// put adds to the open line.
func (s *screen) put(text ...byte) {
	if s.back {
		s.back = false
		s.line = s.line[:s.open]
		if s.shown > s.open {
			s.saying.WriteByte('\n') // what was shown of it stays
		}
		s.shown = min(s.shown, s.open)
	}
	s.line = append(s.line, text...)
	if len(s.line)-s.open > maxHeldLine {
		s.sink(string(s.line[s.open:]))
		s.open = len(s.line)
		s.tell()
		s.line, s.open, s.shown = s.line[:0], 0, 0
	}
}

// flush hands on the open line.
func (s *screen) flush() {
	if len(s.line) > s.open {
		s.sink(string(s.line[s.open:]))
	}
	s.tell()
	s.line, s.open, s.shown = s.line[:0], 0, 0
}

// tell takes what is new of the open line into what is to be said.
func (s *screen) tell() {
	if len(s.line) > s.shown {
		if s.said+s.saying.Len() < maxSaid {
			s.saying.Write(s.line[s.shown:])
		}
		s.shown = len(s.line)
	}
}

// tick says what has come together.
func (s *screen) tick() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.timer = nil
	if !s.closed {
		s.speak()
	}
}

func (s *screen) speak() {
	s.tell()
	if s.saying.Len() == 0 || s.said >= maxSaid {
		return
	}
	text := s.saying.String()
	s.saying.Reset()
	if s.said += len(text); s.said >= maxSaid {
		text = strings.ToValidUTF8(text[:max(0, len(text)-(s.said-maxSaid))], "") + "\n[more output is not shown here]\n"
	}
	s.say(text)
}

// Close hands on what is left. Nothing is taken any more.
func (s *screen) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	if len(s.part) > 0 {
		s.foreign += int64(len(s.part))
		s.part = s.part[:0]
		s.put([]byte("\uFFFD")...)
	}
	s.flush()
	s.speak()
	s.closed = true
	if s.timer != nil {
		s.timer.Stop()
		s.timer = nil
	}
}
