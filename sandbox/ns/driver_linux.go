//go:build linux && (amd64 || arm64)

package ns

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/internal/failpoint"
	"github.com/cairn-run/cairn/sandbox"
	"github.com/cairn-run/cairn/sandbox/ns/boot"
	"github.com/cairn-run/cairn/sandbox/ns/wire"
)

const (
	// patience bounds every question to helper and init, so that a caller without a
	// deadline does not wait for ever.
	patience = 30 * time.Second
	// grace is how long the names of what will be killed are waited for.
	grace = 500 * time.Millisecond
	// refillAfter is how long the next spare waits for an instance that was just made,
	// unless that ends before. To make both at once slows the one that somebody waits
	// for: they want the same locks of the kernel.
	refillAfter = 20 * time.Millisecond
)

// Owner is the user and group that the files of sessions must belong to, so that
// the user of an instance owns them: [SandboxID] when the runtime is root, else its own.
func Owner() (uid, gid int) {
	if os.Geteuid() == 0 {
		return SandboxID, SandboxID
	}
	return os.Getuid(), os.Getgid()
}

// Open returns the driver. It starts nothing yet; [sandbox.Driver.Probe] says
// whether it can be used.
func Open(o Options) (sandbox.Driver, error) { return open(o) }

// drivers counts those of this process.
var drivers atomic.Uint64

type driver struct {
	dir    string
	log    *slog.Logger
	exe    string
	root   bool
	spare  int // how many are kept
	groups *groups
	keys   atomic.Uint64

	mu        sync.Mutex // of what follows
	helper    *forkd
	instances map[string]*instance // nil: its name is taken by one that is being made
	spares    []*prepared
	refilling bool
	closed    bool
	making    sync.WaitGroup // of instances and spares

	probe struct {
		sync.Mutex
		done bool
		caps sandbox.Caps
	}
}

func open(o Options) (*driver, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, cairn.Errorf(cairn.CodeInternal, "find the runtime's own program: %w", err)
	}
	log := o.Logger
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	d := &driver{dir: o.Dir, log: log, exe: exe, root: os.Geteuid() == 0, spare: o.Spare, instances: map[string]*instance{}}
	if d.groups, err = openGroups(log); err != nil {
		return nil, err
	}
	return d, nil
}

// Name implements sandbox.Driver.
func (d *driver) Name() string { return "ns" }

// forkd returns a helper that is alive.
func (d *driver) forkd() (*forkd, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return nil, cairn.Errorf(cairn.CodeUnavailable, "the sandbox driver is closed")
	}
	if d.helper != nil && d.helper.alive() {
		return d.helper, nil
	}
	if d.helper != nil {
		d.log.Warn("the helper of the sandboxes has ended, another one is started")
		d.helper.stop()
	}
	var err error
	d.helper, err = startForkd(d.groups.homes())
	return d.helper, err
}

// reserve takes a name.
func (d *driver) reserve(id string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return cairn.Errorf(cairn.CodeUnavailable, "the sandbox driver is closed")
	}
	if _, taken := d.instances[id]; taken {
		return cairn.Errorf(cairn.CodeConflict, "a sandbox with the name %s is alive: destroy it first", id)
	}
	d.instances[id] = nil
	d.making.Add(1)
	return nil
}

// forget gives a name back.
func (d *driver) forget(id string) {
	d.mu.Lock()
	delete(d.instances, id)
	d.mu.Unlock()
}

// Create implements sandbox.Driver.
func (d *driver) Create(ctx context.Context, s sandbox.Spec) (sandbox.Instance, error) {
	i, err := d.create(ctx, s)
	if err != nil {
		return nil, err // not an Instance that holds nil
	}
	return i, nil
}

