//go:build !unix

package cli

import "os"

// TerminalOf finds out which of the standard streams are terminals.
func TerminalOf(in, out, err *os.File) Terminal {
	return Terminal{In: isTerminal(in), Out: isTerminal(out), Err: isTerminal(err)}
}

func isTerminal(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
