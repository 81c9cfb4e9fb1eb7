// Package files is [api.Files] over the store of this machine: it says in the
// words of the API what a [workspace.Store] knows.
package files

import (
	"context"
	"io"
	"strings"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/api"
	v1 "github.com/cairn-run/cairn/api/v1"
	"github.com/cairn-run/cairn/workspace"
)

// New returns the files of sessions that a store keeps. The store stays the
// caller's to close.
func New(s *workspace.Store) api.Files { return files{s} }

type files struct{ store *workspace.Store }

// Import implements [api.Files].
func (f files) Import(ctx context.Context, t cairn.TenantID, r io.Reader) (v1.Workspace, error) {
	in, err := f.store.Import(ctx, t, r)
	return v1.Workspace{Tree: in.Tree, Files: in.Files, Bytes: in.Bytes}, err
}

// Base implements [api.Files].
func (f files) Base(ctx context.Context, t cairn.TenantID, tree cairn.Digest) error {
	return f.store.Base(ctx, t, tree)
}

// Tree implements [api.Files].
func (f files) Tree(_ context.Context, s cairn.SessionKey, base cairn.Digest) (api.Tree, error) {
	t, err := f.store.Tree(s, base)
	if err != nil {
		return nil, err
	}
	return recorded{t}, nil
}

type recorded struct{ tree *workspace.Tree }

// List implements [api.Tree].
func (t recorded) List(ctx context.Context, at cairn.Snapshot, path string, depth, limit int) ([]v1.File, bool, error) {
	o := workspace.ListOptions{Depth: depth, Max: limit + 1} // the store names a directory itself first
	if depth == 0 {
		o = workspace.ListOptions{Max: 1}
	}
	found, more, err := t.tree.List(ctx, at, path, o)
	if err != nil {
		return nil, false, err
	}
	if depth == 0 {
		more = false // what is in a directory was not asked for
	} else if found[0].Kind == workspace.KindDir {
		found = found[1:]
	}
	all := make([]v1.File, len(found))
	for i := range found {
		e := &found[i]
		all[i] = v1.File{Kind: kindOf(e), Mode: modeOf(e), Size: e.Size, Target: e.Target, Digest: contentOf(e)}
		all[i].SetPath(e.Path)
	}
	return all, more, nil
}

// ReadFile implements [api.Tree].
func (t recorded) ReadFile(ctx context.Context, at cairn.Snapshot, path string, offset, limit int64) ([]byte, int64, error) {
	data, e, err := t.tree.ReadFile(ctx, at, path, offset, limit)
	return data, e.Size, err
}

// WriteTar implements [api.Tree].
func (t recorded) WriteTar(ctx context.Context, at cairn.Snapshot, w io.Writer) error {
	return t.tree.WriteTar(ctx, at, workspace.Prefix, w)
}

// Diff implements [api.Tree].
func (t recorded) Diff(ctx context.Context, from, to cairn.Snapshot) ([]v1.FileChange, error) {
	found, err := t.tree.Diff(ctx, from, to, workspace.Prefix)
	if err != nil {
		return nil, err
	}
	all := make([]v1.FileChange, 0, len(found))
	for _, c := range found {
		path, below := strings.CutPrefix(c.Path, workspace.Prefix+"/")
		if !below {
			continue // the directory itself: other permission bits
		}
		d := v1.FileChange{Change: v1.ChangeKind(c.Kind)}
		d.SetPath(path)
		if e := c.Old; e != nil {
			d.Kind, d.OldSize, d.OldMode, d.OldDigest = kindOf(e), e.Size, modeOf(e), contentOf(e)
		}
		if e := c.New; e != nil {
			d.Kind, d.NewSize, d.NewMode, d.NewDigest = kindOf(e), e.Size, modeOf(e), contentOf(e)
		}
		all = append(all, d)
	}
	return all, nil
}

// Patch implements [api.Tree].
func (t recorded) Patch(ctx context.Context, from, to cairn.Snapshot, w io.Writer) error {
	return t.tree.Patch(ctx, from, to, workspace.Prefix, w)
}

func kindOf(e *workspace.Entry) v1.FileKind {
	switch e.Kind {
	case workspace.KindDir:
		return v1.FileDir
	case workspace.KindSymlink:
		return v1.FileSymlink
	case workspace.KindFile:
		return v1.FileRegular
	}
	return v1.FileOther
}

func modeOf(e *workspace.Entry) uint32 { return uint32(e.Mode.Perm()) }

// contentOf is the hash of a file: of a directory, the store's is that of all that
// is in it.
func contentOf(e *workspace.Entry) cairn.Digest {
	if e.Kind != workspace.KindFile {
		return ""
	}
	return e.Digest
}
