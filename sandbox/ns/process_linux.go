//go:build linux && (amd64 || arm64)

package ns

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/internal/failpoint"
	"github.com/cairn-run/cairn/sandbox"
	"github.com/cairn-run/cairn/sandbox/ns/wire"
)

// drain is how long output is read after a command ended, if others still have
// its pipe (the contract of [sandbox.Cmd]). What is in the pipe then is still taken.
const drain = time.Second

// maxRest bounds what is taken of a pipe at the end: as much as the kernel keeps in one
// (/proc/sys/fs/pipe-max-size, 1 MiB unless root has raised it). Whoever still has the
// other end may go on writing.
const maxRest = 1 << 20

// environment is what every command has.
var environment = []string{
	"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
	"HOME=" + sandbox.Home, "USER=agent", "LOGNAME=agent", "LANG=C.UTF-8", "TERM=dumb",
}

// process is a command that was started.
type process struct {
	instance *instance
	id       uint64
	pid      int
	mine     []*os.File // our ends of its stdio
	output   sync.WaitGroup
	drained  chan struct{} // closed when all output was read
	done     chan struct{} // closed when it has ended
	over     chan struct{} // closed when, besides, no more output is taken
	cut      atomic.Bool   // nothing is written any more
	taken    atomic.Int64  // bytes of output that the writers took
	writing  atomic.Int32  // writers that are taking some
	exit     sandbox.Exit
	err      error
}

// Start implements sandbox.Instance.
func (i *instance) Start(ctx context.Context, c sandbox.Cmd) (sandbox.Process, error) {
	failpoint.Hit(failpoint.SandboxStartBefore)
	if len(c.Args) == 0 || c.Args[0] == "" {
		return nil, invalid("a command without a program")
	}
	if c.Dir == "" {
		c.Dir = sandbox.Dir
	}
	if !path.IsAbs(c.Dir) {
		return nil, invalid("the working directory %q is not absolute", c.Dir)
	}
	for _, e := range c.Env {
		if name, _, ok := strings.Cut(e, "="); !ok || name == "" {
			return nil, invalid("the variable %q of a command is not NAME=value", name)
		}
	}
	env := merge(environment, c.Env)
	for _, s := range slices.Concat(c.Args, env, []string{c.Dir}) {
		if strings.ContainsRune(s, 0) {
			return nil, invalid("a NUL byte cannot be part of a command")
		}
	}
	if err := context.Cause(ctx); err != nil { // init could be quicker than the end of the wait for it
		return nil, err
	}
	p := &process{instance: i, drained: make(chan struct{}), done: make(chan struct{}), over: make(chan struct{})}
	s := &wire.Start{Args: wire.NewList(c.Args), Env: wire.NewList(env), Dir: []byte(c.Dir), Detached: c.Detached}
	theirs, begin, err := p.stdio(c, s)
	if err != nil {
		return nil, err
	}
	i.mu.Lock()
	if i.procs == nil {
		i.mu.Unlock()
		wire.CloseAll(theirs)
		p.closeMine()
		return nil, i.err
	}
	i.seq++
	p.id = i.seq
	s.ID = p.id
	i.procs[p.id] = p
	i.detached = i.detached || c.Detached
	i.mu.Unlock()

	r, err := i.call(ctx, wire.Request{Start: s}, theirs)
	wire.CloseAll(theirs)
	if err != nil {
		i.mu.Lock()
		delete(i.procs, p.id)
		i.mu.Unlock()
		p.closeMine()
		if ctx.Err() != nil { // it may be started yet
			go func() { _, _ = i.call(context.WithoutCancel(ctx), wire.Request{Kill: s.ID}, nil) }()
		}
		return nil, startError(c.Args[0], c.Dir, err)
	}
	p.pid = r.PID
	begin()
	failpoint.Hit(failpoint.SandboxStartAfter)
	return p, nil
}

