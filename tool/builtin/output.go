package builtin

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"

	"github.com/cairn-run/cairn/tool"
)

const (
	// shownOutput is how many bytes of a command's output the model sees, if the tool's
	// cap is not smaller: about what coding agents show.
	shownOutput = 30_000
	// maxSpool bounds the output of one command that is kept in a file, in bytes.
	maxSpool = 16 << 20
)

// output keeps what a command writes: head and tail for the model, and once that is
// not all of it, everything in a file.
type output struct {
	*screen
	dir     string // where the file is made
	shown   int64
	capture *tool.Capture
	whole   bytes.Buffer // all, until there is a file
	file    *os.File
	kept    int64 // bytes in the file
	lost    int64 // bytes that are not in it
	lines   int   // that have ended
	begun   bool  // one has begun and not ended
	err     error // why there is no file
}

// newOutput shows about maximum bytes.
func newOutput(dir string, maximum int64, say func(string)) *output {
	o := &output{dir: dir, shown: min(shownOutput, max(maximum, 1))}
	o.capture = tool.NewCapture(o.shown)
	o.screen = newScreen(o.take, say)
	return o
}

// take gets finished text from the screen.
func (o *output) take(text string) {
	_, _ = o.capture.Write([]byte(text)) // never fails
	o.lines += strings.Count(text, "\n")
	if text != "" {
		o.begun = !strings.HasSuffix(text, "\n")
	}
	if o.file == nil && o.err == nil {
		o.whole.WriteString(text)
		if int64(o.whole.Len()) <= o.shown {
			return
		}
		text = o.whole.String()
		o.whole.Reset()
		o.file, o.err = os.CreateTemp(o.dir, outputFiles)
	}
	if o.err != nil {
		o.lost += int64(len(text))
		return
	}
	if room := maxSpool - o.kept; int64(len(text)) > room {
		o.lost += int64(len(text)) - room
		text = text[:room]
	}
	n, err := o.file.WriteString(text)
	o.kept += int64(n)
	if err != nil {
		o.err = err
	}
}

// size says how much was written, as text.
func (o *output) size() string {
	n := o.lines
	if o.begun {
		n++
	}
	noun := "lines"
	if n == 1 {
		noun = "line"
	}
	return fmt.Sprintf("%d bytes in %d %s", o.capture.Total(), n, noun)
}

// long says whether the model sees only a part.
func (o *output) long() bool { return o.capture.Total() > o.shown }

// text is what the model sees.
func (o *output) text() string {
	b, _ := o.capture.Bytes()
	return string(b)
}

// all reads everything that was kept of a long output.
func (o *output) all() (io.Reader, error) {
	if o.err != nil {
		return nil, o.err
	}
	if o.file == nil {
		return nil, errors.New("there is no file")
	}
	return io.NewSectionReader(o.file, 0, o.kept), nil
}

// discard removes the file.
func (o *output) discard() {
	o.Close()
	if o.file != nil {
		_ = o.file.Close()           // it is thrown away
		_ = os.Remove(o.file.Name()) // the store's temporary files are removed when it is opened, too
		o.file = nil
	}
}

// maxTrail bounds the records of working directories that are kept, in bytes.
const maxTrail = 64 << 10

// trail takes the working directories that a shell reports, each ended by a NUL.
type trail struct {
	mu    sync.Mutex
	first string
	last  string
	seen  bool
	part  []byte
}

// Write takes a piece. It never fails; what the command itself writes there is no
// worse than a cd to that place.
func (t *trail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := len(p)
	for len(p) > 0 {
		i := bytes.IndexByte(p, 0)
		if i < 0 {
			if len(t.part)+len(p) <= maxTrail {
				t.part = append(t.part, p...)
			}
			break
		}
		t.last = string(t.part) + string(p[:min(i, maxTrail)])
		if !t.seen {
			t.seen, t.first = true, t.last
		}
		t.part, p = t.part[:0], p[i+1:]
	}
	return n, nil
}

// dirs are the directory the command began in and the one it ended in; empty: not known.
func (t *trail) dirs() (first, last string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.first, t.last
}
