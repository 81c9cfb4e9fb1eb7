package sandboxtest

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/cairn-run/cairn/sandbox"
)

// treeSize is how many processes attacker's stubborn and leave trees print
// "ready" for, besides the first: a child, one in a session of its own, two
// orphans and one without environment and stdio.
const treeSize = 5

// hiding is the tree a driver must find: without isolation, one that wipes its
// environment and leaves everything cannot be found, and is not started.
func (b *box) hiding(name, mark string) []string {
	if b.s.o.Isolated {
		return []string{b.attacker, "tree", name, mark}
	}
	return []string{b.attacker, "tree", name, mark, "visible"}
}

func (b *box) treeSize() int {
	if b.s.o.Isolated {
		return treeSize
	}
	return treeSize - 1
}

// gone wants no process with the mark to be alive, at once.
func gone(t *testing.T, mark string) {
	t.Helper()
	if left := alive(t, mark); len(left) != 0 {
		t.Errorf("alive: %v", left)
	}
}

// wants wants n of the processes to carry the mark.
func wants(t *testing.T, got []sandbox.ProcessInfo, mark string, n int) {
	t.Helper()
	found := 0
	for _, p := range got {
		if strings.Contains(p.Command, mark) && p.PID > 0 {
			found++
		}
		if len(p.Command) > 200 {
			t.Errorf("a command of %d bytes: %s", len(p.Command), p.Command)
		}
	}
	if found < n {
		t.Errorf("%d processes are named, want %d: %v", found, n, got)
	}
}

func stubbornTree(t *testing.T, s *suite) {
	b := s.box(t, nil)
	mark, out := token(), newLines(t)
	p := b.start(t, sandbox.Cmd{Args: b.hiding("stubborn", mark), Stdout: out})
	out.ready(t, b.treeSize()+1)
	killed, err := p.Kill(within(t))
	if err != nil {
		t.Fatal(err)
	}
	gone(t, mark)
	wants(t, killed, mark, b.treeSize()+1)
	if e := wait(t, p); e.Code != 137 || e.Signal != "SIGKILL" {
		t.Errorf("%+v", e)
	}
	b.must(t, "true")
}

func firstLeaves(t *testing.T, s *suite) {
	b := s.box(t, nil)
	mark, out := token(), newLines(t)
	// The first process waits until all others run, so that Left is certain.
	p := b.start(t, sandbox.Cmd{Args: b.hiding("leave", mark), Stdout: out})
	e := wait(t, p)
	gone(t, mark)
	if e.Code != 3 || e.Signal != "" {
		t.Errorf("%+v", e)
	}
	wants(t, e.Left, mark, 1)
}

func leftovers(t *testing.T, s *suite) {
	b := s.box(t, nil)
	mark := token()
	o := b.sh(t, "sleep 1000 & sh -c 'sleep 1001; : "+mark+"' & echo said; exit 7")
	gone(t, mark)
	if o.Code != 7 || o.out != "said\n" || len(o.Left) < 2 || !strings.Contains(fmt.Sprint(o.Left), "sleep 1000") {
		t.Errorf("got %+v", o)
	}
	if ps, err := b.Processes(within(t)); err != nil || len(ps) != 0 {
		t.Errorf("alive: %v, %v", ps, err)
	}
}

func nohup(t *testing.T, s *suite) {
	b := s.box(t, nil)
	mark := token()
	o := b.sh(t, "nohup setsid sh -c 'trap \"\" TERM HUP INT QUIT; sleep 1000; : "+mark+"' >/dev/null 2>&1 </dev/null & disown 2>/dev/null; exit 0")
	gone(t, mark)
	if o.Code != 0 {
		t.Errorf("%+v", o)
	}
}

const daemonise = `
import os, sys, signal, time
for s in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
    signal.signal(s, signal.SIG_IGN)
r, w = os.pipe()
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.chdir("/")
        os.umask(0)
        n = os.open("/dev/null", os.O_RDWR)
        for fd in (0, 1, 2): os.dup2(n, fd)
        os.write(w, b"x")
        while True: time.sleep(1000)
    os._exit(0)
os.read(r, 1)
print("daemon is up")
`

