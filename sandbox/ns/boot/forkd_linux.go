//go:build linux && (amd64 || arm64)

package boot

import (
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/cairn-run/cairn/sandbox/ns/wire"
)

// initCaps are the capabilities of an init in its own user namespace: mounting,
// the loopback device, marking commands by a namespace, looking at processes
// that are not dumpable, killing, dropping capabilities, and the permissions of the one
// user that is mapped.
var initCaps = []uintptr{
	unix.CAP_SYS_ADMIN, unix.CAP_NET_ADMIN, unix.CAP_SYS_PTRACE, unix.CAP_KILL, unix.CAP_SETPCAP,
	unix.CAP_DAC_OVERRIDE, unix.CAP_FOWNER, unix.CAP_SYS_CHROOT,
}

// initEnv sets up the runtime of an init: one thread at a time, no collection
// until 24 MiB, and no signals between its threads, some of which are confined. It
// is not done by package runtime/debug, which is initialised late.
var initEnv = []string{"GOMAXPROCS=1", "GOGC=off", "GOMEMLIMIT=24MiB", "GODEBUG=asyncpreemptoff=1"}

// initFlags are the namespaces of an instance.
const initFlags = unix.CLONE_NEWUSER | unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWNET |
	unix.CLONE_NEWIPC | unix.CLONE_NEWUTS | unix.CLONE_NEWCGROUP

// helper starts the inits. It is a process of its own because a process that
// makes a user namespace is forked by copying its page tables: 34 microseconds
// for each megabyte of it.
type helper struct {
	conn *wire.Conn
	home []int // tasks files of the cgroups it lives in
	life int   // its end of a pipe that every init has the other end of
	read int   // that other end

	mu   sync.Mutex
	keys map[int]uint64 // by process id
	kick chan struct{}  // a child was started
}

// forkd is the main function of the helper. It ends when the daemon does.
func forkd() error {
	// The parent of a process that wants a signal at its parent's death is the
	// thread that forked it: this one stays for ever, and moves between cgroups.
	runtime.LockOSThread()
	if err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0); err != nil {
		return fmt.Errorf("ask for a signal at the parent's death: %w", err)
	}
	// Not closed to others with PR_SET_DUMPABLE: without root, the helper could no
	// longer write the user map of a child, whose files in /proc would be root's.
	unix.CloseOnExec(wire.ControlFD)
	// What the daemon was itself given by who started it, without the mark that
	// closes it, must not get any further.
	if err := unix.CloseRange(wire.ControlFD+1, ^uint(0)>>32, 0); err != nil {
		return fmt.Errorf("close inherited descriptors: %w", err)
	}
	var pipe [2]int
	if err := unix.Pipe2(pipe[:], unix.O_CLOEXEC); err != nil {
		return fmt.Errorf("make a pipe: %w", err)
	}
	h := &helper{
		conn: wire.Inherited(wire.ControlFD), read: pipe[0], life: pipe[1],
		keys: map[int]uint64{}, kick: make(chan struct{}, 1),
	}
	go h.reap()
	for {
		var m wire.ForkdRequest
		fds, err := h.conn.Recv(&m)
		if errors.Is(err, io.EOF) || errors.Is(err, unix.ECONNRESET) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("receive a request: %w", err)
		}
		switch {
		case m.Home:
			h.home = fds
		case m.Spawn != nil:
			err = h.spawn(m.Spawn, fds)
			wire.CloseAll(fds)
			if err != nil {
				err = h.conn.Send(wire.Spawned{Key: m.Spawn.Key, Err: err.Error()})
			}
			if err != nil {
				return fmt.Errorf("send a reply: %w", err)
			}
		}
	}
}

// spawn starts an init and reports it.
func (h *helper) spawn(s *wire.Spawn, fds []int) error {
	want := 1 + s.Tasks
	if s.Into {
		want++
	}
	if len(fds) != want || s.Tasks < 0 || s.Tasks > len(h.home) {
		return fmt.Errorf("a request with %d descriptors instead of %d", len(fds), want)
	}
	files := []uintptr{0, 1, 2, wire.ControlFD: uintptr(fds[0]), wire.LifeFD: uintptr(h.read)}
	pidfd := -1
	attr := &syscall.SysProcAttr{
		Cloneflags:  initFlags,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: wire.UserID, HostID: s.Host, Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: wire.UserID, HostID: s.Host, Size: 1}},
		AmbientCaps: initCaps,
		Pdeathsig:   syscall.SIGKILL,
		PidFD:       &pidfd,
	}
	if !s.Switch {
		attr.GidMappings[0].HostID = os.Getgid()
	} else {
		attr.GidMappingsEnableSetgroups = true // to drop those of root
		attr.Credential = &syscall.Credential{Uid: wire.UserID, Gid: wire.UserID}
	}
	if s.Into {
		attr.UseCgroupFD, attr.CgroupFD = true, fds[len(fds)-1]
	}

	// A thread that moves itself needs no global lock, and a child is born in the
	// cgroups of the thread that forks: writing the process id of a child instead
	// waits 8 to 19 ms for a grace period.
	for i, fd := range fds[1 : 1+s.Tasks] {
		if err := moveSelf(fd); err != nil {
			h.goHome(i)
			return fmt.Errorf("move into a cgroup: %w", err)
		}
	}
	h.mu.Lock()
	pid, err := syscall.ForkExec("/proc/self/exe", []string{wire.InitName}, &syscall.ProcAttr{
		Dir: "/", Env: initEnv, Files: files, Sys: attr,
	})
	if err == nil {
		h.keys[pid] = s.Key
	}
	h.mu.Unlock()
	h.goHome(s.Tasks)
	if err != nil {
		return fmt.Errorf("start the first process of the sandbox: %w", err)
	}
	select {
	case h.kick <- struct{}{}:
	default:
	}
	if pidfd < 0 {
		_ = syscall.Kill(pid, syscall.SIGKILL)
		return errors.New("the kernel gives no pidfd: Linux 5.12 or later is needed")
	}
	defer func() { _ = unix.Close(pidfd) }()
	return h.conn.Send(wire.Spawned{Key: s.Key, PID: pid}, pidfd)
}

// moveSelf moves the calling thread: 0 stands for it.
func moveSelf(fd int) error {
	_, err := unix.Write(fd, []byte("0"))
	return err
}

// goHome moves back from the first n cgroups. The one that cannot would count
// the helper to an instance and be killed with it: the helper ends instead.
func (h *helper) goHome(n int) {
	for _, fd := range h.home[:n] {
		if err := moveSelf(fd); err != nil {
			fmt.Fprintln(os.Stderr, wire.ForkdName+": move back to its cgroup:", err)
			os.Exit(1)
		}
	}
}

// reap waits for the inits and reports their ends.
func (h *helper) reap() {
	for range h.kick {
		for {
			var status syscall.WaitStatus
			pid, err := syscall.Wait4(-1, &status, 0, nil)
			if errors.Is(err, syscall.EINTR) {
				continue
			}
			if err != nil { // ECHILD: there is none
				break
			}
			h.mu.Lock() // until a child that was quick has been entered
			key, ok := h.keys[pid]
			delete(h.keys, pid)
			h.mu.Unlock()
			if !ok {
				continue
			}
			if err := h.conn.Send(wire.Spawned{Key: key, Ended: true, Status: uint32(status)}); err != nil {
				os.Exit(1) // without the daemon there is nothing to do
			}
		}
	}
}
