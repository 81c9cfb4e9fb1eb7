package mcp

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	sdk "github.com/modelcontextprotocol/go-sdk/mcp"
)

// Bounds of the conversation with a child process.
const (
	maxLine     = 16 << 20 // bytes of one message
	maxGarbage  = 8 << 20  // bytes in a row that are no message
	maxAsked    = 64       // questions of the server that are not answered yet
	writeLimit  = 10 * time.Second
	graceOnExit = 2 * time.Second // to end by itself, and then once more after SIGTERM
	drainOnExit = time.Second     // to read what a dead child had written
	waitForKill = 10 * time.Second
)

var (
	errFlood     = errors.New("the server writes what is no message without an end")
	errLong      = fmt.Errorf("the server wrote a message of more than %d bytes", maxLine)
	errStuck     = errors.New("the process does not end")
	errQuestions = errors.New("the server asks without reading the answers")
)

// child is a server that runs as a process of its own and is spoken to over its
// standard input and output, one JSON message a line. It is the SDK's transport
// and connection in one.
//
// It is written here and not taken from the SDK because the SDK's ends with the
// first line that is no message, waits under a lock when it is closed, and does
// not tell whether a request was written.
type child struct {
	cmd    *exec.Cmd
	stdin  *os.File
	stdout *os.File
	lines  *bufio.Reader
	log    *slog.Logger
	// changed is called when the server says that its tools changed.
	changed func()

	writing sync.Mutex
	asked   atomic.Int64
	queue   []jsonrpc.Message // the rest of a batch; only Read uses it
	garbage int               // bytes since the last message; only Read uses it

	closing sync.Once
	exited  chan struct{} // the process has ended, and its group with it
	ended   error         // how; after exited

	reaping sync.Mutex // held while the process's number is given back, or used
	reaped  bool
}

var (
	_ sdk.Transport  = (*child)(nil)
	_ sdk.Connection = (*child)(nil)
)

// startChild starts a server in a process group of its own. start runs the
// function that forks, see [spawner].
func startChild(command []string, env []string, secrets []string, start func(func() error) error, log *slog.Logger) (*child, error) {
	inR, inW, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	outR, outW, err := os.Pipe()
	if err != nil {
		return nil, errors.Join(err, inR.Close(), inW.Close())
	}
	errR, errW, err := os.Pipe()
	if err != nil {
		return nil, errors.Join(err, inR.Close(), inW.Close(), outR.Close(), outW.Close())
	}
	// No context: the child outlives the call that needed it first, and Close ends it.
	cmd := exec.Command(command[0], command[1:]...) //nolint:noctx // see above
	cmd.Stdin, cmd.Stdout, cmd.Stderr = inR, outW, errW
	cmd.Env = env
	ownGroup(cmd)
	err = start(cmd.Start)
	for _, f := range []*os.File{inR, outW, errW} { // the child has its own
		_ = f.Close()
	}
	if err != nil {
		return nil, errors.Join(err, inW.Close(), outR.Close(), errR.Close())
	}
	c := &child{
		cmd: cmd, stdin: inW, stdout: outR, lines: bufio.NewReaderSize(outR, 64<<10), log: log,
		changed: func() {}, exited: make(chan struct{}),
	}
	go c.wait(errR)
	go logStderr(errR, log, secrets)
	return c, nil
}

// startError is why a program could not be started. Errors of a server that runs
// are none, whatever they wrap.
type startError struct {
	program string
	err     error
}

// Error implements error.
func (e *startError) Error() string { return fmt.Sprintf("starting %s: %v", e.program, e.err) }

// Unwrap returns the cause.
func (e *startError) Unwrap() error { return e.err }

// notStartable says why a program will not start until somebody changes the file
// or the agent; empty: trying again may help.
func notStartable(err error) string {
	start, ok := errors.AsType[*startError](err)
	if !ok {
		return ""
	}
	switch {
	case errors.Is(start.err, exec.ErrNotFound), errors.Is(start.err, fs.ErrNotExist), errors.Is(start.err, syscall.ENOTDIR):
		return "does not exist, or the interpreter it names does not" // of a script, execve says no more
	case errors.Is(start.err, fs.ErrPermission), errors.Is(start.err, syscall.ENOEXEC), errors.Is(start.err, syscall.EISDIR):
		return "is not an executable file"
	case errors.Is(start.err, exec.ErrDot):
		return "lies in the working directory and not in PATH"
	}
	return ""
}

