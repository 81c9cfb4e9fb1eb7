package torture

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/engine"
	"github.com/cairn-run/cairn/workspace"
)

// Files counts what was checked of the sessions' files.
type Files struct {
	Calls     int `json:"calls_on_files"`
	Retried   int `json:"attempts_lost_with_a_sandbox"`
	GivenUp   int `json:"calls_given_up_after_lost_sandboxes"`
	Snapshots int `json:"snapshots_recorded"`
	Clean     int `json:"calls_that_changed_nothing"`
	Verified  int `json:"trees_verified"`
	Entries   int `json:"files_compared"`
	Orphans   int `json:"orphan_layers"`
	Ended     int `json:"background_commands_ended_with_their_run"`
	// Outlived is the longest time for which a process outlived its runtime.
	Outlived    string `json:"longest_a_process_outlived_its_runtime"`
	Descriptors int    `json:"descriptors_at_rest"`
}

// baseFiles are those of the tree that session n begins with.
func baseFiles(n int) fileset {
	return fileset{"seed/readme": fmt.Sprintf("This is tree %d.\n", n), "many/first": strings.Repeat("x", 1000*(n%8)) + "\n", "counter": "100\n"}
}

// upload stores a tree; what it began with is known by its hash.
func (c *crowd) upload(ctx context.Context, n int) (cairn.Digest, error) {
	files := baseFiles(n)
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, name := range files.names() {
		if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Size: int64(len(files[name])), ModTime: time.Unix(0, 0)}); err != nil {
			return "", err
		}
		if _, err := w.Write([]byte(files[name])); err != nil {
			return "", err
		}
	}
	if err := w.Close(); err != nil {
		return "", err
	}
	tree, err := c.c.UploadWorkspace(ctx, &b)
	if err != nil {
		return "", err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.trees[tree.Tree] = n
	return tree.Tree, nil
}

// handEvents is what a journal says of the calls on the files.
type handEvents struct {
	base      cairn.Digest
	calls     map[cairn.EffectID]cairn.ToolCallRequested
	lost      map[cairn.EffectID]int      // attempts
	stopped   map[cairn.EffectID]bool     // with its run, or by a message
	snapshot  *cairn.WorkspaceSnapshotted // the last one
	of        cairn.EffectID              // whose it is, until that has ended
	other     bool                        // it names other background commands than the one before it
	order     []handCall
	retried   int
	snapshots int
	killed    int // background commands that a release ended
}

type handCall struct {
	effect   cairn.EffectID
	tag      string
	failed   *cairn.Error // nil: it is done
	snapshot bool
	running  bool // the snapshot names other background commands than the one before it
}

func (h *handEvents) add(e cairn.Event) {
	if h.calls == nil {
		h.calls, h.lost, h.stopped = map[cairn.EffectID]cairn.ToolCallRequested{}, map[cairn.EffectID]int{}, map[cairn.EffectID]bool{}
	}
	ended := func(failed *cairn.Error) {
		if c, ok := h.calls[e.Step]; ok {
			h.order = append(h.order, handCall{effect: e.Step, tag: tagOf(c.Args), failed: failed, snapshot: h.of == e.Step, running: h.of == e.Step && h.other})
		}
		h.of = ""
	}
	switch d := e.Data.(type) {
	case cairn.SessionCreated:
		h.base = d.Workspace
	case cairn.ToolCallRequested:
		if d.Files == cairn.AccessWrite {
			h.calls[e.Step] = d
		}
	case cairn.WorkspaceSnapshotted:
		h.other = h.snapshot != nil && !slices.Equal(h.snapshot.Running, d.Running)
		h.snapshot, h.of = &d, e.Step
		h.snapshots++
	case cairn.ToolCallRetried:
		if _, ok := h.calls[e.Step]; ok {
			h.retried++
			h.lost[e.Step]++
		}
	case cairn.ToolCallCompleted:
		ended(nil)
	case cairn.ToolCallFailed:
		ended(&d.Error)
	case cairn.RunCancelling:
		h.stop()
	case cairn.MessageCreated:
		if d.Interrupt {
			h.stop()
		}
	case cairn.SandboxReleased:
		h.killed += len(d.Killed)
	}
}

// stop marks the calls that are open: they are stopped now, and may end for that
// reason or for the one they would have been made again for.
func (h *handEvents) stop() {
	for id := range h.calls {
		h.stopped[id] = true
	}
}

func (v *verifier) openFiles() (err error) {
	v.checked.Files = &Files{Outlived: v.rest.outlived.String(), Descriptors: v.rest.descriptors}
	v.store, err = workspace.Open(filepath.Join(v.dir, "workspaces"), workspace.Options{})
	return err
}

