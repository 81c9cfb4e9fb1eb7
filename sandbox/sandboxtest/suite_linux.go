package sandboxtest

import (
	"bufio"
	"bytes"
	"context"
	_ "embed"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cairn-run/cairn/sandbox"
)

// Options say what a driver promises. The suite fails when Probe says less: what
// is not checked must be missing here, for everyone to see.
type Options struct {
	Isolated bool // namespaces: nothing of the host is seen
	Limited  bool // memory, processes, disk, inodes and files are held, by whom Probe says
	Overlay  bool // Root is mounted from layers; else Root.Plain is used
	// Owner is whom the session's directories must belong to; nil: who runs the
	// test.
	Owner func() (uid, gid int)
}

const (
	// deadline bounds every single wait of the suite.
	deadline = 90 * time.Second
	// poll is how often a thing is looked at again of whose change the kernel gives
	// no signal.
	poll = 5 * time.Millisecond
	// secretName is a variable of the test's own environment that no command may
	// see.
	secretName, secretValue = "CAIRN_SANDBOXTEST_SECRET", "sk-0123456789-not-for-the-sandbox"
	// attackerMount is where the attacker's directory is shown.
	attackerMount = "/opt/attack"
	// attackerEnv carries the path of the built attacker to a run as another user.
	attackerEnv = "CAIRN_SANDBOXTEST_ATTACKER"
	// boxPrefix begins the names of directories of sessions.
	boxPrefix = "box-"
)

// suite is one driver under test.
type suite struct {
	sandbox.Driver
	o        Options
	caps     sandbox.Caps
	attacker string // its directory on the host
}

// begin opens the driver and compares what it promises with what it says.
func begin(t *testing.T, open func(t *testing.T) sandbox.Driver, o Options) *suite {
	t.Helper()
	t.Setenv(secretName, secretValue)
	attacker := buildAttacker(t)
	dir, err := os.MkdirTemp("", "cairn-sandboxtest-")
	if err == nil {
		err = os.Chmod(dir, 0o711) //nolint:gosec // the sandbox's user could go through, if it were shown
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) }) // a failing test may have left something that cannot be removed
	t.Setenv("TMPDIR", dir)                     // what a driver leaves there is seen
	s := &suite{o: o, attacker: attacker, Driver: open(t)}
	s.caps = s.Probe(t.Context())
	if !s.caps.Usable {
		t.Fatalf("Probe says the driver cannot be used: %s; %s", s.caps.Why, s.caps.Fix)
	}
	if got := s.caps.Isolation == "namespaces"; got != o.Isolated {
		t.Errorf("Probe says isolation %q; promised: %v", s.caps.Isolation, o.Isolated)
	}
	if s.caps.Overlay != o.Overlay {
		t.Errorf("Probe says overlay %v; promised: %v", s.caps.Overlay, o.Overlay)
	}
	for _, name := range []string{"cpu", "memory", "processes", "disk", "inodes", "files", "wall"} {
		by, ok := s.caps.Limits[name]
		if !ok {
			t.Errorf("Probe does not say who holds the limit %q", name)
		}
		if o.Limited && name != "cpu" && by == sandbox.ByNothing {
			t.Errorf("nobody holds the limit %q, which was promised", name)
		}
	}
	t.Logf("driver %s: %+v", s.Name(), s.caps)
	return s
}

// attackerBuild is made once in a process.
var attackerBuild struct {
	sync.Once
	dir string
	err error
}

// buildAttacker returns the directory of the attacker, readable by everybody.
func buildAttacker(t *testing.T) string {
	t.Helper()
	if dir := os.Getenv(attackerEnv); dir != "" {
		return dir
	}
	attackerBuild.Do(func() {
		dir, err := os.MkdirTemp("", "cairn-attacker-")
		if err == nil {
			err = os.Chmod(dir, 0o755) //nolint:gosec // the sandbox's user reads it
		}
		if err != nil {
			attackerBuild.err = err
			return
		}
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
		defer cancel()
		c := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", filepath.Join(dir, "attacker"), "github.com/cairn-run/cairn/sandbox/sandboxtest/attacker")
		c.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := c.CombinedOutput(); err != nil {
			attackerBuild.err = fmt.Errorf("building the attacker: %w: %s", err, out)
		}
		attackerBuild.dir = dir
	})
	if attackerBuild.err != nil {
		t.Fatal(attackerBuild.err)
	}
	return attackerBuild.dir
}

