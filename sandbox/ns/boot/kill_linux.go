//go:build linux && (amd64 || arm64)

package boot

import (
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cairn-run/cairn/sandbox/ns/wire"
)

const (
	// politely is how many rounds of killing are tried before everything is
	// stopped for it: enough for all but a program that forks against it.
	politely = 8
	// looks is how often nothing may be found, with something else being started
	// meanwhile, before everything is stopped to be sure.
	looks = 3
	// rounds is the most rounds, some 15 seconds: a large process takes its time to
	// die. After them the whole instance is ended.
	rounds = 200
	// patience is how long the first rounds wait for processes to be gone, and most
	// the last. It is a polling interval: the kernel tells of the deaths of children only.
	patience = 5 * time.Millisecond
	most     = 100 * time.Millisecond
)

// kill kills a command with all it started, and returns when that is dead.
func (c *commands) kill(id uint64) []wire.Proc {
	c.mu.Lock()
	m := c.byID[id]
	c.mu.Unlock()
	if m == nil { // it ended, and nothing of it was left
		return nil
	}
	killed, err := c.clear(m)
	if err != nil {
		fatal(c.conn, err)
	}
	c.mu.Lock()
	first := m.pid
	c.mu.Unlock()
	if first == 0 && m.detached {
		c.drop(m)
	}
	return killed
}

// clear kills all processes with the mark of a command until there are none.
func (c *commands) clear(m *command) ([]wire.Proc, error) {
	var killed []wire.Proc
	named := map[int]bool{}
	var names namer
	stopped, unsure := false, 0
	defer func() {
		if stopped {
			_ = c.cont()
		}
	}()
	for round := range rounds {
		c.mu.Lock()
		next := c.reaped
		c.mu.Unlock()
		if none() {
			return killed, nil
		}
		procs, err := scan(m.tag)
		if err != nil {
			return nil, err
		}
		if len(procs) == 0 {
			sure, err := gone(m.tag)
			if err != nil || sure {
				return killed, err
			}
			if unsure++; unsure >= looks {
				stopped = c.strike(nil, true)
			}
			continue
		}
		for _, p := range procs {
			if !p.zombie && !named[p.pid] && len(killed) < maxNamed {
				named[p.pid] = true
				killed = append(killed, wire.Proc{PID: p.pid, Command: names.command(p)})
			}
		}
		if c.strike(procs, round >= politely && !stopped) {
			stopped = true
			continue
		}
		select {
		case <-next:
		case <-time.After(min(patience<<(round/politely), most)):
		}
	}
	return nil, fmt.Errorf("processes of a command were still alive after %d rounds of killing", rounds)
}

// gone says whether nothing with a mark is alive, if that can be told.
func gone(tag uint64) (bool, error) {
	alive, sure, err := tags()
	return sure && !alive[tag] && !alive[0], err
}

// strike kills processes of a command. If the command is alone, everything but init
// is killed at one instant: nothing can fork its way out. If it is not and has held
// out, everything is stopped at one instant instead, so that the next look is
// complete, and strike says so. Meanwhile no command is started: it would be hit.
func (c *commands) strike(procs []proc, hard bool) (stopped bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case len(c.byID) == 1 && len(procs) > 0:
		_ = unix.Kill(-1, unix.SIGKILL)
	case hard:
		_ = unix.Kill(-1, unix.SIGSTOP)
		return true
	default:
		for _, p := range procs {
			_ = unix.Kill(p.pid, unix.SIGKILL)
		}
	}
	return false
}

// none says that no process is alive or to be reaped: all of them descend from
// init, which therefore has a child as long as there is one.
func none() bool {
	return errors.Is(unix.Waitid(unix.P_ALL, 0, nil, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT, nil), unix.ECHILD)
}

// stop stops all processes, for machines without a freezer.
func (c *commands) stop() error {
	for range rounds {
		if none() {
			return nil
		}
		c.mu.Lock() // a command that is being started would hold up init
		_ = unix.Kill(-1, unix.SIGSTOP)
		c.mu.Unlock()
		procs, err := scan(0)
		if err != nil {
			return err
		}
		running := false
		for _, p := range procs {
			running = running || !p.stopped && !p.zombie
		}
		if !running {
			return nil
		}
		<-time.After(patience / 5)
	}
	return errors.New("not all processes could be stopped: one waits in the kernel")
}

// cont lets all processes go on.
func (c *commands) cont() error {
	if err := unix.Kill(-1, unix.SIGCONT); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("let all processes go on: %w", err)
	}
	return nil
}

// fatal ends init, and with it everything in the instance, when it can no
// longer promise what it must.
func fatal(conn *wire.Conn, err error) {
	_ = conn.Send(wire.Reply{Err: err.Error()})
	os.Exit(1)
}
