package workspace

import (
	"archive/tar"
	"context"
	"io"
	"io/fs"
	"path"
	"strings"
	"time"

	"github.com/cairn-run/cairn"
)

// Kind is what an entry of a tree is.
type Kind string

// Kinds of entries.
const (
	KindDir     Kind = "directory"
	KindFile    Kind = "file"
	KindSymlink Kind = "symlink"
)

// Entry is a file, directory or link of a recorded state.
type Entry struct {
	Path   string       `json:"path"` // from the root of the sandbox, without the first slash: workspace/main.go
	Kind   Kind         `json:"kind"`
	Mode   fs.FileMode  `json:"mode"`             // permission bits
	Size   int64        `json:"size,omitzero"`    // of files, in bytes
	Digest cairn.Digest `json:"digest,omitzero"`  // of a file's content; of a directory: of all that is in it
	Target string       `json:"target,omitempty"` // of links
}

func entryOf(p string, n *node) Entry {
	e := Entry{Path: p, Mode: fs.FileMode(n.mode & 0o777), Digest: digestOf(n.hash)}
	if n.mode&0o1000 != 0 {
		e.Mode |= fs.ModeSticky
	}
	switch n.kind {
	case kindDir:
		e.Kind = KindDir
	case kindFile:
		e.Kind, e.Size = KindFile, n.size
	default:
		e.Kind, e.Target, e.Mode = KindSymlink, n.link, 0o777
	}
	return e
}

// ListOptions say what List returns. Zero takes the defaults.
type ListOptions struct {
	Depth int // levels below the path; default 1; negative: all
	Max   int // entries; default and most MaxEntries
}

// MaxEntries bounds the entries of one List.
const MaxEntries = 100_000

// List returns what is below a directory of a recorded state, sorted by path, the
// directory itself first; for a file or link, only that. It reads nothing but the
// manifests. more says that there was more than Max.
func (t *Tree) List(ctx context.Context, at cairn.Snapshot, p string, o ListOptions) (entries []Entry, more bool, err error) {
	n, clean, err := t.find(ctx, at, p)
	if err != nil {
		return nil, false, wrap(err, "listing files")
	}
	if o.Depth == 0 {
		o.Depth = 1
	}
	if o.Max <= 0 || o.Max > MaxEntries {
		o.Max = MaxEntries
	}
	var walk func(p string, n *node, depth int) bool
	walk = func(p string, n *node, depth int) bool {
		if len(entries) == o.Max {
			more = true
			return false
		}
		entries = append(entries, entryOf(p, n))
		if depth == 0 {
			return true
		}
		for _, k := range n.kids {
			if !walk(path.Join(p, k.name), k.n, depth-1) {
				return false
			}
		}
		return true
	}
	walk(clean, n, o.Depth)
	return entries, more, nil
}

// cleanPath makes a path one of a tree; "" is its root.
func cleanPath(p string) (string, error) {
	if strings.ContainsRune(p, 0) || len(p) > maxPath {
		return "", cairn.Errorf(cairn.CodeInvalid, "%s is not a path", quoted(p))
	}
	return strings.TrimPrefix(path.Clean("/"+p), "/"), nil
}

// find looks a path up in a recorded state.
func (t *Tree) find(ctx context.Context, at cairn.Snapshot, p string) (*node, string, error) {
	root, err := t.recorded(ctx, at)
	if err != nil {
		return nil, "", err
	}
	clean, err := cleanPath(p)
	if err != nil {
		return nil, "", err
	}
	n := root.lookup(clean)
	if n == nil {
		return nil, "", notFound("there is no %s in the files of the session at layer %d", quoted("/"+clean), at.Layer)
	}
	return n, clean, nil
}

// recorded is load under the session's lock.
func (t *Tree) recorded(ctx context.Context, at cairn.Snapshot) (*node, error) {
	_, release, err := t.s.acquire(ctx, t.key)
	if err != nil {
		return nil, err
	}
	defer release()
	return t.load(ctx, at)
}

// MaxRead bounds the bytes of one ReadFile.
const MaxRead = 16 << 20

