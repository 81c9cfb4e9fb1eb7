package workspace

import (
	"archive/tar"
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/cairn-run/cairn"
)

// Imported says what an import made.
type Imported struct {
	// Tree is the digest of the base: what sessions are started with.
	Tree  cairn.Digest
	Files int   // regular files and symbolic links
	Bytes int64 // of regular files
}

// Import reads a plain tar stream and keeps it as a base of the tenant, below
// [Prefix]. A base never changes, and the same files always give the same base. On
// the disk it is there whole, or not at all.
//
// Refused with CodeInvalid: names that are absolute, hold "..", go through a symbolic
// link, or are too long or deep; devices and FIFOs; hard links to what is not in the
// stream before them; more than MaxBytes or MaxFiles; holes of sparse files that come
// to more than the archive itself and 64 MiB. Symbolic links are kept as
// they are, wherever they point, and never followed. Names may be any bytes. Owners,
// set-uid bits and extended attributes are dropped. Of several entries with one
// name the last counts.
func (s *Store) Import(ctx context.Context, t cairn.TenantID, r io.Reader) (Imported, error) {
	i, err := s.importTar(ctx, t, r)
	return i, wrap(err, "importing files")
}

func (s *Store) importTar(ctx context.Context, t cairn.TenantID, r io.Reader) (Imported, error) {
	if t == "" {
		return Imported{}, cairn.Errorf(cairn.CodeInvalid, "a base has a tenant")
	}
	temp := s.temp()
	done := false
	defer func() {
		if !done {
			s.drop(temp)
		}
	}()
	if err := s.makeRoot(temp); err != nil {
		return Imported{}, err
	}
	fd, err := openDir(cwd, filepath.Join(temp, rootDir))
	if err != nil {
		return Imported{}, err
	}
	defer closeFD(fd)
	u := &unpacker{
		s: s, root: fd, tree: &node{kind: kindDir, mode: rootMode}, buf: make([]byte, 256<<10), dir: -1,
		in:    &limited{ctx, r, s.o.MaxBytes + int64(s.o.MaxFiles)*maxHeaders},
		index: map[*node]map[string]*node{},
	}
	defer u.leave()
	if err := u.unpack(ctx); err != nil {
		return Imported{}, err
	}
	u.sort()
	if err := u.modes(fd, u.tree); err != nil {
		return Imported{}, err
	}
	sealAll(u.tree)
	out := Imported{Tree: u.tree.digest()}
	out.add(u.tree)
	final := s.basePath(t, out.Tree)
	if s.Base(ctx, t, out.Tree) == nil {
		if s.verifyBase(ctx, t, out.Tree) == nil {
			return out, nil
		}
		// It was damaged: the new one takes its place.
		if err := s.discard(final); err != nil {
			return Imported{}, err
		}
		s.cache.forgetBase(t, out.Tree)
	}
	m := &manifest{tree: u.tree.hash, root: u.tree}
	if err := os.WriteFile(filepath.Join(temp, manifestFile), m.encode(), 0o600); err != nil {
		return Imported{}, err
	}
	s.o.Hook("workspace.import.sync")
	if err := os.MkdirAll(filepath.Dir(final), 0o700); err != nil {
		return Imported{}, err
	}
	if err := s.syncAll(); err != nil {
		return Imported{}, err
	}
	s.o.Hook("workspace.import.rename")
	if err := os.Rename(temp, final); err != nil {
		if notEmpty(err) || errors.Is(err, os.ErrExist) {
			return out, nil // somebody was quicker with the same files
		}
		return Imported{}, err
	}
	done = true
	parent, err := openDir(cwd, filepath.Dir(final))
	if err != nil {
		return Imported{}, err
	}
	defer closeFD(parent)
	return out, fsync(parent)
}

func (i *Imported) add(n *node) {
	switch n.kind {
	case kindFile:
		i.Files++
		i.Bytes += n.size
	case kindLink:
		i.Files++
	}
	for _, k := range n.kids {
		i.add(k.n)
	}
}

