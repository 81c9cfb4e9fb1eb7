package sqlite

import (
	"errors"
	"os"

	"golang.org/x/sys/windows"
)

// lockByte lies behind what the file may hold: a locked range cannot be read by
// others on Windows.
const lockByte = 1 << 20

func lockFileOf(f *os.File) error {
	err := windows.LockFileEx(windows.Handle(f.Fd()), windows.LOCKFILE_EXCLUSIVE_LOCK|windows.LOCKFILE_FAIL_IMMEDIATELY,
		0, 1, 0, &windows.Overlapped{Offset: lockByte})
	if errors.Is(err, windows.ERROR_LOCK_VIOLATION) {
		return errHeld
	}
	return err
}

// alive says that the holder of the lock is there: no child keeps it on Windows.
func alive(int) bool { return true }

func isNoSpace(err error) bool { return errors.Is(err, windows.ERROR_DISK_FULL) }

// syncDir does nothing: Windows journals the names of files itself.
func syncDir(string) error { return nil }
