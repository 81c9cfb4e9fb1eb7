package kernel_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/kernel"
)

var topic = cairn.SessionKey{Tenant: tenant, ID: "ses_live"}

func piece(index int, text string) cairn.Delta {
	return cairn.Delta{Kind: cairn.PartText, Index: index, Text: text}
}

// news returns what a watcher has not seen; nothing new: the zero value.
func news(t *testing.T, w *kernel.Watch) kernel.News {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	n, err := w.Next(ctx)
	if err != nil && ctx.Err() == nil {
		t.Fatal(err)
	}
	return n
}

func said(n kernel.News) []string {
	var all []string
	for _, s := range n.Said {
		all = append(all, fmt.Sprintf("%s#%d[%d]@%d %s%s", s.Effect, s.Attempt, s.Index, s.Offset, s.Tool, s.Text))
	}
	return all
}

func equal(t *testing.T, want, got any) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatalf("(-want +got):\n%s", diff)
	}
}

// live runs a test in a bubble, where waiting for news that do not come takes no time.
func live(t *testing.T, test func(*testing.T, *kernel.Live)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, func(t *testing.T) { test(t, kernel.NewLive()) })
}

func TestLiveDeltas(t *testing.T) {
	live(t, func(t *testing.T, l *kernel.Live) {
		w := l.Watch(topic)
		defer w.Stop()
		equal(t, kernel.News{}, news(t, w))
		l.Say(topic, "e", 1, piece(0, "Hel"))
		equal(t, []string{"e#1[0]@0 Hel"}, said(news(t, w)))
		l.Say(topic, "e", 1, piece(0, "lo, "))
		l.Say(topic, "e", 1, piece(0, "you."))
		l.Say(topic, "e", 1, piece(1, "More."))
		equal(t, []string{"e#1[0]@3 lo, you.", "e#1[1]@0 More."}, said(news(t, w)))
		l.Advance(topic, 7, "e")
		n := news(t, w)
		equal(t, cairn.Seq(7), n.Seq)
		equal(t, []string(nil), said(n))
		equal(t, kernel.News{}, news(t, w))
	})
}

// A watcher that joins late hears what was said so far of an open answer.
func TestLiveLateWatcher(t *testing.T) {
	live(t, func(t *testing.T, l *kernel.Live) {
		l.Say(topic, "e", 1, piece(0, "Hello, "))
		l.Say(topic, "e", 1, piece(0, "you."))
		w := l.Watch(topic)
		defer w.Stop()
		equal(t, []string{"e#1[0]@0 Hello, you."}, said(news(t, w)))
		l.Advance(topic, 3, "e")
		late := l.Watch(topic)
		defer late.Stop()
		equal(t, []string(nil), said(news(t, late)))
	})
}

// Another attempt starts the answer anew.
func TestLiveAttempts(t *testing.T) {
	live(t, func(t *testing.T, l *kernel.Live) {
		w := l.Watch(topic)
		defer w.Stop()
		l.Say(topic, "e", 1, piece(0, "It is for"))
		news(t, w)
		l.Say(topic, "e", 2, piece(0, "It is 42."))
		equal(t, []string{"e#2[0]@0 It is 42."}, said(news(t, w)))
	})
}

// A piece without text, as the head of a tool call, is told once.
func TestLiveEmptyPiece(t *testing.T) {
	live(t, func(t *testing.T, l *kernel.Live) {
		w := l.Watch(topic)
		defer w.Stop()
		l.Say(topic, "e", 1, cairn.Delta{Kind: cairn.PartToolCall, Index: 0, Tool: "look"})
		equal(t, []string{"e#1[0]@0 look"}, said(news(t, w)))
		l.Say(topic, "e", 1, piece(1, "And."))
		equal(t, []string{"e#1[1]@0 And."}, said(news(t, w)))
	})
}

// What is kept for late watchers is bounded.
func TestLiveBounded(t *testing.T) {
	live(t, func(t *testing.T, l *kernel.Live) {
		for range 100 {
			l.Say(topic, "e", 1, piece(0, strings.Repeat("x", 64<<10)))
		}
		w := l.Watch(topic)
		defer w.Stop()
		size := 0
		for _, s := range news(t, w).Said {
			size += len(s.Text)
		}
		if size == 0 || size > 1<<20 {
			t.Errorf("%d bytes are kept of one answer", size)
		}
	})
}

// So is the number of its parts: a server may begin a new one with every byte.
func TestLivePartsBounded(t *testing.T) {
	live(t, func(t *testing.T, l *kernel.Live) {
		w := l.Watch(topic)
		defer w.Stop()
		for i := range 100_000 {
			l.Say(topic, "e", 1, piece(i, "x"))
		}
		if n := len(news(t, w).Said); n != 1024 {
			t.Errorf("%d parts are kept of one answer", n)
		}
		l.Say(topic, "e", 1, piece(0, "y"))
		equal(t, []string{"e#1[0]@1 y"}, said(news(t, w)))
	})
}

// A slow watcher slows nobody and skips nothing.
func TestLiveSlowWatcher(t *testing.T) {
	live(t, func(t *testing.T, l *kernel.Live) {
		w := l.Watch(topic)
		defer w.Stop()
		var want strings.Builder
		for i := range 1000 {
			s := fmt.Sprint(i, " ")
			want.WriteString(s)
			l.Say(topic, "e", 1, piece(0, s))
		}
		equal(t, []string{"e#1[0]@0 " + want.String()}, said(news(t, w)))
	})
}

// What a run says and how far it has come is heard by those who watch it.
func TestLiveRun(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.host.model = func(_ context.Context, j kernel.Job) cairn.InputData {
			for _, s := range []string{"Hel", "lo."} {
				j.Say(piece(0, s))
				<-time.After(time.Second)
			}
			a := text("Hello.")
			return cairn.ModelOutcome{Answer: &a}
		}
		n := w.node(kernel.Options{})
		k := w.start("Go.", true)
		watch := n.live.Watch(k)
		defer watch.Stop()
		var heard strings.Builder
		var seq cairn.Seq
		for {
			found := news(t, watch)
			for _, s := range found.Said {
				heard.WriteString(s.Text)
			}
			if seq = max(seq, found.Seq); w.status(k).Final() {
				break
			}
		}
		seq = max(seq, news(t, watch).Seq)
		equal(t, "Hello.", heard.String())
		if last := cairn.Seq(len(w.history(k))); seq != last {
			t.Errorf("the watcher was told of %d events, there are %d", seq, last)
		}
	})
}

// An answer whose owner was fenced is not open here any more: whoever has the
// session now says what is said.
func TestLiveFenced(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.host.model = func(ctx context.Context, j kernel.Job) cairn.InputData {
			if j.Effect.Attempt == 1 {
				j.Say(piece(0, "Hel"))
				<-ctx.Done()
				return stopped(j.Effect)
			}
			<-time.After(time.Second)
			a := text("Hello.")
			return cairn.ModelOutcome{Answer: &a}
		}
		plain := w.store
		shut := &gate{Store: plain}
		w.reopen(shut)
		first := w.node(kernel.Options{})
		k := w.start("Go.", true)
		w.until(k, cairn.StatusRunning)
		shut.beat.Store(&errNet)
		w.reopen(plain)
		w.node(kernel.Options{})
		w.until(k, cairn.StatusCompleted)
		shut.beat.Store(nil)
		pass(time.Minute) // the first hears that its lease ran out
		watch := first.live.Watch(k)
		defer watch.Stop()
		equal(t, []string(nil), said(news(t, watch)))
	})
}
