package sandboxtest

import (
	"fmt"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cairn-run/cairn/sandbox"
)

const (
	mib = 1 << 20
	// Limits of the sandboxes that are exhausted.
	memoryLimit, diskLimit, tmpLimit = 256 * mib, 64 * mib, 16 * mib
	processLimit, inodeLimit         = 64, 2000
	// most is how far a load goes by itself if nothing stops it: little enough for
	// the machine, much more than what a limit allows.
	most = 2048 * mib
)

// load is a way of using something up.
type load struct {
	name string
	args []string
	// limit is the one it runs into; its Breach may end the sandbox, or the command
	// ends by an error or a signal of the kernel.
	limit string
	// others are limits that it may run into first.
	others []string
	// max is how far it may get when the kernel holds the limit, and slack how much
	// further before a watcher has seen it; in what the load counts.
	max, slack int64
	free       bool // it may also come to its end: it has used nothing up
}

var hogs = []load{
	{name: "anonymous memory", args: []string{"anon", strconv.Itoa(most)}, limit: "memory", max: memoryLimit, slack: 1024 * mib},
	{name: "memory of a headless process", args: []string{"headless", "anon", strconv.Itoa(most)}, limit: "memory", max: memoryLimit, slack: 1024 * mib},
	{name: "files of a headless process", args: []string{"headless", "lost", strconv.Itoa(most)}, limit: "disk", others: []string{"memory"}, max: diskLimit, slack: 1024 * mib},
	{name: "shared memory", args: []string{"shared", strconv.Itoa(most)}, limit: "memory", max: memoryLimit, slack: 1024 * mib},
	{name: "a memfd", args: []string{"memfd", strconv.Itoa(most)}, limit: "memory", max: memoryLimit, slack: 1024 * mib},
	{name: "many memfds", args: []string{"memfds", strconv.Itoa(most)}, limit: "memory", others: []string{"disk"}, max: memoryLimit, slack: 1024 * mib},
	{name: "memfds in flight", args: []string{"flight", strconv.Itoa(most)}, limit: "memory", others: []string{"disk"}, max: memoryLimit, slack: 1024 * mib},
	{name: "system V memory", args: []string{"sysv", strconv.Itoa(most)}, limit: "memory", others: []string{"disk"}, max: memoryLimit, slack: 1024 * mib},
	{name: "pipe buffers", args: []string{"pipes", strconv.Itoa(most)}, limit: "memory", max: memoryLimit, slack: 512 * mib},
	{name: "dev shm", args: []string{"shm", strconv.Itoa(most)}, limit: "memory", max: tmpLimit},
	{name: "tmp", args: []string{"tmp", strconv.Itoa(most)}, limit: "disk", max: diskLimit, slack: 1024 * mib},
	{name: "one file", args: []string{"disk", strconv.Itoa(most)}, limit: "disk", max: diskLimit, slack: 1024 * mib},
	{name: "a mapped file", args: []string{"mapped", strconv.Itoa(most)}, limit: "disk", others: []string{"memory"}, max: diskLimit, slack: 1024 * mib},
	{name: "files without a name", args: []string{"lost", strconv.Itoa(most)}, limit: "disk", others: []string{"memory"}, max: diskLimit, slack: 1024 * mib},
	{name: "files only mapped", args: []string{"unseen", strconv.Itoa(most)}, limit: "disk", others: []string{"memory"}, max: diskLimit, slack: 1024 * mib},
	{name: "files in flight", args: []string{"away", strconv.Itoa(most)}, limit: "disk", others: []string{"memory"}, max: diskLimit, slack: 1024 * mib},
	{name: "many files", args: []string{"many", "200000"}, limit: "inodes", others: []string{"disk"}, max: inodeLimit, slack: 100_000},
	{name: "empty files", args: []string{"files", "200000"}, limit: "inodes", max: inodeLimit, slack: 100_000},
	{name: "deep directories", args: []string{"deep", "100000"}, limit: "inodes", max: inodeLimit, slack: 60_000},
	{name: "sparse files", args: []string{"sparse", "1000"}, limit: "disk", others: []string{"inodes"}, max: 1000, free: true},
	{name: "fork bomb", args: []string{"forks", "3000"}, limit: "processes", max: processLimit, slack: 3000, free: true},
	{name: "zombies", args: []string{"zombie", "3000"}, limit: "processes", max: processLimit, slack: 3000},
}

