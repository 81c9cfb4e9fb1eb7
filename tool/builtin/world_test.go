package builtin_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/sandbox"
	"github.com/cairn-run/cairn/sandbox/none"
	"github.com/cairn-run/cairn/sandbox/ns"
	"github.com/cairn-run/cairn/tool"
	"github.com/cairn-run/cairn/tool/builtin"
	"github.com/cairn-run/cairn/workspace"
)

// world is a node's part that matters here: a real sandbox, a real store, the
// catalogue and the driver.
type world struct {
	tb      testing.TB
	sandbox sandbox.Driver
	store   *workspace.Store
	driver  *builtin.Driver
	catalog *tool.Catalog
}

// worldOptions are what a test wants otherwise.
type worldOptions struct {
	none    bool
	builtin builtin.Options
}

func newWorld(tb testing.TB, o worldOptions) *world {
	tb.Helper()
	dir := tb.TempDir()
	w := &world{tb: tb}
	uid, gid := os.Getuid(), os.Getgid()
	if o.none {
		w.sandbox = none.Open()
	} else {
		d, err := ns.Open(ns.Options{Dir: filepath.Join(dir, "ns")})
		if err != nil {
			tb.Fatal(err)
		}
		w.sandbox = d
		uid, gid = ns.Owner()
	}
	if c := w.sandbox.Probe(tb.Context()); !c.Usable {
		tb.Fatalf("the sandbox cannot be used: %s; %s", c.Why, c.Fix)
	}
	var err error
	if w.store, err = workspace.Open(filepath.Join(dir, "workspaces"), workspace.Options{UID: uid, GID: gid}); err != nil {
		tb.Fatal(err)
	}
	b := o.builtin
	b.Sandbox, b.Workspaces, b.SkillDir, b.TempDir, b.Log = w.sandbox, w.store, filepath.Join(dir, "skills"), tb.TempDir(), slog.New(slog.DiscardHandler)
	w.driver = builtin.New(b)
	w.catalog = newCatalog(w.driver)
	tb.Cleanup(func() {
		if err := errors.Join(w.driver.Close(), w.sandbox.Close(), w.store.Close()); err != nil {
			tb.Error(err)
		}
		if left, err := os.ReadDir(b.TempDir); err != nil || len(left) > 0 {
			tb.Errorf("left in the temporary directory: %v, %v", left, err)
		}
		// overlayfs leaves directories that their owner may not look into, and so do tests.
		err = filepath.WalkDir(filepath.Join(dir, "workspaces"), func(p string, e fs.DirEntry, err error) error {
			if err == nil && e.IsDir() && e.Type()&fs.ModeSymlink == 0 {
				if info, e := e.Info(); e == nil && info.Mode().Perm()&0o700 != 0o700 {
					err = os.Chmod(p, 0o700)
				}
			}
			return err
		})
		if err != nil {
			tb.Error(err)
		}
	})
	return w
}

func newCatalog(d *builtin.Driver) *tool.Catalog {
	return tool.New(tool.Options{Builtin: builtin.Tools(), Native: d, Log: slog.New(slog.DiscardHandler)})
}

func agent() *cairn.Agent {
	return &cairn.Agent{Name: "coder", Model: "script/coder", Tools: []cairn.ToolSource{{Builtin: cairn.Builtins}}}
}

var sessions atomic.Int64

// talk is one session: it keeps the state of the files as the engine does.
type talk struct {
	*world
	tb    testing.TB
	agent *cairn.Agent
	key   cairn.SessionKey
	at    cairn.Snapshot
	files []cairn.Snapshotted // all that were recorded
	mu    sync.Mutex
	said  strings.Builder
	left  tool.Left
	n     int
}