// unpacker writes the entries of a tar stream below an open directory.
type unpacker struct {
	s       *Store
	root    int
	in      *limited
	tree    *node // what is there, without the hashes of directories, in no order
	index   map[*node]map[string]*node
	buf     []byte
	entries int
	bytes   int64
	holes   int64 // of bytes: what the stream did not hold
	text    int64 // bytes of names and targets

	dir     int // the directory of the entry before, open; -1: none
	dirPath string
}

func (u *unpacker) unpack(ctx context.Context) error {
	for _, d := range skeleton {
		if _, err := u.mkdir(d.path, int(d.mode)); err != nil {
			return err
		}
	}
	tr := tar.NewReader(u.in)
	for {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return badTar(ctx, err)
		}
		if u.entries++; u.entries > u.s.o.MaxFiles {
			return cairn.Errorf(cairn.CodeInvalid, "more than %d files: leave out what is not needed (build output, dependencies)", u.s.o.MaxFiles)
		}
		u.s.o.Hook("workspace.import.entry")
		if err := u.entry(ctx, h, tr); err != nil {
			return err
		}
	}
}

// find is the entry of a directory; nil: it is not there.
func (u *unpacker) find(dir *node, name string) *node { return u.index[dir][name] }

// put makes an entry of a directory, in the place of one that is there.
func (u *unpacker) put(dir *node, name string, n *node) error {
	if old := u.find(dir, name); old != nil {
		u.text -= int64(len(old.link))
		*old = *n
	} else {
		if u.index[dir] == nil {
			u.index[dir] = map[string]*node{}
		}
		u.index[dir][name] = n
		dir.kids = append(dir.kids, kid{name, n})
		u.text += int64(len(name))
	}
	if u.text += int64(len(n.link)); u.text > maxListed {
		return tooMuchText()
	}
	return nil
}

// lookup finds the entry at a clean path.
func (u *unpacker) lookup(path string) *node {
	n := u.tree
	for name := range strings.SplitSeq(path, "/") {
		if n = u.find(n, name); n == nil {
			return nil
		}
	}
	return n
}

// sort brings all directories into their order, once: archives come in any.
func (u *unpacker) sort() {
	for dir := range u.index {
		slices.SortFunc(dir.kids, func(a, b kid) int { return cmp.Compare(a.name, b.name) })
	}
	clear(u.index)
}

// maxHoles is what the holes of sparse files may come to beyond the size of the stream
// itself, in bytes: a few bytes must not fill the disk.
const maxHoles = 64 << 20

// maxHeaders is what the headers and the padding of one entry may take.
const maxHeaders = 16 << 10

// limited ends a stream that is longer than anything that would be accepted.
type limited struct {
	ctx  context.Context
	r    io.Reader
	left int64
}

func (l *limited) Read(b []byte) (int, error) {
	if err := l.ctx.Err(); err != nil {
		return 0, err
	}
	if l.left <= 0 {
		return 0, cairn.Errorf(cairn.CodeInvalid, "the upload is too long: leave out what is not needed")
	}
	n, err := l.r.Read(b[:min(int64(len(b)), l.left)])
	l.left -= int64(n)
	return n, err
}

// badTar tells what is wrong with the stream from what broke on the way.
func badTar(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if _, ok := errors.AsType[*cairn.Error](err); ok {
		return err
	}
	if errors.Is(err, tar.ErrHeader) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, tar.ErrFieldTooLong) {
		e := cairn.Errorf(cairn.CodeInvalid, "this is no whole tar archive: send a plain one, not compressed")
		e.Err = err
		return e
	}
	return fmt.Errorf("reading the archive: %w", err)
}

// place makes the path of an entry one below the prefix, or says why it is none.
func place(name string) (string, error) {
	refuse := func(why string) (string, error) {
		return "", cairn.Errorf(cairn.CodeInvalid, "the entry %s of the archive %s", quoted(name), why)
	}
	if strings.HasPrefix(name, "/") {
		return refuse("has an absolute name: make the archive with relative ones")
	}
	if strings.ContainsRune(name, 0) {
		return refuse("has a zero byte in its name")
	}
	var parts []string
	for p := range strings.SplitSeq(name, "/") {
		switch {
		case p == "" || p == ".":
		case p == "..":
			return refuse(`leads out of it with ".."`)
		case len(p) > maxName:
			return refuse(fmt.Sprintf("has a name longer than %d bytes", maxName))
		default:
			parts = append(parts, p)
		}
	}
	path := strings.Join(append([]string{Prefix}, parts...), "/")
	if len(path) > maxPath || len(parts)+1 > maxDepth {
		return refuse(fmt.Sprintf("is longer than %d bytes or deeper than %d directories", maxPath, maxDepth))
	}
	return path, nil
}

