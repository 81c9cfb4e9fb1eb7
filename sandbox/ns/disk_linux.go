//go:build linux && (amd64 || arm64)

package ns

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

const (
	// openDirs bounds the directories that are open at once while walking: those
	// above are found again through "..".
	openDirs = 64
	// batch is how many names are read at a time.
	batch = 512
)

// errMoved says that directories were moved while they were walked.
var errMoved = errors.New("a directory was moved while it was looked at")

// level is a directory on the way down.
type level struct {
	dir  *os.File // nil: closed, to be found again
	dev  uint64
	ino  uint64
	subs []string // directories in it that have not been walked
}

// measure sums the blocks and counts the files of a tree that hostile programs may
// change meanwhile: no path is followed, no link, and any depth is walked.
// It stops above the limits.
func measure(ctx context.Context, root string, maxBytes, maxFiles int64) (bytes, files int64, err error) {
	type inode struct{ dev, ino uint64 }
	linked := map[inode]bool{} // files with several names count once
	var stack []*level
	defer func() {
		for _, l := range stack {
			if l.dir != nil {
				_ = l.dir.Close()
			}
		}
	}()

	enter := func(at int, name string) error {
		fd, err := unix.Openat(at, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
		if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP) {
			return nil // it was removed or replaced
		}
		if err != nil {
			return fmt.Errorf("open a directory of the sandbox: %w", err)
		}
		var st unix.Stat_t
		if err := unix.Fstat(fd, &st); err != nil {
			_ = unix.Close(fd)
			return fmt.Errorf("look at a directory of the sandbox: %w", err)
		}
		l := &level{dir: os.NewFile(uintptr(fd), name), dev: st.Dev, ino: st.Ino}
		stack = append(stack, l)
		if n := len(stack) - 1 - openDirs; n >= 0 && stack[n].dir != nil {
			_ = stack[n].dir.Close()
			stack[n].dir = nil
		}
		for {
			names, err := l.dir.Readdirnames(batch)
			for _, n := range names {
				var st unix.Stat_t
				if err := unix.Fstatat(fd, n, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
					continue // it was removed
				}
				files++
				if st.Mode&unix.S_IFMT == unix.S_IFDIR {
					l.subs = append(l.subs, n)
				} else if st.Nlink > 1 {
					if i := (inode{st.Dev, st.Ino}); linked[i] {
						continue
					} else {
						linked[i] = true
					}
				}
				bytes += st.Blocks * 512
			}
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			if errors.Is(err, io.EOF) || bytes > maxBytes || files > maxFiles {
				return nil
			}
			if err != nil {
				return fmt.Errorf("read a directory of the sandbox: %w", err)
			}
		}
	}

	if err := enter(unix.AT_FDCWD, root); err != nil {
		return 0, 0, err
	}
	for len(stack) > 0 && bytes <= maxBytes && files <= maxFiles {
		l := stack[len(stack)-1]
		if n := len(l.subs); n > 0 {
			name := l.subs[n-1]
			l.subs = l.subs[:n-1]
			if err := enter(int(l.dir.Fd()), name); err != nil {
				return bytes, files, err
			}
			continue
		}
		if len(stack) > 1 {
			if up := stack[len(stack)-2]; up.dir == nil {
				if err := up.reopen(int(l.dir.Fd())); err != nil {
					return bytes, files, err
				}
			}
		}
		_ = l.dir.Close()
		stack = stack[:len(stack)-1]
	}
	return bytes, files, nil
}

// reopen finds the directory again from one below it.
func (l *level) reopen(child int) error {
	fd, err := unix.Openat(child, "..", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("go back up in the sandbox: %w", err)
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil || st.Dev != l.dev || st.Ino != l.ino {
		_ = unix.Close(fd)
		return errMoved
	}
	l.dir = os.NewFile(uintptr(fd), "..")
	return nil
}
