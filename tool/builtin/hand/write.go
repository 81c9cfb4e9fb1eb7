package hand

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strconv"
	"strings"
	"syscall"
)

type writeArgs struct {
	Path    string `json:"path"`
	Content string `json:"content"`
}

// writeFacts is the structured form of a write.
type writeFacts struct {
	Path    string `json:"path"`
	Bytes   int    `json:"bytes"`
	Created bool   `json:"created"`
	Changed bool   `json:"changed"`
}

// write makes a file hold exactly what was given.
func (f *files) write(a writeArgs, _ Request) (Response, error) {
	p, err := f.resolve(a.Path)
	if err != nil {
		return Response{}, err
	}
	if strings.HasSuffix(a.Path, "/") {
		return Response{}, fmt.Errorf("%s/ names a directory; give the name of a file", p)
	}
	t, err := f.target(p)
	if err != nil {
		return Response{}, err
	}
	content := []byte(a.Content)
	facts := writeFacts{Path: p, Bytes: len(content), Created: t.info == nil, Changed: true}
	what := fmt.Sprintf("%s, %s", size(int64(len(content))), count(lineCount(content), "line"))
	if t.info != nil {
		same, err := f.holds(t, content)
		if err != nil {
			return Response{}, err
		}
		if same {
			facts.Changed = false
			return Response{Text: fmt.Sprintf("%s holds exactly that already (%s)", p, what), Structured: structured(facts)}, nil
		}
	}
	if err := f.replace(t, content); err != nil {
		return Response{}, err
	}
	text := fmt.Sprintf("created %s (%s)", p, what)
	if t.info != nil {
		text = fmt.Sprintf("overwrote %s (%s; it had %s)", p, what, size(t.info.Size()))
	}
	return Response{Text: text, Structured: structured(facts)}, nil
}

func lineCount(b []byte) int {
	n := bytes.Count(b, []byte{'\n'})
	if len(b) > 0 && b[len(b)-1] != '\n' {
		n++
	}
	return n
}

// target is a file that is to be written.
type target struct {
	path string      // where its links lead
	info fs.FileInfo // nil: it is not there yet
}

// maxLinks is Linux' bound on symbolic links in one path.
const maxLinks = 40

// target finds what a path means for writing: what a symbolic link leads to, not
// the link.
func (f *files) target(p string) (target, error) {
	asked := p
	for range maxLinks {
		info, err := f.lstat(p)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return target{path: p}, nil
		case err != nil:
			return target{}, f.explain(asked, err)
		case info.Mode()&fs.ModeSymlink != 0:
			to, err := f.readlink(p)
			if err != nil {
				return target{}, f.explain(asked, err)
			}
			if !path.IsAbs(to) {
				to = parent(p) + "/" + to // not cleaned: ".." goes up from where a link led to
			} else if f.root != nil {
				return target{}, fmt.Errorf("%s is a symbolic link that leads out of the session's files", asked)
			}
			p = to
			continue
		case info.IsDir():
			return target{}, fmt.Errorf("%s is a directory; give the name of a file", asked)
		case !info.Mode().IsRegular():
			return target{}, fmt.Errorf("%s is %s, not a file", asked, kindOf(info.Mode()))
		case info.Mode()&0o200 == 0:
			return target{}, fmt.Errorf("%s is read-only (mode %04o); make it writable with chmod in bash if it is meant to be changed", asked, info.Mode().Perm())
		}
		return target{p, info}, nil
	}
	return target{}, f.explain(asked, syscall.ELOOP)
}

// parent is the directory a path is in, as it is written.
func parent(p string) string {
	if i := strings.LastIndexByte(p, '/'); i > 0 {
		return p[:i]
	}
	return "/"
}

// holds says whether a file has exactly this content.
func (f *files) holds(t target, content []byte) (bool, error) {
	if t.info.Size() != int64(len(content)) {
		return false, nil
	}
	file, _, err := f.openRegular(t.path)
	if err != nil {
		return false, nil // it cannot be read, so it is written
	}
	defer func() { _ = file.Close() }() // read only
	old, err := io.ReadAll(io.LimitReader(file, int64(len(content))+1))
	return err == nil && bytes.Equal(old, content), nil
}

