//go:build linux && (amd64 || arm64)

package boot

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/cairn-run/cairn/sandbox/ns/wire"
)

// OpenTrees opens trees in order, each followed by its Subs. A clone of a mount
// belongs to no namespace until it is attached, so that a process without rights
// over the path can attach what a process with rights has opened.
func OpenTrees(trees []wire.Tree) ([]int, error) {
	var fds []int
	for _, t := range trees {
		flags := uint(unix.OPEN_TREE_CLONE | unix.OPEN_TREE_CLOEXEC)
		if t.Submade {
			flags |= unix.AT_RECURSIVE
		}
		fd, err := unix.OpenTree(unix.AT_FDCWD, string(t.Path), flags)
		if err != nil {
			wire.CloseAll(fds)
			return nil, fmt.Errorf("open %s: %w%s", t.Path, err, hint(err))
		}
		fds = append(fds, fd)
		for _, name := range t.Subs.Words() {
			sub, err := unix.Openat2(fd, name, &unix.OpenHow{
				Flags:   unix.O_PATH | unix.O_DIRECTORY | unix.O_CLOEXEC,
				Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_XDEV,
			})
			if err != nil {
				wire.CloseAll(fds)
				return nil, fmt.Errorf("open %s in %s: %w", name, t.Path, err)
			}
			fds = append(fds, sub)
		}
	}
	return fds, nil
}

// hint says what an error of open_tree means here.
func hint(err error) string {
	switch {
	case errors.Is(err, unix.EINVAL):
		return " (a mount that cannot be shown alone: something else is mounted below it)"
	case errors.Is(err, unix.EACCES):
		return " (the user of the runtime may not read it)"
	}
	return ""
}

// handles finds the descriptors of each tree in what OpenTrees gave.
func handles(trees []wire.Tree, fds []int) ([][]int, error) {
	all := make([][]int, len(trees))
	for i, t := range trees {
		n := 1 + len(t.Subs.Words())
		if len(fds) < n {
			return nil, fmt.Errorf("%d descriptors are missing", n-len(fds))
		}
		all[i], fds = fds[:n], fds[n:]
	}
	return all, nil
}
