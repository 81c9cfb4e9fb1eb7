package workspace

import (
	"context"
	"errors"
	"os"
	"path/filepath"

	"github.com/cairn-run/cairn"
)

// Snapshot records the files as the next layer above parent: the upper directory
// itself becomes the layer. Nothing may have it mounted any more, and Checkout is
// needed before the next command. If nothing changed, the answer is parent, and
// nothing is written. When Snapshot returns, the state is on the disk.
//
// Kept are directories, regular files and symbolic links with their names, permission
// bits (and the sticky bit of directories), content and targets. Times are restored
// but are no part of the hash. Not kept are FIFOs, sockets and devices, owners,
// set-uid and set-gid bits, extended attributes, access lists and capabilities; hard
// links become files of their own with the next write.
//
// Errors: CodeConflict with [ErrNotCheckedOut], or Retryable when a file changed
// meanwhile; CodeFull; CodeInvalid when a path
// cannot be kept, or with an [*Oversize] when there is more than Within allows. After an error the recorded state is intact, and Checkout brings it
// back.
func (t *Tree) Snapshot(ctx context.Context, parent cairn.Snapshot) (cairn.Snapshotted, error) {
	s, err := t.snapshot(ctx, parent, false)
	return s, wrap(err, "recording the files of the session")
}

// SnapshotLive is Snapshot while processes keep the upper directory mounted. They
// must be frozen from before it is called until it returns. What changed since parent
// is copied into the new layer; the upper directory stays in use.
func (t *Tree) SnapshotLive(ctx context.Context, parent cairn.Snapshot) (cairn.Snapshotted, error) {
	s, err := t.snapshot(ctx, parent, true)
	return s, wrap(err, "recording the files of the session")
}

func (t *Tree) snapshot(ctx context.Context, parent cairn.Snapshot, alive bool) (cairn.Snapshotted, error) {
	e, release, err := t.s.acquire(ctx, t.key)
	if err != nil {
		return cairn.Snapshotted{}, err
	}
	defer release()
	if err := t.ready(e, parent, false); err != nil {
		return cairn.Snapshotted{}, err
	}
	t.s.o.Hook("workspace.snapshot.scan")
	was, err := t.load(ctx, parent)
	if err != nil {
		return cairn.Snapshotted{}, err
	}
	start, err := t.load(ctx, e.out.start)
	if err != nil {
		return cairn.Snapshotted{}, err
	}
	upper := filepath.Join(t.livePath(), rootDir)
	fd, err := openDir(cwd, upper)
	if err != nil {
		return cairn.Snapshotted{}, err
	}
	defer closeFD(fd)
	// An upper directory that was begun on parent becomes the layer as it is.
	whole := !alive && e.out.start.Layer == parent.Layer
	sc := &scanner{overlay: true, below: start, clean: !alive, shared: alive, flush: whole, max: t.s.o.MaxFiles, maxBytes: t.max}
	if alive || !whole {
		sc.seen, sc.racy = e.out.seen, t.s.racy
	}
	over, err := sc.scan(ctx, fd)
	if err != nil {
		return cairn.Snapshotted{}, err
	}
	d := delta(was, merge(start, start, over, parent.Layer+1))
	if !alive {
		e.out = nil // from here on, only Checkout helps
	}
	if d == nil {
		return cairn.Snapshotted{Snapshot: parent}, nil
	}
	l := &newLayer{t: t, parent: parent, was: was, over: d}
	if whole {
		l.dir, l.entries = t.livePath(), over
		if err := errors.Join(strip(fd, true, rootMode), fchmod(fd, rootMode)); err != nil {
			return cairn.Snapshotted{}, err
		}
		return l.commit(ctx)
	}
	defer l.drop()
	open := func(path string, _ *node) (int, error) { return t.s.openPath(fd, path) }
	if err := l.copy(ctx, open, !alive); err != nil {
		return cairn.Snapshotted{}, err
	}
	s, err := l.commit(ctx)
	if err == nil && !alive {
		err = t.s.discard(t.livePath())
	}
	return s, err
}

// ready says whether a snapshot can be made.
func (t *Tree) ready(e *session, parent cairn.Snapshot, plain bool) error {
	refuse := func(format string, args ...any) error {
		err := cairn.Errorf(cairn.CodeConflict, format, args...)
		err.Err = ErrNotCheckedOut
		return err
	}
	switch {
	case e.out == nil:
		return refuse("the files of session %s are not checked out: check them out and make the call again", t.key.ID)
	case e.out.plain != plain:
		return refuse("the files of session %s are checked out in the other form", t.key.ID)
	case e.out.start.Layer > parent.Layer:
		return refuse("the files of session %s were checked out at layer %d, above %d", t.key.ID, e.out.start.Layer, parent.Layer)
	}
	if _, err := os.Lstat(t.layerPath(parent.Layer + 1)); err == nil {
		return refuse("layer %d of session %s is there already: check out layer %d", parent.Layer+1, t.key.ID, parent.Layer)
	} else if !missing(err) {
		return err
	}
	return nil
}

