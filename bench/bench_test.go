package main

import (
	"bytes"
	"encoding/json"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// measure runs figures at tiny sizes.
func measure(t *testing.T, s size, names string) map[string]row {
	t.Helper()
	chosen, err := choose(names)
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{size: s, rounds: 1, dir: t.TempDir(), log: io.Discard}
	r, err := b.report(t.Context(), chosen)
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string]row{}
	for _, f := range r.Figures {
		if f.Measured <= 0 {
			t.Errorf("%s: %v %s", f.Name, f.Measured, f.Unit)
		}
		rows[f.Name] = f
	}
	return rows
}

// TestFigures shows that the figures come out. What they say of time is not
// looked at; the commits of a turn are a promise.
func TestFigures(t *testing.T) {
	t.Parallel()
	rows := measure(t, size{Commits: 20, Crowd: []int{1, 8}, Steps: 500, Turns: 50}, "commit,steps,turn,overhead")
	for name, want := range map[string]float64{"commits a turn": 2, "commits a turn, irreversible call": 3} {
		if got := rows[name].Measured; got != want {
			t.Errorf("%s: %v instead of %v", name, got, want)
		}
	}
	for _, name := range []string{
		"one durable commit, p50", "one durable commit, p99", "steps/s, 1 at once", "steps/s, 8 at once",
		"a turn's overhead, p50", "a turn's overhead, p99",
	} {
		if r, ok := rows[name]; !ok || r.Beside == nil || r.Ratio <= 0 {
			t.Errorf("%s has nothing beside it: %+v", name, r)
		}
	}
}

// TestServers does the same for the figures of a server in a process of its own.
func TestServers(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("builds the command")
	}
	rows := measure(t, size{Seconds: 1, Crowd: []int{1, 8}, Sessions: 20, Events: 300, Starts: 1}, "commits,idle,restart,long,ready,build")
	if len(rows) < 17 {
		t.Errorf("only %d rows came out: %v", len(rows), rows)
	}
}

func TestMedians(t *testing.T) {
	t.Parallel()
	round := func(v, raw float64) []row {
		return []row{{Name: "x", Measured: v, Unit: "ms", Beside: &beside{"raw", raw}, Goal: &goal{Limit: 2.5, OfRatio: true}}}
	}
	got := medians("f", [][]row{round(4, 2), round(9, 3), round(5, 1)})
	met := false
	want := []row{{
		Figure: "f", Name: "x", Measured: 5, Low: 4, High: 9, Unit: "ms", Beside: &beside{"raw", 2}, Ratio: 3,
		Goal: &goal{Limit: 2.5, OfRatio: true}, Met: &met,
	}}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestGoals(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		g    *goal
		v    float64
		met  bool
		text string
	}{
		{atMost(300), 300, true, "≤ 300 MB"},
		{atMost(300), 301, false, "≤ 300 MB"},
		{atLeast(12_000), 11_999, false, "≥ 12,000 MB"},
		{atLeast(12_000), 12_000, true, "≥ 12,000 MB"},
		{exactly(2), 2, true, "2 MB"},
		{exactly(2), 2.05, false, "2 MB"},
	} {
		if got := c.g.met(row{Measured: c.v}); got != c.met {
			t.Errorf("%v, measured %v: met %v", c.g, c.v, got)
		}
		if got := c.g.text("MB"); got != c.text {
			t.Errorf("goal reads %q instead of %q", got, c.text)
		}
	}
}

// TestPrint goes through main: flags, the table, JSON.
func TestPrint(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{"-only", "nothing"}, {"-crowd", "0"}, {"-nonsense"}} {
		if err := run(t.Context(), append(args, "-dir", t.TempDir()), io.Discard, io.Discard); err == nil {
			t.Errorf("%v: no error", args)
		}
	}
	var table, text bytes.Buffer
	if err := run(t.Context(), []string{"-short", "-only", "turn", "-dir", t.TempDir()}, &table, io.Discard); err != nil {
		t.Fatal(err)
	}
	for _, word := range []string{"figure", "measured", "beside", "goal", "commits a turn"} {
		if !strings.Contains(table.String(), word) {
			t.Errorf("the table lacks %q:\n%s", word, table.String())
		}
	}
	if err := run(t.Context(), []string{"-short", "-json", "-only", "turn", "-dir", t.TempDir()}, &text, io.Discard); err != nil {
		t.Fatal(err)
	}
	var r report
	if err := json.Unmarshal(text.Bytes(), &r); err != nil || len(r.Figures) != 2 || r.Figures[0].Met == nil {
		t.Errorf("%v in %s", err, text.String())
	}
}
