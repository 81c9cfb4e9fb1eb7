//go:build linux && (amd64 || arm64)

package boot

import (
	"errors"
	"fmt"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cairn-run/cairn/sandbox/ns/jail"
	"github.com/cairn-run/cairn/sandbox/ns/wire"
)

// maxCommands bounds the commands that are remembered at once: those that run,
// and detached ones with processes that are alive.
const maxCommands = 1024

// command is one command and the processes it started. They are told from others
// by their UTS namespace: each command gets its own, its children inherit it,
// and no process here can make or enter another. Sessions, groups and parents,
// which a process can change, do not matter.
type command struct {
	id       uint64
	pid      int    // of its first process; 0: it was reaped
	tag      uint64 // inode of the namespace
	hold     int    // descriptor of the namespace, so that its inode is not used again
	detached bool
}

// commands are the commands of an instance.
type commands struct {
	conn *wire.Conn
	jail *jail.Jail
	// tasks are of the cgroups that limit commands. Init stays outside: it can kill when
	// nothing else can be started, and is not what is killed for want of memory.
	tasks []int
	// max is what the watcher holds; zero: it does not.
	maxMemory    int64
	maxProcesses int
	// processes is the limit, and userProcs says that the kernel can hold it.
	processes int
	userProcs bool

	mu     sync.Mutex
	byPID  map[int]*command
	byID   map[uint64]*command
	cpu    time.Duration // of processes that were reaped
	peak   int64         // of memory, as the watcher saw it
	reaped chan struct{} // closed and replaced when a process was reaped

	kick chan struct{} // a process was started

	// Of the watcher alone:
	ticks  int
	hidden int64 // bytes of files in memory that no directory shows
	// inSockets are files in memory whose descriptors are under way.
	inSockets Hidden
}

func newCommands(i *initd) *commands {
	c := &commands{
		conn: i.conn, jail: &i.jail, tasks: i.tasks, maxMemory: i.build.Memory,
		processes: i.build.Processes, userProcs: i.build.UserProcs,
		byPID: map[int]*command{}, byID: map[uint64]*command{}, reaped: make(chan struct{}),
		kick: make(chan struct{}, 1),
	}
	if i.build.WatchProcesses {
		c.maxProcesses = i.build.Processes
	}
	go c.reap()
	return c
}

// start starts a command. The descriptors are those of its stdio, and closed. Its
// thread is always the same, and enters a new namespace for each command.
func (c *commands) start(s *wire.Start, fds []int) (int, error) {
	null, err := unix.Open("/dev/null", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		wire.CloseAll(fds)
		return 0, fmt.Errorf("open /dev/null: %w", err)
	}
	given := fds
	defer func() { wire.CloseAll(append(given, null)) }()
	var stdio [3]int
	for n, there := range s.Stdio {
		stdio[n] = null
		if there {
			if len(fds) == 0 {
				return 0, errors.New("a descriptor of stdio is missing")
			}
			stdio[n], fds = fds[0], fds[1:]
		}
	}
	return c.fork(s, stdio)
}

func (c *commands) fork(s *wire.Start, stdio [3]int) (int, error) {
	args, env, dir := s.Args.Words(), s.Env.Words(), string(s.Dir)
	if len(args) == 0 {
		return 0, fmt.Errorf("a command without words: %w", unix.EINVAL)
	}
	program, err := find(args[0], dir, env)
	if err != nil {
		return 0, err
	}
	at, err := enterable(dir)
	if err != nil {
		return 0, err
	}
	defer func() { _ = unix.Close(at) }()
	if err := unix.Unshare(unix.CLONE_NEWUTS); err != nil {
		return 0, fmt.Errorf("mark the command: %w", err)
	}
	hold, err := unix.Open("/proc/thread-self/ns/uts", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return 0, fmt.Errorf("open the mark of the command: %w", err)
	}
	var st unix.Stat_t
	if err := unix.Fstat(hold, &st); err != nil {
		_ = unix.Close(hold)
		return 0, fmt.Errorf("read the mark of the command: %w", err)
	}
	c.mu.Lock() // reaping waits until the process has been entered
	defer c.mu.Unlock()
	c.forget()
	if len(c.byID) >= maxCommands {
		_ = unix.Close(hold)
		return 0, fmt.Errorf("there are %d commands: kill one first: %w", len(c.byID), unix.EAGAIN)
	}
	j := *c.jail
	if c.userProcs { // the kernel counts init's threads, too
		j.Limits = append(slices.Clip(j.Limits), jail.Limit{Resource: unix.RLIMIT_NPROC, Value: uint64(c.processes + threads())})
	}
	pid, err := j.Start(jail.Command{Path: program, Args: args, Env: env, Dir: at, Tasks: c.tasks, Stdio: stdio})
	if pid != 0 { // also what could not exec has to be reaped
		select {
		case c.kick <- struct{}{}:
		default:
		}
	}
	if err != nil {
		_ = unix.Close(hold)
		return 0, err
	}
	m := &command{id: s.ID, pid: pid, tag: st.Ino, hold: hold, detached: s.Detached}
	c.byPID[pid], c.byID[m.id] = m, m
	return pid, nil
}