// Cleanup removes what the suite shares between tests. A TestMain calls it last.
func Cleanup() {
	if attackerBuild.dir != "" {
		_ = os.RemoveAll(attackerBuild.dir) // it is in the temporary directory
	}
}

// box is an instance with its directories.
type box struct {
	sandbox.Instance
	s    *suite
	spec sandbox.Spec
	base string // holds all directories of the session
	// written is where what the sandbox writes to /x is found on the host.
	written string
	// attacker is the attacker's path inside.
	attacker string
}

var boxes atomic.Int64

// spec makes the directories of a session, with lower layers of which each holds
// what a workspace store puts there.
func (s *suite) spec(t *testing.T, lower int) (sandbox.Spec, string) {
	t.Helper()
	base := tempDir(t)
	spec := sandbox.Spec{ID: fmt.Sprintf("t-%d-%d", os.Getpid(), boxes.Add(1))}
	if !s.o.Overlay {
		spec.Root.Plain = filepath.Join(base, "plain")
		s.mkdir(t, spec.Root.Plain)
		s.mkdir(t, filepath.Join(spec.Root.Plain, "workspace"))
		return spec, base
	}
	for i := range lower {
		dir := filepath.Join(base, "layers", fmt.Sprint(i))
		spec.Root.Lower = append(spec.Root.Lower, dir)
		s.mkdir(t, dir)
		for _, d := range []string{"workspace", "home", "home/agent", "tmp"} {
			s.mkdir(t, filepath.Join(dir, d))
		}
		if err := os.Chmod(filepath.Join(dir, "tmp"), 0o777|os.ModeSticky); err != nil {
			t.Fatal(err)
		}
		s.file(t, filepath.Join(dir, "workspace", fmt.Sprintf("layer%d", i)), "here")
		s.file(t, filepath.Join(dir, "workspace", "top"), fmt.Sprint(i))
	}
	spec.Root.Upper, spec.Root.Work = filepath.Join(base, "upper"), filepath.Join(base, "work")
	s.mkdir(t, spec.Root.Upper)
	s.mkdir(t, spec.Root.Work)
	return spec, base
}

// box makes an instance with one lower layer; change may alter its spec.
func (s *suite) box(t *testing.T, change func(*sandbox.Spec)) *box {
	t.Helper()
	spec, base := s.spec(t, 1)
	if change != nil {
		change(&spec)
	}
	return s.create(t, spec, base)
}

func (s *suite) create(t *testing.T, spec sandbox.Spec, base string) *box {
	t.Helper()
	b := &box{s: s, base: base, written: spec.Root.Upper, attacker: filepath.Join(s.attacker, "attacker")}
	if !s.o.Overlay {
		b.written = spec.Root.Plain
	}
	spec.Mounts = append(spec.Mounts, sandbox.Mount{Host: s.attacker, Path: attackerMount})
	if s.o.Isolated {
		b.attacker = attackerMount + "/attacker"
	}
	b.spec = spec
	ctx := within(t)
	i, err := s.Create(ctx, spec)
	if err != nil {
		t.Fatalf("creating a sandbox: %v", err)
	}
	b.Instance = i
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), deadline)
		defer cancel()
		if _, err := i.Destroy(ctx); err != nil {
			t.Errorf("destroying the sandbox: %v", err)
		}
	})
	return b
}

func (s *suite) owner() (uid, gid int) {
	if s.o.Owner != nil {
		return s.o.Owner()
	}
	return os.Geteuid(), os.Getegid()
}

func (s *suite) mkdir(t *testing.T, dir string) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // as the sandbox's user sees it
		t.Fatal(err)
	}
	s.chown(t, dir)
}

func (s *suite) file(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil { //nolint:gosec // as the sandbox's user sees it
		t.Fatal(err)
	}
	s.chown(t, path)
}

func (s *suite) chown(t *testing.T, path string) {
	t.Helper()
	if uid, gid := s.owner(); uid != os.Geteuid() {
		if err := os.Lchown(path, uid, gid); err != nil {
			t.Fatal(err)
		}
	}
}

// tempDir is t.TempDir for trees that a payload has made: directories that cannot
// be read, and ones thousands deep.
func tempDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", boxPrefix)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		// Deeper than a path may be long: only openat-style removal gets there. rm
		// has it, and chmod opens what the payload closed.
		_ = exec.Command("chmod", "-R", "u+rwx", dir).Run()                          //nolint:noctx // bounded by the tree's limits; what cannot be changed fails below
		if out, err := exec.Command("rm", "-rf", dir).CombinedOutput(); err != nil { //nolint:noctx // as above
			t.Errorf("removing the session's directories: %v: %.300s", err, out)
		}
	})
	return dir
}

