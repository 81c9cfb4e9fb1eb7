package none

import (
	"context"
	"os"
	"os/exec"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/sandbox"
)

const filesEnforcement = sandbox.ByNothing

// systemEnviron is what programs on Windows do not start without.
func systemEnviron() []string {
	var env []string
	for _, k := range []string{"SystemRoot", "SystemDrive", "ComSpec", "PATHEXT", "windir"} {
		if v, ok := os.LookupEnv(k); ok {
			env = append(env, k+"="+v)
		}
	}
	return env
}

func command(program string, args []string, _ sandbox.Limits) *exec.Cmd {
	return &exec.Cmd{Path: program, Args: args}
}

func exitOf(s *os.ProcessState) sandbox.Exit {
	return sandbox.Exit{Code: s.ExitCode(), Usage: sandbox.Usage{CPU: s.UserTime() + s.SystemTime()}}
}

// tree is the main process only: what it started is not followed on Windows.
type tree struct{ p *process }

type member struct {
	pid  int
	name string
}

func (m member) info() sandbox.ProcessInfo {
	return sandbox.ProcessInfo{PID: m.pid, Command: m.name}
}

func (p *process) tree() tree { return tree{p} }

func (t tree) members() []member {
	if !t.p.running() {
		return nil
	}
	return []member{{t.p.PID(), t.p.cmd.Path}}
}

func (t tree) kill(ctx context.Context) ([]sandbox.ProcessInfo, error) {
	var killed []sandbox.ProcessInfo
	for _, m := range t.members() {
		if err := t.p.cmd.Process.Kill(); err == nil {
			killed = append(killed, m.info())
		}
	}
	select {
	case <-t.p.dead:
		return killed, nil
	case <-ctx.Done():
		return killed, cancelled(ctx.Err())
	}
}

func (tree) stop(context.Context) error {
	return cairn.Errorf(cairn.CodeUnavailable, "processes cannot be frozen on Windows")
}

func (tree) resume() {}
