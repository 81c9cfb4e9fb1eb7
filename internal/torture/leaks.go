package torture

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Bounds of what a runtime at rest may hold.
const (
	// restTime bounds how long it may take until nothing of the last calls is alive.
	restTime = 10 * time.Second
	// maxDescriptors is more than a runtime needs that has served any number of
	// sessions: its files, sockets and the connections of the crowd.
	maxDescriptors = 120
)

// as makes the victim who it is to be.
func (o *Options) as(cmd *exec.Cmd) {
	cmd.Env = append(cmd.Env, "TMPDIR="+o.temp())
	if o.UID != 0 {
		cmd.SysProcAttr = credential(o.UID, o.GID)
	}
}

// temp is where the victim has its temporary files.
func (o *Options) temp() string { return filepath.Join(o.Dir, "tmp") }

// traces are what sandboxes leave on a machine when they leave something.
type traces struct {
	mounts  map[string]bool // lines of this process' mountinfo
	cgroups map[string]bool // directories
}

// prepare gives the victim its directories.
func (o *Options) prepare(data string) (*traces, error) {
	for _, dir := range []string{o.Dir, data, o.temp()} {
		if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // the victim may be another user
			return nil, err
		}
		if o.UID == 0 {
			continue
		}
		if err := os.Chown(dir, o.UID, o.GID); err != nil {
			return nil, err
		}
	}
	return look()
}

// look looks at what there is.
func look() (*traces, error) {
	t := &traces{mounts: map[string]bool{}, cgroups: map[string]bool{}}
	b, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(string(b)) {
		t.mounts[strings.TrimSpace(line)] = true
	}
	err = filepath.WalkDir("/sys/fs/cgroup", func(p string, e fs.DirEntry, err error) error {
		if err != nil { // others remove theirs meanwhile
			return nil //nolint:nilerr // what is gone is no trace
		}
		if e.IsDir() {
			t.cgroups[p] = true
		}
		return nil
	})
	return t, err
}

// rest is what a runtime holds that has nothing to do, and how its processes ended.
type rest struct {
	descriptors int
	outlived    time.Duration // the longest that a process outlived its runtime
}

// leaks looks at a victim that has nothing to do, stops it in good order, and then
// looks for anything that is left of it and of all those that were killed.
func (k *killer) leaks(ctx context.Context, before *traces, violate func(string, ...any)) (r rest, err error) {
	pid := k.proc.Pid
	var alive []process
	for end := time.Now().Add(restTime); ; { // the kernel gives no signal for the end of a process' descendants
		if alive, err = below(pid); err != nil {
			return r, err
		}
		alive = slices.DeleteFunc(alive, func(p process) bool { return p.name == forkdName })
		if len(alive) == 1 && alive[0].name == initName {
			alive = nil // the spare one, in which nothing runs
		}
		if len(alive) == 0 || time.Now().After(end) || ctx.Err() != nil {
			break
		}
		wait(ctx, 50*time.Millisecond)
	}
	for _, p := range alive {
		violate("at rest, the runtime has the process %s (%d)", p.name, p.pid)
	}
	if r.descriptors, err = k.descriptors(pid, violate); err != nil {
		return r, err
	}
	if err := k.proc.Signal(syscall.SIGTERM); err != nil {
		return r, err
	}
	t := time.NewTimer(restTime + 10*time.Second)
	defer t.Stop()
	select {
	case <-k.done:
	case <-t.C:
		violate("the runtime does not stop when it is asked to")
	}
	for i, l := range k.lives {
		if l == k.life {
			k.end()
		}
		select {
		case <-l.gone:
		case <-time.After(restTime + 10*time.Second):
			return r, fmt.Errorf("torture: the warden of life %d does not end", i)
		}
		for _, p := range l.left {
			violate("process %s outlived life %d of the runtime", p, i)
		}
		r.outlived = max(r.outlived, l.after)
	}
	after, err := look()
	if err != nil {
		return r, err
	}
	for m := range after.mounts {
		if !before.mounts[m] && strings.Contains(m, k.o.Dir) {
			violate("a mount is left: %s", m)
		}
	}
	for c := range after.cgroups {
		if !before.cgroups[c] && k.made(filepath.Base(c)) {
			violate("a cgroup is left: %s", c)
		}
	}
	return r, k.litter(violate)
}

// made says whether a cgroup is of one of the lives: its name has the number of the
// process.
func (k *killer) made(name string) bool {
	return slices.ContainsFunc(k.lives, func(l *life) bool {
		return slices.Contains(strings.Split(name, "-"), strconv.Itoa(l.proc.Pid))
	})
}

