package torture

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cairn-run/cairn"
	v1 "github.com/cairn-run/cairn/api/v1"
	"github.com/cairn-run/cairn/client"
	"github.com/cairn-run/cairn/examples/airline"
)

// play is one trajectory on its way through the runtime.
type play struct {
	tr      *airline.Trajectory
	stdio   bool // the desk is a child of the runtime
	plan    plan
	victim  *victim
	ctx     context.Context // of the whole test
	session cairn.SessionID
	inside  atomic.Int64 // life of the call that a child's desk is in

	mu     sync.Mutex
	passed map[moment]int
	killed time.Time // by its own plan
	begun  bool
	over   bool
}

// newPlay chooses by seeded chance where a trajectory is killed.
func newPlay(tr *airline.Trajectory, stdio bool, rng *rand.Rand) *play {
	p := &play{tr: tr, stdio: stdio, passed: map[moment]int{}}
	last := 0 // events of an uninterrupted history before the last message
	if n := len(tr.Turns) - 1; n > 0 {
		calls := 0
		for _, r := range tr.Results {
			if r.Reply < tr.Turns[n].After {
				calls++
			}
		}
		// Two of the session and two of its tools; five around each run; two for each
		// reply and for each call.
		last = 4 + 5*n + 2*tr.Turns[n].After + 2*calls
	}
	switch n := rng.IntN(20); {
	case n < 7 && len(tr.Results) > 0:
		p.plan = plan{at: onArrival, n: 1 + rng.IntN(len(tr.Results)), drop: rng.IntN(2) == 0}
	case n < 14 && len(tr.Results) > 0:
		p.plan = plan{at: onDone, n: 1 + rng.IntN(len(tr.Results))}
	case n < 17 && last > 0:
		// Before the last message it is certain that the session is in progress.
		p.plan = plan{at: onEvent, n: 3 + rng.IntN(last-2)}
	default:
		p.plan = plan{at: onModel, n: 1 + rng.IntN(len(tr.Replies))}
	}
	return p
}

// agent is the definition a trajectory runs with. What a repeat of its tools
// would do is what their server says.
func (p *play) agent(w *airlineWorld, dir, db string) (*cairn.Agent, error) {
	a := &cairn.Agent{Name: p.tr.Name, Model: "script/" + p.tr.Name, Instructions: p.tr.Instructions}
	m := &cairn.MCPServer{URL: w.http.URL + "/mcp/" + p.tr.Name}
	if p.stdio {
		exe, err := os.Executable()
		if err != nil {
			return nil, err
		}
		m = &cairn.MCPServer{Command: []string{exe}, Env: map[string]string{
			deskName: p.tr.Name, deskDB: db, deskData: filepath.Join(dir, "desks", p.tr.Name), deskGate: w.http.URL + "/gate",
		}}
	}
	a.Tools = []cairn.ToolSource{{MCP: m}}
	return a, a.Validate()
}

// pass notes that the trajectory is at a moment, and kills the runtime if that is
// the plan.
func (p *play) pass(at moment, life int64) (killed bool) {
	p.mu.Lock()
	p.passed[at]++
	due := p.plan.at == at && p.passed[at] >= p.plan.n && p.killed.IsZero()
	p.mu.Unlock()
	return due && p.kill(life)
}

// shown notes that an event was shown. The user says nothing more before the
// runtime has been killed for it.
func (p *play) shown(seq cairn.Seq) {
	p.mu.Lock()
	due := p.plan.at == onEvent && int(seq) >= p.plan.n && p.killed.IsZero()
	p.mu.Unlock()
	for due && p.ctx.Err() == nil && !p.kill(p.victim.life.Load()) { // the process had just died for another
	}
}

func (p *play) kill(life int64) bool {
	when := p.victim.strike(p.ctx, life, p.plan.at)
	p.mu.Lock()
	defer p.mu.Unlock()
	if when.IsZero() || !p.killed.IsZero() {
		return false
	}
	p.killed = when
	return true
}

// open says whether the session is in progress.
func (p *play) open() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.begun && !p.over
}

func (p *play) set(begun, over bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.begun, p.over = begun, over
}

// perform is the user: it says the recorded messages one after the other, each
// when the session is idle.
func (p *play) perform(w *airlineWorld) error {
	ctx, c := p.ctx, p.victim.c
	s, err := insist(ctx, func(ctx context.Context) (v1.Session, error) {
		return c.CreateSession(ctx, v1.CreateSession{Agent: p.tr.Name}, client.Key("create-"+p.tr.Name))
	})
	if err != nil {
		return fmt.Errorf("%s: create: %w", p.tr.Name, err)
	}
	p.session = s.ID
	w.met(s.ID, p)
	turns, replies := 0, 0
	// A runtime that dies every moment may be silent for long.
	for item, err := range c.Stream(ctx, s.ID, 0, client.Patience(airlineTimeout)) {
		if err != nil {
			return fmt.Errorf("%s: %w", p.tr.Name, err)
		}
		e := item.Event
		if e == nil {
			continue
		}
		p.shown(e.Seq)
		switch e.Type {
		case cairn.ModelCompleted{}.EventType():
			replies++
		case cairn.RunFailed{}.EventType(), cairn.AskOpened{}.EventType():
			return fmt.Errorf("%s: event %d, %s: %s", p.tr.Name, e.Seq, e.Type, e.Data)
		case cairn.SessionIdle{}.EventType():
			if turns == len(p.tr.Turns) {
				p.set(true, true)
				return nil
			}
			turn := p.tr.Turns[turns]
			if replies != turn.After {
				return fmt.Errorf("%s: idle after %d replies; message %d was said after %d", p.tr.Name, replies, turns, turn.After)
			}
			p.set(true, false)
			_, err := insist(ctx, func(ctx context.Context) (v1.Accepted, error) {
				return c.Send(ctx, s.ID, v1.PostMessage{Content: v1.Text(turn.Text)}, client.Key(fmt.Sprintf("%s-%d", p.tr.Name, turns)))
			})
			if err != nil {
				return fmt.Errorf("%s: message %d: %w", p.tr.Name, turns, err)
			}
			turns++
		}
	}
	return fmt.Errorf("%s: the stream ended: %w", p.tr.Name, context.Cause(ctx))
}

// insist sends a request again until a process that lives answers it. It has an
// idempotency key.
func insist[T any](ctx context.Context, f func(context.Context) (T, error)) (T, error) {
	for {
		call, cancel := context.WithTimeout(ctx, 10*time.Second)
		v, err := f(call)
		cancel()
		if err == nil || ctx.Err() != nil {
			return v, errors.Join(err, ctx.Err())
		}
		if e := cairn.AsError(err); e.Code != cairn.CodeUnavailable && e.Code != cairn.CodeTimeout && !e.Retryable {
			return v, err
		}
		wait(ctx, 20*time.Millisecond)
	}
}
