package model_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net"
	"net/url"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/model"
)

// step is something a driver does: say, wait, fail or answer.
type step struct {
	say    string
	wait   time.Duration
	err    error
	answer *cairn.ModelAnswer
}

// player is a driver that does one thing after the other, whether that keeps to
// the contract or not.
type player []step

func (p player) Info(ctx context.Context, name string) (cairn.ModelInfo, error) {
	for _, s := range p {
		if s.err != nil {
			return cairn.ModelInfo{}, s.err
		}
		if err := pause(ctx, s.wait); err != nil {
			return cairn.ModelInfo{}, err
		}
	}
	return cairn.ModelInfo{Name: name, Provider: "player"}, nil
}

func (p player) Call(ctx context.Context, _ model.Call) iter.Seq2[model.Chunk, error] {
	return func(yield func(model.Chunk, error) bool) {
		for _, s := range p {
			if err := pause(ctx, s.wait); err != nil {
				yield(model.Chunk{}, err)
				return
			}
			c := model.Chunk{Answer: s.answer}
			if s.say != "" {
				c.Delta = &cairn.Delta{Kind: cairn.PartText, Text: s.say}
			}
			if !yield(c, s.err) {
				return
			}
		}
	}
}

func pause(ctx context.Context, d time.Duration) error {
	if d == 0 {
		return nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return fmt.Errorf("read body: %w", ctx.Err())
	case <-timer.C:
		return nil
	}
}

var hello = &cairn.ModelAnswer{Model: "m", Content: []cairn.Part{cairn.Text("hello")}, Stop: cairn.StopEnd}

// outcome is what a caller sees of a call.
type outcome struct {
	Said     string
	Answered bool
	Code     cairn.Code
	Retry    bool
	NotDone  bool
	Used     int64 // tokens a failure reported; -1: none
}

func observe(ctx context.Context, t *testing.T, d model.Driver) outcome {
	t.Helper()
	o := outcome{Used: -1}
	for chunk, err := range d.Call(ctx, model.Call{Attempt: 1, Request: &cairn.ModelRequest{Model: "p/m"}}) {
		if o.Answered || o.Code != "" {
			t.Error("something follows the end")
		}
		if err != nil {
			var f *model.Failure
			if !errors.As(err, &f) {
				t.Fatalf("a %T", err)
			}
			o.Code, o.Retry, o.NotDone = f.Err.Code, f.Err.Retryable, f.Err.NotDone
			if f.Usage != nil {
				o.Used = f.Usage.Total()
			}
		}
		if chunk.Delta != nil {
			o.Said += chunk.Delta.Text
		}
		if chunk.Answer != nil {
			o.Answered = true
		}
	}
	return o
}

