package torture

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cairn-run/cairn"
	v1 "github.com/cairn-run/cairn/api/v1"
	"github.com/cairn-run/cairn/client"
	"github.com/cairn-run/cairn/engine"
	"github.com/cairn-run/cairn/internal/sim"
	"github.com/cairn-run/cairn/internal/swe"
	"github.com/cairn-run/cairn/journal"
	"github.com/cairn-run/cairn/workspace"
)

const (
	sweTimeout = 4 * time.Minute
	sweAtOnce  = 4 // sessions in progress
)

// coding is one trajectory on its way through a runtime.
type coding struct {
	tr        *swe.Trajectory
	decisions []swe.Decision
	tar       []byte
	agent     *cairn.Agent
	script    []byte
	killAt    cairn.Seq // the event after which the runtime is killed; 0: it is not
	session   cairn.SessionID

	// What the journal says of it.
	events int
	tree   map[string]cairn.Digest // files by path
}

// coders is a runtime with its trajectories.
type coders struct {
	k    *killer
	c    *client.Client
	mu   sync.Mutex // one kill at a time
	runs []*coding
}

// TestTrajectories takes the 22 recorded trajectories of coding agents through the
// runtime, with their commands executed in sandboxes: once undisturbed, and once
// as another user with the runtime killed in the middle of each. Every call has a
// result of a known type, results that can be compared are as they were recorded,
// the files are those that the journal says, both runs leave the same, and nothing
// is left of the sandboxes.
func TestTrajectories(t *testing.T) {
	t.Parallel()
	seed := sim.Seed(t)
	all, err := swe.Load(sim.Data(t, "agent-decisions", "swe-agent-trajectories"))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), sweTimeout)
	defer cancel()
	dir := open755(t)
	binary, _, err := Build(ctx, dir)
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	calm := newCoders(t, all, Options{Dir: filepath.Join(dir, "calm"), Victim: binary, Hands: true})
	calm.run(ctx, t)
	o := Options{Dir: filepath.Join(dir, "killed"), Victim: binary, Hands: true}
	if os.Geteuid() == 0 {
		o.UID, o.GID = otherUser, otherUser
	}
	killed := newCoders(t, all, o)
	rng := rand.New(rand.NewPCG(seed, 11))
	for i, r := range calm.runs {
		// In the middle: after the run has begun, before its last call has ended.
		killed.runs[i].killAt = cairn.Seq(4 + rng.IntN(max(1, r.events-8)))
	}
	kills := killed.run(ctx, t)

	equal, differ := map[swe.Kind]int{}, map[string]int{}
	for i, r := range calm.runs {
		if diff := cmp.Diff(r.tree, killed.runs[i].tree); diff != "" {
			t.Errorf("%s: with a kill the files are others: %s", r.tr.Name, diff)
		}
		for _, d := range r.decisions {
			if d.Want.Kind == swe.KindDiffers {
				differ[d.Want.Why]++
			} else {
				equal[d.Want.Kind]++
			}
		}
	}
	if kills < len(all) {
		t.Errorf("%d kills, want one in each of %d trajectories", kills, len(all))
	}
	// Every result was held against the recording; these are how many and how.
	if diff := cmp.Diff(map[swe.Kind]int{
		swe.KindOutput: 75, swe.KindNames: 11, swe.KindRaised: 3, swe.KindLines: 52, swe.KindRefused: 13, swe.KindDone: 20,
		swe.KindPatch: 4, swe.KindHunks: 9, swe.KindTimedOut: 1,
	}, equal); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(map[string]int{swe.NoNetwork: 23, swe.NoProgram: 23, swe.NoPackage: 5, swe.NotShown: 6}, differ); diff != "" {
		t.Error(diff)
	}
	t.Logf("seed %d: %d trajectories twice, %d kills; results as recorded: %v; explained: %v; %s",
		seed, len(all), kills, equal, differ, time.Since(began).Round(100*time.Millisecond))
}

// otherUser is a user without rights.
const otherUser = 1000

// open755 is a temporary directory that another user can reach.
func open755(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "cairn-hands-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	if err := os.Chmod(dir, 0o755); err != nil { //nolint:gosec // the victim may be another user
		t.Fatal(err)
	}
	return dir
}

