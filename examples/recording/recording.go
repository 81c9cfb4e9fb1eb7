// Package recording runs a program in a terminal and keeps what it showed, and when:
// as plain text, and as an SVG that plays by itself in a README.
package recording

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// Options say what is recorded. Zero values take the default.
type Options struct {
	Args []string // the program and its arguments
	Env  []string // default: that of this process
	Dir  string   // default: that of this process
	// Columns of the terminal, at most 400; default 112. Rows, at most 200: default 34.
	Columns, Rows int
	// Typed is what a person types: each text once, in order, when what it waits for
	// has been shown since the one before.
	Typed []Typed
	// Now is the clock; default time.Now.
	Now func() time.Time
}

// Typed is a text that is typed when the program has shown something.
type Typed struct{ When, Text string }

// Defaults and bounds of Options.
const (
	columns, maxColumns = 112, 400
	rows, maxRows       = 34, 200
	maxOutput           = 8 << 20 // bytes that a program may show
)

// Recording is what a program showed.
type Recording struct {
	columns, rows int
	lines         []line
}

// line is one row of the terminal, scrolled away or not, as it was in the end.
type line struct {
	at   time.Duration // since the beginning, when it became that
	more bool          // it continues the line before, which was too long
	full bool          // the next line continues it: spaces at its end count
	text []span
}

// span is a piece of a line in one style.
type span struct {
	style style
	text  string
}

func (l line) plain() string {
	var b strings.Builder
	for _, s := range l.text {
		b.WriteString(s.text)
	}
	if l.full {
		return b.String()
	}
	return strings.TrimRight(b.String(), " ")
}

// Run runs the program until it ends and returns what it showed, also with an
// error: the program did not end with exit code 0, or showed more than 8 MiB.
func Run(ctx context.Context, o Options) (*Recording, error) {
	if o.Columns == 0 {
		o.Columns = columns
	}
	if o.Rows == 0 {
		o.Rows = rows
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	r := &Recording{columns: o.Columns, rows: o.Rows}
	if len(o.Args) == 0 || o.Columns < 20 || o.Columns > maxColumns || o.Rows < 5 || o.Rows > maxRows {
		return r, fmt.Errorf("nothing to record, or a terminal of %d by %d", o.Columns, o.Rows)
	}
	ours, theirs, err := openTerminal(o.Columns, o.Rows)
	if err != nil {
		return r, err
	}
	c := exec.CommandContext(ctx, o.Args[0], o.Args[1:]...)
	c.Stdin, c.Stdout, c.Stderr = theirs, theirs, theirs
	c.Dir = o.Dir
	if c.Env = o.Env; c.Env == nil {
		c.Env = os.Environ()
	}
	c.Env = append(c.Env, "TERM=xterm-256color", "NO_COLOR=")
	ownSession(c)
	begin := o.Now()
	if err := c.Start(); err != nil {
		return r, errors.Join(err, ours.Close(), theirs.Close())
	}
	screen := newScreen(o.Columns)
	shown := make(chan error, 1)
	go func() { shown <- screen.read(ours, o.Typed, func() time.Duration { return o.Now().Sub(begin) }) }()
	err = c.Wait()
	// With the last one who has it closed, reading ends behind what was shown last.
	err = errors.Join(err, theirs.Close(), <-shown, ours.Close())
	r.lines = screen.lines()
	return r, err
}

// read shows what the program writes until nobody has the terminal any more.
func (s *screen) read(terminal io.ReadWriter, typed []Typed, at func() time.Duration) error {
	buf := make([]byte, 32<<10)
	var seen []byte // since the last text was typed
	for total := 0; ; {
		n, err := terminal.Read(buf)
		s.write(buf[:n], at())
		if len(typed) > 0 {
			if seen = append(seen, buf[:n]...); bytes.Contains(seen, []byte(typed[0].When)) {
				if _, err := io.WriteString(terminal, typed[0].Text); err != nil {
					return err
				}
				typed, seen = typed[1:], nil
			}
		}
		switch total += n; {
		case errors.Is(err, syscall.EIO), errors.Is(err, io.EOF): // what Linux says at the end
			return nil
		case err != nil:
			return err
		case total > maxOutput:
			return fmt.Errorf("the program showed more than %d bytes", maxOutput)
		}
	}
}

// Text is what was shown, without colours. Lines that were too long for the terminal
// are whole.
func (r *Recording) Text() string {
	var b strings.Builder
	for i, l := range r.lines {
		if i > 0 && !l.more {
			b.WriteByte('\n')
		}
		b.WriteString(l.plain())
	}
	b.WriteByte('\n')
	return b.String()
}