func TestGuard(t *testing.T) {
	t.Parallel()
	used := &cairn.Usage{Input: 7}
	tests := map[string]struct {
		steps player
		want  outcome
	}{
		"answer":           {player{{say: "hel"}, {say: "lo"}, {answer: hello}}, outcome{Said: "hello", Answered: true, Used: -1}},
		"late answer":      {player{{wait: 9 * time.Second, say: "h"}, {wait: 9 * time.Second, answer: hello}}, outcome{Said: "h", Answered: true, Used: -1}},
		"after the answer": {player{{answer: hello}, {say: "more"}, {err: io.EOF}}, outcome{Answered: true, Used: -1}},
		"empty chunks":     {player{{}, {answer: hello}}, outcome{Answered: true, Used: -1}},
		"cut":              {player{{say: "hel"}}, outcome{Said: "hel", Code: cairn.CodeCut, Retry: true, Used: -1}},
		"nothing at all":   {nil, outcome{Code: cairn.CodeCut, Retry: true, Used: -1}},
		"stall at first":   {player{{wait: time.Hour}}, outcome{Code: cairn.CodeTimeout, Retry: true, Used: -1}},
		"stall later":      {player{{say: "h"}, {wait: time.Hour}}, outcome{Said: "h", Code: cairn.CodeTimeout, Retry: true, Used: -1}},
		"dripping": {
			player{{say: "a"}, {wait: 9 * time.Second, say: "b"}, {wait: 9 * time.Second, say: "c"}, {wait: 9 * time.Second, say: "d"}, {wait: 9 * time.Second, say: "e"}},
			outcome{Said: "abcd", Code: cairn.CodeTimeout, Retry: true, Used: -1},
		},
		"typed": {
			player{{err: &model.Failure{Err: &cairn.Error{Code: cairn.CodeRefused}, Usage: used}}},
			outcome{Code: cairn.CodeRefused, Used: 7},
		},
		"wrapped":      {player{{err: fmt.Errorf("x: %w", &cairn.Error{Code: cairn.CodeAuth})}}, outcome{Code: cairn.CodeAuth, Used: -1}},
		"no error":     {player{{err: &model.Failure{Usage: used}}}, outcome{Code: cairn.CodeInternal, Used: 7}},
		"untyped":      {player{{err: errors.New("boom")}}, outcome{Code: cairn.CodeInternal, Used: -1}},
		"broken":       {player{{err: fmt.Errorf("read: %w", syscall.ECONNRESET)}}, outcome{Code: cairn.CodeCut, Retry: true, Used: -1}},
		"end of file":  {player{{err: io.ErrUnexpectedEOF}}, outcome{Code: cairn.CodeCut, Retry: true, Used: -1}},
		"own deadline": {player{{err: context.DeadlineExceeded}}, outcome{Code: cairn.CodeTimeout, Retry: true, Used: -1}},
		"refused": {
			player{{err: &url.Error{Op: "Post", URL: "http://x", Err: &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}}}},
			outcome{Code: cairn.CodeUnavailable, Retry: true, NotDone: true, Used: -1},
		},
		"no name":      {player{{err: &net.DNSError{Err: "no such host"}}}, outcome{Code: cairn.CodeUnavailable, Retry: true, NotDone: true, Used: -1}},
		"read refused": {player{{err: &net.OpError{Op: "read", Err: syscall.EIO}}}, outcome{Code: cairn.CodeUnavailable, Retry: true, Used: -1}},
		"usage is not JSON": {
			player{{answer: &cairn.ModelAnswer{RawUsage: json.RawMessage("{"), Usage: *used}}},
			outcome{Code: cairn.CodeInternal, Used: 7},
		},
		"opaque is not JSON": {
			player{{answer: &cairn.ModelAnswer{Content: []cairn.Part{{Kind: cairn.PartOpaque, Opaque: json.RawMessage("x")}}, Usage: *used}}},
			outcome{Code: cairn.CodeInternal, Used: 7},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				d := model.Guard(test.steps, model.GuardOptions{Stall: 10 * time.Second, Total: 30 * time.Second})
				if diff := cmp.Diff(test.want, observe(t.Context(), t, d)); diff != "" {
					t.Error(diff)
				}
			})
		})
	}
}

// TestGuardDefaults: a model may think for minutes before it says anything, and not
// in the midst of an answer.
func TestGuardDefaults(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		steps player
		want  outcome
	}{
		"thinks first": {player{{wait: 9 * time.Minute, say: "a"}, {answer: hello}}, outcome{Said: "a", Answered: true, Used: -1}},
		"all at once":  {player{{wait: 9 * time.Minute, answer: hello}}, outcome{Answered: true, Used: -1}},
		"never begins": {player{{wait: 11 * time.Minute, say: "a"}, {answer: hello}}, outcome{Code: cairn.CodeTimeout, Retry: true, Used: -1}},
		"stalls": {
			player{{say: "a"}, {wait: 3 * time.Minute, say: "b"}, {answer: hello}},
			outcome{Said: "a", Code: cairn.CodeTimeout, Retry: true, Used: -1},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				if diff := cmp.Diff(test.want, observe(t.Context(), t, model.Guard(test.steps, model.GuardOptions{}))); diff != "" {
					t.Error(diff)
				}
			})
		})
	}
}

