package none

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/sandbox"
)

const (
	// markName is the variable that every process of a command inherits, and is
	// found by, wherever it has gone.
	markName = "CAIRN_SANDBOX_TREE"
	// lingerIO is how long output is read after the last process has ended
	// (sandbox.Cmd).
	lingerIO = time.Second
	// killBound is how long the end of a command or of the driver is held up by
	// processes that do not die: those of other users.
	killBound = 10 * time.Second
)

// process is one command.
type process struct {
	instance *instance
	cmd      *exec.Cmd
	mark     string
	detached bool
	pipes    []*os.File     // our ends
	copies   sync.WaitGroup // goroutines that read and write them
	dead     chan struct{}  // the main process has ended and exit.Code is known
	done     chan struct{}  // and so has its tree, if it is not detached; exit is whole

	mu   sync.Mutex
	exit sandbox.Exit
	err  error
}

// start makes the command's pipes and runs it.
func start(i *instance, c sandbox.Cmd) (*process, error) {
	if err := checkCmd(c); err != nil {
		return nil, err
	}
	dir := i.dir(c.Dir)
	if !filepath.IsAbs(dir) {
		return nil, cairn.Errorf(cairn.CodeInvalid, "the directory %q to run in is not absolute", c.Dir)
	}
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		return nil, cairn.Errorf(cairn.CodeInvalid, "the directory %q to run in does not exist", c.Dir)
	}
	p := &process{
		instance: i, mark: i.id + "." + rand.Text(), detached: c.Detached,
		dead: make(chan struct{}), done: make(chan struct{}),
	}
	env := i.environ(p.mark, c.Env)
	program, err := find(c.Args[0], dir, env)
	if err != nil {
		return nil, err
	}
	p.cmd = command(program, c.Args, i.limits)
	p.cmd.Dir, p.cmd.Env = dir, env
	theirs, err := p.connect(c)
	defer func() {
		for _, f := range theirs {
			_ = f.Close() // the child has its own
		}
	}()
	if err == nil {
		err = p.cmd.Start()
	}
	if err != nil {
		p.closePipes()
		p.copies.Wait()
		return nil, startError(c.Args[0], err)
	}
	go p.watch()
	return p, nil
}

func checkCmd(c sandbox.Cmd) error {
	if len(c.Args) == 0 || c.Args[0] == "" {
		return cairn.Errorf(cairn.CodeInvalid, "a command needs a program: Args is empty")
	}
	for _, s := range slices.Concat(c.Args, c.Env, []string{c.Dir}) {
		if strings.ContainsRune(s, 0) {
			return cairn.Errorf(cairn.CodeInvalid, "an argument, a variable or the directory of the command has a NUL byte in it")
		}
	}
	for _, e := range c.Env {
		if k, _, ok := strings.Cut(e, "="); !ok || k == "" {
			return cairn.Errorf(cairn.CodeInvalid, "an environment variable of the command is not written KEY=value")
		}
	}
	return nil
}

// find looks a program up as execvp would in the command's own environment.
func find(name, dir string, env []string) (string, error) {
	if strings.ContainsRune(name, '/') || filepath.IsAbs(name) {
		path := name
		if !filepath.IsAbs(path) {
			path = filepath.Join(dir, path)
		}
		path, err := exec.LookPath(path)
		if err != nil {
			return "", startError(name, err)
		}
		return path, nil
	}
	search := ""
	for _, e := range env {
		if v, ok := strings.CutPrefix(e, "PATH="); ok {
			search = v
		}
	}
	for _, d := range filepath.SplitList(search) {
		if !filepath.IsAbs(d) {
			d = filepath.Join(dir, d)
		}
		path, err := exec.LookPath(filepath.Join(d, name))
		if err == nil {
			return path, nil
		}
	}
	return "", startError(name, exec.ErrNotFound)
}

func startError(name string, err error) error {
	switch {
	case errors.Is(err, exec.ErrNotFound), errors.Is(err, fs.ErrNotExist):
		return cairn.Errorf(cairn.CodeNotFound, "the program %q was not found: check its path, or PATH: %w", name, err)
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EISDIR):
		return cairn.Errorf(cairn.CodeInvalid, "the program %q is not executable: %w", name, err)
	case errors.Is(err, syscall.E2BIG):
		return cairn.Errorf(cairn.CodeInvalid, "the arguments and the environment are too long: write them to a file: %w", err)
	}
	return cairn.Errorf(cairn.CodeInternal, "starting %q: %w", name, err)
}