func (w *world) talk(tb testing.TB, a *cairn.Agent) *talk {
	tb.Helper()
	if err := a.Validate(); err != nil {
		tb.Fatal(err)
	}
	if err := w.catalog.Validate(a); err != nil {
		tb.Fatal(err)
	}
	return &talk{world: w, tb: tb, agent: a, key: cairn.SessionKey{Tenant: "acme", ID: cairn.SessionID(fmt.Sprint("ses_", sessions.Add(1)))}}
}

// effect is the call as the engine makes it: checked, with what was pinned.
func (s *talk) effect(name string, args any) *cairn.ToolEffect {
	s.tb.Helper()
	text, ok := args.(string)
	if !ok {
		b, err := json.Marshal(args)
		if err != nil {
			s.tb.Fatal(err)
		}
		text = string(b)
	}
	tools := s.catalog.Static(s.agent)
	check := s.catalog.Check(s.agent, tools, s.key, name, text)
	if check.Error != nil || check.Verdict != cairn.VerdictAllow {
		s.tb.Fatalf("%s: %+v", name, check)
	}
	for _, t := range tools {
		if t.Name == name {
			return &cairn.ToolEffect{
				Tool: name, Args: check.Args, Class: t.Class, Def: t.Digest, Source: t.Source, Timeout: t.Timeout,
				Files: t.Files, Workspace: s.at, Sandbox: s.sandbox.Name(),
			}
		}
	}
	s.tb.Fatalf("no tool %s", name)
	return nil
}

// attempt makes one attempt, and does not take over what it left.
func (s *talk) attempt(ctx context.Context, e *cairn.ToolEffect) (*cairn.ToolResult, error) {
	s.left = tool.Left{}
	s.n++
	return s.catalog.Call(ctx, s.key, s.agent, e, cairn.EffectID(fmt.Sprint("eff_", s.n)), 1, tool.Watch{Left: &s.left, Say: s.hear})
}

func (s *talk) hear(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.said.WriteString(text)
}

// heard is what was said so far.
func (s *talk) heard() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.said.String()
}

// waitFor waits for something that gives no signal: the state of other processes.
func waitFor(t testing.TB, done func() bool) {
	t.Helper()
	for deadline := time.After(30 * time.Second); !done(); {
		select {
		case <-deadline:
			t.Error("it never came about")
			return
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// call makes a call and goes on from what it left.
func (s *talk) call(name string, args any) *cairn.ToolResult {
	s.tb.Helper()
	r, err := s.attempt(s.tb.Context(), s.effect(name, args))
	if err != nil {
		s.tb.Fatalf("%s %v: %v", name, args, err)
	}
	if s.left.Files != nil {
		s.at = s.left.Files.Snapshot
		s.files = append(s.files, *s.left.Files)
	}
	return r
}

type object = map[string]any

// text makes a call and returns what the model sees of its result.
func (s *talk) text(name string, args any) string {
	s.tb.Helper()
	return cairn.TextOf(s.call(name, args).Content)
}

// bash runs a command that must succeed, and returns its output alone.
func (s *talk) bash(command string) string {
	s.tb.Helper()
	r := s.call("bash", object{"command": command})
	if r.IsError {
		s.tb.Fatalf("%s: %s", command, cairn.TextOf(r.Content))
	}
	_, out, _ := strings.Cut(cairn.TextOf(r.Content), "\n\n")
	return out
}

type commandFacts struct {
	ExitCode   int      `json:"exit_code"`
	Signal     string   `json:"signal"`
	Dir        string   `json:"dir"`
	TimedOut   bool     `json:"timed_out"`
	Killed     []string `json:"killed"`
	OutputFile string   `json:"output_file"`
	Running    []string `json:"running"`
	Background struct {
		ID         int    `json:"id"`
		OutputFile string `json:"output_file"`
	} `json:"background"`
}

func factsOf(tb testing.TB, r *cairn.ToolResult) (f commandFacts) {
	tb.Helper()
	if err := json.Unmarshal(r.Structured, &f); err != nil {
		tb.Fatalf("%s: %v", r.Structured, err)
	}
	return f
}

var watchNothing tool.Watch
