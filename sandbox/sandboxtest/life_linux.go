package sandboxtest

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/sandbox"
)

// observed is how long a frozen process is watched: that it does nothing can only
// be seen by looking for a while.
const observed = 150 * time.Millisecond

func freeze(t *testing.T, s *suite) {
	b := s.box(t, nil)
	out := newLines(t)
	writer := b.start(t, sandbox.Cmd{Args: []string{"sh", "-c", "echo ready; while :; do echo x >> log; done"}, Stdout: out})
	out.ready(t, 1)
	log := filepath.Join(b.written, "workspace", "log")
	size := func() int64 {
		info, err := os.Stat(log)
		if err != nil {
			return 0
		}
		return info.Size()
	}
	eventually(t, "the writer writes", func() bool { return size() > 0 })
	for range 3 {
		if err := b.Freeze(within(t)); err != nil {
			t.Fatal(err)
		}
		before := size()
		ticker := time.NewTicker(poll)
		for until := time.After(observed); ; {
			select {
			case <-ticker.C:
				if now := size(); now != before {
					t.Fatalf("the file grew from %d to %d while everything was frozen", before, now)
				}
				continue
			case <-until:
			}
			break
		}
		ticker.Stop()
		if err := b.Freeze(within(t)); err != nil { // again changes nothing
			t.Error(err)
		}
		if err := b.Thaw(within(t)); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the writer goes on", func() bool { return size() > before })
	}
	if err := b.Thaw(within(t)); err != nil {
		t.Error(err)
	}
	// What is frozen can be killed.
	if err := b.Freeze(within(t)); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Destroy(within(t)); err != nil {
		t.Fatal(err)
	}
	killedWith(t, b, writer)
	typed(t, "freezing what is destroyed", b.Freeze(within(t)), cairn.CodeCancelled)
}

func usage(t *testing.T, s *suite) {
	b := s.box(t, nil)
	o := b.sh(t, "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done; head -c 3000000 /dev/zero > big")
	if o.Usage.CPU <= 0 {
		t.Errorf("the command used no CPU: %+v", o.Usage)
	}
	u, err := b.Usage(within(t))
	if err != nil {
		t.Fatal(err)
	}
	if u.CPU < o.Usage.CPU/2 || u.Memory < 0 {
		t.Errorf("the sandbox used %+v, one command of it %+v", u, o.Usage)
	}
	if s.o.Limited {
		eventually(t, "the disk is looked at", func() bool {
			u, err := b.Usage(within(t))
			if err != nil {
				t.Fatal(err)
			}
			return u.Disk >= 3_000_000
		})
	}
}

func destroyTwice(t *testing.T, s *suite) {
	b := s.box(t, nil)
	select {
	case <-b.Done():
		t.Fatal("Done is closed at the start")
	default:
	}
	if err := b.Err(); err != nil {
		t.Errorf("Err at the start: %v", err)
	}
	for range 2 {
		if killed, err := b.Destroy(within(t)); err != nil || len(killed) != 0 {
			t.Errorf("Destroy of an idle sandbox: %v, %v", killed, err)
		}
	}
	<-b.Done()
	if !errors.Is(b.Err(), sandbox.ErrDestroyed) {
		t.Errorf("Err is %v", b.Err())
	}
	_, err := b.Start(within(t), sandbox.Cmd{Args: []string{"true"}})
	typed(t, "starting in what is destroyed", err, cairn.CodeCancelled)
}

func destroyKills(t *testing.T, s *suite) {
	b := s.box(t, nil)
	mark, out := token(), newLines(t)
	p := b.start(t, sandbox.Cmd{Args: b.hiding("stubborn", mark), Stdout: out})
	out.ready(t, b.treeSize()+1)
	d := b.start(t, sandbox.Cmd{Args: []string{b.attacker, "tree", "stay", mark}, Stdout: out, Detached: true})
	out.ready(t, 1)
	killed, err := b.Destroy(within(t))
	if err != nil {
		t.Fatal(err)
	}
	gone(t, mark)
	wants(t, killed, mark, b.treeSize()+2)
	for _, x := range []sandbox.Process{p, d} {
		killedWith(t, b, x)
	}
}

func destroyByMany(t *testing.T, s *suite) {
	b := s.box(t, nil)
	mark := token()
	var group sync.WaitGroup
	for i := range 8 {
		group.Go(func() {
			if p, err := b.Start(within(t), sandbox.Cmd{Args: []string{"sh", "-c", "sleep 1000; : " + mark}, Detached: i%2 == 0}); err == nil {
				_, _ = p.Wait(within(t)) // killed, or the sandbox is gone
			}
		})
		group.Go(func() {
			if _, err := b.Destroy(within(t)); err != nil {
				t.Error(err)
			}
			gone(t, mark)
		})
	}
	group.Wait()
	gone(t, mark)
}

