package sandboxtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/sandbox"
)

func stdio(t *testing.T, s *suite) {
	b := s.box(t, nil)
	o := b.sh(t, "echo to out; echo to err >&2")
	if o.out != "to out\n" || o.err != "to err\n" || o.Code != 0 || o.Signal != "" || len(o.Left) != 0 {
		t.Errorf("got %+v", o)
	}
	if e := wait(t, b.start(t, sandbox.Cmd{Args: []string{"sh", "-c", "echo x; echo y >&2; cat"}})); e.Code != 0 {
		t.Errorf("without stdio: %+v", e)
	}
}

func exitCodes(t *testing.T, s *suite) {
	b := s.box(t, nil)
	for _, code := range []int{0, 1, 2, 42, 126, 127, 128, 137, 255} {
		if o := b.sh(t, fmt.Sprint("exit ", code)); o.Code != code || o.Signal != "" {
			t.Errorf("exit %d came back as %d %q", code, o.Code, o.Signal)
		}
	}
	p := b.start(t, sandbox.Cmd{Args: []string{"true"}})
	if p.PID() < 1 {
		t.Errorf("PID %d", p.PID())
	}
	for range 2 { // waiting again gives the same
		if e := wait(t, p); e.Code != 0 {
			t.Errorf("%+v", e)
		}
	}
	if killed, err := p.Kill(within(t)); err != nil || len(killed) != 0 {
		t.Errorf("killing what has ended: %v, %v", killed, err)
	}
}

func signals(t *testing.T, s *suite) {
	b := s.box(t, nil)
	for n, name := range map[int]string{1: "SIGHUP", 6: "SIGABRT", 9: "SIGKILL", 11: "SIGSEGV", 13: "SIGPIPE", 15: "SIGTERM"} {
		if o := b.sh(t, fmt.Sprintf("kill -%d $$", n)); o.Code != 128+n || o.Signal != name {
			t.Errorf("signal %d came back as %d %q", n, o.Code, o.Signal)
		}
	}
	// Nothing is ignored or blocked from the start: that is inherited over exec.
	for _, mask := range []string{"SigIgn", "SigBlk"} {
		// 32 and 33 are the C library's own; what ran this test may have left them ignored.
		got := b.must(t, "exec grep "+mask+" /proc/self/status")
		bits, err := strconv.ParseUint(strings.Trim(got, mask+":\t\n"), 16, 64)
		if err != nil || bits&^(3<<31) != 0 {
			t.Errorf("a command begins with %s", got)
		}
	}
}

func environment(t *testing.T, s *suite) {
	b := s.box(t, nil)
	o := b.run(t, sandbox.Cmd{Args: []string{"env"}, Env: []string{"MORE=a=b", "EMPTY=", "LANG=de_DE"}})
	got := map[string]string{}
	for line := range strings.Lines(o.out) {
		k, v, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "=")
		got[k] = v
	}
	for k, want := range map[string]string{"MORE": "a=b", "EMPTY": "", "LANG": "de_DE", "TERM": "dumb"} {
		if v, ok := got[k]; !ok || v != want {
			t.Errorf("%s is %q, %v; want %q", k, v, ok, want)
		}
	}
	for _, k := range []string{"PATH", "HOME"} {
		if got[k] == "" {
			t.Errorf("%s is not set", k)
		}
	}
	if s.o.Isolated && got["HOME"] != sandbox.Home {
		t.Errorf("HOME is %q", got["HOME"])
	}
	known := []string{"PATH", "HOME", "LANG", "TERM", "MORE", "EMPTY", "PWD", "SHLVL", "OLDPWD", "_", "TMPDIR", "USER", "LOGNAME", "SHELL"}
	for k, v := range got {
		if v == secretValue || !slices.Contains(known, k) && !strings.HasPrefix(k, "CAIRN_SANDBOX_") {
			t.Errorf("%s came through from the host", k)
		}
	}
	b.must(t, `echo hello > "$HOME/x" && cat "$HOME/x"`)
}

