package workspace

import (
	"context"
	"crypto/sha256"
	"errors"
	"io/fs"

	"github.com/cairn-run/cairn"
)

// builder writes a layer to the disk: as a layer of overlayfs, or over a plain
// directory so that it then shows what the layer changed.
type builder struct {
	plain    bool // over a plain directory: what is removed is removed
	uid, gid int
	// open opens the content of a file of the layer.
	open func(path string, n *node) (fd int, err error)
	// link gives the content another name instead of copying it, where the file system
	// allows. Content is never written in place, so layers may share it.
	link  bool
	flush bool // begin to write files to the disk
	// fresh says that the content was hashed a moment ago where it is copied from: a
	// difference means that somebody writes to it.
	fresh bool
	buf   []byte
	files int
	bytes int64
}

// build writes what is in the directory n of a layer into the open directory.
func (b *builder) build(ctx context.Context, dir int, path string, n *node) error {
	for _, k := range n.kids {
		if err := ctx.Err(); err != nil {
			return err
		}
		p := k.name
		if path != "" {
			p = path + "/" + k.name
		}
		if err := b.entry(ctx, dir, k.name, p, k.n); err != nil {
			return err
		}
	}
	return nil
}

func (b *builder) entry(ctx context.Context, dir int, name, path string, n *node) error {
	if b.plain {
		st, err := lstat(dir, name)
		switch {
		case missing(err):
		case err != nil:
			return err
		case n.kind != kindDir || n.opaque || st.kind != kindDir:
			if err := removeEntry(dir, name); err != nil {
				return err
			}
		}
	}
	switch n.kind {
	case kindWhiteout:
		if b.plain {
			return nil
		}
		return whiteout(dir, name)
	case kindLink:
		if err := symlink(n.link, dir, name); err != nil {
			return err
		}
		return chown(dir, name, b.uid, b.gid)
	case kindFile:
		return b.file(dir, name, path, n)
	case kindDir:
		return b.dir(ctx, dir, name, path, n)
	default:
		return cairn.Errorf(cairn.CodeInternal, "a layer holds an entry of kind %d", n.kind)
	}
}

func (b *builder) dir(ctx context.Context, dir int, name, path string, n *node) error {
	err := mkdir(dir, name, 0o700)
	if errors.Is(err, fs.ErrExist) && b.plain {
		err = chmod(dir, name, n.mode|0o700)
	} else if err == nil {
		err = chown(dir, name, b.uid, b.gid)
	}
	if err != nil {
		return err
	}
	fd, err := openDir(dir, name)
	if err != nil {
		return err
	}
	defer closeFD(fd)
	if n.opaque && !b.plain {
		if err := setOpaque(fd); err != nil {
			return err
		}
	}
	if err := b.build(ctx, fd, path, n); err != nil {
		return err
	}
	return fchmod(fd, n.mode)
}

func (b *builder) file(dir int, name, path string, n *node) error {
	from, err := b.open(path, n)
	if err != nil {
		return err
	}
	defer closeFD(from)
	b.files++
	if b.link {
		if err := linkFD(from, dir, name); err == nil || !isCross(err) {
			return err
		}
	}
	b.bytes += n.size
	st, err := fstat(from)
	if err != nil {
		return err
	}
	to, err := create(dir, name)
	if err != nil {
		return err
	}
	defer closeFD(to)
	if b.buf == nil {
		b.buf = make([]byte, 256<<10)
	}
	h := sha256.New()
	for {
		k, err := read(from, b.buf)
		if err != nil {
			return err
		}
		h.Write(b.buf[:k])
		if err := write(to, b.buf[:k]); err != nil {
			return err
		}
		if k < len(b.buf) {
			break
		}
	}
	if hash(h.Sum(nil)) != n.hash && b.fresh {
		return errChanged(path)
	}
	if hash(h.Sum(nil)) != n.hash {
		return damaged("the content of %s is not what was recorded", quoted(path))
	}
	if err := errors.Join(chown(dir, name, b.uid, b.gid), fchmod(to, n.mode), setTime(to, st.mtime)); err != nil {
		return err
	}
	if b.flush {
		startSync(to)
	}
	return nil
}
