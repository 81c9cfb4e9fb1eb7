// Package record writes down what models say, call by call, while they are
// really called. What it writes is played back by the script model.
//
// It writes answers, failures and hashes of what was asked. It sees no credential
// and no header: those are made below the drivers that it wraps.
package record

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"sync"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/model"
)

// Tape is the form of a recording. Its methods are not called at once.
type Tape interface {
	// Model adds what is known of a model, by its full name.
	Model(info cairn.ModelInfo)
	// Add adds an attempt and how it ended: either answer or failed is nil. It must
	// not keep or change them. An error says why the attempt is not on the tape.
	Add(c model.Call, answer *cairn.ModelAnswer, failed *model.Failure) error
	// Bytes is the recording as it is now.
	Bytes() []byte
}

// Recorder writes a tape to a file. It is safe for concurrent use.
type Recorder struct {
	path string

	mu    sync.Mutex
	tape  Tape
	calls int
	err   error // the first one: after it nothing is recorded
}

// Create makes the file, which must not exist, with mode 0600. fs.ErrExist: it is
// there; nothing is ever recorded over.
func Create(path string, t Tape) (*Recorder, error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	r := &Recorder{path: path, tape: t}
	if err := errors.Join(f.Close(), r.write()); err != nil {
		return nil, errors.Join(err, os.Remove(path))
	}
	return r, nil
}

// Close ends the recording and returns the number of calls in it. An error says
// why not all are. Without a call there is no file left. What is called later is
// not recorded.
func (r *Recorder) Close() (calls int, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err == nil && r.calls > 0 { // what was learnt of models after the last call
		r.err = r.write()
	}
	err = r.err
	if errors.Is(err, errClosed) {
		err = nil
	}
	if r.err == nil {
		r.err = errClosed
	}
	if r.calls == 0 {
		if e := os.Remove(r.path); !errors.Is(e, fs.ErrNotExist) {
			err = errors.Join(err, e)
		}
	}
	return r.calls, err
}

var errClosed = errors.New("record: closed")

// Wrap records the calls of a driver that is known under a name of provider. What
// the driver yields is passed on as it is, whether it can be recorded or not.
// The driver may be before or behind a [model.Guard].
func (r *Recorder) Wrap(provider string, d model.Driver) model.Driver {
	w := &driver{Driver: d, provider: provider, recorder: r}
	if l, ok := d.(model.Lister); ok {
		return &lister{w, l}
	}
	return w
}

type driver struct {
	model.Driver
	provider string
	recorder *Recorder
}

// lister is a driver that can list its models.
type lister struct {
	*driver
	model.Lister
}

// Info asks the driver and records what it says.
func (d *driver) Info(ctx context.Context, name string) (cairn.ModelInfo, error) {
	info, err := d.Driver.Info(ctx, name)
	if err == nil {
		known := info
		known.Name, known.Provider = d.provider+"/"+name, d.provider
		d.recorder.mu.Lock()
		d.recorder.tape.Model(known)
		d.recorder.mu.Unlock()
	}
	return info, err
}

// Call makes one attempt and records how it ended, before its reader learns of
// it. An attempt that the caller stopped is not recorded: that says nothing of
// the model.
func (d *driver) Call(ctx context.Context, c model.Call) iter.Seq2[model.Chunk, error] {
	return func(yield func(model.Chunk, error) bool) {
		for chunk, err := range d.Driver.Call(ctx, c) {
			switch {
			case err != nil:
				d.failed(ctx, c, err)
				yield(chunk, err)
				return
			case chunk.Answer != nil:
				d.recorder.add(c, chunk.Answer, nil)
				yield(chunk, nil)
				return
			case !yield(chunk, nil):
				return
			}
		}
		d.failed(ctx, c, &cairn.Error{
			Code: cairn.CodeCut, Retryable: true, Message: "the answer broke off before it was complete",
		})
	}
}

// failed records a failure as a [model.Guard] around the driver tells it: where
// the context ended, its cause is what happened, unless the provider had the last
// word. Silence for too long is a failure of the model, an interruption is not.
func (d *driver) failed(ctx context.Context, c model.Call, err error) {
	f := model.AsFailure(err)
	if ctx.Err() != nil {
		switch f.Err.Code {
		case cairn.CodeCancelled, cairn.CodeTimeout, cairn.CodeCut, cairn.CodeInternal, cairn.CodeUnavailable:
			f.Err = ended(ctx, f.Err.NotDone)
		}
	}
	switch f.Err.Code {
	case cairn.CodeCancelled, cairn.CodeInterrupted:
		return
	}
	d.recorder.add(c, nil, f)
}

// ended says why a context ended.
func ended(ctx context.Context, notDone bool) *cairn.Error {
	e := cairn.Error{Code: cairn.CodeCancelled}
	if cause, ok := errors.AsType[*cairn.Error](context.Cause(ctx)); ok {
		e = *cause
	} else if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		e = cairn.Error{Code: cairn.CodeTimeout, Retryable: true, Message: "the model call ran out of time"}
	}
	e.NotDone = e.NotDone || notDone
	return &e
}

func (r *Recorder) add(c model.Call, answer *cairn.ModelAnswer, failed *model.Failure) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err != nil {
		return
	}
	if r.err = r.tape.Add(c, answer, failed); r.err == nil {
		r.err = r.write()
	}
	if r.err != nil {
		r.err = fmt.Errorf("the recording ends after %d calls: %w", r.calls, r.err)
		return
	}
	r.calls++
}

// write puts the whole tape into the file, or leaves the file as it was.
func (r *Recorder) write() (err error) {
	tmp, err := os.CreateTemp(filepath.Dir(r.path), ".record-*") // with mode 0600
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(tmp.Name()))
		}
	}()
	_, err = tmp.Write(r.tape.Bytes())
	if err = errors.Join(err, tmp.Sync(), tmp.Close()); err != nil {
		return err
	}
	return os.Rename(tmp.Name(), r.path)
}
