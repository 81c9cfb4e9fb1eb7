//go:build linux && (amd64 || arm64)

package boot

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/cairn-run/cairn/sandbox/ns/wire"
)

// covers are directories, one of which is covered, in this mount namespace only, by
// the stage. No path that an instance is made of is expected in them.
var covers = []string{"/sys", "/dev"}

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

const plain = unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV

// stage covers a directory with a file system in memory, goes there and makes what
// all instances have alike: /proc and /dev. A spare process has done this before
// anybody asks for an instance.
func stage() error {
	var opened []int
	defer func() { wire.CloseAll(opened) }()
	for _, name := range devices { // before they can be covered
		fd, err := unix.OpenTree(unix.AT_FDCWD, "/dev/"+name, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
		if err != nil {
			return fmt.Errorf("open /dev/%s: %w", name, err)
		}
		opened = append(opened, fd)
	}
	err := error(unix.ENOENT)
	var dir string
	for _, dir = range covers {
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
	for _, d := range []string{"root", "skel", "none", "proc", "dev"} {
		if err := unix.Mkdir(d, 0o755); err != nil {
			return fmt.Errorf("make a directory: %w", err)
		}
	}
	if err := os.WriteFile("empty", nil, 0o444); err != nil {
		return fmt.Errorf("make a file: %w", err)
	}
	if err := stageProc(); err != nil {
		return err
	}
	return stageDev(opened)
}

// stageProc mounts /proc and masks parts of it.
func stageProc() error {
	if err := fresh("proc", "proc", plain|unix.MOUNT_ATTR_NOEXEC); err != nil {
		return fmt.Errorf("%w (in a container, /proc must not be masked: run it with --security-opt systempaths=unconfined)", err)
	}
	for _, name := range readOnly {
		if err := cover("proc/"+name, "proc/"+name); err != nil {
			return err
		}
	}
	for _, name := range masked {
		if err := mask("proc/" + name); err != nil {
			return err
		}
	}
	return nil
}

// stageDev mounts /dev, with the devices that were opened.
func stageDev(opened []int) error {
	if err := fresh("tmpfs", "dev", unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NOEXEC, "mode=0755", "size=64k", "nr_inodes=64"); err != nil {
		return err
	}
	for i, name := range devices {
		if err := unix.Mknod("dev/"+name, unix.S_IFREG|0o666, 0); err != nil {
			return fmt.Errorf("make /dev/%s: %w", name, err)
		}
		if err := unix.MoveMount(opened[i], "", unix.AT_FDCWD, "dev/"+name, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
			return fmt.Errorf("mount /dev/%s: %w", name, err)
		}
	}
	for name, to := range map[string]string{
		"fd": "/proc/self/fd", "stdin": "/proc/self/fd/0", "stdout": "/proc/self/fd/1", "stderr": "/proc/self/fd/2",
		"ptmx": "pts/ptmx",
	} {
		if err := unix.Symlink(to, "dev/"+name); err != nil {
			return fmt.Errorf("make /dev/%s: %w", name, err)
		}
	}
	for _, name := range []string{"pts", "shm"} {
		if err := unix.Mkdir("dev/"+name, 0o755); err != nil {
			return fmt.Errorf("make /dev/%s: %w", name, err)
		}
	}
	if err := fresh("devpts", "dev/pts", unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NOEXEC, "newinstance", "ptmxmode=0666", "mode=620", "max=64"); err != nil {
		return err
	}
	if err := unix.MountSetattr(unix.AT_FDCWD, "dev", 0, &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY}); err != nil {
		return fmt.Errorf("make /dev read-only: %w", err)
	}
	return nil
}

// fresh makes a file system and mounts it on the stage.
func fresh(kind, p string, flags int, options ...string) error {
	fd, err := fileSystem(kind, flags, options...)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(fd) }()
	if err := unix.MoveMount(fd, "", unix.AT_FDCWD, p, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		return fmt.Errorf("mount /%s: %w", p, err)
	}
	return nil
}

// fileSystem makes a file system that is mounted nowhere yet.
func fileSystem(kind string, flags int, options ...string) (int, error) {
	fs, err := unix.Fsopen(kind, unix.FSOPEN_CLOEXEC)
	if err != nil {
		return -1, fmt.Errorf("open file system %s: %w", kind, err)
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
			return -1, fmt.Errorf("option %s of %s: %w", o, kind, err)
		}
	}
	if err := unix.FsconfigCreate(fs); err != nil {
		return -1, fmt.Errorf("make file system %s: %w", kind, err)
	}
	fd, err := unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, flags)
	if err != nil {
		return -1, fmt.Errorf("mount %s: %w", kind, err)
	}
	return fd, nil
}

// mask covers a file with an empty one and a directory with an empty one.
func mask(p string) error {
	var st unix.Stat_t
	err := unix.Lstat(p, &st)
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look at %s: %w", p, err)
	}
	switch {
	case st.Mode&unix.S_IFMT == unix.S_IFLNK:
		return nil
	case st.Mode&0o007 == 0 && st.Uid != wire.UserID && st.Gid != wire.UserID: // it is root's alone
		return nil
	case st.Mode&unix.S_IFMT == unix.S_IFDIR:
		return cover(p, "none")
	}
	return cover(p, "empty")
}

// cover shows something of the stage, read-only, in the place of a path, which may be
// its own.
func cover(p, with string) error {
	fd, err := unix.OpenTree(unix.AT_FDCWD, with, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	if err != nil {
		return fmt.Errorf("open %s to cover %s: %w", with, p, err)
	}
	defer func() { _ = unix.Close(fd) }()
	if err := unix.MountSetattr(fd, "", unix.AT_EMPTY_PATH, &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY}); err != nil {
		return fmt.Errorf("make the cover of %s read-only: %w", p, err)
	}
	if err := unix.MoveMount(fd, "", unix.AT_FDCWD, p, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		return fmt.Errorf("cover %s: %w", p, err)
	}
	return nil
}
