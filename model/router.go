package model

import (
	"context"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"

	"github.com/cairn-run/cairn"
)

// Split cuts a model's full name into its provider and the provider's own name
// for it: "ollama/org/x" into "ollama" and "org/x". Without a slash the second
// part is empty.
func Split(full string) (provider, name string) {
	provider, name, _ = strings.Cut(full, "/")
	return provider, name
}

// Router sends a call to the driver that the model's name begins with. It is a
// [Driver] itself, over full names. What it yields keeps to the contract of
// Driver, whatever the driver behind it does: see [Guard].
type Router struct {
	drivers map[string]Driver
}

var _ Driver = (*Router)(nil)

// NewRouter returns a router over drivers by provider. Each is put behind a
// [Guard] with the default options, unless it is behind one already; a [Breaker]
// has to be around one.
func NewRouter(drivers map[string]Driver) *Router {
	r := &Router{drivers: make(map[string]Driver, len(drivers))}
	for provider, d := range drivers {
		switch d.(type) {
		case *guard, *Breaker:
		default:
			d = Guard(d, GuardOptions{})
		}
		r.drivers[provider] = d
	}
	return r
}

// Info says what is known of a model by its full name, "provider/name", which is
// also the name in the answer. CodeNotFound: no such provider, or it knows no
// such model.
func (r *Router) Info(ctx context.Context, full string) (cairn.ModelInfo, error) {
	d, unknown := r.driver(full)
	if unknown != nil {
		return cairn.ModelInfo{}, unknown
	}
	provider, name := Split(full)
	info, err := d.Info(ctx, name)
	if err != nil {
		return cairn.ModelInfo{}, err
	}
	info.Name, info.Provider = full, provider
	return info, nil
}

// Call makes one attempt with the driver of c.Request.Model, a full name. The
// driver gets the request as it is.
func (r *Router) Call(ctx context.Context, c Call) iter.Seq2[Chunk, error] {
	d, unknown := r.driver(c.Request.Model)
	if unknown != nil {
		return func(yield func(Chunk, error) bool) { yield(Chunk{}, &Failure{Err: unknown}) }
	}
	return d.Call(ctx, c)
}

func (r *Router) driver(full string) (Driver, *cairn.Error) {
	provider, name := Split(full)
	d, ok := r.drivers[provider]
	if ok && name != "" {
		return d, nil
	}
	message := fmt.Sprintf("%q is not a model: write provider/name", full)
	if name != "" {
		message = fmt.Sprintf("no model provider is called %q", provider)
	}
	there := "there are none"
	if len(r.drivers) > 0 {
		there = "there is: " + strings.Join(slices.Sorted(maps.Keys(r.drivers)), ", ")
	}
	return nil, &cairn.Error{Code: cairn.CodeNotFound, Message: message + "; " + there, NotDone: true}
}
