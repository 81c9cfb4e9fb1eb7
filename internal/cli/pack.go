package cli

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/cairn-run/cairn"
)

// packing is a directory that is to become a workspace.
type packing struct {
	root  *os.Root
	dir   string
	list  []packed
	files int
	bytes int64
	// left are the entries that cannot be packed, with the reason.
	left []string
}

// packed is one entry of it.
type packed struct {
	path string
	info fs.FileInfo
	link string
}

// maxPacked bounds the entries of a workspace.
const maxPacked = 500_000

// pack looks through a directory. Nothing is left out silently: what cannot be
// packed is named, and what cannot be read is an error.
func (a *app) pack(dir string, limit int64) (*packing, error) {
	if limit <= 0 {
		return nil, usage(errors.New("--workspace-limit: give a size, like 500Mi"))
	}
	full, err := a.workspaceDir(dir)
	if err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(full)
	if err != nil {
		return nil, fmt.Errorf("--workspace: %w", err)
	}
	p := &packing{root: root, dir: dir}
	data := resolved(a.data)
	err = fs.WalkDir(root.FS(), ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if path == "." {
			return nil
		}
		if data != "" && filepath.Join(full, filepath.FromSlash(path)) == data {
			p.left = append(p.left, path+" (the data directory of Cairn)")
			return fs.SkipDir
		}
		return p.take(path, d)
	})
	switch {
	case err != nil:
		err = fmt.Errorf("--workspace: %w", err)
	case p.bytes > limit:
		err = usage(fmt.Errorf("--workspace: the files in %s have %s bytes, more than %s; give a smaller directory, or raise --workspace-limit", dir, count(p.bytes), cairn.Bytes(limit)))
	case len(p.list) > maxPacked:
		err = usage(fmt.Errorf("--workspace: %s holds more than %s entries; give a smaller directory", dir, count(maxPacked)))
	}
	if err != nil {
		return nil, errors.Join(err, root.Close())
	}
	return p, nil
}

// workspaceDir is the directory by its true name. One that holds the home of the
// user holds their secrets too.
func (a *app) workspaceDir(dir string) (string, error) {
	full, err := filepath.Abs(dir)
	if err == nil {
		full, err = filepath.EvalSymlinks(full)
	}
	if err != nil {
		return "", usage(fmt.Errorf("--workspace: %w", err))
	}
	if info, err := os.Stat(full); err != nil || !info.IsDir() {
		return "", usage(fmt.Errorf("--workspace: %s is not a directory", dir))
	}
	home, data := resolved(a.Home), resolved(a.data)
	if full == filepath.Dir(full) || full == home || within(full, home) || full == data || within(data, full) {
		return "", usage(fmt.Errorf("--workspace: %s holds your home directory or the data directory of Cairn, and with it keys and tokens; give the directory of the project", dir))
	}
	return full, nil
}

// resolved is the true name of a directory; empty: there is none.
func resolved(dir string) string {
	if full, err := filepath.EvalSymlinks(dir); err == nil && dir != "" {
		return full
	}
	return ""
}

// within says that path is below dir.
func within(dir, path string) bool {
	if dir == "" || path == "" {
		return false
	}
	rel, err := filepath.Rel(dir, path)
	return err == nil && rel != "." && filepath.IsLocal(rel)
}

// take adds an entry.
func (p *packing) take(path string, d fs.DirEntry) error {
	info, err := d.Info()
	if err != nil {
		return err
	}
	e := packed{path: path, info: info}
	switch info.Mode().Type() {
	case 0:
		p.files++
		p.bytes += info.Size()
	case fs.ModeDir:
	case fs.ModeSymlink:
		if e.link, err = p.root.Readlink(filepath.FromSlash(path)); err != nil {
			return err
		}
		p.files++
	default:
		p.left = append(p.left, path+" ("+kindName(info.Mode())+")")
		return nil
	}
	if p.list = append(p.list, e); len(p.list) > maxPacked {
		return fs.SkipAll
	}
	return nil
}

func kindName(m fs.FileMode) string {
	switch {
	case m&fs.ModeSocket != 0:
		return "a socket"
	case m&fs.ModeNamedPipe != 0:
		return "a pipe"
	case m&fs.ModeDevice != 0:
		return "a device"
	}
	return "no file"
}

// write writes the directory as a tar. sent is told of every piece of content.
func (p *packing) write(ctx context.Context, w io.Writer, sent func(n int64)) error {
	t := tar.NewWriter(w)
	for _, e := range p.list {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := p.entry(t, e, sent); err != nil {
			return fmt.Errorf("--workspace: %w", err)
		}
	}
	return t.Close()
}

func (p *packing) entry(t *tar.Writer, e packed, sent func(n int64)) error {
	h := &tar.Header{Name: e.path, Mode: int64(e.info.Mode().Perm()), ModTime: e.info.ModTime().Truncate(time.Second), Format: tar.FormatPAX}
	switch e.info.Mode().Type() {
	case fs.ModeDir:
		h.Typeflag, h.Name = tar.TypeDir, e.path+"/"
		return t.WriteHeader(h)
	case fs.ModeSymlink:
		h.Typeflag, h.Linkname = tar.TypeSymlink, e.link
		return t.WriteHeader(h)
	}
	f, err := p.root.Open(filepath.FromSlash(e.path))
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // it is only read
	now, err := f.Stat()
	if err != nil {
		return err
	}
	if !now.Mode().IsRegular() {
		return fmt.Errorf("%s is no file any more: it changed while it was read", e.path)
	}
	h.Typeflag, h.Size = tar.TypeReg, now.Size()
	if err := t.WriteHeader(h); err != nil {
		return err
	}
	n, err := io.Copy(&counted{t, sent}, io.LimitReader(f, h.Size))
	if err == nil && n < h.Size {
		err = fmt.Errorf("%s became shorter while it was read: try again", e.path)
	}
	return err
}

// counted tells how much was written.
type counted struct {
	w    io.Writer
	sent func(n int64)
}

// Write writes and tells.
func (c *counted) Write(b []byte) (int, error) {
	n, err := c.w.Write(b)
	c.sent(int64(n))
	return n, err
}

// close gives the directory back.
func (p *packing) close() error { return p.root.Close() }
