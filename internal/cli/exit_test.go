package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"strings"
	"syscall"
	"testing"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/internal/config"
	"github.com/cairn-run/cairn/journal"
)

func TestExitCode(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		err  error
		want int
	}{
		{nil, ExitOK},
		{&exit{code: ExitWaiting}, ExitWaiting},
		{errors.Join(&exit{code: ExitDetached}, errors.New("close")), ExitDetached},
		{usage(errors.New("no")), ExitUsage},
		{&config.Error{Problem: "no"}, ExitUsage},
		{fmt.Errorf("apply: %w", &cairn.FieldError{Path: "name", Problem: "no"}), ExitUsage},
		{fmt.Errorf("open: %w", journal.ErrLocked), ExitInUse},
		{journal.ErrFull, ExitStorage},
		{&fs.PathError{Op: "write", Err: syscall.ENOSPC}, ExitStorage},
		{journal.ErrNotFound, ExitNotFound},
		{journal.ErrDecided, ExitConflict},
		{journal.ErrClosed, ExitTemporary},
		{journal.ErrTooNew, ExitUsage},
		{cairn.Errorf(cairn.CodeInvalid, "no"), ExitUsage},
		{cairn.Errorf(cairn.CodeNotFound, "no"), ExitNotFound},
		{cairn.Errorf(cairn.CodeConflict, "no"), ExitConflict},
		{cairn.Errorf(cairn.CodeAuth, "no"), ExitDenied},
		{cairn.Errorf(cairn.CodeUnavailable, "no"), ExitUnavailable},
		{cairn.Errorf(cairn.CodeRateLimited, "no"), ExitTemporary},
		{cairn.Errorf(cairn.CodeFull, "no"), ExitStorage},
		{cairn.Errorf(cairn.CodeInternal, "no"), ExitInternal},
		{cairn.Errorf(cairn.CodeBudget, "no"), ExitFailed},
		{&net.OpError{Op: "listen", Err: errors.New("no")}, ExitUnavailable},
		{fs.ErrNotExist, ExitNotFound},
		{&fs.PathError{Op: "open", Err: syscall.EACCES}, ExitDenied},
		{&fs.PathError{Op: "open", Err: syscall.EIO}, ExitStorage},
		{context.DeadlineExceeded, ExitTemporary},
		{errors.New("no"), ExitInternal},
	} {
		if got := exitCode(c.err); got != c.want {
			t.Errorf("%v: exit code %d, want %d", c.err, got, c.want)
		}
	}
	listed := map[int]bool{}
	for _, c := range ExitCodes() {
		if listed[c.Code] || c.Meaning == "" {
			t.Errorf("exit code %d is listed twice, or without a meaning", c.Code)
		}
		listed[c.Code] = true
	}
}

// TestStorageCode: a program is told that the disk is full only when it is.
func TestStorageCode(t *testing.T) {
	t.Parallel()
	for err, want := range map[syscall.Errno]cairn.Code{syscall.ENOSPC: cairn.CodeFull, syscall.ELOOP: cairn.CodeInvalid, syscall.EIO: cairn.CodeInvalid} {
		if got := codeOf(&fs.PathError{Op: "open", Path: "a.md", Err: err}, ExitStorage); got != want {
			t.Errorf("%v: %s, want %s", err, got, want)
		}
	}
}

// TestUnwritable: what to do about a data directory that cannot be written is said,
// and the exit code stays.
func TestUnwritable(t *testing.T) {
	t.Parallel()
	a := &app{data: "/srv/cairn"}
	for err, want := range map[syscall.Errno]int{syscall.EROFS: ExitStorage, syscall.EACCES: ExitDenied} {
		got := a.unwritable(&fs.PathError{Op: "open", Path: "/srv/cairn/cairn.lock", Err: err})
		if !strings.Contains(got.Error(), "/srv/cairn has to be writable") || exitCode(got) != want {
			t.Errorf("%v: code %d, %v", err, exitCode(got), got)
		}
	}
	if err := a.unwritable(nil); err != nil {
		t.Error(err)
	}
}
