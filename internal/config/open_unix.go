//go:build unix

package config

import "golang.org/x/sys/unix"

// noWait opens a pipe that nobody writes to without waiting for a writer.
const noWait = unix.O_NONBLOCK
