package none

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/sandbox"
)

// rssUnit is the unit of ru_maxrss: KiB on Linux (getrusage(2)).
const rssUnit = 1 << 10

// commandCut is where the arguments of a process are cut (sandbox.ProcessInfo).
const commandCut = 200

// tree finds the processes of a command in /proc: those in its session or its
// process group, those that descend from one of these, and those that have
// inherited its mark. A process that has left the session, lost its parent and
// wiped its environment is not found: that takes a PID namespace, which the ns
// driver has.
type tree struct {
	p *process
}

// member is a process, told by its start time from a later one with its id.
type member struct {
	pid, ppid, pgrp, sid int
	start                string
	state                byte
}

func (p *process) tree() tree { return tree{p} }

// members lists what is alive.
func (t tree) members() []member {
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return nil
	}
	root, mark := t.p.PID(), []byte(markName+"="+t.p.mark)
	var all, found []member
	in := map[int]bool{}
	for _, dir := range dirs {
		m, ok := look(dir)
		if !ok || m.state == 'Z' || m.state == 'X' {
			continue
		}
		all = append(all, m)
		// The ids of a process that was waited for may belong to others by now, but a
		// session keeps its id as long as one process is in it.
		if m.pid == root && t.p.running() || m.pid != root && (m.sid == root || m.pgrp == root) || marked(dir, mark) {
			in[m.pid] = true
			found = append(found, m)
		}
	}
	for grown := true; grown; {
		grown = false
		for _, m := range all {
			if !in[m.pid] && in[m.ppid] {
				in[m.pid], grown = true, true
				found = append(found, m)
			}
		}
	}
	return found
}

// marked says whether a process has inherited the mark.
func marked(dir string, mark []byte) bool {
	env, err := os.ReadFile(dir + "/environ")
	return err == nil && slices.ContainsFunc(bytes.Split(env, []byte{0}), func(e []byte) bool { return bytes.Equal(e, mark) })
}

// look reads /proc/<pid>/stat (proc_pid_stat(5)): pid (comm) state ppid pgrp
// session … and starttime as field 22. The name may hold anything, so fields
// are counted from its last parenthesis.
func look(dir string) (member, bool) {
	b, err := os.ReadFile(dir + "/stat")
	if err != nil {
		return member{}, false
	}
	m, ok := parseStat(string(b))
	if ok && m.state == 'Z' { // its first thread has ended; others may live on
		others, err := filepath.Glob(dir + "/task/[0-9]*/stat")
		if err != nil {
			return m, ok
		}
		for _, name := range others {
			if b, err := os.ReadFile(name); err == nil {
				if other, ok := parseStat(string(b)); ok && other.state != 'Z' && other.state != 'X' {
					m.state = other.state
					break
				}
			}
		}
	}
	return m, ok
}

func parseStat(s string) (member, bool) {
	open, end := strings.IndexByte(s, '('), strings.LastIndexByte(s, ')')
	if open < 1 || end < open {
		return member{}, false
	}
	f := strings.Fields(s[end+1:])
	if len(f) < 20 || len(f[0]) != 1 {
		return member{}, false
	}
	m := member{state: f[0][0], start: f[19]}
	for _, n := range []struct {
		to   *int
		text string
	}{{&m.pid, strings.TrimSpace(s[:open])}, {&m.ppid, f[1]}, {&m.pgrp, f[2]}, {&m.sid, f[3]}} {
		v, err := strconv.Atoi(n.text)
		if err != nil {
			return member{}, false
		}
		*n.to = v
	}
	return m, true
}

func (m member) dir() string { return "/proc/" + strconv.Itoa(m.pid) }

// glances is how many milliseconds a process without arguments is given to get some:
// execve(2) closes descriptors, by which a start is known, before it sets them.
const glances = 10

// info names the process by its arguments, or by its short name in brackets.
func (m member) info() sandbox.ProcessInfo {
	b, err := os.ReadFile(m.dir() + "/cmdline")
	for n := 0; n < glances && len(b) == 0 && err == nil; n++ {
		<-time.After(time.Millisecond)
		b, err = os.ReadFile(m.dir() + "/cmdline")
	}
	name := strings.TrimSpace(strings.ReplaceAll(string(b), "\x00", " "))
	if err != nil || name == "" {
		if b, err = os.ReadFile(m.dir() + "/comm"); err == nil {
			name = "[" + strings.TrimSpace(string(b)) + "]"
		}
	}
	return sandbox.ProcessInfo{PID: m.pid, Command: strings.ToValidUTF8(name[:min(len(name), commandCut)], "")}
}

// signal sends a signal to this very process and never to a later one with its
// id: the descriptor is taken first and the start time compared after.
func (m member) signal(s unix.Signal) {
	fd, err := unix.PidfdOpen(m.pid, 0)
	if err != nil {
		return // dead
	}
	defer func() { _ = unix.Close(fd) }()
	if now, ok := look(m.dir()); ok && now.start == m.start {
		_ = unix.PidfdSendSignal(fd, s, nil, 0) // dead meanwhile
	}
}

// kill sends SIGKILL until nothing is left: each look may find what was forked
// since the last one. All are stopped first, so that a bomb does not outrun it.
func (t tree) kill(ctx context.Context) ([]sandbox.ProcessInfo, error) {
	var killed []sandbox.ProcessInfo
	seen := map[int]string{}
	ticker := time.NewTicker(poll)
	defer ticker.Stop()
	for {
		left := t.members()
		if len(left) == 0 {
			return killed, nil
		}
		for _, m := range left {
			m.signal(unix.SIGSTOP)
		}
		for _, m := range left {
			if seen[m.pid] != m.start {
				seen[m.pid] = m.start
				killed = append(killed, m.info())
			}
		}
		for _, m := range left {
			m.signal(unix.SIGKILL)
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return killed, &cairn.Error{Code: cairn.CodeCancelled, Message: "stopped waiting for processes to be dead", Err: ctx.Err()}
		}
	}
}

// stop sends SIGSTOP until all are stopped.
func (t tree) stop(ctx context.Context) error {
	ticker := time.NewTicker(poll)
	defer ticker.Stop()
	for {
		moving := false
		for _, m := range t.members() {
			if m.state != 'T' && m.state != 't' {
				moving = true
				m.signal(unix.SIGSTOP)
			}
		}
		if !moving {
			return nil
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return &cairn.Error{Code: cairn.CodeCancelled, Message: "stopped waiting for processes to freeze", Err: ctx.Err()}
		}
	}
}

func (t tree) resume() {
	for _, m := range t.members() {
		m.signal(unix.SIGCONT)
	}
}
