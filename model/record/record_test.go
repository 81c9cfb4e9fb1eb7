package record_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/model"
	"github.com/cairn-run/cairn/model/modeltest"
	"github.com/cairn-run/cairn/model/record"
	"github.com/cairn-run/cairn/model/script"
)

func ask(name string, lines ...string) *cairn.ModelRequest {
	r := &cairn.ModelRequest{Model: name, System: "Be brief.", Params: cairn.ModelParams{MaxOutput: 1000}}
	for i, text := range lines {
		role := cairn.RoleUser
		if i%2 == 1 {
			role = cairn.RoleAssistant
		}
		r.Messages = append(r.Messages, cairn.Message{Role: role, Content: []cairn.Part{cairn.Text(text)}})
	}
	return r
}

func create(t testing.TB) (*record.Recorder, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "rec.yaml")
	r, err := record.Create(path, &script.Tape{})
	if err != nil {
		t.Fatal(err)
	}
	return r, path
}

// parse reads a recording as the script model does.
func parse(t testing.TB, path string) *script.Script {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	s, err := script.Parse(filepath.Base(path), data)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// outcome is how a call ended, as text.
func outcome(ctx context.Context, d model.Driver, c model.Call) string {
	for chunk, err := range d.Call(ctx, c) {
		if err != nil {
			f := model.AsFailure(err)
			b, _ := json.Marshal(struct {
				E *cairn.Error
				U *cairn.Usage
				R json.RawMessage
			}{f.Err, f.Usage, f.RawUsage})
			return string(b)
		}
		if chunk.Answer != nil {
			b, _ := json.Marshal(chunk.Answer)
			return string(b)
		}
	}
	return "nothing"
}

// said is a driver that says the next of its outcomes.
type said struct {
	mu   sync.Mutex
	next []any
}

func (s *said) Info(_ context.Context, name string) (cairn.ModelInfo, error) {
	return cairn.ModelInfo{Name: name, Provider: "p", Window: 1000, MaxOutput: 100, Priced: true, Prices: cairn.Flat(cairn.Rates{Input: 3})}, nil
}

func (s *said) Call(ctx context.Context, _ model.Call) iter.Seq2[model.Chunk, error] {
	return func(yield func(model.Chunk, error) bool) {
		s.mu.Lock()
		var o any
		if len(s.next) > 0 {
			o, s.next = s.next[0], s.next[1:]
		}
		s.mu.Unlock()
		switch o := o.(type) {
		case *cairn.ModelAnswer:
			if yield(model.Chunk{Delta: &cairn.Delta{Kind: cairn.PartText, Text: cairn.TextOf(o.Content)}}, nil) {
				yield(model.Chunk{Answer: o}, nil)
			}
		case error:
			yield(model.Chunk{}, o)
		case time.Duration:
			select {
			case <-ctx.Done():
				yield(model.Chunk{}, ctx.Err())
			case <-time.After(o):
			}
		}
	}
}

func (s *said) List(context.Context) ([]cairn.ModelInfo, error) {
	return []cairn.ModelInfo{{Name: "m"}}, nil
}

var rich = &cairn.ModelAnswer{
	Model: "m-2026-01-01",
	Content: []cairn.Part{
		{Kind: cairn.PartReasoning, Text: "Hm.\n", Provider: "p", Opaque: json.RawMessage(`{"type":"thinking","thinking":"Hm.\n","signature":"a+/="}`)},
		cairn.Text("Let me look."),
		{Kind: cairn.PartToolCall, CallID: "toolu_1", Tool: "find", Args: `{ "b": 1.0,"a":"<é>" }`},
		{Kind: cairn.PartToolCall, CallID: "toolu_2", Tool: "find", Args: `{"broken": `},
		{Kind: cairn.PartOpaque, Provider: "p", Opaque: json.RawMessage(`{"type":"new","z":1,"a":[1e3]}`)},
		{Kind: cairn.PartText, Text: "And an image:"},
		{Kind: cairn.PartImage, MediaType: "image/png", Data: []byte{0, 1, 255}},
	},
	Stop: cairn.StopToolUse, Finish: "tool_use", Usage: cairn.Usage{Input: 10, CacheRead: 5, Output: 7, Reasoning: 2, Searches: 1},
	RawUsage: json.RawMessage(`{"output_tokens":7,"input_tokens":10}`), Service: "priority", Beside: []string{"tokens: 5"},
}

// TestRecord: what was said is played back the same, from the file as it is after
// each call.
func TestRecord(t *testing.T) {
	t.Parallel()
	rec, path := create(t)
	used := cairn.Usage{Input: 3}
	d := rec.Wrap("p", &said{next: []any{
		&model.Failure{Err: &cairn.Error{Code: cairn.CodeOverloaded, Message: "p answered HTTP 529: busy", Retryable: true, NotDone: true, RetryAfter: cairn.Duration(1500 * time.Millisecond)}},
		&model.Failure{Err: &cairn.Error{Code: cairn.CodeCut, Message: "it broke", Retryable: true}, Usage: &used, RawUsage: json.RawMessage(`{"input": 3}`)},
		rich,
		&cairn.Error{Code: cairn.CodeRefused, Message: "no"},
		nil, // ends without a word
		&cairn.ModelAnswer{Model: "m", Stop: cairn.StopEnd},
	}})
	if _, err := d.Info(t.Context(), "m"); err != nil {
		t.Fatal(err)
	}
	calls := []model.Call{
		{Key: "e1", Attempt: 1, Request: ask("p/m", "a")},
		{Key: "e1", Attempt: 2, Request: ask("p/m", "a")},
		{Key: "e1", Attempt: 3, Request: ask("p/m", "a")},
		{Key: "e2", Attempt: 1, Request: ask("p/m", "a", "b", "c")},
		{Key: "e3", Attempt: 1, Request: ask("p/m", "x")},
		{Key: "e4", Attempt: 1, Request: ask("p/m", "y")},
	}
	var want []string
	for i, c := range calls {
		got := outcome(t.Context(), d, c)
		if got == "nothing" { // what a guard makes of it
			got = `{"E":{"code":"cut_stream","message":"the answer broke off before it was complete","retryable":true},"U":null,"R":null}`
		}
		want = append(want, got)
		if n := len(parse(t, path).Recording.Calls); n != i+1 {
			t.Errorf("after %d calls %d are in the file", i+1, n)
		}
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if entries, err := os.ReadDir(filepath.Dir(path)); err != nil || len(entries) != 1 {
		t.Errorf("%v, %v", entries, err)
	}
	if n, err := rec.Close(); n != 6 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	if got := outcome(t.Context(), d, calls[0]); got != "nothing" {
		t.Error(got) // it still goes through
	}
	if _, err := rec.Close(); err != nil {
		t.Error(err)
	}

	back := script.Open(filepath.Dir(path))
	for _, name := range []string{"script/rec", "script/rec/p/m"} {
		var got []string
		for _, c := range calls {
			r := *c.Request
			r.Model = name
			c.Request = &r
			got = append(got, outcome(t.Context(), back, c))
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
	gotInfo, err := back.Info(t.Context(), "rec")
	wantInfo := cairn.ModelInfo{Name: "rec", Provider: "script", Window: 1000, MaxOutput: 100, Priced: true, Prices: cairn.Flat(cairn.Rates{Input: 3})}
	if diff := cmp.Diff(wantInfo, gotInfo); diff != "" || err != nil {
		t.Error(diff, err)
	}
}

// TestStopped: what the caller stopped is not recorded, and silence is, whether
// the guard is around the recorder or behind it.
func TestStopped(t *testing.T) {
	t.Parallel()
	o := model.GuardOptions{Stall: time.Second}
	for name, wrap := range map[string]func(*record.Recorder, model.Driver) model.Driver{
		"guard outside": func(r *record.Recorder, d model.Driver) model.Driver { return model.Guard(r.Wrap("p", d), o) },
		"guard inside":  func(r *record.Recorder, d model.Driver) model.Driver { return r.Wrap("p", model.Guard(d, o)) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rec, path := create(t)
			synctest.Test(t, func(t *testing.T) {
				d := wrap(rec, &said{next: []any{
					time.Hour, time.Hour, time.Hour, &cairn.ModelAnswer{Model: "m", Stop: cairn.StopEnd}, time.Hour,
					&cairn.Error{Code: cairn.CodeRefused, Message: "the last word"},
				}})
				ctx, cancel := context.WithCancel(t.Context())
				time.AfterFunc(time.Millisecond, cancel)
				outcome(ctx, d, model.Call{Key: "stopped", Request: ask("p/m", "a")})
				ctx, stop := context.WithTimeoutCause(t.Context(), time.Millisecond, &cairn.Error{Code: cairn.CodeInterrupted})
				defer stop()
				outcome(ctx, d, model.Call{Key: "interrupted", Request: ask("p/m", "b")})
				outcome(t.Context(), d, model.Call{Key: "silent", Request: ask("p/m", "c")})
				for _, err := range d.Call(t.Context(), model.Call{Key: "left", Request: ask("p/m", "d")}) {
					if err != nil {
						t.Error(err)
					}
					break // at the delta
				}
				ctx, stop = context.WithTimeout(t.Context(), time.Millisecond)
				defer stop()
				outcome(ctx, d, model.Call{Key: "late", Request: ask("p/m", "e")})
				outcome(ctx, d, model.Call{Key: "refused", Request: ask("p/m", "f")})
			})
			var got []string
			for _, c := range parse(t, path).Recording.Calls {
				got = append(got, c.Failure.Error())
			}
			want := []string{
				"timeout: the model said nothing for 1s", "timeout: the model call ran out of time", "refused: the last word",
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestCreate: nothing is recorded over, and nothing is left of nothing.
func TestCreate(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "rec.yaml")
	if err := os.WriteFile(path, []byte("mine"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := record.Create(path, &script.Tape{}); !errors.Is(err, fs.ErrExist) {
		t.Error(err)
	}
	if b, err := os.ReadFile(path); err != nil || string(b) != "mine" {
		t.Errorf("%q, %v", b, err)
	}
	if _, err := record.Create(filepath.Join(dir, "no", "rec.yaml"), &script.Tape{}); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	rec, err := record.Create(filepath.Join(dir, "new.yaml"), &script.Tape{})
	if err != nil {
		t.Fatal(err)
	}
	if len(parse(t, filepath.Join(dir, "new.yaml")).Recording.Calls) != 0 {
		t.Error("a new recording has calls")
	}
	if n, err := rec.Close(); n != 0 || err != nil {
		t.Error(n, err)
	}
	if _, err := os.Stat(filepath.Join(dir, "new.yaml")); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}

// TestFull: when there is no more room the calls go on, the file stays whole, and
// the end says so.
func TestFull(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "rec.yaml")
	rec, err := record.Create(path, &script.Tape{Limit: 1500})
	if err != nil {
		t.Fatal(err)
	}
	s := &said{}
	d := rec.Wrap("p", s)
	for i := range 10 {
		s.next = []any{&cairn.ModelAnswer{Model: "m", Stop: cairn.StopEnd, Content: []cairn.Part{cairn.Text(strings.Repeat("x", 100))}}}
		if got := outcome(t.Context(), d, model.Call{Request: ask("p/m", fmt.Sprint(i))}); !strings.Contains(got, "xxx") {
			t.Error(got)
		}
	}
	n, err := rec.Close()
	if got := len(parse(t, path).Recording.Calls); got != n || n == 0 || n == 10 {
		t.Errorf("%d calls are recorded, %d are in the file", n, got)
	}
	if err == nil || !strings.HasPrefix(err.Error(), fmt.Sprintf("the recording ends after %d calls: ", n)) {
		t.Error(err)
	}
}

// TestAtOnce: sessions that run at once are played back each as it was.
func TestAtOnce(t *testing.T) {
	t.Parallel()
	rec, path := create(t)
	echo := script.New(map[string]*script.Script{"m": {Default: &script.Reply{Text: "{{user}}!", Calls: []script.Call{{Tool: "t", Args: map[string]any{"of": "{{task}}"}}}}}})
	d := rec.Wrap("script", echo)
	var mu sync.Mutex
	want := map[string]string{}
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			lines := []string{fmt.Sprint("session ", i)}
			for turn := range 5 {
				c := model.Call{Key: cairn.EffectID(fmt.Sprint(i, turn)), Attempt: 1, Request: ask("script/m", lines...)}
				got := outcome(t.Context(), d, c)
				mu.Lock()
				want[strings.Join(lines, "|")] = got
				mu.Unlock()
				lines = append(lines, fmt.Sprint("answer ", turn), fmt.Sprint("more ", turn))
			}
		})
	}
	all.Wait()
	if n, err := rec.Close(); n != 40 || err != nil {
		t.Fatal(n, err)
	}
	back := script.Open(filepath.Dir(path))
	for lines, w := range want {
		r := ask("script/rec", strings.Split(lines, "|")...)
		if got := outcome(t.Context(), back, model.Call{Attempt: 1, Request: r}); got != w {
			t.Errorf("%s\n got: %s\nwant: %s", lines, got, w)
		}
	}
}

// TestLister: a driver that lists its models still does.
func TestLister(t *testing.T) {
	t.Parallel()
	rec, _ := create(t)
	l, ok := rec.Wrap("p", &said{}).(model.Lister)
	if !ok {
		t.Fatal("it does not")
	}
	if list, err := l.List(t.Context()); err != nil || len(list) != 1 {
		t.Error(list, err)
	}
	if _, ok := rec.Wrap("script", script.New(nil)).(model.Lister); ok {
		t.Error("the script model lists")
	}
}

// TestNoSecrets: the system prompt, what tools said, and the names of the user's
// things are not in the file, but as hashes.
func TestNoSecrets(t *testing.T) {
	t.Parallel()
	rec, path := create(t)
	d := rec.Wrap("p", &said{next: []any{&cairn.ModelAnswer{Model: "m", Stop: cairn.StopEnd, Content: []cairn.Part{cairn.Text("ok")}}}})
	r := ask("p/m", "my password is hunter2")
	r.System = "The key is sk-system."
	r.Tools = []cairn.ToolDef{{Name: "t", Description: "sk-tool"}}
	outcome(t.Context(), d, model.Call{Key: "eff_secret", Session: cairn.SessionKey{Tenant: "acme", ID: "ses_secret"}, Attempt: 1, Request: r})
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{"hunter2", "sk-system", "sk-tool", "secret", "acme"} {
		if bytes.Contains(b, []byte(secret)) {
			t.Errorf("the file holds %q:\n%s", secret, b)
		}
	}
	if !bytes.Contains(b, []byte(`"ok"`)) {
		t.Errorf("%s", b)
	}
}

// Not parallel: the suite looks for goroutines that are left over.
func TestConformance(t *testing.T) {
	s, err := script.Parse("m.yaml", []byte(`
stream: {chunk: 3}
cases:
  - {when: {user: {equals: text}}, reasoning: Hm., text: Hello there.}
  - {when: {user: {equals: calls}}, calls: [{tool: one}, {tool: two}]}
  - {when: {user: {equals: slow}}, text: This takes a while., stream: {chunk: 4, every: 1000h}}
  - {when: {user: {equals: busy}}, fail: [{code: overloaded}]}
`))
	if err != nil {
		t.Fatal(err)
	}
	call := func(text string) model.Call {
		return model.Call{Key: "eff_1", Attempt: 1, Request: ask("script/m", text)}
	}
	modeltest.Run(t, modeltest.Harness{
		Open: func(t *testing.T) model.Driver {
			rec, _ := create(t)
			return rec.Wrap("script", script.New(map[string]*script.Script{"m": s}))
		},
		Text: call("text"), Calls: call("calls"), Slow: call("slow"), Unknown: "nobody",
		Failing: []modeltest.Failing{{Name: "busy", Call: call("busy"), Code: cairn.CodeOverloaded, Retryable: true, NotDone: true}},
	})
}