func directory(t *testing.T, s *suite) {
	b := s.box(t, nil)
	workspace := strings.TrimSpace(b.must(t, "pwd -P"))
	if s.o.Isolated && workspace != sandbox.Dir {
		t.Errorf("commands begin in %s", workspace)
	}
	b.must(t, "mkdir -p sub/dir && echo x > sub/file")
	for dir, want := range map[string]string{
		sandbox.Dir: workspace, sandbox.Dir + "/sub/dir": workspace + "/sub/dir", "/": "/",
	} {
		if o := b.run(t, sandbox.Cmd{Args: []string{"pwd", "-P"}, Dir: dir}); strings.TrimSpace(o.out) != want {
			t.Errorf("in %s, pwd says %q %s", dir, o.out, o.err)
		}
	}
	for _, dir := range []string{sandbox.Dir + "/nowhere", sandbox.Dir + "/sub/file", "relative", "\x00"} {
		_, err := b.Start(within(t), sandbox.Cmd{Args: []string{"true"}, Dir: dir})
		typed(t, "directory "+dir, err, cairn.CodeInvalid, cairn.CodeNotFound)
	}
}

func stdin(t *testing.T, s *suite) {
	b := s.box(t, nil)
	want := strings.Repeat("0123456789abcde\n", 1<<16) // 1 MiB
	if o := b.run(t, sandbox.Cmd{Args: []string{"cat"}, Stdin: strings.NewReader(want)}); o.out != want {
		t.Errorf("%d of %d bytes came back: %+v", len(o.out), len(want), o.Exit)
	}
	if o := b.run(t, sandbox.Cmd{Args: []string{"cat"}}); o.out != "" || o.Code != 0 {
		t.Errorf("no stdin: %+v", o)
	}
	// A command that does not want it all, and one that outlives the reader.
	if o := b.run(t, sandbox.Cmd{Args: []string{"head", "-c", "3"}, Stdin: zeros{}}); len(o.out) != 3 || o.Code != 0 {
		t.Errorf("endless stdin: %+v", o)
	}
	r, w := io.Pipe()
	defer func() { _ = w.Close() }()
	if o := b.run(t, sandbox.Cmd{Args: []string{"true"}, Stdin: r}); o.Code != 0 { // the reader never returns
		t.Errorf("silent stdin: %+v", o)
	}
}

// zeros never ends.
type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }

// counter counts bytes.
type counter struct {
	mu sync.Mutex
	n  int64
}

func (c *counter) Write(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n += int64(len(b))
	return len(b), nil
}

func bigOutput(t *testing.T, s *suite) {
	b := s.box(t, nil)
	var out, errOut counter
	const size = 64 << 20
	e := wait(t, b.start(t, sandbox.Cmd{
		Args: []string{"sh", "-c", fmt.Sprintf("head -c %d /dev/zero & head -c %d /dev/zero >&2; wait", size, size)}, Stdout: &out, Stderr: &errOut,
	}))
	if out.n != size || errOut.n != size || e.Code != 0 {
		t.Errorf("%d and %d of %d bytes came: %+v", out.n, errOut.n, size, e)
	}
}

// refuser takes a little and then fails.
type refuser struct{ n int }

func (r *refuser) Write(b []byte) (int, error) {
	if r.n += len(b); r.n > 1<<20 {
		return 0, errors.New("enough")
	}
	return len(b), nil
}

// failingWriter: a command whose output nobody takes any more must not hang.
func failingWriter(t *testing.T, s *suite) {
	b := s.box(t, nil)
	p := b.start(t, sandbox.Cmd{Args: []string{"sh", "-c", "head -c 67108864 /dev/zero; echo $? >&2"}, Stdout: &refuser{}})
	_ = wait(t, p)
	b.must(t, "true")
}

// outputBytes: output is bytes. Whoever shows it on a terminal must make escape
// sequences harmless; nothing on the way may lose or change them.
func outputBytes(t *testing.T, s *suite) {
	b := s.box(t, nil)
	want := "\x1b]0;title\x07\x1b[2J\x9b31m\x00\xff\xfe\r\n\x1bP+q\x1b\\"
	o := b.run(t, sandbox.Cmd{Args: []string{"cat"}, Stdin: strings.NewReader(want)})
	if o.out != want {
		t.Error(cmp.Diff(want, o.out))
	}
}

func concurrent(t *testing.T, s *suite) {
	b := s.box(t, nil)
	var group sync.WaitGroup
	for i := range 32 {
		group.Go(func() {
			var out bytes.Buffer
			p, err := b.Start(within(t), sandbox.Cmd{Args: []string{"sh", "-c", "cat; echo $X"}, Env: []string{fmt.Sprint("X=", i)}, Stdin: strings.NewReader("in "), Stdout: &out})
			if err != nil {
				t.Error(err)
				return
			}
			e, err := p.Wait(within(t))
			if err != nil || e.Code != 0 || out.String() != fmt.Sprintf("in %d\n", i) {
				t.Errorf("command %d: %q, %+v, %v", i, out.String(), e, err)
			}
		})
	}
	group.Wait()
}

