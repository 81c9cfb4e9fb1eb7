//go:build linux

package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// unwrap returns the errno below what os adds.
func unwrap(err error) error {
	if e, ok := errors.AsType[syscall.Errno](err); ok {
		return e
	}
	return err
}

// openPath opens a path with flags (numbers, or'ed) and closes it again.
func openPath(args []string) result {
	flags := unix.O_RDONLY
	for _, a := range args[1:] {
		flags |= int(number(a))
	}
	fd, err := unix.Open(arg(args, 0), flags|unix.O_CLOEXEC|unix.O_NONBLOCK, 0o600)
	if err != nil {
		return outcome(err, args[0])
	}
	_ = unix.Close(fd)
	return outcome(nil, args[0]+" opened")
}

// readPath reads a few bytes and says how many, never which.
func readPath(args []string) result {
	f, err := os.OpenFile(arg(args, 0), os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return outcome(unwrap(err), args[0])
	}
	defer func() { _ = f.Close() }()
	n, err := f.Read(make([]byte, 16))
	if errors.Is(err, io.EOF) {
		return result{Denied: true, Errno: "EMPTY", Detail: args[0] + " is empty"}
	}
	if info, statErr := f.Stat(); statErr == nil && info.IsDir() {
		entries, err := os.ReadDir(args[0])
		if err != nil {
			return outcome(unwrap(err), args[0])
		}
		if len(entries) == 0 {
			return result{Denied: true, Errno: "EMPTY", Detail: args[0] + " is empty"}
		}
		return outcome(nil, fmt.Sprintf("%s has %d entries", args[0], len(entries)))
	}
	return outcome(unwrap(err), fmt.Sprintf("%d bytes of %s", n, args[0]))
}

func writePath(args []string) result {
	f, err := os.OpenFile(arg(args, 0), os.O_WRONLY, 0)
	if err == nil {
		_, err = f.WriteString(arg(args, 1))
		_ = f.Close()
	}
	return outcome(unwrap(err), args[0])
}

// createPath makes a file where none is, and takes it away again.
func createPath(args []string) result {
	fd, err := unix.Open(arg(args, 0), unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return outcome(err, args[0])
	}
	_ = unix.Close(fd)
	_ = unix.Unlink(args[0])
	return outcome(nil, args[0]+" made")
}

// setXattr plants an attribute on a new file. Overlayfs may take it and store it
// under another name: the suite looks at the layer.
func setXattr(args []string) result {
	path, name := arg(args, 0), arg(args, 1)
	if err := os.MkdirAll(path, 0o755); err != nil {
		return outcome(unwrap(err), path)
	}
	return outcome(unix.Setxattr(path, name, []byte(arg(args, 2)), 0), name+" on "+path)
}

// setuidFile makes a copy of itself with every special bit.
func setuidFile(args []string) result {
	b, err := os.ReadFile("/proc/self/exe")
	if err == nil {
		err = os.WriteFile(arg(args, 0), b, 0o755) //nolint:gosec // a program
	}
	if err == nil {
		err = unix.Chmod(args[0], 0o6755)
	}
	return outcome(unwrap(err), args[0])
}

// leakedDescriptors lists what is open beyond stdio, and where stdio leads.
func leakedDescriptors() result {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return outcome(unwrap(err), "")
	}
	var leaked []string
	for _, e := range entries {
		to, err := os.Readlink("/proc/self/fd/" + e.Name())
		switch {
		case err != nil: // the directory itself, closed again
		case strings.HasPrefix(to, "anon_inode:[eventpoll]"), strings.HasPrefix(to, "anon_inode:[eventfd]"): // of the Go runtime
		case strings.HasPrefix(path.Base(to), "cpu.cfs_"), path.Base(to) == "cpu.max": // its GOMAXPROCS follows the cgroup
		case len(e.Name()) == 1 && e.Name() <= "2" && (strings.HasPrefix(to, "pipe:[") || to == "/dev/null"):
		default:
			leaked = append(leaked, e.Name()+" -> "+to)
		}
	}
	return hidden(len(leaked) == 0, fmt.Sprintf("open beyond stdio: %v", leaked))
}

// mountinfo looks for needles in the list of mounts, and says what it shows of
// overlays.
func mountinfo(args []string) result {
	found, overlays := "", ""
	for _, p := range []string{"/proc/self/mountinfo", "/proc/self/mounts", "/proc/self/mountstats"} {
		b, err := os.ReadFile(p)
		if err != nil {
			return outcome(unwrap(err), p)
		}
		for line := range bytes.Lines(b) {
			if bytes.Contains(line, []byte("overlay")) && strings.HasSuffix(p, "mountinfo") {
				overlays += string(line)
			}
			for _, needle := range args {
				if bytes.Contains(line, []byte(needle)) {
					found += p + ": " + string(line)
				}
			}
		}
	}
	return hidden(found == "", found+"overlays: "+overlays)
}

// environ fails if there is a variable that is not listed.
func environ(args []string) result {
	allowed := map[string]bool{}
	for _, a := range args {
		allowed[a] = true
	}
	var extra []string
	for _, e := range os.Environ() {
		if k, _, _ := strings.Cut(e, "="); !allowed[k] {
			extra = append(extra, k)
		}
	}
	return hidden(len(extra) == 0, fmt.Sprintf("not expected: %v", extra))
}

// hostNames fails if the kernel still gives the name of the host.
func hostNames(args []string) result {
	name, err := os.Hostname()
	if err != nil {
		return outcome(unwrap(err), "")
	}
	return hidden(name != arg(args, 0), "the host's name is "+name)
}

// find walks everything there is and fails if a file with this name is reached.
func find(args []string) result {
	name, found, seen := arg(args, 0), "", 0
	for _, root := range []string{"/", "/proc/1/root", "/proc/1/cwd", "/proc/self/root"} {
		_ = filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
			seen++
			switch {
			case err != nil:
				return nil //nolint:nilerr // what cannot be read is passed by
			case p == "/proc" || p == "/sys":
				return fs.SkipDir
			case d.Name() == name:
				found += p + " "
			}
			return nil
		})
	}
	return hidden(found == "", fmt.Sprintf("%slooked at %d", found, seen))
}
