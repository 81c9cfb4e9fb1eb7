//go:build unix && !linux

package none

import (
	"context"
	"errors"
	"path/filepath"
	"syscall"
	"time"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/sandbox"
)

// rssUnit is the unit of ru_maxrss: bytes on macOS; the BSDs count KiB, and a
// figure too small is shown there.
const rssUnit = 1

// tree is the process group of a command: what leaves it is not followed where
// there is no /proc.
type tree struct{ p *process }

type member struct {
	pid  int
	name string
}

func (m member) info() sandbox.ProcessInfo {
	return sandbox.ProcessInfo{PID: m.pid, Command: m.name}
}

func (p *process) tree() tree { return tree{p} }

// members is the group as one, named by its leader.
func (t tree) members() []member {
	if err := syscall.Kill(-t.p.PID(), 0); errors.Is(err, syscall.ESRCH) {
		return nil
	}
	return []member{{t.p.PID(), filepath.Base(t.p.cmd.Args[3])}}
}

func (t tree) kill(ctx context.Context) ([]sandbox.ProcessInfo, error) {
	var killed []sandbox.ProcessInfo
	ticker := time.NewTicker(poll)
	defer ticker.Stop()
	for {
		left := t.members()
		if len(left) == 0 {
			return killed, nil
		}
		if killed == nil {
			killed = append(killed, left[0].info())
		}
		if err := syscall.Kill(-t.p.PID(), syscall.SIGKILL); errors.Is(err, syscall.EPERM) && !t.p.running() {
			return killed, nil // only zombies of others are left in the group
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return killed, &cairn.Error{Code: cairn.CodeCancelled, Message: "stopped waiting for processes to be dead", Err: ctx.Err()}
		}
	}
}

func (t tree) stop(context.Context) error { return t.signal(syscall.SIGSTOP) }

func (t tree) resume() { _ = t.signal(syscall.SIGCONT) } // dead meanwhile

func (t tree) signal(s syscall.Signal) error {
	if err := syscall.Kill(-t.p.PID(), s); err != nil && !errors.Is(err, syscall.ESRCH) {
		return cairn.Errorf(cairn.CodeInternal, "sending %v to the command: %w", s, err)
	}
	return nil
}
