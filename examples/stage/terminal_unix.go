//go:build unix

package stage

import (
	"os"

	"golang.org/x/sys/unix"
)

// isTerminal asks for the size of a window, which only terminals have.
func isTerminal(f *os.File) bool {
	_, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ)
	return err == nil
}
