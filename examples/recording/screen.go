package recording

import (
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// style is how a character looks; zero: plain.
type style struct {
	bold, dim bool
	colour    int // 31 to 36 of SGR; zero: none
}

// cell is one character on the screen.
type cell struct {
	r     rune
	style style
}

// screen is a terminal that never forgets a row. It knows what programs that print
// lines and keep one below them need: characters, tabs, CR, LF, BS, colours (SGR), erasing
// (EL, ED) and moving within what was shown (CUU, CUD, CUF, CUB, CHA). Other
// sequences are read and left out.
type screen struct {
	columns  int
	rows     [][]cell
	at       []time.Duration // of each row: when it last changed
	more     []bool          // of each row: it continues the one before
	row, col int
	style    style
	held     []byte // a sequence or character that is not complete
}

// maxRowsKept bounds what is kept.
const maxRowsKept = 20_000

func newScreen(columns int) *screen {
	return &screen{columns: columns, rows: [][]cell{nil}, at: []time.Duration{0}, more: []bool{false}}
}

// write shows bytes.
func (s *screen) write(b []byte, at time.Duration) {
	s.held = append(s.held, b...)
	for len(s.held) > 0 {
		n := s.one(s.held, at)
		if n == 0 { // more is needed
			if len(s.held) > 4<<10 { // of no sequence there is
				s.held = nil
			}
			return
		}
		s.held = s.held[n:]
	}
}

// one shows the first character or sequence of b and returns its length; zero: it is
// not complete.
func (s *screen) one(b []byte, at time.Duration) int {
	switch b[0] {
	case '\x1b':
		return s.escape(b, at)
	case '\r':
		s.col = 0
	case '\n': // a wrap that was due is not made
		s.col = min(s.col, s.columns-1)
		s.down(at)
	case '\b':
		s.col = max(s.col-1, 0)
	case '\t':
		for next := (s.col/8 + 1) * 8; s.col < min(next, s.columns-1); {
			s.put(' ', at)
		}
	default:
		if b[0] < ' ' || b[0] == 0x7f {
			return 1
		}
		if !utf8.FullRune(b) {
			return 0
		}
		r, n := utf8.DecodeRune(b)
		if r == '\uFFFE' || r == '\uFFFF' { // no character, and not allowed in XML
			r = utf8.RuneError
		}
		s.put(r, at)
		return n
	}
	return 1
}

// escape reads an escape sequence.
func (s *screen) escape(b []byte, at time.Duration) int {
	if len(b) < 2 {
		return 0
	}
	switch b[1] {
	case '[':
		for i := 2; i < len(b); i++ {
			if b[i] >= 0x40 && b[i] <= 0x7e {
				s.control(string(b[2:i]), b[i], at)
				return i + 1
			}
		}
		return 0
	case ']': // an operating system command, up to BEL or ESC \
		for i := 2; i < len(b); i++ {
			if b[i] == '\a' {
				return i + 1
			}
			if b[i] == '\\' && b[i-1] == '\x1b' {
				return i + 1
			}
		}
		return 0
	}
	return 2
}

// control performs a control sequence.
func (s *screen) control(args string, final byte, at time.Duration) {
	n, err := strconv.Atoi(args)
	if err != nil || n < 1 || n > maxRowsKept {
		n = 1
	}
	switch final {
	case 'm':
		s.sgr(args)
	case 'K':
		s.erase(args, at)
	case 'J':
		if args == "" || args == "0" {
			s.erase("", at)
			s.rows, s.at, s.more = s.rows[:s.row+1], s.at[:s.row+1], s.more[:s.row+1]
		}
	case 'A':
		s.row = max(s.row-n, 0)
	case 'B':
		s.row = min(s.row+n, len(s.rows)-1)
	case 'C':
		s.col = min(s.col+n, s.columns-1)
	case 'D':
		s.col = max(s.col-n, 0)
	case 'G':
		s.col = min(n-1, s.columns-1)
	}
}

// erase erases in the row: to its end, to the cursor, all of it.
func (s *screen) erase(how string, at time.Duration) {
	row := s.rows[s.row]
	switch how {
	case "", "0":
		row = row[:min(s.col, len(row))]
	case "1":
		for i := range min(s.col+1, len(row)) {
			row[i] = cell{r: ' '}
		}
	case "2":
		row = nil
	default:
		return
	}
	s.rows[s.row], s.at[s.row] = row, at
}

// sgr sets the style of what follows.
func (s *screen) sgr(args string) {
	for arg := range strings.SplitSeq(args, ";") {
		n, err := strconv.Atoi(arg)
		switch {
		case err != nil || n == 0:
			s.style = style{}
		case n == 1:
			s.style.bold = true
		case n == 2:
			s.style.dim = true
		case n == 22:
			s.style.bold, s.style.dim = false, false
		case n >= 31 && n <= 36:
			s.style.colour = n
		case n == 39:
			s.style.colour = 0
		}
	}
}

func (s *screen) put(r rune, at time.Duration) {
	if s.col >= s.columns {
		s.col = 0
		s.down(at)
		s.more[s.row] = true
	}
	row := s.rows[s.row]
	for len(row) <= s.col {
		row = append(row, cell{r: ' '})
	}
	row[s.col] = cell{r, s.style}
	s.rows[s.row], s.at[s.row] = row, at
	s.col++
}

func (s *screen) down(at time.Duration) {
	if s.row == len(s.rows)-1 {
		if len(s.rows) >= maxRowsKept { // the oldest is forgotten
			s.rows, s.at, s.more, s.row = s.rows[1:], s.at[1:], s.more[1:], s.row-1
		}
		s.rows, s.at, s.more = append(s.rows, nil), append(s.at, at), append(s.more, false)
	}
	s.row++
}

// lines are the rows in the end, each with the time at which it became what it is.
func (s *screen) lines() []line {
	all := make([]line, len(s.rows))
	var latest time.Duration
	for i, row := range s.rows {
		latest = max(latest, s.at[i])
		all[i].at, all[i].more = latest, s.more[i]
		all[i].full = i+1 < len(s.rows) && s.more[i+1]
		for _, c := range row {
			last := len(all[i].text) - 1
			if last < 0 || all[i].text[last].style != c.style {
				all[i].text = append(all[i].text, span{style: c.style})
				last++
			}
			all[i].text[last].text += string(c.r)
		}
	}
	for len(all) > 0 && all[len(all)-1].plain() == "" {
		all = all[:len(all)-1]
	}
	return slices.Clip(all)
}
