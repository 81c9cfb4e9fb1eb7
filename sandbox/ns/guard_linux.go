//go:build linux && (amd64 || arm64)

package ns

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cairn-run/cairn/sandbox"
	"github.com/cairn-run/cairn/sandbox/ns/boot"
	"github.com/cairn-run/cairn/sandbox/ns/wire"
)

const (
	// glance is how often the free space of the file system is looked at.
	glance = 100 * time.Millisecond
	// gap is the most that can be written before the upper directory is walked,
	// in bytes or files: a sixteenth of the limit.
	gap = 16
	// share keeps walking to a tenth of the time, however large the directory.
	share = 10
	// settle is how often freezing is asked whether it is complete.
	settle = 200 * time.Microsecond
)

// guard holds the limits that the kernel does not: disk, inodes, wall time.
func (i *instance) guard() {
	if i.limits.Wall > 0 {
		t := time.AfterFunc(i.limits.Wall, func() {
			i.exceed(&sandbox.Breach{Limit: "wall", Used: int64(i.limits.Wall), Max: int64(i.limits.Wall)})
		})
		context.AfterFunc(i.context(), func() { t.Stop() })
	}
	if i.upper != "" {
		go i.watchDisk()
	}
}

// context ends with the instance.
func (i *instance) context() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		<-i.done
		cancel()
	}()
	return ctx
}

// exceed kills the instance for a limit.
func (i *instance) exceed(b *sandbox.Breach) {
	i.mu.Lock()
	if i.breach == nil && i.cause == nil {
		i.breach = b
	}
	i.mu.Unlock()
	i.end(b)
}

// watchDisk looks at the free space of the file system of the upper directory,
// which costs nothing, and when enough of it has gone, at the directory itself.
// Others write to the file system too: their writes cost a walk, no more.
func (i *instance) watchDisk() {
	ctx := i.context()
	ticks := time.NewTicker(glance)
	defer ticks.Stop()
	var seen unix.Statfs_t
	if err := unix.Statfs(i.upper, &seen); err != nil {
		i.driver.log.Error("the disk of a sandbox cannot be watched", "sandbox", i.id, "error", err)
	}
	i.look() // the directory may hold something already
	next := time.Now()
	asked := false
	var hidden boot.Hidden
	for {
		select {
		case <-i.done:
			return
		case now := <-ticks.C:
			var st unix.Statfs_t
			select {
			case <-i.nudge:
				asked = true
			default:
			}
			if now.Before(next) || unix.Statfs(i.upper, &st) != nil {
				continue
			}
			written := (int64(seen.Bfree) - int64(st.Bfree)) * st.Bsize
			made := int64(seen.Ffree) - int64(st.Ffree)
			if !asked && written < i.limits.Disk/gap && made < i.limits.Inodes/gap {
				if written < 0 || made < 0 { // space became free: count from there
					seen.Bfree, seen.Ffree = max(seen.Bfree, st.Bfree), max(seen.Ffree, st.Ffree)
				}
				continue
			}
			asked = false
			b, err := i.checkDisk(ctx, &hidden, st)
			if b != nil {
				i.exceed(b)
				return
			}
			if err == nil {
				seen = st
			}
			next = time.Now().Add(time.Since(now) * share)
		}
	}
}

// look asks for the disk to be looked at soon.
func (i *instance) look() {
	select {
	case i.nudge <- struct{}{}:
	default:
	}
}

// checkDisk measures the upper directory, and what is in files without a name.
func (i *instance) checkDisk(ctx context.Context, h *boot.Hidden, fs unix.Statfs_t) (*sandbox.Breach, error) {
	bytes, files, err := measure(ctx, i.upper, i.limits.Disk, i.limits.Inodes)
	if err != nil {
		return nil, err
	}
	if bytes <= i.limits.Disk && files <= i.limits.Inodes {
		if r, err := i.call(ctx, wire.Request{Lost: true}, nil); err == nil {
			bytes += r.Bytes
			bytes += h.Count(int64(fs.Bfree)*fs.Bsize, bytes, r.Hiding)
		}
	}
	i.mu.Lock()
	i.disk = bytes
	i.mu.Unlock()
	switch {
	case bytes > i.limits.Disk:
		return &sandbox.Breach{Limit: "disk", Used: bytes, Max: i.limits.Disk}, nil
	case files > i.limits.Inodes:
		return &sandbox.Breach{Limit: "inodes", Used: files, Max: i.limits.Inodes}, nil
	}
	return nil, nil
}

