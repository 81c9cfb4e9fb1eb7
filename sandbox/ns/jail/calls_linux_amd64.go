package jail

import "golang.org/x/sys/unix"

// The numbers of the x32 ABI have the same architecture and begin at 1<<30: later than
// every known call.
const auditArch = unix.AUDIT_ARCH_X86_64

// archCalls are older forms of common ones, and what the C library needs to
// start.
var archCalls = []uint32{
	unix.SYS_OPEN, unix.SYS_CREAT, unix.SYS_STAT, unix.SYS_LSTAT, unix.SYS_ACCESS, unix.SYS_PIPE, unix.SYS_DUP2,
	unix.SYS_POLL, unix.SYS_SELECT, unix.SYS_EPOLL_CREATE, unix.SYS_EPOLL_WAIT, unix.SYS_EVENTFD, unix.SYS_SIGNALFD,
	unix.SYS_INOTIFY_INIT, unix.SYS_FORK, unix.SYS_VFORK, unix.SYS_GETPGRP, unix.SYS_PAUSE, unix.SYS_ALARM,
	unix.SYS_TIME, unix.SYS_RENAME, unix.SYS_MKDIR, unix.SYS_RMDIR, unix.SYS_LINK, unix.SYS_UNLINK, unix.SYS_SYMLINK,
	unix.SYS_READLINK, unix.SYS_CHMOD, unix.SYS_CHOWN, unix.SYS_LCHOWN, unix.SYS_UTIME, unix.SYS_UTIMES,
	unix.SYS_FUTIMESAT, unix.SYS_GETDENTS, unix.SYS_NEWFSTATAT, unix.SYS_ARCH_PRCTL, unix.SYS_GET_THREAD_AREA,
	unix.SYS_SET_THREAD_AREA,
}

func archRules(t table) { t.call(unix.SYS_MKNOD, fileType(1)) }
