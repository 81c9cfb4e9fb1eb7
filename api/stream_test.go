package api_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/api"
	v1 "github.com/cairn-run/cairn/api/v1"
	"github.com/cairn-run/cairn/client"
)

// flaky is a transport whose responses break off after a number of bytes that
// cut chooses, and whose requests sometimes fail.
type flaky struct {
	handler http.Handler
	mu      sync.Mutex
	rand    *rand.Rand
	healthy bool
	cuts    int
}

func (f *flaky) RoundTrip(r *http.Request) (*http.Response, error) {
	f.mu.Lock()
	cut, refuse, healthy := f.rand.IntN(2000), f.rand.IntN(5) == 0, f.healthy
	f.cuts++
	f.mu.Unlock()
	if refuse && !healthy {
		return nil, errors.New("connection reset")
	}
	resp, err := client.Transport(f.handler).RoundTrip(r)
	if err != nil || healthy {
		return resp, err
	}
	resp.Body = &cutBody{resp.Body, cut}
	return resp, nil
}

type cutBody struct {
	io.ReadCloser
	left int
}

func (c *cutBody) Read(p []byte) (int, error) {
	if c.left == 0 {
		return 0, io.ErrUnexpectedEOF
	}
	n, err := c.ReadCloser.Read(p[:min(len(p), c.left)])
	c.left -= n
	return n, err
}

// TestStreamSurvivesDisconnects commits events and says deltas while a client
// whose connections break at random places follows: every event comes once and
// in order, and every answer's text is whole when it is recorded.
func TestStreamSurvivesDisconnects(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		seed := rapid.Uint64().Draw(rt, "seed")
		answers := rapid.IntRange(1, 5).Draw(rt, "answers")
		after := cairn.Seq(rapid.IntRange(0, 3).Draw(rt, "after"))
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			s := w.start()
			o := w.own(s.ID)
			o.commit(step{events: events(3), status: cairn.StatusRunning})
			f := &flaky{handler: w.api, rand: rand.New(rand.NewPCG(seed, 1))}
			c := client.New("http://localhost", tokenAnn, &http.Client{Transport: f})

			said := map[cairn.EffectID]string{}
			done := make(chan struct{})
			go func() {
				defer close(done)
				next := after + 1
				for item, err := range c.Stream(t.Context(), s.ID, after, client.UntilIdle(), client.Patience(time.Hour)) {
					if err != nil {
						t.Errorf("seed %d: %v", seed, err)
						return
					}
					if d := item.Delta; d != nil {
						if len(said[d.Effect]) != d.Offset {
							t.Errorf("seed %d: a piece at %d of %s follows %d bytes", seed, d.Offset, d.Effect, len(said[d.Effect]))
						}
						said[d.Effect] += d.Text
						continue
					}
					if item.Event.Seq != next {
						t.Errorf("seed %d: event %d instead of %d", seed, item.Event.Seq, next)
						return
					}
					next++
					e, err := item.Event.Cairn()
					if err != nil {
						t.Error(err)
					}
					if a, ok := e.Data.(cairn.ModelCompleted); ok {
						whole := cairn.TextOf(a.Answer.Content)
						if !strings.HasPrefix(whole, said[e.Step]) {
							t.Errorf("seed %d: said %q, recorded %q", seed, said[e.Step], whole)
						}
					}
				}
				if last := next - 1; last != o.sum.Events {
					t.Errorf("seed %d: the stream ended after %d of %d", seed, last, o.sum.Events)
				}
			}()
			r := rand.New(rand.NewPCG(seed, 2))
			for range answers {
				effect := cairn.EffectIDAt(s.ID, o.claim.Next)
				o.commit(step{events: []cairn.Event{{Step: effect, Data: cairn.ModelRequested{Model: "script/x"}}}})
				text := ""
				for range r.IntN(20) {
					piece := strings.Repeat("é", 1+r.IntN(40))
					text += piece
					w.live.Say(o.claim.Session, effect, 1, cairn.Delta{Kind: cairn.PartText, Text: piece})
					pass(time.Duration(r.IntN(300)) * time.Millisecond)
				}
				o.commit(step{closed: []cairn.EffectID{effect}, events: append(events(r.IntN(4)),
					cairn.Event{Step: effect, Data: cairn.ModelCompleted{Answer: cairn.ModelAnswer{Content: []cairn.Part{cairn.Text(text)}}}})})
			}
			o.commit(step{events: []cairn.Event{event(cairn.SessionIdle{})}, status: cairn.StatusIdle})
			pass(time.Minute)
			f.mu.Lock()
			f.healthy = true
			f.mu.Unlock()
			<-done
		})
	})
}