// replace puts a new file in the place of the old one in one step: whoever reads
// it sees the old or the new content whole. The mode stays; other hard links keep
// the old content.
func (f *files) replace(t target, content []byte) error {
	dir := parent(t.path)
	if err := f.mkdirAll(dir); err != nil {
		if file := f.fileInTheWay(dir); file != "" {
			return fmt.Errorf("%s cannot be made: %s is a file, not a directory", t.path, file)
		}
		return f.explain(t.path, err)
	}
	mode := fs.FileMode(0o666) // less the umask, as any program makes files
	if t.info != nil {
		mode = t.info.Mode().Perm()
	}
	file, temp, err := f.fresh(dir, mode)
	if err != nil {
		return f.explain(t.path, err)
	}
	_, err = file.Write(content)
	if err == nil && t.info != nil {
		err = file.Chmod(mode) // the umask took something away
	}
	if e := file.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = f.rename(temp, t.path)
	}
	if err != nil {
		_ = f.remove(temp) // the error before is the one that counts
		return f.explain(t.path, err)
	}
	return nil
}

func (f *files) fileInTheWay(dir string) string {
	for ; dir != "/" && dir != "."; dir = path.Dir(dir) {
		if info, err := f.stat(dir); err == nil && !info.IsDir() {
			return dir
		}
	}
	return ""
}

// fresh makes a file that was not there, beside the one it is to replace.
func (f *files) fresh(dir string, mode fs.FileMode) (*os.File, string, error) {
	for n := 0; ; n++ {
		name := strings.TrimSuffix(dir, "/") + "/.hand-" + strconv.Itoa(os.Getpid()) + "-" + strconv.Itoa(n)
		file, err := f.openFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
		if err == nil || !errors.Is(err, fs.ErrExist) || n == 1000 {
			return file, name, err
		}
	}
}

type spillArgs struct {
	Dir    string `json:"dir"`    // an absolute path; made if it is not there
	Prefix string `json:"prefix"` // of the name; a number and .txt follow
}

// spillFacts is what became of a spill: the file's path, and its number.
type spillFacts struct {
	Path   string `json:"path"`
	Number int    `json:"number"`
	Bytes  int64  `json:"bytes"`
}

// maxSpills bounds the numbers that are tried.
const maxSpills = 100_000

// spill keeps what follows on the input in a new file whose number is the next
// that is free; nil: it stays empty.
func (f *files) spill(a spillArgs, rest io.Reader) (Response, error) {
	dir, err := f.resolve(a.Dir)
	if err != nil {
		return Response{}, err
	}
	if a.Prefix == "" || strings.ContainsAny(a.Prefix, "/\x00") {
		return Response{}, errors.New("the prefix is no part of a name")
	}
	if err := f.mkdirAll(dir); err != nil {
		return Response{}, f.explain(dir, err)
	}
	list, _, err := f.entries(dir, maxSpills)
	if err != nil {
		return Response{}, f.explain(dir, err)
	}
	n := 0
	for _, e := range list {
		middle, ok := strings.CutPrefix(e.Name(), a.Prefix)
		if k, err := strconv.Atoi(strings.TrimSuffix(middle, ".txt")); ok && err == nil && k < maxSpills {
			n = max(n, k)
		}
	}
	for range 100 {
		n++
		facts := spillFacts{Path: path.Join(dir, a.Prefix+strconv.Itoa(n)+".txt"), Number: n}
		// O_EXCL follows no link that stands there.
		file, err := f.openFile(facts.Path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
		if errors.Is(err, fs.ErrExist) {
			continue
		}
		if err != nil {
			return Response{}, f.explain(facts.Path, err)
		}
		if rest != nil {
			facts.Bytes, err = io.Copy(file, rest)
		}
		if e := file.Close(); err == nil {
			err = e
		}
		if err != nil {
			_ = f.remove(facts.Path) // the error before is the one that counts
			return Response{}, f.explain(facts.Path, err)
		}
		return Response{Text: facts.Path, Structured: structured(facts)}, nil
	}
	return Response{}, fmt.Errorf("no free name in %s", dir)
}