// within bounds what the test waits for.
func within(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	t.Cleanup(cancel)
	return ctx
}

// start starts a command and fails the test if it does not.
func (b *box) start(t *testing.T, c sandbox.Cmd) sandbox.Process {
	t.Helper()
	p, err := b.Start(within(t), c)
	if err != nil {
		t.Fatalf("starting %q: %v", c.Args, err)
	}
	return p
}

// wait waits for the end of a command.
func wait(t *testing.T, p sandbox.Process) sandbox.Exit {
	t.Helper()
	e, err := p.Wait(within(t))
	if err != nil {
		t.Fatalf("waiting for a command: %v", err)
	}
	return e
}

// output is what a command said.
type output struct {
	sandbox.Exit
	out, err string
}

// run runs a command to its end.
func (b *box) run(t *testing.T, c sandbox.Cmd) output {
	t.Helper()
	var out, errOut bytes.Buffer
	c.Stdout, c.Stderr = &out, &errOut
	e := wait(t, b.start(t, c))
	return output{e, out.String(), errOut.String()}
}

// sh runs a shell script.
func (b *box) sh(t *testing.T, script string) output {
	t.Helper()
	return b.run(t, sandbox.Cmd{Args: []string{"sh", "-c", script}})
}

// must runs a shell script that has to succeed, and returns what it printed.
func (b *box) must(t *testing.T, script string) string {
	t.Helper()
	o := b.sh(t, script)
	if o.Code != 0 {
		t.Fatalf("%s: exit %d %s\n%s%s", script, o.Code, o.Signal, o.out, o.err)
	}
	return o.out
}

// lines gives the lines that a command prints, as they come.
type lines struct {
	w  *io.PipeWriter
	ch chan string
}

// newLines holds at most 64 lines that nobody has taken: the command waits then.
func newLines(t *testing.T) *lines {
	r, w := io.Pipe()
	l := &lines{w: w, ch: make(chan string, 64)}
	gone := make(chan struct{})
	t.Cleanup(func() { close(gone); _ = r.Close() })
	go func() {
		defer close(l.ch)
		for s := bufio.NewScanner(r); s.Scan(); {
			select {
			case l.ch <- s.Text():
			case <-gone:
				return
			}
		}
	}()
	return l
}

// Write implements io.Writer.
func (l *lines) Write(b []byte) (int, error) { return l.w.Write(b) }

// ready takes lines until n of them said "ready".
func (l *lines) ready(t *testing.T, n int) {
	t.Helper()
	ctx := within(t)
	for n > 0 {
		select {
		case line, ok := <-l.ch:
			if !ok {
				t.Fatalf("the output ended before %d more processes were ready", n)
			}
			if line == "ready" {
				n--
			}
		case <-ctx.Done():
			t.Fatalf("%d more processes were not ready in time", n)
		}
	}
}

// eventually looks again and again until ok, and fails the test if it never is.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	ctx := within(t)
	ticker := time.NewTicker(poll)
	defer ticker.Stop()
	for !ok() {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			t.Fatalf("never: %s", what)
		}
	}
}

// token is a word that processes carry in their arguments.
func token() string { return fmt.Sprintf("token-%d-%d", os.Getpid(), boxes.Add(1)) }

// alive lists the processes of the host that carry the token. A zombie has no
// arguments and is dead.
func alive(t *testing.T, token string) []string {
	t.Helper()
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, d := range dirs {
		b, err := os.ReadFile(filepath.Join(d, "cmdline"))
		if err == nil && bytes.Contains(b, []byte(token)) {
			found = append(found, filepath.Base(d)+": "+strings.ReplaceAll(string(b), "\x00", " "))
		}
	}
	return found
}

//go:embed skips.txt
var skipList string

// skip leaves a test out, if skips.txt lists its key with a reason.
func skip(t *testing.T, key string) {
	t.Helper()
	for line := range strings.Lines(skipList) {
		if k, why, ok := strings.Cut(strings.TrimSpace(line), " "); ok && k == key {
			t.Skipf("%s: %s", k, strings.TrimSpace(why))
		}
	}
	t.Fatalf("the skip %q is not in skips.txt", key)
}