// wait waits for the process, kills what it left in its group before the group's
// number can belong to others, and lets readers end: a grandchild that moved to
// another group may hold the pipes open.
func (c *child) wait(stderr *os.File) {
	reaped, err := awaitExit(c.cmd)
	c.reaping.Lock()
	killGroup(c.cmd)
	if !reaped {
		err = c.cmd.Wait()
	}
	c.reaped = true
	c.reaping.Unlock()
	c.ended = err
	deadline := time.Now().Add(drainOnExit)
	_ = c.stdout.SetReadDeadline(deadline) // fails only when it is closed already
	_ = stderr.SetReadDeadline(deadline)
	close(c.exited)
}

// signal sends a signal to the group while there is one.
func (c *child) signal(send func(*exec.Cmd)) {
	c.reaping.Lock()
	defer c.reaping.Unlock()
	if !c.reaped {
		send(c.cmd)
	}
}

// kill ends the process and its group at once and returns how it ended.
func (c *child) kill() error {
	c.signal(killGroup)
	_ = c.Close() // told by exited
	select {
	case <-c.exited:
		return c.ended
	case <-time.After(waitForKill):
		return errStuck
	}
}

// Connect implements sdk.Transport.
func (c *child) Connect(context.Context) (sdk.Connection, error) { return c, nil }

// SessionID implements sdk.Connection.
func (c *child) SessionID() string { return "" }

// Read returns the next message. Lines that are none are passed over, so many of
// them; so are notifications that nobody here acts on.
func (c *child) Read(ctx context.Context) (jsonrpc.Message, error) {
	for {
		for len(c.queue) > 0 {
			m := c.queue[0]
			c.queue = c.queue[1:]
			req, ok := m.(*jsonrpc.Request)
			switch {
			case !ok:
				return m, nil
			case req.IsCall():
				if c.asked.Add(1) > maxAsked {
					return nil, errQuestions
				}
				return m, nil
			case req.Method == "notifications/tools/list_changed":
				c.changed()
			case req.Method == "notifications/cancelled":
				return m, nil
			}
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		line, err := c.line()
		if err != nil {
			if errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, os.ErrClosed) {
				err = io.EOF
			}
			return nil, err
		}
		if c.queue = decodeLine(line); len(c.queue) > 0 {
			c.garbage = 0
			continue
		}
		if c.garbage += len(line) + 1; c.garbage > maxGarbage {
			return nil, errFlood
		}
	}
}

// line reads one line without its end. What stands behind the last line end is
// half a message, and none.
func (c *child) line() ([]byte, error) {
	var whole []byte
	for {
		piece, err := c.lines.ReadSlice('\n')
		if err == nil && whole == nil {
			return bytes.Clone(piece[:len(piece)-1]), nil // messages keep parts of it
		}
		if len(whole)+len(piece) > maxLine {
			return nil, errLong
		}
		whole = append(whole, piece...)
		switch {
		case err == nil:
			return whole[:len(whole)-1], nil
		case !errors.Is(err, bufio.ErrBufferFull):
			return nil, err
		}
	}
}

// decodeLine reads a message, or a batch of them; a line that is neither gives none.
func decodeLine(line []byte) []jsonrpc.Message {
	text := strings.TrimLeft(string(line[:min(len(line), 64)]), " \t\r")
	if text == "" {
		return nil
	}
	switch text[0] {
	case '{':
		if m, err := jsonrpc.DecodeMessage(line); err == nil {
			return []jsonrpc.Message{m}
		}
	case '[':
		var batch []json.RawMessage
		if json.Unmarshal(line, &batch) != nil {
			return nil
		}
		var all []jsonrpc.Message
		for _, raw := range batch {
			if m, err := jsonrpc.DecodeMessage(raw); err == nil {
				all = append(all, m)
			}
		}
		return all
	}
	return nil
}

