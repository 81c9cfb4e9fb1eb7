// Package modeltest is the conformance suite of model drivers: a driver is done
// when it passes.
package modeltest

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/model"
)

// Harness is what the suite needs of a driver: calls that make it do things. The
// models in the requests are full names, "provider/name". A driver to a provider
// answers them from recorded traffic.
type Harness struct {
	// Open returns a driver. It is called once for each test and closes what it
	// opened with t.Cleanup.
	Open func(t *testing.T) model.Driver
	// Text is answered with text, in more than one delta.
	Text model.Call
	// Calls is answered with at least two tool calls.
	Calls model.Call
	// Slow is answered with a delta, and then with nothing for longer than any test takes.
	Slow model.Call
	// Failing are calls that fail.
	Failing []Failing
	// Unknown is the name, without provider, of a model that does not exist; empty:
	// the driver cannot know.
	Unknown string
}

// Failing is a call that fails, and how.
type Failing struct {
	Name      string
	Call      model.Call
	Code      cairn.Code
	Retryable bool
	NotDone   bool
}

// Run checks a driver. It looks for goroutines that are left over, so the test
// that calls it must not be parallel.
func Run(t *testing.T, h Harness) {
	t.Helper()
	tests := []struct {
		name string
		run  func(*testing.T, *Harness, model.Driver)
	}{
		{"info", info},
		{"text", text},
		{"calls", calls},
		{"at once", atOnce},
		{"stop reading", stopReading},
		{"cancel", cancelled},
		{"cancelled before", cancelledBefore},
		{"failing", failing},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			before := goleak.IgnoreCurrent()
			t.Cleanup(func() { goleak.VerifyNone(t, before) }) // after the driver's own
			test.run(t, &h, h.Open(t))
		})
	}
}

