// Package torture kills the runtime, again and again, while sessions do effects
// in a world that counts them, and then checks every promise against what the
// world counted.
package torture

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/cairn-run/cairn/client"
	"github.com/cairn-run/cairn/internal/effectserver"
	"github.com/cairn-run/cairn/internal/failpoint"
)

// Options say how hard the torture is.
type Options struct {
	Dir      string // for data, effects and scripts; must be empty
	Victim   string // binary of internal/torture/victim, built with failpoints
	Effects  string // binary of internal/effectserver/cmd
	Kills    int
	Sessions int // going on at once; default 50
	Seed     uint64
	Log      io.Writer // progress; nil: none
	// Settle bounds how long everything may take to end after the last kill;
	// default 3 minutes.
	Settle time.Duration
	// Hands gives the agents files and commands in sandboxes, and kills the helpers of
	// the sandboxes as well. The failpoints are then those of files and sandboxes and
	// of the commits around them.
	Hands bool
	// UID and GID are who the victim is; zero: whoever this process is.
	UID, GID int
}

// Result is what a torture came to.
type Result struct {
	Seed       uint64            `json:"seed"`
	Kills      int               `json:"kills"`
	AtPoints   int               `json:"kills_at_failpoints"`
	InFlight   int               `json:"kills_with_an_effect_in_flight"`
	Sessions   int               `json:"sessions"`
	Hits       map[string]uint64 `json:"failpoint_hits"`
	PointKills map[string]uint64 `json:"failpoint_kills"`
	Helpers    map[string]int    `json:"helper_kills,omitempty"`
	Busy       int               `json:"starts_that_found_the_directory_in_use,omitzero"`
	Checked    Checked           `json:"checked"`
	Violations []string          `json:"violations"`
	Took       string            `json:"took"`
}

// handPrefixes begin the names of the failpoints of files and sandboxes.
var handPrefixes = []string{"sandbox.", "workspace."}

func ofHands(p failpoint.Point) bool {
	return slices.ContainsFunc(handPrefixes, func(s string) bool { return strings.HasPrefix(string(p), s) })
}

// heartPoints are those that sessions without files pass.
func heartPoints() []failpoint.Point {
	return slices.DeleteFunc(failpoint.Points(), ofHands)
}

// handPoints are those around a call on the files.
func handPoints() []failpoint.Point {
	return append(slices.DeleteFunc(failpoint.Points(), func(p failpoint.Point) bool { return !ofHands(p) }),
		failpoint.CommitBefore, failpoint.CommitAfter, failpoint.CommitTool, failpoint.CommitStart, failpoint.CommitEnd,
		failpoint.ToolBefore, failpoint.ToolAfter, failpoint.TakeoverStepped, failpoint.GroupBeforeSync, failpoint.GroupAfterSync)
}

// Run tortures and returns what was found. An error means that it could not be
// carried through; violations are in the result.
func Run(ctx context.Context, o Options) (*Result, error) {
	began := time.Now()
	if o.Sessions == 0 {
		o.Sessions = 50
	}
	if o.Settle == 0 {
		o.Settle = 3 * time.Minute
	}
	if o.Log == nil {
		o.Log = io.Discard
	}
	data := filepath.Join(o.Dir, "data")
	if err := write(filepath.Join(o.Dir, "scripts"), o.Hands); err != nil {
		return nil, err
	}
	points := heartPoints()
	var before *traces
	if o.Hands {
		points = handPoints()
		var err error
		if before, err = o.prepare(data); err != nil {
			return nil, err
		}
	}
	server, err := effectserver.Spawn(ctx, exec.CommandContext(ctx, o.Effects, "-file", filepath.Join(o.Dir, "effects.jsonl"),
		"-seed", fmt.Sprint(o.Seed), "-delay", "6ms", "-refuse", "0.02", "-fail", "0.03", "-lose", "0.03"))
	if err != nil {
		return nil, err
	}
	defer func() { _ = server.Kill() }()
	k := &killer{
		o: o, rng: rand.New(rand.NewPCG(o.Seed, 1)), effects: server.Base,
		counts: filepath.Join(o.Dir, "failpoints"), socket: filepath.Join(data, "cairn.sock"), points: points, helpers: map[string]int{},
	}
	if k.stderr, err = os.Create(filepath.Join(o.Dir, "victim.log")); err != nil {
		return nil, err
	}
	defer func() { _ = k.stderr.Close() }()
	if err := k.start(ctx, ""); err != nil {
		return nil, err
	}
	defer k.end()

	crowdCtx, dismiss := context.WithCancel(ctx)
	defer dismiss()
	c := newCrowd(client.Unix(k.socket, "torture"), server, o)
	var working sync.WaitGroup
	c.start(crowdCtx, &working)
	if err := k.rampage(ctx, c); err != nil {
		return nil, err
	}
	c.calmDown(ctx)
	c.stopCreating()
	fmt.Fprintf(o.Log, "%d kills done; waiting for %d sessions to end\n", k.kills, c.open())
	deadline := time.Now().Add(o.Settle)
	for !c.settled() && time.Now().Before(deadline) && ctx.Err() == nil {
		if err := k.alive(); err != nil {
			return nil, err
		}
		wait(ctx, 100*time.Millisecond)
	}
	dismiss()
	working.Wait()

	res := &Result{
		Seed: o.Seed, Kills: k.kills, AtPoints: k.atPoints, InFlight: k.inFlight, Sessions: c.created(),
		Hits: map[string]uint64{}, PointKills: map[string]uint64{}, Helpers: k.helpers, Busy: k.busy,
	}
	v := &verifier{crowd: c, dir: data}
	if o.Hands {
		if v.rest, err = k.leaks(ctx, before, v.violate); err != nil {
			return nil, err
		}
	}
	if err := v.verify(ctx, k); err != nil {
		return nil, err
	}
	counts, err := failpoint.Read(k.counts)
	if err != nil {
		return nil, err
	}
	for _, p := range points {
		res.Hits[string(p)], res.PointKills[string(p)] = counts.Hits(p), counts.Kills(p)
		if counts.Hits(p) == 0 {
			v.violate("failpoint %s was never hit", p)
		}
	}
	if v.checked.Calm == 0 {
		v.violate("no session began after the last kill: nothing shows that only kills lose calls")
	}
	if 2*k.inFlight < k.kills {
		v.violate("only %d of %d kills struck with an effect in flight", k.inFlight, k.kills)
	}
	res.Checked, res.Violations, res.Took = v.checked, v.violations, time.Since(began).Round(time.Second).String()
	return res, nil
}

func wait(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}