// Write sends a message. A server that does not read is given up after a while.
func (c *child) Write(ctx context.Context, m jsonrpc.Message) error {
	data, err := jsonrpc.EncodeMessage(m)
	if err != nil {
		return err
	}
	var t *trail
	switch m := m.(type) {
	case *jsonrpc.Response:
		defer c.asked.Add(-1)
	case *jsonrpc.Request:
		if m.IsCall() {
			t = trailOf(ctx)
		}
	}
	data = append(data, '\n')
	c.writing.Lock()
	defer c.writing.Unlock()
	if err := ctx.Err(); err != nil {
		return err
	}
	_ = c.stdin.SetWriteDeadline(time.Now().Add(writeLimit)) // fails only when it is closed; so does Write
	stop := context.AfterFunc(ctx, func() { _ = c.stdin.SetWriteDeadline(time.Unix(1, 0)) })
	if t != nil {
		t.sent.Store(true)
	}
	n, err := c.stdin.Write(data)
	stop()
	if err == nil {
		return nil
	}
	if t != nil && n < len(data)-1 { // less than the whole message: it cannot be acted on
		t.sent.Store(false)
	}
	if n > 0 { // the next message would be glued to half of this one
		_ = c.Close()
	}
	return fmt.Errorf("writing to the server: %w", err)
}

// Close asks the server to end and returns at once; done tells when it has. The
// SDK calls it under a lock.
func (c *child) Close() error {
	c.closing.Do(func() { go c.end() })
	return nil
}

// done is closed when the process and its group have ended.
func (c *child) done() <-chan struct{} { return c.exited }

// end closes the server's input, which asks it to end (MCP, lifecycle), then
// sends SIGTERM and then SIGKILL to its whole group.
func (c *child) end() {
	_ = c.stdin.Close()                     // whatever comes of it, the process has to end
	defer func() { _ = c.stdout.Close() }() // lets a Read end that a grandchild holds up
	for _, signal := range []func(*exec.Cmd){terminateGroup, killGroup, killGroup} {
		timer := time.NewTimer(graceOnExit)
		select {
		case <-c.exited:
			timer.Stop()
			return
		case <-timer.C:
			c.signal(signal)
		}
	}
}

const (
	maxStderrLine  = 4 << 10   // bytes of a line that are logged, about
	maxStderrTotal = 256 << 10 // bytes of one process that are logged
	minSecret      = 4         // letters a value must have to be searched for
)

// logStderr hands what a server writes to its standard error to the log, so much
// of it, without the values it was given in its environment.
func logStderr(r *os.File, log *slog.Logger, secrets []string) {
	defer func() { _ = r.Close() }() // nothing is left to read
	redact, longest := redactor(secrets)
	// A secret that begins in the part of a line that is logged is read to its end.
	lines := bufio.NewReaderSize(r, maxStderrLine+longest)
	total := 0
	rest := false // of a line whose beginning was logged
	for {
		line, err := lines.ReadSlice('\n')
		long := errors.Is(err, bufio.ErrBufferFull)
		if text := strings.TrimRight(string(line), "\r\n"); text != "" && !rest && total <= maxStderrTotal {
			total += len(line)
			text = redact.Replace(text)
			if long { // what is at its end may be a part of a secret
				text = text[:max(0, len(text)-longest)] + "…"
			}
			if total > maxStderrTotal {
				text = "…the rest is not logged"
			}
			log.Debug("mcp server", "stderr", strings.ToValidUTF8(text, "�"))
		}
		if rest = long; err != nil && !long {
			return
		}
	}
}

// redactor replaces secrets, and each line of those that have several; longest is the
// length of the longest that is looked for, in bytes.
func redactor(secrets []string) (redact *strings.Replacer, longest int) {
	var all []string
	for _, s := range secrets {
		for line := range strings.SplitSeq(s, "\n") {
			if line = strings.TrimSuffix(line, "\r"); len(line) >= minSecret {
				all = append(all, line)
				longest = max(longest, len(line))
			}
		}
	}
	// Where one begins like another, the longer one counts.
	slices.SortFunc(all, func(a, b string) int { return len(b) - len(a) })
	var replace []string
	for _, s := range all {
		replace = append(replace, s, "[redacted]")
	}
	return strings.NewReplacer(replace...), longest
}
