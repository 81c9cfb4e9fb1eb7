package workspace

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/cairn-run/cairn"
)

// session is what is held in memory of a session's tree: a lock while somebody uses
// it, and while it is checked out what the upper directory was begun on.
type session struct {
	lock chan struct{} // holds a token while it is taken
	refs int
	out  *checkout
}

// checkout is a tree that can be written to.
type checkout struct {
	plain bool
	start cairn.Snapshot // the state that the upper directory is laid over
	seen  *statCache
}

// acquire takes the lock of a session. What it returns gives it back.
func (s *Store) acquire(ctx context.Context, k cairn.SessionKey) (*session, func(), error) {
	s.mu.Lock()
	e := s.sessions[k]
	if e == nil {
		e = &session{lock: make(chan struct{}, 1)}
		s.sessions[k] = e
	}
	e.refs++
	s.mu.Unlock()
	leave := func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if e.refs--; e.refs == 0 && e.out == nil {
			delete(s.sessions, k) // an idle session costs no memory
		}
	}
	select {
	case e.lock <- struct{}{}:
		return e, func() { <-e.lock; leave() }, nil
	case <-ctx.Done():
		leave()
		return nil, nil, ctx.Err()
	}
}

// keyRecord is what the file "key" of a session says.
type keyRecord struct {
	Key  cairn.SessionKey `json:"key"`
	Base cairn.Digest     `json:"base,omitzero"`
}

// makeSession makes the directory of a session, if it is not there.
func (t *Tree) makeSession() error {
	dir := t.path()
	b, err := json.Marshal(keyRecord{t.key, t.base})
	if err != nil {
		return err
	}
	if have, err := os.ReadFile(filepath.Join(dir, keyFile)); err == nil {
		if string(have) != string(b) {
			var r keyRecord
			_ = json.Unmarshal(have, &r) // what cannot be read differs as well
			return cairn.Errorf(cairn.CodeConflict, "the files of session %s begin with %q, not with %q: ask with the base it was started with", t.key.ID, r.Base, t.base)
		}
		return nil
	} else if !missing(err) {
		return err
	}
	// A directory without the file is what a crash left of making it.
	if err := t.s.discard(dir); err != nil {
		return err
	}
	temp := t.s.temp()
	if err := os.Mkdir(temp, 0o700); err != nil {
		return err
	}
	if err := errors.Join(os.Mkdir(filepath.Join(temp, layersDir), 0o700), os.WriteFile(filepath.Join(temp, keyFile), b, 0o600)); err != nil {
		t.s.drop(temp)
		return err
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o700); err != nil {
		return err
	}
	return os.Rename(temp, dir)
}

// load returns the tree of a recorded state. It reads the manifests of the layers
// that are not in memory, and checks that they follow each other.
func (t *Tree) load(ctx context.Context, at cairn.Snapshot) (*node, error) {
	if at.Layer < 0 {
		return nil, cairn.Errorf(cairn.CodeInvalid, "there is no layer %d", at.Layer)
	}
	base, err := t.s.base(ctx, t.key.Tenant, t.base)
	if err != nil {
		return nil, err
	}
	root, layer := t.s.cache.below(t.cacheID(at.Layer))
	if root == nil {
		root = base
	}
	for layer < at.Layer {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		layer++
		m, err := readManifest(filepath.Join(t.layerPath(layer), manifestFile))
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil, damaged("layer %d of session %s is not on the disk: its files after step layer %d are lost; what is left is layer %d", layer, t.key.ID, layer, layer-1)
		case err != nil:
			return nil, damaged("layer %d of session %s cannot be read: what is left is layer %d; %w", layer, t.key.ID, layer-1, err)
		case m.layer != layer || m.parent != root.hash:
			return nil, damaged("layer %d of session %s does not follow layer %d", layer, t.key.ID, layer-1)
		}
		next := merge(root, root, m.root, layer)
		if next == nil || next.hash != m.tree {
			return nil, damaged("layer %d of session %s does not give the files that it says", layer, t.key.ID)
		}
		t.s.cache.put(t.cacheID(layer), next, weight(root, next))
		root = next
	}
	if at.Tree != "" && root.digest() != at.Tree {
		return nil, damaged("layer %d of session %s holds the files %s; recorded are %s", at.Layer, t.key.ID, root.digest(), at.Tree)
	}
	return root, nil
}

func (t *Tree) cacheID(layer int64) cacheID {
	return cacheID{tenant: t.key.Tenant, base: t.base, session: t.key.ID, layer: layer}
}
