package workspace

import (
	"errors"
	"io/fs"
	"strconv"
)

// removeEntry removes an entry of a directory with all that is below it, however deep.
// It follows no link and needs one descriptor: a payload may nest directories
// deeper than any path can name, so directories are moved up before they are
// emptied. Nothing may be using the tree. What is not there is no error.
func removeEntry(dir int, name string) error {
	err := unlink(dir, name)
	if err == nil || missing(err) {
		return nil
	}
	st, e := lstat(dir, name)
	if e != nil || st.kind != kindDir {
		return err
	}
	if err := rmdir(dir, name); err == nil {
		return nil
	}
	return (&remover{dir: dir, prefix: ".gone-" + strconv.FormatUint(st.ino, 36) + "-"}).tree(name)
}

// remover empties directories one by one.
type remover struct {
	dir    int // where directories are moved to
	prefix string
	next   int
}

func (r *remover) tree(name string) error {
	queue := []string{name}
	for len(queue) > 0 {
		last := queue[len(queue)-1]
		queue = queue[:len(queue)-1]
		more, err := r.empty(last)
		if err != nil {
			return err
		}
		queue = append(queue, more...)
		if err := rmdir(r.dir, last); err != nil && !missing(err) {
			return err
		}
	}
	return nil
}

// empty removes the files of a directory and moves its directories beside it, and
// returns their names there.
func (r *remover) empty(name string) (moved []string, err error) {
	fd, err := openDir(r.dir, name)
	if errors.Is(err, fs.ErrPermission) || err == nil && !privileged() {
		if err == nil {
			closeFD(fd)
		}
		if err := chmod(r.dir, name, 0o700); err != nil {
			return nil, err
		}
		fd, err = openDir(r.dir, name)
	}
	if err != nil {
		return nil, err
	}
	defer closeFD(fd)
	var all []string
	if err := names(fd, func(n string) error { all = append(all, n); return nil }); err != nil {
		return nil, err
	}
	for _, n := range all {
		if unlink(fd, n) == nil || rmdir(fd, n) == nil {
			continue
		}
		st, err := lstat(fd, n)
		if missing(err) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if st.kind != kindDir {
			return nil, unlink(fd, n)
		}
		if st.mode&0o700 != 0o700 && !privileged() {
			// A directory can be moved only by who may write into it.
			if err := chmod(fd, n, 0o700); err != nil {
				return nil, err
			}
		}
		var to string
		for {
			r.next++
			to = r.prefix + strconv.Itoa(r.next)
			// Not over what a payload gave such a name.
			if err := renameNew(fd, n, r.dir, to); err == nil {
				break
			} else if !errors.Is(err, fs.ErrExist) {
				return nil, err
			}
		}
		moved = append(moved, to)
	}
	return moved, nil
}
