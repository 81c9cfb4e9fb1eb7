package cli

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"pgregory.net/rapid"

	"github.com/cairn-run/cairn"
)

func TestWords(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ got, want string }{
		{count(0), "0"},
		{count(999), "999"},
		{count(1000), "1,000"},
		{count(1234567), "1,234,567"},
		{count(-1234), "-1,234"},
		{count(-123), "-123"},
		{plural(1, "step"), "1 step"},
		{plural(0, "step"), "0 steps"},
		{plural(1200, "step"), "1,200 steps"},
		{took(-time.Second), "0ms"},
		{took(12 * time.Millisecond), "12ms"},
		{took(3460 * time.Millisecond), "3.4s"},
		{took(125 * time.Second), "2m05s"},
		{took(3*time.Hour + 20*time.Minute), "3h20m"},
		{took(121 * time.Hour), "5d"},
		{tokens(cairn.Usage{Input: 10, Output: 3}), "10 in, 3 out"},
		{digest(cairn.DigestOf(nil)), "e3b0c44298fc"},
		{digest("short"), "short"},
		{principal(cairn.Principal{Kind: "user", ID: "ada"}), "user:ada"},
		{principal(cairn.Principal{}), "somebody"},
		{oneLine("  two\n\nlines \x1b[31mred\x07 ", 0), "two lines [31mred"},
		{oneLine("abcdef", 4), "abc…"},
		{clean("a\u202eb\u2066c\u200f"), "abc"},
		{tail("abcdef", 4), "…def"},
		{tail("abc", 4), "abc"},
		{jsonLine(json.RawMessage(`{}`), 0), ""},
		{jsonLine(json.RawMessage(`{"a":"x  y"}`), 0), `{"a":"x  y"}`},
		{jsonLine(json.RawMessage("{\n\"a\": \"\u202e\"}"), 0), `{"a":"\u202e"}`},
		{shellWord("/tmp/x"), "/tmp/x"},
		{shellWord("a b"), "'a b'"},
		{shellWord("it's"), `'it'\''s'`},
		{shellWord(""), "''"},
	} {
		if c.got != c.want {
			t.Errorf("got %q, want %q", c.got, c.want)
		}
	}
}

// TestSafe: whatever was written, what is shown holds no control character, and
// JSON is shown as JSON of the same meaning.
func TestSafe(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.String().Draw(t, "text")
		most := rapid.IntRange(1, 40).Draw(t, "most")
		short := oneLine(s, most)
		if utf8.RuneCountInString(short) > most || strings.IndexFunc(short, unicode.IsControl) >= 0 {
			t.Fatalf("%q is shown as %q", s, short)
		}
		raw, err := json.Marshal(map[string]string{"text": s})
		if err != nil {
			t.Fatal(err)
		}
		for _, shown := range []string{jsonLine(raw, 0), indentJSON(raw, "  ")} {
			if i := strings.IndexFunc(shown, func(r rune) bool { return r != '\n' && (unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r)) }); i >= 0 {
				t.Fatalf("%q is shown as %q", raw, shown)
			}
			var back map[string]string
			if err := json.Unmarshal([]byte(shown), &back); err != nil || back["text"] != strings.ToValidUTF8(s, "\uFFFD") {
				t.Fatalf("%q is shown as %q: %v", raw, shown, err)
			}
		}
	})
}

// FuzzPrompt: no line makes more of an answer than the person said.
func FuzzPrompt(f *testing.F) {
	for _, line := range []string{"", "y", "no", "e", "q", "quit", `{"a":1}`, "[]", "yes please"} {
		f.Add(string(cairn.AskApproval), line, line)
	}
	f.Fuzz(func(t *testing.T, kind, first, second string) {
		p := newPrompt(cairn.Ask{ID: "ask_1", Kind: cairn.AskKind(kind), Digest: "sha256:1"})
		for _, line := range []string{first, second} {
			p.question(style{})
			mode := p.mode
			a, err := p.typed(line)
			word := strings.ToLower(strings.TrimSpace(line))
			switch {
			case a.verb == cairn.VerbApprove && (mode != modeChoose || (word != "y" && word != "yes")):
				t.Fatalf("%q approves", line)
			case a.verb == cairn.VerbEdit && (mode != modeEdit || isObject(a.args) != nil):
				t.Fatalf("%q edits with %q", line, a.args)
			case err != nil && (a.verb != "" || a.quit):
				t.Fatalf("%q is an error and an answer", line)
			case a.digest != "sha256:1":
				t.Fatal("the answer is not bound to the action")
			}
			if a.verb != "" || a.quit {
				return
			}
		}
	})
}

func TestReadable(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		`{"a":"x \u003e y \u0026\u003c"}`: `{"a":"x > y &<"}`, `"\\u003e"`: `"\\u003e"`, `"\\\u003e"`: `"\\>"`, `"\n\u00e9"`: `"\n\u00e9"`, `\`: `\`, `\u003`: `\u003`, ``: ``,
	} {
		if got := readable(in); got != want {
			t.Errorf("%s became %s, want %s", in, got, want)
		}
	}
}

// TestAge: in seconds, minutes, hours, and never below nothing when a clock was set back.
func TestAge(t *testing.T) {
	t.Parallel()
	for d, want := range map[time.Duration]string{
		-time.Hour: "0s", 900 * time.Millisecond: "0s", 40*time.Second + 900*time.Millisecond: "40s", 61 * time.Second: "1m01s", 3 * time.Hour: "3h00m",
	} {
		if got := age(d); got != want {
			t.Errorf("%s: %q, want %q", d, got, want)
		}
	}
}

// TestAskedAgain: an ask that no rule put says why it is there.
func TestAskedAgain(t *testing.T) {
	t.Parallel()
	got := askLine(cairn.Ask{ID: "ask_1", Kind: cairn.AskApproval, Tool: "pay", Args: []byte(`{"n":1}`), Reason: "The edited arguments were refused: no."}, 200)
	if want := `ask_1 may this call be made? pay {"n":1} (The edited arguments were refused: no.)`; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
