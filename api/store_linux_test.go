package api_test

import (
	"context"
	"io"
	"strings"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/api"
	v1 "github.com/cairn-run/cairn/api/v1"
	"github.com/cairn-run/cairn/workspace"
)

// storeFiles are the files that a store of workspaces keeps, as a node has them.
type storeFiles struct{ store *workspace.Store }

// Import implements Files.
func (f storeFiles) Import(ctx context.Context, t cairn.TenantID, r io.Reader) (v1.Workspace, error) {
	i, err := f.store.Import(ctx, t, r)
	if err != nil {
		return v1.Workspace{}, err
	}
	return v1.Workspace{Tree: i.Tree, Files: i.Files, Bytes: i.Bytes}, nil
}

// Base implements Files.
func (f storeFiles) Base(ctx context.Context, t cairn.TenantID, tree cairn.Digest) error {
	return f.store.Base(ctx, t, tree)
}

// Tree implements Files.
func (f storeFiles) Tree(_ context.Context, s cairn.SessionKey, base cairn.Digest) (api.Tree, error) {
	t, err := f.store.Tree(s, base)
	if err != nil {
		return nil, err
	}
	return storeTree{t}, nil
}

type storeTree struct{ tree *workspace.Tree }

// List implements Tree.
func (t storeTree) List(ctx context.Context, at cairn.Snapshot, path string, depth, limit int) ([]v1.File, bool, error) {
	o := workspace.ListOptions{Depth: depth, Max: limit + 1} // the store lists the directory itself first
	if depth == 0 {
		o = workspace.ListOptions{Depth: 1, Max: 1}
	}
	entries, more, err := t.tree.List(ctx, at, path, o)
	if err != nil {
		return nil, false, err
	}
	if len(entries) > 0 && depth > 0 && entries[0].Kind == workspace.KindDir {
		entries = entries[1:]
	}
	if len(entries) > limit {
		entries, more = entries[:limit], true
	}
	out := make([]v1.File, len(entries))
	for i, e := range entries {
		out[i] = v1.File{Kind: fileKind(e.Kind), Mode: uint32(e.Mode.Perm()), Size: e.Size, Target: e.Target, Digest: contentOf(&e)}
		out[i].SetPath(e.Path)
	}
	return out, more && depth > 0, nil
}

// contentOf is the hash of a file; of what is none there is none to show.
func contentOf(e *workspace.Entry) cairn.Digest {
	if e.Kind != workspace.KindFile {
		return ""
	}
	return e.Digest
}

func fileKind(k workspace.Kind) v1.FileKind {
	switch k {
	case workspace.KindDir:
		return v1.FileDir
	case workspace.KindFile:
		return v1.FileRegular
	case workspace.KindSymlink:
		return v1.FileSymlink
	}
	return v1.FileOther
}

// ReadFile implements Tree.
func (t storeTree) ReadFile(ctx context.Context, at cairn.Snapshot, path string, offset, limit int64) ([]byte, int64, error) {
	data, e, err := t.tree.ReadFile(ctx, at, path, offset, limit)
	return data, e.Size, err
}

// WriteTar implements Tree. A session that never had files has an empty archive.
func (t storeTree) WriteTar(ctx context.Context, at cairn.Snapshot, w io.Writer) error {
	err := t.tree.WriteTar(ctx, at, workspace.Prefix, w)
	if cairn.CodeOf(err) == cairn.CodeNotFound && at == (cairn.Snapshot{}) {
		_, err = w.Write(make([]byte, 1024)) // the end of a tar: two blocks of zeros
	}
	return err
}

// Diff implements Tree.
func (t storeTree) Diff(ctx context.Context, from, to cairn.Snapshot) ([]v1.FileChange, error) {
	changes, err := t.tree.Diff(ctx, from, to, workspace.Prefix)
	if err != nil {
		return nil, err
	}
	out := make([]v1.FileChange, 0, len(changes))
	for _, c := range changes {
		change := v1.FileChange{Change: v1.ChangeKind(c.Kind)}
		if c.Old != nil {
			change.Kind, change.OldSize, change.OldMode, change.OldDigest = fileKind(c.Old.Kind), c.Old.Size, uint32(c.Old.Mode.Perm()), contentOf(c.Old)
		}
		if c.New != nil {
			change.Kind, change.NewSize, change.NewMode, change.NewDigest = fileKind(c.New.Kind), c.New.Size, uint32(c.New.Mode.Perm()), contentOf(c.New)
		}
		name, below := strings.CutPrefix(c.Path, workspace.Prefix+"/")
		if !below {
			continue // /workspace itself is no file in it
		}
		change.SetPath(name)
		out = append(out, change)
	}
	return out, nil
}

// Patch implements Tree.
func (t storeTree) Patch(ctx context.Context, from, to cairn.Snapshot, w io.Writer) error {
	return t.tree.Patch(ctx, from, to, workspace.Prefix, w)
}
