//go:build linux && (amd64 || arm64)

package jail

import (
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Jail is what every command is confined by. It is made once and used for all.
type Jail struct {
	Filter   []unix.SockFilter
	Landlock int // descriptor of a ruleset; -1: none
	Limits   []Limit
	LastCap  int // the highest capability of the kernel
}

// Limit is a resource limit, soft and hard.
type Limit struct {
	Resource int
	Value    uint64
}

// Command is what is started.
type Command struct {
	Path  string
	Args  []string // the name of the program first
	Env   []string
	Dir   int    // descriptor of the working directory
	Tasks []int  // tasks files of cgroups (version 1) that it moves into
	Stdio [3]int // descriptors above 2
}

// Error says which step of starting failed.
type Error struct {
	Step string
	Err  syscall.Errno
}

func (e *Error) Error() string { return e.Step + ": " + e.Err.Error() }

// Unwrap returns the number of the error.
func (e *Error) Unwrap() error { return e.Err }

// steps names what the child does, in order: it reports a number.
var steps = [...]string{
	"fork", "signals", "cgroups", "session", "oom score", "limits", "descriptors", "working directory", "capabilities",
	"securebits", "no new privileges", "landlock", "close on exec", "seccomp", "run",
}

const (
	stepFork = iota
	stepSignals
	stepGroups
	stepSession
	stepScore
	stepLimits
	stepFiles
	stepDir
	stepCaps
	stepBits
	stepPrivs
	stepLandlock
	stepClose
	stepSeccomp
	stepExec
)

// patience is how long a child may take until its program runs, in milliseconds.
const patience = 20_000

// securebits keeps the rules about user 0 and about keeping and raising
// capabilities as they are, for ever (capabilities(7)).
const securebits = 1<<0 | 1<<1 | // NOROOT and its lock
	1<<2 | 1<<3 | // NO_SETUID_FIXUP
	1<<5 | // KEEP_CAPS is locked in its cleared state
	1<<6 | 1<<7 // NO_CAP_AMBIENT_RAISE

// arguments is all the child needs, made before the fork: the child allocates
// nothing.
type arguments struct {
	path       *byte
	dir        int
	argv, envv **byte
	stdio      [3]int
	tasks      []int
	zero       [1]byte
	report     int
	landlock   int
	lastCap    uintptr
	limits     []kernelLimit
	filter     *unix.SockFprog
	scorePath  *byte
	score      []byte
	action     [64]byte // struct sigaction, all zero: SIG_DFL
	caps       unix.CapUserHeader
	noCaps     [2]unix.CapUserData
	allSignals uint64
	noSignals  uint64
	oldSignals uint64
	message    [8]byte
}

type kernelLimit struct {
	resource uintptr
	limit    unix.Rlimit
}

// Start starts a command in the jail and returns its process id. The child is a
// plain fork of this process, which therefore has to be small: a vfork shares
// the stack, and the standard library, which can, has no place for the steps
// between fork and exec. The caller's thread has the capabilities that the
// child gives up, and reaps it, also after an error.
func (j *Jail) Start(c Command) (int, error) {
	a, err := j.arguments(c)
	if err != nil {
		return 0, err
	}
	var pipe [2]int
	if err := unix.Pipe2(pipe[:], unix.O_CLOEXEC); err != nil {
		return 0, fmt.Errorf("make a pipe: %w", err)
	}
	defer func() { _ = unix.Close(pipe[0]) }()
	a.report = pipe[1]

	runtime.LockOSThread() // the mask of signals is the thread's
	pid, errno := fork(a)
	runtime.UnlockOSThread()
	_ = unix.Close(pipe[1])
	runtime.KeepAlive(c)
	if errno != 0 {
		return 0, &Error{Step: steps[stepFork], Err: errno}
	}
	var b [8]byte
	for {
		switch ready, err := unix.Poll([]unix.PollFd{{Fd: int32(pipe[0]), Events: unix.POLLIN}}, patience); {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil || ready == 0: // another process of its user has stopped it
			_ = unix.Kill(int(pid), unix.SIGKILL)
			return int(pid), &Error{Step: "wait for the program", Err: unix.EAGAIN}
		}
		n, err := unix.Read(pipe[0], b[:])
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return int(pid), fmt.Errorf("read how the start went: %w", err)
		case n == 0: // closed by exec
			return int(pid), nil
		case n != len(b):
			return int(pid), fmt.Errorf("the started process said %d bytes instead of %d", n, len(b))
		}
		step := binary.NativeEndian.Uint32(b[:4])
		return int(pid), &Error{Step: steps[min(int(step), len(steps)-1)], Err: syscall.Errno(binary.NativeEndian.Uint32(b[4:]))}
	}
}

