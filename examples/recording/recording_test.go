package recording

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func texts(s *screen) []string {
	var all []string
	for _, l := range s.lines() {
		all = append(all, l.plain())
	}
	return all
}

// TestScreen shows what terminals do with what programs write.
func TestScreen(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		in   string
		want []string
	}{
		"lines":            {"one\r\ntwo\r\n", []string{"one", "two"}},
		"a bar":            {"\r\x1b[2Kworking 1s\r\x1b[2Kworking 2s\r\x1b[2Kdone\r\n", []string{"done"}},
		"lines over a bar": {"* busy\r\x1b[2Kfact\r\n* busy\r\x1b[2K", []string{"fact"}},
		"colours":          {"\x1b[1;31mred\x1b[0m plain", []string{"red plain"}},
		"a tab":            {"a\tb", []string{"a       b"}},
		"too long":         {"0123456789012345678901234", []string{"01234567890123456789", "01234"}},
		"up and over":      {"one\r\ntwo\x1b[1A\rONE", []string{"ONE", "two"}},
		"erase below":      {"one\r\ntwo\r\nthree\x1b[2A\r\x1b[J", nil},
		"a title":          {"\x1b]0;title\ax\x1b]0;title\x1b\\y", []string{"xy"}},
		"unknown":          {"a\x1b[?25lb\x1b(Bc", []string{"abBc"}},
		"control":          {"a\x00\x07b", []string{"ab"}},
		"cut off":          {"a\x1b[3", []string{"a"}},
		"back":             {"abc\b\bX", []string{"aXc"}},
		"not UTF-8":        {"a\xffb", []string{"a\uFFFDb"}},
	} {
		s := newScreen(20)
		for i := range len(c.in) { // byte by byte: sequences and characters are cut
			s.write([]byte{c.in[i]}, time.Duration(i))
		}
		if diff := cmp.Diff(c.want, texts(s)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

// FuzzScreen shows anything: nothing breaks, and what comes out is well-formed.
func FuzzScreen(f *testing.F) {
	f.Add([]byte("\x1b[1mheading\x1b[0m\r\n$ cairn <&>\r\n"))
	f.Add([]byte("\x1b[999999999A\x1b[99C\x1b[Kx\x1b[J\x1b]0;"))
	f.Add([]byte("\xf0\x9f\xa6\x8a\t\b\x7f"))
	f.Fuzz(func(t *testing.T, b []byte) {
		s := newScreen(40)
		s.write(b, time.Second)
		r := &Recording{columns: 40, rows: 10, lines: s.lines()}
		for _, l := range r.lines {
			if n := len([]rune(l.plain())); n > 40 {
				t.Errorf("a row of %d characters", n)
			}
		}
		svg := r.SVG("fuzz")
		wellFormed(t, svg)
		if diff := Differ(r.Text(), TextOf(svg)); diff != "" {
			t.Errorf("the image shows something else:\n%s", diff)
		}
	})
}

func wellFormed(t *testing.T, svg []byte) {
	t.Helper()
	for d := xml.NewDecoder(bytes.NewReader(svg)); ; {
		if _, err := d.Token(); err != nil {
			if !errors.Is(err, io.EOF) {
				t.Errorf("%v\n%s", err, svg)
			}
			return
		}
	}
}

// TestRun records a program: it has a terminal of the size, the recording holds what
// it showed, and the image shows the same.
func TestRun(t *testing.T) {
	t.Parallel()
	r, err := Run(t.Context(), Options{Columns: 40, Rows: 8, Args: []string{
		"/bin/sh", "-c", `stty size; printf '\033[1m1. A heading <&>\033[0m\n'; test -t 1 && echo terminal; printf 'busy\r\033[2Kdone\n'; i=0; while [ $i -lt 12 ]; do i=$((i+1)); echo "line $i"; done; printf %060d 7; printf '\n%-40sx\n' y`,
	}})
	if err != nil {
		t.Fatalf("%v\n%s", err, r.Text())
	}
	want := "8 40\n1. A heading <&>\nterminal\ndone\nline 1\nline 2\nline 3\nline 4\nline 5\nline 6\nline 7\nline 8\nline 9\nline 10\nline 11\nline 12\n" + strings.Repeat("0", 59) + "7\ny" + strings.Repeat(" ", 39) + "x\n"
	if diff := cmp.Diff(want, r.Text()); diff != "" {
		t.Error(diff)
	}
	svg := r.SVG("A & B")
	wellFormed(t, svg)
	if diff := cmp.Diff(want, TextOf(svg)); diff != "" {
		t.Error(diff)
	}
	for _, part := range []string{"prefers-color-scheme:dark", "prefers-reduced-motion", `aria-label="A &amp; B"`, `class="b"`} {
		if !bytes.Contains(svg, []byte(part)) {
			t.Errorf("the image lacks %s", part)
		}
	}
}

// TestTyped: a person answers what is asked, in order.
func TestTyped(t *testing.T) {
	t.Parallel()
	r, err := Run(t.Context(), Options{
		Args:  []string{"/bin/sh", "-c", `printf 'name? '; read a; printf 'age? '; read b; echo "$a is $b"`},
		Typed: []Typed{{"name? ", "Kim\n"}, {"age? ", "7\n"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff("name? Kim\nage? 7\nKim is 7\n", r.Text()); diff != "" {
		t.Error(diff)
	}
}

// TestRunFails: what was shown is there, and the error too.
func TestRunFails(t *testing.T) {
	t.Parallel()
	r, err := Run(t.Context(), Options{Args: []string{"/bin/sh", "-c", "echo before; exit 3"}})
	if err == nil || r.Text() != "before\n" {
		t.Errorf("%v, %q", err, r.Text())
	}
	if _, err := Run(t.Context(), Options{}); err == nil {
		t.Error("nothing was recorded without an error")
	}
}

// TestDiffer: ids, times and numbers are not looked at, and between headings no
// order.
func TestDiffer(t *testing.T) {
	t.Parallel()
	const want = "1. One\n12:00:01 tool a done in 3ms\n12:00:01 tool b done in 1.2s\nses_01M7WJKTQGFY2EWYCJAT5WYXFD c585811a66be $0.0021\n\n2. Two\nx\n"
	for _, got := range []string{
		want,
		"1. One\n12:33:41 tool b done in 4s\n12:00:01 tool  a done in 3m05s\nses_01M7WJKTQGFY2EWYCJAT5WYXFE 0123456789ab $1\n2. Two\nx",
	} {
		if diff := Differ(want, got); diff != "" {
			t.Errorf("%q: %s", got, diff)
		}
	}
	for _, got := range []string{
		strings.Replace(want, "tool b done", "tool b failed", 1),
		strings.Replace(want, "x\n", "", 1),
		want + "x\n",
		strings.Replace(want, "2. Two\n", "", 1),
		strings.Replace(strings.Replace(want, "x\n", "", 1), "One\n", "One\nx\n", 1),
	} {
		if Differ(want, got) == "" {
			t.Errorf("%q is taken for the same", got)
		}
	}
}
