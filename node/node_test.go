package node_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cairn-run/cairn"
	v1 "github.com/cairn-run/cairn/api/v1"
	"github.com/cairn-run/cairn/client"
	"github.com/cairn-run/cairn/journal"
	"github.com/cairn-run/cairn/model"
	"github.com/cairn-run/cairn/model/script"
	"github.com/cairn-run/cairn/node"
)

// A Go program embeds a whole node: the data directory is all there is to it.
func Example() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "cairn-example-")
	if err != nil {
		panic(err)
	}
	defer func() { _ = os.RemoveAll(dir) }()

	n, err := node.Open(ctx, node.Options{Dir: dir, Models: map[string]model.Driver{
		"script": script.New(map[string]*script.Script{"hello": {Replies: []script.Reply{{Text: "Hello. What can I do?"}}}}),
	}})
	if err != nil {
		panic(err)
	}
	defer func() { _ = n.Close() }()
	if err := n.Start(ctx); err != nil {
		panic(err)
	}
	if _, _, err := n.Apply(ctx, cairn.DefaultTenant, &cairn.Agent{Name: "greeter", Model: "script/hello"}); err != nil {
		panic(err)
	}
	c := n.Client()
	s, err := c.CreateSession(ctx, v1.CreateSession{Agent: "greeter", Input: v1.Text("Hi."), Once: true})
	if err != nil {
		panic(err)
	}
	for item, err := range c.Stream(ctx, s.ID, 0, client.UntilIdle()) {
		if err != nil {
			panic(err)
		}
		if item.Event == nil {
			continue // a piece of an answer that is not finished
		}
		e, err := item.Event.Cairn()
		if err != nil {
			panic(err)
		}
		if d, ok := e.Data.(cairn.ModelCompleted); ok {
			fmt.Println(cairn.TextOf(d.Answer.Content))
		}
	}
	// Output: Hello. What can I do?
}

// An agent file says the same to a program as to the command line; what it names,
// the program may change before it applies it.
func ExampleReadAgent() {
	agent, err := node.ReadAgent("../examples/support-desk/support.md")
	if err != nil {
		panic(err)
	}
	agent.Model = "anthropic/claude-sonnet-4-5"
	fmt.Println(agent.Name, "on", agent.Model)
	// Output: support on anthropic/claude-sonnet-4-5
}

// start opens a node over dir and starts it; it is drained and closed at the end
// of the test, or by calling stop.
func start(t *testing.T, dir string, o node.Options) (n *node.Node, stop func()) {
	t.Helper()
	o.Dir = dir
	n, err := node.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := errors.Join(n.Drain(ctx), n.Close()); err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(stop)
	return n, stop
}

func scripted(s *script.Script) map[string]model.Driver {
	return map[string]model.Driver{"script": script.New(map[string]*script.Script{"s": s})}
}

// settled follows a session until its run has ended or waits for an answer.
func settled(t *testing.T, c *client.Client, id cairn.SessionID) v1.Session {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	for item, err := range c.Stream(ctx, id, 0) {
		if err != nil {
			t.Fatal(err)
		}
		if item.Event == nil {
			continue
		}
		s, err := c.Session(ctx, id)
		if err != nil {
			t.Fatal(err)
		}
		if s.Status.Final() || s.Status == cairn.StatusIdle || s.Status == cairn.StatusWaiting {
			return s
		}
	}
	t.Fatal("the stream ended")
	return v1.Session{}
}

