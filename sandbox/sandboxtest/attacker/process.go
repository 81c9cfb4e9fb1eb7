//go:build linux

package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// textAddress is where the text of this program begins, and that of a victim:
// Go's linker puts programs that are not position independent there.
const textAddress = 0x400000

func pid(args []string) int { return int(number(arg(args, 0))) }

// victim waits to be attacked.
func victim(args []string) result {
	fmt.Println("ready") //nolint:forbidigo // the output of a program
	block()
	return result{}
}

// block waits for ever, without the runtime's complaint about a deadlock.
func block() {
	for {
		time.Sleep(time.Hour) //nolint:forbidigo // a process that does nothing
	}
}

func ptraceVictim(args []string) result {
	runtime.LockOSThread()
	p := pid(args)
	if _, _, errno := unix.RawSyscall6(unix.SYS_PTRACE, unix.PTRACE_SEIZE, uintptr(p), 0, 0, 0, 0); errno != 0 {
		return outcome(errno, "")
	}
	return outcome(nil, "seized; let go at exit")
}

func vmRead(args []string) result {
	b := make([]byte, 16)
	n, err := unix.ProcessVMReadv(pid(args), []unix.Iovec{iovec(b)}, []unix.RemoteIovec{{Base: textAddress, Len: len(b)}}, 0)
	return outcome(err, fmt.Sprint(n, " bytes"))
}

// vmWrite aims at read-only text: EFAULT says that it would have been let in.
func vmWrite(args []string) result {
	b := make([]byte, 1)
	n, err := unix.ProcessVMWritev(pid(args), []unix.Iovec{iovec(b)}, []unix.RemoteIovec{{Base: textAddress, Len: 1}}, 0)
	return outcome(err, fmt.Sprint(n, " bytes"))
}

func iovec(b []byte) unix.Iovec {
	v := unix.Iovec{Base: &b[0]}
	v.SetLen(len(b))
	return v
}

func pidfdGetfd(args []string) result {
	fd, err := unix.PidfdOpen(pid(args), 0)
	if err != nil {
		return outcome(err, "pidfd_open")
	}
	got, err := unix.PidfdGetfd(fd, 0, 0)
	if err != nil {
		return outcome(err, "")
	}
	return outcome(nil, fmt.Sprint("descriptor ", got))
}

func sendSignal(args []string) result {
	return outcome(unix.Kill(pid(args), unix.Signal(number(arg(args, 1)))), "sent")
}

// signalInit sends every signal to the sandbox's first process. The suite looks
// afterwards whether it still works.
func signalInit([]string) result {
	sent, refused := []string{}, 0
	for s := unix.Signal(1); s < 65; s++ {
		if err := unix.Kill(1, s); err == nil {
			sent = append(sent, strconv.Itoa(int(s)))
		} else {
			refused++
		}
	}
	return hidden(len(sent) == 0, fmt.Sprintf("refused %d; taken: %v", refused, sent))
}

// memfdExec runs this program from memory.
func memfdExec() result {
	self, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		return outcome(err, "reading the program")
	}
	fd, err := unix.MemfdCreate("x", unix.MFD_CLOEXEC)
	if err != nil {
		return outcome(err, "memfd_create")
	}
	f := os.NewFile(uintptr(fd), "memfd")
	if _, err := f.Write(self); err != nil {
		return outcome(err, "writing")
	}
	out, err := exec.Command(fmt.Sprintf("/proc/self/fd/%d", fd), "probe", "status", "Uid").CombinedOutput() //nolint:noctx // it ends at once
	return outcome(err, strings.TrimSpace(string(out)))
}