// pass lets time pass on the clock of the test's bubble.
func pass(d time.Duration) { <-time.After(d) }

// following reads a stream in a goroutine; take returns the next thing it said.
type following struct {
	t     *testing.T
	items chan string
}

func follow(t *testing.T, c *client.Client, id cairn.SessionID, after cairn.Seq, opts ...client.Option) *following {
	f := &following{t, make(chan string, 1000)}
	go func() {
		defer close(f.items)
		for item, err := range c.Stream(t.Context(), id, after, opts...) {
			switch {
			case err != nil:
				f.items <- "error " + string(cairn.CodeOf(err))
			case item.Event != nil:
				f.items <- fmt.Sprintf("%d %s", item.Event.Seq, item.Event.Type)
			default:
				d := item.Delta
				f.items <- fmt.Sprintf("%s/%d/%d+%d %s %q%s", d.Effect, d.Attempt, d.Index, d.Offset, d.Kind, d.Text, d.Tool)
			}
		}
	}()
	return f
}

// takes checks all that the stream said since the last call. It runs in a bubble
// whose goroutines have done what they can.
func (f *following) takes(want ...string) {
	f.t.Helper()
	synctest.Wait()
	var got []string
	for len(f.items) > 0 {
		got = append(got, <-f.items)
	}
	if d := cmp.Diff(want, got); d != "" {
		f.t.Error(d)
	}
}

func (f *following) ended() {
	f.t.Helper()
	synctest.Wait()
	select {
	case item, ok := <-f.items:
		if ok {
			f.t.Errorf("the stream said %s instead of ending", item)
		}
	default:
		f.t.Error("the stream goes on")
	}
}

func TestLateWatcher(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		s := w.start()
		o := w.own(s.ID)
		key := o.claim.Session
		early := follow(t, w.client(tokenAnn), s.ID, 0)
		early.takes()
		o.commit(step{events: []cairn.Event{{Step: "eff_1", Data: cairn.ModelRequested{Model: "script/x"}}}, status: cairn.StatusRunning})
		say := func(attempt, index int, kind cairn.PartKind, text, tool string) {
			w.live.Say(key, "eff_1", attempt, cairn.Delta{Kind: kind, Index: index, Text: text, Tool: tool})
		}
		say(1, 0, cairn.PartReasoning, "Hm", "")
		early.takes("1 model.requested", `eff_1/1/0+0 reasoning "Hm"`)
		say(1, 1, cairn.PartText, "Hel", "")
		early.takes(`eff_1/1/1+0 text "Hel"`)
		say(1, 1, cairn.PartText, "lo", "")
		say(1, 2, cairn.PartToolCall, "", "refund")
		early.takes(`eff_1/1/1+3 text "lo"`, `eff_1/1/2+0 tool_call ""refund`)
		say(1, 1, cairn.PartText, "!", "")
		early.takes(`eff_1/1/1+5 text "!"`) // what has no text is not said again

		late := follow(t, w.client(tokenBob), s.ID, 1)
		late.takes(`eff_1/1/0+0 reasoning "Hm"`, `eff_1/1/1+0 text "Hello!"`, `eff_1/1/2+0 tool_call ""refund`)
		say(1, 2, cairn.PartToolCall, `{"a":`, "refund")
		late.takes(`eff_1/1/2+0 tool_call "{\"a\":"refund`)

		// An attempt that is given up starts the answer anew.
		o.commit(step{events: []cairn.Event{{Step: "eff_1", Data: cairn.ModelRetried{Attempt: 1}}}})
		say(2, 0, cairn.PartText, "Again", "")
		early.takes(`eff_1/1/2+0 tool_call "{\"a\":"refund`, "2 model.retried", `eff_1/2/0+0 text "Again"`)
		late.takes("2 model.retried", `eff_1/2/0+0 text "Again"`)

		// A recorded answer is not said any more, even before the hub knows.
		o.commit(step{silent: true, events: []cairn.Event{{Step: "eff_1", Data: cairn.ModelCompleted{}}}})
		say(2, 0, cairn.PartText, " and again", "")
		early.takes("3 model.completed")
		w.live.Advance(key, 3, "eff_1")
		early.takes()
		latest := follow(t, w.client(tokenAnn), s.ID, 0)
		latest.takes("1 model.requested", "2 model.retried", "3 model.completed")
	})
}