// Exhaust uses up every resource of an instance: it must end in a typed way, and
// harm nothing outside. Open is called once.
func Exhaust(t *testing.T, open func(t *testing.T) sandbox.Driver, o Options) {
	t.Helper()
	s := begin(t, open, o)
	s.box(t, nil).must(t, "true") // what the driver starts once is there
	before := look(t)
	if !o.Limited {
		t.Log("the driver promises no limits: only what it does with output is tried")
	} else {
		for _, l := range hogs {
			t.Run(l.name, func(t *testing.T) { exhaust(t, s, l) })
		}
		t.Run("many at once", func(t *testing.T) { crowd(t, s) })
		t.Run("a fork bomb is killed", func(t *testing.T) { relentless(t, s) })
		t.Run("too many commands", func(t *testing.T) { commandFlood(t, s) })
		t.Run("spin", func(t *testing.T) { spinners(t, s) })
	}
	t.Run("flood", func(t *testing.T) { flood(t, s) })
	t.Run("nobody reads", func(t *testing.T) { nobodyReads(t, s) })
	t.Run("nothing is left", before.same)
}

func small(s *sandbox.Spec) {
	s.Limits = sandbox.Limits{
		Memory: memoryLimit, Processes: processLimit, Files: 512, Disk: diskLimit, Inodes: inodeLimit, Tmp: tmpLimit,
	}
}

func exhaust(t *testing.T, s *suite, l load) {
	b := s.box(t, small)
	mark := token()
	// The watch looks at this process's descendants while it runs.
	stop, peak := make(chan struct{}), make(chan int, 1)
	go func() {
		most := 0
		ticker := time.NewTicker(50 * time.Millisecond)
		defer ticker.Stop()
		for {
			select {
			case <-ticker.C:
				most = max(most, len(marked(mark)))
			case <-stop:
				peak <- most
				return
			}
		}
	}()
	out, exit, ended := b.push(t, append(append([]string{"load"}, l.args...), mark))
	close(stop)
	by := s.caps.Limits[l.limit]
	got, allowed := lastNumber(out.out), l.max
	if by == sandbox.ByWatcher {
		allowed += l.slack
	}
	t.Logf("held by %s: reached %d of %d; exit %d %s %q; ended: %v", by, got, allowed, exit.Code, exit.Signal, out.err, ended)
	if got > allowed+l.step() {
		t.Errorf("it got to %d, allowed are %d", got, allowed)
	}
	if n := <-peak; n > processLimit+16 && by != sandbox.ByWatcher {
		t.Errorf("there were %d processes", n)
	}
	switch {
	case ended != nil:
		breach(t, b, append(l.others, l.limit)...)
	case exit.Code == 0 && !l.free:
		t.Errorf("it came to its end: nothing stopped it")
	}
	if _, err := b.Destroy(within(t)); err != nil {
		t.Fatal(err)
	}
	gone(t, mark)
	used := diskUsed(t, b.written)
	if limit := int64(diskLimit) + l.slackOf("disk", s); used > limit+32*mib {
		t.Errorf("%d MiB were written", used/mib)
	}
	s.box(t, nil).must(t, "true") // the driver works as before
}

// step is what a load may have done beyond what it was stopped at: it counts in
// chunks of up to 16 MiB, or in files by the thousand.
func (l load) step() int64 {
	if l.max >= mib {
		return 16 * mib
	}
	return 1000
}

// slackOf is how much more than a limit a watcher lets through.
func (l load) slackOf(limit string, s *suite) int64 {
	if s.caps.Limits[limit] == sandbox.ByWatcher {
		return 1024 * mib
	}
	return 0
}

// marked lists the descendants of the test that carry the mark.
func marked(mark string) []int {
	var all []int
	for _, pid := range descendants() {
		if cmdlineHas(pid, mark) {
			all = append(all, pid)
		}
	}
	return all
}

// push runs the attacker until it ends or the instance does; then why is not nil.
func (b *box) push(t *testing.T, args []string) (out output, exit sandbox.Exit, why error) {
	t.Helper()
	var said, errs tail
	p, err := b.Start(within(t), sandbox.Cmd{Args: append([]string{b.attacker}, args...), Stdout: &said, Stderr: &errs})
	if err != nil {
		t.Fatal(err)
	}
	exit, err = p.Wait(within(t))
	select {
	case <-b.Done():
		why = b.Err()
	default:
		if err != nil {
			t.Fatalf("it did not end: %v", err)
		}
		if exit.Signal == "SIGKILL" { // the instance may be ending for it
			select {
			case <-b.Done():
				why = b.Err()
			case <-time.After(2 * time.Second): // the kernel's OOM killer hit one process: the instance lives
			}
		}
	}
	return output{exit, said.String(), errs.String()}, exit, why
}

// tail keeps the last of what is written.
type tail struct{ b []byte }