func newCoders(t *testing.T, all []swe.Trajectory, o Options) *coders {
	t.Helper()
	cs := &coders{k: &killer{
		o: o, counts: filepath.Join(o.Dir, "failpoints"), socket: filepath.Join(o.Dir, "data", "cairn.sock"),
	}}
	cs.c = client.Unix(cs.k.socket, "torture")
	for i := range all {
		tr := &all[i]
		decisions, err := swe.Decide(tr)
		if err != nil {
			t.Fatal(err)
		}
		files, err := swe.Repository(tr, all)
		if err != nil {
			t.Fatal(err)
		}
		var b bytes.Buffer
		if err := swe.Tar(&b, files); err != nil {
			t.Fatal(err)
		}
		agent, err := swe.Agent(tr)
		if err != nil {
			t.Fatal(err)
		}
		script, err := swe.Script(decisions)
		if err != nil {
			t.Fatal(err)
		}
		cs.runs = append(cs.runs, &coding{tr: tr, decisions: decisions, tar: b.Bytes(), agent: agent, script: script})
	}
	return cs
}

// run takes all trajectories through the runtime, and checks what it left. It
// returns the number of kills.
func (cs *coders) run(ctx context.Context, t *testing.T) int {
	t.Helper()
	o := &cs.k.o
	before, err := o.prepare(filepath.Join(o.Dir, "data"))
	if err != nil {
		t.Fatal(err)
	}
	scripts := filepath.Join(o.Dir, "scripts")
	if err := os.MkdirAll(scripts, 0o755); err != nil { //nolint:gosec // the victim may be another user
		t.Fatal(err)
	}
	for _, r := range cs.runs {
		if err := os.WriteFile(filepath.Join(scripts, r.tr.Name+".json"), r.script, 0o644); err != nil { //nolint:gosec // likewise
			t.Fatal(err)
		}
	}
	if cs.k.stderr, err = os.Create(filepath.Join(o.Dir, "victim.log")); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cs.k.stderr.Close() }()
	if err := cs.k.start(ctx, ""); err != nil {
		t.Fatal(err)
	}
	defer cs.k.end()
	seats := make(chan struct{}, sweAtOnce)
	var going sync.WaitGroup
	for _, r := range cs.runs {
		seats <- struct{}{}
		going.Go(func() {
			defer func() { <-seats }()
			if err := cs.perform(ctx, r); err != nil {
				t.Errorf("%s: %v", r.tr.Name, err)
			}
		})
	}
	going.Wait()
	if t.Failed() {
		log, _ := os.ReadFile(cs.k.stderr.Name()) // only to be shown
		t.Fatalf("last words: %s", log[max(0, len(log)-3000):])
	}
	at, err := cs.k.leaks(ctx, before, t.Errorf)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d lives; at rest %d descriptors; the longest that a process outlived its runtime: %s", len(cs.k.lives), at.descriptors, at.outlived)
	j, err := openJournal(ctx, filepath.Join(o.Dir, "data"))
	if err != nil {
		t.Fatal(err)
	}
	store, err := workspace.Open(filepath.Join(o.Dir, "data", "workspaces"), workspace.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range cs.runs {
		if err := r.check(ctx, t, j, store); err != nil {
			t.Errorf("%s: %v", r.tr.Name, err)
		}
	}
	if err := store.Close(); err != nil {
		t.Error(err)
	}
	if err := j.Close(); err != nil {
		t.Error(err)
	}
	return len(cs.k.lives) - 1
}

// perform starts the session and follows it to its end.
func (cs *coders) perform(ctx context.Context, r *coding) error {
	tree, err := insist(ctx, func(ctx context.Context) (v1.Workspace, error) {
		return cs.c.UploadWorkspace(ctx, bytes.NewReader(r.tar))
	})
	if err != nil {
		return fmt.Errorf("upload: %w", err)
	}
	if _, err := insist(ctx, func(ctx context.Context) (v1.Applied, error) { return cs.c.Apply(ctx, r.agent) }); err != nil {
		return fmt.Errorf("apply: %w", err)
	}
	s, err := insist(ctx, func(ctx context.Context) (v1.Session, error) {
		return cs.c.CreateSession(ctx, v1.CreateSession{
			Agent: r.agent.Name, Input: v1.Text(r.tr.Task), Once: true, Workspace: tree.Tree,
		}, client.Key("create-"+r.tr.Name))
	})
	if err != nil {
		return fmt.Errorf("create: %w", err)
	}
	r.session = s.ID
	for item, err := range cs.c.Stream(ctx, s.ID, 0, client.Patience(sweTimeout)) {
		if err != nil {
			return err
		}
		e := item.Event
		if e == nil {
			continue
		}
		if r.killAt > 0 && e.Seq >= r.killAt {
			r.killAt = 0
			if err := cs.kill(ctx); err != nil {
				return err
			}
		}
		switch e.Type {
		case cairn.RunFailed{}.EventType(), cairn.AskOpened{}.EventType():
			return fmt.Errorf("event %d, %s: %s", e.Seq, e.Type, e.Data)
		case cairn.RunCompleted{}.EventType():
			return nil
		}
	}
	return fmt.Errorf("the stream ended: %w", context.Cause(ctx))
}

