package model_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/model"
)

// moods is a driver whose calls end as its function says, by model.
type moods struct {
	model.Driver
	calls atomic.Int64
	mood  func(c model.Call) player
}

func (m *moods) Call(ctx context.Context, c model.Call) iter.Seq2[model.Chunk, error] {
	m.calls.Add(1)
	return m.mood(c).Call(ctx, c)
}

func fails(code cairn.Code) player {
	return player{{err: &model.Failure{Err: &cairn.Error{Code: code, Message: "no", Retryable: true}}}}
}

// attempt makes a call and returns the code it ended with, "" for an answer.
func attempt(ctx context.Context, d model.Driver, name string) *cairn.Error {
	for chunk, err := range d.Call(ctx, model.Call{Request: &cairn.ModelRequest{Model: name}}) {
		if err != nil {
			f, ok := errors.AsType[*model.Failure](err)
			if !ok {
				return &cairn.Error{Code: "not a failure"}
			}
			return f.Err
		}
		if chunk.Answer != nil {
			return nil
		}
	}
	return &cairn.Error{Code: "silent"}
}

func code(e *cairn.Error) cairn.Code {
	if e == nil {
		return ""
	}
	return e.Code
}

// TestBreakerLife follows one circuit: closed, open, half open, open for longer,
// closed.
func TestBreakerLife(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ok := false
		d := &moods{mood: func(model.Call) player {
			if ok {
				return player{{say: "h"}, {answer: hello}}
			}
			return fails(cairn.CodeOverloaded)
		}}
		b := model.NewBreaker(d, model.BreakerOptions{Failures: 3, CoolDown: 10 * time.Second, MaxCoolDown: 30 * time.Second})
		begin := time.Now()
		for i := range 3 {
			if got := code(attempt(t.Context(), b, "p/m")); got != cairn.CodeOverloaded {
				t.Fatalf("call %d: %q", i, got)
			}
			rest(t, time.Second)
		}
		opened := begin.Add(2 * time.Second)
		var lengths []time.Duration
		for i, least := range []time.Duration{10 * time.Second, 20 * time.Second, 30 * time.Second, 30 * time.Second} {
			e := attempt(t.Context(), b, "p/m")
			if code(e) != cairn.CodeCircuitOpen || !e.Retryable || !e.NotDone {
				t.Fatalf("open %d: %+v", i, e)
			}
			for _, want := range []string{"p/m", "3", "overloaded", "no", opened.UTC().Format(time.RFC3339)} {
				if i == 0 && !strings.Contains(e.Message, want) {
					t.Errorf("the message does not say %q: %s", want, e.Message)
				}
			}
			s := b.State()
			if len(s) != 1 || s[0].Circuit != model.CircuitOpen || s[0].Failures != 3+i || s[0].Code != cairn.CodeOverloaded {
				t.Fatalf("open %d: %+v", i, s)
			}
			if got := time.Until(s[0].Until); got != time.Duration(e.RetryAfter) {
				t.Errorf("%s are left, the error says %s", got, e.RetryAfter)
			}
			whole := s[0].Until.Sub(s[0].Since)
			if whole < least || whole > min(least+least/10, 30*time.Second) {
				t.Errorf("cool-down %d takes %s, want %s and up to a tenth", i, whole, least)
			}
			lengths = append(lengths, whole)
			before := d.calls.Load()
			rest(t, time.Duration(e.RetryAfter)-1)
			if got := code(attempt(t.Context(), b, "p/m")); got != cairn.CodeCircuitOpen || d.calls.Load() != before {
				t.Fatalf("a call before the end: %q", got)
			}
			rest(t, 1)
			if s := b.State(); s[0].Circuit != model.CircuitHalfOpen {
				t.Errorf("after the cool-down: %+v", s)
			}
			if got := code(attempt(t.Context(), b, "p/m")); got != cairn.CodeOverloaded || d.calls.Load() != before+1 {
				t.Fatalf("the call after the cool-down: %q", got)
			}
		}
		// The same name and count give the same times.
		twin := model.NewBreaker(d, model.BreakerOptions{Failures: 3, CoolDown: 10 * time.Second, MaxCoolDown: 30 * time.Second})
		for range 3 {
			_ = attempt(t.Context(), twin, "p/m")
		}
		if s := twin.State(); s[0].Until.Sub(s[0].Since) != lengths[0] {
			t.Errorf("the first cool-down took %s, and now %s", lengths[0], s[0].Until.Sub(s[0].Since))
		}
		ok = true
		rest(t, time.Minute)
		if e := attempt(t.Context(), b, "p/m"); e != nil {
			t.Fatal(e)
		}
		if s := b.State(); len(s) != 0 {
			t.Errorf("after an answer: %+v", s)
		}
	})
}

