package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/cairn-run/cairn"
	v1 "github.com/cairn-run/cairn/api/v1"
	"github.com/cairn-run/cairn/client"
)

const cairnPackage = "github.com/cairn-run/cairn/cmd/cairn"

// cairn builds the command, as a release is built, once.
func (b *bench) cairn(ctx context.Context) (string, error) {
	if b.binary != "" {
		return b.binary, nil
	}
	out := filepath.Join(b.dir, "cairn")
	if _, err := build(ctx, out); err != nil {
		return "", err
	}
	b.binary = out
	return out, nil
}

// build builds the command and says how long that took.
func build(ctx context.Context, out string, env ...string) (time.Duration, error) {
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", out, cairnPackage)
	cmd.Env = append(append(os.Environ(), "CGO_ENABLED=0"), env...)
	began := time.Now()
	text, err := cmd.CombinedOutput()
	if err != nil {
		return 0, fmt.Errorf("build %s: %w\n%s", cairnPackage, err, text)
	}
	return time.Since(began), nil
}

// server is a `cairn serve` in a process of its own.
type server struct {
	cmd     *exec.Cmd
	data    string
	began   time.Time
	client  *client.Client
	stderr  *bytes.Buffer
	stopped bool
}

// readyWithin bounds the wait for a server.
const readyWithin = time.Minute

// serve starts a server on a data directory and returns when it is ready. It
// finds script models in a folder beside the directory.
func (b *bench) serve(ctx context.Context, data string) (*server, time.Duration, error) {
	binary, err := b.cairn(ctx)
	if err != nil {
		return nil, 0, err
	}
	return b.launch(ctx, data, binary, "serve", "--data", data, "--listen", "127.0.0.1:0", "--scripts", scriptsOf(data), "--log-level", "error")
}

// serveProfiled is serve with a CPU profile, if profiles are wanted.
func (b *bench) serveProfiled(ctx context.Context, name, data string) (*server, time.Duration, error) {
	if b.profiles == "" {
		return b.serve(ctx, data)
	}
	self, err := os.Executable()
	if err != nil {
		return nil, 0, err
	}
	if err := os.MkdirAll(b.profiles, 0o755); err != nil {
		return nil, 0, err
	}
	return b.launch(ctx, data, self, nodeCommand, "-data", data, "-scripts", scriptsOf(data), "-cpuprofile", b.profile(name))
}

// launch starts a server's process and waits until it is ready.
func (b *bench) launch(ctx context.Context, data string, command ...string) (*server, time.Duration, error) {
	s := &server{data: data, stderr: &bytes.Buffer{}, client: client.Unix(filepath.Join(data, "cairn.sock"), "")}
	s.cmd = exec.CommandContext(ctx, command[0], command[1:]...)
	s.cmd.Stderr = s.stderr
	s.began = time.Now()
	if err := s.cmd.Start(); err != nil {
		return nil, 0, err
	}
	for s.client.Ready(ctx) != nil {
		if time.Since(s.began) > readyWithin || ctx.Err() != nil {
			return nil, 0, errors.Join(fmt.Errorf("cairn serve was not ready within %s: %s", readyWithin, s.stderr), s.kill())
		}
		pause(ctx, time.Millisecond)
	}
	return s, time.Since(s.began), nil
}

// pause lets the other processes work.
func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

func scriptsOf(data string) string { return data + "-scripts" }

// script writes the model that the servers of a data directory play.
func script(data, text string) error {
	if err := os.MkdirAll(scriptsOf(data), 0o700); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(scriptsOf(data), "clerk.yaml"), []byte(text), 0o600)
}

// clerk is the agent of the servers.
func clerk() *cairn.Agent {
	return &cairn.Agent{
		Name: "clerk", Model: "script/clerk", Tools: []cairn.ToolSource{{Builtin: []string{"plan"}}},
		Instructions: "You work at the support desk of a shop. Make a plan first.",
	}
}

// plan is the first answer of the clerk: a turn with a call.
const plan = `  - text: First a plan.
    calls: [{tool: plan, args: {steps: [{title: look, status: in_progress}, {title: answer, status: pending}]}}]
`

// end signals the server and waits until it is gone.
func (s *server) end(sig os.Signal) error {
	if s.stopped {
		return nil
	}
	s.stopped = true
	s.client.Close()
	if err := s.cmd.Process.Signal(sig); err != nil {
		return err
	}
	err := s.cmd.Wait()
	if _, ok := errors.AsType[*exec.ExitError](err); ok && sig != syscall.SIGTERM {
		return nil
	}
	if err != nil {
		return fmt.Errorf("cairn serve: %w: %s", err, s.stderr)
	}
	return nil
}

func (s *server) kill() error { return s.end(syscall.SIGKILL) }

func (s *server) stop() error { return s.end(syscall.SIGTERM) }

// goroutines ends the server with SIGQUIT, to which Go answers with the stacks of
// all goroutines, and counts them.
func (s *server) goroutines() (int, error) {
	if err := s.end(syscall.SIGQUIT); err != nil {
		return 0, err
	}
	n := 0
	for line := range bytes.Lines(s.stderr.Bytes()) {
		if bytes.HasPrefix(line, []byte("goroutine ")) {
			n++
		}
	}
	if n == 0 {
		return 0, fmt.Errorf("cairn serve left no stacks: %s", s.stderr)
	}
	return n, nil
}

// clients is how many clients create sessions at once.
const clients = 32

// create starts n sessions of the clerk.
func (s *server) create(ctx context.Context, n int, once bool) error {
	if _, err := s.client.Apply(ctx, clerk()); err != nil {
		return err
	}
	var left atomic.Int64
	left.Store(int64(n))
	errs := make([]error, clients)
	var all sync.WaitGroup
	for i := range errs {
		all.Go(func() {
			for left.Add(-1) >= 0 && errs[i] == nil {
				_, errs[i] = s.client.CreateSession(ctx, v1.CreateSession{
					Agent: "clerk", Once: once, Input: v1.Text("Hello, my order A-1042 has not come yet. Where is it?"),
				})
			}
		})
	}
	all.Wait()
	return errors.Join(errs...)
}

// until waits for a condition over all sessions that are not as they should be.
func (s *server) until(ctx context.Context, what string, ok func(v1.Session) bool) error {
	deadline := time.Now().Add(patience)
	for {
		bad := 0
		q := client.SessionQuery{Limit: 1000}
		for {
			page, err := s.client.Sessions(ctx, q)
			if err != nil {
				return err
			}
			for _, x := range page.Sessions {
				if !ok(x) {
					bad++
				}
			}
			if page.Next == "" || bad > 0 {
				break
			}
			q.Before = page.Next
		}
		if bad == 0 {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("not every session is %s within %s", what, patience)
		}
		pause(ctx, 50*time.Millisecond)
		if err := ctx.Err(); err != nil {
			return err
		}
	}
}
