//go:build linux && (amd64 || arm64)

package boot

import (
	"bytes"
	"os"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cairn-run/cairn/sandbox/ns/wire"
)

// tick is how often memory and processes are looked at where no cgroup holds
// them. A process can fill its limit several times over in this time; the kernel
// then kills it before others, by its oom_score_adj.
const tick = 50 * time.Millisecond

// scans is every how many ticks descriptors are looked at, which is slow.
const scans = 4

// watch ends the instance when it uses too much.
func (c *commands) watch() {
	if c.maxMemory == 0 && c.maxProcesses == 0 {
		return
	}
	for range time.Tick(tick) {
		if none() {
			continue
		}
		b, err := c.look()
		if err != nil {
			fatal(c.conn, err)
		}
		if b != nil {
			_ = c.conn.Send(wire.Reply{Breach: b})
			os.Exit(1)
		}
	}
}

// look compares what is used with the limits.
func (c *commands) look() (*wire.Breach, error) {
	all, err := pids()
	if err != nil {
		return nil, err
	}
	if c.maxProcesses > 0 && len(all) > c.maxProcesses {
		return &wire.Breach{Limit: "processes", Used: int64(len(all)), Max: int64(c.maxProcesses)}, nil
	}
	if c.maxMemory == 0 {
		return nil, nil
	}
	if c.ticks++; c.ticks%scans == 1 {
		_, files := unnamed(all)
		c.hidden = files + segments()
		sockets, _ := hiding(all)
		c.hidden += c.inSockets.Count(-shmem(), c.hidden+tmpfs(), sockets)
	}
	files := tmpfs() + c.hidden
	used := files + resident(all)
	if used > c.maxMemory { // shared pages were counted for each process, files twice
		anon, shared := proportional(all)
		used = anon + max(files, shared)
	}
	c.mu.Lock()
	c.peak = max(c.peak, used)
	c.mu.Unlock()
	if used > c.maxMemory {
		return &wire.Breach{Limit: "memory", Used: used, Max: c.maxMemory}, nil
	}
	return nil, nil
}

// memoryTrees are where a tmpfs may be.
var memoryTrees = []string{"/dev/shm", "/tmp"}

// tmpfs is how many bytes files in memory take.
func tmpfs() int64 {
	var sum int64
	for _, p := range memoryTrees {
		var st unix.Statfs_t
		if err := unix.Statfs(p, &st); err == nil && st.Type == unix.TMPFS_MAGIC {
			sum += int64(st.Blocks-st.Bfree) * st.Bsize
		}
	}
	return sum
}

// resident sums the resident memory of processes: a cheap upper bound of what is
// theirs, with pages of files that could be dropped.
func resident(pids []int) int64 {
	var pages int64
	for _, pid := range pids {
		dir, _ := home(pid)
		if b, err := os.ReadFile(dir + "/statm"); err == nil {
			pages += parseStatm(b)
		}
	}
	return pages * int64(os.Getpagesize())
}

// parseStatm is the resident pages of /proc/PID/statm (proc_pid_statm(5)).
func parseStatm(b []byte) int64 {
	f := bytes.Fields(b)
	if len(f) < 2 {
		return 0
	}
	n, err := strconv.ParseInt(string(f[1]), 10, 64)
	if err != nil || n < 0 || n > 1<<40 {
		return 0
	}
	return n
}

// proportional sums the anonymous and the shared memory of processes, each page
// that n processes have counting a n-th.
func proportional(pids []int) (anon, shared int64) {
	for _, pid := range pids {
		dir, _ := home(pid)
		if b, err := os.ReadFile(dir + "/smaps_rollup"); err == nil {
			a, s := parseRollup(b)
			anon, shared = anon+a, shared+s
		}
	}
	return anon, shared
}

// parseRollup is Pss_Anon and Pss_Shmem of /proc/PID/smaps_rollup, in bytes.
func parseRollup(b []byte) (anon, shared int64) {
	for line := range bytes.Lines(b) {
		f := bytes.Fields(line)
		if len(f) != 3 {
			continue
		}
		n, err := strconv.ParseInt(string(f[1]), 10, 64)
		if err != nil || n < 0 || n > 1<<40 {
			continue
		}
		switch string(f[0]) {
		case "Pss_Anon:":
			anon = n << 10
		case "Pss_Shmem:":
			shared = n << 10
		}
	}
	return anon, shared
}

// segments is what System V shared memory takes, attached or not.
func segments() int64 {
	b, err := os.ReadFile("/proc/sysvipc/shm")
	if err != nil {
		return 0 // a kernel without it
	}
	return parseSegments(b)
}

// parseSegments sums the column "rss" of /proc/sysvipc/shm, in bytes.
func parseSegments(b []byte) int64 {
	var sum int64
	column := -1
	for line := range bytes.Lines(b) {
		f := bytes.Fields(line)
		if column < 0 {
			column = slices.IndexFunc(f, func(name []byte) bool { return string(name) == "rss" })
			if column < 0 {
				return 0
			}
			continue
		}
		if column < len(f) {
			if n, err := strconv.ParseInt(string(f[column]), 10, 64); err == nil && n > 0 && n < 1<<50 {
				sum += n
			}
		}
	}
	return sum
}

// unnamed sums files without a name that processes have open, on disk and in
// memory (memfd_create(2), deleted files of a tmpfs).
func unnamed(pids []int) (disk, memory int64) {
	type file struct{ dev, ino uint64 }
	seen := map[file]bool{}
	counted := map[uint64]bool{} // file systems of which tmpfs knows
	for _, p := range memoryTrees {
		var st unix.Stat_t
		if unix.Stat(p, &st) == nil {
			counted[st.Dev] = true
		}
	}
	for _, pid := range pids {
		dir, _ := home(pid)
		dir += "/fd"
		d, err := os.Open(dir)
		if err != nil {
			continue // it ended
		}
		names, err := d.Readdirnames(-1)
		_ = d.Close()
		if err != nil {
			continue // it ended meanwhile
		}
		for _, n := range names {
			var st unix.Stat_t
			var fs unix.Statfs_t
			p := dir + "/" + n
			if unix.Stat(p, &st) != nil || st.Nlink != 0 || st.Mode&unix.S_IFMT != unix.S_IFREG || unix.Statfs(p, &fs) != nil {
				continue
			}
			if f := (file{st.Dev, st.Ino}); !seen[f] {
				seen[f] = true
				switch {
				case fs.Type != unix.TMPFS_MAGIC:
					disk += st.Blocks * 512
				case !counted[st.Dev]:
					memory += st.Blocks * 512
				}
			}
		}
	}
	return disk, memory
}
