// Package workspace keeps the files of sessions: trees that are imported, worked on in
// a sandbox, recorded after each call, put back, compared and read.
//
// The tree of a session is a stack of layers in the format of overlayfs: the base
// (an import, shared by all sessions that begin with it), and one layer for each
// recorded state. A layer holds paths from the root of the sandbox
// ("workspace/main.go", "home/agent/.cache", "tmp/x"), so that temporary files and the
// home directory are as durable as the workspace, and go back with it. Checkout gives
// the layers with a fresh upper directory to a sandbox, Snapshot makes the upper
// directory the next layer. Drivers without mounts use Plain and SnapshotPlain.
//
// Beside each layer lies a manifest: what it changed, with the SHA-256 of every file,
// and the Merkle hash of the whole tree with it ([cairn.Snapshot.Tree]). Only what
// changed is hashed. A recorded state is on the disk before its snapshot is returned;
// a process that is killed at any time leaves the recorded states as they were, and
// perhaps a layer above them, which the next Checkout throws away.
//
// What payloads leave behind is hostile: links that lead out, FIFOs, directories
// without end, attributes of overlayfs. Paths in a tree are only ever resolved entry by
// entry, or beneath an open directory without following links.
package workspace
