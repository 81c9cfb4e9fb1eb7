package workspace

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"

	"github.com/cairn-run/cairn"
)

// Options configure a Store. Zero works.
type Options struct {
	// UID and GID own all files of sessions: the host's ids of the user that commands
	// run as. Zero or negative: files belong to this process.
	UID, GID int
	// MaxBytes bounds the content of one import; default 8 GiB.
	MaxBytes int64
	// MaxFiles bounds the entries of one import, and of what one snapshot adds; default
	// 500,000.
	MaxFiles int
	// CacheBytes bounds the memory of trees that are kept, about; default 256 MiB. A
	// tree that is not there is read from its manifests.
	CacheBytes int64
	// Logger takes what is not an error of a call: leftovers that could not be
	// removed. Default: none.
	Logger *slog.Logger
	// Hook is called with the name of each step that changes the disk, before it is
	// done: tests kill the process there. Points lists the names. Default: none.
	Hook func(point string)
}

// Defaults of Options.
const (
	DefaultMaxBytes   = 8 << 30
	DefaultMaxFiles   = 500_000
	DefaultCacheBytes = 256 << 20
)

// Points are the names that Options.Hook is called with.
var Points = []string{
	"workspace.import.entry", "workspace.import.sync", "workspace.import.rename",
	"workspace.checkout.discard", "workspace.checkout.upper", "workspace.squash.rename",
	"workspace.snapshot.scan", "workspace.snapshot.copy", "workspace.snapshot.manifest", "workspace.snapshot.rename",
	"workspace.snapshot.sync", "workspace.snapshot.done",
	"workspace.plain.change", "workspace.remove",
}

// Names in the directory of a store.
const (
	tempDir      = "tmp"
	tenantsDir   = "t"
	emptyDir     = "empty"
	basesDir     = "base"
	sessionsDir  = "s"
	layersDir    = "l"
	squashDir    = "squash"
	liveDir      = "live"
	plainDir     = "plain"
	rootDir      = "root"
	workDir      = "work"
	manifestFile = "manifest"
	keyFile      = "key"
)

// rootMode is the mode of the top directory of every layer.
const rootMode = 0o755

// Store keeps the files of sessions in one directory of the host. One process may use
// a directory at a time; whoever opens the store sees to that. A Store is safe for
// concurrent use.
type Store struct {
	dir   string
	o     Options
	fd    int // of dir, open since the beginning: syncfs reports the errors since then
	empty *node
	cache *cache

	mu       sync.Mutex
	sessions map[cairn.SessionKey]*session

	// timed says that every write to a file of the store shows in its times, one through a
	// mapping too.
	timed bool
	modes sync.Mutex // one reader at a time changes modes of what it may not read

	syncMode syncMode // tests choose
	racy     int64    // see the constant; tests choose
}

// skeleton are the directories that every base has: where the files of the session
// are, its home, and its temporary files.
var skeleton = []struct {
	path string
	mode uint16
}{{Prefix, 0o755}, {"home", 0o755}, {"home/agent", 0o755}, {"tmp", 0o1777}}

// Prefix is the directory of a tree that imports go to, and that differences show:
// what a sandbox has as /workspace.
const Prefix = "workspace"

// Open opens the directory, makes it if it is missing (mode 0700), and removes what a
// crash left behind. Errors are *cairn.Error; CodeUnavailable: this system cannot
// keep trees.
func Open(dir string, o Options) (*Store, error) {
	s, err := openStore(dir, o)
	return s, wrap(err, "opening the workspaces in "+dir)
}

