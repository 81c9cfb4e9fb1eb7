package kernel_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/journal"
	"github.com/cairn-run/cairn/kernel"
)

// askAboutPay makes policy ask about the calls of one tool.
func (w *world) askAboutPay() {
	w.host.verdict = func(name, args string) cairn.Check {
		c := allow(name, args)
		if name == "pay" {
			c.Verdict, c.Rule = cairn.VerdictAsk, "ask[pay]"
		}
		return c
	}
}

// held makes a performer that runs until it is stopped or let go.
func held(let <-chan struct{}) performer {
	return func(ctx context.Context, j kernel.Job) cairn.InputData {
		select {
		case <-ctx.Done():
			return stopped(j.Effect)
		case <-let:
			return done("ok")
		}
	}
}

// An ask is decided while no process runs; the next one acts on it. A second
// decision is refused at once.
func TestDecidedWhileDown(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.host.model = says(calls("pay", `{"amount":5}`))
		w.askAboutPay()
		n := w.node(kernel.Options{})
		k := w.start("Pay.", true)
		w.until(k, cairn.StatusWaiting)
		_ = n.crash()
		ask := w.ask(k)
		if err := w.decide(k, ask.ID, cairn.VerbApprove); err != nil {
			t.Fatal(err)
		}
		if err := w.decide(k, ask.ID, cairn.VerbReject); !errors.Is(err, journal.ErrDecided) {
			t.Fatalf("a second decision: %v", err)
		}
		w.node(kernel.Options{})
		w.until(k, cairn.StatusCompleted)
		w.has(k, "ask.opened", "ask.resolved", "tool_call.started", "tool_call.completed", "run.completed")
		if w.host.performed("pay") != 1 {
			t.Errorf("pay was called %d times", w.host.performed("pay"))
		}
	})
}

// A cancel and a decision that wait for the next process together: the decision
// closed the ask when it came, so it is taken first, and both count.
func TestCancelledAndDecidedWhileDown(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.host.model = says(calls("pay", `{}`))
		w.askAboutPay()
		n := w.node(kernel.Options{})
		k := w.start("Pay.", true)
		w.until(k, cairn.StatusWaiting)
		_ = n.crash()
		ask := w.ask(k)
		w.send(k, cairn.Control{Action: cairn.ControlCancel})
		if err := w.decide(k, ask.ID, cairn.VerbApprove); err != nil {
			t.Fatal(err)
		}
		w.node(kernel.Options{})
		w.until(k, cairn.StatusCancelled)
		w.has(k, "ask.resolved", "run.cancelling", "tool_call.failed", "run.cancelled")
		if got := w.host.performed("pay"); got != 0 {
			t.Errorf("pay was called %d times", got)
		}
	})
}

// An ask that nobody answers expires by a timer of the journal, also over a death.
func TestExpiry(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.use(&cairn.Agent{Name: "a", Model: "script/one", Policy: cairn.Policy{Approval: cairn.Approval{Timeout: cairn.Duration(time.Hour)}}})
		w.host.model = says(calls("pay", `{}`))
		w.askAboutPay()
		n := w.node(kernel.Options{})
		k := w.start("Pay.", true)
		w.until(k, cairn.StatusWaiting)
		ask := w.ask(k)
		pass(30 * time.Minute)
		_ = n.crash()
		w.node(kernel.Options{})
		pass(29 * time.Minute)
		if got := w.status(k); got != cairn.StatusWaiting {
			t.Fatalf("it is %s before the hour is over", got)
		}
		w.until(k, cairn.StatusCompleted)
		w.has(k, "ask.opened", "ask.expired", "tool_call.failed", "run.completed")
		row, err := w.j.Ask(context.Background(), tenant, ask.ID)
		if err != nil || row.Status != cairn.AskLapsed {
			t.Errorf("the row says %s, %v", row.Status, err)
		}
		if w.host.performed("pay") != 0 {
			t.Error("pay was called")
		}
	})
}

// racing is a store in which a person decides an ask just before the commit that
// lets it expire.
type racing struct {
	journal.Store
	decide atomic.Pointer[func() error]
	lost   atomic.Int64
}

