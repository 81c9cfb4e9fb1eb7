package api

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/journal"
)

// fileState is a recorded state of a session's files.
type fileState struct {
	after cairn.Seq // the event
	files cairn.Snapshot
}

// states opens the files of a session and finds the states they were in after
// events, whose numbers are given as requests write them: "0" is what the session
// began with, and "" the last event.
func (a *API) states(ctx context.Context, id cairn.SessionID, after ...string) (Tree, []fileState, error) {
	if a.Files == nil {
		return nil, nil, errNoFiles()
	}
	key := cairn.SessionKey{Tenant: identity(ctx).Tenant, ID: id}
	sum, err := a.summary(ctx, key)
	if err != nil {
		return nil, nil, err
	}
	base, err := firstTree(ctx, a.Journal, sum)
	if err != nil {
		return nil, nil, err
	}
	states := make([]fileState, len(after))
	for i, n := range after {
		seq := sum.Events
		if n != "" {
			given, err := strconv.ParseUint(n, 10, 64)
			if err != nil || cairn.Seq(given) > sum.Events {
				return nil, nil, beyond(n, sum)
			}
			seq = cairn.Seq(given)
		}
		at, err := lastSnapshot(ctx, a.Journal, key, seq)
		if err != nil {
			return nil, nil, fmt.Errorf("files of %s: %w", key, err)
		}
		if at == nil {
			at = &cairn.Snapshot{Tree: base}
		}
		states[i] = fileState{seq, *at}
	}
	tree, err := a.Files.Tree(ctx, key, base)
	return tree, states, err
}

// state is one of [API.states].
func (a *API) state(ctx context.Context, id cairn.SessionID, after string) (Tree, fileState, error) {
	tree, states, err := a.states(ctx, id, after)
	if err != nil {
		return nil, fileState{}, err
	}
	return tree, states[0], nil
}

// beyond refuses the number of an event that a session does not have yet.
func beyond(seq string, s cairn.Summary) error {
	return cairn.Errorf(cairn.CodeInvalid, "event %s is beyond the last event of session %s, which is %d: is it the number of another session's event?",
		seq, s.Session.ID, s.Events)
}

// firstTree is the tree that a session began with: its first event says so, or the
// input that waits for somebody to take the session. That is looked at first,
// because what is taken meanwhile is an event by then.
func firstTree(ctx context.Context, j *journal.Journal, s cairn.Summary) (cairn.Digest, error) {
	if s.Events == 0 {
		inputs, err := j.Inputs(ctx, s.Session, 1)
		if err != nil {
			return "", fmt.Errorf("files of %s: %w", s.Session, err)
		}
		for _, in := range inputs {
			if start, ok := in.Data.(cairn.Start); ok {
				return start.Workspace, nil
			}
		}
	}
	for e, err := range j.Events(ctx, s.Session, 0) {
		if err != nil {
			return "", fmt.Errorf("files of %s: %w", s.Session, err)
		}
		d, _ := e.Data.(cairn.SessionCreated)
		return d.Workspace, nil
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