func info(t *testing.T, h *Harness, d model.Driver) {
	_, name := model.Split(h.Text.Request.Model)
	got, err := d.Info(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	if got.Name != name || got.Provider == "" {
		t.Errorf("info of %q has the name %q and the provider %q", name, got.Name, got.Provider)
	}
	if min(got.Window, got.MaxOutput) < 0 {
		t.Errorf("negative: %+v", got)
	}
	for _, p := range got.Prices {
		for _, r := range append([]cairn.Above{{Rates: p.Rates}}, p.Above...) {
			r := r.Rates
			if min(r.Input, r.Output, r.CacheRead, r.CacheWrite5m, r.CacheWrite1h, r.InputAudio, r.OutputAudio, r.Searches) < 0 {
				t.Errorf("negative: %+v", got)
			}
		}
	}
	if h.Unknown != "" {
		if _, err := d.Info(t.Context(), h.Unknown); cairn.CodeOf(err) != cairn.CodeNotFound {
			t.Errorf("info of a model that does not exist: %v, want not_found", err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := d.Info(ctx, name); err == nil {
		t.Log("info needs no context") // a table in memory: nothing to stop
	}
}

// Collect makes a call to its end, and checks what every stream has to keep to.
// It returns the answer or the failure.
func Collect(ctx context.Context, t testing.TB, d model.Driver, c model.Call) (*cairn.ModelAnswer, *model.Failure) {
	t.Helper()
	before := marshal(t, c.Request)
	var (
		answer *cairn.ModelAnswer
		failed *model.Failure
		said   = map[int]*cairn.Delta{}
	)
	for chunk, err := range d.Call(ctx, c) {
		switch {
		case answer != nil:
			t.Error("something follows the answer")
		case failed != nil:
			t.Error("something follows the error")
		case err != nil:
			f, ok := errors.AsType[*model.Failure](err)
			if !ok || f.Err == nil || f.Err.Code == "" {
				t.Fatalf("the error is a %T without a code, want a *model.Failure: %v", err, err)
			}
			if chunk.Delta != nil || chunk.Answer != nil {
				t.Error("a chunk came with an error")
			}
			failed = f
		case chunk.Delta != nil && chunk.Answer == nil:
			hear(t, said, chunk.Delta)
		case chunk.Answer != nil && chunk.Delta == nil:
			answer = chunk.Answer
		case chunk.Delta != nil:
			t.Error("a chunk is both a delta and the answer")
		}
	}
	if answer == nil && failed == nil {
		t.Fatal("the stream ended with neither an answer nor an error")
	}
	if answer != nil {
		checkAnswer(t, answer)
		checkSaid(t, said, answer)
	}
	if failed != nil {
		checkUsage(t, failed.Usage, failed.RawUsage)
	}
	if diff := cmp.Diff(before, marshal(t, c.Request)); diff != "" {
		t.Errorf("the request was changed: %s", diff)
	}
	return answer, failed
}

func marshal(t testing.TB, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// hear adds a delta to what was said of its part.
func hear(t testing.TB, said map[int]*cairn.Delta, d *cairn.Delta) {
	t.Helper()
	switch d.Kind {
	case cairn.PartText, cairn.PartReasoning:
	case cairn.PartToolCall:
		if d.CallID == "" || d.Tool == "" {
			t.Errorf("the delta of a call has the id %q and the tool %q", d.CallID, d.Tool)
		}
	default:
		t.Errorf("a delta of kind %q", d.Kind)
	}
	p := said[d.Index]
	if p == nil {
		c := *d
		said[d.Index] = &c
		return
	}
	if p.Kind != d.Kind || p.CallID != d.CallID || p.Tool != d.Tool {
		t.Errorf("part %d is %s %s %s and then %s %s %s", d.Index, p.Kind, p.Tool, p.CallID, d.Kind, d.Tool, d.CallID)
	}
	p.Text += d.Text
}

func checkAnswer(t testing.TB, a *cairn.ModelAnswer) {
	t.Helper()
	if a.Model == "" {
		t.Error("the answer does not say which model made it")
	}
	ids := map[string]bool{}
	for i, p := range a.Content {
		switch p.Kind {
		case cairn.PartToolCall:
			if p.Tool == "" || p.CallID == "" || ids[p.CallID] {
				t.Errorf("part %d calls %q with the id %q, which is missing or not the only one", i, p.Tool, p.CallID)
			}
			ids[p.CallID] = true
		case cairn.PartOpaque:
			if p.Provider == "" || !json.Valid(p.Opaque) {
				t.Errorf("part %d: an opaque block of %q that is not JSON or nobody's", i, p.Provider)
			}
		case cairn.PartReasoning:
			if p.Provider == "" {
				t.Errorf("part %d: reasoning of no provider", i)
			}
		case cairn.PartText, cairn.PartImage, cairn.PartFile:
		default:
			t.Errorf("part %d is a %s", i, p.Kind)
		}
	}
	switch a.Stop {
	case cairn.StopEnd, cairn.StopToolUse, cairn.StopMaxOutput, cairn.StopRefusal, cairn.StopSequence:
	default:
		t.Errorf("the reason to stop is %q", a.Stop)
	}
	if a.Stop == cairn.StopToolUse && len(ids) == 0 {
		t.Error("it stopped for tools but calls none")
	}
	if len(a.RawUsage) == 0 {
		t.Error("the provider's own account of usage is missing")
	}
	checkUsage(t, &a.Usage, a.RawUsage)
}

// checkUsage looks for buckets that cannot be disjoint.
func checkUsage(t testing.TB, u *cairn.Usage, raw json.RawMessage) {
	t.Helper()
	if len(raw) > 0 && !json.Valid(raw) {
		t.Errorf("the raw usage is not JSON: %s", raw)
	}
	if u == nil {
		return
	}
	if min(u.Input, u.CacheRead, u.CacheWrite5m, u.CacheWrite1h, u.Output, u.Reasoning) < 0 || u.Reasoning > u.Output {
		t.Errorf("usage %+v: negative, or more reasoning than output", *u)
	}
}

// checkSaid compares what was streamed with the answer.
func checkSaid(t testing.TB, said map[int]*cairn.Delta, a *cairn.ModelAnswer) {
	t.Helper()
	for i, p := range a.Content {
		want := cairn.Delta{Kind: p.Kind, Index: i, Text: p.Text, CallID: p.CallID, Tool: p.Tool}
		switch p.Kind {
		case cairn.PartToolCall:
			want.Text = p.Args
		case cairn.PartText, cairn.PartReasoning:
		default:
			continue
		}
		got, ok := said[i]
		delete(said, i)
		if !ok {
			if want.Text != "" {
				t.Errorf("part %d was not streamed", i)
			}
			continue
		}
		if diff := cmp.Diff(want, *got); diff != "" {
			t.Errorf("part %d is not what was streamed (-answer +stream): %s", i, diff)
		}
	}
	for i := range said {
		t.Errorf("part %d was streamed but is not in the answer", i)
	}
}

func mustAnswer(t testing.TB, d model.Driver, c model.Call) *cairn.ModelAnswer {
	t.Helper()
	a, f := Collect(t.Context(), t, d, c)
	if f != nil {
		t.Fatal(f)
	}
	return a
}

func text(t *testing.T, h *Harness, d model.Driver) {
	if a := mustAnswer(t, d, h.Text); cairn.TextOf(a.Content) == "" {
		t.Error("the answer has no text")
	}
	deltas := 0
	for chunk, err := range d.Call(t.Context(), h.Text) {
		if err != nil {
			t.Fatal(err)
		}
		if chunk.Delta != nil {
			deltas++
		}
	}
	if deltas < 2 {
		t.Errorf("%d deltas: the answer was not streamed", deltas)
	}
}

func calls(t *testing.T, h *Harness, d model.Driver) {
	n := 0
	a := mustAnswer(t, d, h.Calls)
	for _, p := range a.Content {
		if p.Kind == cairn.PartToolCall {
			n++
		}
	}
	if n < 2 || a.Stop != cairn.StopToolUse {
		t.Errorf("%d calls and the reason %q to stop, want at least two calls and tool_use", n, a.Stop)
	}
}

func atOnce(t *testing.T, h *Harness, d model.Driver) {
	want := mustAnswer(t, d, h.Text)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			var got *cairn.ModelAnswer
			for chunk, err := range d.Call(t.Context(), h.Text) {
				if err != nil {
					t.Error(err)
				}
				got = chunk.Answer
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("the same call gave another answer: %s", diff)
			}
		})
	}
	wg.Wait()
}

func stopReading(t *testing.T, h *Harness, d model.Driver) {
	for _, err := range d.Call(t.Context(), h.Slow) {
		if err != nil {
			t.Error(err)
		}
		break // returns, or the test does not end
	}
}

func cancelled(t *testing.T, h *Harness, d model.Driver) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var last error
	for chunk, err := range d.Call(ctx, h.Slow) {
		if chunk.Answer != nil {
			t.Fatal("an answer came")
		}
		cancel() // at the first delta: ends the stream, or the test does not end
		last = err
	}
	checkCancelled(t, last)
}

func cancelledBefore(t *testing.T, h *Harness, d model.Driver) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var last error
	for chunk, err := range d.Call(ctx, h.Text) {
		if chunk.Answer != nil {
			t.Fatal("an answer came")
		}
		last = err
	}
	checkCancelled(t, last)
}

