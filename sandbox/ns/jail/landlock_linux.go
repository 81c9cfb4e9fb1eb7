//go:build linux && (amd64 || arm64)

package jail

import (
	"errors"
	"fmt"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// MinLandlock is the oldest version of Landlock that is used: the first one
// refuses every rename to another directory.
const MinLandlock = 2

// writing are the rights over files that the rule set handles, by the version that
// brought them (Documentation/userspace-api/landlock.rst). Reading and running
// are left to the mounts: all that is shown may be read.
var writing = [...]uint64{
	1: unix.LANDLOCK_ACCESS_FS_WRITE_FILE | unix.LANDLOCK_ACCESS_FS_REMOVE_DIR | unix.LANDLOCK_ACCESS_FS_REMOVE_FILE |
		unix.LANDLOCK_ACCESS_FS_MAKE_CHAR | unix.LANDLOCK_ACCESS_FS_MAKE_DIR | unix.LANDLOCK_ACCESS_FS_MAKE_REG |
		unix.LANDLOCK_ACCESS_FS_MAKE_SOCK | unix.LANDLOCK_ACCESS_FS_MAKE_FIFO | unix.LANDLOCK_ACCESS_FS_MAKE_BLOCK |
		unix.LANDLOCK_ACCESS_FS_MAKE_SYM,
	2: unix.LANDLOCK_ACCESS_FS_REFER,
	3: unix.LANDLOCK_ACCESS_FS_TRUNCATE,
	4: 0,
	5: unix.LANDLOCK_ACCESS_FS_IOCTL_DEV,
}

// devices are the rights that are never given: no device is ever made.
const devices = unix.LANDLOCK_ACCESS_FS_MAKE_CHAR | unix.LANDLOCK_ACCESS_FS_MAKE_BLOCK

// onFile are the rights of writing that a file can have; the others are a
// directory's.
const onFile = unix.LANDLOCK_ACCESS_FS_WRITE_FILE | unix.LANDLOCK_ACCESS_FS_TRUNCATE | unix.LANDLOCK_ACCESS_FS_IOCTL_DEV

// LandlockVersion is the version the kernel has; 0: none, or switched off.
func LandlockVersion() int {
	v, _, errno := syscall.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	if errno != 0 {
		return 0
	}
	return int(v)
}

// Landlock makes a rule set with which only below the trees can be made, changed
// or removed anything, and only written to the files; neither signals nor
// abstract sockets reach processes outside. Paths that are not there are left
// out. It returns -1 where the kernel has no version that can be used.
func Landlock(version int, trees, files []string) (int, error) {
	if version < MinLandlock {
		return -1, nil
	}
	var rights uint64
	for v := 1; v < len(writing) && v <= version; v++ {
		rights |= writing[v]
	}
	attr := unix.LandlockRulesetAttr{Handled_access_fs: rights}
	if version >= 6 {
		attr.Scoped = unix.LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET | unix.LANDLOCK_SCOPE_SIGNAL
	}
	size := unsafe.Sizeof(attr)
	switch {
	case version < 4:
		size = unsafe.Offsetof(attr.Handled_access_net)
	case version < 6:
		size = unsafe.Offsetof(attr.Scoped)
	default:
		size = min(size, unsafe.Offsetof(attr.Scoped)+unsafe.Sizeof(attr.Scoped))
	}
	fd, _, errno := syscall.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, uintptr(unsafe.Pointer(&attr)), size, 0)
	if errno != 0 {
		return -1, fmt.Errorf("make a Landlock rule set: %w", errno)
	}
	for _, t := range trees {
		if err := allow(int(fd), t, rights&^devices); err != nil {
			_ = unix.Close(int(fd))
			return -1, err
		}
	}
	for _, f := range files {
		if err := allow(int(fd), f, rights&onFile); err != nil {
			_ = unix.Close(int(fd))
			return -1, err
		}
	}
	return int(fd), nil
}

func allow(ruleset int, path string, rights uint64) error {
	fd, err := unix.Open(path, unix.O_PATH|unix.O_CLOEXEC, 0)
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("open %s for Landlock: %w", path, err)
	}
	defer func() { _ = unix.Close(fd) }()
	// struct landlock_path_beneath_attr is packed: 12 bytes.
	var rule [12]byte
	*(*uint64)(unsafe.Pointer(&rule[0])) = rights
	*(*int32)(unsafe.Pointer(&rule[8])) = int32(fd)
	_, _, errno := syscall.Syscall6(unix.SYS_LANDLOCK_ADD_RULE, uintptr(ruleset), unix.LANDLOCK_RULE_PATH_BENEATH, uintptr(unsafe.Pointer(&rule)), 0, 0, 0)
	if errno != 0 {
		return fmt.Errorf("add %s to the Landlock rules: %w", path, errno)
	}
	return nil
}