func (r *racing) Commit(ctx context.Context, c journal.Commit) (journal.Claim, error) {
	if len(c.Close) > 0 && c.Close[0].Status == cairn.AskLapsed {
		if decide := r.decide.Swap(nil); decide != nil {
			if err := (*decide)(); err != nil {
				return journal.Claim{}, err
			}
		}
	}
	claim, err := r.Store.Commit(ctx, c)
	if errors.Is(err, journal.ErrDecided) {
		r.lost.Add(1)
	}
	return claim, err
}

// A decision that comes a moment before the expiry is recorded counts.
func TestDecisionRacesExpiry(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		race := &racing{Store: w.store}
		w.reopen(race)
		w.use(&cairn.Agent{Name: "a", Model: "script/one", Policy: cairn.Policy{Approval: cairn.Approval{Timeout: cairn.Duration(time.Hour)}}})
		w.host.model = says(calls("pay", `{}`))
		w.askAboutPay()
		w.node(kernel.Options{})
		k := w.start("Pay.", true)
		w.until(k, cairn.StatusWaiting)
		ask := w.ask(k)
		decide := func() error { return w.decide(k, ask.ID, cairn.VerbApprove) }
		race.decide.Store(&decide)
		pass(time.Hour)
		w.until(k, cairn.StatusCompleted)
		w.has(k, "ask.opened", "ask.resolved", "tool_call.started", "tool_call.completed")
		if got := race.lost.Load(); got != 1 {
			t.Errorf("%d commits were refused with ErrDecided, not 1", got)
		}
	})
}

// Cancel is done when everything has stopped, and says what it killed.
func TestCancel(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.host.model = says(calls("look", `{}`, "put", `{}`))
		stopping := make(chan struct{})
		w.host.tool = func(ctx context.Context, j kernel.Job) cairn.InputData {
			<-ctx.Done()
			<-stopping // it takes a while to stop
			return stopped(j.Effect)
		}
		n := w.node(kernel.Options{})
		k := w.start("Go.", false)
		w.until(k, cairn.StatusRunning)
		w.send(k, cairn.Control{Action: cairn.ControlCancel})
		pass(time.Hour)
		if got := w.status(k); got != cairn.StatusCancelling {
			t.Fatalf("it is %s while its calls still run", got)
		}
		close(stopping)
		w.until(k, cairn.StatusCancelled)
		if n.Owned() != 0 {
			t.Error("it is owned still")
		}
		for _, e := range w.history(k) {
			if d, ok := e.Data.(cairn.RunCancelled); ok && len(d.Summary.Killed) != 2 {
				t.Errorf("killed: %v", d.Summary.Killed)
			}
		}
	})
}

// Cancel of a call that must not be repeated waits for its outcome; the outcome
// of one that cannot say is an open question.
func TestCancelIrreversible(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.host.model = says(calls("pay", `{"n":1}`, "pay", `{"n":2}`))
		w.host.tool = func(ctx context.Context, j kernel.Job) cairn.InputData {
			<-ctx.Done()
			if string(j.Effect.Tool.Args) == `{"n":1}` {
				return done("paid just in time")
			}
			return stopped(j.Effect)
		}
		w.node(kernel.Options{})
		k := w.start("Go.", false)
		w.until(k, cairn.StatusRunning)
		w.send(k, cairn.Control{Action: cairn.ControlCancel})
		w.until(k, cairn.StatusCancelled)
		if c, u := w.count(k, "tool_call.completed"), w.count(k, "tool_call.unknown"); c != 1 || u != 1 {
			t.Fatalf("%d calls completed and %d unknown: %v", c, u, w.types(k))
		}
		if err := w.decide(k, w.ask(k).ID, cairn.VerbReject); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		w.has(k, "run.cancelled", "effect.reconciled")
	})
}