func openStore(dir string, o Options) (*Store, error) {
	if !supported {
		return nil, errUnsupported
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	if o.UID <= 0 {
		o.UID = -1
	}
	if o.GID <= 0 {
		o.GID = -1
	}
	if o.MaxBytes <= 0 {
		o.MaxBytes = DefaultMaxBytes
	}
	if o.MaxFiles <= 0 {
		o.MaxFiles = DefaultMaxFiles
	}
	if o.CacheBytes <= 0 {
		o.CacheBytes = DefaultCacheBytes
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Hook == nil {
		o.Hook = func(string) {}
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	s := &Store{dir: dir, o: o, cache: newCache(o.CacheBytes), racy: racy, sessions: map[cairn.SessionKey]*session{}}
	if s.fd, err = openDir(cwd, dir); err != nil {
		return nil, err
	}
	if s.timed, err = timesTell(s.fd); err == nil {
		err = s.prepare()
	}
	if err != nil {
		closeFD(s.fd)
		return nil, err
	}
	return s, nil
}

// looked makes the memory of scans of one checkout; nil: files have to be read each time.
func (s *Store) looked() *statCache {
	if !s.timed {
		return nil
	}
	return &statCache{}
}

// prepare makes the directories of a store, and empties the one for temporary trees.
func (s *Store) prepare() error {
	if err := removeEntry(s.fd, tempDir); err != nil {
		return err
	}
	// removeEntry moves directories beside the one it empties.
	var gone []string
	err := names(s.fd, func(name string) error {
		if strings.HasPrefix(name, ".gone-") {
			gone = append(gone, name)
		}
		return nil
	})
	for _, name := range gone {
		err = errors.Join(err, removeEntry(s.fd, name))
	}
	if err != nil {
		return err
	}
	for _, name := range []string{tempDir, tenantsDir} {
		if err := mkdir(s.fd, name, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	s.empty = &node{kind: kindDir, mode: rootMode}
	for _, d := range skeleton {
		parent, name := filepath.Split(d.path)
		s.empty.lookup(strings.TrimSuffix(parent, "/")).set(name, &node{kind: kindDir, mode: d.mode})
	}
	if _, err := os.Lstat(filepath.Join(s.dir, emptyDir)); missing(err) {
		temp := s.temp()
		if err := s.writeBase(context.Background(), temp, s.empty); err != nil {
			return err
		}
		if err := os.Rename(temp, filepath.Join(s.dir, emptyDir)); err != nil {
			return err
		}
	} else if err != nil {
		return err
	}
	sealAll(s.empty)
	return nil
}

// sealAll computes the hashes of a tree under construction.
func sealAll(n *node) {
	for _, k := range n.kids {
		if k.n.kind == kindDir {
			sealAll(k.n)
		}
	}
	if n.kind == kindDir {
		n.seal()
	}
}

// writeBase makes a directory that holds a tree without files.
func (s *Store) writeBase(ctx context.Context, dir string, n *node) error {
	if err := s.makeRoot(dir); err != nil {
		return err
	}
	fd, err := openDir(cwd, filepath.Join(dir, rootDir))
	if err != nil {
		return err
	}
	defer closeFD(fd)
	b := &builder{uid: s.o.UID, gid: s.o.GID}
	return b.build(ctx, fd, "", n)
}

// makeRoot makes dir and dir/root, the top of a layer.
func (s *Store) makeRoot(dir string) error {
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	return s.makeTop(filepath.Join(dir, rootDir), rootMode)
}

// makeTop makes a directory that belongs to the owner of the files.
func (s *Store) makeTop(dir string, mode uint16) error {
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	return errors.Join(chown(cwd, dir, s.o.UID, s.o.GID), chmod(cwd, dir, mode))
}

// Close releases the directory. Trees of the store must not be used any more.
func (s *Store) Close() error {
	closeFD(s.fd)
	return nil
}

// temp is a name for a directory that the next Open removes.
func (s *Store) temp() string { return filepath.Join(s.dir, tempDir, rand.Text()) }

// discard moves a directory out of sight and removes it. Once it is moved, failing to
// remove it is no error: the next Open does.
func (s *Store) discard(dir string) error {
	temp := s.temp()
	if err := os.Rename(dir, temp); err != nil {
		if missing(err) {
			return nil
		}
		return err
	}
	s.drop(temp)
	return nil
}

func (s *Store) drop(temp string) {
	fd, err := openDir(cwd, filepath.Join(s.dir, tempDir))
	if err == nil {
		err = removeEntry(fd, filepath.Base(temp))
		closeFD(fd)
	}
	if err != nil {
		s.o.Logger.Warn("leftovers of a workspace could not be removed; the next start tries again", "error", err)
	}
}

// plainName are the names whose directory bears them. The others are hashed: a name
// may hold a path.
var plainName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]{0,62}$`)

func dirName(name string) string {
	if plainName.MatchString(name) {
		return "n-" + name
	}
	return fmt.Sprintf("h-%x", sha256.Sum256([]byte(name)))
}

func (s *Store) tenantPath(t cairn.TenantID) string {
	return filepath.Join(s.dir, tenantsDir, dirName(string(t)))
}

func (s *Store) sessionPath(k cairn.SessionKey) string {
	return filepath.Join(s.tenantPath(k.Tenant), sessionsDir, dirName(string(k.ID)))
}

var digestForm = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)

// basePath is where a base is; the digest must have been checked.
func (s *Store) basePath(t cairn.TenantID, d cairn.Digest) string {
	if d == "" {
		return filepath.Join(s.dir, emptyDir)
	}
	return filepath.Join(s.tenantPath(t), basesDir, strings.TrimPrefix(string(d), "sha256:"))
}

// Base says whether the tenant has a base: nil, or an error with CodeNotFound
// ([ErrNotFound]). The empty digest stands for the base without files, which is
// always there.
func (s *Store) Base(ctx context.Context, t cairn.TenantID, d cairn.Digest) error {
	if err := ctx.Err(); err != nil {
		return wrap(err, "looking for a base")
	}
	if d == "" {
		return nil
	}
	if !digestForm.MatchString(string(d)) {
		return cairn.Errorf(cairn.CodeInvalid, "%.80q is no digest: write sha256: and 64 hexadecimal digits", string(d))
	}
	if _, err := os.Lstat(filepath.Join(s.basePath(t, d), manifestFile)); missing(err) {
		return notFound("there are no files %s: upload them first", d)
	} else if err != nil {
		return wrap(err, "looking for a base")
	}
	return nil
}

// base loads the tree of a base.
func (s *Store) base(ctx context.Context, t cairn.TenantID, d cairn.Digest) (*node, error) {
	if d == "" {
		return s.empty, nil
	}
	id := cacheID{tenant: t, base: d}
	if n := s.cache.get(id); n != nil {
		return n, nil
	}
	if err := s.Base(ctx, t, d); err != nil {
		return nil, err
	}
	m, err := readManifest(filepath.Join(s.basePath(t, d), manifestFile))
	if err != nil {
		return nil, damaged("the list of the files %s cannot be read: upload them again; %w", d, err)
	}
	n := merge(nil, nil, m.root, 0)
	if n.digest() != d || m.tree != n.hash {
		return nil, damaged("the list of the files %s is that of %s: upload them again", d, n.digest())
	}
	s.cache.put(id, n, weight(nil, n))
	return n, nil
}

func readManifest(path string) (*manifest, error) {
	info, err := os.Lstat(path)
	if err != nil {
		return nil, err
	}
	if info.Size() > maxManifest {
		return nil, fmt.Errorf("%w: %d bytes", errManifest, info.Size())
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return decodeManifest(b)
}
