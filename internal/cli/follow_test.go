package cli_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cairn-run/cairn/internal/cli"
)

// TestMain is the command itself when a test starts it as a process of its own,
// to kill it.
func TestMain(m *testing.M) {
	if os.Getenv("CAIRN_TEST_COMMAND") != "" {
		env := outside(os.Getenv, os.Args[1:]...)
		env.Stdin, env.Stdout, env.Stderr = os.Stdin, os.Stdout, os.Stderr
		os.Exit(cli.Run(context.Background(), env))
	}
	os.Exit(m.Run())
}

// workshop is a data directory and agent files to try things in.
type workshop struct {
	t    *testing.T
	dir  string
	data string
	vars map[string]string // of the environment, besides
}

func newWorkshop(t *testing.T, files map[string]string) *workshop {
	t.Helper()
	data, err := os.MkdirTemp("", "cairn") // the path of a socket is short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(data) })
	w := &workshop{t: t, dir: t.TempDir(), data: data}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(w.dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return w
}

func (w *workshop) getenv(name string) string {
	if name == "CAIRN_DATA" {
		return w.data
	}
	return w.vars[name]
}

// env is the outside of a command in this process.
func (w *workshop) env(args ...string) cli.Env { return outside(w.getenv, args...) }

func (w *workshop) file(name string) string { return filepath.Join(w.dir, name) }

// run runs a command to its end.
func (w *workshop) run(args ...string) (code int, stdout, stderr string) {
	env := w.env(args...)
	var out, errs bytes.Buffer
	env.Stdout, env.Stderr = &out, &errs
	ctx, cancel := context.WithTimeout(w.t.Context(), hopeless)
	defer cancel()
	code = cli.Run(ctx, env)
	return code, out.String(), errs.String()
}

// hopeless is when a test gives up on what should have happened long before.
const hopeless = 30 * time.Second

// watcher is a stderr that tells when a text was written, once for each time it
// is waited for.
type watcher struct {
	mu   sync.Mutex
	all  strings.Builder
	seen int // what was waited for and found
	more chan struct{}
}

func newWatcher() *watcher { return &watcher{more: make(chan struct{}, 1)} }

func (w *watcher) Write(p []byte) (int, error) {
	w.mu.Lock()
	w.all.Write(p)
	w.mu.Unlock()
	select {
	case w.more <- struct{}{}:
	default:
	}
	return len(p), nil
}

func (w *watcher) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.all.String()
}

// wait returns when the text stands behind what was waited for before.
func (w *watcher) wait(t *testing.T, text string) {
	t.Helper()
	late := time.After(hopeless)
	for {
		w.mu.Lock()
		all := w.all.String()
		i := strings.Index(all[w.seen:], text)
		if i >= 0 {
			w.seen += i + len(text)
		}
		w.mu.Unlock()
		if i >= 0 {
			return
		}
		select {
		case <-w.more:
		case <-late:
			t.Fatalf("%q was never written:\n%s", text, all)
		}
	}
}

// started is a command that runs beside the test.
type started struct {
	stdout  *watcher
	stderr  *watcher
	signals chan os.Signal
	stdin   *io.PipeWriter
	code    chan int
}

// start starts a command; on a terminal if asked.
func (w *workshop) start(terminal bool, args ...string) *started {
	in, stdin := io.Pipe()
	s := &started{stdout: newWatcher(), stderr: newWatcher(), signals: make(chan os.Signal, 4), stdin: stdin, code: make(chan int, 1)}
	env := w.env(args...)
	env.Stdin, env.Stdout, env.Stderr, env.Signals = in, s.stdout, s.stderr, s.signals
	env.Terminal = cli.Terminal{In: terminal, Out: terminal, Err: terminal}
	go func() { s.code <- cli.Run(context.Background(), env) }()
	w.t.Cleanup(func() { _ = stdin.Close() })
	return s
}

// typed waits for a question and answers it.
func (s *started) typed(t *testing.T, question, answer string) {
	t.Helper()
	s.stderr.wait(t, question)
	s.stderr.wait(t, "> ")
	if _, err := io.WriteString(s.stdin, answer+"\n"); err != nil {
		t.Fatal(err)
	}
}

func (s *started) ends(t *testing.T, want int) {
	t.Helper()
	select {
	case code := <-s.code:
		if code != want {
			t.Fatalf("ended with code %d, not %d\n%s%s", code, want, s.stdout.String(), s.stderr)
		}
	case <-time.After(hopeless):
		t.Fatalf("did not end\n%s", s.stderr)
	}
}

