package kernel_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/kernel"
)

func TestRun(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.host.model = says(calls("look", `{"q":1}`, "pay", `{"amount":5}`), text("Paid."))
		n := w.node(kernel.Options{})
		k := w.start("Pay.", true)
		w.until(k, cairn.StatusCompleted)
		want := []string{
			"session.created", "run.started", "message.created", "model.requested",
			"model.completed", "tool_call.requested", "tool_call.requested",
			"tool_call.started", "tool_call.completed", "tool_call.completed", "model.requested",
			"model.completed", "run.ending", "run.completed",
		}
		if diff := cmp.Diff(want, w.types(k)); diff != "" {
			t.Errorf("history (-want +got):\n%s", diff)
		}
		if n.Owned() != 0 {
			t.Errorf("%d sessions are owned after the end", n.Owned())
		}
	})
}

// The results of a step and the intents of the next are one commit: a turn is two,
// or three with a call that must not be repeated.
func TestCommitsOfATurn(t *testing.T) {
	for tool, want := range map[string]int{"look": 2, "pay": 3} {
		t.Run(tool, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				w.host.model = says(calls(tool, `{}`))
				w.node(kernel.Options{})
				k := w.start("Go.", true)
				w.until(k, cairn.StatusCompleted)
				frames := 0
				for _, err := range w.j.Load(context.Background(), k, 0) {
					if err != nil {
						t.Fatal(err)
					}
					frames++
				}
				// The first commit starts the session, and the last call is a turn without tools.
				if got := frames - 2; got != want {
					t.Errorf("a turn with %s is %d commits, not %d", tool, got, want)
				}
			})
		})
	}
}

// Calls of one answer run at once; one that fails and one that panics take
// nothing from the others.
func TestParallelCalls(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.host.model = says(calls("look", `{"q":1}`, "look", `{"q":2}`, "put", `{"q":3}`, "look", `{"q":4}`))
		w.host.tool = func(ctx context.Context, j kernel.Job) cairn.InputData {
			switch string(j.Effect.Tool.Args) {
			case `{"q":2}`:
				panic("a bug of a tool")
			case `{"q":3}`:
				return cairn.ToolOutcome{Error: cairn.Errorf(cairn.CodeToolFailed, "no")}
			}
			select {
			case <-time.After(time.Second):
			case <-ctx.Done():
				return stopped(j.Effect)
			}
			return done("seen")
		}
		w.node(kernel.Options{})
		before := time.Now()
		k := w.start("Look.", true)
		w.until(k, cairn.StatusCompleted)
		if took := time.Since(before); took > 2*time.Second {
			t.Errorf("the calls took %s: they wait for each other", took)
		}
		if got := w.count(k, "tool_call.completed"); got != 2 {
			t.Errorf("%d calls completed, not 2", got)
		}
		var codes []cairn.Code
		for _, e := range w.history(k) {
			if d, ok := e.Data.(cairn.ToolCallFailed); ok {
				codes = append(codes, d.Error.Code)
			}
		}
		if len(codes) != 2 {
			t.Errorf("calls failed with %v", codes)
		}
	})
}

// A panic of whatever performs an effect is a typed outcome, and the session goes on.
func TestPanics(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.use(&cairn.Agent{Name: "a", Model: "script/one"})
		w.host.model = func(context.Context, kernel.Job) cairn.InputData { panic("a bug of a driver") }
		w.node(kernel.Options{})
		k := w.start("Go.", false)
		w.until(k, cairn.StatusIdle)
		w.has(k, "model.failed", "run.failed")

		w.host.model = says(calls("pay", `{}`))
		w.host.tool = func(context.Context, kernel.Job) cairn.InputData { panic("half way") }
		w.say(k, "Again.")
		w.until(k, cairn.StatusWaiting)
		if a := w.ask(k); a.Kind != cairn.AskUnknown {
			t.Errorf("a call that panicked half way opens a %s", a.Kind)
		}
	})
}

