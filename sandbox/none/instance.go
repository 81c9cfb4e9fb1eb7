package none

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/sandbox"
)

// maxCommands bounds the commands of one instance that are alive at once.
const maxCommands = 1024

// instance is one sandbox that is none.
type instance struct {
	driver *Driver
	id     string
	plain  string
	limits sandbox.Limits
	done   chan struct{}
	wall   *time.Timer

	ending sync.Mutex // held by the one who ends the instance

	mu     sync.Mutex
	err    error             // why it ended; nil: it lives
	closed bool              // nothing may be started any more
	cmds   map[*process]bool // started and not known to be dead with their trees
	used   sandbox.Usage     // of commands that have ended
	frozen bool
}

func newInstance(d *Driver, s sandbox.Spec) *instance {
	i := &instance{
		driver: d, id: s.ID, plain: s.Root.Plain, limits: s.Limits,
		done: make(chan struct{}), cmds: map[*process]bool{},
	}
	if w := s.Limits.Wall; w > 0 {
		i.wall = time.AfterFunc(w, func() {
			ctx, cancel := context.WithTimeout(context.Background(), killBound)
			defer cancel()
			_, _ = i.end(ctx, &sandbox.Breach{Limit: "wall", Used: int64(w), Max: int64(w)}) // what is still alive is killed again by Destroy
		})
	}
	return i
}

// dir translates a directory of the sandbox to one of the host.
func (i *instance) dir(d string) string {
	if d == "" {
		d = sandbox.Dir
	}
	for _, known := range []string{sandbox.Dir, sandbox.Home} {
		if d == known || strings.HasPrefix(d, known+"/") {
			return filepath.Join(i.plain, filepath.FromSlash(d))
		}
	}
	return d
}

// environ is what every command begins with: nothing of the runtime's own
// environment but where programs are.
func (i *instance) environ(mark string, more []string) []string {
	path := os.Getenv("PATH")
	if path == "" {
		path = "/usr/local/bin:/usr/bin:/bin"
	}
	env := append(systemEnviron(), "PATH="+path, "HOME="+filepath.Join(i.plain, "home", "agent"), "LANG=C.UTF-8", "TERM=dumb")
	env = append(env, more...)
	return append(env, markName+"="+mark)
}

// Start implements [sandbox.Instance].
func (i *instance) Start(ctx context.Context, c sandbox.Cmd) (sandbox.Process, error) {
	if err := ctx.Err(); err != nil {
		return nil, cancelled(err)
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	switch {
	case i.err != nil:
		return nil, i.err
	case i.closed:
		return nil, sandbox.ErrDestroyed
	case i.frozen:
		return nil, cairn.Errorf(cairn.CodeConflict, "the sandbox is frozen: thaw it before starting a command")
	case len(i.cmds) >= maxCommands:
		return nil, &cairn.Error{Code: cairn.CodeUnavailable, Retryable: true, Message: "too many commands are running in this sandbox: wait for some to end"}
	}
	p, err := start(i, c)
	if err != nil {
		return nil, err
	}
	i.cmds[p] = true
	return p, nil
}

// forget takes a command whose tree is dead out of the list.
func (i *instance) forget(p *process) {
	i.mu.Lock()
	defer i.mu.Unlock()
	delete(i.cmds, p)
}

// account adds what a command has used.
func (i *instance) account(u sandbox.Usage) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.used.CPU += u.CPU
	i.used.Memory = max(i.used.Memory, u.Memory)
}

func (i *instance) commands() []*process {
	i.mu.Lock()
	defer i.mu.Unlock()
	all := make([]*process, 0, len(i.cmds))
	for p := range i.cmds {
		all = append(all, p)
	}
	return all
}

// Processes implements [sandbox.Instance].
func (i *instance) Processes(ctx context.Context) ([]sandbox.ProcessInfo, error) {
	if err := ctx.Err(); err != nil {
		return nil, cancelled(err)
	}
	var all []sandbox.ProcessInfo
	for _, p := range i.commands() {
		for _, m := range p.tree().members() {
			all = append(all, m.info())
		}
	}
	slices.SortFunc(all, func(a, b sandbox.ProcessInfo) int { return a.PID - b.PID })
	return slices.CompactFunc(all, func(a, b sandbox.ProcessInfo) bool { return a.PID == b.PID }), nil
}

// Freeze implements [sandbox.Instance] by SIGSTOP.
func (i *instance) Freeze(ctx context.Context) error {
	i.mu.Lock()
	if i.err != nil {
		defer i.mu.Unlock()
		return i.err
	}
	i.frozen = true
	i.mu.Unlock()
	for _, p := range i.commands() {
		if err := p.tree().stop(ctx); err != nil {
			return err
		}
	}
	return nil
}

// Thaw implements [sandbox.Instance] by SIGCONT.
func (i *instance) Thaw(context.Context) error {
	i.mu.Lock()
	if i.err != nil {
		defer i.mu.Unlock()
		return i.err
	}
	i.frozen = false
	i.mu.Unlock()
	for _, p := range i.commands() {
		p.tree().resume()
	}
	return nil
}

// Usage implements [sandbox.Instance]: CPU and memory of commands that have
// ended. Disk is not known here.
func (i *instance) Usage(ctx context.Context) (sandbox.Usage, error) {
	if err := ctx.Err(); err != nil {
		return sandbox.Usage{}, cancelled(err)
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.used, nil
}

// Destroy implements [sandbox.Instance].
func (i *instance) Destroy(ctx context.Context) ([]sandbox.ProcessInfo, error) {
	return i.end(ctx, sandbox.ErrDestroyed)
}

// end kills everything and closes done. Only the first call that gets through
// has anything to kill.
func (i *instance) end(ctx context.Context, why error) ([]sandbox.ProcessInfo, error) {
	i.ending.Lock()
	defer i.ending.Unlock()
	i.mu.Lock()
	i.closed = true
	i.mu.Unlock()
	var killed []sandbox.ProcessInfo
	for _, p := range i.commands() {
		k, err := p.Kill(ctx)
		killed = append(killed, k...)
		if err != nil {
			return killed, err
		}
	}
	i.mu.Lock()
	first := i.err == nil
	if first {
		i.err = why
	}
	i.mu.Unlock()
	if first {
		if i.wall != nil {
			i.wall.Stop()
		}
		close(i.done)
		i.driver.forget(i)
	}
	return killed, nil
}

// Done implements [sandbox.Instance].
func (i *instance) Done() <-chan struct{} { return i.done }

// Err implements [sandbox.Instance].
func (i *instance) Err() error {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.err
}