// ReadFile reads a part of a file of a recorded state: at most limit bytes (0:
// [MaxRead], which is also the most) from offset. Links are not followed: reading one
// is CodeInvalid, and the message says where it points.
func (t *Tree) ReadFile(ctx context.Context, at cairn.Snapshot, p string, offset, limit int64) ([]byte, Entry, error) {
	b, e, err := t.readFile(ctx, at, p, offset, limit)
	return b, e, wrap(err, "reading a file")
}

func (t *Tree) readFile(ctx context.Context, at cairn.Snapshot, p string, offset, limit int64) ([]byte, Entry, error) {
	n, clean, err := t.find(ctx, at, p)
	if err != nil {
		return nil, Entry{}, err
	}
	e := entryOf(clean, n)
	switch {
	case n.kind == kindDir:
		return nil, e, cairn.Errorf(cairn.CodeInvalid, "%s is a directory: list it", quoted("/"+clean))
	case n.kind == kindLink:
		return nil, e, cairn.Errorf(cairn.CodeInvalid, "%s is a link to %s: read that", quoted("/"+clean), quoted(n.link))
	case offset < 0 || limit < 0:
		return nil, e, cairn.Errorf(cairn.CodeInvalid, "offset and limit are not negative")
	}
	if limit == 0 || limit > MaxRead {
		limit = MaxRead
	}
	limit = min(limit, max(0, n.size-offset))
	b := make([]byte, limit)
	if limit == 0 {
		return b, e, nil
	}
	c := t.contents()
	defer c.close()
	fd, err := c.open(clean, n)
	if err != nil {
		return nil, e, err
	}
	f := file(fd, clean)
	defer func() { _ = f.Close() }() // only read
	if _, err := f.ReadAt(b, offset); err != nil {
		return nil, e, err
	}
	return b, e, nil
}

// WriteTar writes what is below a directory of a recorded state as a tar stream, names
// relative to it; "" is [Prefix]. Import of it gives the same files. Files have the
// time of their last change, directories and links 1970.
func (t *Tree) WriteTar(ctx context.Context, at cairn.Snapshot, p string, w io.Writer) error {
	return wrap(t.writeTar(ctx, at, p, w), "writing an archive")
}

func (t *Tree) writeTar(ctx context.Context, at cairn.Snapshot, p string, w io.Writer) error {
	if p == "" {
		p = Prefix
	}
	n, clean, err := t.find(ctx, at, p)
	if err != nil {
		return err
	}
	if n.kind != kindDir {
		return cairn.Errorf(cairn.CodeInvalid, "%s is no directory: read it", quoted("/"+clean))
	}
	tw := tar.NewWriter(w)
	c := t.contents()
	defer c.close()
	var walk func(name, full string, n *node) error
	walk = func(name, full string, n *node) error {
		for _, k := range n.kids {
			if err := ctx.Err(); err != nil {
				return err
			}
			kname, kfull := path.Join(name, k.name), path.Join(full, k.name)
			if err := writeEntry(tw, c, kname, kfull, k.n); err != nil {
				return err
			}
			if err := walk(kname, kfull, k.n); err != nil {
				return err
			}
		}
		return nil
	}
	if err := walk("", clean, n); err != nil {
		return err
	}
	return tw.Close()
}

func writeEntry(tw *tar.Writer, c *contents, name, full string, n *node) error {
	h := &tar.Header{Name: name, Mode: int64(n.mode), ModTime: time.Unix(0, 0), Format: tar.FormatPAX}
	switch n.kind {
	case kindDir:
		h.Typeflag, h.Name = tar.TypeDir, name+"/"
		return tw.WriteHeader(h)
	case kindLink:
		h.Typeflag, h.Linkname, h.Mode = tar.TypeSymlink, n.link, 0o777
		return tw.WriteHeader(h)
	}
	fd, err := c.open(full, n)
	if err != nil {
		return err
	}
	f := file(fd, name)
	defer func() { _ = f.Close() }() // only read
	st, err := fstat(fd)
	if err != nil {
		return err
	}
	h.Typeflag, h.Size, h.ModTime = tar.TypeReg, n.size, time.Unix(st.mtime/1e9, 0)
	if err := tw.WriteHeader(h); err != nil {
		return err
	}
	_, err = io.CopyN(tw, f, n.size)
	return err
}
