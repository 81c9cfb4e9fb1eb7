package kernel_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/kernel"
)

// desk is a place with files, as a sandbox is: what a call wrote is there at once,
// and is put back when the next call begins on an earlier state.
type desk struct {
	mu      sync.Mutex
	lines   []string // written, whether recorded or not
	running []string
	wrong   []string // calls that found another state than they were made on
	busy    int
}

// withDesk gives the world tools that work on files.
func (w *world) withDesk() *desk {
	d := &desk{}
	for name, files := range map[string]cairn.Access{"sh": cairn.AccessWrite, "see": cairn.AccessRead} {
		class := cairn.ClassRead
		if files == cairn.AccessWrite {
			class = cairn.ClassWorkspace
		}
		def := cairn.ToolDef{Name: name, InputSchema: json.RawMessage(`{"type":"object"}`)}
		w.host.tools = append(w.host.tools, cairn.ToolSpec{ToolDef: def, Host: cairn.HostRuntime, Class: class, Files: files, Digest: def.Digest()})
	}
	w.host.repeats = true
	w.host.tool = d.call
	w.host.release = func(context.Context, kernel.Job) cairn.InputData {
		d.mu.Lock()
		defer d.mu.Unlock()
		killed := d.running
		d.running = nil
		return cairn.ReleaseOutcome{Killed: killed}
	}
	return d
}

func (d *desk) call(ctx context.Context, j kernel.Job) cairn.InputData {
	t := j.Effect.Tool
	if t.Files == cairn.AccessNone {
		return done("ok")
	}
	d.mu.Lock()
	if t.Files == cairn.AccessWrite {
		if d.busy++; d.busy > 1 {
			d.wrong = append(d.wrong, "two writes at once")
		}
		if int(t.Workspace.Layer) > len(d.lines) {
			d.wrong = append(d.wrong, "a state that never was")
		}
		d.lines = append(d.lines[:t.Workspace.Layer:t.Workspace.Layer], string(t.Args)) // put back, and written
	}
	state := strings.Join(d.lines, "")
	d.mu.Unlock()
	j.Say(cairn.Delta{Kind: cairn.PartOutput, Text: "half "})
	select {
	case <-time.After(time.Second):
	case <-ctx.Done():
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if t.Files == cairn.AccessWrite {
		d.busy--
	}
	if ctx.Err() != nil {
		return stopped(j.Effect)
	}
	out := cairn.ToolOutcome{Result: &cairn.ToolResult{Content: []cairn.Part{cairn.Text(state)}}}
	if t.Files == cairn.AccessWrite {
		out.Files = &cairn.Snapshotted{Snapshot: cairn.Snapshot{Layer: int64(len(d.lines)), Tree: cairn.DigestOf([]byte(state))}}
		if strings.Contains(string(t.Args), "server") {
			d.running = []string{"server"}
		}
		out.Files.Running = slices.Clone(d.running)
	}
	return out
}

// Calls on the files happen in the order the model wrote them, and what reads sees
// what was written before it.
func TestFilesInOrder(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		d := w.withDesk()
		w.host.model = says(calls("sh", `{"a":1}`, "see", `{}`, "see", `{}`, "sh", `{"b":2}`, "see", `{}`, "look", `{}`))
		w.node(kernel.Options{Sandbox: "ns"})
		k := w.start("Go.", true)
		w.until(k, cairn.StatusCompleted)
		var seen []string
		for _, e := range w.history(k) {
			if c, ok := e.Data.(cairn.ToolCallCompleted); ok {
				seen = append(seen, cairn.TextOf(c.Result.Content))
			}
		}
		if diff := cmp.Diff([]string{`{"a":1}`, `{"a":1}`, `{"a":1}`, `{"a":1}{"b":2}`, `{"a":1}{"b":2}`}, without(seen, "ok")); diff != "" || len(d.wrong) > 0 {
			t.Errorf("%v (-want +got):\n%s", d.wrong, diff)
		}
		if got := w.count(k, "workspace.snapshotted"); got != 2 {
			t.Errorf("%d states are recorded, not 2", got)
		}
		row, err := w.j.Summary(t.Context(), k)
		if err != nil || row.Sandbox != "ns" {
			t.Errorf("the list shows sandbox %q: %v", row.Sandbox, err)
		}
	})
}

