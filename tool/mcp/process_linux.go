package mcp

import (
	"os/exec"
	"runtime"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// ownGroup puts the child into a process group of its own and lets the kernel
// kill it when this process dies, however that comes about: a server that goes on
// with a call after its runtime has died could act after a new owner has found
// that it had not.
func ownGroup(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

// awaitExit waits until the child has ended and leaves it to be reaped.
func awaitExit(cmd *exec.Cmd) (reaped bool, err error) {
	for {
		err := unix.Waitid(unix.P_PID, cmd.Process.Pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if err != unix.EINTR {
			return false, nil // any other error is met again, and returned, by Wait
		}
	}
}

// spawner starts children from one thread that lives as long as it does: the
// kernel sends the signal of ownGroup when the thread that forked ends, and Go
// ends threads as it likes.
type spawner struct {
	once sync.Once
	work chan func()
	stop chan struct{}
}

func newSpawner() *spawner {
	return &spawner{work: make(chan func()), stop: make(chan struct{})}
}

// do runs f on the spawner's thread.
func (s *spawner) do(f func() error) error {
	s.once.Do(func() {
		go func() {
			runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
			for {
				select {
				case w := <-s.work:
					w()
				case <-s.stop:
					return
				}
			}
		}()
	})
	result := make(chan error, 1)
	select {
	case s.work <- func() { result <- f() }:
		return <-result
	case <-s.stop:
		return errClosed
	}
}

// close ends the thread. What it started and still runs is killed.
func (s *spawner) close() { close(s.stop) }
