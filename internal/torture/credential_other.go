//go:build !unix

package torture

import "syscall"

// credential makes a process another user's: not here, where nothing is tortured.
func credential(int, int) *syscall.SysProcAttr { return nil }
