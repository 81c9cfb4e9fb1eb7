package torture

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/cairn-run/cairn/client"
	"github.com/cairn-run/cairn/examples/airline"
	"github.com/cairn-run/cairn/internal/effectserver"
	"github.com/cairn-run/cairn/internal/sim"
)

const (
	// Runtimes, each with its share of the trajectories. The desks of the last one
	// are its children; they take longer to start than the others' lives last.
	airlineVictims = 3
	airlineStdio   = 8  // every so many trajectories has its desk as a child
	airlineAtOnce  = 10 // sessions that a runtime has in progress
	airlineBeside  = 3  // where the desks are children

	airlineTimeout = 5 * time.Minute
)

// TestMain lets the test binary be a desk.
func TestMain(m *testing.M) {
	if os.Getenv(deskName) == "" {
		os.Exit(m.Run())
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	err := serveDesk(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "desk:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// TestAirline takes the 100 recorded GPT-4o airline trajectories through the
// runtime: the recorded replies as the model, the airline desk as an MCP server,
// the recorded messages as inputs. In each the runtime is killed at a random
// step, and with it whatever else is in progress. What comes out is what was
// recorded.
func TestAirline(t *testing.T) {
	t.Parallel()
	recording := sim.Data(t, "agent-decisions", "tau-bench", "airline")
	seed := sim.Seed(t)
	began := time.Now()
	db, err := airline.Load(recording)
	if err != nil {
		t.Fatal(err)
	}
	all, err := airline.Trajectories(recording)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), airlineTimeout)
	defer cancel()
	dir := t.TempDir()
	binary, _, err := Build(ctx, dir)
	if err != nil {
		t.Fatal(err)
	}

	rng := rand.New(rand.NewPCG(seed, 3))
	var plays []*play
	for i := range all {
		plays = append(plays, newPlay(&all[i], i%airlineStdio == 0, rng))
	}
	struck := newKills()
	world, victims := runAirline(ctx, t, dir, binary, recording, db, plays, seed)
	for _, v := range victims {
		struck.add(v.sum)
	}
	ran := time.Since(began)

	var sum tally
	bill, err := effectserver.Client{Base: world.http.URL}.Report(ctx)
	if err = errors.Join(err, world.close()); err != nil {
		t.Fatal(err)
	}
	for _, v := range victims {
		j, err := openJournal(ctx, filepath.Join(v.k.o.Dir, "data"))
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range v.plays {
			r, err := recite(ctx, j, p.session)
			if err != nil {
				t.Errorf("%s: %v", p.tr.Name, err)
				continue
			}
			want, err := reference(ctx, db, filepath.Join(dir, "reference", p.tr.Name), p.tr)
			if err != nil {
				t.Fatal(err)
			}
			got, err := deskState(ctx, db, filepath.Join(dir, "desks", p.tr.Name))
			if err != nil {
				t.Fatal(err)
			}
			checkJournal(t, p, r, &sum)
			checkDesk(t, p, r, want, got, &sum)
			checkBill(t, p, r, bill, &sum)
		}
		if err := j.Close(); err != nil {
			t.Error(err)
		}
	}
	if len(plays) != 100 || sum.results != 577 || sum.identical != 516 || sum.addresses != 61 || sum.databases != 100 {
		t.Errorf("%d trajectories, %d results, %d identical, %d of users, %d databases; 100, 577, 516, 61 and 100 were recorded",
			len(plays), sum.results, sum.identical, sum.addresses, sum.databases)
	}
	report(t, seed, plays, struck)
	t.Logf("%d trajectories, %d kills: %d of %d tool results byte-identical, %d of get_user_details but for the address; "+
		"%d of %d final databases as uninterrupted; %d writes, none twice, %d repeats absorbed; "+
		"%d replies as recorded, %d bought, %d lost in flight, none bought again; %s, %s of it running",
		len(plays), struck.total(), sum.identical, sum.results, sum.addresses, sum.databases, len(plays), sum.writes, sum.repeats,
		sum.replies, sum.bought, sum.lost, time.Since(began).Round(100*time.Millisecond), ran.Round(100*time.Millisecond))
}

// report prints where the kills struck.
func report(t *testing.T, seed uint64, plays []*play, k kills) {
	t.Helper()
	stdio, inCall := 0, 0
	for _, p := range plays {
		if p.stdio {
			stdio++
			if p.plan.at == onArrival || p.plan.at == onDone {
				inCall++
			}
		}
	}
	t.Logf("seed %d: %d processes of %d runtimes, %d kills; %d struck with an effect in flight, %d with a tool call in flight; "+
		"%.1f sessions in progress at a kill; %d desks were children of the runtime and died with it, %d of them in a call",
		seed, k.lives, airlineVictims, k.total(), k.effects, k.tools, float64(k.sessions)/float64(max(k.total(), 1)), stdio, inCall)
	for _, m := range slices.Sorted(maps.Keys(k.moments)) {
		t.Logf("%4d when %s", k.moments[m], m)
	}
	for _, p := range slices.Sorted(maps.Keys(k.points)) {
		t.Logf("%4d at failpoint %s", k.points[p], p)
	}
	if 2*k.effects < k.total() {
		t.Errorf("only %d of %d kills struck with an effect in flight", k.effects, k.total())
	}
}

// runAirline plays everything. It returns when every trajectory is over and every
// runtime is dead.
func runAirline(ctx context.Context, t *testing.T, dir, binary, recording string, db *airline.Database, plays []*play, seed uint64) (*airlineWorld, []*victim) {
	t.Helper()
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	world, err := newAirlineWorld(ctx, dir, db, plays)
	if err != nil {
		t.Fatal(err)
	}
	scripts := filepath.Join(dir, "scripts")
	if err := os.Mkdir(scripts, 0o700); err != nil {
		t.Fatal(err)
	}
	var victims []*victim
	var dying, playing sync.WaitGroup
	alive, end := context.WithCancel(ctx)
	defer end()
	for i := range airlineVictims {
		v, err := newVictim(filepath.Join(dir, fmt.Sprint(i)), binary, scripts, world.http.URL, seed+uint64(i))
		if err != nil {
			t.Fatal(err)
		}
		victims = append(victims, v)
		seats := make(chan struct{}, airlineAtOnce)
		if i == airlineVictims-1 {
			seats = make(chan struct{}, airlineBeside)
		}
		others := 0
		for _, p := range plays {
			at := airlineVictims - 1
			if !p.stdio {
				at = others % (airlineVictims - 1)
				others++
			}
			if at == i {
				p.victim, p.ctx = v, ctx
				v.plays = append(v.plays, p)
			}
		}
		if err := v.start(ctx); err != nil {
			t.Fatal(err)
		}
		for _, p := range v.plays {
			if err := p.prepare(world, dir, scripts, recording); err != nil {
				v.k.end()
				t.Fatal(err)
			}
		}
		dying.Go(func() {
			if err := v.run(alive); err != nil {
				fail(fmt.Errorf("runtime in %s, life %d: %w", v.k.o.Dir, v.life.Load(), err))
			}
		})
		playing.Go(func() {
			var going sync.WaitGroup
			for _, p := range v.plays {
				seats <- struct{}{}
				going.Go(func() {
					defer func() { <-seats }()
					if err := p.perform(world); err != nil {
						fail(err)
					}
				})
			}
			going.Wait()
		})
	}
	playing.Wait()
	end()
	dying.Wait()
	if err := context.Cause(ctx); err != nil {
		for _, v := range victims {
			log, rerr := os.ReadFile(filepath.Join(v.k.o.Dir, "victim.log"))
			t.Logf("last words of %s: %s %v", v.k.o.Dir, bytes.TrimSpace(log[max(0, len(log)-4000):]), rerr)
		}
		t.Fatal(errors.Join(err, world.close()))
	}
	return world, victims
}

// prepare gives the runtime the model and the agent of a trajectory.
func (p *play) prepare(w *airlineWorld, dir, scripts, recording string) error {
	text, err := p.tr.ScriptFile()
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(scripts, p.tr.Name+".json"), text, 0o600); err != nil {
		return err
	}
	a, err := p.agent(w, dir, recording)
	if err != nil {
		return err
	}
	_, err = p.victim.c.Apply(p.ctx, a, client.Patience(0))
	return err
}