// Freeze implements sandbox.Instance.
func (i *instance) Freeze(ctx context.Context) error {
	i.mu.Lock()
	already := i.frozen
	i.mu.Unlock()
	switch {
	case i.over():
		return i.err
	case already:
		return nil
	}
	if !i.group.freezer() {
		if _, err := i.call(ctx, wire.Request{Stop: true}, nil); err != nil {
			return err
		}
		i.setFrozen(true)
		return nil
	}
	i.setFrozen(true)
	err := i.group.freeze()
	for deadline := time.Now().Add(patience); err == nil && !i.group.frozen(); {
		switch {
		case i.over():
			return i.err
		case ctx.Err() != nil:
			err = context.Cause(ctx)
		case time.Now().After(deadline):
			err = errors.New("not all processes could be frozen: one waits in the kernel")
		default:
			<-time.After(settle)
		}
	}
	if err != nil {
		return errors.Join(fmt.Errorf("freeze the sandbox: %w", err), i.Thaw(context.WithoutCancel(ctx)))
	}
	return nil
}

// Thaw implements sandbox.Instance.
func (i *instance) Thaw(ctx context.Context) error {
	if i.over() {
		return i.err
	}
	if !i.group.freezer() {
		if _, err := i.call(ctx, wire.Request{Cont: true}, nil); err != nil {
			return err
		}
	} else if err := i.group.thaw(); err != nil {
		return fmt.Errorf("thaw the sandbox: %w", err)
	}
	i.setFrozen(false)
	return nil
}

func (i *instance) setFrozen(frozen bool) {
	i.mu.Lock()
	i.frozen = frozen
	i.mu.Unlock()
}

// Usage implements sandbox.Instance.
func (i *instance) Usage(ctx context.Context) (sandbox.Usage, error) {
	var u sandbox.Usage
	if !i.over() {
		i.look()
		u.CPU, u.Memory = i.group.used()
		i.mu.Lock()
		frozen := i.frozen
		i.mu.Unlock()
		frozen = frozen && i.group.freezer()
		if !frozen && (u.CPU == 0 || u.Memory == 0) {
			r, err := i.call(ctx, wire.Request{Usage: true}, nil)
			if err != nil && !i.over() {
				return sandbox.Usage{}, err
			}
			u.CPU, u.Memory = max(u.CPU, time.Duration(r.CPU)), max(u.Memory, r.Memory)
		}
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.cpu, i.peak = max(i.cpu, u.CPU), max(i.peak, u.Memory)
	return sandbox.Usage{CPU: i.cpu, Memory: i.peak, Disk: i.disk}, nil
}

// countsInNamespace says whether the kernel counts the processes of a user
// within each user namespace, which it does since Linux 5.14 (commit
// 21d1c5e386bc); before, a limit would count all processes of the host's user.
func countsInNamespace() bool {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return false
	}
	return atLeast(unix.ByteSliceToString(u.Release[:]), 5, 14)
}

// atLeast compares the release of a kernel, "6.1.0-18-amd64".
func atLeast(release string, major, minor int) bool {
	a, rest, _ := strings.Cut(release, ".")
	b := strings.FieldsFunc(rest, func(r rune) bool { return r < '0' || r > '9' })
	if len(b) == 0 {
		return false
	}
	x, err := strconv.Atoi(a)
	if err != nil {
		return false
	}
	y, err := strconv.Atoi(b[0])
	if err != nil {
		return false
	}
	return x > major || x == major && y >= minor
}
