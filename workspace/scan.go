package workspace

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"io/fs"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/cairn-run/cairn"
)

// scanner reads a directory of the disk as a layer: what is in it, and the hashes of
// the files. Directories are read in one goroutine, files hashed in several.
//
// In an upper directory of overlayfs it honours whiteouts and opaque directories.
// Copied-up files are like any other: merge finds out that nothing changed. FIFOs,
// sockets and devices are no part of a tree; with Clean they are removed, else passed
// over.
type scanner struct {
	// below is the state that an upper directory is mounted on, or that a plain one is
	// compared with; nil: it is not known.
	below *node
	// sizes says that a file of another size than below has is another file: nobody asks
	// what is in it, and it is not read.
	sizes bool
	// overlay says that whiteouts and opaque directories mean something. Otherwise the
	// directory is what it shows.
	overlay bool
	// clean makes the directory hold what is recorded and nothing else: special files
	// and extended attributes are removed, and modes cut. Nothing may have it mounted.
	clean bool
	// shared says that the files may be mapped by processes which are alive, though
	// frozen.
	shared bool
	// flush begins to write files to the disk while the scan goes on.
	flush bool
	// seen are hashes known from an earlier scan; nil: none. The scan fills it anew.
	seen *statCache
	// racy is how much older than the scan the times of a file must be to be trusted.
	racy int64
	// max bounds the entries, and maxBytes their content by the sizes of files, whichever
	// is larger of a file's size and what it takes on the disk; 0: no bound. In a plain
	// directory files that have the size they have in below do not count.
	max      int
	maxBytes int64

	files chan job
	wg    sync.WaitGroup
	err   atomic.Pointer[error]
	count int
	dirs  int
	used  int64 // bytes, as maxBytes counts them
	text  int64 // bytes of names and targets
	bytes atomic.Int64
}

type job struct {
	fd   int
	st   stat
	n    *node
	mode uint16
	path string
}

// statCache knows the hashes of files by inode. A file is taken to be unchanged when
// size, both times and inode are the same, as git does; entries whose times are
// younger than the scan by less than racy are not kept.
type statCache struct{ files map[uint64]statEntry }

type statEntry struct {
	size, mtime, ctime int64
	hash               hash
}

// racy is longer than the tick that file times may be rounded to (10 ms with HZ=100).
const racy = int64(100e6)

// hashers bounds the goroutines of one scan.
const hashers = 4

// scan reads the open directory.
func (s *scanner) scan(ctx context.Context, fd int) (*node, error) {
	workers := min(hashers, runtime.GOMAXPROCS(0))
	s.files = make(chan job, 64)
	next := &statCache{files: map[uint64]statEntry{}}
	started := now()
	var mu sync.Mutex
	for range workers {
		s.wg.Add(1)
		go func() {
			defer s.wg.Done()
			buf := make([]byte, 128<<10)
			for j := range s.files {
				if s.err.Load() == nil && ctx.Err() == nil {
					if err := s.hash(ctx, j, buf); err != nil {
						s.fail(err)
					} else if s.seen != nil && max(j.st.ctime, j.st.mtime)+s.racy < started {
						mu.Lock()
						next.files[j.st.ino] = statEntry{j.st.size, j.st.mtime, j.st.ctime, j.n.hash}
						mu.Unlock()
					}
				}
				closeFD(j.fd)
			}
		}()
	}
	n, err := s.dir(ctx, fd, "", 0, s.below)
	close(s.files)
	s.wg.Wait()
	if err == nil {
		if p := s.err.Load(); p != nil {
			err = *p
		}
	}
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		return nil, err
	}
	n.mode, n.opaque = rootMode, false // the top of a layer has neither
	if s.seen != nil {
		*s.seen = *next
	}
	return n, nil
}

func (s *scanner) fail(err error) { s.err.CompareAndSwap(nil, &err) }

