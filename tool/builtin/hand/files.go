package hand

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"sort"
	"strings"
	"syscall"
)

// files is the tree that the hand works on: what its process sees, or what is
// below a directory, which no path leaves.
type files struct {
	root *os.Root // nil: what the process sees
	at   string   // the directory on the host, if there is a root
	dir  string   // what relative paths begin with
	// shell is where a shell would look, and asked the relative path that was asked for
	// last.
	shell, asked string
}

func open(root string) (*files, error) {
	if root == "" {
		return &files{}, nil
	}
	r, err := os.OpenRoot(root)
	if err != nil {
		return nil, err
	}
	return &files{root: r, at: path.Clean(root)}, nil
}

func (f *files) close() {
	if f.root != nil {
		_ = f.root.Close() // nothing was written through it
	}
}

// maxPath is Linux' PATH_MAX, in bytes.
const maxPath = 4096

// resolve makes an absolute, clean path of what a model wrote.
func (f *files) resolve(p string) (string, error) {
	switch {
	case p == "":
		return "", errors.New("the path is empty")
	case strings.ContainsRune(p, 0):
		return "", errors.New("the path holds a NUL byte")
	case len(p) >= maxPath:
		return "", fmt.Errorf("the path has %d bytes, more than %d", len(p), maxPath-1)
	case p == "~" || strings.HasPrefix(p, "~/"):
		p = home + p[1:]
	case !path.IsAbs(p):
		f.asked = p
		p = f.dir + "/" + p
	}
	p = path.Clean(p)
	// Without a boundary a command sees where its files really are, and says so.
	if f.at != "" && f.at != "/" && (p == f.at || strings.HasPrefix(p, f.at+"/")) {
		p = path.Clean("/" + p[len(f.at):])
	}
	return p, nil
}

// show is how a path is shown: short below the workspace, else whole.
func show(p string) string {
	if rest, ok := strings.CutPrefix(p, Workspace+"/"); ok {
		return rest
	}
	return p
}

// below is the name inside the root.
func below(p string) string {
	if p = strings.TrimPrefix(p, "/"); p == "" {
		return "."
	}
	return p
}

func (f *files) openFile(p string, flag int, mode fs.FileMode) (*os.File, error) {
	if f.root != nil {
		return f.root.OpenFile(below(p), flag, mode)
	}
	return os.OpenFile(p, flag, mode) //nolint:gosec // the kernel holds the boundary
}

func (f *files) stat(p string) (fs.FileInfo, error) {
	if f.root != nil {
		return f.root.Stat(below(p))
	}
	return os.Stat(p)
}

func (f *files) lstat(p string) (fs.FileInfo, error) {
	if f.root != nil {
		return f.root.Lstat(below(p))
	}
	return os.Lstat(p)
}

func (f *files) readlink(p string) (string, error) {
	if f.root != nil {
		return f.root.Readlink(below(p))
	}
	return os.Readlink(p)
}

func (f *files) mkdirAll(p string) error {
	if f.root != nil {
		return f.root.MkdirAll(below(p), 0o755)
	}
	return os.MkdirAll(p, 0o755)
}

func (f *files) rename(from, to string) error {
	if f.root != nil {
		return f.root.Rename(below(from), below(to))
	}
	return os.Rename(from, to)
}

func (f *files) remove(p string) error {
	if f.root != nil {
		return f.root.Remove(below(p))
	}
	return os.Remove(p)
}

// entries lists a directory, sorted by name. maximum bounds how many are read;
// more says that there are others.
func (f *files) entries(p string, maximum int) (list []fs.DirEntry, more bool, err error) {
	d, err := f.openFile(p, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, false, err
	}
	defer func() { _ = d.Close() }() // read only
	list, err = d.ReadDir(maximum + 1)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, false, err
	}
	if more = len(list) > maximum; more {
		list = list[:maximum]
	}
	sort.Slice(list, func(i, j int) bool { return list[i].Name() < list[j].Name() })
	return list, more, nil
}

// openRegular opens a file for reading and never waits: a FIFO without a writer, a
// terminal or a device is refused.
func (f *files) openRegular(p string) (*os.File, fs.FileInfo, error) {
	info, err := f.stat(p)
	if err != nil {
		return nil, nil, f.explain(p, err)
	}
	if err := regular(p, info); err != nil {
		return nil, nil, err
	}
	file, err := f.openFile(p, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, nil, f.explain(p, err)
	}
	// It may have been replaced in between.
	if info, err = file.Stat(); err == nil {
		err = regular(p, info)
	}
	if err != nil {
		_ = file.Close() // read only
		return nil, nil, err
	}
	return file, info, nil
}

func regular(p string, info fs.FileInfo) error {
	if info.Mode().IsRegular() {
		return nil
	}
	if info.IsDir() {
		return fmt.Errorf("%s is a directory; see what is in it with list", p)
	}
	return fmt.Errorf("%s is %s, not a file", p, kindOf(info.Mode()))
}