func (j *Jail) arguments(c Command) (*arguments, error) {
	a := &arguments{
		stdio: c.Stdio, dir: c.Dir, tasks: c.Tasks, zero: [1]byte{'0'}, landlock: j.Landlock, lastCap: uintptr(j.LastCap),
		score: []byte("1000"), allSignals: ^uint64(0),
		caps: unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3},
	}
	for _, fd := range c.Stdio {
		if fd < 3 {
			return nil, fmt.Errorf("descriptor %d cannot be handed on: it would be overwritten", fd)
		}
	}
	for _, l := range j.Limits {
		a.limits = append(a.limits, kernelLimit{uintptr(l.Resource), unix.Rlimit{Cur: l.Value, Max: l.Value}})
	}
	if len(j.Filter) > 0 {
		a.filter = &unix.SockFprog{Len: uint16(len(j.Filter)), Filter: &j.Filter[0]}
	}
	var err error
	for _, s := range []struct {
		to   **byte
		from string
	}{{&a.path, c.Path}, {&a.scorePath, "/proc/self/oom_score_adj"}} {
		if *s.to, err = syscall.BytePtrFromString(s.from); err != nil {
			return nil, fmt.Errorf("%q: a NUL byte cannot be in a path", s.from)
		}
	}
	for _, s := range []struct {
		to   ***byte
		from []string
	}{{&a.argv, c.Args}, {&a.envv, c.Env}} {
		list, err := syscall.SlicePtrFromStrings(s.from)
		if err != nil {
			return nil, fmt.Errorf("%q: a NUL byte cannot be in an argument or variable", strings.Join(s.from, " "))
		}
		*s.to = &list[0]
	}
	return a, nil
}