func (t *tail) Write(b []byte) (int, error) {
	t.b = append(t.b, b...)
	if len(t.b) > 8192 {
		t.b = append(t.b[:0], t.b[len(t.b)-4096:]...)
	}
	return len(b), nil
}

func (t *tail) String() string { return string(t.b) }

// diskUsed is what a tree takes on the disk.
func diskUsed(t *testing.T, dir string) int64 {
	t.Helper()
	out, err := exec.Command("du", "-s", "-B1", dir).Output() //nolint:noctx // it reads a bounded tree
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.ParseInt(strings.Fields(string(out))[0], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// crowd: many processes that together use what one may not.
func crowd(t *testing.T, s *suite) {
	b := s.box(t, small)
	mark := token()
	p := b.start(t, sandbox.Cmd{Args: []string{"sh", "-c", fmt.Sprintf("for i in 1 2 3 4 5 6 7 8; do %s load anon %d %s & done; wait", b.attacker, 128*mib, mark)}})
	e, err := p.Wait(within(t))
	if err != nil && b.Err() == nil {
		t.Fatal(err)
	}
	t.Logf("%+v, %v", e, b.Err())
	if why := b.Err(); why != nil {
		breach(t, b, "memory")
	} else if s.caps.Limits["memory"] == sandbox.ByWatcher {
		t.Error("1 GiB was used together and nobody said a word")
	}
	if u, err := b.Usage(within(t)); err == nil && s.caps.Limits["memory"] == sandbox.ByCgroup && u.Memory > memoryLimit+32*mib {
		t.Errorf("%d MiB were used", u.Memory/mib)
	}
	if _, err := b.Destroy(within(t)); err != nil {
		t.Fatal(err)
	}
	gone(t, mark)
}

// relentless is a fork bomb that goes on for ever, ended by Kill while it is at its
// height, and then once more by Destroy.
func relentless(t *testing.T, s *suite) {
	for _, end := range []string{"kill", "destroy"} {
		b := s.box(t, small)
		mark := token()
		p := b.start(t, sandbox.Cmd{Args: []string{b.attacker, "load", "bomb", "3000", mark}})
		eventually(t, "the bomb has gone off, or was ended for it", func() bool {
			select {
			case <-b.Done():
				return true
			default:
				return len(marked(mark)) >= processLimit/2
			}
		})
		var err error
		if end == "kill" {
			_, err = p.Kill(within(t))
		} else {
			_, err = b.Destroy(within(t))
		}
		if err != nil && b.Err() == nil {
			t.Errorf("%s: %v", end, err)
		}
		gone(t, mark)
		if b.Err() == nil {
			b.must(t, "true")
		}
	}
}

// spinners use the processors until the wall.
func spinners(t *testing.T, s *suite) {
	b := s.box(t, func(s *sandbox.Spec) { small(s); s.Limits.CPU = 0.5; s.Limits.Wall = time.Second })
	mark := token()
	for range 3 {
		if _, err := b.Start(within(t), sandbox.Cmd{Args: []string{b.attacker, "load", "spin", mark}}); err != nil && b.Err() == nil {
			t.Fatal(err)
		}
	}
	select {
	case <-b.Done():
	case <-within(t).Done():
		t.Fatal("the wall limit did not end it")
	}
	breach(t, b, "wall")
	gone(t, mark)
}

func flood(t *testing.T, s *suite) {
	b := s.box(t, nil)
	var out counter
	e := wait(t, b.start(t, sandbox.Cmd{Args: []string{b.attacker, "load", "flood", strconv.Itoa(512 * mib)}, Stdout: &out}))
	if e.Code != 0 || out.n != 512*mib {
		t.Errorf("%d bytes came: %+v", out.n, e)
	}
}

// blocked takes nothing until it is opened.
type blocked struct{ open chan struct{} }

func (b blocked) Write(p []byte) (int, error) { <-b.open; return len(p), nil }

// nobodyReads: a command that nobody reads from stops at a full pipe, and can be
// killed.
func nobodyReads(t *testing.T, s *suite) {
	b := s.box(t, nil)
	w := blocked{make(chan struct{})}
	defer close(w.open)
	mark := token()
	p := b.start(t, sandbox.Cmd{Args: []string{b.attacker, "load", "flood", strconv.Itoa(512 * mib), mark}, Stdout: w, Stderr: w})
	eventually(t, "it runs", func() bool { return len(alive(t, mark)) > 0 })
	if _, err := p.Kill(within(t)); err != nil {
		t.Error(err)
	}
	gone(t, mark)
	if e := wait(t, p); e.Signal != "SIGKILL" {
		t.Errorf("%+v", e)
	}
	b.must(t, "true")
}
