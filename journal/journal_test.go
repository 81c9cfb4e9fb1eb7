package journal_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/blob"
	"github.com/cairn-run/cairn/journal"
	"github.com/cairn-run/cairn/journal/memory"
)

const tenant cairn.TenantID = "acme"

var key = cairn.SessionKey{Tenant: tenant, ID: "ses_01ARZ3NDEKTSV4RRFFQ69G5FAV"}

func newJournal() *journal.Journal {
	return journal.New(memory.Open(memory.Options{}), blob.New(&blob.Memory{}, blob.Options{}))
}

// message is an event of the n-th place with a text.
func message(n cairn.Seq, text string) cairn.Event {
	return cairn.Event{
		Seq: n, At: time.Date(2026, 1, 1, 0, 0, int(n), 0, time.UTC), Run: "run_1",
		Data: cairn.MessageCreated{Content: []cairn.Part{cairn.Text(text)}, Origin: "user"},
	}
}

func TestFrames(t *testing.T) {
	t.Parallel()
	large := strings.Repeat("<large> ", journal.MaxInline/8)
	for name, events := range map[string][]cairn.Event{
		"none":      nil,
		"one":       {message(1, "hello")},
		"some":      {message(7, "hello"), message(8, "<b>&amp;</b>"), message(9, "")},
		"large":     {message(1, large)},
		"in middle": {message(1, "before"), message(2, large), message(3, "after")},
		"unknown":   {{Seq: 4, At: time.Unix(0, 0).UTC(), Data: cairn.UnknownEvent{Type: "of.the.future", Raw: []byte(`{"a":[1,2]}`)}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			j := newJournal()
			f, err := j.Encode(t.Context(), tenant, events)
			if err != nil {
				t.Fatal(err)
			}
			if len(f.Data) > journal.MaxInline {
				t.Errorf("the frame has %d bytes: its large event is in it", len(f.Data))
			}
			if len(events) == 0 {
				if d := cmp.Diff(journal.Frame{}, f); d != "" {
					t.Errorf("frame of nothing (-want +got):\n%s", d)
				}
				return
			}
			if f.First != events[0].Seq || f.Count != len(events) || f.Last() != events[len(events)-1].Seq {
				t.Errorf("frame of %d to %d is %d, %d", events[0].Seq, events[len(events)-1].Seq, f.First, f.Count)
			}
			got, err := j.Decode(t.Context(), tenant, f)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(events, got); d != "" {
				t.Errorf("events differ (-want +got):\n%s", d)
			}
		})
	}
}

func TestFramesRefused(t *testing.T) {
	t.Parallel()
	j := newJournal()
	if _, err := j.Encode(t.Context(), tenant, []cairn.Event{message(1, "a"), message(3, "c")}); err == nil {
		t.Error("a gap was encoded")
	}
	if _, err := j.Encode(t.Context(), tenant, []cairn.Event{{Seq: 1}}); err == nil {
		t.Error("an event without data was encoded")
	}
	f, err := j.Encode(t.Context(), tenant, []cairn.Event{message(1, "a"), message(2, strings.Repeat("b", journal.MaxInline))})
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*journal.Frame){
		"other place": func(f *journal.Frame) { f.First++ },
		"too few":     func(f *journal.Frame) { f.Count++ },
		"too many":    func(f *journal.Frame) { f.Count-- },
		"cut":         func(f *journal.Frame) { f.Data = f.Data[:len(f.Data)-1] },
		"no data":     func(f *journal.Frame) { f.Data = nil },
	} {
		bad := f
		change(&bad)
		if got, err := j.Decode(t.Context(), tenant, bad); err == nil {
			t.Errorf("%s: decoded to %v", name, got)
		}
	}
	if _, err := j.Decode(t.Context(), "another", f); err == nil {
		t.Error("another tenant read the large event")
	}
}