// desk asks for an approval, then for the result of a client's tool.
var desk = map[string]string{
	"desk.md": "---\nname: desk\nmodel: script/desk\ntools: [{client: {name: refund}}]\npolicy: {ask: [refund]}\neffects: {refund: {class: irreversible}}\n---\n",
	"desk.yaml": `
cases:
  - { when: { result: { tool: refund, is_error: true } }, text: Then not. }
  - { when: { result: { tool: refund } }, text: Refunded. }
default: { text: I refund you., calls: [{ tool: refund, args: { amount: 70 } }] }
`,
}

// slow never gets the first attempt of its answer.
var slow = map[string]string{
	"slow.md":   "---\nname: slow\nmodel: script/slow\n---\n",
	"slow.yaml": "default: { text: At last., fail: [{ code: overloaded, hang: 1h }] }\n",
}

// TestPerson answers what a session asks at the terminal.
func TestPerson(t *testing.T) {
	t.Parallel()
	const choose = "leave it open"
	type exchange struct{ question, answer string }
	for name, c := range map[string]struct {
		say  []exchange
		code int
		want []string
	}{
		"approve": {
			[]exchange{{choose, "what?"}, {choose, ""}, {choose, "y"}, {"result, JSON or text", `{"ok":true}`}},
			0,
			[]string{`"amount": 70`, "in its own words: I refund you.", "type one of the letters", "approved by user:local", "answered by user:local", "Refunded."},
		},
		"reject": {
			[]exchange{{choose, "n"}, {"reason", "too much"}},
			0,
			[]string{`rejected by user:local "too much"`, "Then not."},
		},
		"edit": {
			[]exchange{{choose, "e"}, {"arguments as JSON", "{amount}"}, {"arguments as JSON", `{"amount":7}`}, {"result, JSON or text", "done"}},
			0,
			[]string{"arguments are a JSON object", `approved with other arguments by user:local {"amount":7}`, "Refunded."},
		},
		"quit": {
			[]exchange{{choose, "q"}},
			cli.ExitWaiting,
			[]string{"waits for 1 answer", "cairn approve ask_"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorkshop(t, desk)
			s := w.start(true, "run", w.file("desk.md"), "--input", "hi")
			for _, e := range c.say {
				s.typed(t, e.question, e.answer)
			}
			s.ends(t, c.code)
			for _, want := range c.want {
				if !strings.Contains(s.stderr.String(), want) {
					t.Errorf("nothing says %q:\n%s", want, s.stderr)
				}
			}
		})
	}
}

// TestQuestion answers what an agent asks, where it is asked.
func TestQuestion(t *testing.T) {
	t.Parallel()
	w := newWorkshop(t, map[string]string{
		"asks.md":   "---\nname: asks\nmodel: script/asks\ntools: [{builtin: [ask_person]}]\n---\n",
		"asks.yaml": "replies:\n  - calls: [{ tool: ask_person, args: { question: Which?, options: [staging, production] } }]\n  - text: You said {{result.ask_person}}.\n",
	})
	s := w.start(true, "run", w.file("asks.md"), "--input", "hi", "--sandbox", "none")
	s.typed(t, "1 to 2, or your own words", "2")
	s.ends(t, 0)
	if got := s.stderr.String(); !strings.Contains(got, "You said production.") || !strings.Contains(got, "answered by user:local") {
		t.Errorf("the answer did not arrive:\n%s", got)
	}
}

// TestEndOfInput: who closes the input leaves all that is asked open, and is not
// asked anything more.
func TestEndOfInput(t *testing.T) {
	t.Parallel()
	w := newWorkshop(t, map[string]string{
		"asks.md":   "---\nname: asks\nmodel: script/asks\ntools: [{builtin: [ask_person]}]\n---\n",
		"asks.yaml": "default: { calls: [{ tool: ask_person, args: { question: Which? } }, { tool: ask_person, args: { question: When? } }] }\n",
	})
	s := w.start(true, "run", w.file("asks.md"), "--input", "hi", "--sandbox", "none")
	s.stderr.wait(t, "your answer (q: later)")
	if err := s.stdin.Close(); err != nil {
		t.Fatal(err)
	}
	s.ends(t, cli.ExitWaiting)
	if got := s.stderr.String(); !strings.Contains(got, "waits for 2 answers") {
		t.Errorf("what is open is not said:\n%s", got)
	}
}

// full is a disk without space.
type full struct{}

func (full) Write([]byte) (int, error) { return 0, syscall.ENOSPC }

