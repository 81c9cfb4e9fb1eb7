package model

import (
	"cmp"
	"context"
	"fmt"
	"hash/fnv"
	"iter"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/cairn-run/cairn"
)

// Defaults of [BreakerOptions].
const (
	DefaultFailures    = 5
	DefaultCoolDown    = 30 * time.Second
	DefaultMaxCoolDown = 5 * time.Minute
	DefaultTracked     = 1024
)

// BreakerOptions say when a circuit opens, and for how long. The zero value takes
// the defaults.
type BreakerOptions struct {
	// Failures in a row open the circuit of a model; default [DefaultFailures].
	Failures int
	// CoolDown is how long the circuit is open at first; it doubles each time the
	// call after it fails too, up to MaxCoolDown. Up to a tenth is added, so that
	// models that failed together are not tried again together. Defaults
	// [DefaultCoolDown], [DefaultMaxCoolDown].
	CoolDown, MaxCoolDown time.Duration
	// Tracked bounds the number of models that are remembered; default
	// [DefaultTracked]. One more forgets the one that was heard of least lately.
	Tracked int
}

// Breaker is a [Driver] that does not try a model for a while that failed too
// often. Each model, by the name in the request, has a circuit of its own:
//
//   - It is closed at first. A failure counts that says that the provider cannot
//     now: overloaded, unavailable, timeout, or a cut before the first delta. An
//     answer, a refusal or an overflow ends the row: the model works. What is left
//     (a rate limit, a credential, a request that is not valid, a call that was
//     stopped, a cut later on) says neither.
//   - After so many failures in a row it opens: a call fails at once with
//     CodeCircuitOpen, retryable, NotDone, and RetryAfter is what is left of the
//     cool-down.
//   - After the cool-down one call is let through. If the model works the circuit
//     closes, if it cannot now the cool-down begins again, twice as long. Of a call
//     that says neither nothing is learnt, and another is let through; beside one that
//     takes longer than the first cool-down, too, and what either says counts.
//
// Put it around a [Router], or around a driver behind a [Guard], which make typed
// failures of silence and of streams that break off.
type Breaker struct {
	driver Driver
	o      BreakerOptions

	mu       sync.Mutex
	circuits map[string]*circuit // of models whose last call failed
}

var _ Driver = (*Breaker)(nil)

// NewBreaker puts a driver behind a breaker.
func NewBreaker(d Driver, o BreakerOptions) *Breaker {
	if o.Failures <= 0 {
		o.Failures = DefaultFailures
	}
	if o.CoolDown <= 0 {
		o.CoolDown = DefaultCoolDown
	}
	if o.MaxCoolDown <= 0 {
		o.MaxCoolDown = DefaultMaxCoolDown
	}
	if o.Tracked <= 0 {
		o.Tracked = DefaultTracked
	}
	return &Breaker{driver: d, o: o, circuits: map[string]*circuit{}}
}

// Circuit is a state of a model's circuit.
type Circuit string

// States of a circuit.
const (
	CircuitClosed   Circuit = "closed"    // calls are made
	CircuitOpen     Circuit = "open"      // calls fail at once
	CircuitHalfOpen Circuit = "half_open" // the cool-down is over: one call is let through
)

// CircuitState is what is known of a model that failed.
type CircuitState struct {
	Model    string     `json:"model"`
	Circuit  Circuit    `json:"circuit"`
	Failures int        `json:"failures"`         // in a row
	Since    time.Time  `json:"since,omitzero"`   // when it opened last
	Until    time.Time  `json:"until,omitzero"`   // end of the cool-down
	Code     cairn.Code `json:"code"`             // of the last failure
	Message  string     `json:"message,omitzero"` // of the last failure
}

// circuit is what is remembered of a model. It is not there while all is well.
type circuit struct {
	failures int
	opened   int // times it opened without having closed; 0: it is closed
	since    time.Time
	until    time.Time
	trying   bool // a call was let through after the cool-down
	// period counts the times it opened: what a call says that began in another one is
	// old. tries counts the calls let through since.
	period  int
	tries   int
	touched time.Time
	last    *cairn.Error
}

// ticket lets a call through.
type ticket struct {
	model  string
	period int
	try    int
}

// Info asks the driver.
func (b *Breaker) Info(ctx context.Context, name string) (cairn.ModelInfo, error) {
	return b.driver.Info(ctx, name)
}

// State is what is known of the models whose last calls failed, by name. A model
// that is not in it has a closed circuit.
func (b *Breaker) State() []CircuitState {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	all := make([]CircuitState, 0, len(b.circuits))
	for name, c := range b.circuits {
		s := CircuitState{
			Model: name, Circuit: CircuitClosed, Failures: c.failures, Since: c.since, Until: c.until,
			Code: c.last.Code, Message: c.last.Message,
		}
		switch {
		case c.opened > 0 && (c.trying || !now.Before(c.until)):
			s.Circuit = CircuitHalfOpen
		case c.opened > 0:
			s.Circuit = CircuitOpen
		}
		all = append(all, s)
	}
	slices.SortFunc(all, func(x, y CircuitState) int { return cmp.Compare(x.Model, y.Model) })
	return all
}

