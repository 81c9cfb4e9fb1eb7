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

// builder makes the root of an instance.
type builder struct {
	b     *wire.Build
	given []int // descriptors of trees that were sent
	trees [][]int
	binds []int // descriptors of Build.Binds
	root  int   // of the new root, O_PATH
}

// build makes the root of what is on the stage and in b, and moves into it.
func build(b *wire.Build, given []int) error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("keep mounts to this namespace: %w", err)
	}
	r := &builder{b: b, given: given, root: -1}
	if err := r.open(); err != nil {
		return err
	}
	for _, step := range []func() error{r.skeleton, r.overlay, r.system, r.show, r.enter} {
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

// skeleton makes the layer below all others.
func (r *builder) skeleton() error {
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

// system moves /proc and /dev from the stage, and mounts what has a size of this
// instance: /dev/shm, and /tmp where nothing else can be written.
func (r *builder) system() error {
	for _, name := range []string{"proc", "dev"} {
		at, err := r.target(name)
		if err != nil {
			return err
		}
		err = unix.MoveMount(unix.AT_FDCWD, name, at, "", unix.MOVE_MOUNT_T_EMPTY_PATH)
		_ = unix.Close(at)
		if err != nil {
			return fmt.Errorf("move /%s: %w", name, err)
		}
	}
	size := "size=" + strconv.FormatInt(r.b.Tmp, 10)
	if err := r.tmpfs("dev/shm", size, "nr_inodes=16384"); err != nil || !r.b.TmpOnTop {
		return err
	}
	return r.tmpfs("tmp", size, "nr_inodes=65536")
}

// tmpfs mounts a file system in memory that every process may write to.
func (r *builder) tmpfs(p string, options ...string) error {
	fd, err := fileSystem("tmpfs", plain, append(options, "mode=1777")...)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(fd) }()
	return r.attach(fd, p)
}

// show binds what is shown of the host.
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
	return nil
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
