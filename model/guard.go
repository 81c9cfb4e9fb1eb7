package model

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/cairn-run/cairn"
)

// Defaults of [GuardOptions].
const (
	// DefaultFirst is long enough for a model that reasons in silence, for an answer
	// that comes in one piece, and for a long prompt on a local model without a GPU;
	// Anthropic's own SDK waits as long
	// (https://github.com/anthropics/anthropic-sdk-go/blob/main/client.go). Who gives
	// up such a call sooner pays for it, and asks for the same again.
	DefaultFirst = 10 * time.Minute
	DefaultStall = 2 * time.Minute
	DefaultTotal = 30 * time.Minute
	// DefaultInfo bounds one Info.
	DefaultInfo = 30 * time.Second
)

// GuardOptions bound an attempt. The zero value takes the defaults.
type GuardOptions struct {
	// First is how long to wait for the first chunk; default [DefaultFirst], or Stall
	// if that is given.
	First time.Duration
	// Stall is how long to wait for the next chunk; default [DefaultStall].
	Stall time.Duration
	// Total is how long the attempt may take, without the time its reader takes;
	// default [DefaultTotal].
	Total time.Duration
	// Info is how long a question about a model may take; default [DefaultInfo].
	Info time.Duration
}

// guard keeps a driver to its contract.
type guard struct {
	driver Driver
	o      GuardOptions
}

// Guard wraps a driver so that its calls end in one of two ways: with an answer,
// or with a *[Failure] that has a typed error.
//
//   - A driver that says nothing for too long is stopped: CodeTimeout, retryable.
//   - One that ends without an answer gave a cut stream: CodeCut, retryable.
//   - One that was cancelled gives CodeCancelled, or the *[cairn.Error] that is the
//     cause of the context.
//   - Any other error is typed by [AsFailure].
//
// A driver has to return when its context ends; the guard waits until it does.
func Guard(d Driver, o GuardOptions) Driver {
	if o.First <= 0 {
		o.First = o.Stall
	}
	if o.First <= 0 {
		o.First = DefaultFirst
	}
	if o.Stall <= 0 {
		o.Stall = DefaultStall
	}
	if o.Total <= 0 {
		o.Total = DefaultTotal
	}
	if o.Info <= 0 {
		o.Info = DefaultInfo
	}
	return &guard{d, o}
}

// Info asks the driver, within the time there is.
func (g *guard) Info(ctx context.Context, name string) (cairn.ModelInfo, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, g.o.Info, &cairn.Error{
		Code: cairn.CodeTimeout, Retryable: true, NotDone: true,
		Message: fmt.Sprintf("nothing was said of model %q within %s", name, g.o.Info),
	})
	defer cancel()
	info, err := g.driver.Info(ctx, name)
	if err != nil {
		return cairn.ModelInfo{}, failure(ctx, err).Err
	}
	return info, nil
}

// Call makes one attempt.
func (g *guard) Call(ctx context.Context, c Call) iter.Seq2[Chunk, error] {
	return func(yield func(Chunk, error) bool) {
		ctx, cancel := context.WithCancelCause(ctx)
		defer cancel(nil)
		w := watch{left: g.o.Total, cancel: cancel}
		w.start(g.o.First)
		defer w.stop()
		for chunk, err := range g.driver.Call(ctx, c) {
			w.stop() // what the reader does is not the provider's time
			switch {
			case err != nil:
				yield(Chunk{}, failure(ctx, err))
				return
			case chunk.Answer != nil:
				// An answer counts even if time ran out with it: it was paid for.
				if f := unfit(chunk.Answer); f != nil {
					yield(Chunk{}, f)
					return
				}
				yield(Chunk{Answer: chunk.Answer}, nil)
				return
			case chunk.Delta != nil:
				if !yield(Chunk{Delta: chunk.Delta}, nil) {
					return
				}
			}
			w.start(g.o.Stall)
		}
		yield(Chunk{}, failure(ctx, errCut))
	}
}

var errCut = &cairn.Error{
	Code: cairn.CodeCut, Retryable: true, Message: "the answer broke off before it was complete",
}

// watch cancels an attempt that takes too long. Only the goroutine of the call
// uses it.
type watch struct {
	left   time.Duration
	cancel context.CancelCauseFunc
	timer  *time.Timer
	since  time.Time
}

func (w *watch) start(wait time.Duration) {
	why := fmt.Sprintf("the model said nothing for %s", wait)
	if w.left < wait {
		wait, why = w.left, "the model took longer than a call may take"
	}
	w.since = time.Now()
	w.timer = time.AfterFunc(max(wait, 0), func() {
		w.cancel(&cairn.Error{Code: cairn.CodeTimeout, Retryable: true, Message: why})
	})
}

func (w *watch) stop() {
	if w.timer.Stop() {
		w.left -= time.Since(w.since)
	}
}

// failure types the error of a call whose context is ctx.
func failure(ctx context.Context, err error) *Failure {
	f := AsFailure(err)
	if ctx.Err() == nil {
		return f
	}
	ended := errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
	switch f.Err.Code {
	case cairn.CodeCancelled, cairn.CodeInterrupted, cairn.CodeTimeout, cairn.CodeCut, cairn.CodeInternal, cairn.CodeUnavailable:
		ended = true // a body that was closed looks like many things
	}
	if !ended {
		return f // the provider's own last word
	}
	// What is known of the usage stays; the reason is why the context ended.
	cause := context.Cause(ctx)
	e, ok := errors.AsType[*cairn.Error](cause)
	switch {
	case ok:
	case errors.Is(cause, context.DeadlineExceeded):
		e = &cairn.Error{Code: cairn.CodeTimeout, Retryable: true, Message: "the model call ran out of time", Err: cause}
	default:
		e = &cairn.Error{Code: cairn.CodeCancelled, Message: "the model call was stopped", Err: cause}
	}
	if f.Err.NotDone && !e.NotDone {
		known := *e
		known.NotDone = true
		e = &known
	}
	return &Failure{Err: e, Usage: f.Usage, RawUsage: f.RawUsage}
}

// unfit says why an answer could not be recorded: a block that is no JSON would
// make its event unreadable. The provider billed it, so its usage goes with it.
func unfit(a *cairn.ModelAnswer) *Failure {
	bad := func(what string) *Failure {
		f := &Failure{
			Err:   &cairn.Error{Code: cairn.CodeInternal, Message: "the driver gave an answer whose " + what + " is not JSON"},
			Usage: &a.Usage, RawUsage: a.RawUsage,
		}
		if !json.Valid(f.RawUsage) {
			f.RawUsage = nil
		}
		return f
	}
	if len(a.RawUsage) > 0 && !json.Valid(a.RawUsage) {
		return bad("usage")
	}
	for _, p := range a.Content {
		if len(p.Opaque) > 0 && !json.Valid(p.Opaque) {
			return bad("opaque block")
		}
	}
	return nil
}