func badSpecs(t *testing.T, s *suite) {
	missing := "/nonexistent/cairn"
	for name, change := range map[string]func(*sandbox.Spec){
		"no id":               func(s *sandbox.Spec) { s.ID = "" },
		"capital id":          func(s *sandbox.Spec) { s.ID = "Abc" },
		"id with a slash":     func(s *sandbox.Spec) { s.ID = "a/../b" },
		"id with dots":        func(s *sandbox.Spec) { s.ID = ".." },
		"id with a space":     func(s *sandbox.Spec) { s.ID = "a b" },
		"id with a newline":   func(s *sandbox.Spec) { s.ID = "ab\n" },
		"long id":             func(s *sandbox.Spec) { s.ID = strings.Repeat("a", 49) },
		"no such image":       func(s *sandbox.Spec) { s.Image = missing },
		"relative image":      func(s *sandbox.Spec) { s.Image = "image" },
		"image is a file":     func(s *sandbox.Spec) { s.Image = "/etc/hostname" },
		"mount is missing":    func(s *sandbox.Spec) { s.Mounts = []sandbox.Mount{{Host: missing, Path: "/opt/x"}} },
		"mount is relative":   func(s *sandbox.Spec) { s.Mounts = []sandbox.Mount{{Host: "usr", Path: "/opt/x"}} },
		"mount is a file":     func(s *sandbox.Spec) { s.Mounts = []sandbox.Mount{{Host: "/etc/passwd", Path: "/opt/x"}} },
		"place is relative":   func(s *sandbox.Spec) { s.Mounts = []sandbox.Mount{{Host: "/usr", Path: "opt/x"}} },
		"place has dots":      func(s *sandbox.Spec) { s.Mounts = []sandbox.Mount{{Host: "/usr", Path: "/opt/../../x"}} },
		"place is the root":   func(s *sandbox.Spec) { s.Mounts = []sandbox.Mount{{Host: "/usr", Path: "/"}} },
		"negative memory":     func(s *sandbox.Spec) { s.Limits.Memory = -1 },
		"negative processes":  func(s *sandbox.Spec) { s.Limits.Processes = -1 },
		"negative wall":       func(s *sandbox.Spec) { s.Limits.Wall = -1 },
		"negative processors": func(s *sandbox.Spec) { s.Limits.CPU = -0.5 },
	} {
		bad(t, s, name, change)
	}
	if !s.o.Overlay {
		bad(t, s, "no directory", func(s *sandbox.Spec) { s.Root.Plain = "" })
		bad(t, s, "a relative directory", func(s *sandbox.Spec) { s.Root.Plain = "plain" })
		bad(t, s, "a missing directory", func(s *sandbox.Spec) { s.Root.Plain = missing })
		return
	}
	for name, change := range map[string]func(*sandbox.Spec){
		"lower is missing":   func(s *sandbox.Spec) { s.Root.Lower = append(s.Root.Lower, missing) },
		"lower is relative":  func(s *sandbox.Spec) { s.Root.Lower = []string{"layer"} },
		"lower is empty":     func(s *sandbox.Spec) { s.Root.Lower = []string{""} },
		"lower is a file":    func(s *sandbox.Spec) { s.Root.Lower = []string{"/etc/passwd"} },
		"upper is missing":   func(s *sandbox.Spec) { s.Root.Upper = missing },
		"upper is relative":  func(s *sandbox.Spec) { s.Root.Upper = "upper" },
		"work is missing":    func(s *sandbox.Spec) { s.Root.Work = missing },
		"upper without work": func(s *sandbox.Spec) { s.Root.Work = "" },
		"work without upper": func(s *sandbox.Spec) { s.Root.Upper = "" },
		"work is upper":      func(s *sandbox.Spec) { s.Root.Work = s.Root.Upper },
		"mount over proc":    func(s *sandbox.Spec) { s.Mounts = []sandbox.Mount{{Host: "/usr", Path: "/proc"}} },
		"mount over the dev": func(s *sandbox.Spec) { s.Mounts = []sandbox.Mount{{Host: "/usr", Path: "/dev/shm"}} },
		"mount over hand":    func(s *sandbox.Spec) { s.Mounts = []sandbox.Mount{{Host: "/usr", Path: sandbox.HandPath}} },
	} {
		bad(t, s, name, change)
	}
}

// bad wants a spec to be refused, saying what is wrong with it.
func bad(t *testing.T, s *suite, name string, change func(*sandbox.Spec)) {
	t.Helper()
	spec, _ := s.spec(t, 1)
	change(&spec)
	i, err := s.Create(within(t), spec)
	if err == nil {
		_, _ = i.Destroy(within(t))
	}
	typed(t, name, err, cairn.CodeInvalid, cairn.CodeNotFound)
}

func ids(t *testing.T, s *suite) {
	b := s.box(t, nil)
	spec, base := s.spec(t, 1)
	spec.ID = b.spec.ID
	_, err := s.Create(within(t), spec)
	typed(t, "the same id twice", err, cairn.CodeConflict, cairn.CodeInvalid)
	if _, err := b.Destroy(within(t)); err != nil {
		t.Fatal(err)
	}
	s.create(t, spec, base).must(t, "true") // the name is free again
	spec, base = s.spec(t, 1)
	spec.ID = strings.Repeat("a-9", 16) // 48
	s.create(t, spec, base).must(t, "true")
}