// TestLostOutput: an answer that could not be written is no success.
func TestLostOutput(t *testing.T) {
	t.Parallel()
	w := newWorkshop(t, map[string]string{"hi.md": "---\nname: hi\nmodel: script/hi\n---\n", "hi.yaml": "default: { text: Good day. }\n"})
	env := w.env("run", w.file("hi.md"), "--input", "hi", "--quiet")
	stderr := newWatcher()
	env.Stdout, env.Stderr = full{}, stderr
	if code := cli.Run(t.Context(), env); code != cli.ExitStorage {
		t.Errorf("ended with code %d", code)
	}
	if got := stderr.String(); !strings.Contains(got, "not all of the output was written") {
		t.Errorf("nothing says so: %q", got)
	}
}

// TestPlainTerminal: a terminal on which nothing is to be coloured gets lines, and
// nothing is drawn anew.
func TestPlainTerminal(t *testing.T) {
	t.Parallel()
	for name, value := range map[string]string{"NO_COLOR": "1", "TERM": "dumb"} {
		w := newWorkshop(t, desk)
		w.vars = map[string]string{name: value}
		s := w.start(true, "run", w.file("desk.md"), "--input", "hi")
		s.typed(t, "leave it open", "n")
		s.typed(t, "reason", "")
		s.ends(t, 0)
		if got := s.stderr.String(); strings.ContainsAny(got, "\x1b\r") || !strings.Contains(got, "model   script/desk asked, step 1") {
			t.Errorf("%s: %q", name, got)
		}
	}
}

// TestAnsweredElsewhere takes the question back when somebody else was first.
func TestAnsweredElsewhere(t *testing.T) {
	t.Parallel()
	w := newWorkshop(t, desk)
	s := w.start(true, "run", w.file("desk.md"), "--input", "hi")
	s.stderr.wait(t, "leave it open")
	if code, _, stderr := w.run("reject", "last"); code != 0 {
		t.Fatalf("reject: code %d\n%s", code, stderr)
	}
	s.stderr.wait(t, "answered elsewhere")
	s.ends(t, 0)
}

// TestInterrupt leaves a session with one interrupt and cancels it with two.
func TestInterrupt(t *testing.T) {
	t.Parallel()
	t.Run("once", func(t *testing.T) {
		t.Parallel()
		w := newWorkshop(t, slow)
		s := w.start(false, "run", w.file("slow.md"), "--input", "hi")
		s.stderr.wait(t, "asked, step 1")
		s.signals <- os.Interrupt
		s.stderr.wait(t, "is recorded and stops here")
		s.signals <- os.Interrupt // what is under way is not waited for
		s.ends(t, cli.ExitDetached)
		code, stdout, stderr := w.run("attach", "last")
		if code != 0 || stdout != "At last.\n" {
			t.Errorf("attach: code %d\n%s%s", code, stdout, stderr)
		}
	})
	t.Run("twice", func(t *testing.T) {
		t.Parallel()
		w := newWorkshop(t, slow)
		s := w.start(false, "run", w.file("slow.md"), "--input", "hi")
		s.stderr.wait(t, "asked, step 1")
		s.signals <- os.Interrupt
		s.signals <- os.Interrupt
		s.ends(t, cli.ExitCancelled)
		if code, _, _ := w.run("attach", "last"); code != cli.ExitCancelled {
			t.Errorf("attach to a cancelled session: code %d", code)
		}
	})
	t.Run("reading", func(t *testing.T) {
		t.Parallel()
		w := newWorkshop(t, desk)
		s := w.start(true, "run", w.file("desk.md"), "--input", "-")
		s.signals <- os.Interrupt
		s.ends(t, cli.ExitTemporary)
		if got := s.stderr.String(); !strings.Contains(got, "interrupted: nothing was begun") {
			t.Errorf("it is not said what was done: %s", got)
		}
	})
	t.Run("stop", func(t *testing.T) {
		t.Parallel()
		w := newWorkshop(t, desk)
		s := w.start(true, "run", w.file("desk.md"), "--input", "hi")
		s.stderr.wait(t, "leave it open")
		s.signals <- syscall.SIGTERM
		s.ends(t, cli.ExitDetached)
		if code, _, stderr := w.run("attach", "last"); code != cli.ExitWaiting || !strings.Contains(stderr, "waits for 1 answer") {
			t.Errorf("attach: code %d\n%s", code, stderr)
		}
	})
}

// child starts a command as a process of its own.
func (w *workshop) child(args ...string) (*exec.Cmd, *watcher) {
	cmd := exec.CommandContext(w.t.Context(), os.Args[0], args...)
	cmd.Env = append(os.Environ(), "CAIRN_TEST_COMMAND=1", "CAIRN_DATA="+w.data, "CAIRN_SERVER=")
	stderr := newWatcher()
	cmd.Stderr = stderr
	if err := cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	return cmd, stderr
}

