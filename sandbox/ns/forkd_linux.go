//go:build linux && (amd64 || arm64)

package ns

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/cairn-run/cairn/sandbox/ns/wire"
)

// forkd is the helper process as the driver sees it.
type forkd struct {
	conn *wire.Conn
	pid  int
	dead chan struct{} // closed when it has ended and was reaped

	mu      sync.Mutex
	waiting map[uint64]chan spawned // who asked for an instance
	ends    map[uint64]chan uint32  // who wants to know how one ended
}

type spawned struct {
	wire.Spawned
	pidfd int
}

// errHelper is the death of the helper.
var errHelper = errors.New("the helper of the sandbox has ended")

// startForkd starts the helper. Its parent is a thread that does nothing else as long
// as it lives: the signal at the parent's death is sent when the thread ends, not the
// process. The thread itself lives on, or it would end what others had it start.
func startForkd(home []int) (*forkd, error) {
	conn, theirs, err := wire.Pair()
	if err != nil {
		return nil, err
	}
	f := &forkd{conn: conn, dead: make(chan struct{}), waiting: map[uint64]chan spawned{}, ends: map[uint64]chan uint32{}}
	up := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		file := os.NewFile(uintptr(theirs), "helper")
		c := &exec.Cmd{ // it lives as long as the driver, whatever the context of its first use
			Path: "/proc/self/exe", Args: []string{wire.ForkdName}, Dir: "/",
			Env:    []string{"GOMAXPROCS=2", "GOMEMLIMIT=32MiB", "GODEBUG=asyncpreemptoff=1"},
			Stderr: os.Stderr, ExtraFiles: []*os.File{file},
			SysProcAttr: &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setsid: true},
		}
		err := c.Start()
		_ = file.Close()
		if err == nil {
			f.pid = c.Process.Pid
		}
		up <- err
		if err != nil {
			return
		}
		_ = c.Wait() // its end is what counts
		close(f.dead)
	}()
	if err := <-up; err != nil {
		_ = conn.Close()
		return nil, fmt.Errorf("start the helper of the sandbox: %w", err)
	}
	if err := conn.Send(wire.ForkdRequest{Home: true}, home...); err != nil {
		f.stop()
		return nil, fmt.Errorf("talk to the helper of the sandbox: %w", err)
	}
	go f.receive()
	return f, nil
}

// stop ends the helper, and with it all instances, and waits until it is gone.
func (f *forkd) stop() {
	_ = f.conn.Close() // it ends when it reads that
	<-f.dead
}

func (f *forkd) receive() {
	for {
		var m wire.Spawned
		fds, err := f.conn.Recv(&m)
		if err != nil {
			break
		}
		f.mu.Lock()
		if m.Ended {
			if c := f.ends[m.Key]; c != nil {
				c <- m.Status // room for one
				delete(f.ends, m.Key)
			}
			f.mu.Unlock()
			continue
		}
		c := f.waiting[m.Key]
		delete(f.waiting, m.Key)
		f.mu.Unlock()
		s := spawned{Spawned: m, pidfd: -1}
		if len(fds) > 0 {
			s.pidfd, fds = fds[0], fds[1:]
		}
		wire.CloseAll(fds)
		if c == nil { // nobody waits any more
			if s.pidfd >= 0 {
				_ = unix.PidfdSendSignal(s.pidfd, unix.SIGKILL, nil, 0)
				_ = unix.Close(s.pidfd)
			}
			continue
		}
		c <- s // room for one
	}
	_ = f.conn.Close()
	f.mu.Lock()
	for _, c := range f.waiting {
		close(c)
	}
	for _, c := range f.ends {
		close(c)
	}
	f.waiting, f.ends = nil, nil
	f.mu.Unlock()
}

// alive says whether the helper can be asked.
func (f *forkd) alive() bool {
	select {
	case <-f.dead:
		return false
	default:
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.waiting != nil
}

// spawning is an init that was asked for.
type spawning struct {
	of     *forkd
	key    uint64
	answer chan spawned
	end    chan uint32 // gets its wait status, or is closed if the helper dies first
}

// spawn asks for an init with one end of its control socket.
func (f *forkd) spawn(s wire.Spawn, fds []int) (*spawning, error) {
	n := &spawning{of: f, key: s.Key, answer: make(chan spawned, 1), end: make(chan uint32, 1)}
	f.mu.Lock()
	if f.waiting == nil {
		f.mu.Unlock()
		return nil, errHelper
	}
	f.waiting[s.Key], f.ends[s.Key] = n.answer, n.end
	f.mu.Unlock()
	if err := f.conn.Send(wire.ForkdRequest{Spawn: &s}, fds...); err != nil {
		n.abandon()
		return nil, fmt.Errorf("ask the helper of the sandbox: %w", err)
	}
	return n, nil
}

// wait waits for the process.
func (n *spawning) wait(ctx context.Context) (spawned, error) {
	var err error
	select {
	case got, ok := <-n.answer:
		switch {
		case !ok:
			err = errHelper
		case got.Err != "":
			err = errors.New(got.Err)
		default:
			return got, nil
		}
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	n.abandon()
	return spawned{}, err
}

// abandon gives up: if the process comes, it is killed.
func (n *spawning) abandon() {
	n.of.mu.Lock()
	delete(n.of.waiting, n.key)
	delete(n.of.ends, n.key)
	n.of.mu.Unlock()
	select { // it may have come just before
	case got, ok := <-n.answer:
		if ok && got.pidfd >= 0 {
			_ = unix.PidfdSendSignal(got.pidfd, unix.SIGKILL, nil, 0)
			_ = unix.Close(got.pidfd)
		}
	default:
	}
}
