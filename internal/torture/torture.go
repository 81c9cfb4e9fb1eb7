// Package torture kills the runtime, again and again, while sessions do effects
// in a world that counts them, and then checks every promise against what the
// world counted.
package torture

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
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
	Checked    Checked           `json:"checked"`
	Violations []string          `json:"violations"`
	Took       string            `json:"took"`
}

// killer owns the victim: it starts it, kills it, and starts it again.
type killer struct {
	o       Options
	rng     *rand.Rand
	effects string
	counts  string // file of failpoint counts
	socket  string
	cmd     *exec.Cmd
	done    chan struct{} // closed when the victim has ended
	exit    error         // how, once it has
	stderr  *os.File

	kills, atPoints, inFlight int
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
	if err := write(filepath.Join(o.Dir, "scripts")); err != nil {
		return nil, err
	}
	server, err := effectserver.Spawn(ctx, exec.CommandContext(ctx, o.Effects, "-file", filepath.Join(o.Dir, "effects.jsonl"),
		"-seed", fmt.Sprint(o.Seed), "-delay", "6ms", "-refuse", "0.02", "-fail", "0.03", "-lose", "0.03"))
	if err != nil {
		return nil, err
	}
	defer func() { _ = server.Kill() }()
	k := &killer{
		o: o, rng: rand.New(rand.NewPCG(o.Seed, 1)), effects: server.Base,
		counts: filepath.Join(o.Dir, "failpoints"), socket: filepath.Join(data, "cairn.sock"),
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
		Hits: map[string]uint64{}, PointKills: map[string]uint64{},
	}
	v := &verifier{crowd: c, dir: data}
	if err := v.verify(ctx, k); err != nil {
		return nil, err
	}
	counts, err := failpoint.Read(k.counts)
	if err != nil {
		return nil, err
	}
	for _, p := range failpoint.Points() {
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

// start runs the victim until it is ready, or has died at its failpoint.
func (k *killer) start(ctx context.Context, at string) error {
	k.cmd = exec.CommandContext(ctx, k.o.Victim, "-data", filepath.Join(k.o.Dir, "data"), "-effects", k.effects, "-scripts", filepath.Join(k.o.Dir, "scripts"))
	k.cmd.Env = append(os.Environ(), "CAIRN_FAILPOINT_FILE="+k.counts)
	if at != "" {
		k.cmd.Env = append(k.cmd.Env, "CAIRN_FAILPOINT="+at)
	}
	k.cmd.Stderr = k.stderr
	out, err := k.cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := k.cmd.Start(); err != nil {
		return err
	}
	ready := make(chan bool, 1)
	go func() {
		b := make([]byte, 16)
		n, _ := io.ReadAtLeast(out, b, len("ready"))
		ready <- strings.HasPrefix(string(b[:n]), "ready")
		_, _ = io.Copy(io.Discard, out)
	}()
	ok := false
	t := time.NewTimer(30 * time.Second)
	defer t.Stop()
	select {
	case ok = <-ready:
	case <-t.C:
	}
	cmd, done := k.cmd, make(chan struct{})
	k.done = done
	go func() {
		k.exit = cmd.Wait()
		close(done)
	}()
	if !ok && at == "" {
		err := errors.Join(errors.New("torture: the victim does not start; see "+k.stderr.Name()), cmd.Process.Kill())
		<-done
		return err
	}
	return nil
}

// alive fails if the victim has died without being killed.
func (k *killer) alive() error {
	select {
	case <-k.done:
		k.done = nil
		return fmt.Errorf("torture: the victim died by itself: %w; see %s", k.exit, k.stderr.Name())
	default:
		return nil
	}
}

// end stops the victim for good.
func (k *killer) end() {
	if k.done != nil {
		_ = k.cmd.Process.Kill()
		<-k.done
		k.done = nil
	}
}

// rampage kills the victim as often as asked: half of the time at a failpoint,
// half of the time at a random moment.
func (k *killer) rampage(ctx context.Context, c *crowd) error {
	points := failpoint.Points()
	k.end()
	for i := 0; k.kills < k.o.Kills; i++ {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		at := ""
		if i%2 == 0 {
			p := points[(i/2)%len(points)]
			at = fmt.Sprintf("%s:%d", p, 1+k.rng.IntN(12))
		}
		before, err := failpoint.Read(k.counts)
		if err != nil {
			return err
		}
		if err := k.start(ctx, at); err != nil {
			return err
		}
		// A failpoint gets a while to be hit; a random kill comes at any moment.
		patience := time.Duration(20+k.rng.IntN(400)) * time.Millisecond
		if at != "" {
			patience = 700 * time.Millisecond
		}
		t := time.NewTimer(patience)
		select {
		case <-k.done:
			t.Stop()
			after, rerr := failpoint.Read(k.counts)
			if rerr != nil {
				return rerr
			}
			if after.Killed() == before.Killed() {
				return fmt.Errorf("torture: the victim died by itself: %w; see %s", k.exit, k.stderr.Name())
			}
			k.atPoints++
			k.inFlight += int(after.KilledInFlight() - before.KilledInFlight())
		case <-t.C:
			now, err := failpoint.Read(k.counts)
			if err != nil {
				return err
			}
			if now.InFlight() > 0 {
				k.inFlight++
			}
			if err := k.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
				return err
			}
			<-k.done
		}
		k.done = nil
		k.kills++
		if k.kills%50 == 0 {
			fmt.Fprintf(k.o.Log, "%5d kills, %d at failpoints, %d with an effect in flight; %d sessions, %d open\n",
				k.kills, k.atPoints, k.inFlight, c.created(), c.open())
		}
	}
	return k.start(ctx, "")
}