func without(all []string, s string) []string {
	return slices.DeleteFunc(all, func(x string) bool { return x == s })
}

// Wherever the process dies, each command took place exactly once on the files,
// and the state that is recorded is the one that is there.
func TestFilesAfterDeath(t *testing.T) {
	for seed := range uint64(12) {
		bubbleOf(t, "after", seed, func(t *testing.T, w *world) {
			d := w.withDesk()
			w.host.model = says(calls("sh", `{"a":1}`, "sh", `{"b":2}`), calls("sh", `{"c":3}`), calls("sh", `{"d":4}`))
			n := w.node(kernel.Options{LeaseTTL: time.Second})
			k := w.start("Go.", true)
			pass(time.Duration(seed)*400*time.Millisecond + 50*time.Millisecond)
			if err := n.crash(); err != nil {
				t.Fatal(err)
			}
			w.node(kernel.Options{LeaseTTL: time.Second})
			w.until(k, cairn.StatusCompleted)
			want := []string{`{"a":1}`, `{"b":2}`, `{"c":3}`, `{"d":4}`}
			if diff := cmp.Diff(want, d.lines); diff != "" || len(d.wrong) > 0 {
				t.Errorf("%v (-want +files):\n%s", d.wrong, diff)
			}
			var last cairn.Snapshot
			for _, e := range w.history(k) {
				if f, ok := e.Data.(cairn.WorkspaceSnapshotted); ok {
					last = f.Snapshot
				}
			}
			if last.Tree != cairn.DigestOf([]byte(strings.Join(d.lines, ""))) {
				t.Error("the state that is recorded last is not the one of the files")
			}
		})
	}
}

// What a run leaves running is ended before the run is over, however it ends, and
// the summary names it.
func TestRelease(t *testing.T) {
	for _, cancel := range []bool{false, true} {
		t.Run(map[bool]string{true: "cancelled", false: "completed"}[cancel], func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				d := w.withDesk()
				w.host.model = says(calls("sh", `{"a":"server"}`), calls("sh", `{"b":1}`))
				w.node(kernel.Options{})
				k := w.start("Go.", true)
				if cancel {
					pass(1500 * time.Millisecond)
					w.send(k, cairn.Control{Action: cairn.ControlCancel})
					w.until(k, cairn.StatusCancelled)
				} else {
					w.until(k, cairn.StatusCompleted)
				}
				if len(d.running) != 0 {
					t.Errorf("%v still runs", d.running)
				}
				w.has(k, "sandbox.releasing", "sandbox.released")
				for _, e := range w.history(k) {
					switch s := e.Data.(type) {
					case cairn.RunCompleted:
						if !slices.Contains(s.Summary.Killed, "server") {
							t.Errorf("killed: %v", s.Summary.Killed)
						}
					case cairn.RunCancelled:
						if !slices.Contains(s.Summary.Killed, "server") {
							t.Errorf("killed: %v", s.Summary.Killed)
						}
					}
				}
			})
		})
	}
}

// latest is what a watch has to say at once.
func latest(t *testing.T, w *kernel.Watch) kernel.News {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	n, _ := w.Next(ctx) // nothing new: nothing is said
	return n
}

// Output of a tool is seen while it runs, and no more once its result is recorded.
func TestToolOutput(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.withDesk()
		w.host.model = says(calls("sh", `{"a":1}`))
		n := w.node(kernel.Options{})
		k := w.start("Go.", true)
		watch := n.live.Watch(k)
		defer watch.Stop()
		pass(500 * time.Millisecond)
		var said string
		for _, s := range latest(t, watch).Said {
			if s.Kind == cairn.PartOutput {
				said += s.Text
			}
		}
		if said != "half " {
			t.Errorf("what is said while the tool runs is %q", said)
		}
		w.until(k, cairn.StatusCompleted)
		late := n.live.Watch(k)
		defer late.Stop()
		if got := latest(t, late).Said; len(got) != 0 {
			t.Errorf("after the end %v is still being said", got)
		}
	})
}