// setuidBinary starts a set-user-id program of the image and looks who it is.
func setuidBinary([]string) result {
	for _, p := range []string{"/usr/bin/su", "/bin/su", "/usr/bin/passwd", "/usr/bin/mount"} {
		info, err := os.Stat(p)
		if err != nil || info.Mode()&os.ModeSetuid == 0 {
			continue
		}
		c := exec.Command(p) //nolint:noctx // killed below
		in, err := c.StdinPipe()
		if err != nil {
			return outcome(err, p)
		}
		if err := c.Start(); err != nil {
			return outcome(err, p)
		}
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", c.Process.Pid))
		_ = in.Close()
		_ = c.Process.Kill()
		_ = c.Wait()
		if err != nil {
			return outcome(err, p)
		}
		uid := strings.Fields(field(string(b), "Uid"))
		return hidden(len(uid) > 1 && uid[1] != "0", p+" runs with Uid "+strings.Join(uid, " "))
	}
	return hidden(true, "no set-user-id program in the image")
}

// status shows a field of /proc/self/status; with a value, it is denied (as it
// should be) when the field has it.
func status(args []string) result {
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return outcome(err, "")
	}
	v := field(string(b), arg(args, 0))
	return hidden(len(args) > 1 && v == args[1], args[0]+": "+v)
}

func field(text, name string) string {
	for line := range strings.Lines(text) {
		if k, v, ok := strings.Cut(line, ":"); ok && k == name {
			return strings.Join(strings.Fields(v), " ")
		}
	}
	return ""
}

// visibleProcesses lists all processes and fails if there are more than a few,
// or one has a needle in its arguments.
func visibleProcesses(args []string) result {
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return outcome(err, "")
	}
	found := ""
	for _, d := range dirs {
		b, err := os.ReadFile(d + "/cmdline")
		if err != nil || filepath.Base(d) == strconv.Itoa(os.Getpid()) {
			continue // it has ended, or is this one
		}
		for _, needle := range args {
			if bytes.Contains(b, []byte(needle)) {
				found += fmt.Sprintf("%s has %q; ", d, needle)
			}
		}
	}
	const few = 32
	return hidden(found == "" && len(dirs) <= few, fmt.Sprintf("%s%d processes visible", found, len(dirs)))
}

// overwriteExe is CVE-2019-5736: it starts the runtime's own program, keeps a
// descriptor of the file that its /proc/PID/exe leads to, lets it end and opens
// that file for writing.
func overwriteExe(args []string) result {
	program := arg(args, 0)
	if _, err := os.Stat(program); err != nil {
		return outcome(unwrap(err), program)
	}
	c := exec.Command(program, args[1:]...) //nolint:noctx // killed below
	in, err := c.StdinPipe()
	if err != nil {
		return outcome(err, "")
	}
	if err := c.Start(); err != nil {
		return outcome(unwrap(err), "starting "+program)
	}
	fd, openErr := unix.Open(fmt.Sprintf("/proc/%d/exe", c.Process.Pid), unix.O_PATH, 0)
	_ = in.Close()
	_ = c.Process.Kill()
	_ = c.Wait()
	if openErr != nil {
		return outcome(openErr, "taking /proc/PID/exe")
	}
	got, err := unix.Open(fmt.Sprintf("/proc/self/fd/%d", fd), unix.O_WRONLY, 0)
	if err != nil {
		return outcome(err, "")
	}
	_ = unix.Close(got)
	return outcome(nil, "open for writing")
}

// ownExe opens the file this program was started from for writing, as
// overwriteExe does, through its own /proc/self/exe.
func ownExe() result {
	fd, err := unix.Open("/proc/self/exe", unix.O_WRONLY, 0)
	if err != nil {
		return outcome(err, "")
	}
	_ = unix.Close(fd)
	return outcome(nil, "open for writing")
}

// coreLimit looks whether a crash would write a core file.
func coreLimit() result {
	var l unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_CORE, &l); err != nil {
		return outcome(err, "")
	}
	return hidden(l.Max == 0, fmt.Sprintf("RLIMIT_CORE %d/%d", l.Cur, l.Max))
}

// controllingTTY looks for a terminal that came from outside.
func controllingTTY() result {
	fd, err := unix.Open("/dev/tty", unix.O_RDWR, 0)
	if err != nil {
		return outcome(err, "")
	}
	_ = unix.Close(fd)
	return outcome(nil, "there is a controlling terminal")
}
