package builtin_test

import (
	"bytes"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"

	"github.com/cairn-run/cairn/tool/builtin"
)

func TestScreen(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ name, in, want string }{
		{"plain", "one\ntwo", "one\ntwo"},
		{"colours", "\x1b[1;31mred\x1b[0m\n", "red\n"},
		{"private sequence", "\x1b[?25lx\x1b[?25h", "x"},
		{"title with BEL", "a\x1b]0;title\x07b", "ab"},
		{"hyperlink with ST", "\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "link"},
		{"character set", "\x1b(Bx", "x"},
		{"device string", "\x1bPq#0\x1b\\x", "x"},
		{"two-byte escape", "\x1bcx", "x"},
		{"CR LF", "a\r\nb\r\n", "a\nb\n"},
		{"progress", "10%\r50%\r\x1b[K100%\n", "100%\n"},
		{"CR at the end", "100%\r", "100%"},
		{"several CR", "a\r\r\nb", "a\nb"},
		{"backspace", "abc\b\bX", "aX"},
		{"backspace over é", "é\bX", "X"},
		{"backspace at the beginning", "\n\b\bX", "\nX"},
		{"manual page", "B\bBo\bol\bld\bd", "Bold"},
		{"controls", "a\x00\x07\x0b\x0c\x7fb", "ab"},
		{"tab", "a\tb", "a\tb"},
		{"UTF-8", "né 世界 🙂", "né 世界 🙂"},
		{"C1", "a\u009b31mb", "a31mb"},
		{"broken UTF-8", "a\xffb\xc3", "a\uFFFDb\uFFFD"},
		{"broken by a newline", "\xe4\xb8\n", "\uFFFD\n"},
		{"never-ending title", "\x1b]0;" + strings.Repeat("x", 10) + "\nnext", "\nnext"},
		{"escape at the end", "x\x1b[", "x"},
	} {
		got, _ := builtin.Screen([]byte(test.in))
		if got != test.want {
			t.Errorf("%s: %q, want %q", test.name, got, test.want)
		}
	}
}

// TestScreenInPieces: how output is cut into pieces makes no difference.
func TestScreenInPieces(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		in := rapid.SliceOf(rapid.SampledFrom([]byte("ab\r\n\b\x1b[]m;0\x07\\\xc3\xa9\xe4\xb8\x96\xff\x00"))).Draw(t, "in")
		whole, _ := builtin.Screen(in)
		var pieces [][]byte
		for rest := in; len(rest) > 0; {
			n := rapid.IntRange(1, len(rest)).Draw(t, "n")
			pieces, rest = append(pieces, rest[:n]), rest[n:]
		}
		if got, _ := builtin.Screen(pieces...); got != whole {
			t.Fatalf("%q in pieces %q, whole %q", in, got, whole)
		}
	})
}

func FuzzScreen(f *testing.F) {
	for _, s := range []string{"a\x1b[31mb\r\n", "\x1b]0;x\x07", "\xff\xc3\xa9\b\b", "10%\r20%\n", strings.Repeat("x", 100)} {
		f.Add([]byte(s), 3)
	}
	f.Fuzz(func(t *testing.T, in []byte, n int) {
		text, said := builtin.Screen(in)
		if !utf8.ValidString(text) || !utf8.ValidString(said) {
			t.Fatalf("not UTF-8: %q", text)
		}
		if strings.ContainsFunc(text+said, func(r rune) bool {
			return r < ' ' && r != '\n' && r != '\t' || r == 0x7f || r >= 0x80 && r < 0xa0
		}) {
			t.Fatalf("control characters: %q", text)
		}
		if len(text) > 3*len(in) {
			t.Fatalf("%d bytes of %d", len(text), len(in))
		}
		if n = min(max(n, 0), len(in)); n > 0 {
			if again, _ := builtin.Screen(in[:n], in[n:]); again != text {
				t.Fatalf("in pieces %q, whole %q", again, text)
			}
		}
	})
}

// TestScreenIsBounded: a line without end is handed on, and what is said is capped.
func TestScreenIsBounded(t *testing.T) {
	t.Parallel()
	text, said := builtin.Screen(bytes.Repeat([]byte("x"), 3*builtin.HeldLine), []byte("\rlast"))
	if !strings.HasSuffix(text, "last") || len(text) < 3*builtin.HeldLine-builtin.HeldLine-1 {
		t.Errorf("%d bytes, ending %q", len(text), text[len(text)-10:])
	}
	if len(said) > 300<<10 {
		t.Errorf("%d bytes were said", len(said))
	}
}

func BenchmarkScreen(b *testing.B) {
	line := []byte("=== RUN   TestSomething/with_a_name_that_is_long (0.00s)\n")
	b.SetBytes(int64(1000 * len(line)))
	piece := bytes.Repeat(line, 1000)
	for b.Loop() {
		builtin.Screen(piece)
	}
}
