package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// outlive is for how long a process may outlive the runtime that started it,
// before it is a leak: the kernel takes its time to tear down namespaces.
const outlive = 5 * time.Second

// warden starts the runtime as its child and says on its output what becomes of it
// and of everything it started, which all comes to the warden when its parent dies:
//
//	pid 12            of the runtime
//	dead …            how it died
//	left 34 sh …      a process that has outlived it, and was killed for it
//	gone 3ms          nothing is alive; how long that took
func warden(args []string, out io.Writer) error {
	runtime.LockOSThread() // the child's parent-death signal is of this thread
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return err
	}
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	pid, err := syscall.ForkExec(exe, append([]string{exe}, args...), &syscall.ProcAttr{
		Env: os.Environ(), Files: []uintptr{0, 1, 2}, Sys: &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL},
	})
	if err != nil {
		return err
	}
	say := func(format string, args ...any) { _, _ = fmt.Fprintf(out, format+"\n", args...) } // nobody listens: nobody has to know
	say("pid %d", pid)
	var dead time.Time
	for {
		var status syscall.WaitStatus
		who, err := syscall.Wait4(-1, &status, 0, nil)
		switch {
		case errors.Is(err, syscall.EINTR):
			continue
		case errors.Is(err, syscall.ECHILD):
			say("gone %s", time.Since(dead).Round(time.Millisecond))
			return nil
		case err != nil:
			return err
		case who == pid:
			dead = time.Now()
			say("dead signal %v, code %d", status.Signal(), status.ExitStatus())
			time.AfterFunc(outlive, func() { killLeft(os.Getpid(), say) })
		}
	}
}

// killLeft tells of all children and kills them, until the warden, which then has
// none left, ends.
func killLeft(parent int, say func(string, ...any)) {
	told := map[int]bool{}
	for range time.Tick(10 * time.Millisecond) { // the kernel gives no signal for a new child
		for _, pid := range children(parent) {
			p, err := os.FindProcess(pid) // by descriptor
			if err != nil || parentOf(pid) != parent {
				continue
			}
			if !told[pid] {
				told[pid] = true
				what, _ := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "comm")) // only to be told
				say("left %d %s", pid, strings.TrimSpace(string(what)))
			}
			_ = p.Kill() // it may be dead by now
		}
	}
}

// children are the processes whose parent is pid.
func children(pid int) []int {
	all, _ := filepath.Glob("/proc/[1-9]*") // the pattern is good
	var out []int
	for _, p := range all {
		if n, err := strconv.Atoi(filepath.Base(p)); err == nil && parentOf(n) == pid {
			out = append(out, n)
		}
	}
	return out
}

// parentOf is the parent of a process; 0: there is none.
func parentOf(pid int) int {
	b, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return 0
	}
	f := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:])) // its state, its parent, …
	if len(f) < 2 {
		return 0
	}
	n, _ := strconv.Atoi(f[1]) // the kernel's
	return n
}
