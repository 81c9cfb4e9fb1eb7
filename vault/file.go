package vault

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/cairn-run/cairn"
)

// readFile reads a small file. A pipe would keep the reader waiting.
func readFile(path string) ([]byte, error) {
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a file", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	b, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(b) > maxFile {
		err = fmt.Errorf("%s is larger than %d bytes", path, maxFile)
	}
	return b, err
}

// fileError is what is said of a file that cannot be used.
func fileError(err error) error {
	return &cairn.Error{Code: cairn.CodeAuth, NotDone: true, Message: "a file of keys cannot be used: " + err.Error(), Err: err}
}

// lock is the new content of a file that is being written. While it is there, no
// other process changes the file.
type lock struct {
	f    *os.File
	path string
	done bool
}

func lockFile(path string) (*lock, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fileError(err)
	}
	f, err := os.OpenFile(path+".new", os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return nil, &cairn.Error{
			Code: cairn.CodeConflict, Retryable: true, NotDone: true,
			Message: fmt.Sprintf("another process writes %s; if there is none, remove %s.new", path, path),
		}
	}
	if err != nil {
		return nil, fileError(err)
	}
	return &lock{f: f, path: path}, nil
}

// replace puts the new content in the place of the file.
func (l *lock) replace(data []byte) error {
	l.done = true
	_, err := l.f.Write(data)
	if err = errors.Join(err, l.f.Sync(), l.f.Close()); err == nil {
		err = os.Rename(l.path+".new", l.path)
	}
	if err != nil {
		return fileError(errors.Join(err, os.Remove(l.path+".new")))
	}
	return nil
}

// release gives up what was not replaced.
func (l *lock) release() {
	if !l.done {
		_, _ = l.f.Close(), os.Remove(l.path+".new") // it is empty
	}
}