// Call makes one attempt, or fails at once.
func (b *Breaker) Call(ctx context.Context, c Call) iter.Seq2[Chunk, error] {
	return func(yield func(Chunk, error) bool) {
		t, open := b.enter(c.Request.Model)
		if open != nil {
			yield(Chunk{}, &Failure{Err: open})
			return
		}
		v := verdict{} // of a reader that goes away, or a driver that says nothing
		defer func() { b.leave(t, v) }()
		said := false
		for chunk, err := range b.driver.Call(ctx, c) {
			switch {
			case err != nil:
				f := failure(ctx, err)
				v = judge(f.Err, said)
				yield(Chunk{}, f)
				return
			case chunk.Answer != nil:
				v.works = true
			case chunk.Delta != nil:
				said = true
			}
			if !yield(chunk, nil) {
				return
			}
		}
		if !v.works {
			v = judge(errCut, said)
		}
	}
}

// verdict is what a call says of its model: that it works, that it cannot now, or
// neither.
type verdict struct {
	works  bool
	cannot *cairn.Error
}

func judge(e *cairn.Error, said bool) verdict {
	switch e.Code {
	case cairn.CodeOverloaded, cairn.CodeUnavailable, cairn.CodeTimeout:
		return verdict{cannot: e}
	case cairn.CodeCut:
		if !said {
			return verdict{cannot: e}
		}
	case cairn.CodeRefused, cairn.CodeOverflow:
		return verdict{works: true}
	}
	return verdict{}
}

// enter lets a call through, or says why not.
func (b *Breaker) enter(model string) (ticket, *cairn.Error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	c := b.circuits[model]
	if c == nil {
		return ticket{model: model}, nil
	}
	now := time.Now()
	c.touched = now
	if c.opened == 0 {
		return ticket{model: model, period: c.period}, nil
	}
	if left := c.until.Sub(now); left > 0 {
		return ticket{}, c.refusal(model, left)
	}
	c.trying = true
	c.tries++
	c.until = now.Add(b.o.CoolDown) // if nothing is heard of the call until then, another is let through
	return ticket{model, c.period, c.tries}, nil
}

// refusal is what a call gets while the circuit is open.
func (c *circuit) refusal(model string, left time.Duration) *cairn.Error {
	when := fmt.Sprintf("it is not tried since %s; the next try is in %s", c.since.UTC().Format(time.RFC3339), left.Round(time.Millisecond))
	if c.trying {
		when = fmt.Sprintf("it was not tried since %s, and one call tries it now", c.since.UTC().Format(time.RFC3339))
	}
	return &cairn.Error{
		Code: cairn.CodeCircuitOpen, Retryable: true, NotDone: true, RetryAfter: cairn.Duration(left),
		Message: fmt.Sprintf("%s failed %d times in a row, the last time with %s (%s): %s", model, c.failures, c.last.Code, c.last.Message, when),
	}
}

// leave records what a call said of its model.
func (b *Breaker) leave(t ticket, v verdict) {
	b.mu.Lock()
	defer b.mu.Unlock()
	c := b.circuits[t.model]
	if c != nil && c.period != t.period {
		return // the state has changed since the call began
	}
	now := time.Now()
	switch {
	case v.works:
		delete(b.circuits, t.model)
	case v.cannot != nil:
		if c == nil {
			if t.period != 0 {
				return // it was forgotten, or closed, meanwhile
			}
			c = b.remember(t.model)
		}
		c.failures++
		c.touched, c.last = now, v.cannot
		if c.opened > 0 || c.failures >= b.o.Failures {
			b.open(t.model, c, now)
		}
	case c != nil && c.trying && c.tries == t.try:
		c.trying, c.until = false, now
	}
}

// open begins a cool-down.
func (b *Breaker) open(model string, c *circuit, now time.Time) {
	wait := b.o.MaxCoolDown
	if c.opened < 32 { // no shift out of range
		if w := b.o.CoolDown << c.opened; w > 0 {
			wait = min(wait, w)
		}
	}
	c.opened++
	wait += wait / 10 / spreadSteps * time.Duration(spread(model, c.opened))
	wait = min(max(wait, time.Duration(c.last.RetryAfter)), b.o.MaxCoolDown)
	c.trying, c.tries = false, 0
	c.period++
	c.since, c.until = now, now.Add(wait)
}

const spreadSteps = 1024

// spread is a number below spreadSteps that the name and the count give: the same
// on each machine, another for each model.
func spread(model string, n int) int64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(model + " " + strconv.Itoa(n))) // a hash takes all
	return int64(h.Sum64() % spreadSteps)
}

// remember makes a circuit, and forgets another if there are too many: a closed
// one if there is one, and of these that which was heard of least lately.
func (b *Breaker) remember(model string) *circuit {
	if len(b.circuits) >= b.o.Tracked {
		oldest := ""
		for name, c := range b.circuits {
			o := b.circuits[oldest]
			if o == nil || (c.opened == 0) != (o.opened == 0) && c.opened == 0 ||
				(c.opened == 0) == (o.opened == 0) && c.touched.Before(o.touched) {
				oldest = name
			}
		}
		delete(b.circuits, oldest)
	}
	c := &circuit{}
	b.circuits[model] = c
	return c
}
