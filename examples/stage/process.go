package stage

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"sync"
)

// Process is a command that was started.
type Process struct {
	s     *Stage
	cmd   *exec.Cmd
	shown string
	out   *lines // nil: the terminal itself

	ended chan struct{} // closed when code and err hold
	code  int
	err   error
}

// begin starts the command and somebody who waits for its end.
func (p *Process) begin() error {
	p.s.mu.Lock()
	defer p.s.mu.Unlock()
	if err := p.cmd.Start(); err != nil {
		return err
	}
	p.ended = make(chan struct{})
	p.s.running[p] = true
	go p.wait()
	return nil
}

func (p *Process) wait() {
	defer close(p.ended)
	err := p.cmd.Wait()
	if _, ok := errors.AsType[*exec.ExitError](err); err != nil && !ok && !errors.Is(err, exec.ErrWaitDelay) {
		p.err = err
	}
	p.code = p.cmd.ProcessState.ExitCode()
	if p.out != nil {
		p.out.flush()
	}
	p.s.mu.Lock()
	delete(p.s.running, p)
	p.s.mu.Unlock()
}

// Wait waits until the command has ended and returns its exit code; -1: a signal
// ended it.
func (p *Process) Wait() (int, error) {
	<-p.ended
	return p.code, p.err
}

// Ended is an error when the command has ended: nothing more can be waited for.
func (p *Process) Ended() error {
	select {
	case <-p.ended:
		return fmt.Errorf("cairn %s ended too early, with exit code %d", p.shown, p.code)
	default:
		return nil
	}
}

// Kill kills the command with SIGKILL, and nothing else of what it started, and waits
// until it is dead.
func (p *Process) Kill() {
	_ = p.cmd.Process.Kill() // it has ended already, or ends now
	<-p.ended
	if p.s.term != nil {
		fmt.Fprintln(p.s.term) // it may have left the cursor behind something
	}
}

// maxHeld bounds a line that has no end, in bytes.
const maxHeld = 64 << 10

// lines writes whole lines without the name of the stage's directory, so that two
// plays print the same.
type lines struct {
	w    io.Writer
	dir  string
	mu   sync.Mutex // stdout and stderr may be copied at once
	held []byte
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.held = append(l.held, b...)
	for {
		n := bytes.IndexByte(l.held, '\n')
		if n < 0 && len(l.held) < maxHeld {
			return len(b), nil
		}
		if n < 0 {
			n = len(l.held) - 1
		}
		if err := l.print(l.held[:n+1]); err != nil {
			return len(b), err
		}
		l.held = append(l.held[:0], l.held[n+1:]...)
	}
}

func (l *lines) print(b []byte) error {
	_, err := io.WriteString(l.w, strings.ReplaceAll(string(b), l.dir, ""))
	return err
}

// flush writes what a killed command had begun.
func (l *lines) flush() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.held) > 0 {
		_ = l.print(append(l.held, '\n')) // nobody is left to tell
		l.held = nil
	}
}
