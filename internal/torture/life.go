package torture

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

// life is one process of the runtime.
type life struct {
	cmd   *exec.Cmd
	proc  *os.Process   // the runtime itself: a warden's child, or cmd's process
	ready chan bool     // gets one value: it is ready, or it will never be
	done  chan struct{} // closed when the runtime is dead
	exit  error         // how it died, once it has
	gone  chan struct{} // closed when nothing that it started is alive
	left  []string      // what outlived it for longer than a warden waits, once gone
	after time.Duration // for how long anything outlived it
}

// readyTime bounds how long a runtime may take to be ready.
const readyTime = 30 * time.Second

// begin starts a runtime and returns at once. Under a warden, which the first
// argument then asks for, its output says what happens to the runtime.
func begin(cmd *exec.Cmd, warden bool) (*life, error) {
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	l := &life{cmd: cmd, ready: make(chan bool, 1), done: make(chan struct{}), gone: make(chan struct{})}
	if warden {
		return l, l.guarded(out)
	}
	l.proc = cmd.Process
	go func() {
		in := bufio.NewReader(out)
		line, _ := in.ReadString('\n')
		l.ready <- strings.TrimSpace(line) == "ready"
		_, _ = io.Copy(io.Discard, in)
	}()
	go func() {
		l.exit = cmd.Wait()
		close(l.done)
		close(l.gone)
	}()
	return l, nil
}

// guarded follows what a warden says.
func (l *life) guarded(out io.Reader) error {
	in := bufio.NewReader(out)
	first, err := in.ReadString('\n')
	if strings.TrimSpace(first) == "ready" { // the runtime was quicker than the warden
		l.ready <- true
		first, err = in.ReadString('\n')
	}
	pid, perr := strconv.Atoi(strings.TrimSpace(strings.TrimPrefix(first, "pid ")))
	if err == nil {
		err = perr
	}
	if err == nil {
		l.proc, err = os.FindProcess(pid) // by descriptor: it can only ever mean this process
	}
	if err != nil {
		return errors.Join(fmt.Errorf("torture: the warden says %q: %w", first, err), l.cmd.Process.Kill(), l.cmd.Wait())
	}
	go func() {
		for {
			line, err := in.ReadString('\n')
			word, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
			switch word {
			case "ready":
				l.say(true)
			case "dead":
				l.exit = errors.New(rest)
				close(l.done)
			case "left":
				l.left = append(l.left, rest)
			case "gone":
				l.after, _ = time.ParseDuration(rest) // ours; zero is no claim
			}
			if err != nil {
				break
			}
		}
		select {
		case <-l.done:
		default:
			l.exit = errors.New("the warden died")
			close(l.done)
		}
		l.say(false)
		_ = l.cmd.Wait() // its output has told everything
		close(l.gone)
	}()
	return nil
}

// say tells whether the runtime is ready, if nobody has told yet.
func (l *life) say(ready bool) {
	select {
	case l.ready <- ready:
	default:
	}
}

// await waits until the runtime is ready. Not: it is dead, or not worth waiting for.
func (l *life) await(ctx context.Context) bool {
	t := time.NewTimer(readyTime)
	defer t.Stop()
	select {
	case ok := <-l.ready:
		return ok
	case <-l.done:
	case <-t.C:
	case <-ctx.Done():
	}
	return false
}

// kill kills the runtime and waits until it is dead.
func (l *life) kill() error {
	if err := l.proc.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	<-l.done
	return nil
}