func (d *driver) create(ctx context.Context, s sandbox.Spec) (*instance, error) {
	failpoint.Hit(failpoint.SandboxCreateBefore)
	s.Limits = s.Limits.WithDefaults()
	b, err := plan(s, d.exe)
	if err != nil {
		return nil, err
	}
	if err := d.reserve(s.ID); err != nil {
		return nil, err
	}
	defer d.making.Done()
	i, err := d.make(ctx, s, b)
	if err != nil {
		d.forget(s.ID)
		var known *cairn.Error
		if errors.As(err, &known) {
			return nil, err
		}
		return nil, &cairn.Error{
			Code: cairn.CodeUnavailable, Retryable: true, NotDone: true, Err: err,
			Message: "the sandbox could not be made; `cairn doctor` says what this machine allows",
		}
	}
	time.AfterFunc(refillAfter, d.refill)
	failpoint.Hit(failpoint.SandboxCreateAfter)
	return i, nil
}

// make makes an instance, or nothing.
func (d *driver) make(ctx context.Context, s sandbox.Spec, b *wire.Build) (*instance, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if p := d.takeSpare(); p != nil {
		i, err := d.build(ctx, p, s, b)
		if !errors.Is(err, errSpare) {
			return i, err
		}
	}
	p, err := d.prepare()
	if err != nil {
		return nil, err
	}
	return d.build(ctx, p, s, b)
}

// build makes an instance of a prepared process.
func (d *driver) build(ctx context.Context, p *prepared, s sandbox.Spec, b *wire.Build) (*instance, error) {
	if err := p.group.limit(s.Limits); err != nil {
		p.discard()
		return nil, err
	}
	var trees []int
	b.Opened = d.root
	if b.Opened { // the user of the instance need not be able to reach them
		var err error
		if trees, err = boot.OpenTrees(b.Trees); err != nil {
			p.discard()
			return nil, err
		}
		defer wire.CloseAll(trees)
	}
	b.UserProcs = countsInNamespace()
	if !d.groups.holds("memory") {
		b.Memory = s.Limits.Memory
	}
	b.WatchProcesses = !d.groups.holds("processes") && !b.UserProcs
	i := newInstance(d, s, p)
	for chunk := range slices.Chunk(trees, wire.MaxDescriptors) {
		if _, err := i.post(wire.Request{Trees: true}, chunk); err != nil {
			break // the last one fails, too, and says why
		}
	}
	if len(p.group.tasks) > 0 {
		_, _ = i.post(wire.Request{Tasks: true}, p.group.tasks) // as above
	}
	answer, err := i.post(wire.Request{Build: b}, nil)
	p.group.handed()
	if err := p.wait(ctx); err != nil {
		_ = i.conn.Close()
		return nil, err
	}
	i.begin(p)
	var r wire.Reply
	if err == nil {
		r, err = i.answer(ctx, answer)
	}
	if err == nil {
		i.built = r.Built
		d.mu.Lock()
		if d.closed {
			err = cairn.Errorf(cairn.CodeUnavailable, "the sandbox driver is closed")
		} else {
			d.instances[s.ID] = i
		}
		d.mu.Unlock()
	}
	if err != nil {
		dead := i.over()
		i.end(fmt.Errorf("the sandbox could not be built: %w", err))
		<-i.done
		if dead && p.spare {
			return nil, errSpare
		}
		return nil, err
	}
	i.guard()
	return i, nil
}

// Close implements sandbox.Driver.
func (d *driver) Close() error {
	d.mu.Lock()
	if d.closed {
		d.mu.Unlock()
		return nil
	}
	d.closed = true
	d.mu.Unlock()
	d.making.Wait() // what is being made is ended by its maker
	d.mu.Lock()
	var all []*instance
	for _, i := range d.instances {
		if i != nil {
			all = append(all, i)
		}
	}
	helper, spares := d.helper, d.spares
	d.spares = nil
	d.mu.Unlock()
	for _, p := range spares {
		p.discard()
	}
	for _, i := range all {
		i.end(sandbox.ErrDestroyed)
	}
	for _, i := range all {
		<-i.done
	}
	if helper != nil {
		helper.stop()
	}
	return d.groups.close()
}