// kill kills the runtime and starts it again at once, while what it had started
// may still be dying.
func (cs *coders) kill(ctx context.Context) error {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if err := cs.k.alive(); err != nil {
		return err
	}
	if err := cs.k.kill(); err != nil {
		return err
	}
	return cs.k.start(ctx, "")
}

// check reads the journal of the session and the disk.
func (r *coding) check(ctx context.Context, t *testing.T, j *journal.Journal, store *workspace.Store) error {
	t.Helper()
	key := cairn.SessionKey{Tenant: cairn.DefaultTenant, ID: r.session}
	var s engine.State
	var base cairn.Digest
	requested, next := map[cairn.EffectID]cairn.ToolCallRequested{}, 0
	for e, err := range j.Events(ctx, key, 0) {
		if err != nil {
			return err
		}
		s = engine.Fold(s, e)
		r.events++
		switch d := e.Data.(type) {
		case cairn.SessionCreated:
			base = d.Workspace
		case cairn.ToolCallRequested:
			requested[e.Step] = d
		case cairn.ToolCallDenied, cairn.ToolCallFailed, cairn.ToolCallUnknown:
			t.Errorf("%s: event %d: a call ended as %s: %+v", r.tr.Name, e.Seq, e.Type(), d)
		case cairn.ToolCallCompleted:
			if next == len(r.decisions) {
				return fmt.Errorf("event %d: a call that was not decided", e.Seq)
			}
			decision := &r.decisions[next]
			next++
			if call := requested[e.Step]; call.Tool != decision.Tool {
				t.Errorf("%s: event %d: call of %s, want %s", r.tr.Name, e.Seq, call.Tool, decision.Tool)
			}
			if diff := decision.Compare(answerOf(&d.Result)); diff != "" {
				t.Errorf("%s, step %d, %s %.300s: %s", r.tr.Name, decision.Step, decision.Tool, decision.Args, diff)
			}
		}
	}
	if next != len(r.decisions) || s.Final != cairn.StatusCompleted {
		return fmt.Errorf("%d of %d calls have a result, and the session is %s", next, len(r.decisions), s.Status())
	}
	tree, err := store.Tree(key, base)
	if err != nil {
		return err
	}
	if err := tree.Verify(ctx, s.Files.Now); err != nil {
		return err
	}
	entries, more, err := tree.List(ctx, s.Files.Now, "", workspace.ListOptions{Depth: -1})
	if err != nil || more {
		return fmt.Errorf("list the files: more than there may be: %v, %w", more, err)
	}
	r.tree = map[string]cairn.Digest{}
	for _, e := range entries {
		// The index of git has the times of files in it.
		if e.Kind != workspace.KindDir && !strings.HasSuffix(e.Path, ".git/index") {
			r.tree[fmt.Sprintf("%s %s", e.Path, e.Mode)] = e.Digest
		}
	}
	if len(r.tree) == 0 {
		return fmt.Errorf("there are no files at all: %v", slices.Collect(maps.Keys(requested)))
	}
	return nil
}

// answerOf takes a result apart: what the runtime says of a command stands before
// the first empty line, its output behind it.
func answerOf(r *cairn.ToolResult) swe.Result {
	out := swe.Result{Output: cairn.TextOf(r.Content), IsError: r.IsError}
	var facts struct {
		ExitCode *int `json:"exit_code"`
		TimedOut bool `json:"timed_out"`
	}
	if json.Unmarshal(r.Structured, &facts) == nil && facts.ExitCode != nil {
		out.TimedOut = facts.TimedOut
		_, out.Output, _ = strings.Cut(out.Output, "\n\n")
	}
	return out
}