// TestGuardEnds ends the context from outside: why it ended is what the failure says.
func TestGuardEnds(t *testing.T) {
	t.Parallel()
	interrupted := &cairn.Error{Code: cairn.CodeInterrupted, Message: "a message came"}
	tests := map[string]struct {
		steps player
		end   func(context.CancelCauseFunc)
		want  outcome
	}{
		"cancel": {
			player{{say: "a"}, {wait: time.Hour}},
			func(cancel context.CancelCauseFunc) { cancel(nil) },
			outcome{Said: "a", Code: cairn.CodeCancelled, Used: -1},
		},
		"cause": {
			player{{say: "a"}, {wait: time.Hour}},
			func(cancel context.CancelCauseFunc) { cancel(interrupted) },
			outcome{Said: "a", Code: cairn.CodeInterrupted, Used: -1},
		},
		"an answer still counts": {
			player{{say: "a"}, {answer: hello}},
			func(cancel context.CancelCauseFunc) { cancel(nil) },
			outcome{Said: "a", Answered: true, Used: -1},
		},
		"the provider has the last word": {
			player{{say: "a"}, {err: &model.Failure{Err: &cairn.Error{Code: cairn.CodeRefused}, Usage: &cairn.Usage{Output: 2}}}},
			func(cancel context.CancelCauseFunc) { cancel(nil) },
			outcome{Said: "a", Code: cairn.CodeRefused, Used: 2},
		},
		"usage stays": {
			player{{say: "a"}, {err: &model.Failure{Err: &cairn.Error{Code: cairn.CodeCut, Retryable: true}, Usage: &cairn.Usage{Output: 2}}}},
			func(cancel context.CancelCauseFunc) { cancel(interrupted) },
			outcome{Said: "a", Code: cairn.CodeInterrupted, Used: 2},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithCancelCause(t.Context())
			defer cancel(nil)
			d := model.Guard(test.steps, model.GuardOptions{})
			got := observe(ctx, t, ender{d, func() { test.end(cancel) }})
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// ender calls end after the first delta.
type ender struct {
	model.Driver
	end func()
}

func (e ender) Call(ctx context.Context, c model.Call) iter.Seq2[model.Chunk, error] {
	return func(yield func(model.Chunk, error) bool) {
		for chunk, err := range e.Driver.Call(ctx, c) {
			if !yield(chunk, err) {
				return
			}
			if chunk.Delta != nil {
				e.end()
			}
		}
	}
}

// TestGuardReader: the time its reader takes is not the provider's.
func TestGuardReader(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := model.Guard(player{{say: "a"}, {say: "b"}, {answer: hello}}, model.GuardOptions{Stall: time.Second, Total: 2 * time.Second})
		answered := false
		for chunk, err := range d.Call(t.Context(), model.Call{Request: &cairn.ModelRequest{}}) {
			if err != nil {
				t.Fatal(err)
			}
			answered = chunk.Answer != nil
			if err := pause(t.Context(), time.Hour); err != nil {
				t.Fatal(err)
			}
		}
		if !answered {
			t.Error("no answer")
		}
	})
}

func TestGuardInfo(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		for name, test := range map[string]struct {
			steps player
			want  cairn.Code
		}{
			"known": {nil, ""},
			"slow":  {player{{wait: time.Hour}}, cairn.CodeTimeout},
			"typed": {player{{err: &cairn.Error{Code: cairn.CodeNotFound}}}, cairn.CodeNotFound},
			"boom":  {player{{err: errors.New("boom")}}, cairn.CodeInternal},
		} {
			_, err := model.Guard(test.steps, model.GuardOptions{}).Info(t.Context(), "m")
			if got := cairn.CodeOf(err); got != test.want {
				t.Errorf("%s: %q, want %q", name, got, test.want)
			}
		}
	})
}

func TestRouter(t *testing.T) {
	t.Parallel()
	r := model.NewRouter(map[string]model.Driver{
		"a": player{{say: "a"}, {answer: hello}},
		"b": model.Guard(player{{say: "b"}}, model.GuardOptions{}),
	})
	info, err := r.Info(t.Context(), "a/org/x")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(cairn.ModelInfo{Name: "a/org/x", Provider: "a"}, info); diff != "" {
		t.Error(diff)
	}
	for full, want := range map[string]struct {
		said string
		code cairn.Code
	}{
		"a/x": {"a", ""}, "b/x": {"b", cairn.CodeCut},
		"c/x": {"", cairn.CodeNotFound}, "a": {"", cairn.CodeNotFound}, "a/": {"", cairn.CodeNotFound}, "": {"", cairn.CodeNotFound},
	} {
		said, code := "", cairn.Code("")
		for chunk, err := range r.Call(t.Context(), model.Call{Request: &cairn.ModelRequest{Model: full}}) {
			code = cairn.CodeOf(err)
			if chunk.Delta != nil {
				said += chunk.Delta.Text
			}
		}
		if said != want.said || code != want.code {
			t.Errorf("%q: said %q and failed with %q, want %q and %q", full, said, code, want.said, want.code)
		}
	}
	_, err = r.Info(t.Context(), "c/x")
	want := &cairn.Error{Code: cairn.CodeNotFound, Message: `no model provider is called "c"; there is: a, b`, NotDone: true}
	if diff := cmp.Diff(error(want), err, cmpopts.EquateEmpty()); diff != "" {
		t.Error(diff)
	}
	_, err = model.NewRouter(nil).Info(t.Context(), "x")
	want = &cairn.Error{Code: cairn.CodeNotFound, Message: `"x" is not a model: write provider/name; there are none`, NotDone: true}
	if diff := cmp.Diff(error(want), err); diff != "" {
		t.Error(diff)
	}
}
