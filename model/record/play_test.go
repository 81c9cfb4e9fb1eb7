package record_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cairn-run/cairn"
	v1 "github.com/cairn-run/cairn/api/v1"
	"github.com/cairn-run/cairn/model"
	"github.com/cairn-run/cairn/model/script"
	"github.com/cairn-run/cairn/node"
)

// large fails twice, then another model takes over; it fills its window, so that
// the conversation is compacted.
const large = `
model: large-2026
window: 5000
max_output: 1000
rates: {input: $2, output: $8}
cases:
  - when: {user: {contains: broken}}
    fail: [{code: overloaded, message: busy, retry_after: 1ms, times: 2}, {after_bytes: 3, usage: {input: 9}}]
    reasoning: So it works.
    text: It works.
  - when: {user: {contains: gone}}
    fail: [{code: unavailable, message: gone}]
  - when: {result: {tool: echo}}
    reasoning: "I saw {{turn}}."
    opaque: [{data: {z: "{{turn}}", a: 1.0}}]
    text: "Seen: {{turn}}."
default:
  reasoning: I have to look.
  calls:
    - {tool: echo, args: '{"text":  "of turn"}'}
    - {tool: echo, args: {again: "{{turn}}"}}
    - {tool: nothing, args: '{"broken":'}
`

const small = `
model: small-2026
window: 5000
max_output: 1000
rates: {input: $1, output: $4}
default: {text: "The small one, at {{turn}}."}
`

// history is what the models said in a session, and how their attempts failed.
type history []string

// talk has a conversation with an agent and returns what models said in it.
func talk(t *testing.T, n *node.Node, agent string, lines []string) (h history) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	c := n.Client()
	s, err := c.CreateSession(ctx, v1.CreateSession{Agent: agent, Input: v1.Text(lines[0])})
	if err != nil {
		t.Error(err)
		return nil
	}
	var after cairn.Seq
	for i := range lines {
		if i > 0 {
			if _, err := c.Send(ctx, s.ID, v1.PostMessage{Content: v1.Text(lines[i])}); err != nil {
				t.Error(err)
				return nil
			}
		}
		for item, err := range c.Stream(ctx, s.ID, after) {
			if err != nil {
				t.Error(err)
				return h
			}
			if item.Event == nil {
				continue
			}
			e, err := item.Event.Cairn()
			if err != nil {
				t.Error(err)
				return h
			}
			after = e.Seq
			said, over := what(t, e)
			if said != "" {
				h = append(h, said)
			}
			if over {
				break
			}
		}
	}
	return h
}

// what is what an event says of a model, and whether the run is over with it.
func what(t *testing.T, e cairn.Event) (said string, over bool) {
	t.Helper()
	text := func(v ...any) string {
		b, err := json.Marshal(v)
		if err != nil {
			t.Error(err)
		}
		return string(b)
	}
	switch d := e.Data.(type) {
	case cairn.ModelCompleted:
		return text(d.Answer, d.Purpose, d.Cost, d.Status), false
	case cairn.ModelRetried:
		return text(d.Attempt, d.Error, d.Usage, d.Status, d.Cost), false
	case cairn.ModelFailed:
		return text(d.Attempt, d.Error, d.Usage, d.Status, d.Cost), false
	case cairn.ContextCompacted:
		return "compacted: " + d.Note, false
	case cairn.RunFailed:
		return "failed: " + d.Error.Message, true
	case cairn.SessionIdle:
		return "", true
	}
	return "", false
}

// TestPlay: sessions at once, with retries, a fallback, several runs and
// compaction, recorded in a node; another one plays them to the same journal of
// answers.
func TestPlay(t *testing.T) {
	t.Parallel()
	tools := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(io.LimitReader(r.Body, 1<<20))
		fmt.Fprintf(w, "%s %s", body, strings.Repeat("word ", 900))
	}))
	t.Cleanup(tools.Close)
	retries := 3
	agent := func(first, second string) *cairn.Agent {
		return &cairn.Agent{
			Name: "a", Model: first, Fallback: []string{second}, Instructions: "Be brief.",
			Tools: []cairn.ToolSource{{HTTP: &cairn.HTTPTool{
				Name: "echo", Description: "Echoes.", URL: tools.URL, InputSchema: json.RawMessage(`{"type":"object"}`),
			}}},
			Effects: map[string]*cairn.EffectDecl{"echo": {Class: cairn.ClassRead}},
			Limits:  cairn.Limits{Retries: &retries},
		}
	}
	talks := map[string][]string{}
	for i := range 4 {
		talks[fmt.Sprint("retry ", i)] = []string{fmt.Sprint("It is broken, ", i), "Now look."}
		talks[fmt.Sprint("compact ", i)] = []string{fmt.Sprint("Look, ", i), "Look again.", "Look again.", "Look again.", "Look again.", "And once more."}
	}
	talks["fallback"] = []string{"Is it gone?", "Look."}
	talks["same"], talks["again"] = []string{"The same."}, []string{"The same."}

	rec, path := create(t)
	drivers := map[string]model.Driver{}
	for provider, text := range map[string]string{"p": large, "q": small} {
		s, err := script.Parse(provider, []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		drivers[provider] = script.New(map[string]*script.Script{"m": s})
	}
	live := all(t, agent("p/m", "q/m"), talks, node.Options{
		Models: drivers, Wrap: rec.Wrap, Breaker: model.BreakerOptions{Failures: 1000},
	})
	if _, err := rec.Close(); err != nil {
		t.Fatal(err)
	}
	played := all(t, agent("script/rec/p/m", "script/rec/q/m"), talks, node.Options{Scripts: []string{filepath.Dir(path)}})
	if diff := cmp.Diff(live, played); diff != "" {
		t.Error(diff)
	}
	seen := map[string]bool{}
	for _, h := range live {
		for _, said := range h {
			for _, word := range []string{"compacted: ", "overloaded", "small-2026", "large-2026", "cut_stream", `"reasoning"`, `"opaque"`, "broken"} {
				seen[word] = seen[word] || strings.Contains(said, word)
			}
		}
	}
	for word, ok := range seen {
		if !ok {
			t.Errorf("the sessions had nothing of %q", word)
		}
	}
}

// all has all conversations at once, on a node of its own.
func all(t *testing.T, a *cairn.Agent, talks map[string][]string, o node.Options) map[string]history {
	t.Helper()
	o.Dir = t.TempDir()
	n, err := node.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, _, err := n.Apply(t.Context(), cairn.DefaultTenant, a); err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var wg sync.WaitGroup
	histories := map[string]history{}
	for name, lines := range talks {
		wg.Go(func() {
			h := talk(t, n, a.Name, lines)
			mu.Lock()
			histories[name] = h
			mu.Unlock()
		})
	}
	wg.Wait()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if err := errors.Join(n.Drain(ctx), n.Close()); err != nil {
		t.Error(err)
	}
	return histories
}
