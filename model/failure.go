package model

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"syscall"

	"github.com/cairn-run/cairn"
)

// AsFailure makes a typed failure of any error a driver may end with. What a
// provider said is a *[Failure] or *[cairn.Error] already and stays what it is;
// of the network's errors, a refused connection says that nothing was bought
// (NotDone), and a broken one says nothing. An error without a type becomes
// CodeInternal, and its text stays out of the message.
func AsFailure(err error) *Failure {
	if f, ok := errors.AsType[*Failure](err); ok {
		known := *f
		if known.Err == nil {
			known.Err = &cairn.Error{Code: cairn.CodeInternal, Message: "the model driver failed"}
		}
		if len(known.RawUsage) > 0 && !json.Valid(known.RawUsage) {
			known.RawUsage = nil
		}
		return &known
	}
	if e, ok := errors.AsType[*cairn.Error](err); ok && e != nil {
		return &Failure{Err: e}
	}
	return &Failure{Err: asError(err)}
}

func asError(err error) *cairn.Error {
	e := &cairn.Error{Err: err}
	switch {
	case errors.Is(err, context.Canceled):
		e.Code, e.Message = cairn.CodeCancelled, "the model call was stopped"
		return e
	case timedOut(err):
		e.Code, e.Message = cairn.CodeTimeout, "the model did not answer in time"
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF),
		errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		e.Code, e.Message = cairn.CodeCut, "the connection to the model broke"
	case isNetwork(err):
		e.Code, e.Message = cairn.CodeUnavailable, "the model cannot be reached"
	default:
		e.Code, e.Message = cairn.CodeInternal, "the model driver failed"
		return e
	}
	e.Retryable = true
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == "dial" {
		e.NotDone = true
	}
	if _, ok := errors.AsType[*net.DNSError](err); ok {
		e.NotDone = true
	}
	return e
}

func timedOut(err error) bool {
	if errors.Is(err, context.DeadlineExceeded) {
		return true
	}
	n, ok := errors.AsType[net.Error](err)
	return ok && n.Timeout()
}

func isNetwork(err error) bool {
	_, ok := errors.AsType[*net.OpError](err)
	if !ok {
		_, ok = errors.AsType[*net.DNSError](err)
	}
	return ok
}
