//go:build linux

package workspace

import (
	"bufio"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// The tests that need a real overlay have it mounted by a helper process: this test
// binary in a mount namespace of its own, and without root in a user namespace too.
// The store runs outside of it, as a node does.

const envHelper = "CAIRN_WORKSPACE_HELPER"

func TestMain(m *testing.M) {
	switch os.Getenv(envHelper) {
	case "mount":
		helperMain(os.Stdin, os.Stdout)
		os.Exit(0)
	case "full":
		fullMain()
		os.Exit(0)
	case "crash":
		crashMain()
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// op is something that a payload does. Those that make no sense where they are
// done fail, and change nothing.
type op struct {
	Do   string
	Path string
	To   string
	Data []byte
	Mode uint32
}

type order struct {
	Mount   *Mount // mounts it
	Ops     []op
	Walk    bool
	Unmount bool
}

type answer struct {
	Walk []string
	Err  string
}

func helperMain(in io.Reader, out io.Writer) {
	dec, enc := json.NewDecoder(in), json.NewEncoder(out)
	syscall.Umask(0o022)
	for {
		var o order
		if err := dec.Decode(&o); err != nil {
			return
		}
		var a answer
		if err := serve(o, &a); err != nil {
			a.Err = err.Error()
		}
		if err := enc.Encode(a); err != nil {
			return
		}
	}
}

const mountPoint = "/mnt"

func serve(o order, a *answer) error {
	if o.Mount != nil {
		opts := "userxattr,lowerdir=" + strings.Join(o.Mount.Lower, ":")
		if o.Mount.Upper != "" {
			opts += ",upperdir=" + o.Mount.Upper + ",workdir=" + o.Mount.Work
		} else if len(o.Mount.Lower) == 1 {
			opts += ":nothing" // without an upper one, overlay wants two
		}
		if err := unix.Mount("overlay", mountPoint, "overlay", unix.MS_NOSUID|unix.MS_NODEV, opts); err != nil {
			return fmt.Errorf("mount %s: %w", opts, err)
		}
	}
	for _, op := range o.Ops {
		_ = op.do(mountPoint)
	}
	if o.Walk {
		var err error
		if a.Walk, err = walk(mountPoint); err != nil {
			return err
		}
	}
	if o.Unmount {
		return unix.Unmount(mountPoint, 0)
	}
	return nil
}

func (o op) do(root string) error {
	p, to := filepath.Join(root, o.Path), filepath.Join(root, o.To)
	// os.RemoveAll opens what the entry is in, and would wait there for a FIFO.
	if st, err := os.Stat(filepath.Dir(p)); (o.Do == "remove" || o.Do == "again") && (err != nil || !st.IsDir()) {
		return err
	}
	switch o.Do {
	case "write":
		f, err := os.OpenFile(p, os.O_WRONLY|os.O_CREATE|os.O_TRUNC|unix.O_NONBLOCK, 0o644)
		if err != nil {
			return err
		}
		_, err = f.Write(o.Data)
		return errors.Join(err, f.Close())
	case "append":
		f, err := os.OpenFile(p, os.O_WRONLY|os.O_APPEND|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
		if err != nil {
			return err
		}
		_, err = f.Write(o.Data)
		return errors.Join(err, f.Close())
	case "same": // copies up, and changes nothing
		f, err := os.OpenFile(p, os.O_RDWR|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
		if err != nil {
			return err
		}
		return f.Close()
	case "mkdir":
		return os.MkdirAll(p, 0o755)
	case "remove":
		return os.RemoveAll(p)
	case "again": // removes a directory and makes it again: opaque
		return errors.Join(os.RemoveAll(p), os.MkdirAll(p, 0o755), os.WriteFile(p+"/new", o.Data, 0o600))
	case "rename":
		return os.Rename(p, to)
	case "symlink":
		return os.Symlink(o.To, p)
	case "link":
		return os.Link(p, to)
	case "chmod":
		return unix.Fchmodat(unix.AT_FDCWD, p, o.Mode, 0)
	case "fifo":
		return unix.Mkfifo(p, 0o644)
	case "device":
		return errors.Join(unix.Mknod(p, unix.S_IFCHR, 0), unix.Mknod(p+"z", unix.S_IFCHR, int(unix.Mkdev(1, 3))))
	case "xattr": // what a payload may try to plant
		var all error
		for _, name := range []string{"user.overlay.opaque", "user.overlay.whiteout", "user.overlay.redirect", "user.overlay.metacopy", "user.overlay.overlay.opaque", "user.mine"} {
			for _, v := range []string{"y", "x", "/etc"} {
				all = errors.Join(all, unix.Lsetxattr(p, name, []byte(v), 0))
			}
		}
		return all
	default:
		return fmt.Errorf("no operation %q", o.Do)
	}
}

// walk describes a directory as a tree records it.
func walk(root string) ([]string, error) {
	var out []string
	err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, p)
		if err != nil || rel == "." {
			return err
		}
		var st unix.Stat_t
		if err := unix.Lstat(p, &st); err != nil {
			return err
		}
		switch st.Mode & unix.S_IFMT {
		case unix.S_IFDIR:
			out = append(out, fmt.Sprintf("%q dir %o", rel, st.Mode&0o1777))
		case unix.S_IFREG:
			b, err := os.ReadFile(p)
			if err != nil {
				return err
			}
			out = append(out, fmt.Sprintf("%q file %o %x", rel, st.Mode&0o777, sha256.Sum256(b)))
		case unix.S_IFLNK:
			target, err := os.Readlink(p)
			if err != nil {
				return err
			}
			out = append(out, fmt.Sprintf("%q link %q", rel, target))
		}
		return nil
	})
	slices.Sort(out)
	return out, err
}

// describe is walk of a recorded state.
func describe(tb fatal, t *Tree, at snapshotAt) []string {
	tb.Helper()
	entries, more, err := t.List(at.ctx, at.Snapshot, "/", ListOptions{Depth: -1})
	if err != nil || more {
		tb.Fatalf("list: %v, more %v", err, more)
	}
	var out []string
	for _, e := range entries {
		mode := uint32(e.Mode.Perm())
		if e.Mode&fs.ModeSticky != 0 {
			mode |= 0o1000
		}
		switch {
		case e.Path == "":
		case e.Kind == KindDir:
			out = append(out, fmt.Sprintf("%q dir %o", e.Path, mode))
		case e.Kind == KindFile:
			out = append(out, fmt.Sprintf("%q file %o %s", e.Path, mode, strings.TrimPrefix(string(e.Digest), "sha256:")))
		default:
			out = append(out, fmt.Sprintf("%q link %q", e.Path, e.Target))
		}
	}
	slices.Sort(out)
	return out
}

type fatal interface {
	Helper()
	Fatalf(string, ...any)
}

// helper is the process that mounts.
type helper struct {
	enc *json.Encoder
	dec *json.Decoder
}

// helperCmd runs this binary in a mount namespace of its own.
func helperCmd(t *testing.T, what string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe")
	cmd.Env = append(os.Environ(), envHelper+"="+what)
	cmd.WaitDelay = 10 * time.Second
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if os.Geteuid() != 0 {
		cmd.SysProcAttr.Cloneflags = unix.CLONE_NEWUSER | unix.CLONE_NEWNS
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Geteuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getegid(), Size: 1}}
	} else {
		// Otherwise mounts would spread to the host.
		cmd.SysProcAttr.Unshareflags = unix.CLONE_NEWNS
	}
	return cmd
}