func pythonDaemon(t *testing.T, s *suite) {
	const python = "/usr/bin/python3"
	if _, err := os.Stat(python); err != nil {
		skip(t, "no-python")
	}
	b := s.box(t, nil)
	mark := token()
	o := b.run(t, sandbox.Cmd{Args: []string{python, "-c", daemonise, mark}})
	gone(t, mark)
	if o.out != "daemon is up\n" || o.Code != 0 {
		t.Errorf("%+v", o)
	}
	wants(t, o.Left, "python3", 1)
}

// killStorm kills a tree that forks all the time.
func killStorm(t *testing.T, s *suite) {
	b := s.box(t, nil)
	mark, out := token(), newLines(t)
	p := b.start(t, sandbox.Cmd{Args: []string{b.attacker, "tree", "storm", mark}, Stdout: out})
	out.ready(t, 1)
	eventually(t, "the storm has begun", func() bool { return len(alive(t, mark)) > 2 })
	if _, err := p.Kill(within(t)); err != nil {
		t.Fatal(err)
	}
	gone(t, mark)
	b.must(t, "true")
}

func detachedLivesOn(t *testing.T, s *suite) {
	b := s.box(t, nil)
	mark, out := token(), newLines(t)
	d := b.start(t, sandbox.Cmd{Args: []string{b.attacker, "tree", "stay", mark}, Stdout: out, Detached: true})
	out.ready(t, 1)
	if o := b.sh(t, "exit 4"); o.Code != 4 || len(o.Left) != 0 {
		t.Errorf("%+v", o)
	}
	other, otherOut := token(), newLines(t)
	p := b.start(t, sandbox.Cmd{Args: b.hiding("stubborn", other), Stdout: otherOut})
	otherOut.ready(t, b.treeSize()+1)
	if _, err := p.Kill(within(t)); err != nil {
		t.Fatal(err)
	}
	gone(t, other)
	if len(alive(t, mark)) == 0 {
		t.Fatal("the detached process was killed with another command")
	}
	ps, err := b.Processes(within(t))
	if err != nil {
		t.Fatal(err)
	}
	wants(t, ps, mark, 1)
	killed, err := d.Kill(within(t))
	if err != nil {
		t.Fatal(err)
	}
	wants(t, killed, mark, 1)
	gone(t, mark)
	if e := wait(t, d); e.Signal != "SIGKILL" {
		t.Errorf("%+v", e)
	}
}

func detachedTree(t *testing.T, s *suite) {
	b := s.box(t, nil)
	marks := []string{token(), token()}
	var ds []sandbox.Process
	for _, mark := range marks {
		out := newLines(t)
		ds = append(ds, b.start(t, sandbox.Cmd{Args: b.hiding("stubborn", mark), Stdout: out, Detached: true}))
		out.ready(t, b.treeSize()+1)
	}
	killed, err := ds[0].Kill(within(t))
	if err != nil {
		t.Fatal(err)
	}
	gone(t, marks[0])
	wants(t, killed, marks[0], b.treeSize()+1)
	if len(alive(t, marks[1])) == 0 {
		t.Error("the other detached tree was killed too")
	}
	killed, err = b.Destroy(within(t))
	if err != nil {
		t.Fatal(err)
	}
	gone(t, marks[1])
	wants(t, killed, marks[1], 1)
}

func processes(t *testing.T, s *suite) {
	b := s.box(t, nil)
	if ps, err := b.Processes(within(t)); err != nil || len(ps) != 0 {
		t.Errorf("before anything was started: %v, %v", ps, err)
	}
	p := b.start(t, sandbox.Cmd{Args: []string{"sleep", "1000"}})
	q := b.start(t, sandbox.Cmd{Args: []string{"sleep", "1001"}, Detached: true})
	var names string
	// A start may return before its program has replaced the one that starts it.
	eventually(t, "both commands are listed", func() bool {
		ps, err := b.Processes(within(t))
		if err != nil {
			t.Fatal(err)
		}
		names = fmt.Sprint(ps)
		return len(ps) == 2 && strings.Contains(names, fmt.Sprintf("sleep 1000 (%d)", p.PID())) && strings.Contains(names, fmt.Sprintf("sleep 1001 (%d)", q.PID()))
	})
	for _, x := range []sandbox.Process{p, q} {
		if _, err := x.Kill(within(t)); err != nil {
			t.Error(err)
		}
	}
	if ps, err := b.Processes(within(t)); err != nil || len(ps) != 0 {
		t.Errorf("after all were killed: %v, %v", ps, err)
	}
}