func TestUntilIdle(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		s := w.start()
		o := w.own(s.ID)
		first := follow(t, w.client(tokenAnn), s.ID, 0, client.UntilIdle())
		first.takes() // queued: there is something to do
		o.commit(step{events: events(1), status: cairn.StatusRunning})
		o.commit(step{events: events(1), status: cairn.StatusWaiting})
		first.takes("1 plan.updated", "2 plan.updated")
		o.commit(step{events: []cairn.Event{event(cairn.SessionIdle{})}, status: cairn.StatusIdle})
		first.takes("3 session.idle")
		first.ended()

		again := follow(t, w.client(tokenAnn), s.ID, 3, client.UntilIdle())
		again.ended() // it is idle

		// A message that nobody has taken yet is something to do.
		if _, err := w.client(tokenAnn).Send(t.Context(), s.ID, v1.PostMessage{Content: v1.Text("x")}); err != nil {
			t.Fatal(err)
		}
		second := follow(t, w.client(tokenAnn), s.ID, 3, client.UntilIdle())
		second.takes()
		o.commit(step{events: []cairn.Event{event(cairn.RunFailed{Final: true})}, status: cairn.StatusFailed})
		second.takes("4 run.failed")
		second.ended()
	})
}

func TestStreamOfAnotherNode(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		s := w.start()
		o := w.own(s.ID)
		f := follow(t, w.client(tokenAnn), s.ID, 0, client.UntilIdle())
		f.takes()
		o.commit(step{events: events(2), status: cairn.StatusRunning, silent: true})
		f.takes()
		pass(3 * time.Second)
		f.takes("1 plan.updated", "2 plan.updated")
		o.commit(step{status: cairn.StatusIdle, silent: true})
		pass(3 * time.Second)
		f.ended()
	})
}

// raw reads a stream as it is sent, until its request ends.
func raw(t *testing.T, w *world, path string, header ...string) (text func() string, stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://localhost"+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+tokenAnn)
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	resp, err := client.Transport(w.api).RoundTrip(r) //nolint:bodyclose // closed by the goroutine that reads it
	if err != nil {
		t.Fatal(err)
	}
	if ct := resp.Header.Get("Content-Type"); ct != "text/event-stream" {
		t.Errorf("content type %q", ct)
	}
	var b logBuffer
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() { _ = resp.Body.Close() }() // it was read to its end
		_, _ = io.Copy(&b, resp.Body)            // it ends with the request
	}()
	return func() string { synctest.Wait(); return b.String() }, func() { cancel(); <-done }
}