// descriptors counts what the runtime has open, and looks for what it should not.
func (k *killer) descriptors(pid int, violate func(string, ...any)) (int, error) {
	dir := filepath.Join("/proc", strconv.Itoa(pid), "fd")
	fds, err := os.ReadDir(dir)
	if err != nil {
		return 0, err
	}
	for _, fd := range fds {
		target, err := os.Readlink(filepath.Join(dir, fd.Name()))
		if err != nil {
			continue // closed meanwhile
		}
		for _, bad := range []string{"mnt:[", "user:[", "pid:[", "net:[", filepath.Join(k.o.Dir, "data", "workspaces") + "/t/"} {
			if strings.HasPrefix(target, bad) {
				violate("at rest, the runtime has %s open", target)
			}
		}
	}
	if len(fds) > maxDescriptors {
		violate("at rest, the runtime has %d descriptors", len(fds))
	}
	return len(fds), nil
}

// litter looks for files that nobody will ask for again.
func (k *killer) litter(violate func(string, ...any)) error {
	data := filepath.Join(k.o.Dir, "data")
	for _, pattern := range []string{
		filepath.Join(k.o.temp(), "*"), filepath.Join(data, "tmp", "*"), filepath.Join(data, "workspaces", "tmp", "*"),
		filepath.Join(data, "skills", "new-*"),
	} {
		left, err := filepath.Glob(pattern)
		if err != nil {
			return err
		}
		for _, p := range left {
			violate("a temporary file is left: %s", p)
		}
	}
	return nil
}

// Names of the runtime's helpers, as the kernel has them.
const (
	forkdName = "cairn-forkd"
	initName  = "cairn-init"
)

// process is one below the victim.
type process struct {
	pid, parent int
	name        string // its first argument, or what the kernel calls it
}

// below lists all processes that descend from pid.
func below(pid int) ([]process, error) {
	dirs, err := filepath.Glob("/proc/[1-9]*")
	if err != nil {
		return nil, err
	}
	kids := map[int][]process{}
	for _, d := range dirs {
		p, ok := look1(d)
		if ok {
			kids[p.parent] = append(kids[p.parent], p)
		}
	}
	var out []process
	for next := []int{pid}; len(next) > 0; next = next[1:] {
		for _, p := range kids[next[0]] {
			out = append(out, p)
			next = append(next, p.pid)
		}
	}
	return out, nil
}

// look1 reads one process; not ok: it has ended.
func look1(dir string) (process, bool) {
	b, err := os.ReadFile(filepath.Join(dir, "stat"))
	if err != nil {
		return process{}, false
	}
	open, end := bytes.IndexByte(b, '('), bytes.LastIndexByte(b, ')')
	if open < 0 || end < open {
		return process{}, false
	}
	f := strings.Fields(string(b[end+1:]))
	if len(f) < 2 || f[0] == "Z" {
		return process{}, false
	}
	p := process{name: string(b[open+1 : end])}
	p.pid, _ = strconv.Atoi(filepath.Base(dir)) // the kernel's numbers
	p.parent, _ = strconv.Atoi(f[1])
	if f, err := os.Open(filepath.Join(dir, "cmdline")); err == nil {
		arg, _ := bufio.NewReader(f).ReadString(0) // what is not there is not its name
		_ = f.Close()
		if arg = strings.TrimSuffix(arg, "\x00"); arg != "" {
			p.name = filepath.Base(arg)
		}
	}
	return p, true
}

// strikeHelpers kills helpers of the runtime, which has to go on: the one that
// makes sandboxes, and first processes of sandboxes, when there are any.
func (k *killer) strikeHelpers(ctx context.Context) error {
	for range 1 + k.rng.IntN(2) {
		name := initName
		if k.rng.IntN(3) == 0 {
			name = forkdName
		}
		wait(ctx, time.Duration(10+k.rng.IntN(120))*time.Millisecond)
		for range 40 { // a sandbox lives for a moment
			killed, err := k.strikeHelper(name)
			if err != nil {
				return err
			}
			if killed {
				k.helpers[name]++
				break
			}
			wait(ctx, 3*time.Millisecond)
		}
	}
	return nil
}

func (k *killer) strikeHelper(name string) (bool, error) {
	all, err := below(k.proc.Pid)
	if err != nil {
		return false, err
	}
	// A process that has just been forked has the name of its parent: only the
	// runtime's child is the helper, and only the helper's child a first process. To kill
	// a command is another thing: it has a result, and that is recorded.
	parents := map[int]bool{k.proc.Pid: true}
	if name == initName {
		clear(parents)
		for _, p := range all {
			if p.name == forkdName && p.parent == k.proc.Pid {
				parents[p.pid] = true
			}
		}
	}
	all = slices.DeleteFunc(all, func(p process) bool { return p.name != name || !parents[p.parent] })
	if len(all) == 0 {
		return false, nil
	}
	p := all[k.rng.IntN(len(all))]
	target, err := os.FindProcess(p.pid) // by descriptor
	if err != nil {
		return false, nil // it has ended
	}
	defer func() { _ = target.Release() }()
	// Still the same, or another with its number?
	if now, ok := look1(filepath.Join("/proc", strconv.Itoa(p.pid))); !ok || now != p {
		return false, nil
	}
	return target.Kill() == nil, nil
}