// TestBreakerCounts: which failures open a circuit, and which end a row.
func TestBreakerCounts(t *testing.T) {
	t.Parallel()
	cut := player{{err: &model.Failure{Err: &cairn.Error{Code: cairn.CodeCut, Retryable: true}}}}
	answers := player{{answer: hello}}
	tests := map[string]struct {
		calls []player
		open  bool
	}{
		"overloaded":           {[]player{fails(cairn.CodeOverloaded), fails(cairn.CodeOverloaded)}, true},
		"unavailable, timeout": {[]player{fails(cairn.CodeUnavailable), fails(cairn.CodeTimeout)}, true},
		"cut at once":          {[]player{cut, cut}, true},
		"nothing at all":       {[]player{{}, {}}, true},
		"cut later":            {[]player{append(player{{say: "h"}}, cut...), append(player{{say: "h"}}, cut...)}, false},
		"ends later":           {[]player{{{say: "h"}}, {{say: "h"}}}, false},
		"overloaded later":     {[]player{append(player{{say: "h"}}, fails(cairn.CodeOverloaded)...), fails(cairn.CodeOverloaded)}, true},
		"answer between":       {[]player{fails(cairn.CodeOverloaded), answers, fails(cairn.CodeOverloaded)}, false},
		"refusal between":      {[]player{fails(cairn.CodeOverloaded), fails(cairn.CodeRefused), fails(cairn.CodeOverloaded)}, false},
		"overflow between":     {[]player{fails(cairn.CodeOverloaded), fails(cairn.CodeOverflow), fails(cairn.CodeOverloaded)}, false},
		"limit between":        {[]player{fails(cairn.CodeOverloaded), fails(cairn.CodeRateLimited), fails(cairn.CodeOverloaded)}, true},
		"one":                  {[]player{fails(cairn.CodeOverloaded)}, false},
	}
	for _, c := range []cairn.Code{
		cairn.CodeRateLimited, cairn.CodeAuth, cairn.CodeInvalid, cairn.CodeOverflow, cairn.CodeRefused, cairn.CodeCancelled,
		cairn.CodeInterrupted, cairn.CodeNotFound, cairn.CodeInternal,
	} {
		tests[string(c)] = struct {
			calls []player
			open  bool
		}{[]player{fails(c), fails(c), fails(c)}, false}
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			i := 0
			b := model.NewBreaker(&moods{mood: func(model.Call) player { i++; return test.calls[i-1] }}, model.BreakerOptions{Failures: 2})
			for range test.calls {
				_ = attempt(t.Context(), b, "p/m")
			}
			open := false
			for _, s := range b.State() {
				open = open || s.Circuit == model.CircuitOpen
			}
			if open != test.open {
				t.Errorf("open: %t, want %t: %+v", open, test.open, b.State())
			}
		})
	}
}