// startHelper starts it with dir, the store's directory, as its working directory.
func startHelper(t *testing.T, dir string) *helper {
	t.Helper()
	if err := os.Mkdir(filepath.Join(dir, "nothing"), 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := helperCmd(t, "mount")
	cmd.Dir = dir
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatalf("the helper that mounts overlays: %v", err)
	}
	t.Cleanup(func() {
		_ = in.Close()
		_ = cmd.Wait()
	})
	return &helper{json.NewEncoder(in), json.NewDecoder(bufio.NewReader(out))}
}

func (h *helper) do(tb fatal, o order) []string {
	tb.Helper()
	if o.Mount != nil { // relative paths: mount(2) takes no more than 4096 bytes of them
		m := *o.Mount
		dir := storeDir(m.Lower[len(m.Lower)-1])
		rel := func(p string) string { return strings.TrimPrefix(p, dir) }
		m.Lower = slices.Clone(m.Lower)
		for i := range m.Lower {
			m.Lower[i] = rel(m.Lower[i])
		}
		m.Upper, m.Work = rel(m.Upper), rel(m.Work)
		o.Mount = &m
	}
	var a answer
	if err := h.enc.Encode(o); err != nil {
		tb.Fatalf("helper: %v", err)
	}
	if err := h.dec.Decode(&a); err != nil {
		tb.Fatalf("helper: %v", err)
	}
	if a.Err != "" {
		tb.Fatalf("helper: %s", a.Err)
	}
	return a.Walk
}

// storeDir is the directory of the store that a base belongs to, with a slash.
func storeDir(base string) string {
	if i := strings.Index(base, "/"+tenantsDir+"/n-"); i >= 0 {
		return base[:i+1]
	}
	return strings.TrimSuffix(base, emptyDir+"/"+rootDir)
}

// bothWays runs a test as the user that runs the tests, and if that is root, without
// privileges too.
func bothWays(t *testing.T, name string) {
	t.Helper()
	if os.Geteuid() != 0 {
		return
	}
	t.Run("rootless", func(t *testing.T) {
		t.Parallel()
		exe, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		dir, err := os.MkdirTemp("", "workspace")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = os.RemoveAll(dir) })
		b, err := os.ReadFile(exe)
		if err != nil {
			t.Fatal(err)
		}
		// The binary may be where only root can go.
		copied := filepath.Join(dir, "workspace.test")
		if err := errors.Join(os.WriteFile(copied, b, 0o755), os.Chmod(dir, 0o777)); err != nil {
			t.Fatal(err)
		}
		cmd := exec.CommandContext(t.Context(), copied, "-test.run=^"+name+"$", "-test.v", "-rapid.nofailfile", "-test.timeout=4m", "-rapid.checks="+flag.Lookup("rapid.checks").Value.String())
		cmd.Env = append(os.Environ(), "TMPDIR="+dir, "HOME="+dir)
		cmd.Dir = dir
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 1000, Gid: 1000}}
		out, err := cmd.CombinedOutput()
		if err != nil || !strings.Contains(string(out), "--- PASS: "+name) {
			t.Errorf("without privileges: %v\n%s", err, out)
		}
	})
}
