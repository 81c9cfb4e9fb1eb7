//go:build linux && !amd64

package main

import "golang.org/x/sys/unix"

// compat has no second interface to try here.
func compat() result { return outcome(unix.ENOSYS, "no int 0x80 on this machine") }