// TestBreakerLearnsNothing: a call let through that says neither lets the next one
// through; one that does not end holds it back for a cool-down only.
func TestBreakerLearnsNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		next := fails(cairn.CodeOverloaded)
		d := &moods{mood: func(model.Call) player { return next }}
		b := model.NewBreaker(d, model.BreakerOptions{Failures: 1})
		_ = attempt(t.Context(), b, "p/m")
		rest(t, time.Minute)
		for _, c := range []cairn.Code{cairn.CodeRateLimited, cairn.CodeCancelled, cairn.CodeAuth} {
			next = fails(c)
			if got := code(attempt(t.Context(), b, "p/m")); got != c {
				t.Fatalf("%q, want %q", got, c)
			}
		}
		next = player{{say: "a"}, {say: "b"}, {answer: hello}}
		for _, err := range b.Call(t.Context(), model.Call{Request: &cairn.ModelRequest{Model: "p/m"}}) {
			if err != nil {
				t.Fatal(err)
			}
			break // the reader goes away
		}
		next = player{{wait: time.Hour, say: "a"}, {answer: hello}}
		var slow sync.WaitGroup
		slow.Go(func() {
			if e := attempt(t.Context(), b, "p/m"); e != nil {
				t.Error(e)
			}
		})
		synctest.Wait()
		e := attempt(t.Context(), b, "p/m")
		if code(e) != cairn.CodeCircuitOpen || time.Duration(e.RetryAfter) != model.DefaultCoolDown {
			t.Fatalf("beside the one that tries: %+v", e)
		}
		rest(t, model.DefaultCoolDown)
		next = fails(cairn.CodeUnavailable)
		if got := code(attempt(t.Context(), b, "p/m")); got != cairn.CodeUnavailable {
			t.Fatalf("after a cool-down: %q", got)
		}
		slow.Wait() // its answer is of another period
		if s := b.State(); len(s) != 1 || s[0].Code != cairn.CodeUnavailable {
			t.Errorf("%+v", s)
		}
	})
}

// TestBreakerSlow: answers that take longer than the cool-down close the circuit,
// however many calls wait for it.
func TestBreakerSlow(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		next := fails(cairn.CodeOverloaded)
		d := &moods{mood: func(model.Call) player { return next }}
		b := model.NewBreaker(d, model.BreakerOptions{Failures: 1})
		_ = attempt(t.Context(), b, "p/m")
		next = player{{wait: model.DefaultCoolDown * 3 / 2, say: "h"}, {answer: hello}}
		var all sync.WaitGroup
		for range 180 {
			all.Go(func() { _ = attempt(t.Context(), b, "p/m") })
			rest(t, time.Second)
		}
		if s := b.State(); len(s) != 0 {
			t.Errorf("after minutes of answers: %+v", s)
		}
		all.Wait()
	})
}

// TestBreakerBurst: calls that were under way when the circuit opened do not make
// the cool-down longer, and what the provider asks to wait is waited.
func TestBreakerBurst(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := &moods{mood: func(model.Call) player {
			return player{{wait: time.Second}, {err: &model.Failure{Err: &cairn.Error{
				Code: cairn.CodeOverloaded, Retryable: true, RetryAfter: cairn.Duration(2 * time.Minute),
			}}}}
		}}
		b := model.NewBreaker(d, model.BreakerOptions{})
		var all sync.WaitGroup
		for range 100 {
			all.Go(func() { _ = attempt(t.Context(), b, "p/m") })
		}
		all.Wait()
		s := b.State()
		if len(s) != 1 || s[0].Failures != model.DefaultFailures || s[0].Until.Sub(s[0].Since) != 2*time.Minute {
			t.Errorf("%+v", s)
		}
	})
}

// TestBreakerGuard: behind a guard or before it, silence opens the circuit, and
// the caller's own end does not.
func TestBreakerGuard(t *testing.T) {
	t.Parallel()
	stall := model.GuardOptions{Stall: time.Second}
	silent := &moods{mood: func(model.Call) player { return player{{wait: time.Hour}} }}
	for name, wrap := range map[string]func() (model.Driver, *model.Breaker){
		"inside": func() (model.Driver, *model.Breaker) {
			b := model.NewBreaker(silent, model.BreakerOptions{})
			return model.Guard(b, stall), b
		},
		"outside": func() (model.Driver, *model.Breaker) {
			b := model.NewBreaker(model.Guard(silent, stall), model.BreakerOptions{})
			return b, b
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				d, b := wrap()
				for range 10 {
					ctx, cancel := context.WithTimeoutCause(t.Context(), time.Millisecond, &cairn.Error{Code: cairn.CodeInterrupted})
					if got := code(attempt(ctx, d, "p/m")); got != cairn.CodeInterrupted {
						t.Fatalf("%q", got)
					}
					cancel()
				}
				var got []cairn.Code
				for range 6 {
					got = append(got, code(attempt(t.Context(), d, "p/m")))
				}
				x := cairn.CodeTimeout
				if diff := cmp.Diff([]cairn.Code{x, x, x, x, x, cairn.CodeCircuitOpen}, got); diff != "" {
					t.Error(diff)
				}
				if len(b.State()) != 1 {
					t.Error(b.State())
				}
			})
		})
	}
}