// kindOf names what is neither a file nor a directory.
func kindOf(m fs.FileMode) string {
	switch {
	case m&fs.ModeNamedPipe != 0:
		return "a named pipe"
	case m&fs.ModeSocket != 0:
		return "a socket"
	case m&fs.ModeDevice != 0:
		return "a device"
	case m&fs.ModeSymlink != 0:
		return "a symbolic link"
	case m.IsDir():
		return "a directory"
	}
	return "a special file"
}

// explain says in words why a path cannot be used, and what may be meant instead.
func (f *files) explain(p string, err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if to, e := f.readlink(p); e == nil {
			return fmt.Errorf("%s is a symbolic link to %s, which does not exist", p, to)
		}
		if f.shell != "" && f.asked != "" && f.shell != f.dir {
			there := path.Join(f.shell, f.asked)
			if _, e := f.stat(there); e == nil && there != p {
				return fmt.Errorf("%s does not exist; there is %s (relative paths begin with %s here, wherever the shell is)", p, there, f.dir)
			}
		}
		return fmt.Errorf("%s does not exist%s", p, f.near(p))
	case errors.Is(err, syscall.ENOTDIR):
		for q := path.Dir(p); q != "/"; q = path.Dir(q) {
			if info, e := f.stat(q); e == nil && !info.IsDir() {
				return fmt.Errorf("%s does not exist: %s is a file, not a directory", p, q)
			}
		}
		return fmt.Errorf("%s does not exist: a part of the path is not a directory", p)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%s: permission denied", p)
	case errors.Is(err, syscall.EROFS):
		return fmt.Errorf("%s cannot be written: only %s, %s and /tmp can", p, Workspace, home)
	case errors.Is(err, syscall.ELOOP):
		return fmt.Errorf("%s: the symbolic links go round in a circle", p)
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return fmt.Errorf("%s cannot be written: the disk is full", p)
	case errors.Is(err, syscall.EFBIG):
		return fmt.Errorf("%s cannot be written: it would be larger than the sandbox allows", p)
	case errors.Is(err, syscall.ENAMETOOLONG):
		return fmt.Errorf("a name in the path has more than 255 bytes: %s", cut(p, 300))
	case f.root != nil && strings.Contains(err.Error(), "escapes from parent"): // os.Root has no error value for it
		return fmt.Errorf("%s leads out of the session's files", p)
	}
	var bare *fs.PathError
	if errors.As(err, &bare) {
		err = bare.Err
	}
	return fmt.Errorf("%s: %w", p, err)
}

// near suggests what a path that is not there may have meant.
func (f *files) near(p string) string {
	dir, base := path.Dir(p), path.Base(p)
	for dir != "/" {
		if info, err := f.stat(dir); err == nil && info.IsDir() {
			break
		}
		base, dir = path.Base(dir), path.Dir(dir)
	}
	list, _, err := f.entries(dir, 5000)
	if err != nil || dir == "/" {
		return ""
	}
	type candidate struct {
		name  string
		score int
	}
	var best []candidate
	for _, e := range list {
		name := e.Name()
		if s := likeness(base, name); s >= 50 {
			if e.IsDir() {
				name += "/"
			}
			best = append(best, candidate{name, s})
		}
	}
	sort.SliceStable(best, func(i, j int) bool { return best[i].score > best[j].score })
	if len(best) == 0 {
		if path.Dir(p) != dir {
			return "; nor does " + path.Join(dir, base)
		}
		return ""
	}
	names := []string{}
	for _, c := range best[:min(3, len(best))] {
		names = append(names, path.Join(dir, strings.TrimSuffix(c.name, "/"))+strings.Repeat("/", strings.Count(c.name, "/")))
	}
	return "; there is " + strings.Join(names, ", ")
}

// likeness compares two names, 0 to 100: by the pairs of characters they share
// (Dice's coefficient), without case.
func likeness(a, b string) int {
	a, b = strings.ToLower(a), strings.ToLower(b)
	if a == b {
		return 100
	}
	if sameLetters(a, b) {
		return 80
	}
	if len(a) > 4096 {
		a = a[:4096]
	}
	if len(b) > 4096 {
		b = b[:4096]
	}
	if len(a) < 2 || len(b) < 2 {
		return 0
	}
	pairs := make(map[[2]byte]int, len(a))
	for i := range len(a) - 1 {
		pairs[[2]byte{a[i], a[i+1]}]++
	}
	shared := 0
	for i := range len(b) - 1 {
		p := [2]byte{b[i], b[i+1]}
		if pairs[p] > 0 {
			pairs[p]--
			shared++
		}
	}
	return min(99, 200*shared/(len(a)+len(b)-2))
}

// sameLetters says whether one name is the other with characters in another order.
func sameLetters(a, b string) bool {
	if len(a) != len(b) || len(a) > 64 {
		return false
	}
	x, y := []byte(a), []byte(b)
	slices.Sort(x)
	slices.Sort(y)
	return string(x) == string(y)
}
