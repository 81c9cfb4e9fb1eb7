//go:build linux && (amd64 || arm64)

package boot

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// lost is what files on disk take that have no name any more but are open, which
// looking at the directory does not find; and how many descriptors and mappings there
// are whose files cannot be looked at, see [hiding].
func lost() (bytes int64, hidden int, err error) {
	all, err := pids()
	if err != nil {
		return 0, 0, err
	}
	bytes, _ = unnamed(all)
	sockets, mappings := hiding(all)
	return bytes, sockets + mappings, nil
}

// Hidden is what of a store, a file system or the memory of the machine, went while
// files could be hidden: in mappings or in sockets, where nobody can measure
// them. Then, and only then, what the store lost counts, whoever took it.
type Hidden struct {
	begun bool
	free  int64 // bytes of the store when there was no hiding place
	known int64 // bytes that were seen in use then
}

// Count returns how many bytes may be hidden, of a store with so many bytes free,
// when so many are known to be used.
func (h *Hidden) Count(free, known int64, places int) int64 {
	if places == 0 || !h.begun {
		h.begun, h.free, h.known = true, free, known
		return 0
	}
	return max(h.free-free-(known-h.known), 0)
}

// shmem is what files in memory and shared memory take on the whole machine.
func shmem() int64 {
	b, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0
	}
	return parseShmem(b)
}

// parseShmem is the line Shmem of /proc/meminfo, in bytes.
func parseShmem(b []byte) int64 {
	for line := range bytes.Lines(b) {
		f := bytes.Fields(line)
		if len(f) == 3 && string(f[0]) == "Shmem:" {
			n, err := strconv.ParseInt(string(f[1]), 10, 64)
			if err != nil || n < 0 || n > 1<<40 {
				return 0
			}
			return n << 10
		}
	}
	return 0
}

// hiding counts where files of the disk can be kept without a name and without a
// descriptor: descriptors that are under way in a local socket, and mappings of
// deleted files.
func hiding(pids []int) (sockets, mappings int) {
	var st unix.Stat_t
	if err := unix.Stat("/", &st); err != nil {
		return 0, 0
	}
	device := fmt.Sprintf("%02x:%02x", unix.Major(st.Dev), unix.Minor(st.Dev))
	for _, pid := range pids {
		dir, _ := home(pid)
		if b, err := os.ReadFile(dir + "/maps"); err == nil {
			mappings += parseMaps(b, device)
		}
		d, err := os.Open(dir + "/fd")
		if err != nil {
			continue // it ended
		}
		names, err := d.Readdirnames(-1)
		_ = d.Close()
		if err != nil {
			continue // it ended meanwhile
		}
		for _, name := range names {
			if to, err := os.Readlink(dir + "/fd/" + name); err != nil || !strings.HasPrefix(to, "socket:") {
				continue
			}
			if b, err := os.ReadFile(dir + "/fdinfo/" + name); err == nil {
				sockets += parseUnderWay(b)
			}
		}
	}
	return sockets, mappings
}

// parseMaps counts the mappings of deleted files of a device in /proc/PID/maps
// (proc_pid_maps(5)).
func parseMaps(b []byte, device string) int {
	n := 0
	for line := range bytes.Lines(b) {
		line = bytes.TrimSuffix(line, []byte("\n"))
		f := bytes.Fields(line)
		if len(f) >= 6 && string(f[3]) == device && bytes.HasSuffix(line, []byte(" (deleted)")) {
			n++
		}
	}
	return n
}

// parseUnderWay is the line scm_fds of /proc/PID/fdinfo/FD of a local socket.
func parseUnderWay(b []byte) int {
	for line := range bytes.Lines(b) {
		if v, ok := bytes.CutPrefix(line, []byte("scm_fds:")); ok {
			n, err := strconv.Atoi(string(bytes.TrimSpace(v)))
			if err != nil || n < 0 || n > 1<<20 {
				return 0
			}
			return n
		}
	}
	return 0
}