// startError says what a person can do about a command that did not start.
func startError(program, dir string, err error) error {
	var e *initError
	if !errors.As(err, &e) {
		return err
	}
	c := &cairn.Error{Code: cairn.CodeInvalid, NotDone: true, Err: err}
	switch inDir := strings.HasPrefix(e.text, "working directory"); {
	case inDir && errors.Is(err, unix.ENOENT):
		c.Code, c.Message = cairn.CodeNotFound, "the working directory "+dir+" is not there"
	case inDir:
		c.Message = dir + " cannot be a working directory: it is no directory, or may not be entered"
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ENOTDIR), errors.Is(err, unix.ELOOP):
		c.Code, c.Message = cairn.CodeNotFound, program+" is not there, or its interpreter is not"
	case errors.Is(err, unix.EACCES), errors.Is(err, unix.EPERM), errors.Is(err, unix.EISDIR):
		c.Message = program + " may not be run: is it an executable file?"
	case errors.Is(err, unix.ENOEXEC):
		c.Message = program + " is no program: a script needs a first line that names its interpreter"
	case errors.Is(err, unix.E2BIG), errors.Is(err, unix.ENAMETOOLONG):
		c.Message = "the command is too long; write it to a file and run that"
	case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.ENOMEM):
		c.Code, c.Retryable = cairn.CodeUnavailable, true
		c.Message = "there are too many processes in the sandbox, or too little memory; kill some first"
	default:
		c.Code, c.Message = cairn.CodeInternal, program+" could not be started in the sandbox"
	}
	return c
}

// merge adds variables; the last of a name counts.
func merge(base, more []string) []string {
	all := slices.Clone(base)
	for _, e := range more {
		name, _, _ := strings.Cut(e, "=")
		at := slices.IndexFunc(all, func(have string) bool { return strings.HasPrefix(have, name+"=") })
		if at < 0 {
			all = append(all, e)
		} else {
			all[at] = e
		}
	}
	return all
}

// stdio makes the pipes. It returns their other ends, and what begins to copy.
func (p *process) stdio(c sandbox.Cmd, s *wire.Start) (theirs []int, begin func(), err error) {
	var starts []func()
	fail := func(err error) ([]int, func(), error) {
		wire.CloseAll(theirs)
		p.closeMine()
		return nil, nil, err
	}
	if c.Stdin != nil {
		r, w, err := p.pipe(false)
		if err != nil {
			return fail(err)
		}
		s.Stdio[0] = true
		theirs = append(theirs, r)
		starts = append(starts, func() {
			_, _ = io.Copy(w, c.Stdin) // a command need not read all
			_ = w.Close()
		})
	}
	for n, w := range []io.Writer{1: c.Stdout, 2: c.Stderr} {
		if w == nil {
			continue
		}
		if n == 2 && same(c.Stdout, c.Stderr) { // one pipe keeps their order
			s.Stdio[2] = true
			theirs = append(theirs, theirs[len(theirs)-1])
			continue
		}
		end, r, err := p.pipe(true)
		if err != nil {
			return fail(err)
		}
		s.Stdio[n] = true
		theirs = append(theirs, end)
		p.output.Add(1)
		starts = append(starts, func() {
			defer p.output.Done()
			p.copy(w, r)
		})
	}
	return theirs, func() {
		for _, f := range starts {
			go f()
		}
		go func() {
			p.output.Wait()
			close(p.drained)
		}()
	}, nil
}

// copy copies output until its end. An error of the writer closes the pipe, and
// the command hears of it; a writer that takes nothing stops the command.
func (p *process) copy(w io.Writer, r *os.File) {
	defer func() { _ = r.Close() }()
	b := make([]byte, 32<<10)
	for {
		n, err := r.Read(b)
		if !p.write(w, b[:n]) {
			return
		}
		if errors.Is(err, os.ErrDeadlineExceeded) {
			break
		}
		if err != nil {
			return
		}
	}
	for rest := 0; rest < maxRest; {
		n := available(r, b)
		if n <= 0 || !p.write(w, b[:n]) {
			return
		}
		rest += n
	}
}

// write hands on what was read, and says whether more is wanted.
func (p *process) write(w io.Writer, b []byte) bool {
	if len(b) == 0 {
		return true
	}
	if p.cut.Load() {
		return false
	}
	p.writing.Add(1)
	defer p.writing.Add(-1)
	n, err := w.Write(b)
	p.taken.Add(int64(n))
	return err == nil
}

