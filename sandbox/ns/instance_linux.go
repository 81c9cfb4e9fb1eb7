//go:build linux && (amd64 || arm64)

package ns

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/internal/failpoint"
	"github.com/cairn-run/cairn/sandbox"
	"github.com/cairn-run/cairn/sandbox/ns/wire"
)

// instance is one sandbox: its init, asked over a socket and held by a pidfd.
type instance struct {
	id     string
	driver *driver
	limits sandbox.Limits
	upper  string
	conn   *wire.Conn
	pidfd  *os.File
	helper <-chan uint32 // the wait status of init
	group  *group
	built  *wire.Built
	heard  chan struct{} // closed when init says nothing any more
	done   chan struct{}
	nudge  chan struct{} // asks for the disk to be looked at

	mu     sync.Mutex
	seq    uint64
	calls  map[uint64]chan wire.Reply
	procs  map[uint64]*process
	cause  error // why it is ended from outside
	breach *sandbox.Breach
	last   string // what init said last, by itself
	err    error  // set before done is closed
	killed []sandbox.ProcessInfo
	frozen bool
	// detached: a command was started that may have left processes.
	detached bool
	disk     int64
	peak     int64
	cpu      time.Duration
}

// newInstance makes an instance whose init can be told things already.
func newInstance(d *driver, s sandbox.Spec, p *prepared) *instance {
	i := &instance{
		id: s.ID, driver: d, limits: s.Limits, upper: s.Root.Upper, conn: p.conn, helper: p.spawn.end, group: p.group,
		heard: make(chan struct{}), done: make(chan struct{}), nudge: make(chan struct{}, 1), calls: map[uint64]chan wire.Reply{}, procs: map[uint64]*process{},
	}
	go i.receive()
	return i
}

// begin begins to wait for the end of init, which has come.
func (i *instance) begin(p *prepared) {
	// The poller of the runtime waits for a pidfd like for a socket; if it could not
	// be told to, a thread does.
	_ = unix.SetNonblock(p.pidfd, true)
	i.pidfd = os.NewFile(uintptr(p.pidfd), "init of "+i.id)
	go i.await()
}

// receive hears what init says.
func (i *instance) receive() {
	defer close(i.heard)
	for {
		var r wire.Reply
		fds, err := i.conn.Recv(&r)
		if err != nil {
			return
		}
		wire.CloseAll(fds) // init sends none
		i.mu.Lock()
		switch {
		case r.Seq != 0:
			if c := i.calls[r.Seq]; c != nil {
				delete(i.calls, r.Seq)
				c <- r // room for one
			}
		case r.Exit != nil:
			if p := i.procs[r.Exit.ID]; p != nil {
				delete(i.procs, r.Exit.ID)
				i.mu.Unlock()
				p.ended(*r.Exit)
				continue
			}
		case r.Breach != nil:
			i.breach = &sandbox.Breach{Limit: r.Breach.Limit, Used: r.Breach.Used, Max: r.Breach.Max}
		case r.Err != "":
			i.last = r.Err
		}
		i.mu.Unlock()
	}
}

// await waits for the end of init: the kernel reports it when everything in its
// process namespace is dead.
func (i *instance) await() {
	raw, err := i.pidfd.SyscallConn()
	if err == nil {
		err = raw.Read(func(fd uintptr) bool {
			n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0)
			return n > 0 || err != nil && !errors.Is(err, unix.EINTR)
		})
	}
	if err != nil {
		i.driver.log.Error("a sandbox cannot be waited for", "sandbox", i.id, "error", err)
	}
	i.mu.Lock()
	asked := i.cause != nil
	i.mu.Unlock()
	var status syscall.WaitStatus
	known := false
	if !asked { // else it is known why
		select {
		case s, ok := <-i.helper:
			status, known = syscall.WaitStatus(s), ok
		case <-time.After(time.Second): // the helper is stopped
		}
	}
	_ = i.conn.Close()
	<-i.heard
	oom := i.group.oomKills()
	cpu, peak := i.group.used()
	i.group.remove()

	i.mu.Lock()
	i.cpu, i.peak = max(i.cpu, cpu), max(i.peak, peak)
	i.err = i.reason(status, known, oom)
	procs := i.procs
	i.procs, i.calls = nil, nil
	i.mu.Unlock()
	i.driver.forget(i.id)
	close(i.done)
	i.driver.refill()
	_ = i.pidfd.Close()
	for _, p := range procs {
		p.lost(i.err)
	}
}

// reason says why the instance ended.
func (i *instance) reason(status syscall.WaitStatus, known bool, oom int64) error {
	switch {
	case i.breach != nil:
		return i.breach
	case i.cause != nil:
		return i.cause
	case oom > 0 && (!known || status.Signaled() && status.Signal() == syscall.SIGKILL):
		return &sandbox.Breach{Limit: "memory", Used: i.limits.Memory, Max: i.limits.Memory}
	}
	text := "ended without a word"
	switch {
	case i.last != "":
		text = "said: " + i.last
	case known && status.Signaled():
		text = "was killed by " + unix.SignalName(status.Signal())
	case known:
		text = fmt.Sprintf("ended with code %d", status.ExitStatus())
	}
	return &cairn.Error{Code: cairn.CodeLost, Retryable: true, Message: "the first process of the sandbox " + text + "; its files are kept: make it again"}
}

