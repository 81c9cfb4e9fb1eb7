//go:build linux && (amd64 || arm64)

package boot

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cairn-run/cairn/sandbox/ns/wire"
)

const (
	// maxNamed bounds the processes that are named in a reply.
	maxNamed = 256
	// maxCommand is how much of the arguments of a process is named, in bytes.
	maxCommand = 200
	// glance is how long a process without arguments is given to get some, and
	// maxGlances how often in one list: execve(2) closes descriptors, by which a start
	// is known, before it sets the arguments.
	glance     = time.Millisecond
	maxGlances = 20
)

// proc is a process of the instance that was seen in /proc.
type proc struct {
	pid             int
	tag             uint64 // 0: it cannot be read
	stopped, zombie bool
}

// pids lists the processes of the instance without init.
func pids() ([]int, error) {
	d, err := os.Open("/proc")
	if err != nil {
		return nil, fmt.Errorf("list the processes: %w", err)
	}
	defer func() { _ = d.Close() }()
	names, err := d.Readdirnames(-1)
	if err != nil {
		return nil, fmt.Errorf("list the processes: %w", err)
	}
	var all []int
	for _, n := range names {
		if pid, err := strconv.Atoi(n); err == nil && pid > 1 {
			all = append(all, pid)
		}
	}
	return all, nil
}

// scan lists the processes with a mark, or all for 0. One whose mark cannot be
// read, which is one that ended or runs a program it may not read, counts to
// every mark: nothing may survive by hiding its own.
func scan(tag uint64) ([]proc, error) {
	all, err := pids()
	if err != nil {
		return nil, err
	}
	var procs []proc
	for _, pid := range all {
		p := proc{pid: pid}
		dir, was := home(pid)
		switch was {
		case 0: // gone
			continue
		case 'T', 't':
			p.stopped = true
		case 'Z', 'X':
			p.zombie = true
		}
		p.tag = mark(dir)
		if tag != 0 {
			if p.zombie && p.tag == 0 || p.tag != 0 && p.tag != tag {
				// A dead process has lost its mark; who has to reap it is alive and has it,
				// or is init.
				continue
			}
		}
		procs = append(procs, p)
	}
	return procs, nil
}

// lastPID is the process id that was given last, to a process or a thread; 0: it is
// not known.
func lastPID() int {
	b, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return 0
	}
	return parseLastPID(b)
}

// parseLastPID finds the last field of proc_loadavg(5).
func parseLastPID(loadavg []byte) int {
	f := bytes.Fields(loadavg)
	if len(f) != 5 {
		return 0
	}
	n, err := strconv.Atoi(string(f[4]))
	if err != nil || n < 0 {
		return 0
	}
	return n
}

// home is the directory of a process in /proc and its state (proc_pid_stat(5)); 0: it is
// gone. When the first thread of a process has ended, the directory of the process shows
// nothing of what it has, and looks dead: then it is that of another thread.
func home(pid int) (string, byte) {
	dir := "/proc/" + strconv.Itoa(pid)
	was := state(dir)
	if was != 'Z' && was != 'X' {
		return dir, was
	}
	d, err := os.Open(dir + "/task")
	if err != nil {
		return dir, was
	}
	defer func() { _ = d.Close() }()
	names, err := d.Readdirnames(-1)
	if err != nil {
		return dir, was
	}
	for _, n := range names {
		other := dir + "/task/" + n
		if s := state(other); s != 0 && s != 'Z' && s != 'X' {
			return other, s
		}
	}
	return dir, was
}

// mark is the inode of the UTS namespace of a process or thread, by its directory; 0: not
// known.
func mark(dir string) uint64 {
	var st unix.Stat_t
	if err := unix.Stat(dir+"/ns/uts", &st); err != nil {
		return 0
	}
	return st.Ino
}

// tags are the marks of everything alive; 0 is among them when one cannot be read. To
// look once is not enough: what a process forked just before it ended may not have been
// there to be listed. So this looks twice, and is sure if no process was made meanwhile:
// one that was being made before the first look is there for the second, or who made it
// was seen by the first.
func tags() (found map[uint64]bool, sure bool, err error) {
	last := lastPID()
	found = map[uint64]bool{}
	for range 2 {
		procs, err := scan(0)
		if err != nil {
			return nil, false, err
		}
		for _, p := range procs {
			if !p.zombie {
				found[p.tag] = true
			}
		}
	}
	return found, last > 0 && lastPID() == last, nil
}

// state is the letter of the state of a process or thread, by its directory.
func state(dir string) byte {
	b, err := os.ReadFile(dir + "/stat")
	if err != nil {
		return 0
	}
	return parseState(b)
}

// parseState finds the state after the name, which is in parentheses and may
// hold anything.
func parseState(stat []byte) byte {
	end := bytes.LastIndexByte(stat, ')')
	if end < 0 || end+2 >= len(stat) {
		return 0
	}
	return stat[end+2]
}

// userHz is how many ticks of proc_pid_stat(5) are a second: USER_HZ, a constant of
// the interface.
const userHz = 100

// parseTicks is the time of processors that a process used, in ticks: the fields
// 14 and 15, which are 12th and 13th after the name.
func parseTicks(stat []byte) int64 {
	end := bytes.LastIndexByte(stat, ')')
	if end < 0 {
		return 0
	}
	f := bytes.Fields(stat[end+1:])
	if len(f) < 13 {
		return 0
	}
	var sum int64
	for _, b := range f[11:13] {
		n, err := strconv.ParseInt(string(b), 10, 64)
		if err != nil || n < 0 || n > 1<<40 {
			return 0
		}
		sum += n
	}
	return sum
}

// namer names processes, for one list.
type namer struct{ glances int }

// command names a process by its arguments, or in brackets by its name.
func (n *namer) command(p proc) []byte {
	dir, _ := home(p.pid)
	for {
		b, err := head(dir+"/cmdline", maxCommand)
		if len(b) > 0 {
			return bytes.TrimRight(bytes.ReplaceAll(b, []byte{0}, []byte{' '}), " ")
		}
		if err != nil && !errors.Is(err, io.EOF) || n.glances == maxGlances {
			break
		}
		n.glances++
		<-time.After(glance)
	}
	b, err := head(dir+"/comm", maxCommand)
	if err != nil {
		return []byte("?")
	}
	return fmt.Appendf(nil, "[%s]", bytes.TrimSpace(b))
}

func head(name string, n int) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	b := make([]byte, n)
	n, err = f.Read(b)
	return b[:n], err
}

// list names all processes that are alive.
func list() ([]wire.Proc, error) {
	procs, err := scan(0)
	if err != nil {
		return nil, err
	}
	var named []wire.Proc
	var names namer
	for _, p := range procs {
		if !p.zombie && len(named) < maxNamed {
			named = append(named, wire.Proc{PID: p.pid, Command: names.command(p)})
		}
	}
	return named, nil
}