// dir reads an open directory; below is what it is merged with, nil: nothing.
func (s *scanner) dir(ctx context.Context, fd int, path string, depth int, below *node) (*node, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	n := &node{kind: kindDir}
	s.dirs++
	if s.overlay {
		var err error
		if n.opaque, err = opaque(fd); err != nil {
			return nil, err
		}
		if n.opaque || (below != nil && below.kind != kindDir) {
			below = nil
		}
	}
	err := names(fd, func(name string) error {
		s.count++
		if s.max > 0 && s.count > s.max {
			return cairn.Errorf(cairn.CodeInvalid, "the files are more than %d: remove some, or raise the limit", s.max)
		}
		n.kids = append(n.kids, kid{name: name})
		return s.listed(len(name))
	})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(n.kids, func(a, b kid) int { return cmp.Compare(a.name, b.name) })
	kept := n.kids[:0]
	for _, k := range n.kids {
		p := k.name
		if path != "" {
			p = path + "/" + k.name
		}
		var hidden *node
		if below != nil {
			hidden, _, _ = below.find(k.name)
		}
		e, err := s.entry(ctx, fd, k.name, p, depth, hidden)
		if err != nil {
			return nil, err
		}
		if e != nil {
			kept = append(kept, kid{k.name, e})
		}
	}
	n.kids = slices.Clip(kept)
	return n, nil
}

// entry reads one entry of a directory; nil: it is no part of the layer. hidden is what
// is below it, if anything is.
func (s *scanner) entry(ctx context.Context, dir int, name, path string, depth int, hidden *node) (*node, error) {
	st, err := lstat(dir, name)
	if err != nil {
		return nil, err
	}
	if st.kind != kindWhiteout && (len(path) > maxPath || depth >= maxDepth) {
		return nil, cairn.Errorf(cairn.CodeInvalid, "%.60q… is %d bytes long and %d directories deep; at most %d bytes and %d directories can be kept", path, len(path), depth, maxPath, maxDepth)
	}
	mode := modeOf(st.kind, st.mode)
	if s.clean && (st.kind == kindFile || st.kind == kindDir) && mode != st.mode {
		if err := chmod(dir, name, mode); err != nil {
			return nil, err
		}
		st.mode = mode
	}
	switch {
	case st.kind == kindWhiteout && s.overlay:
		return &node{kind: kindWhiteout}, nil
	case st.kind == kindLink:
		target, err := readlink(dir, name)
		if err != nil {
			return nil, err
		}
		if len(target) > maxPath {
			return nil, cairn.Errorf(cairn.CodeInvalid, "the target of the link %.60q is longer than %d bytes", path, maxPath)
		}
		return linkNode(target, 0), s.listed(len(target))
	case st.kind == kindDir:
		var n *node
		err := withDir(dir, name, st, func(fd int) error {
			var err error
			if s.clean {
				if err = strip(fd, true, mode); err != nil {
					return err
				}
			}
			n, err = s.dir(ctx, fd, path, depth+1, hidden)
			return err
		})
		if err != nil {
			return nil, err
		}
		n.mode = mode
		return n, nil
	case st.kind == kindFile:
		n := &node{kind: kindFile, mode: mode}
		// Before it is read: files with holes, room that was only reserved, and one file
		// under many names cost nothing to make, but hours to read and a disk to copy.
		if as := !s.overlay && hidden != nil && hidden.kind == kindFile && hidden.size == st.size; !as {
			if s.sizes {
				n.size = st.size
				return n, nil
			}
			if s.used += max(st.size, st.blocks); s.maxBytes > 0 && s.used > s.maxBytes {
				return nil, oversize(s.used, s.maxBytes)
			}
		}
		fd, err := openReadable(dir, name, st)
		if err != nil {
			return nil, err
		}
		if st, err = fstat(fd); err != nil || st.kind != kindFile {
			closeFD(fd)
			if err == nil {
				err = errChanged(path)
			}
			return nil, err
		}
		s.files <- job{fd, st, n, mode, path} // the workers drain it until it is closed
		return n, nil
	default:
		return s.special(dir, name, hidden != nil)
	}
}

// listed counts what is kept in memory of an entry.
func (s *scanner) listed(n int) error {
	if s.text += int64(n); s.max > 0 && s.text > maxListed {
		return tooMuchText()
	}
	return nil
}

