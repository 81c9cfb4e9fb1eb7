//go:build unix

package dir

import (
	"errors"
	"os"
	"syscall"
)

// syncFolder makes the entries of a folder durable.
func syncFolder(f *os.File) error { return f.Sync() }

// isFull says that an error means no space or no quota.
func isFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}
