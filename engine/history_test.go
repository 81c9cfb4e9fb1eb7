package engine_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/engine"
)

var keep = flag.Bool("keep", false, "keep the histories of the scripts that are not kept yet")

const kept = "testdata/histories"

// digest is what a history means: what the outside sees of its state, and what
// the next request is made of. It names its fields one by one, so that a State may
// be laid out anew.
type digest struct {
	History cairn.Digest // of the file: a kept history never changes
	Events  int
	Summary cairn.Summary
	WakeAt  string
	Open    []cairn.Effect
	Asks    []string
	Money   map[string]cairn.Money
	Context map[string]int64
	Turns   []cairn.Seq
	Run     map[string]int
	Files   engine.Files `json:",omitzero"`
	Release cairn.Seq    `json:",omitzero"`
	Move    *engine.Move `json:",omitempty"`
	Project cairn.Seq    `json:",omitzero"`
}

func digestOf(t *testing.T, file []byte) []byte {
	t.Helper()
	var s engine.State
	n := 0
	lines := bufio.NewScanner(bytes.NewReader(file))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var e cairn.Event
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			t.Fatalf("line %d: %v", n+1, err)
		}
		if u, ok := e.Data.(cairn.UnknownEvent); ok {
			t.Fatalf("line %d: this binary does not know %s any more", n+1, u.Type)
		}
		if e.Seq != s.Seq+1 {
			t.Fatalf("line %d: event %d after %d", n+1, e.Seq, s.Seq)
		}
		s = engine.Fold(s, e)
		n++
	}
	d := digest{
		History: cairn.DigestOf(file), Events: n, Summary: s.Summary(), Open: engine.Open(s),
		Files: s.Files, Release: s.Release, Move: s.Move, Project: s.Context.Project,
		Money: map[string]cairn.Money{
			"spent": s.Money.Spent, "reserved": s.Money.Reserved, "granted": s.Money.Granted,
			"raised_run": s.Money.RaisedRun, "raised_session": s.Money.RaisedSession, "raised_agent": s.Money.RaisedAgent,
			"run_spent": s.Run.Spent, "run_estimated": s.Run.Estimated, "run_cap": s.Run.Cap,
		},
		Context: map[string]int64{
			"from": int64(s.Context.From), "note": int64(s.Context.Note), "task": int64(s.Context.Task),
			"toolset": int64(s.Context.Toolset), "answer": int64(s.Context.Answer), "bytes": s.Context.Bytes, "known": s.Context.Known,
		},
		Run: map[string]int{
			"model_calls": s.Run.Sum.ModelCalls, "retries": s.Run.Sum.Retries, "lost": s.Run.Sum.Lost, "asks": s.Run.Sum.Asks,
			"completed": s.Run.Sum.Completed, "failed": s.Run.Sum.Failed, "denied": s.Run.Sum.Denied,
			"unknown": s.Run.Sum.Unknown, "hooked": s.Run.Sum.Hooked,
		},
	}
	for _, turn := range s.Context.Turns {
		d.Turns = append(d.Turns, turn.Seq)
	}
	for _, a := range s.Asks {
		d.Asks = append(d.Asks, fmt.Sprintf("%s %s about %d", a.ID, a.Kind, a.Call))
	}
	if at := engine.WakeAt(s); !at.IsZero() {
		d.WakeAt = since(at)
	}
	b, err := json.MarshalIndent(d, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return append(b, '\n')
}

// TestHistories folds every history that was ever kept: a session written by any
// version means today what it meant then. `go test ./engine -run TestHistories
// -keep` adds the histories of new scripts; none is ever changed or removed.
func TestHistories(t *testing.T) {
	t.Parallel()
	if *keep {
		addHistories(t)
	}
	files, err := filepath.Glob(kept + "/*.jsonl")
	if err != nil || len(files) < 100 {
		t.Fatalf("%d histories are kept, fewer than there were: %v", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".jsonl"), func(t *testing.T) {
			t.Parallel()
			history, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			want, err := os.ReadFile(strings.TrimSuffix(file, ".jsonl") + ".json")
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), string(digestOf(t, history))); diff != "" {
				t.Errorf("the history means something else now:\n%s", diff)
			}
		})
	}
}

// addHistories keeps the histories of scripts whose content is not kept under
// any name.
func addHistories(t *testing.T) {
	t.Helper()
	known := map[cairn.Digest]bool{}
	names := map[string]bool{}
	files, err := filepath.Glob(kept + "/*.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		known[cairn.DigestOf(b)] = true
		names[file] = true
	}
	if err := os.MkdirAll(kept, 0o755); err != nil {
		t.Fatal(err)
	}
	all := histories(t)
	for _, name := range slices.Sorted(maps.Keys(all)) {
		var b bytes.Buffer
		for _, e := range all[name] {
			line, err := json.Marshal(e)
			if err != nil {
				t.Fatal(err)
			}
			b.Write(append(line, '\n'))
		}
		if known[cairn.DigestOf(b.Bytes())] {
			continue
		}
		file := filepath.Join(kept, name+".jsonl")
		for n := 2; names[file]; n++ {
			file = filepath.Join(kept, fmt.Sprintf("%s.%d.jsonl", name, n))
		}
		if err := os.WriteFile(file, b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(strings.TrimSuffix(file, ".jsonl")+".json", digestOf(t, b.Bytes()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
