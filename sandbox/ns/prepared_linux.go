//go:build linux && (amd64 || arm64)

package ns

import (
	"context"
	"errors"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cairn-run/cairn/sandbox/ns/wire"
)

// prepared is an init that was asked for and has not been told what to be.
type prepared struct {
	conn   *wire.Conn
	pidfd  int // -1: it has not come yet
	spawn  *spawning
	group  *group
	helper *forkd
	spare  bool // it has waited
}

// errSpare is a spare that died while it waited.
var errSpare = errors.New("a spare process has ended")

// prepare asks for an init in cgroups of its own. What is sent to it before it has
// come waits in its socket.
func (d *driver) prepare() (*prepared, error) {
	helper, err := d.forkd()
	if err != nil {
		return nil, err
	}
	key := d.keys.Add(1)
	group, err := d.groups.make(strconv.FormatUint(key, 10))
	if err != nil {
		return nil, err
	}
	conn, theirs, err := wire.Pair()
	if err != nil {
		group.remove()
		return nil, err
	}
	spawn := wire.Spawn{Key: key, Tasks: len(group.freezing), Into: group.into >= 0, Switch: d.root}
	spawn.Host, _ = Owner()
	fds := append([]int{theirs}, group.freezing...)
	if spawn.Into {
		fds = append(fds, group.into)
	}
	n, err := helper.spawn(spawn, fds)
	_ = unix.Close(theirs)
	group.placed()
	if err != nil {
		_ = conn.Close()
		group.remove()
		return nil, err
	}
	return &prepared{conn: conn, pidfd: -1, spawn: n, group: group, helper: helper}, nil
}

// wait waits until the process has come. After an error it is discarded.
func (p *prepared) wait(ctx context.Context) error {
	if p.pidfd >= 0 {
		return nil
	}
	got, err := p.spawn.wait(ctx)
	if err != nil {
		p.discard()
		return err
	}
	p.pidfd = got.pidfd
	return nil
}

// discard ends the process.
func (p *prepared) discard() {
	_ = p.conn.Close() // it ends when it reads that
	if p.pidfd >= 0 {
		_ = unix.PidfdSendSignal(p.pidfd, unix.SIGKILL, nil, 0)
		_ = unix.Close(p.pidfd)
		select {
		case <-p.spawn.end:
		case <-time.After(time.Second): // the helper is stopped
		}
	} else {
		p.spawn.abandon()
	}
	p.group.remove()
}

// takeSpare returns a spare, or nil.
func (d *driver) takeSpare() *prepared {
	d.mu.Lock()
	var dead []*prepared
	var found *prepared
	for len(d.spares) > 0 && found == nil {
		p := d.spares[0]
		d.spares = d.spares[1:]
		if p.helper == d.helper && p.helper.alive() {
			found = p
		} else { // it died with its helper
			dead = append(dead, p)
		}
	}
	d.mu.Unlock()
	for _, p := range dead {
		p.discard()
	}
	return found
}

// refill starts spares until there are enough, beside the caller.
func (d *driver) refill() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed || d.refilling || len(d.spares) >= d.spare {
		return
	}
	d.refilling = true
	d.making.Add(1)
	go func() {
		defer d.making.Done()
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		for {
			p, err := d.prepare()
			if err == nil {
				err = p.wait(ctx)
			}
			d.mu.Lock()
			if err == nil && !d.closed {
				p.spare = true
				d.spares = append(d.spares, p)
				p = nil
			}
			if err != nil || d.closed || len(d.spares) >= d.spare {
				d.refilling = false
				d.mu.Unlock()
				if err != nil {
					d.log.Warn("a spare process of the sandbox could not be started; the next Create starts its own", "error", err)
				} else if p != nil {
					p.discard()
				}
				return
			}
			d.mu.Unlock()
		}
	}()
}