// typed wants an error with one of these codes, and a message for a person.
func typed(t *testing.T, what string, err error, codes ...cairn.Code) {
	t.Helper()
	e, ok := errors.AsType[*cairn.Error](err)
	switch {
	case err == nil:
		t.Errorf("%s: no error", what)
	case !ok || !slices.Contains(codes, e.Code):
		t.Errorf("%s: got %v, want a *cairn.Error with code %v", what, err, codes)
	case len(e.Message) < 12:
		t.Errorf("%s: the message %q helps nobody", what, e.Message)
	}
}

func badCommands(t *testing.T, s *suite) {
	b := s.box(t, nil)
	for name, c := range map[string]sandbox.Cmd{
		"no arguments":  {},
		"empty program": {Args: []string{""}},
		"NUL":           {Args: []string{"echo", "a\x00b"}},
		"NUL in env":    {Args: []string{"true"}, Env: []string{"A=\x00"}},
		"no value":      {Args: []string{"true"}, Env: []string{"A"}},
		"no name":       {Args: []string{"true"}, Env: []string{"=A"}},
	} {
		_, err := b.Start(within(t), c)
		typed(t, name, err, cairn.CodeInvalid)
	}
	b.must(t, "echo text > data; mkdir dir; : > empty; chmod +x empty; printf '#!/nowhere\n' > script; chmod +x script")
	for _, program := range []string{"no-such-program", "/no/such/program", "./nothing", "./data", "./dir"} {
		_, err := b.Start(within(t), sandbox.Cmd{Args: []string{program}})
		typed(t, program, err, cairn.CodeNotFound, cairn.CodeInvalid)
	}
	// Only exec finds out that there is no such interpreter.
	if p, err := b.Start(within(t), sandbox.Cmd{Args: []string{"./script"}}); err != nil {
		typed(t, "no interpreter", err, cairn.CodeNotFound, cairn.CodeInvalid)
	} else if e := wait(t, p); e.Code != 126 && e.Code != 127 {
		t.Errorf("no interpreter: %+v", e)
	}
	var many []string
	for range 70_000 {
		many = append(many, strings.Repeat("x", 100))
	}
	_, err := b.Start(within(t), sandbox.Cmd{Args: append([]string{"true"}, many...)})
	typed(t, "7 MB of arguments", err, cairn.CodeInvalid)
	b.must(t, "true") // it still works
}

func waitCancelled(t *testing.T, s *suite) {
	b := s.box(t, nil)
	p := b.start(t, sandbox.Cmd{Args: []string{"sleep", "1000"}})
	ctx, cancel := context.WithCancel(within(t))
	cancel()
	if _, err := p.Wait(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Wait gave %v, want context.Canceled", err)
	}
	killed, err := p.Kill(within(t))
	if err != nil || len(killed) == 0 || !strings.Contains(killed[0].Command, "sleep 1000") || killed[0].PID != p.PID() {
		t.Errorf("Kill gave %v, %v; want sleep 1000 (%d)", killed, err, p.PID())
	}
	if e := wait(t, p); e.Code != 137 || e.Signal != "SIGKILL" {
		t.Errorf("%+v", e)
	}
}

func startCancelled(t *testing.T, s *suite) {
	b := s.box(t, nil)
	ctx, cancel := context.WithCancel(within(t))
	cancel()
	if _, err := b.Start(ctx, sandbox.Cmd{Args: []string{"sleep", "1000"}}); !errors.Is(err, context.Canceled) {
		t.Errorf("Start gave %v, want context.Canceled", err)
	}
	// A context that ends while the command is being started: either it was, and
	// lives, or it was not, and nothing of it does.
	mark := token()
	for range 50 {
		ctx, cancel := context.WithCancel(within(t))
		go cancel()
		p, err := b.Start(ctx, sandbox.Cmd{Args: []string{"sh", "-c", "sleep 1000; : " + mark}})
		if err != nil {
			continue
		}
		if _, err := p.Kill(within(t)); err != nil {
			t.Error(err)
		}
	}
	eventually(t, "no cancelled command is alive", func() bool { return len(alive(t, mark)) == 0 })
	b.must(t, "true")
}
