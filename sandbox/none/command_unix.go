//go:build unix

package none

import (
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cairn-run/cairn/sandbox"
)

// filesEnforcement is who holds the limit of open descriptors.
const filesEnforcement = sandbox.ByRlimit

// systemEnviron is what the system itself needs: nothing on Unix.
func systemEnviron() []string { return nil }

// command wraps the program in a shell that sets the limits and is then replaced
// by it: limits set from outside after the start would come too late.
func command(program string, args []string, l sandbox.Limits) *exec.Cmd {
	files := uint64(l.Files)
	var have unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &have); err == nil {
		files = min(files, uint64(have.Max)) //nolint:unconvert // signed on some systems
	}
	script := "ulimit -c 0; ulimit -n " + strconv.FormatUint(files, 10) + "; exec \"$0\" \"$@\""
	c := &exec.Cmd{Path: "/bin/sh", Args: append([]string{"sh", "-c", script, program}, args[1:]...)}
	c.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	return c
}

// exitOf reads how a process ended.
func exitOf(s *os.ProcessState) sandbox.Exit {
	e := sandbox.Exit{Code: s.ExitCode(), Usage: sandbox.Usage{CPU: s.UserTime() + s.SystemTime()}}
	if status, ok := s.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		e.Code, e.Signal = 128+int(status.Signal()), unix.SignalName(status.Signal())
	}
	if r, ok := s.SysUsage().(*syscall.Rusage); ok {
		e.Usage.Memory = int64(r.Maxrss) * rssUnit //nolint:unconvert // 32 bits on some systems
	}
	return e
}

// poll is how often the kernel is asked again where it sends no signal: the death
// and the stopping of a process that is not our child.
const poll = 2 * time.Millisecond