// fork forks, and in the child confines itself and runs the program. Between
// fork and exec there is one thread and a copy of a runtime that must not be
// woken: nothing but raw system calls on memory that is there.
//
//go:noinline
//go:norace
//go:nocheckptr
func fork(a *arguments) (pid uintptr, errno syscall.Errno) {
	var i, fd, step uintptr
	var n int

	// A signal handler of the runtime must not run in the child.
	_, _, errno = syscall.RawSyscall6(unix.SYS_RT_SIGPROCMASK, unix.SIG_SETMASK, uintptr(unsafe.Pointer(&a.allSignals)), uintptr(unsafe.Pointer(&a.oldSignals)), 8, 0, 0)
	if errno != 0 {
		return 0, errno
	}
	pid, _, errno = syscall.RawSyscall6(unix.SYS_CLONE, uintptr(unix.SIGCHLD), 0, 0, 0, 0, 0)
	if errno != 0 || pid != 0 {
		_, _, _ = syscall.RawSyscall6(unix.SYS_RT_SIGPROCMASK, unix.SIG_SETMASK, uintptr(unsafe.Pointer(&a.oldSignals)), 0, 8, 0, 0)
		return pid, errno
	}

	step = stepSignals
	for i = 1; i <= 64; i++ {
		if i == uintptr(unix.SIGKILL) || i == uintptr(unix.SIGSTOP) {
			continue
		}
		if _, _, errno = syscall.RawSyscall6(unix.SYS_RT_SIGACTION, i, uintptr(unsafe.Pointer(&a.action)), 0, 8, 0, 0); errno != 0 {
			goto failed
		}
	}
	// Moving oneself takes no global lock; moving another waits 8 to 19 ms.
	step = stepGroups
	for n = range a.tasks {
		if _, _, errno = syscall.RawSyscall(unix.SYS_WRITE, uintptr(a.tasks[n]), uintptr(unsafe.Pointer(&a.zero)), 1); errno != 0 {
			goto failed
		}
	}
	step = stepSession
	if _, _, errno = syscall.RawSyscall(unix.SYS_SETSID, 0, 0, 0); errno != 0 {
		goto failed
	}

	// The files in /proc of a process that is not dumpable are root's.
	step = stepScore
	if _, _, errno = syscall.RawSyscall(unix.SYS_PRCTL, unix.PR_SET_DUMPABLE, 1, 0); errno != 0 {
		goto failed
	}
	if fd, _, errno = syscall.RawSyscall6(unix.SYS_OPENAT, ^uintptr(99), uintptr(unsafe.Pointer(a.scorePath)), unix.O_WRONLY|unix.O_CLOEXEC, 0, 0, 0); errno != 0 {
		goto failed
	}
	if _, _, errno = syscall.RawSyscall(unix.SYS_WRITE, fd, uintptr(unsafe.Pointer(&a.score[0])), uintptr(len(a.score))); errno != 0 {
		goto failed
	}
	if _, _, errno = syscall.RawSyscall(unix.SYS_PRCTL, unix.PR_SET_DUMPABLE, 0, 0); errno != 0 {
		goto failed
	}

	step = stepLimits
	for n = range a.limits {
		if _, _, errno = syscall.RawSyscall6(unix.SYS_PRLIMIT64, 0, a.limits[n].resource, uintptr(unsafe.Pointer(&a.limits[n].limit)), 0, 0, 0); errno != 0 {
			goto failed
		}
	}
	step = stepFiles
	for n = range a.stdio {
		if _, _, errno = syscall.RawSyscall(unix.SYS_DUP3, uintptr(a.stdio[n]), uintptr(n), 0); errno != 0 {
			goto failed
		}
	}
	step = stepDir
	if _, _, errno = syscall.RawSyscall(unix.SYS_FCHDIR, uintptr(a.dir), 0, 0); errno != 0 {
		goto failed
	}
	_, _, _ = syscall.RawSyscall(unix.SYS_UMASK, 0o022, 0, 0) // cannot fail

	step = stepCaps
	for i = range a.lastCap + 1 {
		if _, _, errno = syscall.RawSyscall(unix.SYS_PRCTL, unix.PR_CAPBSET_DROP, i, 0); errno != 0 {
			goto failed
		}
	}
	if _, _, errno = syscall.RawSyscall6(unix.SYS_PRCTL, unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0, 0); errno != 0 {
		goto failed
	}
	step = stepBits
	if _, _, errno = syscall.RawSyscall(unix.SYS_PRCTL, unix.PR_SET_SECUREBITS, securebits, 0); errno != 0 {
		goto failed
	}
	step = stepCaps
	if _, _, errno = syscall.RawSyscall(unix.SYS_CAPSET, uintptr(unsafe.Pointer(&a.caps)), uintptr(unsafe.Pointer(&a.noCaps)), 0); errno != 0 {
		goto failed
	}
	step = stepPrivs
	if _, _, errno = syscall.RawSyscall6(unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0, 0); errno != 0 {
		goto failed
	}
	if a.landlock >= 0 {
		step = stepLandlock
		if _, _, errno = syscall.RawSyscall(unix.SYS_LANDLOCK_RESTRICT_SELF, uintptr(a.landlock), 0, 0); errno != 0 {
			goto failed
		}
	}
	step = stepClose
	if _, _, errno = syscall.RawSyscall(unix.SYS_CLOSE_RANGE, 3, uintptr(^uint32(0)), unix.CLOSE_RANGE_CLOEXEC); errno != 0 {
		goto failed
	}
	step = stepSeccomp
	if a.filter != nil {
		if _, _, errno = syscall.RawSyscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, 0, uintptr(unsafe.Pointer(a.filter))); errno != 0 {
			goto failed
		}
	}
	if _, _, errno = syscall.RawSyscall6(unix.SYS_RT_SIGPROCMASK, unix.SIG_SETMASK, uintptr(unsafe.Pointer(&a.noSignals)), 0, 8, 0, 0); errno != 0 {
		goto failed
	}
	step = stepExec
	_, _, errno = syscall.RawSyscall(unix.SYS_EXECVE, uintptr(unsafe.Pointer(a.path)), uintptr(unsafe.Pointer(a.argv)), uintptr(unsafe.Pointer(a.envv)))

failed:
	*(*uint32)(unsafe.Pointer(&a.message[0])) = uint32(step)
	*(*uint32)(unsafe.Pointer(&a.message[4])) = uint32(errno)
	_, _, _ = syscall.RawSyscall(unix.SYS_WRITE, uintptr(a.report), uintptr(unsafe.Pointer(&a.message)), 8)
	for {
		_, _, _ = syscall.RawSyscall(unix.SYS_EXIT_GROUP, 127, 0, 0)
	}
}
