//go:build linux && (amd64 || arm64)

package ns

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// place is where the cgroup of this process is in a hierarchy.
type place struct {
	v2          bool
	controllers []string
	top, dir    string
}

// findPlaces reads /proc/self/mountinfo and /proc/self/cgroup (cgroups(7),
// proc_pid_mountinfo(5)). A hierarchy that is mounted without the cgroup of this
// process is left out.
func findPlaces(mountinfo, self string) []place {
	paths := map[string]string{} // by the controllers' list; "" is version 2
	for line := range strings.Lines(self) {
		f := strings.SplitN(strings.TrimSuffix(line, "\n"), ":", 3)
		if len(f) == 3 {
			paths[f[1]] = f[2]
		}
	}
	var all []place
	for line := range strings.Lines(mountinfo) {
		before, after, ok := strings.Cut(strings.TrimSuffix(line, "\n"), " - ")
		f, g := strings.Fields(before), strings.Fields(after)
		if !ok || len(f) < 5 || len(g) < 3 {
			continue
		}
		root, at := unescape(f[3]), unescape(f[4])
		p := place{top: at}
		var own string
		switch g[0] {
		case "cgroup2":
			p.v2 = true
			own, ok = paths[""]
		case "cgroup":
			ok = false
			for list, path := range paths {
				have := strings.Split(list, ",")
				if list != "" && slices.ContainsFunc(strings.Split(g[2], ","), func(o string) bool { return slices.Contains(have, o) }) {
					p.controllers, own, ok = have, path, true
				}
			}
		default:
			continue
		}
		below, err := filepath.Rel(root, own)
		if !ok || err != nil || below == ".." || strings.HasPrefix(below, "../") {
			continue
		}
		p.dir = filepath.Join(at, below)
		if !slices.ContainsFunc(all, func(q place) bool { return q.v2 == p.v2 && slices.Equal(q.controllers, p.controllers) }) {
			all = append(all, p)
		}
	}
	return all
}

// unescape undoes the octal numbers that stand for space, tab, newline and
// backslash.
func unescape(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(n))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

const prefix = "cairn-"

// ownName names the directories of this driver by this process, so that what is
// left by a dead one can be told: its process namespace, id and start time, and
// a number for each driver.
func ownName() (string, error) {
	var st unix.Stat_t
	if err := unix.Stat("/proc/self/ns/pid", &st); err != nil {
		return "", fmt.Errorf("find out the process namespace: %w (is /proc mounted?)", err)
	}
	started, ok := startTime(os.Getpid())
	if !ok {
		return "", fmt.Errorf("find out when this process was started: /proc/self/stat cannot be read")
	}
	return fmt.Sprintf("%s%d-%d-%d-%d", prefix, st.Ino, os.Getpid(), started, drivers.Add(1)), nil
}

// startTime is when a process was started, in ticks since the boot.
func startTime(pid int) (uint64, bool) {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0, false
	}
	return parseStart(b)
}

// parseStart reads field 22 of proc_pid_stat(5), the 20th after the name.
func parseStart(stat []byte) (uint64, bool) {
	end := bytes.LastIndexByte(stat, ')')
	if end < 0 {
		return 0, false
	}
	f := bytes.Fields(stat[end+1:])
	if len(f) < 20 {
		return 0, false
	}
	n, err := strconv.ParseUint(string(f[19]), 10, 64)
	return n, err == nil
}

// stale says whether a name is of a process of this namespace that is dead.
func stale(name string, namespace uint64, started func(pid int) (uint64, bool)) bool {
	rest, ok := strings.CutPrefix(name, prefix)
	f := strings.Split(strings.TrimSuffix(rest, "-daemon"), "-")
	if !ok || len(f) != 4 {
		return false
	}
	var n [4]uint64
	for i := range f {
		var err error
		if n[i], err = strconv.ParseUint(f[i], 10, 64); err != nil {
			return false
		}
	}
	if n[0] != namespace || n[1] > 1<<30 {
		return false
	}
	at, alive := started(int(n[1]))
	return !alive || at != n[2]
}

// sweep removes what dead processes have left below a cgroup. Their instances died
// with them; should one be left, it is killed.
func (g *groups) sweep(base string) {
	var st unix.Stat_t
	if err := unix.Stat("/proc/self/ns/pid", &st); err != nil {
		return
	}
	entries, err := os.ReadDir(base)
	if err != nil {
		return
	}
	for _, e := range entries {
		if !e.IsDir() || !stale(e.Name(), st.Ino, startTime) {
			continue
		}
		dir := filepath.Join(base, e.Name())
		killBelow(dir)
		if err := removeAll(dir); err != nil {
			g.log.Warn("a cgroup of a dead process is left", "error", err)
		}
	}
}

// killBelow kills what is in the cgroups below a directory.
func killBelow(dir string) {
	_ = filepath.WalkDir(dir, func(p string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() || e.Name() != "cgroup.procs" {
			return nil //nolint:nilerr // what cannot be read is left to the removal, which reports it
		}
		for _, thaw := range [][2]string{{"cgroup.freeze", "0"}, {"freezer.state", "THAWED"}} {
			_ = write(filepath.Dir(p), thaw[0], thaw[1])
		}
		b, err := os.ReadFile(p)
		if err != nil {
			return nil //nolint:nilerr // as above
		}
		for _, f := range strings.Fields(string(b)) {
			if pid, err := strconv.Atoi(f); err == nil && pid > 1 {
				_ = unix.Kill(pid, unix.SIGKILL)
			}
		}
		return nil
	})
}
