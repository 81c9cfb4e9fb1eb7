// Package ledger is the durable memory of the test servers and examples: an
// append-only file of JSON lines, one writer, every line on the disk before
// [Ledger.Append] returns. It stands in for the database of a real service, and
// it shares no code with Cairn's own journal, so that one cannot hide the
// other's faults.
package ledger

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
)

// ErrClosed is returned by Append after Close or after a failed write.
var ErrClosed = errors.New("ledger: closed")

const (
	maxLine  = 16 << 20 // bytes of one line
	maxQueue = 256      // appends that wait for the writer
)

// Ledger is an open file. Its methods may be called at the same time.
type Ledger struct {
	file  *os.File
	queue chan entry
	stop  chan struct{}
	done  chan struct{} // closed when the writer has ended; err is set then
	once  sync.Once
	err   error
}

type entry struct {
	line []byte
	done chan<- error
}

// Open opens or makes the file, with its directory, and calls each for every
// line in it, in order. A last line that was not written whole was never
// acknowledged and is cut off. Only one process has the file at a time: Open
// waits, until ctx ends, for another to let go of it.
func Open(ctx context.Context, path string, each func(line json.RawMessage) error) (*Ledger, error) {
	l, err := open(ctx, path, each)
	if err != nil {
		return nil, fmt.Errorf("ledger %s: %w", path, err)
	}
	return l, nil
}

func open(ctx context.Context, path string, each func(json.RawMessage) error) (*Ledger, error) {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, err
	}
	if err := ready(ctx, f, dir, each); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	l := &Ledger{file: f, queue: make(chan entry, maxQueue), stop: make(chan struct{}), done: make(chan struct{})}
	go l.write()
	return l, nil
}

// ready locks and reads the file and leaves it at its end.
func ready(ctx context.Context, f *os.File, dir string, each func(json.RawMessage) error) error {
	if err := lock(ctx, f); err != nil {
		return err
	}
	good, err := Scan(f, each)
	if err != nil {
		return err
	}
	if err := f.Truncate(good); err != nil {
		return err
	}
	if _, err := f.Seek(good, io.SeekStart); err != nil {
		return err
	}
	// What was read may have been written, but not flushed, by a process that
	// died: it is flushed before anything is built on it. So is the file's name.
	if err := f.Sync(); err != nil {
		return err
	}
	return syncDir(dir)
}

// Scan calls each for every whole line of r and returns the number of bytes
// they take. Text after the last line end is not an error; a whole line that is
// no JSON is.
func Scan(r io.Reader, each func(line json.RawMessage) error) (int64, error) {
	b := bufio.NewReaderSize(r, 1<<16)
	var good int64
	for n := 1; ; n++ {
		line, err := b.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return good, nil
		}
		if err != nil {
			return good, err
		}
		if len(line) > maxLine {
			return good, fmt.Errorf("line %d is longer than %d bytes", n, maxLine)
		}
		text := bytes.TrimSuffix(line, []byte("\n"))
		if !json.Valid(text) {
			return good, fmt.Errorf("line %d is damaged", n)
		}
		if err := each(text); err != nil {
			return good, fmt.Errorf("line %d: %w", n, err)
		}
		good += int64(len(line))
	}
}

// Append writes v as a line. It is on the disk when Append returns nil; after an
// error it may be there or not, and if the write failed the ledger takes no more.
// When ctx ends first the line may still be written.
func (l *Ledger) Append(ctx context.Context, v any) error {
	line, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("ledger: %w", err)
	}
	if len(line) >= maxLine {
		return fmt.Errorf("ledger: a line of %d bytes is too long", len(line))
	}
	done := make(chan error, 1)
	select {
	case l.queue <- entry{line: append(line, '\n'), done: done}:
	case <-l.done:
		return l.failure()
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case err := <-done:
		return err
	case <-l.done:
		// The writer may have answered just before it ended.
		select {
		case err := <-done:
			return err
		default:
			return l.failure()
		}
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (l *Ledger) failure() error {
	if l.err != nil {
		return fmt.Errorf("%w: %w", ErrClosed, l.err)
	}
	return ErrClosed
}

// write is the one writer: what has queued up goes to the disk in one flush.
func (l *Ledger) write() {
	defer close(l.done)
	var (
		text  bytes.Buffer
		batch []chan<- error
	)
	for {
		text.Reset()
		batch = batch[:0]
		select {
		case e := <-l.queue:
			text.Write(e.line)
			batch = append(batch, e.done)
		case <-l.stop:
			return
		}
		for more := true; more && len(batch) < maxQueue; {
			select {
			case e := <-l.queue:
				text.Write(e.line)
				batch = append(batch, e.done)
			default:
				more = false
			}
		}
		_, err := l.file.Write(text.Bytes())
		if err == nil {
			err = l.file.Sync()
		}
		for _, done := range batch {
			done <- err
		}
		if err != nil {
			l.err = err // what the file holds now is not known: no more of it
			return
		}
	}
}

// Close ends the writer and lets go of the file. Appends that were not answered
// yet fail.
func (l *Ledger) Close() error {
	var err error
	l.once.Do(func() {
		close(l.stop)
		<-l.done
		err = l.file.Close()
	})
	return err
}
