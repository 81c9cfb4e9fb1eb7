package workspace

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// All system calls of the package stand in this file. Paths below a layer are
// never resolved by name from the root of the host: every call names one entry of
// an open directory, or goes through openat2 with RESOLVE_BENEATH and
// RESOLVE_NO_SYMLINKS, so that nothing a payload left in a tree can lead out of it.

// cwd stands for "the path is absolute".
const cwd = unix.AT_FDCWD

// supported says that trees can be kept on this system.
const supported = true

// stat is what is looked at of an entry.
type stat struct {
	kind         kind // kindOther for FIFOs, sockets and devices
	mode         uint16
	size         int64
	blocks       int64 // bytes on the disk
	ino          uint64
	mtime, ctime int64 // ns since 1970
}

// again repeats a call that a signal broke off.
func again(call func() error) error {
	for {
		if err := call(); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

func sysErr(op, name string, err error) error {
	if err == nil {
		return nil
	}
	return &os.PathError{Op: op, Path: name, Err: err}
}

func openAt(dir int, name string, flags int, mode uint32) (fd int, err error) {
	err = again(func() error {
		fd, err = unix.Openat(dir, name, flags|unix.O_CLOEXEC, mode)
		return err
	})
	if err != nil {
		return -1, sysErr("open", name, err)
	}
	return fd, nil
}

// openDir opens a directory that is an entry of dir.
func openDir(dir int, name string) (int, error) {
	return openAt(dir, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
}

// openFile opens an entry of dir to be read. It never waits for the other end of a
// FIFO.
func openFile(dir int, name string) (int, error) {
	return openAt(dir, name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
}

// create makes a file that is not there yet.
func create(dir int, name string) (int, error) {
	return openAt(dir, name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW, 0o600)
}

// openBeneath opens the file or directory at a path of several parts; a symbolic
// link anywhere in it is an error, and so is leaving the tree.
func openBeneath(dir int, path string, directory bool) (fd int, err error) {
	how := unix.OpenHow{
		Flags:   unix.O_RDONLY | unix.O_CLOEXEC | unix.O_NONBLOCK | unix.O_NOCTTY | unix.O_NOFOLLOW,
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS,
	}
	if directory {
		how.Flags |= unix.O_DIRECTORY
	}
	err = again(func() error {
		fd, err = unix.Openat2(dir, path, &how)
		return err
	})
	if err != nil {
		return -1, sysErr("open", path, err)
	}
	return fd, nil
}

func closeFD(fd int) { _ = unix.Close(fd) } // what matters was synced before

// file wraps a descriptor, which it then owns.
func file(fd int, name string) *os.File { return os.NewFile(uintptr(fd), name) }

func statOf(st *unix.Stat_t) stat {
	s := stat{
		mode: uint16(st.Mode & 0o7777), size: st.Size, blocks: st.Blocks * 512, ino: st.Ino,
		mtime: st.Mtim.Nano(), ctime: st.Ctim.Nano(),
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		s.kind = kindDir
	case unix.S_IFREG:
		s.kind = kindFile
	case unix.S_IFLNK:
		s.kind = kindLink
	case unix.S_IFCHR:
		s.kind = kindOther
		if st.Rdev == 0 {
			s.kind = kindWhiteout
		}
	default:
		s.kind = kindOther
	}
	return s
}

// lstat looks at an entry of dir without following it.
func lstat(dir int, name string) (stat, error) {
	var st unix.Stat_t
	if err := again(func() error { return unix.Fstatat(dir, name, &st, unix.AT_SYMLINK_NOFOLLOW) }); err != nil {
		return stat{}, sysErr("stat", name, err)
	}
	return statOf(&st), nil
}

func fstat(fd int) (stat, error) {
	var st unix.Stat_t
	if err := again(func() error { return unix.Fstat(fd, &st) }); err != nil {
		return stat{}, sysErr("stat", "descriptor", err)
	}
	return statOf(&st), nil
}

// read fills b as far as the file goes.
func read(fd int, b []byte) (n int, err error) {
	for n < len(b) {
		var k int
		err = again(func() error { k, err = unix.Read(fd, b[n:]); return err })
		if err != nil {
			return n, sysErr("read", "file", err)
		}
		if k == 0 {
			return n, nil
		}
		n += k
	}
	return n, nil
}

func write(fd int, b []byte) error {
	for len(b) > 0 {
		var n int
		var err error
		err = again(func() error { n, err = unix.Write(fd, b); return err })
		if err != nil {
			return sysErr("write", "file", err)
		}
		b = b[n:]
	}
	return nil
}

func mkdir(dir int, name string, mode uint16) error {
	return sysErr("mkdir", name, unix.Mkdirat(dir, name, uint32(mode)))
}

func unlink(dir int, name string) error {
	return sysErr("unlink", name, unix.Unlinkat(dir, name, 0))
}

func rmdir(dir int, name string) error {
	return sysErr("rmdir", name, unix.Unlinkat(dir, name, unix.AT_REMOVEDIR))
}

func symlink(target string, dir int, name string) error {
	return sysErr("symlink", name, unix.Symlinkat(target, dir, name))
}

func link(fromDir int, from string, dir int, name string) error {
	return sysErr("link", name, unix.Linkat(fromDir, from, dir, name, 0))
}

// linkFD gives an open file another name. It needs /proc.
func linkFD(fd int, dir int, name string) error {
	return sysErr("link", name, unix.Linkat(cwd, procPath(fd), dir, name, unix.AT_SYMLINK_FOLLOW))
}

// renameNew is rename to a name that is not there yet.
func renameNew(fromDir int, from string, dir int, name string) error {
	return sysErr("rename", name, unix.Renameat2(fromDir, from, dir, name, unix.RENAME_NOREPLACE))
}

// whiteout makes overlayfs' mark of an entry that is not there: a character device
// 0:0, which anyone may make since Linux 5.8.
func whiteout(dir int, name string) error {
	return sysErr("whiteout", name, unix.Mknodat(dir, name, unix.S_IFCHR, 0))
}

func readlink(dir int, name string) (string, error) {
	b := make([]byte, maxPath+1)
	n, err := unix.Readlinkat(dir, name, b)
	if err != nil {
		return "", sysErr("readlink", name, err)
	}
	return string(b[:n]), nil
}

func fchmod(fd int, mode uint16) error {
	return sysErr("chmod", "descriptor", unix.Fchmod(fd, uint32(mode)))
}

// chmod changes an entry of dir that is not a symbolic link, also one that its owner
// may not open. Before Linux 6.6 it goes by way of /proc.
func chmod(dir int, name string, mode uint16) error {
	err := unix.Fchmodat(dir, name, uint32(mode), unix.AT_SYMLINK_NOFOLLOW)
	if err == nil || !errors.Is(err, unix.EOPNOTSUPP) && !errors.Is(err, unix.ENOSYS) {
		return sysErr("chmod", name, err)
	}
	fd, err := openAt(dir, name, unix.O_PATH|unix.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	defer closeFD(fd)
	return sysErr("chmod", name, unix.Chmod(procPath(fd), uint32(mode)))
}

func procPath(fd int) string { return "/proc/self/fd/" + strconv.Itoa(fd) }

// chown gives an entry to its owner; -1 leaves it.
func chown(dir int, name string, uid, gid int) error {
	if uid < 0 && gid < 0 {
		return nil
	}
	return sysErr("chown", name, unix.Fchownat(dir, name, uid, gid, unix.AT_SYMLINK_NOFOLLOW))
}

// setTime sets the time of the last change.
func setTime(fd int, mtime int64) error {
	ts := []unix.Timespec{{Nsec: unix.UTIME_OMIT}, unix.NsecToTimespec(mtime)}
	return sysErr("utimes", "descriptor", unix.UtimesNanoAt(fd, "", ts, unix.AT_EMPTY_PATH))
}

// names calls fn with the entries of an open directory, in no order. The bytes of a
// name are fn's.
func names(fd int, fn func(name string) error) error {
	if _, err := unix.Seek(fd, 0, 0); err != nil {
		return sysErr("seek", "directory", err)
	}
	buf := make([]byte, 32<<10)
	for {
		var n int
		var err error
		err = again(func() error { n, err = unix.Getdents(fd, buf); return err })
		if err != nil {
			return sysErr("readdir", "directory", err)
		}
		if n == 0 {
			return nil
		}
		for b := buf[:n]; len(b) >= direntName; {
			size := int(binary.NativeEndian.Uint16(b[16:]))
			if size < direntName || size > len(b) {
				return errors.New("readdir: the kernel answered nonsense")
			}
			name := b[direntName:size]
			if end := bytes.IndexByte(name, 0); end >= 0 {
				name = name[:end]
			}
			b = b[size:]
			if s := string(name); s != "." && s != ".." {
				if err := fn(s); err != nil {
					return err
				}
			}
		}
	}
}

// direntName is where the name begins in a struct linux_dirent64: after the inode
// (8), the offset (8), the length (2) and the type (1).
const direntName = 19

// Attributes of overlayfs, mounted with userxattr
// (https://docs.kernel.org/filesystems/overlayfs.html).
const (
	xattrOverlay = "user.overlay."
	xattrOpaque  = "user.overlay.opaque"
)

// keptXattrs are overlayfs' own notes which it may leave in a layer.
var keptXattrs = map[string]bool{
	"user.overlay.origin": true, "user.overlay.impure": true, "user.overlay.nlink": true, "user.overlay.uuid": true,
}

// opaque says whether an open directory hides what is below it.
func opaque(fd int) (bool, error) {
	var b [8]byte
	n, err := unix.Fgetxattr(fd, xattrOpaque, b[:])
	switch {
	case errors.Is(err, unix.ENODATA), errors.Is(err, unix.EOPNOTSUPP):
		return false, nil
	case errors.Is(err, unix.ERANGE): // longer than anything overlayfs writes
		return false, nil
	case err != nil:
		return false, sysErr("getxattr", "directory", err)
	}
	return string(b[:n]) == "y", nil
}

func setOpaque(fd int) error {
	return sysErr("setxattr", "directory", unix.Fsetxattr(fd, xattrOpaque, []byte("y"), 0))
}

// strip removes the attributes that a tree does not keep: those that anybody set,
// access lists and file capabilities. Of overlayfs' own the harmless ones stay, and
// the mark of an opaque directory.
func strip(fd int, isDir bool, mode uint16) error {
	var small [256]byte
	list := small[:]
	n, err := unix.Flistxattr(fd, list)
	if errors.Is(err, unix.ERANGE) {
		list = make([]byte, 64<<10) // XATTR_LIST_MAX
		n, err = unix.Flistxattr(fd, list)
	}
	if errors.Is(err, unix.EOPNOTSUPP) {
		return nil
	}
	if err != nil {
		return sysErr("listxattr", "entry", err)
	}
	for name := range strings.SplitSeq(string(list[:n]), "\x00") {
		if name == "" || keptXattrs[name] {
			continue
		}
		if name == xattrOpaque && isDir {
			if yes, err := opaque(fd); err != nil || yes {
				if err != nil {
					return err
				}
				continue
			}
		}
		if !strings.HasPrefix(name, "user.") && !strings.HasPrefix(name, "trusted.overlay.") &&
			!strings.HasPrefix(name, "system.posix_acl_") && name != "security.capability" {
			continue // labels of the host's security modules
		}
		if err := removeXattr(fd, name, mode); err != nil {
			return err
		}
	}
	return nil
}

func removeXattr(fd int, name string, mode uint16) error {
	err := unix.Fremovexattr(fd, name)
	switch {
	case errors.Is(err, unix.EACCES): // user.* wants a writable file
		if err = unix.Fchmod(fd, uint32(mode|0o600)); err == nil {
			err = unix.Fremovexattr(fd, name)
			if e := unix.Fchmod(fd, uint32(mode)); err == nil {
				err = e
			}
		}
	case errors.Is(err, unix.EPERM) && name == "security.capability":
		// A change of owner, even to nobody else, drops capabilities.
		err = unix.Fchown(fd, -1, -1)
	}
	if errors.Is(err, unix.ENODATA) {
		return nil
	}
	return sysErr("removexattr", name, err)
}

// startSync begins writing a file's pages, so that a sync that follows finds them
// under way. Failing is no loss.
func startSync(fd int) { _ = unix.SyncFileRange(fd, 0, 0, unix.SYNC_FILE_RANGE_WRITE) }

// cleanPages writes a file's dirty pages and thereby makes mappings of them
// read-only: the next write through a mapping is seen in the file's times.
func cleanPages(fd int) error {
	const all = unix.SYNC_FILE_RANGE_WAIT_BEFORE | unix.SYNC_FILE_RANGE_WRITE | unix.SYNC_FILE_RANGE_WAIT_AFTER
	return sysErr("sync", "file", unix.SyncFileRange(fd, 0, 0, all))
}

// timesTell says whether the file system that fd is on changes a file's times when a page
// of it is written through a mapping. Those that are known to do so (page_mkwrite in
// their sources) are named; tmpfs does not.
func timesTell(fd int) (bool, error) {
	var st unix.Statfs_t
	if err := again(func() error { return unix.Fstatfs(fd, &st) }); err != nil {
		return false, sysErr("statfs", "directory", err)
	}
	switch int64(st.Type) { //nolint:unconvert // on some machines it is an int32
	case unix.EXT4_SUPER_MAGIC, unix.XFS_SUPER_MAGIC, unix.BTRFS_SUPER_MAGIC, unix.F2FS_SUPER_MAGIC:
		return true, nil
	}
	return false, nil
}

func fsync(fd int) error {
	return sysErr("fsync", "entry", again(func() error { return unix.Fsync(fd) }))
}

// syncFS writes everything of the file system that fd is on. Since Linux 5.8 it
// reports what failed to be written since fd was opened.
func syncFS(fd int) error {
	return sysErr("syncfs", "file system", again(func() error { return unix.Syncfs(fd) }))
}

// dirty is how many bytes the machine has not written to its disks yet.
func dirty() (int64, error) {
	b, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0, err
	}
	_, rest, ok := bytes.Cut(b, []byte("\nDirty:"))
	if !ok {
		return 0, errors.New("/proc/meminfo has no line Dirty")
	}
	var kb int64
	if _, err := fmt.Sscanf(string(rest[:min(len(rest), 40)]), "%d kB", &kb); err != nil {
		return 0, fmt.Errorf("/proc/meminfo: %w", err)
	}
	return kb << 10, nil
}

func isFull(err error) bool {
	return errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) || errors.Is(err, unix.EFBIG)
}

func isLoop(err error) bool { return errors.Is(err, unix.ELOOP) || errors.Is(err, unix.ENOTDIR) }

func isDenied(err error) bool { return errors.Is(err, unix.EACCES) }

func isCross(err error) bool {
	return errors.Is(err, unix.EXDEV) || errors.Is(err, unix.EMLINK) || errors.Is(err, unix.EPERM) || errors.Is(err, unix.ENOENT)
}

// now is the clock that file times are taken from.
func now() int64 { return time.Now().UnixNano() }

// privileged says that modes do not bind this process.
func privileged() bool { return os.Geteuid() == 0 }

func notEmpty(err error) bool { return errors.Is(err, unix.ENOTEMPTY) }
