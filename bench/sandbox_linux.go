package main

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/cairn-run/cairn"
	v1 "github.com/cairn-run/cairn/api/v1"
	"github.com/cairn-run/cairn/client"
	"github.com/cairn-run/cairn/model"
	modelscript "github.com/cairn-run/cairn/model/script"
	"github.com/cairn-run/cairn/node"
	"github.com/cairn-run/cairn/sandbox"
	"github.com/cairn-run/cairn/sandbox/ns"
	"github.com/cairn-run/cairn/workspace"
)

// bubblewrap is the command that the launcher is measured beside, with all its
// namespaces, no capability and the same programs shown.
func bubblewrap(path string) []string {
	args := []string{path, "--unshare-all", "--die-with-parent", "--new-session", "--cap-drop", "ALL", "--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp"}
	for _, dir := range []string{"/usr", "/bin", "/sbin", "/lib", "/lib64"} {
		if _, err := os.Stat(dir); err == nil {
			args = append(args, "--ro-bind", dir, dir)
		}
	}
	return append(args, "true")
}

// place is a sandbox driver with a session's files.
type place struct {
	driver sandbox.Driver
	store  *workspace.Store
	root   sandbox.Root
}

// newPlace opens a driver that keeps so many spare sandboxes, and files to begin with.
func newPlace(ctx context.Context, folder string, spare int) (_ *place, err error) {
	p := &place{}
	if p.driver, err = ns.Open(ns.Options{Dir: folder, Spare: spare}); err != nil {
		return nil, err
	}
	if caps := p.driver.Probe(ctx); !caps.Usable {
		return nil, errors.Join(fmt.Errorf("the sandbox cannot be used here: %s; %s", caps.Why, caps.Fix), p.driver.Close())
	}
	uid, gid := ns.Owner()
	if p.store, err = workspace.Open(filepath.Join(folder, "workspaces"), workspace.Options{UID: uid, GID: gid}); err != nil {
		return nil, errors.Join(err, p.driver.Close())
	}
	tree, err := p.store.Tree(cairn.SessionKey{Tenant: cairn.DefaultTenant, ID: "ses_bench"}, "")
	if err == nil {
		var m workspace.Mount
		m, err = tree.Checkout(ctx, cairn.Snapshot{})
		p.root = sandbox.Root{Lower: m.Lower, Upper: m.Upper, Work: m.Work}
	}
	if err != nil {
		return nil, errors.Join(err, p.close())
	}
	return p, nil
}

func (p *place) close() error { return errors.Join(p.driver.Close(), p.store.Close()) }

// once makes a sandbox, runs true in it and destroys it.
func (p *place) once(ctx context.Context, id string, root sandbox.Root) error {
	inst, err := p.driver.Create(ctx, sandbox.Spec{ID: id, Root: root})
	if err != nil {
		return err
	}
	if err := inside(ctx, inst); err != nil {
		return err
	}
	_, err = inst.Destroy(ctx)
	return err
}

