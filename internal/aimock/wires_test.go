package aimock_test

import (
	"context"
	"iter"
	"net/http"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/internal/aimock"
	"github.com/cairn-run/cairn/model"
	"github.com/cairn-run/cairn/model/modeltest"
)

// always makes every request have one fault.
type always struct {
	fault fault
	next  http.RoundTripper
}

// RoundTrip implements http.RoundTripper.
func (a always) RoundTrip(r *http.Request) (*http.Response, error) {
	if name, value := a.fault.header(); name != "" {
		r = r.Clone(r.Context())
		r.Header.Set(name, value)
	}
	return a.next.RoundTrip(r)
}

// TestFaults: what each fault is on each wire. A cut stream says something first,
// and is no answer.
func TestFaults(t *testing.T) {
	t.Parallel()
	o := order{name: "order-1"}
	server := aimock.Start(t, append(contexts(), o.fixtures()...))
	type outcome struct {
		Code      cairn.Code
		Retryable bool
		NotDone   bool
		After     time.Duration
		Said      bool
	}
	for f, want := range map[fault]outcome{
		none:       {Said: true},
		slow:       {Said: true},
		drop:       {Code: cairn.CodeUnavailable, Retryable: true, NotDone: true},
		limit:      {Code: cairn.CodeRateLimited, Retryable: true, NotDone: true, After: time.Second},
		malformed:  {Code: cairn.CodeCut, Retryable: true},
		disconnect: {Code: cairn.CodeCut, Retryable: true},
		cut:        {Code: cairn.CodeCut, Retryable: true, Said: true},
		hang:       {Code: cairn.CodeTimeout, Retryable: true},
	} {
		next := &http.Transport{}
		t.Cleanup(next.CloseIdleConnections)
		for name, driver := range wires(server.URL, &http.Client{Transport: always{f, next}}) {
			t.Run(string(f)+"/"+name, func(t *testing.T) {
				t.Parallel()
				options := model.GuardOptions{}
				if f == hang {
					options.Stall = 500 * time.Millisecond
				}
				heard := &listener{Driver: model.Guard(driver, options)}
				answer, failed := modeltest.Collect(t.Context(), t, heard, model.Call{Key: "eff_1", Attempt: 1, Request: &cairn.ModelRequest{
					Model: name + "/m", Params: cairn.ModelParams{MaxOutput: 100},
					Messages: []cairn.Message{{Role: cairn.RoleUser, Content: []cairn.Part{cairn.Text("Ship order-1.")}}},
				}})
				got := outcome{Said: heard.said}
				if failed != nil {
					got.Code, got.Retryable, got.NotDone, got.After = failed.Err.Code, failed.Err.Retryable, failed.Err.NotDone, time.Duration(failed.Err.RetryAfter)
				}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("%s: %v", diff, failed)
				}
				if answer != nil {
					if diff := cmp.Diff(usage(0), answer.Usage); diff != "" {
						t.Error(diff)
					}
				}
			})
		}
	}
}

// listener notes whether anything was said.
type listener struct {
	model.Driver
	said bool
}

// Call implements model.Driver.
func (l *listener) Call(ctx context.Context, c model.Call) iter.Seq2[model.Chunk, error] {
	return func(yield func(model.Chunk, error) bool) {
		for chunk, err := range l.Driver.Call(ctx, c) {
			l.said = l.said || chunk.Delta != nil
			if !yield(chunk, err) {
				return
			}
		}
	}
}