func kill(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // it was killed
}

// TestKilled carries a session on that a killed process left.
func TestKilled(t *testing.T) {
	t.Parallel()
	w := newWorkshop(t, slow)
	cmd, stderr := w.child("run", w.file("slow.md"), "--input", "hi")
	stderr.wait(t, "asked, step 1")
	kill(t, cmd)
	code, stdout, errs := w.run("attach", "last")
	if d := cmp.Diff("At last.\n", stdout); code != 0 || d != "" {
		t.Errorf("code %d\n%s\n%s", code, d, errs)
	}
	if code, stdout, _ := w.run("doctor", "--json"); code != 0 {
		t.Errorf("doctor after a kill: code %d\n%s", code, stdout)
	}
}

// TestTakeover: the process that had the session is killed while another command
// looks on; that one takes it over.
func TestTakeover(t *testing.T) {
	t.Parallel()
	w := newWorkshop(t, slow)
	cmd, stderr := w.child("run", w.file("slow.md"), "--input", "hi")
	stderr.wait(t, "asked, step 1")
	s := w.start(false, "attach", "last")
	s.stderr.wait(t, "asked, step 1")
	kill(t, cmd)
	s.stderr.wait(t, "it goes on here")
	s.ends(t, 0)
	if got := s.stdout.String(); got != "At last.\n" {
		t.Errorf("answered %q\n%s", got, s.stderr)
	}
}

// TestDrained: a process that is asked to stop records what is under way and
// begins nothing new; what follows from it is carried on by the next one.
func TestDrained(t *testing.T) {
	t.Parallel()
	tools := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "{}") }))
	t.Cleanup(tools.Close)
	w := newWorkshop(t, map[string]string{
		"step.md":   "---\nname: step\nmodel: script/step\ntools: [{http: {name: look, method: GET, url: \"" + tools.URL + "\"}}]\n---\n",
		"step.yaml": "replies: [{ delay: 1s, calls: [{ tool: look }] }, { text: Seen. }]\n",
	})
	s := w.start(false, "run", w.file("step.md"), "--input", "hi")
	s.stderr.wait(t, "asked, step 1")
	s.signals <- syscall.SIGTERM
	s.ends(t, cli.ExitDetached)
	code, stdout, stderr := w.run("attach", "last")
	if code != 0 || stdout != "Seen.\n" {
		t.Errorf("attach: code %d\n%s%s", code, stdout, stderr)
	}
}

// TestWait stays while an ask is open, until somebody else has answered.
func TestWait(t *testing.T) {
	t.Parallel()
	w := newWorkshop(t, desk)
	s := w.start(false, "run", w.file("desk.md"), "--input", "hi", "--wait")
	s.stderr.wait(t, "may this call be made?")
	if code, _, stderr := w.run("approve", "last"); code != 0 || strings.Contains(stderr, "no server") {
		t.Fatalf("approve: code %d\n%s", code, stderr)
	}
	s.stderr.wait(t, "the client's to make")
	if code, _, stderr := w.run("answer", "last", "done"); code != 0 {
		t.Fatalf("answer: code %d\n%s", code, stderr)
	}
	s.ends(t, 0)
	if got := s.stdout.String(); got != "Refunded.\n" {
		t.Errorf("answered %q", got)
	}
}

// TestFollowLogs looks on while a server works, until the session is over.
func TestFollowLogs(t *testing.T) {
	t.Parallel()
	w := newWorkshop(t, desk)
	server := w.start(false, "serve", "--listen", "")
	server.stdout.wait(t, "  data ")
	if code, _, stderr := w.run("run", w.file("desk.md"), "--input", "hi"); code != cli.ExitWaiting {
		t.Fatalf("run: code %d\n%s", code, stderr)
	}
	logs := w.start(false, "logs", "last", "-f")
	json := w.start(false, "logs", "last", "-f", "--json")
	if code, _, stderr := w.run("cancel", "last"); code != 0 {
		t.Fatalf("cancel: code %d\n%s", code, stderr)
	}
	logs.ends(t, 0)
	json.ends(t, 0)
	if got := logs.stdout.String(); strings.Count(got, "run     cancelled") != 1 {
		t.Errorf("logs:\n%s", got)
	}
	if got := json.stdout.String(); strings.Count(got, `"type":"run.cancelled"`) != 1 {
		t.Errorf("logs --json:\n%s", got)
	}
	server.signals <- syscall.SIGTERM
	server.ends(t, 0)
}