// enterable opens a working directory. Descriptors of this process, which /proc
// shows as links, are no way to one.
func enterable(dir string) (int, error) {
	fd, err := unix.Openat2(unix.AT_FDCWD, dir, &unix.OpenHow{
		Flags: unix.O_PATH | unix.O_DIRECTORY | unix.O_CLOEXEC, Resolve: unix.RESOLVE_NO_MAGICLINKS,
	})
	if err != nil {
		return -1, fmt.Errorf("working directory: %w", err)
	}
	return fd, nil
}

// threads is how many there are of init.
func threads() int {
	d, err := os.Open("/proc/self/task")
	if err != nil {
		return 0
	}
	defer func() { _ = d.Close() }()
	names, err := d.Readdirnames(-1)
	if err != nil {
		return 0
	}
	return len(names)
}

// forget drops detached commands of which nothing is alive, when there are many.
func (c *commands) forget() {
	if len(c.byID) < maxCommands/2 {
		return
	}
	alive, sure, err := tags()
	if err != nil || !sure {
		return
	}
	for id, m := range c.byID {
		if m.pid == 0 && m.detached && !alive[m.tag] {
			_ = unix.Close(m.hold)
			delete(c.byID, id)
		}
	}
}

// find looks a program up as execvp(3) does, with the PATH of the command.
func find(name, dir string, env []string) (string, error) {
	if strings.Contains(name, "/") {
		return name, nil
	}
	var list string
	for _, e := range env {
		if v, ok := strings.CutPrefix(e, "PATH="); ok {
			list = v
		}
	}
	found := error(unix.ENOENT)
	for d := range strings.SplitSeq(list, ":") {
		if d == "" {
			d = "."
		}
		if !path.IsAbs(d) {
			d = path.Join(dir, d)
		}
		p := path.Join(d, name)
		var st unix.Stat_t
		if err := unix.Stat(p, &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFREG {
			continue
		}
		if st.Mode&0o111 == 0 {
			found = unix.EACCES
			continue
		}
		return p, nil
	}
	return "", fmt.Errorf("find %s: %w", name, found)
}

// reap waits for all processes: the commands, and what they left to init.
func (c *commands) reap() {
	for range c.kick {
		for {
			var status syscall.WaitStatus
			var used syscall.Rusage
			pid, err := syscall.Wait4(-1, &status, 0, &used)
			if errors.Is(err, syscall.EINTR) {
				continue
			}
			if err != nil { // ECHILD: nothing is alive
				c.progress()
				break
			}
			c.ended(pid, status, &used)
			c.progress()
		}
	}
}

// progress wakes those who wait for processes to be gone.
func (c *commands) progress() {
	c.mu.Lock()
	close(c.reaped)
	c.reaped = make(chan struct{})
	c.mu.Unlock()
}

func (c *commands) ended(pid int, status syscall.WaitStatus, used *syscall.Rusage) {
	cpu := time.Duration(used.Utime.Nano() + used.Stime.Nano())
	c.mu.Lock()
	c.cpu += cpu
	m := c.byPID[pid]
	delete(c.byPID, pid)
	if m != nil {
		m.pid = 0
	}
	c.mu.Unlock()
	if m == nil {
		return
	}
	exit := &wire.Exit{ID: m.id, Status: uint32(status), CPU: int64(cpu), MaxRSS: used.Maxrss << 10}
	if m.detached { // what it left lives on, and can be killed with it
		_ = c.conn.Send(wire.Reply{Exit: exit})
		return
	}
	finish := func() {
		left, err := c.clear(m)
		if err != nil {
			fatal(c.conn, err)
		}
		exit.Left = left
		c.drop(m)
		_ = c.conn.Send(wire.Reply{Exit: exit})
	}
	if none() { // the usual end: it does not wait, and reaping may
		finish()
		return
	}
	go finish()
}

// drop forgets a command of which nothing is alive.
func (c *commands) drop(m *command) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.byID[m.id] == m {
		delete(c.byID, m.id)
		_ = unix.Close(m.hold)
	}
}

// usage is the time of processors of all processes, and the peak of memory.
func (c *commands) usage() (cpu, peak int64) {
	all, err := pids()
	if err != nil {
		all = nil // what was reaped is known
	}
	var ticks int64
	for _, pid := range all {
		if b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat"); err == nil {
			ticks += parseTicks(b)
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return int64(c.cpu) + ticks*int64(time.Second/userHz), c.peak
}
