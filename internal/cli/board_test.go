package cli

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cairn-run/cairn"
	v1 "github.com/cairn-run/cairn/api/v1"
)

// busy is a view of a run in which a model speaks or calls are open.
func busy(at time.Time, data ...cairn.EventData) *view {
	v := newView(testSession)
	v.event(cairn.Event{Seq: 1, At: at, Data: cairn.RunStarted{Sandbox: "ns"}})
	for i, d := range data {
		v.event(cairn.Event{Seq: cairn.Seq(i + 2), At: at, Step: cairn.EffectID(fmt.Sprintf("eff_%d", i+1)), Data: d})
	}
	return v
}

func call(tool, args string) cairn.ToolCallRequested {
	return cairn.ToolCallRequested{Tool: tool, Args: json.RawMessage(args), Verdict: cairn.VerdictAllow}
}

// TestBoardModel shows an answer while it is being said.
func TestBoardModel(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 20, 9, 0, 0, 0, time.UTC)
	v := busy(at, cairn.ModelRequested{Model: "script/x", Attempt: 1})
	b := board{glyphs: plainGlyphs}
	now := at.Add(65 * time.Second)
	show := func(width int) []string { return b.lines(v, now, width, 24) }
	if d := cmp.Diff([]string{`/ model script/x 1m05s · step 1 · 1m05s`}, show(80)); d != "" {
		t.Error(d)
	}
	v.delta(v1.Delta{Effect: "eff_1", Attempt: 1, Kind: cairn.PartText, Text: "lost words"}, now)
	v.delta(v1.Delta{Effect: "eff_1", Attempt: 2, Kind: cairn.PartText, Text: "The order\nis "}, now)
	v.delta(v1.Delta{Effect: "eff_2", Attempt: 2, Kind: cairn.PartText, Text: "another call"}, now)
	v.delta(v1.Delta{Effect: "eff_1", Attempt: 2, Kind: cairn.PartText, Text: "on its \x1b[2Jway."}, now)
	if d := cmp.Diff([]string{"  is on its way.", `/ model script/x 1m05s, attempt 2 · step 1 · 1m05s`}, show(80)); d != "" {
		t.Error(d)
	}
}

// TestBoardCalls shows what open calls do, and the end of what the loudest prints.
func TestBoardCalls(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 20, 9, 0, 0, 0, time.UTC)
	v := busy(at,
		call("bash", `{"command":"make test"}`), call("read", `{"path":"main.go"}`),
		cairn.ToolCallRequested{Tool: "refund", Args: json.RawMessage(`{"amount":70}`), Verdict: cairn.VerdictAsk})
	b := board{glyphs: plainGlyphs}
	say := func(effect cairn.EffectID, attempt int, text string) {
		v.delta(v1.Delta{Effect: effect, Attempt: attempt, Kind: cairn.PartOutput, Text: text}, at)
	}
	say("eff_1", 1, "old\n")
	say("eff_1", 2, "\x1b[31mone\x1b[0m\n10%\r50%\r100%\n\n\x1b]0;title\athree \xe6\x97")
	say("eff_1", 1, "late")
	say("eff_1", 2, "\xa5\n\x1b[3")
	say("eff_none", 1, "nobody")
	want := []string{
		"  | bash  make test  4s",
		"    | one",
		"    | 100%",
		"    | three 日",
		"  | read  main.go  4s",
		`  ? refund  {"amount":70}  waits for an answer`,
		"| 4s",
	}
	now := at.Add(4200 * time.Millisecond) // the spinner stands at its first sign
	now = now.Truncate(4 * spinPause).Add(4 * spinPause)
	if d := cmp.Diff(want, b.lines(v, now, 80, 24)); d != "" {
		t.Error(d)
	}
}

