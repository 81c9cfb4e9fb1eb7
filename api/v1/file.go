package v1

import (
	"unicode/utf8"

	"github.com/cairn-run/cairn"
)

// Workspace is a tree of files that sessions may begin with. It is known by what
// is in it: the same files give the same tree.
type Workspace struct {
	Tree  cairn.Digest `json:"tree" doc:"hash of all files: path, kind, mode and content"`
	Files int          `json:"files"`
	Bytes int64        `json:"bytes" doc:"of all files"`
}

// WorkspaceRef says that a tree is there.
type WorkspaceRef struct {
	Tree cairn.Digest `json:"tree"`
}

// FileKind says what an entry of a tree is.
type FileKind string

// Kinds of entries.
const (
	FileRegular FileKind = "file"
	FileDir     FileKind = "dir"
	FileSymlink FileKind = "symlink"
	FileOther   FileKind = "other" // a FIFO, a socket or a device: it has no content
)

// File is one entry of a session's files.
type File struct {
	// Path is from /workspace on; it begins with a slash where an absolute path was
	// asked for.
	Path string `json:"path" doc:"below /workspace; absolute where an absolute path was asked for"`
	// PathBytes is the path of a name that is not valid UTF-8, exactly.
	PathBytes []byte       `json:"path_bytes,omitempty" doc:"the exact path, base64, when it is not valid UTF-8"`
	Kind      FileKind     `json:"kind" enum:"file,dir,symlink,other"`
	Mode      uint32       `json:"mode,omitzero" doc:"permission bits"`
	Size      int64        `json:"size,omitzero" doc:"of a file, in bytes"`
	Target    string       `json:"target,omitzero" doc:"of a symbolic link"`
	Digest    cairn.Digest `json:"digest,omitzero" doc:"hash of the content of a file, where it is known"`
}

// SetPath sets the path, and its exact bytes where JSON cannot carry them.
func (f *File) SetPath(path string) { f.Path, f.PathBytes = portable(path) }

// Name is the exact path.
func (f *File) Name() string { return exact(f.Path, f.PathBytes) }

// FileList is what is below a path in one state of a session's files.
type FileList struct {
	Session cairn.SessionID `json:"session_id"`
	// At is the event whose state is shown: give it as at to see the same again.
	At   cairn.Seq    `json:"at" doc:"the event whose state this is"`
	Tree cairn.Digest `json:"tree,omitzero" doc:"hash of all files in this state"`
	// Path is where was looked.
	Path    string `json:"path"`
	Entries []File `json:"entries"`
	// Truncated says that there is more than was asked for.
	Truncated bool `json:"truncated,omitzero" doc:"there is more below this path"`
}

// ChangeKind says what became of a file.
type ChangeKind string

// Kinds of changes.
const (
	ChangeAdded    ChangeKind = "added"
	ChangeModified ChangeKind = "modified"
	ChangeRemoved  ChangeKind = "removed"
	ChangeMode     ChangeKind = "mode" // only the permission bits
)

// FileChange is what became of one path between two states.
type FileChange struct {
	Path      string       `json:"path"`
	PathBytes []byte       `json:"path_bytes,omitempty" doc:"the exact path, base64, when it is not valid UTF-8"`
	Change    ChangeKind   `json:"change" enum:"added,modified,removed,mode"`
	Kind      FileKind     `json:"kind" enum:"file,dir,symlink,other" doc:"what it is now, or was"`
	OldSize   int64        `json:"old_size,omitzero"`
	NewSize   int64        `json:"new_size,omitzero"`
	OldMode   uint32       `json:"old_mode,omitzero"`
	NewMode   uint32       `json:"new_mode,omitzero"`
	OldDigest cairn.Digest `json:"old_digest,omitzero"`
	NewDigest cairn.Digest `json:"new_digest,omitzero"`
}

// SetPath sets the path, and its exact bytes where JSON cannot carry them.
func (c *FileChange) SetPath(path string) { c.Path, c.PathBytes = portable(path) }

// Name is the exact path.
func (c *FileChange) Name() string { return exact(c.Path, c.PathBytes) }

// FileDiff is the difference between two states of a session's files, by path.
type FileDiff struct {
	Session  cairn.SessionID `json:"session_id"`
	From     cairn.Seq       `json:"from" doc:"the event whose state is the old one; 0: what the session began with"`
	To       cairn.Seq       `json:"to" doc:"the event whose state is the new one"`
	FromTree cairn.Digest    `json:"from_tree,omitzero"`
	ToTree   cairn.Digest    `json:"to_tree,omitzero"`
	Changes  []FileChange    `json:"changes"`
	// Hidden counts the changes inside .git, which are left out.
	Hidden int `json:"hidden,omitzero" doc:"changes inside .git, which are left out"`
}

// Headers of the content of a file.
const (
	// HeaderFileSize is the size of the whole file, in bytes.
	HeaderFileSize = "Cairn-File-Size"
	// HeaderAt is the event whose state was read.
	HeaderAt = "Cairn-At"
)

func portable(path string) (string, []byte) {
	if utf8.ValidString(path) {
		return path, nil
	}
	return path, []byte(path) // encoding/json writes the replacement character in the text
}

func exact(path string, b []byte) string {
	if b != nil {
		return string(b)
	}
	return path
}