// What a tool said is not said any more when nobody knows what became of its call.
func TestToolOutputUnknown(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.host.model = says(calls("pay", `{"amount":5}`))
		w.host.tool = func(_ context.Context, j kernel.Job) cairn.InputData {
			j.Say(cairn.Delta{Kind: cairn.PartOutput, Text: "half"})
			return cairn.ToolOutcome{Error: cairn.Errorf(cairn.CodeUnavailable, "the connection broke")}
		}
		n := w.node(kernel.Options{})
		k := w.start("Pay.", true)
		w.until(k, cairn.StatusWaiting)
		late := n.live.Watch(k)
		defer late.Stop()
		if got := latest(t, late).Said; len(got) != 0 {
			t.Errorf("after the call %v is still being said", got)
		}
	})
}

// A session that is moved goes on under the new definition with its next model
// call, also when the process dies in between.
func TestMove(t *testing.T) {
	for seed := range uint64(6) {
		bubbleOf(t, "after", seed, func(t *testing.T, w *world) {
			w.host.tool = slow(time.Second)
			w.host.repeats = true
			w.host.model = func(_ context.Context, j kernel.Job) cairn.InputData {
				a := text(j.Request.System)
				if len(j.Request.Messages) == 1 {
					a = calls("look", `{}`)
				}
				return cairn.ModelOutcome{Answer: &a}
			}
			old := w.agent
			w.use(&cairn.Agent{Name: "b", Model: "script/two", Instructions: "Be quick."})
			to := w.agent
			w.agent = old
			n := w.node(kernel.Options{LeaseTTL: time.Second})
			k := w.start("Go.", false)
			pass(300 * time.Millisecond)
			w.send(k, cairn.Move{Agent: "b", Digest: to.Digest(), Reason: "cheaper"})
			if seed > 0 {
				pass(time.Duration(seed) * 250 * time.Millisecond)
				if err := n.crash(); err != nil {
					t.Fatal(err)
				}
				w.node(kernel.Options{LeaseTTL: time.Second})
			}
			w.until(k, cairn.StatusIdle)
			w.has(k, "session.moving", "session.moved")
			said := ""
			for _, e := range w.history(k) {
				switch d := e.Data.(type) {
				case cairn.ModelCompleted:
					said = cairn.TextOf(d.Answer.Content)
				case cairn.SessionMoved:
					if d.Digest != to.Digest() || d.From != old.Digest() {
						t.Errorf("moved from %s to %s", d.From, d.Digest)
					}
				case cairn.CacheBroken:
					if d.Reason != "model_switched" {
						t.Errorf("the cache is broken because of %s", d.Reason)
					}
				}
			}
			if said != "Be quick." {
				t.Errorf("the last answer was asked for with %q", said)
			}
		})
	}
}

// Of a very long output the end is seen, at the offset where it stands.
func TestToolOutputEnd(t *testing.T) {
	t.Parallel()
	l := kernel.NewLive()
	k := cairn.SessionKey{Tenant: tenant, ID: "ses_1"}
	w := l.Watch(k)
	defer w.Stop()
	var all strings.Builder
	got := make([]byte, 0, 1<<22)
	for i := range 40_000 {
		line := fmt.Sprintf("line %d is long enough to be cut é\n", i)
		all.WriteString(line)
		l.Say(k, "eff_1", 1, cairn.Delta{Kind: cairn.PartOutput, Text: line})
		if i%5000 != 0 && i != 39_999 {
			continue
		}
		for _, s := range latest(t, w).Said {
			if len(s.Text) > 256<<10 {
				t.Fatalf("%d bytes at once", len(s.Text))
			}
			got = append(got[:min(len(got), s.Offset)], make([]byte, max(0, s.Offset-len(got)))...)
			got = append(got, s.Text...)
		}
	}
	want := all.String()
	if len(got) != len(want) || string(got[len(got)-50_000:]) != want[len(want)-50_000:] {
		t.Errorf("%d bytes were seen of %d, or other ones", len(got), len(want))
	}
}