func createCancelled(t *testing.T, s *suite) {
	spec, base := s.spec(t, 1)
	ctx, cancel := context.WithCancel(within(t))
	cancel()
	if i, err := s.Create(ctx, spec); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, %v; want context.Canceled", i, err)
	}
	made := 0
	for n := range 20 {
		ctx, cancel := context.WithTimeout(within(t), time.Duration(n*n)*400*time.Microsecond) // over the time that it takes: 0 to 144 ms
		i, err := s.Create(ctx, spec)
		if err == nil {
			made++
			if _, err := i.Destroy(within(t)); err != nil {
				t.Error(err)
			}
		} else if _, ok := errors.AsType[*cairn.Error](err); !ok {
			t.Errorf("got %v, want a *cairn.Error", err)
		}
		cancel()
	}
	t.Logf("%d of 20 were made in time", made)
	s.create(t, spec, base).must(t, "true") // neither the name nor the directories are held
}

func closing(t *testing.T, s *suite) {
	var all []*box
	mark := token()
	for range 3 {
		b := s.box(t, nil)
		b.start(t, sandbox.Cmd{Args: []string{b.attacker, "tree", "stay", mark}})
		b.start(t, sandbox.Cmd{Args: []string{b.attacker, "tree", "stay", mark}, Detached: true})
		all = append(all, b)
	}
	for range 2 {
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	gone(t, mark)
	for _, b := range all {
		<-b.Done()
		if b.Err() == nil {
			t.Error("ended without a reason")
		}
	}
	spec, _ := s.spec(t, 1)
	_, err := s.Create(within(t), spec)
	typed(t, "after Close", err, cairn.CodeUnavailable, cairn.CodeCancelled)
}

func wall(t *testing.T, s *suite) {
	b := s.box(t, func(s *sandbox.Spec) { s.Limits.Wall = 300 * time.Millisecond })
	mark := token()
	p, err := b.Start(within(t), sandbox.Cmd{Args: []string{b.attacker, "load", "spin", mark}})
	select {
	case <-b.Done():
	case <-within(t).Done():
		t.Fatal("the wall limit did not end it")
	}
	breach(t, b, "wall")
	gone(t, mark)
	if err == nil { // on a slow machine the wall may come first
		killedWith(t, b, p)
	}
}

// killedWith wants a command to have ended with its instance: Wait says that it was
// killed, or why the instance has ended.
func killedWith(t *testing.T, b *box, p sandbox.Process) {
	t.Helper()
	e, err := p.Wait(within(t))
	if err == nil && (e.Signal != "SIGKILL" || e.Code != 137) || err != nil && !errors.Is(err, b.Err()) {
		t.Errorf("Wait gave %+v, %v; the sandbox ended with %v", e, err, b.Err())
	}
}

// breach wants an instance to have ended for one of these limits.
func breach(t *testing.T, b *box, limits ...string) {
	t.Helper()
	got, ok := errors.AsType[*sandbox.Breach](b.Err())
	if !ok {
		t.Errorf("it ended with %v, want a breach of %v", b.Err(), limits)
		return
	}
	for _, l := range limits {
		if got.Limit == l {
			return
		}
	}
	t.Errorf("it ended with a breach of %s, want %v", got.Limit, limits)
}

func filesLimit(t *testing.T, s *suite) {
	if s.caps.Limits["files"] == sandbox.ByNothing {
		return
	}
	b := s.box(t, func(s *sandbox.Spec) { s.Limits.Files = 64 })
	o := b.run(t, sandbox.Cmd{Args: []string{b.attacker, "load", "fds", "1000"}})
	n, err := strconv.Atoi(strings.TrimSpace(o.out))
	if err != nil || n < 40 || n > 64 || !strings.Contains(o.err, "too many open files") {
		t.Errorf("opened %q: %+v", o.out, o)
	}
	if o := b.sh(t, "ulimit -n 128"); o.Code == 0 {
		t.Error("the limit could be raised")
	}
}

// killedFiles: what a command wrote is there after it was killed.
func killedFiles(t *testing.T, s *suite) {
	b := s.box(t, nil)
	out := newLines(t)
	p := b.start(t, sandbox.Cmd{Args: []string{"sh", "-c", "echo content > file; echo ready; sleep 1000"}, Stdout: out})
	out.ready(t, 1)
	if _, err := p.Kill(within(t)); err != nil {
		t.Fatal(err)
	}
	if got := b.must(t, "cat file"); got != "content\n" {
		t.Errorf("the file has %q", got)
	}
	if _, err := b.Destroy(within(t)); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(filepath.Join(b.written, "workspace", "file"))
	if err != nil || string(got) != "content\n" {
		t.Errorf("after Destroy the file has %q, %v", got, err)
	}
}

// lastNumber reads the last number that a load printed.
func lastNumber(out string) int64 {
	f := strings.Fields(out)
	for i := len(f) - 1; i >= 0; i-- {
		if n, err := strconv.ParseInt(f[i], 10, 64); err == nil {
			return n
		}
	}
	return 0
}