// end kills everything; why becomes Err if nothing else was the reason before.
func (i *instance) end(why error) {
	i.mu.Lock()
	if i.cause == nil {
		i.cause = why
	}
	i.mu.Unlock()
	raw, err := i.pidfd.SyscallConn()
	if err != nil {
		return // it was closed: init has ended
	}
	_ = raw.Control(func(fd uintptr) {
		_ = unix.PidfdSendSignal(int(fd), unix.SIGKILL, nil, 0)
	})
	_ = i.group.thaw() // the killed die only when they may run
}

// pending is a question that was sent.
type pending struct {
	seq   uint64
	reply chan wire.Reply
}

// call asks init and waits for the answer.
func (i *instance) call(ctx context.Context, r wire.Request, fds []int) (wire.Reply, error) {
	p, err := i.post(r, fds)
	if err != nil {
		return wire.Reply{}, err
	}
	return i.answer(ctx, p)
}

// post sends a question. If init cannot take it any more, its end is the answer.
func (i *instance) post(r wire.Request, fds []int) (pending, error) {
	p := pending{reply: make(chan wire.Reply, 1)}
	i.mu.Lock()
	if i.calls == nil {
		i.mu.Unlock()
		return p, i.err
	}
	// A frozen cgroup holds init, too; without one, it goes on.
	if i.frozen && (i.group.freezer() || r.Start != nil) {
		i.mu.Unlock()
		return p, cairn.Errorf(cairn.CodeConflict, "the sandbox is frozen: thaw it first")
	}
	i.seq++
	p.seq = i.seq
	r.Seq = i.seq
	i.calls[r.Seq] = p.reply
	i.mu.Unlock()
	if err := i.conn.Send(r, fds...); errors.Is(err, wire.ErrTooLarge) {
		i.abandon(p)
		return p, cairn.Errorf(cairn.CodeInvalid, "the command is too long; write it to a file and run that: %w", err)
	}
	return p, nil
}

// answer waits for the answer to a question.
func (i *instance) answer(ctx context.Context, p pending) (wire.Reply, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	select {
	case a := <-p.reply:
		if a.Err != "" {
			return a, &initError{text: a.Err, errno: syscall.Errno(a.Errno)}
		}
		return a, nil
	case <-i.done:
		return wire.Reply{}, i.err
	case <-ctx.Done():
		i.abandon(p)
		return wire.Reply{}, context.Cause(ctx)
	}
}

func (i *instance) abandon(p pending) {
	i.mu.Lock()
	delete(i.calls, p.seq)
	i.mu.Unlock()
}

// initError is an error that init reported.
type initError struct {
	text  string
	errno syscall.Errno
}

func (e *initError) Error() string { return e.text }

func (e *initError) Unwrap() error {
	if e.errno == 0 {
		return nil
	}
	return e.errno
}

// Processes implements sandbox.Instance.
func (i *instance) Processes(ctx context.Context) ([]sandbox.ProcessInfo, error) {
	r, err := i.call(ctx, wire.Request{List: true}, nil)
	if err != nil {
		return nil, err
	}
	return infos(r.Procs), nil
}

func infos(procs []wire.Proc) []sandbox.ProcessInfo {
	var all []sandbox.ProcessInfo
	for _, p := range procs {
		all = append(all, sandbox.ProcessInfo{PID: p.PID, Command: strings.ToValidUTF8(string(p.Command), "\uFFFD")})
	}
	return all
}

// Destroy implements sandbox.Instance.
func (i *instance) Destroy(ctx context.Context) ([]sandbox.ProcessInfo, error) {
	failpoint.Hit(failpoint.SandboxDestroyBefore)
	i.mu.Lock()
	empty := len(i.procs) == 0 && !i.detached
	i.mu.Unlock()
	if !i.over() && !empty {
		named, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
		if procs, err := i.Processes(named); err == nil && len(procs) > 0 {
			i.mu.Lock()
			i.killed = procs
			i.mu.Unlock()
		}
		cancel()
	}
	if !i.over() {
		i.end(sandbox.ErrDestroyed)
	}
	select {
	case <-i.done:
	case <-ctx.Done():
		return nil, fmt.Errorf("the sandbox %s was killed and is not dead yet: %w", i.id, context.Cause(ctx))
	}
	failpoint.Hit(failpoint.SandboxDestroyAfter)
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.killed, nil
}

func (i *instance) over() bool {
	select {
	case <-i.done:
		return true
	default:
		return false
	}
}

// Done implements sandbox.Instance.
func (i *instance) Done() <-chan struct{} { return i.done }

// Err implements sandbox.Instance.
func (i *instance) Err() error {
	if !i.over() {
		return nil
	}
	return i.err
}