// connect gives the command its stdio and returns the ends that are the child's.
func (p *process) connect(c sandbox.Cmd) (theirs []*os.File, err error) {
	pipe := func() (r, w *os.File) {
		if err != nil {
			return nil, nil
		}
		if r, w, err = os.Pipe(); err != nil {
			return nil, nil
		}
		return r, w
	}
	if c.Stdin != nil {
		if r, w := pipe(); err == nil {
			p.cmd.Stdin, theirs, p.pipes = r, append(theirs, r), append(p.pipes, w)
			// Nothing waits for this one: a reader may never return.
			go func() { _, _ = io.Copy(w, c.Stdin); _ = w.Close() }() // the command may not want it all
		}
	}
	for _, out := range []struct {
		to   io.Writer
		file *io.Writer
	}{{c.Stdout, &p.cmd.Stdout}, {c.Stderr, &p.cmd.Stderr}} {
		if out.to == nil {
			continue
		}
		if r, w := pipe(); err == nil {
			*out.file, theirs, p.pipes = w, append(theirs, w), append(p.pipes, r)
			p.copies.Go(func() {
				_, _ = io.Copy(out.to, r) // a writer that takes no more closes the pipe: the command sees EPIPE
				_ = r.Close()
			})
		}
	}
	return theirs, err
}

func (p *process) closePipes() {
	for _, f := range p.pipes {
		_ = f.Close() // closed already: that is what is wanted
	}
}

// watch waits for the end, kills what is left and finishes the reading.
func (p *process) watch() {
	waitErr := p.cmd.Wait()
	exit := exitOf(p.cmd.ProcessState)
	p.mu.Lock()
	p.exit = exit
	if exitErr, ok := errors.AsType[*exec.ExitError](waitErr); waitErr != nil && (!ok || exitErr == nil) {
		p.err = cairn.Errorf(cairn.CodeInternal, "waiting for the command: %w", waitErr)
	}
	p.mu.Unlock()
	close(p.dead)
	if !p.detached {
		ctx, cancel := context.WithTimeout(context.Background(), killBound)
		left, err := p.tree().kill(ctx)
		cancel()
		p.mu.Lock()
		p.exit.Left = left
		p.err = errors.Join(p.err, err)
		p.mu.Unlock()
	}
	copied := make(chan struct{})
	go func() { p.copies.Wait(); close(copied) }()
	timer := time.NewTimer(lingerIO)
	defer timer.Stop()
	select {
	case <-copied:
	case <-timer.C:
	}
	p.closePipes()
	p.instance.account(exit.Usage)
	if !p.detached || len(p.tree().members()) == 0 {
		p.instance.forget(p)
	}
	close(p.done)
}

// PID implements [sandbox.Process]: the id on the host.
func (p *process) PID() int { return p.cmd.Process.Pid }

// Wait implements [sandbox.Process].
func (p *process) Wait(ctx context.Context) (sandbox.Exit, error) {
	select {
	case <-p.done:
	case <-ctx.Done():
		return sandbox.Exit{}, &cairn.Error{Code: cairn.CodeCancelled, Message: "stopped waiting: the command may still be running", Err: ctx.Err()}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.exit, p.err
}

// Kill implements [sandbox.Process].
func (p *process) Kill(ctx context.Context) ([]sandbox.ProcessInfo, error) {
	killed, err := p.tree().kill(ctx)
	if err != nil {
		return killed, err
	}
	select {
	case <-p.done:
	case <-ctx.Done():
		return killed, &cairn.Error{Code: cairn.CodeCancelled, Message: "stopped waiting for the command to be dead", Err: ctx.Err()}
	}
	p.instance.forget(p)
	return killed, nil
}

// running says whether the main process has not been waited for.
func (p *process) running() bool {
	select {
	case <-p.dead:
		return false
	default:
		return true
	}
}
