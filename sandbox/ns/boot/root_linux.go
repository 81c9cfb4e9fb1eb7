//go:build linux && (amd64 || arm64)

package boot

import (
	"errors"
	"fmt"
	"os"
	"path"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/cairn-run/cairn/sandbox/ns/wire"
)

// stages are directories that every system has; one of them is covered, in this
// mount namespace only, by what the root is made of.
var stages = []string{"/tmp", "/run", "/var", "/usr"}

// devices are shown in /dev.
var devices = []string{"null", "zero", "full", "random", "urandom", "tty"}

// masked are files of /proc that say too much of the host; readOnly are trees
// that change it (the lists of the OCI runtime specification, and keys).
var (
	masked = []string{
		"acpi", "asound", "bus", "config.gz", "driver", "fs", "interrupts", "iomem", "ioports", "irq", "kallsyms", "kcore",
		"key-users", "keys", "kmsg", "kpagecgroup", "kpagecount", "kpageflags", "latency_stats", "modules", "mtrr",
		"pagetypeinfo", "sched_debug", "schedstat", "scsi", "slabinfo", "sysrq-trigger", "timer_list", "timer_stats",
		"vmallocinfo",
	}
	readOnly = []string{"sys"}
)

// builder makes the root of an instance.
type builder struct {
	b     *wire.Build
	given []int // descriptors of trees that were sent
	trees [][]int
	binds []int // descriptors of Build.Binds
	root  int   // of the new root, O_PATH
}

// build makes the root and moves into it. The paths of the host are opened
// before anything is covered.
func build(b *wire.Build, given []int) error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("keep mounts to this namespace: %w", err)
	}
	r := &builder{b: b, given: given, root: -1}
	if err := r.open(); err != nil {
		return err
	}
	for _, step := range []func() error{r.stage, r.overlay, r.system, r.show, r.enter} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

func (r *builder) open() error {
	var err error
	fds := r.given
	if !r.b.Opened {
		if fds, err = OpenTrees(r.b.Trees); err != nil {
			return err
		}
	}
	if r.trees, err = handles(r.b.Trees, fds); err != nil {
		return err
	}
	for _, b := range r.b.Binds {
		if b.Tree >= len(r.trees) {
			return fmt.Errorf("tree %d of %d", b.Tree, len(r.trees))
		}
		if b.Tree >= 0 {
			r.binds = append(r.binds, r.trees[b.Tree][0])
			continue
		}
		fd, err := unix.OpenTree(unix.AT_FDCWD, string(b.Host), unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_RECURSIVE)
		if errors.Is(err, unix.ENOENT) {
			fd = -1 // the host has removed it: its place stays empty
		} else if err != nil {
			return fmt.Errorf("show %s: %w", b.Host, err)
		}
		r.binds = append(r.binds, fd)
	}
	return nil
}

// stage covers a directory with a file system in memory, goes there and makes
// the skeleton in it.
func (r *builder) stage() error {
	err := error(unix.ENOENT)
	var dir string
	for _, dir = range stages {
		if err = unix.Mount("cairn", dir, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=0755,size=4m,nr_inodes=4096"); err == nil {
			break
		}
	}
	if err != nil {
		return fmt.Errorf("mount a tmpfs: %w", err)
	}
	if err := unix.Chdir(dir); err != nil {
		return fmt.Errorf("enter a tmpfs: %w", err)
	}
	for _, d := range []string{"root", "skel", "none"} {
		if err := unix.Mkdir(d, 0o755); err != nil {
			return fmt.Errorf("make a directory: %w", err)
		}
	}
	for _, i := range r.b.Skeleton {
		if err := r.item(i); err != nil {
			return err
		}
	}
	return nil
}

func (r *builder) item(i wire.Item) error {
	p := path.Join("skel", i.Path)
	var err error
	switch {
	case i.Link != "":
		err = unix.Symlink(i.Link, p)
	case i.File:
		var fd int
		if fd, err = unix.Open(p, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_CLOEXEC, i.Mode); err == nil {
			if i.Text != "" {
				_, err = unix.Write(fd, []byte(i.Text))
			}
			err = errors.Join(err, unix.Close(fd))
		}
	default:
		if err = unix.Mkdir(p, i.Mode); err == nil && i.Mode&^0o755 != 0 {
			err = unix.Chmod(p, i.Mode) // the umask does not count
		}
	}
	if err != nil {
		return fmt.Errorf("make %s of the skeleton: %w", i.Path, err)
	}
	return nil
}