// special is a file that a tree does not keep. In an overlay it hides what is below
// it, and then a whiteout stands for it. Where nothing is, there is none: a directory
// that is not merged with another would show the name of a whiteout.
func (s *scanner) special(dir int, name string, hides bool) (*node, error) {
	hides = hides && s.overlay
	if s.clean {
		err := s.replace(dir, name, hides)
		if errors.Is(err, fs.ErrPermission) { // the directory is read-only to its owner
			var st stat
			if st, err = fstat(dir); err == nil {
				if err = fchmod(dir, st.mode|0o700); err == nil {
					err = errors.Join(s.replace(dir, name, hides), fchmod(dir, st.mode))
				}
			}
		}
		if err != nil {
			return nil, err
		}
	}
	if hides {
		return &node{kind: kindWhiteout}, nil
	}
	return nil, nil
}

// replace removes a special file, and leaves a whiteout if it hides something.
func (s *scanner) replace(dir int, name string, hides bool) error {
	if err := unlink(dir, name); err != nil || !hides {
		return err
	}
	return whiteout(dir, name)
}

// hash reads a file.
func (s *scanner) hash(ctx context.Context, j job, buf []byte) error {
	j.n.size = j.st.size
	s.bytes.Add(j.st.size)
	if s.seen != nil {
		if e, ok := s.seen.files[j.st.ino]; ok && e.size == j.st.size && e.mtime == j.st.mtime && e.ctime == j.st.ctime {
			j.n.hash = e.hash
			return nil
		}
		if s.shared {
			// What a mapping writes to a page that is dirty already changes no time.
			if err := cleanPages(j.fd); err != nil {
				return err
			}
		}
	}
	if s.clean {
		if err := strip(j.fd, false, j.mode); err != nil {
			return err
		}
	}
	if s.flush {
		startSync(j.fd)
	}
	sum, size, err := hashFile(ctx, j.fd, buf)
	if err != nil {
		return err
	}
	if size != j.st.size {
		return errChanged(j.path)
	}
	j.n.hash = sum
	return nil
}

// hashFile hashes an open file from where it stands.
func hashFile(ctx context.Context, fd int, buf []byte) (sum hash, size int64, err error) {
	n, err := read(fd, buf)
	if err != nil {
		return hash{}, 0, err
	}
	if n < len(buf) {
		return sha256.Sum256(buf[:n]), int64(n), nil
	}
	h := sha256.New()
	for n > 0 {
		if err := ctx.Err(); err != nil {
			return hash{}, 0, err
		}
		h.Write(buf[:n])
		size += int64(n)
		if n, err = read(fd, buf); err != nil {
			return hash{}, 0, err
		}
	}
	h.Sum(sum[:0])
	return sum, size, nil
}

func errChanged(path string) error {
	return &cairn.Error{Code: cairn.CodeConflict, Message: "a file changed while it was recorded: " + quoted(path), Retryable: true}
}

// openReadable opens a file, also one that its owner may not read: a daemon without
// privileges then gives itself the right for a moment.
func openReadable(dir int, name string, st stat) (int, error) {
	fd, err := openFile(dir, name)
	if err == nil || !errors.Is(err, fs.ErrPermission) {
		return fd, err
	}
	if err := chmod(dir, name, st.mode|0o400); err != nil {
		return -1, err
	}
	fd, err = openFile(dir, name)
	return fd, errors.Join(err, chmod(dir, name, st.mode))
}

// withDir calls fn with an open directory. One that its owner may not read or search
// gets the rights for as long as fn takes.
func withDir(dir int, name string, st stat, fn func(fd int) error) (err error) {
	fd, err := openDir(dir, name)
	if lacking := st.mode&0o500 != 0o500; lacking && (err != nil && errors.Is(err, fs.ErrPermission) || err == nil && !privileged()) {
		if err == nil {
			closeFD(fd)
		}
		if err := chmod(dir, name, st.mode|0o700); err != nil {
			return err
		}
		defer func() {
			if e := chmod(dir, name, st.mode); err == nil {
				err = e
			}
		}()
		fd, err = openDir(dir, name)
	}
	if err != nil {
		return err
	}
	defer closeFD(fd)
	return fn(fd)
}
