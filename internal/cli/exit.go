package cli

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"syscall"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/internal/config"
	"github.com/cairn-run/cairn/journal"
)

// Exit codes. From 64 on they are those of BSD's sysexits(3).
const (
	ExitOK          = 0
	ExitFailed      = 1  // the run failed
	ExitUsage       = 2  // the command line, the agent file or the request is wrong
	ExitWaiting     = 3  // the session waits for an answer, or is paused
	ExitCancelled   = 4  // the session was cancelled
	ExitDetached    = 5  // the session goes on, or stays as it is, without this command
	ExitConflict    = 6  // it was decided or changed before
	ExitUnhealthy   = 7  // doctor found something wrong
	ExitChanges     = 8  // apply --dry-run --detailed-exitcode: something would change
	ExitNotFound    = 66 // no such session, ask, agent or file
	ExitUnavailable = 69 // the server cannot be reached
	ExitInternal    = 70 // a defect of Cairn
	ExitInUse       = 73 // another process holds the data directory
	ExitStorage     = 74 // storage is full, or a file cannot be read or written
	ExitTemporary   = 75 // try again
	ExitDenied      = 77 // the token is refused, or it is not allowed
)

// ExitCodes is the table of exit codes, for the help text and docs/cli.md.
func ExitCodes() []struct {
	Code    int
	Meaning string
} {
	return []struct {
		Code    int
		Meaning string
	}{
		{ExitOK, "done; of run, attach and send --follow: the run completed"},
		{ExitFailed, "the run failed"},
		{ExitUsage, "the command line, the agent file or the request is wrong"},
		{ExitWaiting, "the session waits for an answer (an ask is open) or is paused"},
		{ExitCancelled, "the session was cancelled"},
		{ExitDetached, "detached: the session goes on, or stays as it is, without this command"},
		{ExitConflict, "conflict: it was decided or changed before, or the session is over"},
		{ExitUnhealthy, "doctor found something wrong"},
		{ExitChanges, "apply --dry-run --detailed-exitcode: something would change"},
		{ExitNotFound, "no such session, ask, agent or file"},
		{ExitUnavailable, "the server cannot be reached"},
		{ExitInternal, "a defect of Cairn"},
		{ExitInUse, "another process holds the data directory and does not answer"},
		{ExitStorage, "storage is full, or a file cannot be read or written"},
		{ExitTemporary, "temporary failure: try again"},
		{ExitDenied, "the token is refused, or it is not allowed"},
	}
}

// exit ends a command with a code; Err says why and may be nil.
type exit struct {
	code int
	err  error
}

func (e *exit) Error() string {
	if e.err == nil {
		return ""
	}
	return e.err.Error()
}

func (e *exit) Unwrap() error { return e.err }

// usage is an error of the command line.
func usage(err error) error { return &exit{ExitUsage, err} }

// exitCode is the code of the process for an error.
func exitCode(err error) int {
	if err == nil {
		return ExitOK
	}
	if e, ok := errors.AsType[*exit](err); ok {
		return e.code
	}
	if _, ok := errors.AsType[*config.Error](err); ok {
		return ExitUsage
	}
	if _, ok := errors.AsType[*cairn.FieldError](err); ok {
		return ExitUsage
	}
	switch {
	case errors.Is(err, journal.ErrLocked):
		return ExitInUse
	case errors.Is(err, journal.ErrFull), errors.Is(err, syscall.ENOSPC):
		return ExitStorage
	case errors.Is(err, journal.ErrTooNew):
		return ExitUsage
	case errors.Is(err, journal.ErrNotFound):
		return ExitNotFound
	case errors.Is(err, journal.ErrDecided), errors.Is(err, journal.ErrExists), errors.Is(err, journal.ErrMismatch):
		return ExitConflict
	case errors.Is(err, journal.ErrClosed), errors.Is(err, journal.ErrUnknown):
		return ExitTemporary
	}
	if e, ok := errors.AsType[*cairn.Error](err); ok {
		return exitOf(e.Code)
	}
	if _, ok := errors.AsType[*net.OpError](err); ok {
		return ExitUnavailable
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return ExitNotFound
	case errors.Is(err, fs.ErrPermission):
		return ExitDenied
	case errors.Is(err, context.DeadlineExceeded):
		return ExitTemporary
	}
	if _, ok := errors.AsType[*fs.PathError](err); ok {
		return ExitStorage
	}
	return ExitInternal
}

// exitOf is the exit code of an error's code.
func exitOf(c cairn.Code) int {
	switch c {
	case "":
		return ExitOK
	case cairn.CodeInvalid, cairn.CodeInvalidArgs:
		return ExitUsage
	case cairn.CodeNotFound, cairn.CodeUnknownTool:
		return ExitNotFound
	case cairn.CodeConflict, cairn.CodeExpired, cairn.CodePinMismatch:
		return ExitConflict
	case cairn.CodeDenied, cairn.CodeAuth:
		return ExitDenied
	case cairn.CodeUnavailable:
		return ExitUnavailable
	case cairn.CodeRateLimited, cairn.CodeOverloaded, cairn.CodeTimeout:
		return ExitTemporary
	case cairn.CodeFull:
		return ExitStorage
	case cairn.CodeInternal:
		return ExitInternal
	}
	return ExitFailed
}
