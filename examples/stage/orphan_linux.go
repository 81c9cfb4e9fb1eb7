package stage

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Adopt makes this process the parent of everything that a command leaves behind:
// what outlives a killed command is a child of this process then, and
// [Stage.Orphans] finds it, however it hides.
func Adopt() error { return unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) }

// Orphans are the processes that are alive and whose parent, a command of this
// stage, is dead. It needs [Adopt].
func (s *Stage) Orphans() ([]string, error) {
	known := map[int]bool{}
	s.mu.Lock()
	for p := range s.running {
		known[p.cmd.Process.Pid] = true
	}
	s.mu.Unlock()
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return nil, err
	}
	var alive []string
	for _, path := range stats {
		b, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		if err != nil {
			return nil, err
		}
		// "pid (name) state ppid …": the name may hold anything.
		rest := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
		if len(rest) < 2 || rest[1] != strconv.Itoa(os.Getpid()) || known[pid] {
			continue
		}
		if rest[0] == "Z" {
			if _, err := unix.Wait4(pid, nil, unix.WNOHANG, nil); err != nil && !errors.Is(err, unix.ECHILD) {
				return nil, err
			}
			continue
		}
		line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		if err != nil {
			continue // it has ended
		}
		alive = append(alive, fmt.Sprintf("%s (%d)", strings.TrimSpace(strings.ReplaceAll(string(line), "\x00", " ")), pid))
	}
	return alive, nil
}
