package workspace

import (
	"path"
	"strings"
)

// contents opens the files of a tree in the layers that hold them. It is used by one
// goroutine.
type contents struct {
	t     *Tree
	roots map[int64]int
}

// maxOpenRoots bounds the descriptors of one contents.
const maxOpenRoots = 64

func (t *Tree) contents() *contents { return &contents{t: t, roots: map[int64]int{}} }

func (c *contents) close() {
	for _, fd := range c.roots {
		closeFD(fd)
	}
	clear(c.roots)
}

// open opens the content of the file at a path of the tree.
func (c *contents) open(p string, n *node) (int, error) {
	root, ok := c.roots[n.layer]
	if !ok {
		if len(c.roots) >= maxOpenRoots {
			c.close()
		}
		var err error
		if root, err = openDir(cwd, c.t.layerRoot(n.layer)); err != nil {
			if missing(err) {
				return -1, damaged("layer %d of session %s is missing: %s is lost", n.layer, c.t.key.ID, quoted(p))
			}
			return -1, err
		}
		c.roots[n.layer] = root
	}
	fd, err := c.t.s.openPath(root, p)
	if err != nil {
		if missing(err) || isLoop(err) {
			return -1, damaged("%s is missing in layer %d of session %s", quoted(p), n.layer, c.t.key.ID)
		}
		return -1, err
	}
	st, err := fstat(fd)
	if err != nil || st.kind != kindFile || st.size != n.size {
		closeFD(fd)
		if err == nil {
			err = damaged("%s is not what was recorded in layer %d of session %s", quoted(p), n.layer, c.t.key.ID)
		}
		return -1, err
	}
	return fd, nil
}

// openPath opens a file below an open directory, also one that its owner may not
// read.
func (s *Store) openPath(root int, p string) (int, error) {
	fd, err := openBeneath(root, p, false)
	if err == nil || !isDenied(err) || privileged() {
		return fd, err
	}
	s.modes.Lock()
	defer s.modes.Unlock()
	fd = -1
	var walk func(dir int, p string) error
	walk = func(dir int, p string) error {
		name, rest, more := strings.Cut(p, "/")
		st, err := lstat(dir, name)
		if err != nil {
			return err
		}
		if more {
			return withDir(dir, name, st, func(sub int) error { return walk(sub, rest) })
		}
		fd, err = openReadable(dir, name, st)
		return err
	}
	return fd, walk(root, path.Clean(p))
}