// A performer's failure that will pass is tried again when the schedule says.
// Nobody spins meanwhile: time would stand still in the bubble.
func TestRetries(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		tries := 0
		for i := range w.host.tools {
			w.host.tools[i].Retries = 3
		}
		w.host.model = says(calls("look", `{}`))
		w.host.tool = func(ctx context.Context, j kernel.Job) cairn.InputData {
			if tries++; tries < 3 {
				return cairn.ToolOutcome{Error: &cairn.Error{Code: cairn.CodeOverloaded, Message: "busy", Retryable: true}}
			}
			select { // longer than it waited before: the timer is past, and this is under way
			case <-time.After(90 * time.Second):
			case <-ctx.Done():
				return stopped(j.Effect)
			}
			return done("seen")
		}
		n := w.node(kernel.Options{})
		k := w.start("Look.", true)
		w.until(k, cairn.StatusRunning)
		pass(30 * time.Second)
		if tries != 3 || n.Owned() != 1 {
			t.Fatalf("%d attempts, %d owned: the third is not under way", tries, n.Owned())
		}
		w.until(k, cairn.StatusCompleted)
		w.has(k, "tool_call.retried", "tool_call.retried", "tool_call.completed")
	})
}

// While a call is under way that was retried before, other timers still fire.
func TestTimersBesideARetry(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		for i := range w.host.tools {
			w.host.tools[i].Retries = 3
		}
		w.use(&cairn.Agent{Name: "a", Model: "script/one", Limits: cairn.Limits{Wall: cairn.Duration(time.Minute)}})
		w.host.model = says(calls("look", `{}`))
		tries := 0
		w.host.tool = func(ctx context.Context, j kernel.Job) cairn.InputData {
			if tries++; tries == 1 {
				return cairn.ToolOutcome{Error: &cairn.Error{Code: cairn.CodeOverloaded, Message: "busy", Retryable: true}}
			}
			<-ctx.Done()
			return stopped(j.Effect)
		}
		w.node(kernel.Options{})
		before := time.Now()
		k := w.start("Look.", true)
		w.until(k, cairn.StatusFailed)
		if took := time.Since(before); took < time.Minute || took > 61*time.Second {
			t.Errorf("the limit of a minute ended the run after %s", took)
		}
	})
}

// What nobody works on costs nothing: no goroutine, no claim.
func TestIdleCostsNothing(t *testing.T) { // not parallel: it counts the goroutines of the process
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		w.host.model = says(calls("ui", `{}`))
		n := w.node(kernel.Options{})
		first := w.start("Go.", false)
		w.until(first, cairn.StatusWaiting)
		before := runtime.NumGoroutine()
		for range 200 {
			w.start("Go.", false)
		}
		for _, k := range w.sessions {
			w.until(k, cairn.StatusWaiting)
		}
		if n.Owned() != 0 {
			t.Errorf("%d waiting sessions are owned", n.Owned())
		}
		pass(time.Minute)
		if after := runtime.NumGoroutine(); after > before+10 { // the runtime has a few of its own
			t.Errorf("200 waiting sessions cost %d goroutines", after-before)
		}
		w.verify()
	})
}

func TestManySessions(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		const sessions = 2000 // as many goroutines, and twice as many calls
		var under, most atomic.Int64
		w.host.model = says(calls("look", `{}`, "put", `{}`))
		w.host.tool = func(ctx context.Context, j kernel.Job) cairn.InputData {
			n := under.Add(1)
			defer under.Add(-1)
			for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
			}
			select {
			case <-time.After(time.Second):
				return done("ok")
			case <-ctx.Done():
				return stopped(j.Effect)
			}
		}
		for range sessions {
			w.start("Go.", true)
		}
		n := w.node(kernel.Options{})
		pass(10 * time.Second)
		for _, k := range w.sessions {
			w.until(k, cairn.StatusCompleted)
		}
		if most.Load() < sessions {
			t.Errorf("at most %d calls at once", most.Load())
		}
		if n.Owned() != 0 {
			t.Errorf("%d are owned at the end", n.Owned())
		}
	})
}

// At most MaxSessions are owned at once; the others get their turn.
func TestMaxSessions(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.host.model = func(ctx context.Context, j kernel.Job) cairn.InputData {
			select {
			case <-time.After(time.Second):
				a := text("Done.")
				return cairn.ModelOutcome{Answer: &a}
			case <-ctx.Done():
				return stopped(j.Effect)
			}
		}
		for range 50 {
			w.start("Go.", true)
		}
		w.node(kernel.Options{MaxSessions: 4})
		for _, k := range w.sessions {
			w.until(k, cairn.StatusCompleted)
		}
		if w.host.most > 4 {
			t.Errorf("%d calls at once with room for 4 sessions", w.host.most)
		}
	})
}