// TestCarriesOn: a session that waits for an approval is decided while no node
// runs, and goes on in the next one.
func TestCarriesOn(t *testing.T) {
	t.Parallel()
	var paid atomic.Int32
	pay := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		paid.Add(1)
		fmt.Fprint(w, `{"ok":true}`)
	}))
	defer pay.Close()
	a := &cairn.Agent{
		Name: "payer", Model: "script/s", Policy: cairn.Policy{Ask: []string{"pay"}},
		Tools: []cairn.ToolSource{{HTTP: &cairn.HTTPTool{Name: "pay", URL: pay.URL}}},
	}
	models := scripted(&script.Script{Replies: []script.Reply{{Calls: []script.Call{{Tool: "pay", Args: map[string]any{"amount": 5}}}}, {Text: "Paid."}}})
	dir := t.TempDir()
	n, stop := start(t, dir, node.Options{Models: models})
	if _, fresh, err := n.Apply(t.Context(), cairn.DefaultTenant, a); err != nil || !fresh {
		t.Fatalf("apply: %v, new: %v", err, fresh)
	}
	s, err := n.Client().CreateSession(t.Context(), v1.CreateSession{Agent: "payer", Input: v1.Text("Pay."), Once: true})
	if err != nil {
		t.Fatal(err)
	}
	if got := settled(t, n.Client(), s.ID); got.Status != cairn.StatusWaiting {
		t.Fatalf("status %s, want waiting", got.Status)
	}
	stop()

	offline, err := node.Open(t.Context(), node.Options{Dir: dir, Models: models, Paused: true})
	if err != nil {
		t.Fatal(err)
	}
	asks, err := offline.Client().Asks(t.Context(), client.AskQuery{})
	if err != nil || len(asks.Asks) != 1 {
		t.Fatalf("asks: %v, %v", asks, err)
	}
	if _, err := offline.Client().Approve(t.Context(), asks.Asks[0].ID, v1.Approve{}); err != nil {
		t.Fatal(err)
	}
	if _, err := offline.Client().Reject(t.Context(), asks.Asks[0].ID, v1.Approve{}); cairn.CodeOf(err) != cairn.CodeConflict {
		t.Fatalf("a second decision gave %v, want a conflict", err)
	}
	if _, err := node.Open(t.Context(), node.Options{Dir: dir}); !errors.Is(err, journal.ErrLocked) || !strings.Contains(err.Error(), fmt.Sprint(os.Getpid())) {
		t.Fatalf("a second process on the directory gave %v; it should say who holds it", err)
	}
	if paid.Load() != 0 {
		t.Fatal("paid while nothing runs")
	}
	if err := offline.Close(); err != nil {
		t.Fatal(err)
	}

	n, _ = start(t, dir, node.Options{Models: models})
	for item, err := range n.Client().Stream(t.Context(), s.ID, 0, client.UntilIdle()) {
		if err != nil {
			t.Fatal(err)
		}
		if item.Event != nil && item.Event.Type == "run.completed" && paid.Load() == 1 {
			return
		}
	}
	t.Fatalf("the run did not complete; paid %d times", paid.Load())
}

// TestDecisionBuysNothing: what a decision opens in a session that nobody owned is
// not taken for something a dead owner lost; and nobody else can read the files.
func TestDecisionBuysNothing(t *testing.T) {
	t.Parallel()
	for verb, decide := range map[string]func(*client.Client, cairn.AskID) error{
		"reject": func(c *client.Client, id cairn.AskID) error {
			_, err := c.Reject(t.Context(), id, v1.Approve{Comment: "no"})
			return err
		},
		"answer": func(c *client.Client, id cairn.AskID) error {
			_, err := c.Answer(t.Context(), id, v1.Answer{Result: v1.Result{Content: v1.Text("blue")}})
			return err
		},
	} {
		t.Run(verb, func(t *testing.T) {
			t.Parallel()
			a := &cairn.Agent{
				Name: "asker", Model: "script/s", Policy: cairn.Policy{Ask: []string{"pay"}},
				Tools: []cairn.ToolSource{
					{HTTP: &cairn.HTTPTool{Name: "pay", URL: "http://127.0.0.1:1/"}}, {Client: &cairn.ClientTool{Name: "colour"}},
				},
			}
			tool := map[string]string{"reject": "pay", "answer": "colour"}[verb]
			models := scripted(&script.Script{Replies: []script.Reply{{Calls: []script.Call{{Tool: tool}}}, {Text: "Well."}}})
			dir := t.TempDir()
			if err := os.Chmod(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			n, _ := start(t, dir, node.Options{Models: models})
			if _, _, err := n.Apply(t.Context(), cairn.DefaultTenant, a); err != nil {
				t.Fatal(err)
			}
			c := n.Client()
			s, err := c.CreateSession(t.Context(), v1.CreateSession{Agent: "asker", Input: v1.Text("Go."), Once: true})
			if err != nil {
				t.Fatal(err)
			}
			settled(t, c, s.ID)
			for n.Owned() > 0 { // the session waits for a person: nobody owns it
				time.Sleep(time.Millisecond) //nolint:forbidigo // a claim that is let go gives no signal
			}
			asks, err := c.Asks(t.Context(), client.AskQuery{})
			if err != nil || len(asks.Asks) != 1 {
				t.Fatalf("asks: %v, %v", asks, err)
			}
			if err := decide(c, asks.Asks[0].ID); err != nil {
				t.Fatal(err)
			}
			completed := false
			for item, err := range c.Stream(t.Context(), s.ID, 0, client.UntilIdle()) {
				if err != nil {
					t.Fatal(err)
				}
				if item.Event == nil {
					continue
				}
				e, err := item.Event.Cairn()
				if err != nil {
					t.Fatal(err)
				}
				if d, ok := e.Data.(cairn.RunCompleted); ok {
					completed = true
					if d.Summary.LostCalls != 0 || d.Summary.Retries != 0 || d.Summary.ModelCalls != 2 {
						t.Errorf("two answers were needed; the account says %+v", d.Summary)
					}
				}
			}
			if !completed {
				t.Error("the run did not complete")
			}
			for _, name := range []string{"cairn.db", "cairn.db-wal", "cairn.db-shm", "token"} {
				info, err := os.Stat(filepath.Join(dir, name))
				if err != nil {
					t.Fatal(err)
				}
				if info.Mode().Perm() != 0o600 {
					t.Errorf("%s has mode %v", name, info.Mode())
				}
			}
		})
	}
}
