package main

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// runTurns is how many turns a run has in the throughput figure: 21 steps.
const runTurns = 10

// manySteps measures whole steps (one model call or one tool call: claim, fold,
// step, encode, commit, dispatch) from sessions that each make one run and are
// replaced by a new one.
func manySteps(ctx context.Context, b *bench) ([]row, error) {
	var rows []row
	for _, crowd := range b.Crowd {
		raw, err := deviceNow(b.dir, 1024)
		if err != nil {
			return nil, err
		}
		rate, cost, err := b.steps(ctx, crowd)
		if err != nil {
			return nil, err
		}
		r := row{
			Name: fmt.Sprintf("steps/s, %d at once", crowd), Measured: rate, Unit: "1/s",
			Beside: &beside{"raw fdatasync/s", 1000 / raw},
		}
		if crowd == goalCrowd {
			r.Goal = atLeast(12_000)
		}
		rows = append(rows, r, row{
			Name: fmt.Sprintf("CPU of a step, %d at once", crowd), Measured: cost, Unit: "µs",
			Beside: &beside{"wall, all CPUs", 1e6 * float64(runtime.GOMAXPROCS(0)) / rate},
		})
	}
	return rows, nil
}

// steps returns steps a second and the microseconds of CPU that one took, which
// do not depend on what else the machine does.
func (b *bench) steps(ctx context.Context, crowd int) (rate, cost float64, err error) {
	w, err := b.newWorld(ctx, worker(readTool, runTurns))
	if err != nil {
		return 0, 0, err
	}
	defer func() { err = errors.Join(err, w.close()) }()
	// A device makes one flush after the other: one session has its pace.
	sessions := int64(max(b.Steps/(2*runTurns+1), crowd))
	if crowd == 1 {
		sessions = max(1, sessions/8)
	}
	var left atomic.Int64
	left.Store(sessions)
	errs := make([]error, crowd)
	var all sync.WaitGroup
	before, began := cpu(), time.Now()
	for i := range errs {
		all.Go(func() {
			for left.Add(-1) >= 0 && errs[i] == nil {
				errs[i] = w.session(ctx)
			}
		})
	}
	all.Wait()
	took, used := time.Since(began), cpu()-before
	if err := errors.Join(errs...); err != nil {
		return 0, 0, err
	}
	done := w.host.steps.Load()
	if want := sessions * (2*runTurns + 1); done != want {
		return 0, 0, fmt.Errorf("%d steps were performed instead of %d", done, want)
	}
	return float64(done) / took.Seconds(), float64(used.Microseconds()) / float64(done), nil
}

// commitsPerTurn counts the commits of a turn: those of a run with many turns
// less those of a run with one, by turn.
func commitsPerTurn(ctx context.Context, b *bench) ([]row, error) {
	var rows []row
	for _, c := range []struct {
		name, tool string
		goal       float64
	}{{"commits a turn", readTool, 2}, {"commits a turn, irreversible call", payTool, 3}} {
		const turns = 20
		few, err := b.commitsOf(ctx, c.tool, 1)
		if err != nil {
			return nil, err
		}
		many, err := b.commitsOf(ctx, c.tool, 1+turns)
		if err != nil {
			return nil, err
		}
		rows = append(rows, row{Name: c.name, Measured: float64(many-few) / turns, Unit: "commits", Goal: exactly(c.goal)})
	}
	return rows, nil
}

// commitsOf counts the commits of one session.
func (b *bench) commitsOf(ctx context.Context, tool string, turns int) (_ int64, err error) {
	w, err := b.newWorld(ctx, worker(tool, turns))
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, w.close()) }()
	if err := w.session(ctx); err != nil {
		return 0, err
	}
	return w.store.commits.Load(), nil
}

// overheadTurns is how long the conversation of the overhead figure becomes.
const overheadTurns = 50

// turnOverhead times the turns of one session at a time: from one call of the
// model to the next there are two commits and nothing that takes time outside.
func turnOverhead(ctx context.Context, b *bench) (_ []row, err error) {
	raw, err := deviceNow(b.dir, 1024)
	if err != nil {
		return nil, err
	}
	w, err := b.newWorld(ctx, worker(readTool, overheadTurns))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, w.close()) }()
	var took []time.Duration
	for len(took) < b.Turns {
		var i intervals
		w.host.asked = i.mark // the session before has ended
		if err := w.session(ctx); err != nil {
			return nil, err
		}
		took = append(took, i.took...)
	}
	next := &beside{"two raw fdatasync, p50", 2 * raw}
	return []row{
		{Name: "a turn's overhead, p50", Measured: millis(at(took, 0.5)), Unit: "ms", Beside: next, Goal: atMost(1.5)},
		{Name: "a turn's overhead, p99", Measured: millis(at(took, 0.99)), Unit: "ms", Beside: next},
	}, nil
}