func TestStreamOnTheWire(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		s := w.start()
		o := w.own(s.ID)
		o.commit(step{events: append(events(2), event(cairn.SessionIdle{}))})
		path := "/v1/sessions/" + string(s.ID) + "/stream"
		text, stop := raw(t, w, path+"?after=1", "Last-Event-ID", "2") // the header wins: a browser cannot change the query
		want := "retry: 1000\n\nid: 3\nevent: session.idle\ndata: {\"id\":\"" + string(s.ID) + "/3\",\"seq\":3,\"type\":\"session.idle\",\"session_id\":\"" +
			string(s.ID) + "\",\"at\":\"1970-01-01T00:00:03Z\",\"data\":{}}\n\n"
		if d := cmp.Diff(want, text()); d != "" {
			t.Error(d)
		}
		w.live.Say(o.claim.Session, "eff_9", 2, cairn.Delta{Kind: cairn.PartText, Index: 1, Text: "two\nlines"})
		want += "event: message.delta\ndata: {\"session_id\":\"" + string(s.ID) + "\",\"effect\":\"eff_9\",\"attempt\":2,\"index\":1,\"offset\":0,\"kind\":\"text\",\"text\":\"two\\nlines\"}\n\n"
		if d := cmp.Diff(want, text()); d != "" {
			t.Error(d)
		}
		pass(16 * time.Second)
		want += ":\n\n"
		if d := cmp.Diff(want, text()); d != "" {
			t.Error(d)
		}
		w.api.Close()
		want += "event: stream.end\ndata: {\"reason\":\"closing\",\"seq\":3}\n\n"
		if d := cmp.Diff(want, text()); d != "" {
			t.Error(d)
		}
		stop()
		if a := w.call(http.MethodGet, path, tokenAnn, ""); a.status != http.StatusServiceUnavailable {
			t.Errorf("a stream after closing: %d", a.status)
		}
	})
}

func TestStreamsAreBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, func(c *api.Config) { c.Streams = 2 })
		s := w.start()
		path := "/v1/sessions/" + string(s.ID) + "/stream"
		_, stop1 := raw(t, w, path)
		_, stop2 := raw(t, w, path)
		a := w.call(http.MethodGet, path, tokenAnn, "")
		if e := a.failure(t); a.status != http.StatusServiceUnavailable || !e.Retryable || a.header.Get("Retry-After") != "5" {
			t.Errorf("a third stream: %d %+v", a.status, e)
		}
		stop1()
		synctest.Wait()
		_, stop3 := raw(t, w, path)
		stop2()
		stop3()
	})
}

// TestSlowReader lets a client stop reading: nothing is queued for it, nobody
// waits for it, and it goes on where it was.
func TestSlowReader(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		s := w.start()
		o := w.own(s.ID)
		gate := make(chan struct{})
		var got []cairn.Seq
		done := make(chan struct{})
		go func() {
			defer close(done)
			for item, err := range w.client(tokenAnn).Stream(t.Context(), s.ID, 0, client.UntilIdle()) {
				if err != nil {
					t.Error(err)
					return
				}
				if len(got) == 0 {
					<-gate
				}
				got = append(got, item.Event.Seq)
			}
		}()
		for range 50 {
			o.commit(step{events: events(10), status: cairn.StatusRunning})
		}
		o.commit(step{events: []cairn.Event{event(cairn.SessionIdle{})}, status: cairn.StatusIdle})
		close(gate)
		<-done
		if len(got) != 501 || got[500] != 501 {
			t.Errorf("%d events, the last is %d", len(got), got[len(got)-1])
		}
	})
}

// TestDroppedConnectionOverTCP cuts real connections under a client.
func TestDroppedConnectionOverTCP(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.start()
	o := w.own(s.ID)
	server := httptest.NewUnstartedServer(nil)
	server.Config = w.api.Server(nil)
	server.Start()
	defer server.Close()
	c := client.New(server.URL, tokenAnn, nil)
	defer c.Close()
	next := cairn.Seq(1)
	o.commit(step{events: events(1), status: cairn.StatusRunning})
	for item, err := range c.Stream(t.Context(), s.ID, 0, client.UntilIdle()) {
		if err != nil {
			t.Fatal(err)
		}
		if item.Event.Seq != next {
			t.Fatalf("event %d instead of %d", item.Event.Seq, next)
		}
		if next++; next < 10 {
			server.CloseClientConnections()
			o.commit(step{events: events(1)})
		} else if next == 10 {
			o.commit(step{events: events(1), status: cairn.StatusIdle})
		}
	}
	if next != 11 {
		t.Errorf("the stream ended before event %d", next)
	}
}