// available reads what is in a pipe, without a wait.
func available(r *os.File, b []byte) (n int) {
	raw, err := r.SyscallConn()
	if err != nil {
		return 0
	}
	err = raw.Control(func(fd uintptr) {
		for {
			if n, err = unix.Read(int(fd), b); !errors.Is(err, unix.EINTR) {
				return
			}
		}
	})
	if err != nil {
		return 0
	}
	return n
}

// same says that two writers are one.
func same(a, b io.Writer) (equal bool) {
	defer func() { _ = recover() }() // of types that cannot be compared: not the same
	return a == b
}

// pipe makes a pipe whose one end is the command's, and may be opened by it again
// as /dev/stdout; our end waits in the poller.
func (p *process) pipe(read bool) (theirs int, mine *os.File, err error) {
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_CLOEXEC); err != nil {
		return -1, nil, fmt.Errorf("make a pipe: %w", err)
	}
	ours := fds[1]
	theirs = fds[0]
	if read {
		ours, theirs = fds[0], fds[1]
	}
	if p.instance.driver.root {
		uid, gid := Owner()
		err = unix.Fchown(theirs, uid, gid)
	}
	if err == nil {
		err = unix.SetNonblock(ours, true)
	}
	if err != nil {
		wire.CloseAll(fds[:])
		return -1, nil, fmt.Errorf("prepare a pipe: %w", err)
	}
	mine = os.NewFile(uintptr(ours), "stdio")
	p.mine = append(p.mine, mine)
	return theirs, mine, nil
}

func (p *process) closeMine() {
	for _, f := range p.mine {
		_ = f.Close()
	}
}

// ended takes how the command ended. Its output is read for a little longer.
func (p *process) ended(e wire.Exit) {
	status := syscall.WaitStatus(e.Status)
	p.exit = sandbox.Exit{
		Code: status.ExitStatus(), Left: infos(e.Left),
		Usage: sandbox.Usage{CPU: time.Duration(e.CPU), Memory: e.MaxRSS},
	}
	if status.Signaled() {
		p.exit.Code = 128 + int(status.Signal())
		p.exit.Signal = unix.SignalName(status.Signal())
	}
	p.finish()
}

// lost ends the command with its instance.
func (p *process) lost(why error) {
	p.err = why
	p.finish()
}

func (p *process) finish() {
	for _, f := range p.mine {
		_ = f.SetReadDeadline(time.Now().Add(drain))
		_ = f.SetWriteDeadline(time.Now())
	}
	close(p.done)
	go p.finished()
}

// finished ends the process for those who wait, when its output was taken. A machine
// that is slow loses none of it; a writer that takes nothing is not waited for.
func (p *process) finished() {
	defer close(p.over)
	for {
		taken := p.taken.Load()
		select {
		case <-p.drained:
			return
		case <-time.After(drain + drain/4):
		}
		if p.writing.Load() > 0 && p.taken.Load() == taken {
			p.cut.Store(true)
			return
		}
	}
}

// PID implements sandbox.Process.
func (p *process) PID() int { return p.pid }

// Wait implements sandbox.Process.
func (p *process) Wait(ctx context.Context) (sandbox.Exit, error) {
	select {
	case <-p.over:
		return p.exit, p.err
	case <-ctx.Done():
		return sandbox.Exit{}, context.Cause(ctx)
	}
}

// Kill implements sandbox.Process.
func (p *process) Kill(ctx context.Context) ([]sandbox.ProcessInfo, error) {
	if p.instance.over() {
		return nil, nil
	}
	r, err := p.instance.call(ctx, wire.Request{Kill: p.id}, nil)
	if err != nil {
		if p.instance.over() { // it died with its instance
			return nil, nil
		}
		return nil, err
	}
	select {
	case <-p.done:
		return infos(r.Procs), nil
	case <-ctx.Done():
		return infos(r.Procs), context.Cause(ctx)
	}
}
