//go:build unix

package cli

import (
	"os"

	"golang.org/x/sys/unix"
)

// TerminalOf finds out which of the standard streams are terminals.
func TerminalOf(in, out, err *os.File) Terminal {
	size := func() (columns, lines int) {
		for _, f := range []*os.File{err, out} {
			if size, e := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ); e == nil && size.Col > 0 && size.Row > 0 {
				return int(size.Col), int(size.Row)
			}
		}
		return 80, 24
	}
	return Terminal{
		In: isTerminal(in), Out: isTerminal(out), Err: isTerminal(err),
		Width:  func() int { columns, _ := size(); return columns },
		Height: func() int { _, lines := size(); return lines },
	}
}

// isTerminal asks for the size of a window, which only terminals have.
func isTerminal(f *os.File) bool {
	_, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ)
	return err == nil
}
