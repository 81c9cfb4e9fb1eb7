package workspace

import (
	"context"

	"github.com/cairn-run/cairn"
)

// Verify reads everything that a recorded state is made of from the disk again, and
// compares its hash with the recorded one. An error with [ErrDamaged] names the first
// path that differs. It does not look at what is in memory.
func (t *Tree) Verify(ctx context.Context, at cairn.Snapshot) error {
	return wrap(t.verify(ctx, at), "verifying the files of the session")
}

func (t *Tree) verify(ctx context.Context, at cairn.Snapshot) error {
	_, release, err := t.s.acquire(ctx, t.key)
	if err != nil {
		return err
	}
	defer release()
	t.s.cache.forget(t.key.Tenant, t.key.ID, 0)
	t.s.cache.forgetBase(t.key.Tenant, t.base)
	want, err := t.load(ctx, at)
	if err != nil {
		return err
	}
	var got *node
	for n := int64(0); n <= at.Layer; n++ {
		over, err := t.s.scanLayer(ctx, t.layerRoot(n))
		if missing(err) {
			return damaged("layer %d of session %s is missing", n, t.key.ID)
		}
		if err != nil {
			return err
		}
		got = merge(got, got, over, n)
	}
	return compare(want, got)
}

// scanLayer reads a layer from the disk.
func (s *Store) scanLayer(ctx context.Context, dir string) (*node, error) {
	fd, err := openDir(cwd, dir)
	if err != nil {
		return nil, err
	}
	defer closeFD(fd)
	s.modes.Lock() // the scan may change modes for a moment
	defer s.modes.Unlock()
	return (&scanner{overlay: true}).scan(ctx, fd)
}

func compare(want, got *node) error {
	if want.hash == got.hash {
		return nil
	}
	first := ""
	eachChange("", want, got, func(path string, _, _ *node) {
		if first == "" {
			first = path
		}
	})
	return damaged("the files on the disk are not those that were recorded: %s differs", quoted(first))
}

// verifyBase reads a base again.
func (s *Store) verifyBase(ctx context.Context, t cairn.TenantID, d cairn.Digest) error {
	want, err := s.base(ctx, t, d)
	if err != nil {
		return err
	}
	m, err := readManifest(s.basePath(t, d) + "/" + manifestFile)
	if err != nil || m.tree != want.hash {
		return damaged("the list of the files %s is damaged", d)
	}
	got, err := s.scanLayer(ctx, s.basePath(t, d)+"/"+rootDir)
	if err != nil {
		return err
	}
	return compare(want, merge(nil, nil, got, 0))
}
