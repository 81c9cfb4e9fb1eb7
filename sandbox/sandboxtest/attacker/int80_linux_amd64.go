package main

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// int80 makes a system call of the 32-bit interface.
func int80(nr uint32) int32

// getpid32 is the number of getpid there: a filter that looks at numbers and not
// at the interface takes it for another call.
const getpid32 = 20

func compat() result {
	r := int80(getpid32)
	if r < 0 {
		return outcome(unix.Errno(-r), "")
	}
	return outcome(nil, fmt.Sprint("getpid by int 0x80 gave ", r))
}