// TestBreakerBounded: models come and go; those whose circuit is open are
// remembered longest.
func TestBreakerBounded(t *testing.T) {
	t.Parallel()
	b := model.NewBreaker(&moods{mood: func(model.Call) player { return fails(cairn.CodeTimeout) }}, model.BreakerOptions{Failures: 2, Tracked: 3})
	_ = attempt(t.Context(), b, "p/open")
	_ = attempt(t.Context(), b, "p/open")
	for i := range 100 {
		_ = attempt(t.Context(), b, fmt.Sprint("p/", i))
	}
	var names []string
	for _, s := range b.State() {
		names = append(names, s.Model+" "+string(s.Circuit))
	}
	if diff := cmp.Diff([]string{"p/98 closed", "p/99 closed", "p/open open"}, names); diff != "" {
		t.Error(diff)
	}
}

// TestBreakerProperty: whatever happens, a circuit that is open makes no call, one
// whose model works makes all, and each model is on its own.
func TestBreakerProperty(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 4).Draw(t, "failures")
		next := cairn.Code("")
		d := &moods{mood: func(model.Call) player {
			if next == "" {
				return player{{answer: hello}}
			}
			return fails(next)
		}}
		b := model.NewBreaker(d, model.BreakerOptions{Failures: n, CoolDown: time.Hour, MaxCoolDown: time.Hour})
		row := map[string]int{}
		for range rapid.IntRange(0, 60).Draw(t, "calls") {
			name := rapid.SampledFrom([]string{"p/a", "p/b", "q/a"}).Draw(t, "model")
			next = rapid.SampledFrom([]cairn.Code{"", cairn.CodeOverloaded, cairn.CodeTimeout, cairn.CodeRateLimited, cairn.CodeRefused}).Draw(t, "mood")
			before := d.calls.Load()
			got := code(attempt(context.Background(), b, name))
			made := d.calls.Load() - before
			if row[name] >= n {
				if got != cairn.CodeCircuitOpen || made != 0 {
					t.Fatalf("%s is open: %q, %d calls", name, got, made)
				}
				continue
			}
			if got != next || made != 1 {
				t.Fatalf("%s is closed: %q, %d calls, want %q", name, got, made, next)
			}
			switch next {
			case "", cairn.CodeRefused:
				row[name] = 0
			case cairn.CodeOverloaded, cairn.CodeTimeout:
				row[name]++
			}
		}
	})
}

// TestBreakerAtOnce lets many calls race; the race detector looks on.
func TestBreakerAtOnce(t *testing.T) {
	t.Parallel()
	d := &moods{mood: func(c model.Call) player {
		if c.Attempt%3 == 0 {
			return player{{answer: hello}}
		}
		return fails(cairn.CodeUnavailable)
	}}
	b := model.NewBreaker(d, model.BreakerOptions{CoolDown: time.Nanosecond, MaxCoolDown: time.Microsecond, Tracked: 2})
	var all sync.WaitGroup
	for g := range 8 {
		all.Go(func() {
			for i := range 500 {
				c := model.Call{Attempt: i, Request: &cairn.ModelRequest{Model: fmt.Sprint("p/", (g+i)%4)}}
				for _, err := range b.Call(t.Context(), c) {
					b.State()
					if _, ok := errors.AsType[*model.Failure](err); err != nil && !ok {
						t.Error(err)
					}
				}
			}
		})
	}
	all.Wait()
	if n := len(b.State()); n > 2 {
		t.Errorf("%d models are remembered", n)
	}
}

// rest lets time go by in a bubble.
func rest(t *testing.T, d time.Duration) {
	t.Helper()
	if err := pause(t.Context(), d); err != nil {
		t.Fatal(err)
	}
}
