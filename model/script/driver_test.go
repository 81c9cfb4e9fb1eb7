package script

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/model"
)

// failer is what *testing.T and *rapid.T have in common.
type failer interface{ Fatal(...any) }

// record writes down all that a call yields.
func record(t failer, d *Driver, r *cairn.ModelRequest, attempt int) string {
	var out strings.Builder
	for chunk, err := range d.Call(context.Background(), model.Call{Attempt: attempt, Request: r}) {
		b, jsonErr := json.Marshal(chunk)
		if jsonErr != nil {
			t.Fatal(jsonErr)
		}
		fmt.Fprintf(&out, "%s %v\n", b, err)
	}
	return out.String()
}

// TestTimes plays a stream on a bubble's clock: when each piece comes.
func TestTimes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := parse(t, `
delay: 10s
stream: {chunk: 2, every: 1s}
replies:
  - {text: aäbc, calls: [{tool: t, args: {}}]}
  - {text: abc, delay: 0s, stream: {}}
  - {text: abcdef, delay: 1m, fail: [{after_bytes: 3, hang: 1h}, {code: overloaded}]}
`)
		d := New(map[string]*Script{"x": s})
		asked := []*cairn.ModelRequest{
			chat("user: a"), chat("user: a", "assistant: b", "user: c"),
			chat("user: a", "assistant: b", "user: c", "assistant: d", "user: e"),
		}
		var got []string
		for i, r := range asked {
			for attempt := 1; attempt <= 1+i/2; attempt++ {
				start := time.Now()
				for chunk, err := range d.Call(t.Context(), model.Call{Attempt: attempt, Request: r}) {
					what := "answer"
					switch {
					case err != nil:
						what = err.Error()
					case chunk.Delta != nil:
						what = fmt.Sprint(chunk.Delta.Index, chunk.Delta.Tool, " ", chunk.Delta.Text)
					}
					got = append(got, fmt.Sprint(time.Since(start), " ", what))
				}
			}
		}
		want := []string{
			"10s 0 a", "11s 0 ä", "12s 0 bc", "13s 1t {}", "13s answer",
			"0s 0 abc", "0s answer",
			"1m0s 0 ab", "1m1s 0 c", "1h1m1s cut_stream: scripted failure",
			"1m0s overloaded: scripted failure",
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	})
}

