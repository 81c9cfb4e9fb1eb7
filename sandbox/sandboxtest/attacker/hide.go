//go:build linux

package main

import (
	"os"

	"golang.org/x/sys/unix"
)

// hideChunk is how much each thing holds that hide makes.
const hideChunk = 16 * mib

// hide makes files of which nothing shows in a directory, and puts their
// descriptors where a look at the processes may not find them.
func hide(args []string, open func() (int, error), away func(fd int) error) {
	b := make([]byte, hideChunk)
	touch(b)
	for n := 0; n < limit(args); n += len(b) {
		fd, err := open()
		if err == nil {
			_, err = unix.Write(fd, b)
		}
		if err == nil {
			err = away(fd)
		}
		if err != nil {
			stopped(n, err)
		}
		said(n + len(b))
	}
}

// memoryFile is a file in memory.
func memoryFile() (int, error) { return unix.MemfdCreate("hog", unix.MFD_CLOEXEC) }

// lostFile is a file on the disk without a name.
func lostFile() (int, error) {
	fd, err := unix.Open("lost", unix.O_RDWR|unix.O_CREAT|unix.O_EXCL, 0o600)
	if err == nil {
		err = os.Remove("lost")
	}
	return fd, err
}

// keep leaves the descriptor open.
func keep(int) error { return nil }

// mapOnly leaves only a mapping, of which one page is touched.
func mapOnly(fd int) error {
	b, err := unix.Mmap(fd, 0, hideChunk, unix.PROT_READ, unix.MAP_SHARED)
	if err == nil {
		_ = b[0]
		err = unix.Close(fd)
	}
	return err
}

// sendAway puts the descriptor into a socket that nobody reads: no process has it
// open then.
func sendAway(fd int) error {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_DGRAM, 0)
	if err == nil {
		err = unix.Sendmsg(pair[0], []byte{0}, unix.UnixRights(fd), nil, 0)
	}
	if err == nil {
		err = unix.Close(fd)
	}
	return err
}

// sysv fills System V segments and lets go of them: they are no process's then.
func sysv(args []string) {
	for n := 0; n < limit(args); n += hideChunk {
		id, err := unix.SysvShmGet(unix.IPC_PRIVATE, hideChunk, unix.IPC_CREAT|0o600)
		if err != nil {
			stopped(n, err)
		}
		b, err := unix.SysvShmAttach(id, 0, 0)
		if err != nil {
			stopped(n, err)
		}
		touch(b)
		if err := unix.SysvShmDetach(b); err != nil {
			stopped(n, err)
		}
		said(n + hideChunk)
	}
}