// An interrupt stops what runs, and the model hears the new message at once.
func TestInterrupt(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.host.model = says(calls("look", `{}`, "put", `{}`), text("Something else, then."))
		w.host.tool = held(nil)
		w.node(kernel.Options{})
		k := w.start("Go.", false)
		w.until(k, cairn.StatusRunning)
		w.send(k, cairn.Post{Content: []cairn.Part{cairn.Text("Something else.")}, Interrupt: true})
		w.until(k, cairn.StatusIdle)
		w.has(k, "message.created", "model.completed", "message.created", "tool_call.failed", "tool_call.failed",
			"model.completed", "run.completed")
	})
}

// An interrupt stops a model that is answering.
func TestInterruptModel(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		asked := 0
		w.host.model = func(ctx context.Context, j kernel.Job) cairn.InputData {
			if asked++; asked == 1 {
				<-ctx.Done()
				return stopped(j.Effect)
			}
			a := text("Something else.")
			return cairn.ModelOutcome{Answer: &a}
		}
		w.node(kernel.Options{})
		k := w.start("Go.", false)
		w.until(k, cairn.StatusRunning)
		w.send(k, cairn.Post{Content: []cairn.Part{cairn.Text("Something else.")}, Interrupt: true})
		w.until(k, cairn.StatusIdle)
		w.has(k, "model.requested", "model.failed", "model.requested", "model.completed")
	})
}

// A pause holds what has not begun; what is under way is recorded.
func TestPause(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		let := make(chan struct{})
		w.host.model = says(calls("look", `{}`), calls("put", `{}`))
		w.host.tool = held(let)
		n := w.node(kernel.Options{})
		k := w.start("Go.", true)
		w.until(k, cairn.StatusRunning)
		w.send(k, cairn.Control{Action: cairn.ControlPause})
		w.until(k, cairn.StatusPaused)
		close(let)
		pass(time.Hour)
		w.has(k, "model.completed", "run.paused", "tool_call.completed")
		if n.Owned() != 0 {
			t.Error("a paused session is owned")
		}
		w.send(k, cairn.Control{Action: cairn.ControlResume})
		w.until(k, cairn.StatusCompleted)
		w.has(k, "run.paused", "run.resumed", "run.completed")
	})
}

// A pause that comes with the message holds the model call before it is begun:
// nothing is bought, and nothing is taken for lost.
func TestPauseBeforeTheCall(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		k := w.start("Go.", true)
		w.send(k, cairn.Control{Action: cairn.ControlPause})
		n := w.node(kernel.Options{})
		pass(time.Hour)
		if got := w.status(k); got != cairn.StatusPaused || n.Owned() != 0 {
			t.Fatalf("it is %s, %d are owned", got, n.Owned())
		}
		w.send(k, cairn.Control{Action: cairn.ControlResume})
		w.until(k, cairn.StatusCompleted)
		w.nothingLost(k)
	})
}

// A message steers a run: it joins after the batch.
func TestSteer(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		let := make(chan struct{})
		w.host.model = says(calls("look", `{}`), text("In French."))
		w.host.tool = held(let)
		w.node(kernel.Options{})
		k := w.start("Go.", false)
		w.until(k, cairn.StatusRunning)
		w.say(k, "In French.")
		synctest.Wait()
		w.has(k, "message.created", "tool_call.requested", "message.created")
		close(let)
		w.until(k, cairn.StatusIdle)
		if got := w.count(k, "run.started"); got != 1 {
			t.Errorf("%d runs", got)
		}
	})
}

// A client executes a tool: its result comes as an answer to an ask.
func TestClientTool(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.host.model = says(calls("ui", `{"show":1}`))
		w.node(kernel.Options{})
		k := w.start("Show.", true)
		w.until(k, cairn.StatusWaiting)
		d := cairn.Decide{Decision: cairn.Decision{
			Ask: w.ask(k).ID, Verb: cairn.VerbAnswer, Result: &cairn.ToolResult{Content: []cairn.Part{cairn.Text("clicked")}},
		}}
		in := w.input(k, d)
		if err := w.j.Post(context.Background(), in, nil, &journal.AskClose{Session: k, ID: d.Ask, Status: d.Status(), At: in.At}); err != nil {
			t.Fatal(err)
		}
		w.until(k, cairn.StatusCompleted)
		w.has(k, "ask.resolved", "tool_call.completed", "run.completed")
	})
}
