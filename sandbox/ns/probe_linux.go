//go:build linux && (amd64 || arm64)

package ns

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/sandbox"
)

// probing bounds a probe: on a machine that works it takes some 20 ms.
const probing = 20 * time.Second

// Probe implements sandbox.Driver: it makes an instance, with an upper directory,
// and runs a program in it.
func (d *driver) Probe(ctx context.Context) sandbox.Caps {
	d.probe.Lock()
	defer d.probe.Unlock()
	if d.probe.done {
		return d.probe.caps
	}
	ctx, cancel := context.WithTimeout(ctx, probing)
	defer cancel()
	c := sandbox.Caps{
		Isolation: "namespaces", Rootless: !d.root, Cgroup: d.groups.mode, MaxLayers: MaxLayers, Limits: d.enforced(),
	}
	built, err := d.try(ctx)
	if err != nil {
		c.Why, c.Fix = explain(err, lookAround(d.root))
		d.log.Debug("the sandbox cannot be used", "error", err)
		// With a caller that has time, or when nobody kills the helper, it may succeed.
		c.Passing = ctx.Err() != nil || cairn.AsError(err).Retryable
		d.probe.caps, d.probe.done = c, !c.Passing
		return c
	}
	c.Usable, c.Overlay, c.Seccomp, c.Landlock = true, true, built.Seccomp, built.Landlock
	d.probe.caps, d.probe.done = c, true
	return c
}

// enforced says who holds which limit.
func (d *driver) enforced() map[string]sandbox.Enforcement {
	by := func(name string, else_ sandbox.Enforcement) sandbox.Enforcement {
		if d.groups.holds(name) {
			return sandbox.ByCgroup
		}
		return else_
	}
	processes := sandbox.ByWatcher
	if countsInNamespace() {
		processes = sandbox.ByRlimit
	}
	return map[string]sandbox.Enforcement{
		"cpu": by("cpu", sandbox.ByNothing), "memory": by("memory", sandbox.ByWatcher), "processes": by("processes", processes),
		"files": sandbox.ByRlimit, "disk": sandbox.ByWatcher, "inodes": sandbox.ByWatcher, "wall": sandbox.ByWatcher,
	}
}

func (d *driver) try(ctx context.Context) (*builtInfo, error) {
	dir, err := d.trial()
	if err != nil {
		return nil, fmt.Errorf("make a directory to try the sandbox in: %w", err)
	}
	defer func() { _ = removeTrial(dir) }() // else the next one does
	uid, gid := Owner()
	for _, name := range []string{"upper", "work"} {
		p := filepath.Join(dir, name)
		if err := errors.Join(os.Mkdir(p, 0o755), os.Chown(p, uid, gid)); err != nil {
			return nil, fmt.Errorf("make a directory to try the sandbox in: %w", err)
		}
	}
	i, err := d.create(ctx, sandbox.Spec{
		ID:   fmt.Sprintf("probe-%d", d.keys.Add(1)),
		Root: sandbox.Root{Upper: filepath.Join(dir, "upper"), Work: filepath.Join(dir, "work")},
	})
	if err != nil {
		return nil, err
	}
	defer func() { _, _ = i.Destroy(context.WithoutCancel(ctx)) }()
	// Writing shows that the upper directory works.
	p, err := i.Start(ctx, sandbox.Cmd{Args: []string{"/bin/sh", "-c", ": > " + sandbox.Dir + "/probe"}})
	if err != nil {
		return nil, err
	}
	e, err := p.Wait(ctx)
	if err != nil {
		return nil, err
	}
	if e.Signal != "" {
		return nil, &cairn.Error{Code: cairn.CodeUnavailable, Message: "a command in the sandbox was killed with " + e.Signal, Retryable: true}
	}
	if e.Code != 0 {
		return nil, fmt.Errorf("a command in the sandbox ended with code %d (%s)", e.Code, e.Signal)
	}
	return &builtInfo{Seccomp: i.built.Seccomp, Landlock: i.built.Landlock}, nil
}

// trialPrefix begins the names of directories of probes.
const trialPrefix = "probe-"

// trial makes a directory for a probe: below the driver's own, where what a killed
// process left is found again, if it has one.
func (d *driver) trial() (string, error) {
	if d.dir == "" {
		return os.MkdirTemp("", "cairn-"+trialPrefix)
	}
	if err := os.MkdirAll(d.dir, 0o700); err != nil {
		return "", err
	}
	left, err := filepath.Glob(filepath.Join(d.dir, trialPrefix+"*"))
	for _, old := range left {
		err = errors.Join(err, removeTrial(old))
	}
	if err != nil {
		d.log.Warn("what an earlier probe left could not be removed", "error", err)
	}
	return os.MkdirTemp(d.dir, trialPrefix)
}

// removeTrial removes the directory of a probe. Overlayfs leaves directories without
// permissions in its work directory, which only root can look into as they are.
func removeTrial(dir string) error {
	_ = filepath.WalkDir(filepath.Join(dir, "work"), func(p string, e fs.DirEntry, err error) error {
		if err == nil && e.IsDir() {
			err = os.Chmod(p, 0o700) //nolint:gosec // of a directory that is removed
		}
		return err
	}) // what follows says what failed
	return os.RemoveAll(dir)
}