// FuzzRequests sends any body to every POST: whatever it is, it is taken or
// refused with a typed error, and is never the server's fault.
func FuzzRequests(f *testing.F) {
	w := newWorld(f)
	_, ids := asking(w, cairn.Ask{Kind: cairn.AskApproval}, cairn.Ask{Kind: cairn.AskClientTool})
	s := w.start()
	paths := []string{
		"/v1/sessions", "/v1/agents", "/v1/sessions/" + string(s.ID) + "/messages", "/v1/sessions/" + string(s.ID) + "/pause",
		"/v1/asks/" + string(ids[0]) + "/approve", "/v1/asks/" + string(ids[0]) + "/edit", "/v1/asks/" + string(ids[1]) + "/answer",
	}
	for i, body := range []string{
		`{"agent":"desk","input":"x","budget":{"run":"$1"},"metadata":{"a":"b"}}`,
		`{"name":"a","model":"script/a","tools":[{"http":{"name":"t","url":"http://x"}}],"limits":{"wall":"1m"},"effects":{"t":{"class":"read"}}}`,
		`{"content":[{"kind":"image","media_type":"image/png","data":"aGk="}],"interrupt":true}`,
		`{"reason":"x"}`, `{"digest":"sha256:0"}`, `{"args":{"a":[1e400]}}`, `{"result":{"content":"x","structured":[],"is_error":true}}`,
	} {
		f.Add(i, []byte(body))
	}
	f.Fuzz(func(t *testing.T, route int, body []byte) {
		a := w.call(http.MethodPost, paths[uint(route)%uint(len(paths))], tokenAnn, string(body))
		switch {
		case a.status >= 500:
			t.Fatalf("status %d: %s", a.status, a.body)
		case a.status >= 400:
			a.failure(t)
		case !json.Valid(bytes.TrimSpace(a.body)):
			t.Fatalf("status %d with %q", a.status, a.body)
		}
	})
}

// TestStreamOutput: what a tool prints comes while it runs, and no more once its
// result is recorded; a client that joins late gets what was printed so far.
func TestStreamOutput(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		s := w.start()
		o := w.own(s.ID)
		o.commit(step{status: cairn.StatusRunning, events: []cairn.Event{
			{Step: "eff_1", Data: cairn.ToolCallRequested{Tool: "bash"}}, {Step: "eff_2", Data: cairn.ToolCallRequested{Tool: "bash"}},
		}})
		key := o.claim.Session
		say := func(effect cairn.EffectID, text string) {
			w.live.Say(key, effect, 1, cairn.Delta{Kind: cairn.PartOutput, Text: text})
		}
		say("eff_1", "one\n")
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		printed := map[cairn.EffectID]string{}
		var done []cairn.EventType
		go func() {
			for item, err := range w.client(tokenAnn).Stream(ctx, s.ID, 0) {
				switch {
				case err != nil:
					return
				case item.Delta != nil:
					if item.Delta.Kind != cairn.PartOutput || item.Delta.Offset != len(printed[item.Delta.Effect]) {
						t.Errorf("%+v", item.Delta)
					}
					printed[item.Delta.Effect] += item.Delta.Text
				case item.Event.Type != "tool_call.requested":
					done = append(done, item.Event.Type)
				}
			}
		}()
		synctest.Wait()
		say("eff_1", "two\n")
		say("eff_2", "other\n")
		synctest.Wait()
		o.commit(step{events: []cairn.Event{{Step: "eff_1", Data: cairn.ToolCallCompleted{Attempt: 1}}}})
		say("eff_1", "late\n")
		synctest.Wait()
		cancel()
		synctest.Wait()
		want := map[cairn.EffectID]string{"eff_1": "one\ntwo\n", "eff_2": "other\n"}
		if d := cmp.Diff(want, printed); d != "" {
			t.Error(d)
		}
		if d := cmp.Diff([]cairn.EventType{"tool_call.completed"}, done); d != "" {
			t.Error(d)
		}
	})
}
