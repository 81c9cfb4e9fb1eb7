//go:build linux && (amd64 || arm64)

package ns

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/sandbox"
)

const (
	// asDaemon makes this binary a process that holds a driver, to be killed.
	asDaemon = "CAIRN_NS_DAEMON"
	// patient is how long something is waited for that the kernel gives no signal
	// of, in steps of a moment.
	patient = 30 * time.Second
	moment  = 5 * time.Millisecond
)

func TestMain(m *testing.M) {
	if os.Getenv(asDaemon) != "" {
		if err := daemon(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// daemon holds an instance with a command until it is killed.
func daemon() error {
	d, err := open(Options{Spare: 1})
	if err != nil {
		return err
	}
	ctx := context.Background()
	i, err := d.Create(ctx, sandbox.Spec{ID: "held"})
	if err != nil {
		return err
	}
	_, err = i.Start(ctx, sandbox.Cmd{Args: []string{"sh", "-c", "trap '' TERM HUP INT; setsid sleep $0 & sleep $0", os.Getenv(asDaemon)}, Detached: true})
	if err != nil {
		return err
	}
	fmt.Println(d.groups.name)
	select {}
}

// eventually waits for what the kernel gives no signal of.
func eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patient); !f(); {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
		<-time.After(moment)
	}
}

// marked are the processes of the machine with a mark in their arguments.
func marked(mark string) []int {
	var found []int
	all, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, p := range all {
		if b, err := os.ReadFile(p); err == nil && strings.Contains(string(b), mark) {
			if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(p))); err == nil && pid != os.Getpid() {
				found = append(found, pid)
			}
		}
	}
	return found
}

// mark is a number of seconds that no other process of the machine sleeps.
func mark() string { return fmt.Sprintf("%d.%d", 90_000+os.Getpid()%1000, time.Now().UnixNano()) }

func TestLiveDaemonKilled(t *testing.T) {
	m := mark()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := exec.CommandContext(t.Context(), exe)
	c.Env = append(os.Environ(), asDaemon+"="+m)
	c.Stderr = os.Stderr
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	name, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the commands run", func() bool { return len(marked("sleep\x00"+m)) == 2 })
	pids := descendants(c.Process.Pid)
	if len(pids) < 4 { // helper, init, the commands
		t.Errorf("only %d processes below the daemon", len(pids))
	}
	if err := c.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = c.Wait() // it was killed
	eventually(t, "everything below the daemon is dead", func() bool {
		return !slices.ContainsFunc(pids, running)
	})
	newDriver(t) // the next one clears away what was left
	for _, root := range []string{"/sys/fs/cgroup"} {
		_ = filepath.WalkDir(root, func(p string, e os.DirEntry, err error) error {
			if err == nil && e.IsDir() && e.Name() == strings.TrimSpace(name) {
				t.Errorf("%s was left", p)
			}
			return nil // directories of others come and go
		})
	}
}

// running says whether a process is alive and no zombie.
func running(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	f := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
	return len(f) > 0 && f[0] != "Z" && f[0] != "X"
}

// descendants are the processes below one.
func descendants(root int) []int {
	parents := map[int]int{}
	all, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, p := range all {
		b, err := os.ReadFile(p)
		if err != nil {
			continue
		}
		f := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
		pid, err1 := strconv.Atoi(filepath.Base(filepath.Dir(p)))
		up, err2 := strconv.Atoi(f[1])
		if err1 == nil && err2 == nil {
			parents[pid] = up
		}
	}
	var below []int
	for pid := range parents {
		for up := parents[pid]; up > 1; up = parents[up] {
			if up == root {
				below = append(below, pid)
				break
			}
		}
	}
	return below
}

