package workspace

import (
	"context"
	"errors"
	"io/fs"
	"strconv"

	"github.com/cairn-run/cairn"
)

// Errors that callers tell apart, with errors.Is.
var (
	// ErrNotFound: there is no such base, path or session.
	ErrNotFound = errors.New("not found")
	// ErrDamaged: what was recorded is not on the disk any more, or differs. The
	// message says what is lost.
	ErrDamaged = errors.New("the files of the session are damaged")
	// ErrNotCheckedOut: a snapshot was asked for before Checkout, Plain or after the
	// process was started anew.
	ErrNotCheckedOut = errors.New("not checked out")
)

// damaged makes an error that says what is lost.
func damaged(format string, args ...any) error {
	e := cairn.Errorf(cairn.CodeInternal, format, args...)
	e.Err = errors.Join(ErrDamaged, e.Err)
	return e
}

// Oversize says that the files of a snapshot have more bytes than [Tree.Within]
// allows. Bytes is what was counted until then.
type Oversize struct{ Bytes, Max int64 }

// Error implements error.
func (o *Oversize) Error() string {
	return cairn.Bytes(o.Bytes).String() + " of at most " + cairn.Bytes(o.Max).String()
}

func oversize(bytes, most int64) error {
	e := cairn.Errorf(cairn.CodeInvalid, "the files that were written are larger than %s, each name counted with its full size: write less", cairn.Bytes(most))
	e.Err = &Oversize{bytes, most}
	return e
}

func notFound(format string, args ...any) error {
	e := cairn.Errorf(cairn.CodeNotFound, format, args...)
	e.Err = errors.Join(ErrNotFound, e.Err)
	return e
}

// wrap makes err a *cairn.Error: what failed, and what to do next.
func wrap(err error, doing string) error {
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*cairn.Error](err); ok {
		return err
	}
	switch {
	case errors.Is(err, context.Canceled):
		return &cairn.Error{Code: cairn.CodeCancelled, Message: doing + " was stopped", Err: err}
	case errors.Is(err, context.DeadlineExceeded):
		return &cairn.Error{Code: cairn.CodeTimeout, Message: doing + " took too long", Retryable: true, Err: err}
	case isFull(err):
		return &cairn.Error{Code: cairn.CodeFull, Message: doing + ": the disk is full; the recorded state is intact. Make space and try again", Retryable: true, Err: err}
	case errors.Is(err, errUnsupported):
		return &cairn.Error{Code: cairn.CodeUnavailable, Message: doing + ": the files of sessions can be kept on Linux only; run the node there", Err: err}
	default:
		return &cairn.Error{Code: cairn.CodeInternal, Message: doing + " failed", Err: err}
	}
}

// errUnsupported is the answer of systems other than Linux.
var errUnsupported = errors.New("not supported on this system")

func missing(err error) bool { return errors.Is(err, fs.ErrNotExist) }

// quoted shows a path that a payload chose: escaped, and cut.
func quoted(path string) string {
	if len(path) > 200 {
		path = path[:200] + "…"
	}
	return strconv.Quote(path)
}