// coldStart measures a sandboxed `true`, from nothing until it is destroyed, beside
// the same without a sandbox and in bubblewrap, one after the other in turn. With a
// read-only root it does what bubblewrap is asked to do, and limits and lockdown
// besides; with files it mounts the session's layers too, for writing.
func coldStart(ctx context.Context, b *bench) (_ []row, err error) {
	folder, err := b.folder("sandbox")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(folder)) }()
	cold, err := newPlace(ctx, filepath.Join(folder, "cold"), 0)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, cold.close()) }()
	warm, err := newPlace(ctx, filepath.Join(folder, "warm"), 1)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, warm.close()) }()
	command := func(args ...string) error {
		return exec.CommandContext(ctx, args[0], args[1:]...).Run() //nolint:gosec // true, and bubblewrap as it is installed
	}
	bwrap, err := exec.LookPath("bwrap")
	without := err != nil
	there, err := cold.driver.Create(ctx, sandbox.Spec{ID: "there", Root: sandbox.Root{Lower: cold.root.Lower}})
	if err != nil {
		return nil, err
	}
	defer func() {
		_, end := there.Destroy(ctx)
		err = errors.Join(err, end)
	}()
	const plain, wrapped = "plain fork and exec", "bubblewrap"
	ways := []struct {
		name string
		run  func(i int) error
	}{
		{plain, func(int) error { return command("/bin/true") }},
		{wrapped, func(int) error {
			if without {
				return nil
			}
			return command(bubblewrap(bwrap)...)
		}},
		{"sandboxed true, cold, with files", func(i int) error { return cold.once(ctx, fmt.Sprintf("files-%d", i), cold.root) }},
		{"sandboxed true, cold, read-only", func(i int) error {
			return cold.once(ctx, fmt.Sprintf("only-%d", i), sandbox.Root{Lower: cold.root.Lower})
		}},
		{"sandboxed true, from a spare, with files", func(i int) error { return warm.once(ctx, fmt.Sprintf("spare-%d", i), warm.root) }},
		{"true in a sandbox that is there", func(int) error { return inside(ctx, there) }},
	}
	took := map[string][]time.Duration{}
	for i := range b.Sandboxes {
		for _, w := range ways {
			began := time.Now()
			if err := w.run(i); err != nil {
				return nil, fmt.Errorf("%s: %w", w.name, err)
			}
			took[w.name] = append(took[w.name], time.Since(began))
		}
	}
	var rows []row
	for _, w := range ways[2:] {
		r := row{Name: w.name + ", p50", Measured: millis(at(took[w.name], 0.5)), Unit: "ms"}
		if !without {
			r.Beside = &beside{wrapped, millis(at(took[wrapped], 0.5))}
			r.Goal = &goal{Limit: 1.5, OfRatio: true}
		}
		rows = append(rows, r)
	}
	first := rows[0]
	first.Name, first.Goal = "the same beside a plain one, p50", nil
	first.Beside = &beside{plain, millis(at(took[plain], 0.5))}
	return append(rows, first), nil
}

// inside runs true in an instance.
func inside(ctx context.Context, inst sandbox.Instance) error {
	p, err := inst.Start(ctx, sandbox.Cmd{Args: []string{"/bin/true"}, Dir: "/"})
	if err != nil {
		return err
	}
	exit, err := p.Wait(ctx)
	if err == nil && exit.Code != 0 {
		err = fmt.Errorf("true ended with %d", exit.Code)
	}
	return err
}

// snapshots measures what it takes to record the files after a call: in a tree of so
// many files, with nothing, one file and 200 files changed.
func snapshots(ctx context.Context, b *bench) (_ []row, err error) {
	folder, err := b.folder("snapshot")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(folder)) }()
	store, err := workspace.Open(folder+"/workspaces", workspace.Options{UID: -1, GID: -1})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	raw, err := openDevice(folder)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, raw.close()) }()
	began := time.Now()
	base, err := imported(ctx, store, b.Files)
	if err != nil {
		return nil, err
	}
	rows := []row{{Name: fmt.Sprintf("import of %d files", b.Files), Measured: millis(time.Since(began)), Unit: "ms"}}
	tree, err := store.Tree(cairn.SessionKey{Tenant: cairn.DefaultTenant, ID: "ses_bench"}, base)
	if err != nil {
		return nil, err
	}
	now := cairn.Snapshot{Tree: base}
	for _, changes := range []int{0, 1, 200} {
		var took, checkout []time.Duration
		for round := range b.Snapshots {
			began := time.Now()
			mount, err := tree.Checkout(ctx, now)
			if err != nil {
				return nil, err
			}
			checkout = append(checkout, time.Since(began))
			for i := range changes {
				if err := change(mount.Upper, b.Files, i*97%b.Files, round); err != nil {
					return nil, err
				}
			}
			began = time.Now()
			left, err := tree.Snapshot(ctx, now)
			if err != nil {
				return nil, err
			}
			took = append(took, time.Since(began))
			if left.Changes.Modified != changes {
				return nil, fmt.Errorf("%d files were changed and %d were found", changes, left.Changes.Modified)
			}
			now = left.Snapshot
			if err := raw.write([]byte("x")); err != nil {
				return nil, err
			}
		}
		r := row{Name: fmt.Sprintf("snapshot, %d of %d files changed, p50", changes, b.Files), Measured: millis(at(took, 0.5)), Unit: "ms"}
		if changes > 0 {
			r.Beside = &beside{"raw fdatasync", millis(at(raw.took, 0.5))}
		}
		if changes == 200 {
			r.Goal = goalIf(b.Files == full.Files, atMost(15))
			rows = append(rows, row{Name: "checkout, p50", Measured: millis(at(checkout, 0.5)), Unit: "ms"})
		}
		rows = append(rows, r)
	}
	return rows, nil
}

