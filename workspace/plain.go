package workspace

import (
	"context"
	"errors"
	"io/fs"
	"path/filepath"

	"github.com/cairn-run/cairn"
)

// Plain makes the recorded state the current one in one plain directory, for drivers
// that mount nothing, and returns its path. What differs from the state is put back;
// the rest stays, so that this is cheap when little changed. Layers above the state
// are thrown away, as by Checkout. Nothing may be writing to the directory.
func (t *Tree) Plain(ctx context.Context, at cairn.Snapshot) (string, error) {
	dir, err := t.plain(ctx, at)
	return dir, wrap(err, "putting the files of the session in place")
}

func (t *Tree) plain(ctx context.Context, at cairn.Snapshot) (string, error) {
	e, release, err := t.s.acquire(ctx, t.key)
	if err != nil {
		return "", err
	}
	defer release()
	seen := t.s.looked()
	if e.out != nil && e.out.plain {
		seen = e.out.seen
	}
	if err := t.prepare(ctx, e, at); err != nil {
		return "", err
	}
	want, err := t.load(ctx, at)
	if err != nil {
		return "", err
	}
	dir := filepath.Join(t.path(), plainDir)
	fd, err := t.openPlain(dir)
	if err != nil {
		return "", err
	}
	// Special files and attributes are not part of the state, so they go.
	have, err := (&scanner{clean: true, shared: true, below: want, sizes: true, seen: seen, racy: t.s.racy, max: t.s.o.MaxFiles + want.count()}).scan(ctx, fd)
	if cairn.CodeOf(err) == cairn.CodeInvalid {
		// What cannot be recorded cannot be compared either: begin anew.
		closeFD(fd)
		if err := t.s.discard(dir); err != nil {
			return "", err
		}
		if fd, err = t.openPlain(dir); err != nil {
			return "", err
		}
		have, err = &node{kind: kindDir, mode: rootMode}, nil
	}
	defer closeFD(fd)
	if err != nil {
		return "", err
	}
	sealAll(have)
	if d := delta(have, want); d != nil {
		t.s.o.Hook("workspace.plain.change")
		c := t.contents()
		defer c.close()
		b := &builder{plain: true, uid: t.s.o.UID, gid: t.s.o.GID, open: c.open}
		if err := b.build(ctx, fd, "", d); err != nil {
			return "", err
		}
	}
	if err := fchmod(fd, rootMode); err != nil {
		return "", err
	}
	e.out = &checkout{plain: true, start: at, seen: seen}
	return dir, nil
}

// openPlain opens the plain directory, and makes it if it is missing.
func (t *Tree) openPlain(dir string) (int, error) {
	if err := t.s.makeTop(dir, rootMode); err != nil && !errors.Is(err, fs.ErrExist) {
		return -1, err
	}
	return openDir(cwd, dir)
}

// SnapshotPlain records the plain directory as the next layer above parent: what
// differs is copied. A file whose size, times and inode are those of the last look is
// taken to be unchanged. Nothing may be writing to the directory. Unlike after
// Snapshot, the directory can be used on.
func (t *Tree) SnapshotPlain(ctx context.Context, parent cairn.Snapshot) (cairn.Snapshotted, error) {
	s, err := t.snapshotPlain(ctx, parent)
	return s, wrap(err, "recording the files of the session")
}

func (t *Tree) snapshotPlain(ctx context.Context, parent cairn.Snapshot) (cairn.Snapshotted, error) {
	e, release, err := t.s.acquire(ctx, t.key)
	if err != nil {
		return cairn.Snapshotted{}, err
	}
	defer release()
	if err := t.ready(e, parent, true); err != nil {
		return cairn.Snapshotted{}, err
	}
	t.s.o.Hook("workspace.snapshot.scan")
	was, err := t.load(ctx, parent)
	if err != nil {
		return cairn.Snapshotted{}, err
	}
	fd, err := openDir(cwd, filepath.Join(t.path(), plainDir))
	if err != nil {
		return cairn.Snapshotted{}, err
	}
	defer closeFD(fd)
	have, err := (&scanner{shared: true, below: was, seen: e.out.seen, racy: t.s.racy, max: t.s.o.MaxFiles + was.count(), maxBytes: t.max}).scan(ctx, fd)
	if err != nil {
		return cairn.Snapshotted{}, err
	}
	sealAll(have)
	d := delta(was, have)
	if d == nil {
		return cairn.Snapshotted{Snapshot: parent}, nil
	}
	l := &newLayer{t: t, parent: parent, was: was, over: d}
	defer l.drop()
	open := func(path string, _ *node) (int, error) { return t.s.openPath(fd, path) }
	if err := l.copy(ctx, open, false); err != nil {
		return cairn.Snapshotted{}, err
	}
	return l.commit(ctx)
}
