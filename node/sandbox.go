package node

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	"github.com/cairn-run/cairn/internal/failpoint"
	"github.com/cairn-run/cairn/sandbox"
	"github.com/cairn-run/cairn/sandbox/none"
	"github.com/cairn-run/cairn/sandbox/ns"
	"github.com/cairn-run/cairn/tool/builtin"
	"github.com/cairn-run/cairn/workspace"
)

// SandboxNone is what has to be said for commands to run unconfined.
const SandboxNone = "none"

// Names in the data directory.
const (
	workspaceDir = "workspaces"
	skillDir     = "skills"
	sandboxDir   = "sandbox"
	tempDir      = "tmp"
	imageDir     = "images"
)

// hands are what agents touch files and commands with.
type hands struct {
	sandbox sandbox.Driver
	files   *workspace.Store
	tools   *builtin.Driver
}

// openHands opens the sandbox driver and the files of sessions. Whether the sandbox
// can be used here is found out with the first call that needs it.
func openHands(o Options, results builtin.Results) (_ *hands, err error) {
	dir, err := filepath.Abs(o.Dir) // images are named by absolute paths
	if err != nil {
		return nil, fmt.Errorf("find the data directory: %w", err)
	}
	h := &hands{}
	uid, gid := -1, -1
	switch o.Sandbox {
	case "", "ns":
		uid, gid = ns.Owner()
		h.sandbox, err = ns.Open(ns.Options{Dir: filepath.Join(o.Dir, sandboxDir), Spare: 1, Logger: o.Logger})
	case SandboxNone:
		h.sandbox = none.Open()
	default:
		return nil, fmt.Errorf("no sandbox is called %q: use ns, or none to confine nothing", o.Sandbox)
	}
	if err != nil {
		return nil, fmt.Errorf("open the sandbox: %w", err)
	}
	h.files, err = workspace.Open(filepath.Join(o.Dir, workspaceDir), workspace.Options{
		UID: uid, GID: gid, Logger: o.Logger, Hook: pass,
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open the files of sessions: %w", err), h.sandbox.Close())
	}
	h.tools = builtin.New(builtin.Options{
		Results: results, Sandbox: h.sandbox, Workspaces: h.files, SkillDir: filepath.Join(o.Dir, skillDir),
		ImageDir: filepath.Join(dir, imageDir), TempDir: filepath.Join(o.Dir, tempDir), Log: o.Logger,
	})
	return h, nil
}

func (h *hands) close() error {
	return errors.Join(h.tools.Close(), h.sandbox.Close(), h.files.Close())
}

// pass passes a failpoint of the files, if it is one that can kill the process.
func pass(point string) {
	if failpoint.Enabled && slices.Contains(failpoint.Points(), failpoint.Point(point)) {
		failpoint.Hit(failpoint.Point(point))
	}
}
