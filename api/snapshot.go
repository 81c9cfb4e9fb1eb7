package api

import (
	"context"
	"fmt"
	"strings"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/journal"
)

// FileState is one recorded state of a session's files.
type FileState struct {
	Seq      cairn.Seq // the event after which it was asked for
	Snapshot cairn.Snapshot
}

// FileStates says which snapshot the files of a session were in after each of
// these events, and which tree the session began with. Zero is what it began with,
// and an event beyond the last one is the state now.
func FileStates(ctx context.Context, j *journal.Journal, s cairn.SessionKey, seqs ...cairn.Seq) (base cairn.Digest, states []FileState, err error) {
	sum, err := j.Summary(ctx, s)
	if err != nil {
		return "", nil, fmt.Errorf("files of %s: %w", s, err)
	}
	if base, err = firstTree(ctx, j, s); err != nil {
		return "", nil, fmt.Errorf("files of %s: %w", s, err)
	}
	states = make([]FileState, len(seqs))
	for i, seq := range seqs {
		states[i].Seq = min(seq, sum.Events)
		at, err := lastSnapshot(ctx, j, s, states[i].Seq)
		if err != nil {
			return "", nil, fmt.Errorf("files of %s: %w", s, err)
		}
		if at == nil {
			at = &cairn.Snapshot{Tree: base}
		}
		states[i].Snapshot = *at
	}
	return base, states, nil
}

// firstTree is the tree that a session began with: its first event says so, or the
// input that waits for somebody to take the session.
func firstTree(ctx context.Context, j *journal.Journal, s cairn.SessionKey) (cairn.Digest, error) {
	for e, err := range j.Events(ctx, s, 0) {
		if err != nil {
			return "", err
		}
		d, _ := e.Data.(cairn.SessionCreated)
		return d.Workspace, nil
	}
	inputs, err := j.Inputs(ctx, s, 1)
	if err != nil {
		return "", err
	}
	for _, in := range inputs {
		if start, ok := in.Data.(cairn.Start); ok {
			return start.Workspace, nil
		}
	}
	return "", nil
}

// lastSnapshot is the last one up to an event; nil: there is none. It reads windows
// from the event back: most calls that change files are near the end.
func lastSnapshot(ctx context.Context, j *journal.Journal, s cairn.SessionKey, seq cairn.Seq) (*cairn.Snapshot, error) {
	for end, size := seq+1, cairn.Seq(firstWindow); end > 1; size = min(2*size, lastWindow) {
		begin := cairn.Seq(1)
		if end > size {
			begin = end - size
		}
		var found *cairn.Snapshot
		for e, err := range j.Events(ctx, s, begin-1) {
			if err != nil {
				return nil, err
			}
			if e.Seq >= end {
				break
			}
			if d, ok := e.Data.(cairn.WorkspaceSnapshotted); ok {
				found = &d.Snapshot
			}
		}
		if found != nil {
			return found, nil
		}
		end = begin
	}
	return nil, nil
}

// layerPath turns the path of a request into one from the root of the sandbox:
// what is not absolute is below /workspace.
func layerPath(path string) (string, error) {
	if strings.ContainsRune(path, 0) || len(path) > 4096 {
		return "", cairn.Errorf(cairn.CodeInvalid, "path: it holds a zero byte, or has more than 4096 bytes")
	}
	rest, absolute := strings.CutPrefix(path, "/")
	var clean []string
	for part := range strings.SplitSeq(rest, "/") {
		switch part {
		case "", ".":
		case "..":
			return "", cairn.Errorf(cairn.CodeInvalid, "path: leave out \"..\"; a path is below /workspace, or absolute")
		default:
			clean = append(clean, part)
		}
	}
	if !absolute {
		clean = append([]string{workspaceDir}, clean...)
	}
	if len(clean) == 0 {
		return ".", nil
	}
	return strings.Join(clean, "/"), nil
}

// shownPath is the path of a layer as the API shows it.
func shownPath(path string) string {
	switch rest, ok := strings.CutPrefix(path, workspaceDir+"/"); {
	case ok:
		return rest
	case path == workspaceDir:
		return "."
	case path == ".":
		return "/"
	}
	return "/" + path
}