// overlay mounts the layers. The options of mount(2) are at most a page long:
// the layers are attached under numbers in the working directory, so that 500 of
// them, which is the most overlayfs takes, fit. The same works from Linux 5.11
// on; adding layers one by one with fsconfig(2) needs 6.7.
func (r *builder) overlay() error {
	var lower []string
	for n, t := range r.b.Lower {
		if t < 0 || t >= len(r.trees) {
			return fmt.Errorf("tree %d of %d", t, len(r.trees))
		}
		name := strconv.Itoa(n)
		if err := unix.Mkdir(name, 0o755); err != nil {
			return fmt.Errorf("make a directory: %w", err)
		}
		if err := unix.MoveMount(r.trees[t][0], "", unix.AT_FDCWD, name, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
			return fmt.Errorf("attach layer %d (%s): %w", n, r.b.Trees[t].Path, err)
		}
		lower = append(lower, name)
	}
	lower = append(lower, "skel", "none") // without an upper one there must be two
	// Volatile: without it, every copy-up waits for the disk, and taking the mount
	// down writes out the whole file system of the upper directory. What has to
	// last is synced by its owner, in that directory.
	options := "userxattr,volatile,lowerdir=" + strings.Join(lower, ":")
	flags := uintptr(unix.MS_NOSUID | unix.MS_NODEV)
	if r.b.Upper < 0 {
		flags |= unix.MS_RDONLY
	} else {
		t := r.trees[r.b.Upper]
		if err := unix.Mkdir("upper", 0o755); err != nil {
			return fmt.Errorf("make a directory: %w", err)
		}
		if err := unix.MoveMount(t[0], "", unix.AT_FDCWD, "upper", unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
			return fmt.Errorf("attach the upper directory: %w", err)
		}
		// A volatile mount leaves a mark that it was not synced, which refuses another
		// one. The caller answers for what is in the upper directory.
		_ = unix.Unlinkat(t[2], "work/incompat/volatile/dirty", 0)
		_ = unix.Unlinkat(t[2], "work/incompat/volatile", unix.AT_REMOVEDIR)
		_ = unix.Unlinkat(t[2], "work/incompat", unix.AT_REMOVEDIR)
		// By descriptor, because the directory above need not be open to this user.
		options += fmt.Sprintf(",upperdir=/proc/self/fd/%d,workdir=/proc/self/fd/%d", t[1], t[2])
	}
	if err := unix.Mount("overlay", "root", "overlay", flags, options); err != nil {
		return fmt.Errorf("mount %d layers: %w", len(lower)-2, err)
	}
	var err error
	if r.root, err = unix.Open("root", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0); err != nil {
		return fmt.Errorf("open the new root: %w", err)
	}
	return nil
}

// target opens a path of the new root to mount over it. What is there was
// written by earlier commands: a symbolic link could lead anywhere.
func (r *builder) target(p string) (int, error) {
	fd, err := unix.Openat2(r.root, strings.TrimPrefix(p, "/"), &unix.OpenHow{
		Flags:   unix.O_PATH | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS,
	})
	if err != nil {
		return -1, fmt.Errorf("%s of the sandbox: %w (an earlier command has removed or replaced it: roll the workspace back)", p, err)
	}
	return fd, nil
}

// attach mounts a detached mount at a path of the new root.
func (r *builder) attach(fd int, p string) error {
	at, err := r.target(p)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(at) }()
	if err := unix.MoveMount(fd, "", at, "", unix.MOVE_MOUNT_F_EMPTY_PATH|unix.MOVE_MOUNT_T_EMPTY_PATH); err != nil {
		return fmt.Errorf("mount over %s: %w", p, err)
	}
	return nil
}

// mount makes a file system and mounts it.
func (r *builder) mount(kind, p string, flags int, options ...string) error {
	fs, err := unix.Fsopen(kind, unix.FSOPEN_CLOEXEC)
	if err != nil {
		return fmt.Errorf("open file system %s: %w", kind, err)
	}
	defer func() { _ = unix.Close(fs) }()
	for _, o := range options {
		k, v, _ := strings.Cut(o, "=")
		if v == "" {
			err = unix.FsconfigSetFlag(fs, k)
		} else {
			err = unix.FsconfigSetString(fs, k, v)
		}
		if err != nil {
			return fmt.Errorf("option %s of %s: %w", o, kind, err)
		}
	}
	if err := unix.FsconfigCreate(fs); err != nil {
		return fmt.Errorf("make file system %s: %w", kind, err)
	}
	fd, err := unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, flags)
	if err != nil {
		return fmt.Errorf("mount %s: %w", kind, err)
	}
	defer func() { _ = unix.Close(fd) }()
	return r.attach(fd, p)
}

const plain = unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV

