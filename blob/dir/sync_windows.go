package dir

import (
	"errors"
	"os"
	"syscall"
)

// syncFolder does nothing: Windows cannot flush a folder, and NTFS logs its
// changes itself.
func syncFolder(*os.File) error { return nil }

// Error codes of WinError.h.
const (
	errorHandleDiskFull = syscall.Errno(39)
	errorDiskFull       = syscall.Errno(112)
)

// isFull says that an error means no space.
func isFull(err error) bool {
	return errors.Is(err, errorDiskFull) || errors.Is(err, errorHandleDiskFull)
}
