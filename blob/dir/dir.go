// Package dir keeps blobs as files: DIR/t-TENANT/ab/abcd…, where abcd… is the
// content's SHA-256. A file appears under its name whole and synced, or not at all.
package dir

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"sync"
	"time"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/blob"
	"github.com/cairn-run/cairn/internal/failpoint"
)

const (
	tempDir = "tmp"
	// tempAge is how old a temporary file has to be before Open takes it for the
	// remains of a crash: no Put takes that long.
	tempAge = time.Hour
	// maxSynced bounds the memory of folders known to be durable. Past it they are
	// forgotten, and synced once more when they are next used.
	maxSynced = 1 << 14
)

// plainTenant are the tenants whose folder bears their name. The others are
// hashed: a name may hold a path, and file systems may not tell cases apart.
var plainTenant = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,62}$`)

// Dir is a [blob.Driver] over a folder. Several processes may use one folder.
type Dir struct {
	root *os.Root // nothing outside it can be reached, not even by a symbolic link

	mu     sync.Mutex
	synced map[string]struct{} // folders whose own entry is durable

	fault func(op string) error // set by tests, called before each operation
}

var _ blob.Driver = (*Dir)(nil)

// Open opens the folder, makes it if it is missing (mode 0700), and removes what
// crashes left behind. Close releases it.
func Open(folder string) (*Dir, error) {
	if err := makeRoot(folder); err != nil {
		return nil, fmt.Errorf("blob: open: %w", full(err))
	}
	root, err := os.OpenRoot(folder)
	if err != nil {
		return nil, fmt.Errorf("blob: open: %w", err)
	}
	d := &Dir{root: root, synced: map[string]struct{}{}}
	if err := d.prepare(); err != nil {
		_ = root.Close()
		return nil, fmt.Errorf("blob: open: %w", full(err))
	}
	return d, nil
}

// makeRoot makes a folder and those above it, each of them durable.
func makeRoot(folder string) error {
	err := os.Mkdir(folder, 0o700)
	parent := filepath.Dir(folder)
	if errors.Is(err, fs.ErrNotExist) && parent != folder {
		if err := makeRoot(parent); err != nil {
			return err
		}
		err = os.Mkdir(folder, 0o700)
	}
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	p, err := os.Open(parent)
	if err != nil {
		return err
	}
	return errors.Join(syncFolder(p), p.Close())
}

// prepare empties the folder for temporary files.
func (d *Dir) prepare() error {
	if err := d.root.Mkdir(tempDir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	temps, err := fs.ReadDir(d.root.FS(), tempDir)
	if err != nil {
		return err
	}
	for _, t := range temps {
		info, err := t.Info()
		if err != nil || time.Since(info.ModTime()) < tempAge {
			continue // gone, or another process is at it
		}
		if err := d.root.Remove(path.Join(tempDir, t.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// Close releases the folder.
func (d *Dir) Close() error { return d.root.Close() }

// Put implements [blob.Driver].
func (d *Dir) Put(ctx context.Context, t cairn.TenantID, digest cairn.Digest, b []byte) error {
	failpoint.Hit(failpoint.BlobBefore)
	if err := ctx.Err(); err != nil {
		return err
	}
	folder, name := place(t, digest)
	if err := d.put(folder, name, b); err != nil {
		return full(err)
	}
	failpoint.Hit(failpoint.BlobAfter)
	return nil
}

func (d *Dir) put(folder, name string, b []byte) error {
	if err := d.makeFolder(folder); err != nil {
		return err
	}
	// Also when the file is there already: whoever made it may have died before it
	// was durable, or it may have gone bad since. And after a sync that failed, the
	// kernel may call the folder clean though nothing of it is on the disk: only a
	// new rename makes the next sync mean something.
	if err := d.write(name, b); err != nil {
		return err
	}
	return d.syncFolder(folder)
}

// write makes the file by way of a temporary one: whole and on disk before it
// gets its name.
func (d *Dir) write(name string, b []byte) (err error) {
	temp := path.Join(tempDir, rand.Text())
	if err := d.hook("create"); err != nil {
		return err
	}
	f, err := d.root.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = d.root.Remove(temp)
		}
	}()
	err = d.hook("write")
	if err == nil {
		_, err = f.Write(b)
	}
	if err == nil {
		err = d.hook("sync")
	}
	if err == nil {
		err = f.Sync()
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	failpoint.Hit(failpoint.BlobRename)
	if err := d.hook("rename"); err != nil {
		return err
	}
	return d.root.Rename(temp, name)
}

// makeFolder makes a two-level folder whose every entry is durable.
func (d *Dir) makeFolder(folder string) error {
	d.mu.Lock()
	_, ok := d.synced[folder]
	d.mu.Unlock()
	if ok {
		return nil
	}
	if err := d.hook("mkdir"); err != nil {
		return err
	}
	if err := d.root.MkdirAll(folder, 0o700); err != nil {
		return err
	}
	for parent := folder; parent != "."; {
		parent = path.Dir(parent)
		if err := d.syncFolder(parent); err != nil {
			return err
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.synced) >= maxSynced {
		clear(d.synced)
	}
	d.synced[folder] = struct{}{}
	return nil
}

func (d *Dir) syncFolder(name string) error {
	if err := d.hook("syncdir"); err != nil {
		return err
	}
	f, err := d.root.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(syncFolder(f), f.Close())
}

func (d *Dir) hook(op string) error {
	if d.fault == nil {
		return nil
	}
	return d.fault(op)
}

// Get implements [blob.Driver].
func (d *Dir) Get(ctx context.Context, t cairn.TenantID, digest cairn.Digest, max int64) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	_, name := place(t, digest)
	f, err := d.root.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: %s", blob.ErrNotFound, digest)
	}
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // only read
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if info.Size() > max {
		return nil, fmt.Errorf("%w: %d bytes", blob.ErrTooLarge, info.Size())
	}
	b := make([]byte, info.Size())
	if _, err := io.ReadFull(f, b); err != nil {
		return nil, err
	}
	return b, nil
}

// place is where a blob lies: its folder and its file, relative to the root.
func place(t cairn.TenantID, digest cairn.Digest) (folder, name string) {
	tenant := "t-" + string(t)
	if !plainTenant.MatchString(string(t)) {
		tenant = fmt.Sprintf("h-%x", sha256.Sum256([]byte(t)))
	}
	hex := blob.Hex(digest)
	folder = path.Join(tenant, hex[:2])
	return folder, path.Join(folder, hex)
}

// full marks the errors that mean that there is no space.
func full(err error) error {
	if isFull(err) {
		return fmt.Errorf("%w: %w", blob.ErrFull, err)
	}
	return err
}