// fileSize is the size of a file in the measured tree: what a source file has.
const fileSize = 4 << 10

// imported makes a tree of files in directories of 50.
func imported(ctx context.Context, store *workspace.Store, files int) (cairn.Digest, error) {
	r, w := io.Pipe()
	go func() {
		t := tar.NewWriter(w)
		var err error
		for i := range files {
			if err = t.WriteHeader(&tar.Header{Name: filePath(files, i), Mode: 0o644, Size: fileSize, Typeflag: tar.TypeReg}); err != nil {
				break
			}
			if _, err = t.Write(content(i, 0)); err != nil {
				break
			}
		}
		_ = w.CloseWithError(errors.Join(err, t.Close())) // it always returns nil
	}()
	in, err := store.Import(ctx, cairn.DefaultTenant, r)
	return in.Tree, err
}

func filePath(files, i int) string { return fmt.Sprintf("dir%03d/file%05d.go", i%(files/50+1), i) }

func content(i, round int) []byte {
	b := make([]byte, fileSize)
	copy(b, fmt.Sprintf("file %d round %d", i, round))
	return b
}

// change does to an upper directory what a write in the mounted tree does.
func change(upper string, files, i, round int) error {
	path := filepath.Join(upper, workspace.Prefix, filePath(files, i))
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil { //nolint:gosec // as the tree has it
		return err
	}
	return os.WriteFile(path, content(i, round+1), 0o644) //nolint:gosec // as the tree has it
}

// bashCalls measures turns that call bash, each in a sandbox of its own with a
// snapshot after it, through a whole node.
func bashCalls(ctx context.Context, b *bench) (_ []row, err error) {
	folder, err := b.folder("bash")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(folder)) }()
	play := &modelscript.Script{Replies: []modelscript.Reply{}}
	for i := range b.Calls {
		play.Replies = append(play.Replies, modelscript.Reply{Calls: []modelscript.Call{{
			Tool: cairn.BuiltinBash, Args: fmt.Sprintf(`{"command":"echo %d >> log"}`, i),
		}}})
	}
	play.Replies = append(play.Replies, modelscript.Reply{Text: "Done."})
	n, err := node.Open(ctx, node.Options{Dir: folder, Models: map[string]model.Driver{"script": modelscript.New(map[string]*modelscript.Script{"bash": play})}})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, n.Close()) }()
	if err := n.Start(ctx); err != nil {
		return nil, err
	}
	if _, _, err := n.Apply(ctx, cairn.DefaultTenant, &cairn.Agent{
		Name: "bash", Model: "script/bash", Tools: []cairn.ToolSource{{Builtin: []string{cairn.BuiltinBash}}}, Limits: cairn.Limits{Steps: b.Calls + 1},
	}); err != nil {
		return nil, err
	}
	c := n.Client()
	began := time.Now()
	s, err := c.CreateSession(ctx, v1.CreateSession{Agent: "bash", Input: v1.Text("Go."), Once: true})
	if err != nil {
		return nil, err
	}
	var calls []time.Duration
	for item, err := range c.Stream(ctx, s.ID, 0, client.UntilIdle()) {
		if err != nil {
			return nil, err
		}
		if item.Event == nil {
			continue
		}
		e, err := item.Event.Cairn()
		if err != nil {
			return nil, err
		}
		if d, ok := e.Data.(cairn.ToolCallCompleted); ok && !d.Result.IsError {
			calls = append(calls, time.Duration(d.Took))
		}
	}
	took := time.Since(began)
	if len(calls) != b.Calls {
		return nil, fmt.Errorf("%d of %d calls of bash came back well", len(calls), b.Calls)
	}
	return []row{
		{Name: "a bash call, p50", Measured: millis(at(calls, 0.5)), Unit: "ms"},
		{Name: "a bash call, p95", Measured: millis(at(calls, 0.95)), Unit: "ms"},
		{Name: "a whole turn with one, mean", Measured: millis(took) / float64(b.Calls), Unit: "ms"},
	}, nil
}
