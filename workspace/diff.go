package workspace

import (
	"context"
	"strings"

	"github.com/cairn-run/cairn"
)

// ChangeKind is what happened to a path.
type ChangeKind string

// Kinds of changes.
const (
	Added    ChangeKind = "added"
	Modified ChangeKind = "modified" // other content, target or kind
	Removed  ChangeKind = "removed"
	Moded    ChangeKind = "mode" // other permission bits only
)

// Change is one path that differs between two recorded states.
type Change struct {
	Path string     `json:"path"` // from the root of the sandbox: workspace/main.go
	Kind ChangeKind `json:"kind"`
	Old  *Entry     `json:"old,omitempty"` // nil: added
	New  *Entry     `json:"new,omitempty"` // nil: removed
}

// Diff returns what differs between two recorded states below a path, sorted by path;
// "" is [Prefix], "/" everything. Of a directory that came or went, every entry is
// named. Nothing but manifests is read.
func (t *Tree) Diff(ctx context.Context, from, to cairn.Snapshot, under string) ([]Change, error) {
	a, b, scope, err := t.pair(ctx, from, to, under)
	if err != nil {
		return nil, wrap(err, "comparing files")
	}
	var out []Change
	eachChange(scope, a, b, func(path string, x, y *node) {
		c := Change{Path: path, Kind: Modified}
		if x != nil {
			e := entryOf(path, x)
			c.Old = &e
		}
		if y != nil {
			e := entryOf(path, y)
			c.New = &e
		}
		switch {
		case x == nil:
			c.Kind = Added
		case y == nil:
			c.Kind = Removed
		case x.kind == y.kind && (x.hash == y.hash || x.kind == kindDir):
			c.Kind = Moded
		}
		out = append(out, c)
	})
	return out, nil
}

// pair loads two states and looks a path up in both.
func (t *Tree) pair(ctx context.Context, from, to cairn.Snapshot, under string) (a, b *node, scope string, err error) {
	if under == "" {
		under = Prefix
	}
	if scope, err = cleanPath(under); err != nil {
		return nil, nil, "", err
	}
	if a, err = t.recorded(ctx, from); err != nil {
		return nil, nil, "", err
	}
	if b, err = t.recorded(ctx, to); err != nil {
		return nil, nil, "", err
	}
	return a.lookup(scope), b.lookup(scope), scope, nil
}

// gitHolds says whether git takes a path into a tree: it refuses its own directory,
// in every case of letters.
func gitHolds(path string) bool {
	for p := range strings.SplitSeq(path, "/") {
		if strings.EqualFold(p, ".git") {
			return false
		}
	}
	return true
}