// newLayer is a layer on its way.
type newLayer struct {
	t       *Tree
	parent  cairn.Snapshot
	was     *node
	over    *node  // the layer, as its manifest says
	entries *node  // what is in its directory
	dir     string // with root, and then the manifest
	temp    string
}

// copy writes the layer into a new directory.
func (l *newLayer) copy(ctx context.Context, open func(string, *node) (int, error), link bool) error {
	l.t.s.o.Hook("workspace.snapshot.copy")
	l.temp = l.t.s.temp()
	l.dir, l.entries = l.temp, l.over
	if err := l.t.s.makeRoot(l.dir); err != nil {
		return err
	}
	fd, err := openDir(cwd, filepath.Join(l.dir, rootDir))
	if err != nil {
		return err
	}
	defer closeFD(fd)
	b := &builder{uid: l.t.s.o.UID, gid: l.t.s.o.GID, open: open, link: link, flush: true, fresh: true}
	return b.build(ctx, fd, "", l.over)
}

// drop removes what was not used.
func (l *newLayer) drop() {
	if l.temp != "" {
		l.t.s.drop(l.temp)
	}
}

// commit makes the directory the next layer, and durable. A layer that is not
// recorded in the journal is thrown away by the next Checkout, so it may appear under
// its name before it is on the disk; Snapshot returns after.
func (l *newLayer) commit(ctx context.Context) (cairn.Snapshotted, error) {
	s := l.t.s
	n := l.parent.Layer + 1
	now := merge(l.was, l.was, l.over, n)
	m := &manifest{layer: n, parent: l.was.hash, tree: now.hash, root: l.over}
	s.o.Hook("workspace.snapshot.manifest")
	if err := os.WriteFile(filepath.Join(l.dir, manifestFile), m.encode(), 0o600); err != nil {
		return cairn.Snapshotted{}, err
	}
	if err := s.discard(filepath.Join(l.dir, workDir)); err != nil {
		return cairn.Snapshotted{}, err
	}
	if err := ctx.Err(); err != nil {
		return cairn.Snapshotted{}, err
	}
	s.o.Hook("workspace.snapshot.rename")
	final := l.t.layerPath(n)
	if err := os.Rename(l.dir, final); err != nil {
		return cairn.Snapshotted{}, err
	}
	l.temp = ""
	s.o.Hook("workspace.snapshot.sync")
	if err := s.sync(final, l.entries, n); err != nil {
		// Whether it is on the disk is not known, so it must not be used.
		if e := s.discard(final); e != nil {
			s.o.Logger.Warn("a layer that could not be synced stays until the next checkout", "error", e)
		}
		return cairn.Snapshotted{}, err
	}
	s.o.Hook("workspace.snapshot.done")
	s.cache.put(l.t.cacheID(n), now, weight(l.was, now))
	return cairn.Snapshotted{
		Snapshot: cairn.Snapshot{Layer: n, Tree: now.digest(), Dir: l.parent.Dir},
		Changes:  changes(l.was, now),
	}, nil
}

// changes counts the files and links that differ.
func changes(from, to *node) (c cairn.Changes) {
	eachChange("", from, to, func(_ string, a, b *node) {
		isFile := func(n *node) bool { return n != nil && n.kind != kindDir }
		if b != nil && b.kind == kindFile {
			c.Bytes += b.size
		}
		switch {
		case isFile(a) && isFile(b):
			c.Modified++
		case isFile(b):
			c.Added++
		case isFile(a):
			c.Removed++
		}
	})
	return c
}

// eachChange calls fn for each path that differs, in order; of directories that came
// or went, for everything in them. A directory is named when it came, went or has
// another mode.
func eachChange(path string, a, b *node, fn func(path string, a, b *node)) {
	if same(a, b) {
		return
	}
	none := &node{}
	da, db := none, none
	if a != nil && a.kind == kindDir {
		da = a
	}
	if b != nil && b.kind == kindDir {
		db = b
	}
	if da == none || db == none || a.mode != b.mode {
		if path != "" {
			fn(path, a, b)
		}
	}
	if da == none && db == none {
		return
	}
	eachPair(da, db, func(name string, x, y *node) {
		if path != "" {
			name = path + "/" + name
		}
		eachChange(name, x, y, fn)
	})
}