// TestCancel stops a call wherever it waits.
func TestCancel(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"delay":  "default: {text: a, delay: 100h}",
		"stream": "default: {text: abc, stream: {chunk: 1, every: 100h}}",
		"hang":   "default: {text: a, fail: [{after_bytes: 1, hang: 100h}]}",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				start := time.Now()
				var last error
				for chunk, err := range New(map[string]*Script{"x": parse(t, text)}).Call(ctx, model.Call{Attempt: 1, Request: chat("user: a")}) {
					if chunk.Answer != nil {
						t.Error("an answer came")
					}
					last = err
				}
				if cairn.CodeOf(last) != cairn.CodeTimeout || time.Since(start) != time.Minute {
					t.Errorf("%v after %s", last, time.Since(start))
				}
			})
		})
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestOpen(t *testing.T) {
	t.Parallel()
	one, two := t.TempDir(), t.TempDir()
	write(t, filepath.Join(one, "both.yml"), "model: yml\nreplies: [{text: a}]")
	write(t, filepath.Join(two, "both.yaml"), "model: second\nreplies: [{text: a}]")
	write(t, filepath.Join(two, "only.json"), `{"model": "json", "rates": {"input": "$1"}, "window": 5, "max_output": 6, "replies": [{"text": "a"}]}`)
	write(t, filepath.Join(two, "sub", "deep.yaml"), "replies: [{text: a}]")
	write(t, filepath.Join(two, "bad.yaml"), "replies:\n- txt: a")
	write(t, filepath.Join(two, "notes.txt"), "")
	write(t, filepath.Join(filepath.Dir(two), filepath.Base(two)+"x.yaml"), "replies: [{text: outside}]")
	d := Open(filepath.Join(one, "missing"), one, two)

	models := map[string]string{}
	for _, name := range []string{"both", "only", "sub/deep"} {
		for chunk, err := range d.Call(t.Context(), model.Call{Attempt: 1, Request: &cairn.ModelRequest{Model: "script/" + name}}) {
			if err != nil {
				t.Fatal(err)
			}
			if chunk.Answer != nil {
				models[name] = chunk.Answer.Model
			}
		}
	}
	if diff := cmp.Diff(map[string]string{"both": "yml", "only": "json", "sub/deep": "sub/deep"}, models); diff != "" {
		t.Error(diff)
	}
	info, err := d.Info(t.Context(), "only")
	if err != nil {
		t.Fatal(err)
	}
	want := cairn.ModelInfo{Name: "only", Provider: "script", Prices: cairn.Flat(cairn.Rates{Input: cairn.Dollar}), Priced: true, Window: 5, MaxOutput: 6}
	if diff := cmp.Diff(want, info); diff != "" {
		t.Error(diff)
	}
	_, err = d.Info(t.Context(), "bad")
	if e := cairn.AsError(err); e.Code != cairn.CodeInvalid || !strings.HasPrefix(e.Message, `bad.yaml:2:3: unknown field "txt"`) {
		t.Error(err)
	}
	for _, name := range []string{
		"", "nobody", "../" + filepath.Base(two) + "x", "../x", "sub/../only", "/etc/passwd", "sub", "only.json", ".only", "a\x00b",
	} {
		if _, err := d.Info(t.Context(), name); cairn.CodeOf(err) != cairn.CodeNotFound {
			t.Errorf("%q: %v", name, err)
		}
	}
	_, err = d.Info(t.Context(), "nobody")
	if e := cairn.AsError(err); !strings.HasSuffix(e.Message, "there is: bad, both, only") {
		t.Error(err)
	}
}

// TestReload: a file that changed is read again, one that is gone is not there.
func TestReload(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "x.yaml")
	d := Open(filepath.Dir(path))
	for i, want := range []string{"one", "", "three", ""} {
		switch {
		case i == 3:
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
		case want == "":
			write(t, path, "- broken")
		default:
			write(t, path, "replies: [{text: "+want+"}]")
		}
		if i < 3 { // two writes may fall into one tick of the file system's clock
			when := time.Unix(int64(1000+i), 0)
			if err := os.Chtimes(path, when, when); err != nil {
				t.Fatal(err)
			}
		}
		for range 2 { // the second time from memory
			s, _, err := d.script("x")
			if (err == nil) != (want != "") {
				t.Fatalf("%d: %v", i, err)
			}
			if err == nil && s.Replies[0].Text != want {
				t.Errorf("%d: %q, want %q", i, s.Replies[0].Text, want)
			}
		}
	}
}

func TestNewInvalid(t *testing.T) {
	t.Parallel()
	d := New(map[string]*Script{"x": {Replies: []Reply{{}}}})
	_, err := d.Info(t.Context(), "x")
	if e := cairn.AsError(err); e.Code != cairn.CodeInvalid || !strings.HasPrefix(e.Message, `script "x": replies[0]: an empty reply`) {
		t.Error(err)
	}
	if _, err := d.Info(t.Context(), "y"); cairn.CodeOf(err) != cairn.CodeNotFound {
		t.Error(err)
	}
}

// TestManyFiles: what is kept in memory is bounded.
func TestManyFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	d := Open(dir)
	for i := range maxCached + 10 {
		name := fmt.Sprint("s", i)
		write(t, filepath.Join(dir, name+".yaml"), "replies: [{text: a}]")
		if _, _, err := d.script(name); err != nil {
			t.Fatal(err)
		}
	}
	if len(d.files) > maxCached {
		t.Errorf("%d files are kept", len(d.files))
	}
}
