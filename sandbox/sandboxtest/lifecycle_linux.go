package sandboxtest

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/cairn-run/cairn/sandbox"
)

const (
	holdEnv     = "CAIRN_SANDBOXTEST_HOLD" // the directory of a holder's driver
	holdBoxEnv  = "CAIRN_SANDBOXTEST_BOX"  // that of its sessions
	holdMarkEnv = "CAIRN_SANDBOXTEST_MARK" // what its commands carry
	holdFD      = 3                        // where it says what it is about to do
	holdRounds  = 3                        // how many sandboxes it makes
	kills       = 30                       // moments at which it is killed
)

// Lifecycle kills the process that holds the driver with SIGKILL, at many moments,
// and opens the driver again: nothing of it may be left. Before, it kills the
// driver's own processes while it is used. OpenAt opens a driver
// with its state in a directory. The process that is
// killed runs the calling test again.
func Lifecycle(t *testing.T, openAt func(dir string) (sandbox.Driver, error), o Options) {
	t.Helper()
	if os.Getenv(holdEnv) != "" {
		hold(t, openAt, o)
		return
	}
	dir := tempDir(t)
	s := begin(t, func(t *testing.T) sandbox.Driver {
		d, err := openAt(dir)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = d.Close() })
		return d
	}, o)
	s.box(t, nil).must(t, "true")
	before := look(t)
	if o.Isolated {
		t.Run("each helper is killed", func(t *testing.T) { killedOne(t, s) })
		t.Run("helpers are killed at any time", func(t *testing.T) { killedAnyTime(t, s) })
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for at := 1; at <= kills; at++ {
		t.Run(fmt.Sprintf("kill %d", at), func(t *testing.T) {
			said, mark := killHolder(t, at, dir)
			d, err := openAt(dir)
			if err != nil {
				t.Fatalf("opening after a kill before %q: %v", said, err)
			}
			again := &suite{Driver: d, o: o, caps: s.caps, attacker: s.attacker}
			again.box(t, nil).must(t, "true")
			eventually(t, "nothing of the killed one is alive; it was about to: "+said, func() bool { return len(alive(t, mark)) == 0 })
			if err := d.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	before.same(t)
}

// killHolder runs a holder until it says what it is about to do for the at-th
// time, and kills it then.
func killHolder(t *testing.T, at int, dir string) (said, mark string) {
	t.Helper()
	mark = token()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	top, _, _ := strings.Cut(t.Name(), "/")
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	c := exec.CommandContext(ctx, "/proc/self/exe", "-test.run=^"+top+"$", "-test.count=1")
	c.Env = append(os.Environ(), holdEnv+"="+dir, holdBoxEnv+"="+tempDir(t), holdMarkEnv+"="+mark, attackerEnv+"="+buildAttacker(t))
	c.ExtraFiles = []*os.File{w}
	var errs tail
	c.Stdout, c.Stderr = &errs, &errs
	err = c.Start()
	_ = w.Close() // the child has its own
	if err != nil {
		t.Fatal(err)
	}
	in := bufio.NewScanner(r)
	for n := 0; n < at && in.Scan(); n++ {
		said = in.Text()
	}
	if said == "end" {
		t.Logf("it ended before kill %d", at)
	}
	if err := c.Process.Kill(); err != nil {
		t.Logf("killing: %v", err)
	}
	if err := c.Wait(); err != nil && said != "end" && !strings.Contains(err.Error(), "killed") {
		t.Fatalf("the holder: %v: %s", err, errs.String())
	}
	return said, mark
}

// hold uses a driver until it is killed, and says before each thing what it is.
func hold(t *testing.T, openAt func(dir string) (sandbox.Driver, error), o Options) {
	t.Helper()
	unix.CloseOnExec(holdFD)
	out := os.NewFile(holdFD, "out")
	say := func(what string) {
		if _, err := fmt.Fprintln(out, what); err != nil {
			os.Exit(1)
		}
	}
	say("open")
	d, err := openAt(os.Getenv(holdEnv))
	if err != nil {
		t.Fatal(err)
	}
	mark := os.Getenv(holdMarkEnv)
	s := &suite{Driver: d, o: o, attacker: os.Getenv(attackerEnv)}
	base := os.Getenv(holdBoxEnv)
	if err := os.MkdirAll(filepath.Join(base, "t"), 0o755); err != nil { //nolint:gosec // as the sandbox's user sees it
		t.Fatal(err)
	}
	t.Setenv("TMPDIR", filepath.Join(base, "t"))
	for range holdRounds {
		say("create")
		b := s.box(t, nil)
		stay := []string{b.attacker, "tree", "stay", mark}
		say("start")
		p := b.start(t, sandbox.Cmd{Args: stay})
		say("start detached")
		b.start(t, sandbox.Cmd{Args: stay, Detached: true})
		say("start and wait")
		b.must(t, "true")
		say("freeze")
		if err := b.Freeze(within(t)); err != nil {
			t.Fatal(err)
		}
		say("thaw")
		if err := b.Thaw(within(t)); err != nil {
			t.Fatal(err)
		}
		say("kill")
		if _, err := p.Kill(within(t)); err != nil {
			t.Fatal(err)
		}
		say("a tree")
		b.start(t, sandbox.Cmd{Args: b.hiding("stubborn", mark)})
		say("destroy")
		if _, err := b.Destroy(within(t)); err != nil {
			t.Fatal(err)
		}
	}
	say("close")
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	say("end")
}
