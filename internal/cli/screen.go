package cli

import (
	"fmt"
	"io"
	"slices"
	"strings"
)

// screen writes lines and, on a terminal, keeps a block below them that says what
// is going on, or a question that waits for an answer.
type screen struct {
	w     io.Writer
	live  bool // a terminal whose lines may be drawn anew
	width func() int
	// block are the lines that stand below, and question what stands before the
	// cursor.
	block    []string
	question string
}

// eraseDown clears from the cursor to the end of the screen, eraseRight to the end
// of the line.
const (
	eraseDown  = "\x1b[J"
	eraseRight = "\x1b[K"
)

// lines prints whole lines above what stands below.
func (s *screen) lines(lines ...string) { s.replace(lines, s.block) }

// replace prints whole lines, and below them another block, in one write: nothing
// flickers.
func (s *screen) replace(lines, block []string) {
	if !s.live {
		s.plain(lines)
		return
	}
	if s.question != "" {
		block = nil
	}
	if len(lines) == 0 && slices.Equal(block, s.block) {
		return
	}
	var b strings.Builder
	b.WriteString(s.home())
	if len(lines) > 0 {
		b.WriteString(eraseDown)
	}
	for _, l := range lines {
		b.WriteString(l + "\n")
	}
	for i, l := range block {
		if i > 0 {
			b.WriteByte('\n')
		}
		b.WriteString(l + eraseRight)
	}
	b.WriteString(eraseDown + s.question)
	s.block = slices.Clone(block)
	_, _ = io.WriteString(s.w, b.String()) // nobody is left to tell
}

// plain prints lines where nothing is drawn anew.
func (s *screen) plain(lines []string) {
	if len(lines) == 0 {
		return
	}
	out := strings.Join(lines, "\n") + "\n"
	if s.question != "" {
		out = "\n" + out + s.question
	}
	_, _ = io.WriteString(s.w, out) // nobody is left to tell
}

// home moves the cursor to where the block begins. A line that has become wider
// than the terminal takes more rows than one.
func (s *screen) home() string {
	rows := 0
	for _, l := range s.block {
		rows += max(1, (columns(l)+s.width()-1)/max(s.width(), 1))
	}
	if rows < 2 {
		return "\r"
	}
	return fmt.Sprintf("\r\x1b[%dA", rows-1)
}

// show draws the block; none takes it away.
func (s *screen) show(block []string) {
	if s.live {
		s.replace(nil, block)
	}
}

// ask prints a question in place of the block and leaves the cursor behind it.
func (s *screen) ask(question string) {
	s.show(nil)
	s.question = question
	_, _ = io.WriteString(s.w, question) // nobody is left to tell
}

// answered says that the person ended the line of the question.
func (s *screen) answered() { s.question = "" }

// leave takes the question back: nobody will answer it here.
func (s *screen) leave() {
	if s.question != "" {
		s.question = ""
		_, _ = io.WriteString(s.w, "\n") // nobody is left to tell
	}
}
