package workspace

import (
	"context"
	"os"
	"path/filepath"
	"strconv"

	"github.com/cairn-run/cairn"
)

// squashAbove is the number of layers above which the older ones are mounted as one.
// Mounting 32 layers takes 0.5 ms, 128 take 1.8 ms, and the kernel takes no more than
// 500. All layers stay on the disk: every recorded state can be read for ever.
const squashAbove = 32

// squash makes one layer of the layers 1 to n: the same files under a second name, so
// that it costs directories only. It is a copy: losing it loses nothing.
func (t *Tree) squash(ctx context.Context, n int64) (string, error) {
	dir := filepath.Join(t.path(), squashDir, strconv.FormatInt(n, 10))
	root := filepath.Join(dir, rootDir)
	if _, err := os.Lstat(root); err == nil || !missing(err) {
		return root, err
	}
	base, err := t.load(ctx, cairn.Snapshot{})
	if err != nil {
		return "", err
	}
	top, err := t.load(ctx, cairn.Snapshot{Layer: n})
	if err != nil {
		return "", err
	}
	temp := t.s.temp()
	done := false
	defer func() {
		if !done {
			t.s.drop(temp)
		}
	}()
	if err := t.s.makeRoot(temp); err != nil {
		return "", err
	}
	if d := delta(base, top); d != nil {
		fd, err := openDir(cwd, filepath.Join(temp, rootDir))
		if err != nil {
			return "", err
		}
		defer closeFD(fd)
		c := t.contents()
		defer c.close()
		b := &builder{uid: t.s.o.UID, gid: t.s.o.GID, open: c.open, link: true}
		if err := b.build(ctx, fd, "", d); err != nil {
			return "", err
		}
	}
	t.s.o.Hook("workspace.squash.rename")
	if err := t.s.syncAll(); err != nil {
		return "", err
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o700); err != nil {
		return "", err
	}
	if err := os.Rename(temp, dir); err != nil {
		return "", err
	}
	done = true
	return root, nil
}