// files checks that the files of a session are those that its journal says: each
// call that is recorded as done has done what it does once, in this order, and
// nothing else has been done.
func (v *verifier) files(ctx context.Context, key cairn.SessionKey, s *engine.State, h *handEvents) error {
	id, sum := key.ID, v.checked.Files
	want := fileset{}
	if h.base != "" {
		n, ok := v.crowd.trees[h.base]
		if !ok {
			v.violate("%s: it began with %s, which nobody uploaded", id, h.base)
			return nil
		}
		want = baseFiles(n)
	}
	for _, c := range h.order {
		if c.failed != nil {
			if c.snapshot {
				v.violate("%s: call %s (%s) failed, and what it did to the files was recorded", id, c.effect, c.tag)
			}
			// It may be stopped with its run, or have lost its sandbox too often.
			retries := h.calls[c.effect].Retries
			switch {
			case c.failed.Code == cairn.CodeCancelled || c.failed.Code == cairn.CodeInterrupted:
			case c.failed.Retryable && h.stopped[c.effect]:
			case c.failed.Retryable && h.lost[c.effect] >= retries:
				sum.GivenUp++
			default:
				v.violate("%s: call %s (%s) failed: %s: %s", id, c.effect, c.tag, c.failed.Code, c.failed.Message)
			}
			continue
		}
		sum.Calls++
		before := want.clone()
		if !want.do(c.tag) {
			v.violate("%s: call %s has the unknown tag %q", id, c.effect, c.tag)
		}
		switch changed := !cmp.Equal(before, want); {
		case changed && !c.snapshot:
			v.violate("%s: call %s (%s) changed files, and no snapshot stands before its outcome", id, c.effect, c.tag)
		case !changed && c.tag == "a8" && c.snapshot && !c.running:
			v.violate("%s: call %s (%s) changed nothing, and a snapshot was recorded", id, c.effect, c.tag)
		case !changed:
			sum.Clean++
		}
	}
	sum.Retried += h.retried
	sum.Snapshots += h.snapshots
	sum.Ended += h.killed
	if len(s.Files.Running) > 0 && s.Final != "" {
		v.violate("%s: it is over, and %v still runs in it", id, s.Files.Running)
	}
	if h.snapshot != nil && s.Files.Now != h.snapshot.Snapshot {
		v.violate("%s: its files stand at layer %d, the last snapshot is layer %d", id, s.Files.Now.Layer, h.snapshot.Snapshot.Layer)
	}
	if h.snapshot == nil && h.base == "" {
		return nil
	}
	return v.tree(ctx, key, h.base, s.Files.Now, want, s.Final != "")
}

// tree holds the recorded state against the disk, and the disk against want.
func (v *verifier) tree(ctx context.Context, key cairn.SessionKey, base cairn.Digest, at cairn.Snapshot, want fileset, over bool) error {
	id := key.ID
	t, err := v.store.Tree(key, base)
	if err != nil {
		return err
	}
	if at.Layer == 0 && at.Tree == "" {
		at.Tree = base
	}
	if err := t.Verify(ctx, at); err != nil {
		v.violate("%s: %v", id, err)
		return nil
	}
	v.checked.Files.Verified++
	if over {
		if err := v.orphans(id, at); err != nil {
			return err
		}
	}
	dir, err := t.Plain(ctx, at)
	if err != nil {
		v.violate("%s: its files cannot be put in place: %v", id, err)
		return nil
	}
	got, err := readTree(filepath.Join(dir, workspace.Prefix))
	if err != nil {
		return err
	}
	v.checked.Files.Entries += len(got)
	if diff := cmp.Diff(want, got); diff != "" {
		v.violate("%s: its files are not what its calls made of them: %s", id, diff)
	}
	return t.Remove(ctx) // the disk stays small
}

// orphans looks for layers that no snapshot names, and for the upper directory of a
// call that nobody will finish: the session is over, so no other call takes them away.
func (v *verifier) orphans(id cairn.SessionID, at cairn.Snapshot) error {
	dirs, err := filepath.Glob(filepath.Join(v.dir, "workspaces", "t", "*", "s", "*"+string(id)))
	if err != nil {
		return err
	}
	for _, dir := range dirs {
		layers, err := os.ReadDir(filepath.Join(dir, "l"))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		for _, l := range layers {
			if n, err := strconv.ParseInt(l.Name(), 10, 64); err != nil || n > at.Layer {
				v.checked.Files.Orphans++
			}
		}
		err = filepath.WalkDir(filepath.Join(dir, "live", "root"), func(_ string, e fs.DirEntry, err error) error {
			if err == nil && e.Type().IsRegular() {
				v.checked.Files.Orphans++
			}
			return nil // what is not there is no orphan
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// readTree reads all files below a directory.
func readTree(dir string) (fileset, error) {
	out := fileset{}
	err := filepath.WalkDir(dir, func(p string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		name, err := filepath.Rel(dir, p)
		if err != nil {
			return err
		}
		name = filepath.ToSlash(name)
		if e.Type()&fs.ModeSymlink != 0 {
			target, err := os.Readlink(p)
			out[name] = "-> " + target
			return err
		}
		b, err := os.ReadFile(p)
		out[name] = string(b)
		return err
	})
	return out, err
}