// TestEvents writes through the whole journal and reads from every place.
func TestEvents(t *testing.T) {
	t.Parallel()
	ctx, j := t.Context(), newJournal()
	in := cairn.Input{ID: "in_1", To: key, At: time.Unix(5, 0).UTC(), From: cairn.Principal{Kind: "user", ID: "ada"}, Data: cairn.Start{Agent: "support", Title: "<hello>"}}
	if err := j.Post(ctx, in, &journal.NewSession{}, nil); err != nil {
		t.Fatal(err)
	}
	inputs, err := j.Inputs(ctx, key, 10)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]cairn.Input{in}, inputs); d != "" {
		t.Errorf("inputs differ (-want +got):\n%s", d)
	}
	lease, err := j.Beat(ctx, journal.Lease{}, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	claims, err := j.Claim(ctx, lease, journal.Filter{}, 1)
	if err != nil {
		t.Fatal(err)
	}
	c := claims[0]
	var want []cairn.Event
	for i := range 12 {
		var step []cairn.Event
		for n := range 1 + i%3 {
			step = append(step, message(c.Next+cairn.Seq(n), fmt.Sprint("step ", i)))
		}
		want = append(want, step...)
		f, err := j.Encode(ctx, tenant, step)
		if err != nil {
			t.Fatal(err)
		}
		if c, err = j.Commit(ctx, journal.Commit{Claim: c, Frame: f}); err != nil {
			t.Fatal(err)
		}
	}
	for after := range len(want) + 1 {
		var got []cairn.Event
		for e, err := range j.Events(ctx, key, cairn.Seq(after)) {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, e)
		}
		if d := cmp.Diff(want[after:], got, cmp.Transformer("empty", func(e []cairn.Event) []cairn.Event { return append([]cairn.Event{}, e...) })); d != "" && len(got)+len(want[after:]) > 0 {
			t.Fatalf("after %d (-want +got):\n%s", after, d)
		}
	}
}

// TestDigest: a client that says the same again is recognised, whenever it does.
func TestDigest(t *testing.T) {
	t.Parallel()
	base := cairn.Input{ID: "in_1", To: key, At: time.Unix(5, 0), From: cairn.Principal{Kind: "user", ID: "ada"}, Data: cairn.Post{Content: []cairn.Part{cairn.Text("hello")}}}
	digest := func(change func(*cairn.Input)) [32]byte {
		in := base
		change(&in)
		l, err := journal.LetterOf(in)
		if err != nil {
			t.Fatal(err)
		}
		return l.Digest
	}
	same := digest(func(*cairn.Input) {})
	if digest(func(in *cairn.Input) { in.At = in.At.Add(time.Hour) }) != same {
		t.Error("a later time is other content")
	}
	for name, change := range map[string]func(*cairn.Input){
		"text": func(in *cairn.Input) { in.Data = cairn.Post{Content: []cairn.Part{cairn.Text("good bye")}} },
		"kind": func(in *cairn.Input) { in.Data = cairn.Wake{} },
		"who":  func(in *cairn.Input) { in.From.ID = "bob" },
		"id":   func(in *cairn.Input) { in.ID = "in_2" },
	} {
		if digest(change) == same {
			t.Errorf("another %s is the same content", name)
		}
	}
	if _, err := journal.LetterOf(cairn.Input{ID: "in_1"}); err == nil {
		t.Error("an input without data was encoded")
	}
}

// FuzzDecode: no bytes make Decode panic, and what it accepts it writes back as
// it was read.
func FuzzDecode(f *testing.F) {
	j := newJournal()
	for _, events := range [][]cairn.Event{
		{message(1, "hello")},
		{message(5, "hello"), message(6, strings.Repeat("x", journal.MaxInline))},
	} {
		frame, err := j.Encode(context.Background(), tenant, events)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(uint64(frame.First), frame.Count, frame.Data)
	}
	f.Add(uint64(1), 0, []byte(`[]`))
	f.Add(uint64(1), -1, []byte(`[]`))
	f.Add(uint64(1), 1, []byte(`[{"seq":1,"blob":"sha256:00","size":-1}]`))
	f.Add(uint64(1), 1, []byte(`[{"seq":1,"type":"x","at":"2026-01-01T00:00:00Z","data":null}]`))
	f.Fuzz(func(t *testing.T, first uint64, count int, data []byte) {
		ctx := t.Context()
		events, err := j.Decode(ctx, tenant, journal.Frame{First: cairn.Seq(first), Count: count, Data: data})
		if err != nil || len(events) == 0 {
			return
		}
		frame, err := j.Encode(ctx, tenant, events)
		if err != nil {
			return // a time or a raw value that JSON reads and does not write
		}
		again, err := j.Decode(ctx, tenant, frame)
		if err != nil {
			t.Fatalf("%q was read, written as %q, and cannot be read: %v", data, frame.Data, err)
		}
		once, err := j.Encode(ctx, tenant, again)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(string(frame.Data), string(once.Data)); d != "" {
			t.Errorf("written twice (-first +second):\n%s", d)
		}
	})
}
