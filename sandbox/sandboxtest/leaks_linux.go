package sandboxtest

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// traces is what of a sandbox could be left on the host. Only what belongs to
// this process is looked at: others work on the machine meanwhile. A network
// namespace lives as long as a process, a descriptor or a mount holds it, so
// it is covered by these.
type traces struct {
	pids      []int           // the numbers of processes
	processes map[string]bool // that descend from this one
	mounts    map[string]bool
	cgroups   map[string]bool
	open      map[string]bool // descriptors of this process
	spaces    map[string]bool // namespaces of its descendants
	temp      map[string]bool // entries of the suite's temporary directory
}

// foreign says whether a cgroup is that of another user, is named after a living
// process that does not descend from this one, or has such processes.
func foreign(dir string, ours []int) bool {
	var st unix.Stat_t
	if err := unix.Stat(dir, &st); err != nil || int(st.Uid) != os.Geteuid() {
		return true
	}
	for part := range strings.SplitSeq(filepath.Base(dir), "-") {
		if pid, err := strconv.Atoi(part); err == nil && pid != os.Getpid() && !slices.Contains(ours, pid) && unix.Kill(pid, 0) == nil {
			return true
		}
	}
	b, err := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
	if err != nil {
		return true // it is gone
	}
	for _, f := range strings.Fields(string(b)) {
		if pid, err := strconv.Atoi(f); err == nil && !slices.Contains(ours, pid) {
			return true
		}
	}
	return false
}

// adopt makes this process the parent of its orphaned descendants, so that none
// is lost sight of.
var adopt = sync.OnceValue(func() error { return unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) })

// look takes the traces there are now. No other test may run meanwhile.
func look(t *testing.T) traces {
	t.Helper()
	if err := adopt(); err != nil {
		t.Fatal(err)
	}
	tr := traces{
		processes: map[string]bool{}, mounts: map[string]bool{}, cgroups: map[string]bool{},
		open: map[string]bool{}, spaces: map[string]bool{}, temp: map[string]bool{},
	}
	tr.pids = descendants()
	for _, pid := range tr.pids {
		cmd, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		tr.processes[fmt.Sprintf("%d %.100q", pid, cmd)] = true
		for _, kind := range []string{"net", "mnt", "pid", "user", "ipc", "uts"} {
			if ns, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/%s", pid, kind)); err == nil {
				tr.spaces[ns] = true
			}
		}
	}
	b, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		if strings.Contains(line, "cairn") || strings.Contains(line, " overlay ") || strings.Contains(line, " proc ") {
			tr.mounts[line] = true
		}
	}
	_ = filepath.WalkDir("/sys/fs/cgroup", func(p string, d os.DirEntry, err error) error {
		if err == nil && d.IsDir() && !foreign(p, tr.pids) {
			tr.cgroups[p] = true
		}
		return nil // directories of others come and go
	})
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range fds {
		if to, err := os.Readlink("/proc/self/fd/" + f.Name()); err == nil {
			tr.open[f.Name()+" "+to] = true
		}
	}
	entries, err := os.ReadDir(os.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		// Each test removes the directories of its sessions at its end.
		if n := e.Name(); !strings.HasPrefix(n, boxPrefix) {
			tr.temp[n] = true
		}
	}
	return tr
}

// descendants lists all processes below this one, but zombies that a parent will
// still fetch. Orphans that ended are fetched here.
func descendants() []int {
	type proc struct {
		ppid  int
		state string
	}
	all := map[int]proc{}
	dirs, _ := filepath.Glob("/proc/[0-9]*") // the pattern is right
	for _, d := range dirs {
		b, err := os.ReadFile(d + "/stat")
		if err != nil {
			continue
		}
		text := string(b)
		f := strings.Fields(text[strings.LastIndexByte(text, ')')+1:])
		pid, err := strconv.Atoi(filepath.Base(d))
		if err != nil || len(f) < 2 {
			continue
		}
		ppid, err := strconv.Atoi(f[1])
		if err != nil {
			continue
		}
		all[pid] = proc{ppid, f[0]}
	}
	var below []int
	self := os.Getpid()
	for pid, p := range all {
		for up := pid; up > 1; up = all[up].ppid {
			if up == self && pid != self {
				if p.state != "Z" && p.state != "X" {
					below = append(below, pid)
				}
				break
			}
		}
	}
	slices.Sort(below)
	return below
}

// cmdlineHas says whether a process carries the mark in its arguments.
func cmdlineHas(pid int, mark string) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	return err == nil && strings.Contains(string(b), mark)
}

// same wants the traces to be as they were, sooner or later: the kernel gives
// back network namespaces and cgroups after the process is gone, and says
// nothing when it has.
func (tr traces) same(t *testing.T) {
	t.Helper()
	var left []string
	before := tr
	tries := 0
	eventually(t, "everything is as it was", func() bool {
		now := look(t)
		fresh := slices.Concat(
			extra("process", before.processes, now.processes), extra("mount", before.mounts, now.mounts),
			extra("cgroup", before.cgroups, now.cgroups), extra("descriptor", before.open, now.open),
			extra("namespace", before.spaces, now.spaces), extra("temporary file", before.temp, now.temp))
		if left == nil && tries == 0 {
			left = fresh
		}
		// What is new now and was not before belongs to others; what stays is left.
		left = slices.DeleteFunc(left, func(s string) bool { return !slices.Contains(fresh, s) })
		tries++
		if tries%400 == 0 {
			t.Logf("still there: %v", left)
		}
		return len(left) == 0
	})
}

func extra(kind string, before, now map[string]bool) []string {
	var all []string
	for k := range now {
		if !before[k] {
			all = append(all, kind+" "+k)
		}
	}
	return all
}