// builtInfo is what an instance has.
type builtInfo struct {
	Seccomp  bool
	Landlock int
}

// facts are what can stand in the way.
type facts struct {
	root       bool
	release    string
	clone      string // kernel.unprivileged_userns_clone (Debian, Arch)
	max        string // user.max_user_namespaces
	apparmor   string // kernel.apparmor_restrict_unprivileged_userns (Ubuntu)
	seccomp    bool   // this process is under a filter, as in a container
	noOverlay  bool
	container  bool
	maxMissing bool
	chroot     bool // the root is no mount: the kernel makes no user namespace for such a process
}

func lookAround(root bool) facts {
	text := func(p string) string {
		b, err := os.ReadFile(p)
		if err != nil {
			return ""
		}
		return strings.TrimSpace(string(b))
	}
	f := facts{
		root:     root,
		clone:    text("/proc/sys/kernel/unprivileged_userns_clone"),
		max:      text("/proc/sys/user/max_user_namespaces"),
		apparmor: text("/proc/sys/kernel/apparmor_restrict_unprivileged_userns"),
	}
	f.maxMissing = f.max == ""
	f.chroot = chrooted(text("/proc/self/mountinfo"))
	f.seccomp = strings.Contains(text("/proc/self/status"), "\nSeccomp:\t2")
	f.noOverlay = !strings.Contains(text("/proc/filesystems"), "\toverlay")
	for _, p := range []string{"/.dockerenv", "/run/.containerenv"} {
		if _, err := os.Stat(p); err == nil {
			f.container = true
		}
	}
	var u unix.Utsname
	if unix.Uname(&u) == nil {
		f.release = unix.ByteSliceToString(u.Release[:])
	}
	return f
}

// chrooted says of the mounts a process sees that its root is none of them, see
// proc_pid_mountinfo(5): the fifth field is where a mount is.
func chrooted(mountinfo string) bool {
	for line := range strings.Lines(mountinfo) {
		if f := strings.Fields(line); len(f) > 4 && f[4] == "/" {
			return false
		}
	}
	return mountinfo != ""
}

// explain says why an instance could not be made, and what to do about it.
func explain(err error, f facts) (why, fix string) {
	text := err.Error()
	if e, ok := errors.AsType[*cairn.Error](err); ok && e.Err != nil {
		text = e.Err.Error() // what it hides from models is what counts here
	}
	denied := errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES) ||
		strings.Contains(text, unix.EPERM.Error()) || strings.Contains(text, unix.EACCES.Error())
	full := errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EUSERS) || strings.Contains(text, unix.ENOSPC.Error())
	switch {
	case f.release != "" && !atLeast(f.release, 5, 12):
		return "the kernel is Linux " + f.release + "; the sandbox needs 5.12 or later",
			"use a newer kernel (on Debian 11: apt-get install -t bullseye-backports linux-image-amd64)"
	case f.maxMissing:
		return "the kernel has no user namespaces (CONFIG_USER_NS)", "use a kernel of a current distribution"
	case f.chroot && denied:
		return "this process is in a chroot, for which the kernel makes no user namespaces (user_namespaces(7))",
			"enter the root file system as containers do, with pivot_root"
	case f.max == "0" || full && f.max != "" && strings.Contains(text, "first process"):
		return "user namespaces are switched off or used up (user.max_user_namespaces is " + f.max + ")",
			"sudo sysctl -w user.max_user_namespaces=15000"
	case !f.root && f.clone == "0":
		return "user namespaces are for root only here (kernel.unprivileged_userns_clone is 0)",
			"sudo sysctl -w kernel.unprivileged_userns_clone=1"
	case !f.root && f.apparmor == "1" && denied:
		return "AppArmor takes the rights from user namespaces of programs it has no profile for (Ubuntu 23.10 and later)",
			"sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0, or give the program a profile with the rule `userns,`"
	case strings.Contains(text, "mount proc") || strings.Contains(text, "proc must not be masked"):
		return "/proc of this container is masked, so that no new one may be mounted",
			"run the container with --security-opt systempaths=unconfined --security-opt seccomp=unconfined"
	case f.seccomp && denied:
		return "a seccomp filter, as Docker has by default, refuses namespaces or mounts",
			"run the container with --security-opt seccomp=unconfined --security-opt apparmor=unconfined"
	case f.container && denied:
		return "the container refuses namespaces or mounts",
			"run the container with --security-opt seccomp=unconfined --security-opt apparmor=unconfined --security-opt systempaths=unconfined"
	case f.noOverlay && strings.Contains(text, "layers"):
		return "the kernel has no overlayfs", "sudo modprobe overlay"
	case strings.Contains(text, "layers"):
		return "an overlay cannot be mounted where the files are: " + text,
			"choose a data directory on ext4, xfs, btrfs or tmpfs (--data)"
	}
	return "a sandbox could not be made: " + text, "run `cairn doctor --verbose` and report what it says"
}
