package torture_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cairn-run/cairn/internal/torture"
)

// TestTortureFindsDefects: the torture is worth nothing if it passes whatever is
// done to it. Each mutant breaks one promise in the runtime; the torture has to
// name it.
func TestTortureFindsDefects(t *testing.T) {
	for _, m := range []struct {
		name, file, old, new string
		want                 string // part of a violation
		hands                bool
	}{
		{
			name: "a new owner forgets that a call was started", file: "engine/step.go",
			old: "if c.Phase == PhaseStarted && !held", new: "if false && !held", want: "was done 2 times",
		},
		{
			name: "every process has an idempotency key of its own", file: "engine/effects.go",
			old: "key = string(e.ID)", new: "key = string(e.ID) + time.Now().String()", want: "the world applied it 0 times",
		},
		{
			name: "a new owner buys what was in flight without counting it", file: "engine/step.go",
			old: "!m.Waiting && !held(", new: "m.Waiting && !held(", want: "was bought twice",
		},
		{
			name: "a decision's model call is taken for lost", file: "kernel/owner.go",
			old: "case cairn.Takeover:\n\t\treturn 1", new: "case cairn.Takeover:\n\t\treturn 4", want: "no process had died",
		},
		{
			name: "a list row lags behind the journal", file: "kernel/commit.go",
			old: "sum := s.Summary()", new: "sum := o.s.Summary(); sum.Session = o.key", want: "list row differs",
		},
		{
			name: "the files of a call are not recorded with its outcome", file: "engine/step_tool.go", hands: true,
			old: "if d.Files != nil && c.Files == cairn.AccessWrite {", new: "if d.Files != nil && c.Files == cairn.AccessRead {",
			want: "no snapshot stands before its outcome",
		},
		{
			name: "what a lost attempt wrote is not taken away", file: "workspace/tree.go", hands: true,
			old: "if err := t.prepare(ctx, e, at); err != nil {",
			new: `top, kept := filepath.Join(t.livePath(), rootDir), t.s.temp()
	_ = os.Rename(top, kept)
	defer func() {
		if _, e := os.Stat(kept); e == nil && os.Remove(top) == nil {
			_ = os.Rename(kept, top)
		}
	}()
	if err := t.prepare(ctx, e, at); err != nil {`,
			want: "its files are not what its calls made of them",
		},
		{
			name: "a run ends without what it left running", file: "engine/step.go", hands: true,
			old: "if len(p.s.Files.Running) > 0 {", new: "if len(p.s.Files.Running) > 999 {", want: "at rest, the runtime has the process",
		},
	} {
		t.Run(m.name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join("..", "..", m.file)
			source, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if strings.Count(string(source), m.old) != 1 {
				t.Fatalf("%s does not hold %q exactly once: mend the mutant", m.file, m.old)
			}
			mutant := filepath.Join(dir, "mutant.go")
			if err := os.WriteFile(mutant, []byte(strings.Replace(string(source), m.old, m.new, 1)), 0o600); err != nil {
				t.Fatal(err)
			}
			abs, err := filepath.Abs(path)
			if err != nil {
				t.Fatal(err)
			}
			overlay, err := json.Marshal(map[string]any{"Replace": map[string]string{abs: mutant}})
			if err != nil {
				t.Fatal(err)
			}
			overlayFile := filepath.Join(dir, "overlay.json")
			if err := os.WriteFile(overlayFile, overlay, 0o600); err != nil {
				t.Fatal(err)
			}
			victim, effects, err := torture.Build(t.Context(), dir, "-overlay", overlayFile)
			if err != nil {
				t.Fatal(err)
			}
			o := torture.Options{Dir: dir, Victim: victim, Effects: effects, Kills: 16, Sessions: 30, Seed: 3, Settle: 10 * time.Second}
			if m.hands {
				o.Hands, o.Sessions, o.Kills = true, 4, 10
			}
			res, err := torture.Run(t.Context(), o)
			if err != nil {
				t.Fatal(err)
			}
			for _, v := range res.Violations {
				if strings.Contains(v, m.want) {
					return
				}
			}
			t.Errorf("the torture did not find it; it found %q", res.Violations)
		})
	}
}
