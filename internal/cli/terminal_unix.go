//go:build unix

package cli

import (
	"os"

	"golang.org/x/sys/unix"
)

// TerminalOf finds out which of the standard streams are terminals.
func TerminalOf(in, out, err *os.File) Terminal {
	return Terminal{In: isTerminal(in), Out: isTerminal(out), Err: isTerminal(err), Width: func() int {
		for _, f := range []*os.File{err, out} {
			if size, e := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ); e == nil && size.Col > 0 {
				return int(size.Col)
			}
		}
		return 80
	}}
}

// isTerminal asks for the size of a window, which only terminals have.
func isTerminal(f *os.File) bool {
	_, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ)
	return err == nil
}
