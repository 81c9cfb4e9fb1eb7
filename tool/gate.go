package tool

import (
	"container/list"
	"context"
	"sync"

	"golang.org/x/time/rate"

	"github.com/cairn-run/cairn"
)

const (
	// maxWaiting bounds the calls that wait for one tool.
	maxWaiting = 4096
	// maxGates bounds the tools whose limits are remembered; beyond it those that
	// are at rest are forgotten.
	maxGates = 4096
)

// gateKey names what limits are shared over: all sessions of a tenant's agent, in
// whatever version.
type gateKey struct {
	tenant cairn.TenantID
	agent  string
	tool   string
}

// gates holds the limits of tools that declare some.
type gates struct {
	mu sync.Mutex
	m  map[gateKey]*gate
}

// gate lets calls of one tool through, so many at once and so many a second, in
// the order they came.
type gate struct {
	mu      sync.Mutex
	users   int // guarded by gates.mu
	busy    int
	queue   list.List // of chan struct{}, closed when its turn has come
	limiter *rate.Limiter
}

// enter waits until the call may be made. The function it returns must be called
// when the call has ended. An error is a *cairn.Error with NotDone.
func (g *gates) enter(ctx context.Context, key gateKey, d *cairn.EffectDecl) (func(), error) {
	if d == nil || (d.Rate <= 0 && d.Concurrency <= 0) {
		return func() {}, nil
	}
	one := g.use(key, d)
	if err := one.acquire(ctx, d.Concurrency); err != nil {
		g.leave(one)
		return nil, err
	}
	leave := func() {
		one.release(d.Concurrency)
		g.leave(one)
	}
	if d.Rate > 0 {
		if err := one.limiter.Wait(ctx); err != nil {
			leave()
			return nil, notStarted(ctx)
		}
	}
	return leave, nil
}

func (g *gates) use(key gateKey, d *cairn.EffectDecl) *gate {
	g.mu.Lock()
	defer g.mu.Unlock()
	one := g.m[key]
	if one == nil {
		if g.m == nil {
			g.m = map[gateKey]*gate{}
		}
		if len(g.m) >= maxGates {
			for k, old := range g.m {
				// A bucket that is not full would be filled by forgetting it.
				if old.users == 0 && old.limiter.Tokens() >= float64(old.limiter.Burst()) {
					delete(g.m, k)
				}
			}
		}
		one = &gate{limiter: rate.NewLimiter(rate.Limit(d.Rate), max(d.Burst, 1))}
		g.m[key] = one
	}
	if d.Rate > 0 && (one.limiter.Limit() != rate.Limit(d.Rate) || one.limiter.Burst() != max(d.Burst, 1)) {
		one.limiter.SetLimit(rate.Limit(d.Rate)) // another version of the agent declares another limit
		one.limiter.SetBurst(max(d.Burst, 1))
	}
	one.users++
	return one
}

func (g *gates) leave(one *gate) {
	g.mu.Lock()
	defer g.mu.Unlock()
	one.users--
}

// acquire waits for one of limit places; zero: there is no limit.
func (g *gate) acquire(ctx context.Context, limit int) error {
	if ctx.Err() != nil {
		return notStarted(ctx)
	}
	g.mu.Lock()
	if limit <= 0 || (g.busy < limit && g.queue.Len() == 0) {
		g.busy++
		g.mu.Unlock()
		return nil
	}
	if g.queue.Len() >= maxWaiting {
		g.mu.Unlock()
		return &cairn.Error{Code: cairn.CodeRateLimited, Message: "too many calls wait for this tool already", Retryable: true, NotDone: true}
	}
	turn := make(chan struct{})
	place := g.queue.PushBack(turn)
	g.mu.Unlock()
	select {
	case <-turn:
		return nil
	case <-ctx.Done():
	}
	g.mu.Lock()
	select {
	case <-turn: // its turn came at the same moment: give the place to the next
		g.busy--
		g.admit(limit)
	default:
		g.queue.Remove(place)
	}
	g.mu.Unlock()
	return notStarted(ctx)
}

func (g *gate) release(limit int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.busy--
	g.admit(limit)
}

// admit gives free places to those who wait longest.
func (g *gate) admit(limit int) {
	for g.queue.Len() > 0 && (limit <= 0 || g.busy < limit) {
		front := g.queue.Front()
		g.queue.Remove(front)
		g.busy++
		close(front.Value.(chan struct{}))
	}
}

// notStarted is the error of a call that was stopped while it waited for its turn.
func notStarted(ctx context.Context) *cairn.Error {
	return &cairn.Error{
		Code: cairn.CodeCancelled, Message: "stopped while the call waited for its turn: it was not made",
		NotDone: true, Err: context.Cause(ctx),
	}
}