// A session whose definition nobody has ends in a typed way.
func TestMissingAgent(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.agent = &cairn.Agent{Name: "gone", Model: "script/one"}
		w.node(kernel.Options{})
		k := w.start("Go.", true)
		w.until(k, cairn.StatusFailed)
		for _, e := range w.history(k) {
			if d, ok := e.Data.(cairn.RunFailed); ok && d.Error.Code != cairn.CodeNotFound {
				t.Errorf("the run failed with %s", d.Error.Code)
			}
		}
	})
}

// A definition that cannot be read now is read later.
func TestAgentUnavailable(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		fails := 5
		w.host.agentErr = func() error {
			if fails--; fails >= 0 {
				return errors.New("the disk hums")
			}
			return nil
		}
		w.node(kernel.Options{})
		k := w.start("Go.", true)
		w.until(k, cairn.StatusCompleted)
		w.has(k, "session.created", "model.requested", "run.completed")
	})
}

// More messages than one commit takes are all taken, in order.
func TestLongInbox(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		const messages = 200
		k := w.start("0", false)
		for i := range messages {
			w.say(k, fmt.Sprint(i+1))
		}
		w.node(kernel.Options{})
		w.until(k, cairn.StatusIdle)
		var said []string
		for _, e := range w.history(k) {
			if d, ok := e.Data.(cairn.MessageCreated); ok {
				said = append(said, cairn.TextOf(d.Content))
			}
		}
		if len(said) != messages+1 {
			t.Fatalf("%d messages of %d", len(said), messages+1)
		}
		for i, s := range said {
			if s != fmt.Sprint(i) {
				t.Fatalf("message %d is %s: %s", i, s, strings.Join(said, " "))
			}
		}
	})
}

// The session budget of many sessions of one agent is never overdrawn, and what
// is not spent comes back.
func TestSharedBudget(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		const limit = cairn.Dollar / 2
		w.use(&cairn.Agent{Name: "a", Model: "script/one", Budget: cairn.Budget{Agent: limit, OnBreach: cairn.BreachStop}})
		w.host.model = says(calls("look", `{}`), calls("look", `{}`))
		for range 40 {
			w.start("Go.", true)
		}
		w.node(kernel.Options{})
		var spent cairn.Money
		for _, k := range w.sessions {
			for !w.status(k).Final() {
				pass(time.Second)
			}
			s, err := w.j.Summary(context.Background(), k)
			if err != nil {
				t.Fatal(err)
			}
			spent += s.Cost
		}
		drawn, err := w.j.Budget(context.Background(), tenant, "agent:a")
		if err != nil {
			t.Fatal(err)
		}
		if drawn != spent || drawn > limit {
			t.Errorf("%s are drawn of %s, %s spent", drawn, limit, spent)
		}
	})
}

// A fork goes on by itself from where it left its parent.
func TestFork(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.host.model = says(calls("look", `{}`), text("Seen."), text("Otherwise."))
		w.node(kernel.Options{})
		parent := w.start("Look.", true)
		w.until(parent, cairn.StatusCompleted)
		for f, err := range w.j.Load(context.Background(), parent, 0) { // a fork is cut after a commit
			if err != nil {
				t.Fatal(err)
			}
			fork := w.fork(parent, f.Last())
			synctest.Wait()
			w.say(fork, "And otherwise?")
			w.until(fork, cairn.StatusIdle)
			history := w.history(fork)
			for i, own := range history {
				if own.Seq != cairn.Seq(i+1) {
					t.Fatalf("fork at %d: event %d in place of %d", f.Last(), own.Seq, i+1)
				}
			}
			if own := history[f.Last()]; own.Type() != "session.forked" {
				t.Fatalf("fork at %d: its own history begins with %s", f.Last(), own.Type())
			}
		}
		if got := w.status(parent); got != cairn.StatusCompleted {
			t.Errorf("the parent is %s", got)
		}
	})
}
