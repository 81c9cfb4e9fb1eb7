//go:build linux

package main

import (
	"encoding/hex"
	"fmt"
	"runtime"
	"strconv"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// rawSyscall makes one system call: its number, then up to six arguments: a
// number; s:TEXT, a pointer to a NUL-terminated string; p:N, a pointer to N zero
// bytes; h:HEX, a pointer to these bytes, padded with zeros to 128.
func rawSyscall(args []string) result {
	runtime.LockOSThread()
	var (
		n    [7]uintptr
		keep []*byte
	)
	n[0] = number(arg(args, 0))
	for i, a := range args[1:] {
		kind, text, ok := strings.Cut(a, ":")
		var b []byte
		switch {
		case !ok:
			n[i+1] = number(a)
			continue
		case kind == "s":
			b = append([]byte(text), 0)
		case kind == "p":
			b = make([]byte, number(text)+1)
		case kind == "h":
			raw, err := hex.DecodeString(text)
			if err != nil {
				fail(err.Error())
			}
			b = make([]byte, len(raw)+128)
			copy(b, raw)
		default:
			fail(fmt.Sprintf("%q: write a number, s:, p: or h:", a))
		}
		keep = append(keep, &b[0])
		n[i+1] = uintptr(unsafe.Pointer(&b[0]))
	}
	r, _, errno := unix.Syscall6(n[0], n[1], n[2], n[3], n[4], n[5], n[6])
	runtime.KeepAlive(keep)
	if errno != 0 {
		return outcome(errno, "")
	}
	return outcome(nil, "returned "+strconv.FormatInt(int64(r), 10))
}

// clone forks with flags; the child does nothing but exit.
func clone(args []string) result {
	pid, _, errno := unix.RawSyscall6(unix.SYS_CLONE, number(arg(args, 0))|uintptr(unix.SIGCHLD), 0, 0, 0, 0, 0)
	return forked(pid, errno)
}

// clone3 does the same by the call whose flags seccomp cannot see.
func clone3(args []string) result {
	c := struct {
		flags, pidfd, childTID, parentTID, exitSignal, stack, stackSize, tls uint64
	}{flags: uint64(number(arg(args, 0))), exitSignal: uint64(unix.SIGCHLD)}
	pid, _, errno := unix.RawSyscall(unix.SYS_CLONE3, uintptr(unsafe.Pointer(&c)), unsafe.Sizeof(c), 0)
	return forked(pid, errno)
}

// forked runs in both: the child has one thread and may not touch the runtime.
func forked(pid uintptr, errno unix.Errno) result {
	if errno != 0 {
		return outcome(errno, "")
	}
	if pid == 0 {
		unix.RawSyscall(unix.SYS_EXIT_GROUP, 0, 0, 0) //nolint:errcheck // it does not return
	}
	var ws unix.WaitStatus
	_, err := unix.Wait4(int(pid), &ws, 0, nil)
	if err != nil {
		return outcome(nil, "forked, then "+err.Error())
	}
	return outcome(nil, "forked")
}

// seccompNotify asks for a listener: who has one can answer the calls of others.
func seccompNotify() result {
	runtime.LockOSThread()
	filter := []unix.SockFilter{{Code: unix.BPF_RET | unix.BPF_K, K: 0x7fff0000}} // allow all
	prog := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return outcome(err, "no_new_privs")
	}
	_, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_NEW_LISTENER, uintptr(unsafe.Pointer(&prog)))
	if errno != 0 {
		return outcome(errno, "")
	}
	return outcome(nil, "a listener")
}

// shocker reopens a file by its handle, below whatever mount it is given: from
// inside a container this reaches any file of the host's file system
// ("shocker", 2014).
func shocker(args []string) result {
	dir := arg(args, 0)
	h, _, err := unix.NameToHandleAt(unix.AT_FDCWD, dir, 0)
	if err != nil { // any handle will do: inode 2 is the root of ext4
		h2 := unix.NewFileHandle(1, []byte{2, 0, 0, 0, 0, 0, 0, 0})
		h = h2
	}
	mount, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return outcome(err, "opening the mount")
	}
	fd, err := unix.OpenByHandleAt(mount, h, unix.O_RDONLY)
	if err != nil {
		return outcome(err, "")
	}
	_ = unix.Close(fd)
	return outcome(nil, "opened")
}

// ttyIoctl makes a terminal and gives it an ioctl: TIOCSTI types into it.
func ttyIoctl(args []string) result {
	master, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return outcome(err, "opening /dev/ptmx")
	}
	if err := unix.IoctlSetPointerInt(master, unix.TIOCSPTLCK, 0); err != nil {
		return outcome(err, "unlocking")
	}
	fd, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(master), unix.TIOCGPTPEER, unix.O_RDWR|unix.O_NOCTTY)
	if errno != 0 {
		return outcome(errno, "opening the other side")
	}
	text := [16]byte{'x'}
	if _, _, errno = unix.Syscall(unix.SYS_IOCTL, fd, number(arg(args, 0)), uintptr(unsafe.Pointer(&text))); errno != 0 {
		return outcome(errno, "")
	}
	return outcome(nil, "done")
}

// forbidden makes each call with arguments that cannot work and lists those that
// got further than the filter.
func forbidden(args []string) result {
	var through []string
	for _, a := range args {
		_, _, errno := unix.RawSyscall6(number(a), ^uintptr(0), 0, ^uintptr(0), 0, 0, 0)
		if errno != unix.EPERM && errno != unix.ENOSYS && errno != unix.EACCES {
			through = append(through, a+"="+unix.ErrnoName(errno))
		}
	}
	return hidden(len(through) == 0, fmt.Sprintf("%d calls; not refused: %v", len(args), through))
}

// families tries to make a socket of each family and type and lists those that
// are not allowed by the arguments ("1" is AF_UNIX) and were made, or are not
// known to the kernel only.
func families(args []string) result {
	allowed := map[int]bool{}
	for _, a := range args {
		allowed[int(number(a))] = true
	}
	var made []string
	for family := range 64 {
		if allowed[family] {
			continue
		}
		for _, kind := range []int{unix.SOCK_STREAM, unix.SOCK_DGRAM, unix.SOCK_RAW, unix.SOCK_SEQPACKET} {
			fd, err := unix.Socket(family, kind|unix.SOCK_CLOEXEC, 0)
			if err == nil {
				_ = unix.Close(fd)
				made = append(made, fmt.Sprintf("%d/%d", family, kind))
			}
		}
	}
	return hidden(len(made) == 0, fmt.Sprintf("made (family/type): %v", made))
}

// sessionKeyring looks for a keyring that somebody else left in the session.
func sessionKeyring() result {
	id, err := unix.KeyctlGetKeyringID(unix.KEY_SPEC_SESSION_KEYRING, false)
	if err != nil {
		return outcome(err, "")
	}
	return outcome(nil, fmt.Sprint("keyring ", id))
}
