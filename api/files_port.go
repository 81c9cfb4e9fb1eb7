package api

import (
	"context"
	"io"

	"github.com/cairn-run/cairn"
	v1 "github.com/cairn-run/cairn/api/v1"
)

// Files keeps the files of sessions. What is wrong with a request is a
// *cairn.Error: CodeNotFound for a tree that is not there, CodeInvalid for an
// archive that is refused (its message says which entry and why), CodeFull for a
// full disk.
type Files interface {
	// Import stores a plain tar stream as a tree that sessions may begin with; the
	// same files give the same tree. When it fails nothing is left. A failure of r
	// comes back, wrapped or not.
	Import(ctx context.Context, t cairn.TenantID, r io.Reader) (v1.Workspace, error)
	// Base says that a tree is there: nil, or CodeNotFound.
	Base(ctx context.Context, t cairn.TenantID, tree cairn.Digest) error
	// Tree is the way to the files of a session that began with base (empty: with
	// none). It makes and changes nothing: the session may not exist yet, and its
	// commands may be running.
	Tree(ctx context.Context, s cairn.SessionKey, base cairn.Digest) (Tree, error)
}

// Tree reads recorded states of a session's files: the layers up to the snapshot,
// never what a call is doing right now. Layer 0 is what the session began with,
// whatever the snapshot says besides. Paths are clean, relative to the root of the
// sandbox and have no leading slash ("workspace/main.go", "tmp/x"); "." is the
// root. Symbolic links are shown and never followed.
//
// CodeNotFound: nothing is at the path; CodeInvalid: it is there and is of another
// kind than was asked for.
type Tree interface {
	// List returns what is below a directory, depth levels deep (1: its entries), by
	// path, at most limit entries; more: there are others. Of what is no directory, or
	// with depth 0, it returns the entry itself. The paths of the entries are
	// relative to the root of the sandbox too.
	List(ctx context.Context, at cairn.Snapshot, path string, depth, limit int) (entries []v1.File, more bool, err error)
	// ReadFile returns up to limit bytes of a regular file from offset on, and the
	// size of the whole file.
	ReadFile(ctx context.Context, at cairn.Snapshot, path string, offset, limit int64) (data []byte, size int64, err error)
	// WriteTar writes what is below workspace/ as a plain tar with names relative to
	// it: Import of it gives the same files again.
	WriteTar(ctx context.Context, at cairn.Snapshot, w io.Writer) error
	// Diff returns what changed below workspace/, by path; the paths are relative to
	// workspace/.
	Diff(ctx context.Context, from, to cairn.Snapshot) ([]v1.FileChange, error)
	// Patch writes what changed below workspace/ in the format of git: git apply in a
	// copy of the old state makes the new one. What is inside .git is left out: git
	// apply refuses it.
	Patch(ctx context.Context, from, to cairn.Snapshot, w io.Writer) error
}

// workspaceDir is where a session's files are in its sandbox, as a path from the
// root.
const workspaceDir = "workspace"

// errNoFiles: this node keeps none.
func errNoFiles() error {
	return cairn.Errorf(cairn.CodeNotFound, "this server keeps no files of sessions")
}