func checkCancelled(t *testing.T, err error) {
	t.Helper()
	if _, ok := errors.AsType[*model.Failure](err); !ok || cairn.CodeOf(err) != cairn.CodeCancelled {
		t.Errorf("a cancelled call ended with %v, want a *model.Failure with the code cancelled", err)
	}
}

func failing(t *testing.T, h *Harness, d model.Driver) {
	for _, f := range h.Failing {
		t.Run(f.Name, func(t *testing.T) {
			answer, failed := Collect(t.Context(), t, d, f.Call)
			if answer != nil {
				t.Fatal("an answer came")
			}
			want := cairn.Error{Code: f.Code, Retryable: f.Retryable, NotDone: f.NotDone}
			got := cairn.Error{Code: failed.Err.Code, Retryable: failed.Err.Retryable, NotDone: failed.Err.NotDone}
			if got != want {
				t.Errorf("failed with %s (retryable %t, not done %t), want %s (%t, %t): %v",
					got.Code, got.Retryable, got.NotDone, want.Code, want.Retryable, want.NotDone, failed)
			}
			if failed.Err.Message == "" {
				t.Error("the error has no message")
			}
			if failed.Err.NotDone && failed.Usage != nil && failed.Usage.Total() > 0 {
				t.Error("nothing was bought, and yet there is usage")
			}
		})
	}
}
