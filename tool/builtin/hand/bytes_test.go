package hand_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/cairn-run/cairn/tool/builtin/hand"
)

// TestBytesThatAreNoText: what is shown of a file is valid text without NUL, it is said
// that the file holds something else, and an edit leaves those bytes as they are.
func TestBytesThatAreNoText(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	long := strings.Repeat("x", 9000) + "\n"
	put(t, root, "workspace/late", long+"a\x00b\nend\n")
	put(t, root, "workspace/bytes", "ok\n\xff\xfe bad \x80\r\nend\n")
	do := func(op string, v any) hand.Response {
		return ask(t, root, hand.Request{Op: op, Args: args(t, v)}, "")
	}
	r := do("read", object{"path": "late", "offset": 2})
	if want := "     2\ta\ufffdb\n     3\tend\n[the file ends here: 3 lines]\n[not plain UTF-8: the bytes shown as \ufffd are others in the file]\n"; r.Text != want {
		t.Errorf("%q", r.Text)
	}
	if r = do("search", object{"pattern": "b$"}); r.Text != "late:2:a\ufffdb\n" {
		t.Errorf("%q", r.Text)
	}
	for _, name := range []string{"late", "bytes"} {
		r = do("edit", object{"path": name, "edits": []object{{"old_text": "\ufffd", "new_text": "-"}}})
		if !r.IsError || !strings.Contains(r.Text, "U+FFFD, which stands for bytes of the file that are no UTF-8") {
			t.Errorf("%q", r.Text)
		}
	}
	if r = do("edit", object{"path": "bytes", "edits": []object{{"old_text": "bad", "new_text": "good"}}}); r.IsError {
		t.Errorf("%q", r.Text)
	}
	if got := get(t, root, "workspace/bytes"); got != "ok\n\xff\xfe good \x80\r\nend\n" {
		t.Errorf("%q", got)
	}
}

type object = map[string]any

// TestMark: a byte order mark stays the one of its file, whether a model writes it or
// not.
func TestMark(t *testing.T) {
	t.Parallel()
	const mark = "\ufeff"
	for _, c := range []struct{ body, old, text, want string }{
		{mark + "a\r\nb\r\n", mark + "a\n", "x\n", mark + "x\r\nb\r\n"},
		{mark + "a\r\nb\r\n", mark + "a\n", mark + "x\n", mark + "x\r\nb\r\n"},
		{mark + "a\nb\n", "a", mark + "x", mark + "x\nb\n"},
		{mark + "a\nb\na\n", mark + "a", "x", mark + "x\nb\na\n"},
		{mark + "b\na\n", mark + "a", "x", ""}, // it does not stand where the mark is
		{mark + "b\n" + mark + "a\n", mark + "a", "x", mark + "b\nx\n"},
		{"a\n", mark + "a", "x", ""},
		{"a\n", "a", mark + "a", mark + "a\n"},
	} {
		got, n, err := hand.Apply(c.body, c.old, c.text, false)
		if (err != nil) != (c.want == "") || got != c.want || err == nil && n != 1 {
			t.Errorf("%+q: %q, %d, %v", c, got, n, err)
		}
	}
}

// TestLineEndsStay: an edit that would only change line ends says that it does not.
func TestLineEndsStay(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	put(t, root, "workspace/f", "a\r\nb\r\n")
	r := ask(t, root, hand.Request{Op: "edit", Args: args(t, object{"path": "f", "edits": []object{{"old_text": "a\r\nb\r\n", "new_text": "a\nb\n"}}})}, "")
	if r.IsError || !strings.Contains(r.Text, "an edit keeps those of the file (CR LF)") || get(t, root, "workspace/f") != "a\r\nb\r\n" {
		t.Errorf("%+v", r)
	}
}

// TestReadFromTheEnd says as much of the last lines as of the first, and never that a
// file ends where counting did.
func TestReadFromTheEnd(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		text   string
		offset int
		scan   int64
		want   string
		err    string
	}{
		{"a\r\nb\r\nlast", -2, 100, "     2\tb\n     3\tlast\n[the file ends here: 3 lines]\n[lines end with CR LF]\n[no line end after the last line]\n", ""},
		{strings.Repeat("x", 5000) + "\n", -1, 10000, "     1\t" + strings.Repeat("x", 2000) + "…\n[1 line longer than 2000 bytes cut off; see them whole with bash: sed -n Np FILE | fold]\n", ""},
		{strings.Repeat("line\n", 100), -2, 50, "", "too much to count its lines up to there; look at its end with tail in bash"},
		{strings.Repeat("line\n", 100), 50, 50, "", "too much to count its lines up to there"},
		{strings.Repeat("line\n", 100), 101, 1000, "", "f has 100 lines; there is no line 101"},
		{strings.Repeat("line\n", 100), 100, 1000, "   100\tline\n[the file ends here: 100 lines]\n", ""},
	} {
		got, err := hand.ReadText(c.text, c.offset, 10, c.scan)
		if got != c.want || (err != nil) != (c.err != "") || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("%.20q from %d: %q, %v", c.text, c.offset, got, err)
		}
	}
}

// TestSearchSaysWhatItLeftOut: nothing that was not searched goes unmentioned.
func TestSearchSaysWhatItLeftOut(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	put(t, root, "workspace/"+strings.Repeat("d/", 70)+"f", "needle\n")
	put(t, root, "workspace/a", "a\nb\n")
	for _, v := range []object{{"pattern": "needle"}, {"include": []string{"f"}}} {
		r := ask(t, root, hand.Request{Op: "search", Args: args(t, v)}, "")
		var facts struct{ Unread int }
		if err := json.Unmarshal(r.Structured, &facts); err != nil || facts.Unread != 1 || !strings.Contains(r.Text, "1 directory not searched to the end") {
			t.Errorf("%v, %s", err, r.Text)
		}
	}
	for _, pattern := range []string{`a\nb`, "a\nb"} {
		r := ask(t, root, hand.Request{Op: "search", Args: args(t, object{"pattern": pattern})}, "")
		if !strings.Contains(r.Text, "looked for within single lines") {
			t.Errorf("%q: %s", pattern, r.Text)
		}
	}
}
