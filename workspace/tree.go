package workspace

import (
	"context"
	"os"
	"path/filepath"
	"strconv"

	"github.com/cairn-run/cairn"
)

// Tree is the files of one session. It is a light handle: several of one session
// share everything, and what they do to its layers happens one after the other.
type Tree struct {
	s    *Store
	key  cairn.SessionKey
	base cairn.Digest
	max  int64 // bytes that a snapshot of an upper directory may hold; 0: no bound
}

// Within returns the same files for a user whose snapshots may hold at most so many
// bytes in the upper directory, or in files of a plain one that are new or have another
// size; 0: no bound. Every name of a file counts, by its size or by
// what it takes on the disk, whichever is larger: a layer keeps no hard links, and
// a copy no holes.
func (t *Tree) Within(bytes int64) *Tree {
	u := *t
	u.max = bytes
	return &u
}

// Mount is what an overlay is made of: absolute paths of directories.
type Mount struct {
	// Lower are the layers, the top one first; never empty, at most about 64.
	Lower []string
	// Upper and Work are on the same file system; both are empty in a view.
	Upper, Work string
}

// Tree returns the files of a session that begins with a base of its tenant; the
// empty digest: with no files. Nothing is made until Checkout.
func (s *Store) Tree(k cairn.SessionKey, base cairn.Digest) (*Tree, error) {
	if k.Tenant == "" || k.ID == "" {
		return nil, cairn.Errorf(cairn.CodeInvalid, "a session has a tenant and an id")
	}
	if base != "" && !digestForm.MatchString(string(base)) {
		return nil, cairn.Errorf(cairn.CodeInvalid, "%.80q is no digest: write sha256: and 64 hexadecimal digits", string(base))
	}
	return &Tree{s: s, key: k, base: base}, nil
}

func (t *Tree) path() string { return t.s.sessionPath(t.key) }

func (t *Tree) livePath() string { return filepath.Join(t.path(), liveDir) }

func (t *Tree) layerPath(n int64) string {
	return filepath.Join(t.path(), layersDir, strconv.FormatInt(n, 10))
}

// layerRoot is the directory with the content of a layer; 0 is the base.
func (t *Tree) layerRoot(n int64) string {
	if n == 0 {
		return filepath.Join(t.s.basePath(t.key.Tenant, t.base), rootDir)
	}
	return filepath.Join(t.layerPath(n), rootDir)
}

// Checkout makes the recorded state the current one, exactly: what a broken attempt
// left in the upper directory is thrown away, and so are layers above the state. The
// returned mount has a fresh upper directory. Nothing may have the session's earlier
// mounts any more.
//
// Errors: CodeInternal with [ErrDamaged] when something recorded is not there;
// CodeNotFound when the base is not; CodeFull. The recorded state stays as it is.
func (t *Tree) Checkout(ctx context.Context, at cairn.Snapshot) (Mount, error) {
	m, err := t.checkout(ctx, at)
	return m, wrap(err, "checking out the files of the session")
}

func (t *Tree) checkout(ctx context.Context, at cairn.Snapshot) (Mount, error) {
	e, release, err := t.s.acquire(ctx, t.key)
	if err != nil {
		return Mount{}, err
	}
	defer release()
	if err := t.prepare(ctx, e, at); err != nil {
		return Mount{}, err
	}
	m, err := t.lower(ctx, at)
	if err != nil {
		return Mount{}, err
	}
	t.s.o.Hook("workspace.checkout.upper")
	live := t.livePath()
	if err := t.s.makeRoot(live); err != nil {
		return Mount{}, err
	}
	m.Upper, m.Work = filepath.Join(live, rootDir), filepath.Join(live, workDir)
	if err := t.s.makeTop(m.Work, 0o700); err != nil {
		return Mount{}, err
	}
	e.out = &checkout{start: at, seen: t.s.looked()}
	return m, nil
}

// prepare discards what is not part of the recorded state.
func (t *Tree) prepare(ctx context.Context, e *session, at cairn.Snapshot) error {
	e.out = nil
	if _, err := t.load(ctx, at); err != nil {
		return err
	}
	if err := t.makeSession(); err != nil {
		return err
	}
	t.s.o.Hook("workspace.checkout.discard")
	for _, dir := range []string{layersDir, squashDir} {
		if err := t.discardAbove(filepath.Join(t.path(), dir), at.Layer); err != nil {
			return err
		}
	}
	t.s.cache.forget(t.key.Tenant, t.key.ID, at.Layer+1)
	if err := t.s.discard(t.livePath()); err != nil {
		return err
	}
	return nil
}

// discardAbove removes the numbered directories above n. The highest goes first: a
// crash leaves no gap.
func (t *Tree) discardAbove(dir string, n int64) error {
	entries, err := os.ReadDir(dir)
	if err != nil && !missing(err) {
		return err
	}
	high := int64(-1)
	var numbers []int64
	for _, e := range entries {
		i, err := strconv.ParseInt(e.Name(), 10, 64)
		if err == nil && i > n {
			numbers, high = append(numbers, i), max(high, i)
		}
	}
	for i := high; len(numbers) > 0 && i > n; i = nextBelow(numbers, i) {
		if err := t.s.discard(filepath.Join(dir, strconv.FormatInt(i, 10))); err != nil {
			return err
		}
	}
	return nil
}

func nextBelow(numbers []int64, i int64) int64 {
	next := int64(-1)
	for _, n := range numbers {
		if n < i {
			next = max(next, n)
		}
	}
	return next
}

// View gives the layers of a recorded state, to be mounted for reading. It never
// touches the upper directory that is in use.
func (t *Tree) View(ctx context.Context, at cairn.Snapshot) (Mount, error) {
	m, err := t.view(ctx, at)
	return m, wrap(err, "looking at the files of the session")
}

func (t *Tree) view(ctx context.Context, at cairn.Snapshot) (Mount, error) {
	_, release, err := t.s.acquire(ctx, t.key)
	if err != nil {
		return Mount{}, err
	}
	defer release()
	if _, err := t.load(ctx, at); err != nil {
		return Mount{}, err
	}
	return t.lower(ctx, at)
}

// lower lists the layers of a state, and sees that they are there.
func (t *Tree) lower(ctx context.Context, at cairn.Snapshot) (Mount, error) {
	var m Mount
	bottom := int64(0)
	if at.Layer > squashAbove {
		bottom = at.Layer / squashAbove * squashAbove
	}
	for n := at.Layer; n > bottom; n-- {
		m.Lower = append(m.Lower, t.layerRoot(n))
	}
	if bottom > 0 {
		dir, err := t.squash(ctx, bottom)
		if err != nil {
			return Mount{}, err
		}
		m.Lower = append(m.Lower, dir)
	}
	m.Lower = append(m.Lower, t.layerRoot(0))
	for i, dir := range m.Lower {
		if _, err := os.Lstat(dir); missing(err) {
			return Mount{}, damaged("the files of session %s are not all there: layer %d is missing", t.key.ID, max(0, at.Layer-int64(i)))
		} else if err != nil {
			return Mount{}, err
		}
	}
	return m, nil
}

// Remove removes all files of the session. Nothing may have them mounted.
func (t *Tree) Remove(ctx context.Context) error {
	e, release, err := t.s.acquire(ctx, t.key)
	if err != nil {
		return wrap(err, "removing the files of the session")
	}
	defer release()
	t.s.o.Hook("workspace.remove")
	e.out = nil
	t.s.cache.forget(t.key.Tenant, t.key.ID, 0)
	err = t.s.discard(t.path())
	return wrap(err, "removing the files of the session")
}