// wantLost waits for the end of an instance that nobody asked for.
func wantLost(t *testing.T, i sandbox.Instance, p sandbox.Process) {
	t.Helper()
	if _, err := p.Wait(t.Context()); err == nil {
		t.Error("the command of a lost sandbox has an exit")
	}
	<-i.Done()
	var e *cairn.Error
	if !errors.As(i.Err(), &e) || e.Code != cairn.CodeLost {
		t.Errorf("the sandbox ended with %v", i.Err())
	}
	if _, err := i.Start(t.Context(), sandbox.Cmd{Args: []string{"true"}}); err == nil {
		t.Error("a command was started in a lost sandbox")
	}
	if _, err := i.Destroy(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestLiveHelperKilled(t *testing.T) {
	d := newDriver(t)
	d.spare = 1
	for n := range 3 {
		i := create(t, d, sandbox.Spec{ID: fmt.Sprint("h", n)})
		p, err := i.Start(t.Context(), sandbox.Cmd{Args: []string{"sleep", "1000"}})
		if err != nil {
			t.Fatal(err)
		}
		d.mu.Lock()
		pid := d.helper.pid
		d.mu.Unlock()
		if err := unix.Kill(pid, unix.SIGKILL); err != nil {
			t.Fatal(err)
		}
		wantLost(t, i, p)
	}
	if e, out := run(t, create(t, d, sandbox.Spec{}), "echo again"); e.Code != 0 || out != "again\n" {
		t.Errorf("after the helper was started again: %+v, %q", e, out)
	}
}

func TestLiveInitKilled(t *testing.T) {
	d := newDriver(t)
	i := create(t, d, sandbox.Spec{})
	p, err := i.Start(t.Context(), sandbox.Cmd{Args: []string{"sleep", "1000"}})
	if err != nil {
		t.Fatal(err)
	}
	raw, err := i.(*instance).pidfd.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if err := raw.Control(func(fd uintptr) { err = unix.PidfdSendSignal(int(fd), unix.SIGKILL, nil, 0) }); err != nil {
		t.Fatal(err)
	}
	wantLost(t, i, p)
	create(t, d, sandbox.Spec{}) // its name is free
}

func TestLiveSpareKilled(t *testing.T) {
	d := newDriver(t)
	d.spare = 2
	create(t, d, sandbox.Spec{ID: "first"})
	var spares []*prepared
	eventually(t, "there are spares", func() bool {
		d.mu.Lock()
		defer d.mu.Unlock()
		spares = slices.Clone(d.spares)
		return len(spares) == 2
	})
	for _, p := range spares {
		if err := unix.PidfdSendSignal(p.pidfd, unix.SIGKILL, nil, 0); err != nil {
			t.Fatal(err)
		}
	}
	run(t, create(t, d, sandbox.Spec{ID: "second"}), "true")
}

// TestLiveTrees has commands side by side, of which each is killed alone.
func TestLiveTrees(t *testing.T) {
	d := newDriver(t)
	i := create(t, d, sandbox.Spec{Root: layers(t)})
	start := func(detached bool, script string) sandbox.Process {
		t.Helper()
		r, w := io.Pipe()
		p, err := i.Start(t.Context(), sandbox.Cmd{Args: []string{"bash", "-c", script}, Stdout: w, Stderr: os.Stderr, Detached: detached})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := bufio.NewReader(r).ReadString('\n'); err != nil { // it says that it is ready
			t.Fatal(err)
		}
		go func() { _, _ = io.Copy(io.Discard, r) }()
		return p
	}
	alive := func() string {
		t.Helper()
		procs, err := i.Processes(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, p := range procs {
			names = append(names, p.Command)
		}
		slices.Sort(names)
		return strings.Join(names, "; ")
	}
	server := start(true, "sleep 1001 & echo ready; exec sleep 1002")
	other := start(false, "echo ready; exec sleep 1003")

	// One ends with processes that do not want to.
	e, _ := run(t, i, "trap '' TERM HUP INT; (trap '' TERM HUP; setsid sleep 1004 & setsid bash -c 'sleep 1005 & sleep 1005' &) ; sleep 0.1")
	if len(e.Left) < 2 || e.Code != 0 {
		t.Errorf("what it left: %+v", e)
	}
	if got := alive(); got != "sleep 1001; sleep 1002; sleep 1003" {
		t.Errorf("alive: %s", got)
	}

	// One forks and ends, for ever: its process ids run away from who looks.
	hop := start(false, "hop() { hop & }; hop & hop & hop & echo ready; sleep 1006")
	killed, err := hop.Kill(t.Context())
	if err != nil || len(killed) == 0 {
		t.Errorf("killing a chain: %v, %v", killed, err)
	}
	if e, err := hop.Wait(t.Context()); err != nil || e.Signal != "SIGKILL" {
		t.Errorf("%+v, %v", e, err)
	}
	if got := alive(); got != "sleep 1001; sleep 1002; sleep 1003" {
		t.Errorf("alive: %s", got)
	}

	// One whose first thread ends lives on in another, and looks dead.
	half := start(false, `exec python3 -c '
import ctypes, platform, threading, time
threading.Thread(target=time.sleep, args=(1007,)).start()
print("ready", flush=True)
ctypes.CDLL(None).syscall(93 if platform.machine() == "aarch64" else 60, 0)'`)
	if killed, err := half.Kill(t.Context()); err != nil || len(killed) != 1 {
		t.Errorf("killing one whose first thread has ended: %v, %v", killed, err)
	}
	if _, err := half.Wait(t.Context()); err != nil {
		t.Error(err)
	}
	if got := alive(); got != "sleep 1001; sleep 1002; sleep 1003" {
		t.Errorf("alive: %s", got)
	}

	if killed, err := server.Kill(t.Context()); err != nil || len(killed) != 2 {
		t.Errorf("killing the detached one: %v, %v", killed, err)
	}
	if got := alive(); got != "sleep 1003" {
		t.Errorf("alive: %s", got)
	}
	if again, err := server.Kill(t.Context()); err != nil || len(again) != 0 {
		t.Errorf("killing again: %v, %v", again, err)
	}
	killed, err = i.Destroy(t.Context())
	if err != nil || len(killed) != 1 || killed[0].Command != "sleep 1003" {
		t.Errorf("destroying: %v, %v", killed, err)
	}
	if _, err := other.Wait(t.Context()); !errors.Is(err, sandbox.ErrDestroyed) {
		t.Errorf("the command of a destroyed sandbox: %v", err)
	}
}

// TestLiveDetachedLeavesServer: the first process of a detached command ends, and
// what it started stays until it is killed.
func TestLiveDetachedLeavesServer(t *testing.T) {
	i := create(t, newDriver(t), sandbox.Spec{})
	p, err := i.Start(t.Context(), sandbox.Cmd{Args: []string{"sh", "-c", "sleep 1000 &"}, Detached: true})
	if err != nil {
		t.Fatal(err)
	}
	if e, err := p.Wait(t.Context()); err != nil || e.Code != 0 || len(e.Left) != 0 {
		t.Errorf("%+v, %v", e, err)
	}
	run(t, i, "true")
	if procs, err := i.Processes(t.Context()); err != nil || len(procs) != 1 {
		t.Errorf("%v, %v", procs, err)
	}
	if killed, err := p.Kill(t.Context()); err != nil || len(killed) != 1 {
		t.Errorf("%v, %v", killed, err)
	}
	if procs, err := i.Processes(t.Context()); err != nil || len(procs) != 0 {
		t.Errorf("%v, %v", procs, err)
	}
}

// TestLiveFailedCreate: making one fails in its middle, and nothing is left.
func TestLiveFailedCreate(t *testing.T) {
	d := newDriver(t)
	root := layers(t)
	run(t, create(t, d, sandbox.Spec{ID: "first"}), "true")
	before := openFiles(t)
	for name, plant := range map[string]func(p string) error{
		"proc is a file":      func(p string) error { return os.WriteFile(filepath.Join(p, "proc"), nil, 0o644) },
		"run is a link":       func(p string) error { return os.Symlink("/etc", filepath.Join(p, "run")) },
		"dev is a link":       func(p string) error { return os.Symlink("../../..", filepath.Join(p, "dev")) },
		"hand is a directory": func(p string) error { return os.MkdirAll(filepath.Join(p, "run/cairn/hand"), 0o755) },
		"usr is a file":       func(p string) error { return os.WriteFile(filepath.Join(p, "usr"), nil, 0o644) },
	} {
		low := t.TempDir()
		if err := plant(low); err != nil {
			t.Fatal(err)
		}
		r := root
		r.Lower = []string{low}
		i, err := d.Create(t.Context(), sandbox.Spec{ID: "bad", Root: r})
		if err == nil {
			_, _ = i.Destroy(t.Context())
			t.Errorf("%s: it was made", name)
		}
		var e *cairn.Error
		if !errors.As(err, &e) || e.Code != cairn.CodeUnavailable {
			t.Errorf("%s: %v", name, err)
		}
	}
	run(t, create(t, d, sandbox.Spec{ID: "last", Root: root}), "true")
	d.mu.Lock()
	n := len(d.instances)
	d.mu.Unlock()
	if n != 2 {
		t.Errorf("%d instances are known", n)
	}
	// "last" has a socket and a pidfd.
	if now := openFiles(t); now > before+2 {
		t.Errorf("%d descriptors were open, now %d", before, now)
	}
}

func openFiles(t *testing.T) int {
	t.Helper()
	all, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(all)
}

func TestLiveDestroyWhileFrozen(t *testing.T) {
	d := newDriver(t)
	i := create(t, d, sandbox.Spec{})
	if _, err := i.Start(t.Context(), sandbox.Cmd{Args: []string{"sleep", "1000"}}); err != nil {
		t.Fatal(err)
	}
	if err := i.Freeze(t.Context()); err != nil {
		t.Fatal(err)
	}
	var e *cairn.Error
	if _, err := i.Start(t.Context(), sandbox.Cmd{Args: []string{"true"}}); !errors.As(err, &e) || e.Code != cairn.CodeConflict {
		t.Errorf("starting in a frozen sandbox: %v", err)
	}
	if err := d.Close(); err != nil {
		t.Error(err)
	}
	if !errors.Is(i.Err(), sandbox.ErrDestroyed) {
		t.Errorf("it ended with %v", i.Err())
	}
}

// TestLiveNothingInherited: descriptors that the daemon was given without
// the mark that closes them do not get into an instance.
func TestLiveNothingInherited(t *testing.T) {
	f, err := os.Open("/")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	leak, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD, 150) // not closed on exec
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Close(leak) }()
	i := create(t, newDriver(t), sandbox.Spec{})
	if e, out := run(t, i, "ls /proc/self/fd | tr '\n' ' '"); e.Code != 0 || out != "0 1 2 3 " { // 3 is the directory itself
		t.Errorf("descriptors of a command: %q", out)
	}
	if e, out := run(t, i, "ls -l /proc/1/fd /proc/1/exe /proc/1/root /proc/1/cwd /proc/1/ns/net"); e.Code == 0 {
		t.Errorf("init can be looked into: %s", out)
	}
	for _, dir := range []string{fmt.Sprintf("/proc/self/fd/%d", leak), "/proc/1/cwd", "/proc/self/cwd/.."} {
		if _, err := i.Start(t.Context(), sandbox.Cmd{Args: []string{"true"}, Dir: dir}); err == nil {
			t.Errorf("%s is a working directory", dir)
		}
	}
}

// TestRestOfTheOutput: what a command had written when it ended is read, also when
// nobody could read for as long as others would be waited for.
func TestRestOfTheOutput(t *testing.T) {
	t.Parallel()
	p := process{instance: &instance{driver: &driver{}}}
	theirs, mine, err := p.pipe(true)
	if err != nil {
		t.Fatal(err)
	}
	want := bytes.Repeat([]byte("0123456789abcdef"), 50<<10/16) // less than a pipe holds
	if n, err := unix.Write(theirs, want); n != len(want) || err != nil {
		t.Fatal(n, err)
	}
	// The pipe stays open, as that of a command whose children went on.
	defer func() { _ = unix.Close(theirs) }()
	if err := mine.SetReadDeadline(time.Unix(1, 0)); err != nil {
		t.Fatal(err)
	}
	var got bytes.Buffer
	p.copy(&got, mine)
	if !bytes.Equal(got.Bytes(), want) {
		t.Errorf("%d bytes of %d", got.Len(), len(want))
	}
}

func TestLiveCloseEndsAll(t *testing.T) {
	before := goleak.IgnoreCurrent()
	files := openFiles(t)
	d := newDriver(t)
	d.spare = 1
	m := mark()
	for n := range 3 {
		i := create(t, d, sandbox.Spec{ID: fmt.Sprint("c", n)})
		if _, err := i.Start(t.Context(), sandbox.Cmd{Args: []string{"sleep", m}}); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "there is a spare", func() bool {
		d.mu.Lock()
		defer d.mu.Unlock()
		return len(d.spares) == 1
	})
	if err := d.Close(); err != nil {
		t.Error(err)
	}
	if left := marked(m); len(left) > 0 {
		t.Errorf("alive: %v", left)
	}
	if _, err := d.Create(t.Context(), sandbox.Spec{ID: "late"}); err == nil {
		t.Error("a closed driver made a sandbox")
	}
	if err := d.Close(); err != nil {
		t.Errorf("closing again: %v", err)
	}
	goleak.VerifyNone(t, before)
	if now := openFiles(t); now > files {
		t.Errorf("%d descriptors were open, now %d", files, now)
	}
}

// TestAsUser runs the live tests again without root.
func TestAsUser(t *testing.T) {
	if os.Geteuid() != 0 {
		return // this is that run, or nobody has to be told apart
	}
	const user = 1000
	dir, err := os.MkdirTemp("", "cairn-ns-user-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(exe)
	if err != nil {
		t.Fatal(err)
	}
	// The directory of test binaries is root's alone.
	mine := filepath.Join(dir, "ns.test")
	tmp := filepath.Join(dir, "tmp")
	if err := errors.Join(os.Chmod(dir, 0o755), os.WriteFile(mine, b, 0o755), os.Mkdir(tmp, 0o755), os.Chown(tmp, user, user)); err != nil {
		t.Fatal(err)
	}
	c := exec.CommandContext(t.Context(), mine, "-test.run=^TestLive", "-test.count=1", "-test.timeout=4m")
	c.Dir = tmp
	c.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + tmp, "TMPDIR=" + tmp}
	c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: user, Gid: user}, Pdeathsig: syscall.SIGKILL}
	runtime.LockOSThread() // it dies with the thread that starts it, not with the process
	defer runtime.UnlockOSThread()
	if out, err := c.CombinedOutput(); err != nil {
		t.Errorf("as user %d: %v\n%s", user, err, out)
	}
}