// system mounts /proc and /dev, and /tmp where nothing else can be written.
func (r *builder) system() error {
	if err := r.mount("proc", "proc", plain|unix.MOUNT_ATTR_NOEXEC); err != nil {
		return fmt.Errorf("%w (in a container, /proc must not be masked: run it with --security-opt systempaths=unconfined)", err)
	}
	if err := r.mount("tmpfs", "dev", unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NOEXEC, "mode=0755", "size=64k", "nr_inodes=64"); err != nil {
		return err
	}
	dev, err := r.target("dev")
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(dev) }()
	for _, name := range devices {
		if err := r.device(dev, name); err != nil {
			return err
		}
	}
	for name, to := range map[string]string{
		"fd": "/proc/self/fd", "stdin": "/proc/self/fd/0", "stdout": "/proc/self/fd/1", "stderr": "/proc/self/fd/2",
		"ptmx": "pts/ptmx",
	} {
		if err := unix.Symlinkat(to, dev, name); err != nil {
			return fmt.Errorf("make /dev/%s: %w", name, err)
		}
	}
	for _, name := range []string{"pts", "shm"} {
		if err := unix.Mkdirat(dev, name, 0o755); err != nil {
			return fmt.Errorf("make /dev/%s: %w", name, err)
		}
	}
	if err := r.mount("devpts", "dev/pts", unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NOEXEC, "newinstance", "ptmxmode=0666", "mode=620", "max=64"); err != nil {
		return err
	}
	size := "size=" + strconv.FormatInt(r.b.Tmp, 10)
	if err := r.mount("tmpfs", "dev/shm", plain, "mode=1777", size, "nr_inodes=16384"); err != nil {
		return err
	}
	if err := unix.MountSetattr(dev, "", unix.AT_EMPTY_PATH, &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY}); err != nil {
		return fmt.Errorf("make /dev read-only: %w", err)
	}
	if r.b.TmpOnTop {
		return r.mount("tmpfs", "tmp", plain, "mode=1777", size, "nr_inodes=65536")
	}
	return nil
}

func (r *builder) device(dev int, name string) error {
	fd, err := unix.OpenTree(unix.AT_FDCWD, "/dev/"+name, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	if err != nil {
		return fmt.Errorf("open /dev/%s: %w", name, err)
	}
	defer func() { _ = unix.Close(fd) }()
	if err := unix.Mknodat(dev, name, unix.S_IFREG|0o666, 0); err != nil {
		return fmt.Errorf("make /dev/%s: %w", name, err)
	}
	if err := unix.MoveMount(fd, "", dev, name, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		return fmt.Errorf("mount /dev/%s: %w", name, err)
	}
	return nil
}

// show binds what is shown of the host and masks parts of /proc.
func (r *builder) show() error {
	for i, b := range r.b.Binds {
		if r.binds[i] < 0 {
			continue
		}
		attr := &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY | plain}
		if err := unix.MountSetattr(r.binds[i], "", unix.AT_EMPTY_PATH|unix.AT_RECURSIVE, attr); err != nil {
			return fmt.Errorf("make %s read-only: %w", b.Path, err)
		}
		if err := r.attach(r.binds[i], b.Path); err != nil {
			return err
		}
	}
	for _, name := range readOnly {
		if err := r.bindSelf("proc/" + name); err != nil {
			return err
		}
	}
	for _, name := range masked {
		if err := r.mask("proc/" + name); err != nil {
			return err
		}
	}
	return nil
}

// bindSelf makes a path read-only by mounting it over itself.
func (r *builder) bindSelf(p string) error {
	fd, err := unix.OpenTree(r.root, p, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	if err != nil {
		return fmt.Errorf("open %s: %w", p, err)
	}
	defer func() { _ = unix.Close(fd) }()
	if err := unix.MountSetattr(fd, "", unix.AT_EMPTY_PATH, &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY}); err != nil {
		return fmt.Errorf("make %s read-only: %w", p, err)
	}
	return r.attach(fd, p)
}

// mask covers a file with an empty one and a directory with an empty one. Both
// come from the stage and are read-only.
func (r *builder) mask(p string) error {
	var st unix.Stat_t
	err := unix.Fstatat(r.root, p, &st, unix.AT_SYMLINK_NOFOLLOW)
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look at %s: %w", p, err)
	}
	cover := "none"
	switch {
	case st.Mode&unix.S_IFMT == unix.S_IFLNK:
		return nil
	case st.Mode&0o007 == 0 && st.Uid != wire.UserID && st.Gid != wire.UserID: // it is root's alone
		return nil
	case st.Mode&unix.S_IFMT == unix.S_IFDIR:
	default:
		cover = "empty"
		if fd, err := unix.Open(cover, unix.O_CREAT|unix.O_RDONLY|unix.O_CLOEXEC, 0o444); err == nil {
			_ = unix.Close(fd) // an error is seen when it is opened below
		}
	}
	fd, err := unix.OpenTree(unix.AT_FDCWD, cover, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	if err != nil {
		return fmt.Errorf("open a cover for %s: %w", p, err)
	}
	defer func() { _ = unix.Close(fd) }()
	if err := unix.MountSetattr(fd, "", unix.AT_EMPTY_PATH, &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY}); err != nil {
		return fmt.Errorf("make a cover read-only: %w", err)
	}
	return r.attach(fd, p)
}

// enter makes the new root the root and lets go of the old one.
func (r *builder) enter() error {
	if err := unix.Fchdir(r.root); err != nil {
		return fmt.Errorf("enter the new root: %w", err)
	}
	if err := unix.PivotRoot(".", "."); err != nil {
		return fmt.Errorf("change the root: %w", err)
	}
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		return fmt.Errorf("let go of the old root: %w", err)
	}
	if err := os.Chdir("/"); err != nil {
		return fmt.Errorf("enter the new root: %w", err)
	}
	for _, fds := range r.trees {
		wire.CloseAll(fds)
	}
	for i, b := range r.b.Binds {
		if b.Tree < 0 {
			wire.CloseAll(r.binds[i : i+1])
		}
	}
	return unix.Close(r.root)
}
