// Package model is the port to language models: a request goes in, one streamed
// answer comes out, with its usage and its errors as types. Drivers live in
// sub-packages; [Router] picks one by the part of a model's name before the slash.
package model

import (
	"context"
	"encoding/json"
	"iter"

	"github.com/cairn-run/cairn"
)

// Driver talks to one provider.
type Driver interface {
	// Info says what is known of a model, by the part of its name after the slash.
	Info(ctx context.Context, name string) (cairn.ModelInfo, error)
	// Call makes one attempt. It yields deltas and at the end one chunk with the
	// answer; an error ends it and is a *[Failure]. An answer is only yielded when
	// the provider said that it is complete.
	Call(ctx context.Context, c Call) iter.Seq2[Chunk, error]
}

// Lister is a [Driver] that can say which models its provider has now.
type Lister interface {
	// List asks the provider. What it says of windows is filled in; prices are not
	// its business. It ends within a few seconds, or with an error.
	List(ctx context.Context) ([]cairn.ModelInfo, error)
}

// Call is one attempt at a model call.
type Call struct {
	// Key is the effect's id, the same for all attempts. No driver sends it: net/http
	// repeats a POST by itself that has an Idempotency-Key, and each is paid for.
	Key     cairn.EffectID
	Session cairn.SessionKey
	Attempt int
	Request *cairn.ModelRequest
}

// Chunk is a piece of a stream: a delta, or at its end the answer. One with
// neither says that the model is at work.
type Chunk struct {
	Delta  *cairn.Delta
	Answer *cairn.ModelAnswer
}

// Failure is an attempt that gave no answer, with what it is known to have used.
type Failure struct {
	Err      *cairn.Error
	Usage    *cairn.Usage // nil: not reported
	RawUsage json.RawMessage
}

// Error implements error.
func (f *Failure) Error() string { return f.Err.Error() }

// Unwrap returns the typed error.
func (f *Failure) Unwrap() error { return f.Err }
