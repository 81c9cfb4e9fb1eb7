package node

import (
	"context"
	"io"
	"io/fs"
	"path"
	"strings"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/api"
	v1 "github.com/cairn-run/cairn/api/v1"
	"github.com/cairn-run/cairn/workspace"
)

// files says in the words of the API what the store knows.
type files struct{ store *workspace.Store }

var _ api.Files = files{}

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
	return fileTree{t}, nil
}

type fileTree struct{ tree *workspace.Tree }

// List implements [api.Tree].
func (t fileTree) List(ctx context.Context, at cairn.Snapshot, p string, depth, limit int) ([]v1.File, bool, error) {
	// The store names a directory itself first; the API only what is below it.
	found, more, err := t.tree.List(ctx, at, slash(p), workspace.ListOptions{Depth: max(depth, 1), Max: limit + 1})
	if err != nil {
		return nil, false, err
	}
	if len(found) > 0 && found[0].Kind == workspace.KindDir && depth > 0 {
		found = found[1:]
	}
	if depth == 0 && len(found) > 1 {
		found, more = found[:1], false
	}
	if len(found) > limit {
		found, more = found[:limit], true
	}
	all := make([]v1.File, len(found))
	for i, e := range found {
		all[i] = v1.File{Kind: kindOf(e.Kind), Mode: modeOf(e.Mode), Size: e.Size, Target: e.Target}
		all[i].SetPath(e.Path)
		if e.Kind == workspace.KindFile {
			all[i].Digest = e.Digest
		}
	}
	return all, more, nil
}

// ReadFile implements [api.Tree].
func (t fileTree) ReadFile(ctx context.Context, at cairn.Snapshot, p string, offset, limit int64) ([]byte, int64, error) {
	data, e, err := t.tree.ReadFile(ctx, at, slash(p), offset, limit)
	return data, e.Size, err
}

// WriteTar implements [api.Tree].
func (t fileTree) WriteTar(ctx context.Context, at cairn.Snapshot, w io.Writer) error {
	return t.tree.WriteTar(ctx, at, "/"+workspace.Prefix, w)
}

// Diff implements [api.Tree].
func (t fileTree) Diff(ctx context.Context, from, to cairn.Snapshot) ([]v1.FileChange, error) {
	found, err := t.tree.Diff(ctx, from, to, "")
	if err != nil {
		return nil, err
	}
	all := make([]v1.FileChange, len(found))
	for i, c := range found {
		d := v1.FileChange{Change: v1.ChangeKind(c.Kind)}
		d.SetPath(strings.TrimPrefix(c.Path, workspace.Prefix+"/"))
		if e := c.Old; e != nil {
			d.Kind, d.OldSize, d.OldMode, d.OldDigest = kindOf(e.Kind), e.Size, modeOf(e.Mode), e.Digest
		}
		if e := c.New; e != nil {
			d.Kind, d.NewSize, d.NewMode, d.NewDigest = kindOf(e.Kind), e.Size, modeOf(e.Mode), e.Digest
		}
		all[i] = d
	}
	return all, nil
}

// Patch implements [api.Tree].
func (t fileTree) Patch(ctx context.Context, from, to cairn.Snapshot, w io.Writer) error {
	return t.tree.Patch(ctx, from, to, "", w)
}

// slash is a path from the root of the sandbox, as the store has it.
func slash(p string) string { return path.Clean("/" + p) }

func kindOf(k workspace.Kind) v1.FileKind {
	switch k {
	case workspace.KindDir:
		return v1.FileDir
	case workspace.KindSymlink:
		return v1.FileSymlink
	case workspace.KindFile:
		return v1.FileRegular
	}
	return v1.FileOther
}

func modeOf(m fs.FileMode) uint32 { return uint32(m.Perm()) }