// TestBoardFits: no board is wider than the terminal, nor higher than half of it,
// and none has control characters.
func TestBoardFits(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 20, 9, 0, 0, 0, time.UTC)
	var calls []cairn.EventData
	for i := range 9 {
		calls = append(calls, call("bash", fmt.Sprintf(`{"command":"echo 日本語 🎉 %d %s"}`, i, strings.Repeat("x", 200))))
	}
	model := busy(at, cairn.ModelRequested{Model: strings.Repeat("m", 200), Attempt: 1})
	model.delta(v1.Delta{Effect: "eff_1", Attempt: 1, Kind: cairn.PartText, Text: strings.Repeat("日本語 \x1b[2J", 100)}, at)
	tools := busy(at, calls...)
	tools.delta(v1.Delta{Effect: "eff_3", Attempt: 1, Kind: cairn.PartOutput, Text: strings.Repeat(strings.Repeat("ウ", 300)+"\n", 9)}, at)
	b := board{style: style{color: true}, glyphs: unicodeGlyphs}
	for _, v := range []*view{model, tools} {
		for width := range 140 {
			for height := range 40 {
				lines := b.lines(v, at, width, height)
				if len(lines) > max(height/2, 1) || len(lines) > maxBoard {
					t.Fatalf("%d lines on a terminal of %d", len(lines), height)
				}
				for _, l := range lines {
					if n := columns(l); n >= width && width > 0 {
						t.Fatalf("%d columns of %d: %q", n, width, l)
					}
				}
			}
		}
	}
}

func TestUploadLine(t *testing.T) {
	t.Parallel()
	p := &packing{files: 2, bytes: 4000}
	for done, want := range map[int64]string{
		0: "workspace: 0 of 4,000 bytes, 0%, 2 files", 1234: "workspace: 1,234 of 4,000 bytes, 30%, 2 files", 4000: "workspace: storing 2 files, 4,000 bytes",
	} {
		if got := uploadLine(p, done, 80); got != want {
			t.Errorf("%d: %q, want %q", done, got, want)
		}
	}
	if got := uploadLine(&packing{}, 0, 20); columns(got) > 16 {
		t.Errorf("%q is too wide", got)
	}
}

func TestWidth(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]int{
		"": 0, "abc": 3, "日本": 4, "é": 1, "e\u0301": 1, "\x1b[31mred\x1b[0m": 3, "🎉!": 3, "\u200b": 0, "한국": 4, "…": 1, "\xff": 1,
	} {
		if got := columns(text); got != want {
			t.Errorf("%q takes %d columns, want %d", text, got, want)
		}
	}
	for _, c := range []struct {
		text string
		most int
		want string
	}{
		{"hello", 5, "hello"},
		{"hello", 4, "hel…"},
		{"日本語", 5, "日本…"},
		{"日本語", 4, "日…"},
		{"hello", 0, ""},
		{"\x1b[31mhello\x1b[0m", 3, "\x1b[31mhe…\x1b[0m"},
		{"\x1b[31mhello\x1b[0m there", 8, "\x1b[31mhello\x1b[0m t…"},
	} {
		if got := fit(c.text, c.most); got != c.want {
			t.Errorf("fit(%q, %d) = %q, want %q", c.text, c.most, got, c.want)
		}
	}
	for _, c := range []struct {
		text string
		most int
		want string
	}{{"hello", 5, "hello"}, {"hello", 3, "…lo"}, {"日本語", 5, "…本語"}, {"日本語", 4, "…語"}, {"hello", 0, ""}} {
		if got := fitTail(c.text, c.most); got != c.want || columns(got) > c.most {
			t.Errorf("fitTail(%q, %d) = %q, want %q", c.text, c.most, got, c.want)
		}
	}
	want := []string{"  one two", "  three", "", "https://example.com/long", "end"}
	if d := cmp.Diff(want, wrapped("  one two three\n\nhttps://example.com/long end", 11)); d != "" {
		t.Error(d)
	}
}

// FuzzPrinted: whatever a tool prints, what is shown of it has no control
// characters and no line breaks, and no more lines than were asked for.
func FuzzPrinted(f *testing.F) {
	f.Add("\x1b[31mred\x1b[0m\n10%\r50%")
	f.Add("\x1b]8;;http://x\x1b\\link\x1b]8;;\a")
	f.Add("\x1b[")
	f.Add("\x1bP\x1b\x1b\xff")
	f.Fuzz(func(t *testing.T, text string) {
		lines := lastLines(text, 3)
		if len(lines) > 3 {
			t.Fatalf("%d lines", len(lines))
		}
		for _, l := range lines {
			if clean(l) != l || strings.ContainsAny(l, "\n\t\x1b") {
				t.Fatalf("a control character in %q", l)
			}
			for most := range 20 {
				if n := columns(fit(l, most)); n > most {
					t.Fatalf("%d columns of %d", n, most)
				}
				if n := columns(fitTail(l, most)); n > most {
					t.Fatalf("%d columns of %d", n, most)
				}
			}
			_ = wrapped(l, 10)
		}
	})
}
