// Package codingagent is the demo of the README: a coding agent (on the script
// model) repairs a repository in a sandbox. One command is denied, one is approved by
// a person, the runtime is killed with SIGKILL in the middle of it, and carries on. It
// checks itself.
package codingagent

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/cairn-run/cairn/examples/stage"
)

const (
	version = "1.4.1"
	task    = "Receipts with refunds come out wrong. Fix it, and pack release " + version + "."
	// half is for how many of the shops the release was tried when the kill strikes.
	half, shops = 6, 24
	// accepted is the file that the release writes line by line, lock what keeps
	// another release away meanwhile.
	accepted = "workspace/dist/accepted-" + version + ".csv"
	lock     = "workspace/dist/.lock"
)

// Run plays the demo with the files of a directory, that of this package.
func Run(ctx context.Context, example string, o stage.Options) (err error) {
	if err := usable(ctx, o.Sandbox); err != nil {
		return err
	}
	if err := stage.Adopt(); err != nil {
		return err
	}
	s, err := stage.Open(o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	if err := s.Agent(filepath.Join(example, "coder.md")); err != nil {
		return err
	}
	if err := os.CopyFS(filepath.Join(s.Dir(), "repo"), os.DirFS(filepath.Join(example, "repo"))); err != nil {
		return err
	}
	if o.Model != "" {
		return forReal(ctx, s)
	}
	return play(ctx, s)
}

// play is the demo on the script model.
func play(ctx context.Context, s *stage.Stage) error {
	s.Say("1. An agent gets a copy of a repository whose tests fail. Its commands run in a sandbox without network.")
	if err := s.Cairn(ctx, 3, "run", "coder.md", "--once", "--workspace", "repo", "--input", task); err != nil {
		return err
	}

	s.Say("2. It may not push: that is a rule. The release is for a person to allow, who sees the exact command.")
	if err := s.Cairn(ctx, 0, "approve", "last"); err != nil {
		return err
	}

	s.Say("3. The release begins. In the middle of it: kill -9 of the runtime.")
	runtime, err := s.Start(ctx, "attach", "last", "--quiet")
	if err != nil {
		return err
	}
	var lines int
	var locked bool
	err = s.Until(ctx, "the release is half done", func() (bool, error) {
		lines, locked = halfDone(s.Dir())
		if lines >= half {
			return true, nil
		}
		return false, runtime.Ended()
	})
	if err != nil {
		return err
	}
	runtime.Kill()
	if err := s.Until(ctx, "nothing is alive that the runtime had started", func() (bool, error) {
		alive, err := s.Orphans()
		return len(alive) == 0, err
	}); err != nil {
		alive, _ := s.Orphans() // the first error is the one to tell
		return fmt.Errorf("%w: %s", err, strings.Join(alive, ", "))
	}
	if lines, locked = halfDone(s.Dir()); lines >= shops || !locked {
		return fmt.Errorf("the kill came too late: the release was done, with %d of %d lines", lines, shops)
	}
	s.Note("Killed. On the disk: %d of %d lines of accepted-%s.csv, and the lock that no other release passes.", lines, shops, version)

	s.Say("4. Anybody carries it on. The files are put back to before the command, and it is done again.")
	if err := s.Cairn(ctx, 0, "attach", "last"); err != nil {
		return err
	}
	return look(ctx, s, lines)
}

// look shows what came of it and checks it.
func look(ctx context.Context, s *stage.Stage, lines int) error {
	x, err := s.Session(ctx)
	if err != nil {
		return err
	}
	events, err := s.Events(ctx, x.ID)
	if err != nil {
		return err
	}
	t := tell(events)
	s.Say("5. What it changed: the step that mattered, and all of it. diff --patch | git apply takes it home.")
	if err := s.Cairn(ctx, 0, "diff", "last", "--to", fmt.Sprint(t.edited)); err != nil {
		return err
	}
	s.Note("")
	if err := s.Cairn(ctx, 0, "diff", "last", "--stat"); err != nil {
		return err
	}

	s.Say("6. The whole story, from the journal: timeline, effects, approvals, cost.")
	if err := s.Cairn(ctx, 0, "show", "last"); err != nil {
		return err
	}

	s.Say("7. Checked.")
	if err := check(ctx, s, t, lines); err != nil {
		return err
	}
	return s.Checked()
}

// forReal plays the same agent on a model that thinks for itself: what a person is
// asked is asked at the terminal.
func forReal(ctx context.Context, s *stage.Stage) error {
	s.Say("A coding agent on a model of your own. What it may not do by itself, it asks you.")
	p, err := s.Attended(ctx, "run", "coder.md", "--once", "--workspace", "repo", "--input", task)
	if err != nil {
		return err
	}
	if code, err := p.Wait(); err != nil || code != 0 {
		return fmt.Errorf("the run did not complete (exit code %d): %w", code, errors.Join(err, errors.New("cairn doctor and cairn models say what is there")))
	}
	s.Say("What it changed, and what it cost.")
	if err := s.Cairn(ctx, 0, "diff", "last"); err != nil {
		return err
	}
	x, err := s.Session(ctx)
	if err != nil {
		return err
	}
	events, err := s.Events(ctx, x.ID)
	if err != nil {
		return err
	}
	t := tell(events)
	s.Say("Checked.")
	s.Expect(t.tested > 0 && t.passed, "the last time the agent ran ./test.sh, it passed")
	s.Expect(t.pushed == 0, "nothing was pushed")
	s.Expect(t.completed != nil && t.completed.Summary.Cost == t.cost, "the cost in the summary is the sum of the recorded calls (%s)", t.cost)
	return s.Checked()
}

// halfDone looks at what the release has written so far, wherever below a directory
// the runtime keeps the files of sessions.
func halfDone(dir string) (lines int, locked bool) {
	_ = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil { // it is gone, or it is overlayfs' own and nobody's to read
			if d != nil && d.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		slashed := filepath.ToSlash(path)
		if strings.HasSuffix(slashed, "/"+lock) {
			locked = true
		}
		if d.Type().IsRegular() && strings.HasSuffix(slashed, "/"+accepted) {
			if b, err := os.ReadFile(path); err == nil {
				lines = max(lines, bytes.Count(b, []byte("\n")))
			}
		}
		return nil
	})
	return lines, locked
}