func (u *unpacker) entry(ctx context.Context, h *tar.Header, r io.Reader) error {
	switch h.Typeflag {
	case tar.TypeXGlobalHeader:
		return nil
	case tar.TypeReg, tar.TypeRegA, tar.TypeGNUSparse, tar.TypeDir, tar.TypeSymlink, tar.TypeLink, tar.TypeCont: //nolint:staticcheck // TypeRegA stands in old archives
	default:
		return cairn.Errorf(cairn.CodeInvalid, "the entry %s of the archive is neither a file, a directory nor a link: leave it out", quoted(h.Name))
	}
	path, err := place(h.Name)
	if err != nil {
		return err
	}
	if h.Typeflag == tar.TypeDir {
		if path == Prefix {
			return nil // its mode is the store's
		}
		_, err := u.mkdir(path, int(h.Mode&0o1777))
		return err
	}
	parent, name := filepath.Split(path)
	parent = strings.TrimSuffix(parent, "/")
	if path == Prefix {
		return cairn.Errorf(cairn.CodeInvalid, "the entry %s of the archive has no name", quoted(h.Name))
	}
	dir, err := u.mkdir(parent, usualMode)
	if err != nil {
		return err
	}
	if err := u.enter(parent); err != nil {
		return err
	}
	if old := u.find(dir, name); old != nil {
		if old.kind == kindDir {
			return cairn.Errorf(cairn.CodeInvalid, "the entry %s of the archive is a directory before", quoted(h.Name))
		}
		if err := unlink(u.dir, name); err != nil {
			return err
		}
		if old.kind == kindFile {
			u.bytes -= old.size
		}
	}
	var n *node
	switch h.Typeflag {
	case tar.TypeSymlink:
		n, err = u.symlink(name, h)
	case tar.TypeLink:
		n, err = u.link(path, name, h)
	default:
		n, err = u.file(ctx, name, h, r)
	}
	if err != nil {
		return err
	}
	return u.put(dir, name, n)
}

// usualMode is 0755 for a directory that is made; one that is there keeps its own.
const usualMode = -1

// mkdir finds a directory, and makes it with those above it.
func (u *unpacker) mkdir(path string, mode int) (*node, error) {
	dir := u.tree
	for at := 0; at < len(path); {
		end := len(path)
		if i := strings.IndexByte(path[at:], '/'); i >= 0 {
			end = at + i
		}
		name := path[at:end]
		n := u.find(dir, name)
		switch {
		case n == nil:
			if err := u.enter(strings.TrimSuffix(path[:at], "/")); err != nil {
				return nil, err
			}
			if err := errors.Join(mkdir(u.dir, name, 0o700), chown(u.dir, name, u.s.o.UID, u.s.o.GID)); err != nil {
				return nil, err
			}
			// Directories that no entry names count as well.
			if u.entries++; u.entries > u.s.o.MaxFiles {
				return nil, cairn.Errorf(cairn.CodeInvalid, "more than %d files and directories: leave out what is not needed", u.s.o.MaxFiles)
			}
			n = &node{kind: kindDir, mode: 0o755}
			if err := u.put(dir, name, n); err != nil {
				return nil, err
			}
		case n.kind != kindDir:
			return nil, cairn.Errorf(cairn.CodeInvalid, "the entry %s of the archive goes through %s, which is no directory", quoted(path), quoted(path[:end]))
		}
		dir = n
		at = end + 1
	}
	if mode != usualMode {
		dir.mode = uint16(mode)
	}
	return dir, nil
}

// enter opens a directory that is there, in u.dir.
func (u *unpacker) enter(path string) error {
	if u.dir >= 0 && u.dirPath == path {
		return nil
	}
	u.leave()
	if path == "" {
		path = "."
	}
	fd, err := openBeneath(u.root, path, true)
	if err != nil {
		return err
	}
	u.dir, u.dirPath = fd, path
	return nil
}

func (u *unpacker) leave() {
	if u.dir >= 0 {
		closeFD(u.dir)
		u.dir = -1
	}
}

func (u *unpacker) symlink(name string, h *tar.Header) (*node, error) {
	if h.Linkname == "" || len(h.Linkname) > maxPath || strings.ContainsRune(h.Linkname, 0) {
		return nil, cairn.Errorf(cairn.CodeInvalid, "the link %s of the archive has no usable target", quoted(h.Name))
	}
	if err := errors.Join(symlink(h.Linkname, u.dir, name), chown(u.dir, name, u.s.o.UID, u.s.o.GID)); err != nil {
		return nil, err
	}
	return linkNode(h.Linkname, 0), nil
}

// link gives a file of the archive a second name.
func (u *unpacker) link(path, name string, h *tar.Header) (*node, error) {
	from, err := place(h.Linkname)
	if err != nil {
		return nil, err
	}
	old := u.lookup(from)
	if path == from { // the entry that it takes the place of is gone
		old = nil
	}
	if old == nil || old.kind != kindFile {
		return nil, cairn.Errorf(cairn.CodeInvalid, "the entry %s of the archive is a hard link to %s, which is no file before it", quoted(h.Name), quoted(h.Linkname))
	}
	if u.bytes += old.size; u.bytes > u.s.o.MaxBytes {
		return nil, u.tooLarge()
	}
	parent, last := filepath.Split(from)
	fd, err := openBeneath(u.root, strings.TrimSuffix(parent, "/"), true)
	if err != nil {
		return nil, err
	}
	defer closeFD(fd)
	if err := link(fd, last, u.dir, name); err != nil {
		return nil, err
	}
	n := *old
	return &n, nil
}

func (u *unpacker) tooLarge() error {
	return cairn.Errorf(cairn.CodeInvalid, "the files are larger than %s: leave out what is not needed", cairn.Bytes(u.s.o.MaxBytes))
}

func (u *unpacker) file(ctx context.Context, name string, h *tar.Header, r io.Reader) (*node, error) {
	if h.Size < 0 || h.Size > u.s.o.MaxBytes-u.bytes {
		return nil, u.tooLarge()
	}
	fd, err := create(u.dir, name)
	if err != nil {
		return nil, err
	}
	defer closeFD(fd)
	n := &node{kind: kindFile, mode: uint16(h.Mode & 0o777)}
	sum, before := sha256.New(), u.in.left
	for {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		k, err := io.ReadFull(r, u.buf)
		if k > 0 {
			sum.Write(u.buf[:k])
			if err := write(fd, u.buf[:k]); err != nil {
				return nil, err
			}
			n.size += int64(k)
			if u.holes+n.size-(before-u.in.left) > maxHoles {
				return nil, cairn.Errorf(cairn.CodeInvalid, "the sparse file %s of the archive has holes of more than %s: make the archive without --sparse, or leave it out", quoted(h.Name), cairn.Bytes(maxHoles))
			}
		}
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) && n.size == h.Size {
			break
		}
		if err != nil {
			return nil, badTar(ctx, err)
		}
	}
	sum.Sum(n.hash[:0])
	u.bytes += n.size
	u.holes += max(0, n.size-(before-u.in.left))
	if err := errors.Join(chown(u.dir, name, u.s.o.UID, u.s.o.GID), fchmod(fd, n.mode)); err != nil {
		return nil, err
	}
	if ns := h.ModTime.UnixNano(); h.ModTime.Unix() > 0 && ns > 0 {
		if err := setTime(fd, ns); err != nil {
			return nil, err
		}
	}
	startSync(fd)
	return n, nil
}

// modes gives the directories their modes: until now they could be written to.
func (u *unpacker) modes(dir int, n *node) error {
	for _, k := range n.kids {
		if k.n.kind != kindDir {
			continue
		}
		fd, err := openDir(dir, k.name)
		if err != nil {
			return err
		}
		err = u.modes(fd, k.n)
		if err == nil {
			err = fchmod(fd, k.n.mode)
		}
		closeFD(fd)
		if err != nil {
			return err
		}
	}
	return nil
}
