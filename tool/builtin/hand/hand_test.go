package hand_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/cockroachdb/datadriven"
	"pgregory.net/rapid"

	"github.com/cairn-run/cairn/tool/builtin/hand"
)

// failer is what the helpers need of a *testing.T or a *rapid.T.
type failer interface {
	Helper()
	Fatal(args ...any)
	Fatalf(format string, args ...any)
}

// ask does one request in a directory, as a process would.
func ask(t failer, root string, r hand.Request, rest string) hand.Response {
	t.Helper()
	line, err := hand.Encode(r)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if code := hand.Main(root, strings.NewReader(string(line)+rest), &out); code != 0 {
		t.Fatalf("exit code %d", code)
	}
	var resp hand.Response
	if err := json.Unmarshal(out.Bytes(), &resp); err != nil {
		t.Fatal(err)
	}
	return resp
}

func args(t failer, v any) json.RawMessage {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func put(t failer, root, name, content string) {
	t.Helper()
	p := filepath.Join(root, name)
	if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(p, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

func get(t failer, root, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(root, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestTexts holds what a model sees, word for word: rewrite with -rewrite and read
// the difference.
//
//	file PATH         the input becomes the file; escapes as in Go with "quoted"
//	cat PATH          shows it quoted
//	read, list, …     the input is the arguments
func TestTexts(t *testing.T) {
	datadriven.Walk(t, "testdata/texts", func(t *testing.T, path string) {
		root := t.TempDir()
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			switch d.Cmd {
			case "file":
				content := d.Input + "\n"
				if d.HasArg("quoted") {
					if err := json.Unmarshal([]byte(d.Input), &content); err != nil {
						t.Fatal(err)
					}
				}
				put(t, root, d.CmdArgs[0].Key, content)
				if d.HasArg("readonly") {
					if err := os.Chmod(filepath.Join(root, d.CmdArgs[0].Key), 0o444); err != nil {
						t.Fatal(err)
					}
				}
				return ""
			case "many":
				var n int
				d.ScanArgs(t, "lines", &n)
				var b strings.Builder
				for i := range n {
					fmt.Fprintf(&b, "line %d\n", i+1)
				}
				put(t, root, d.CmdArgs[0].Key, b.String())
				return ""
			case "link":
				if err := os.Symlink(d.CmdArgs[1].Key, filepath.Join(root, d.CmdArgs[0].Key)); err != nil {
					t.Fatal(err)
				}
				return ""
			case "cat":
				return fmt.Sprintf("%q\n", get(t, root, d.CmdArgs[0].Key))
			default:
				r := ask(t, root, hand.Request{Op: d.Cmd, Args: json.RawMessage(d.Input)}, "")
				text := strings.TrimSuffix(r.Text, "\n") + "\n"
				if r.IsError {
					text = "ERROR " + text
				}
				if d.HasArg("facts") {
					text += string(r.Structured) + "\n"
				}
				return text
			}
		})
	})
}

// TestEditIsReplacement: on texts without CR, an edit does what strings.Replace
// does, or refuses and leaves the file as it was; the file is one of both.
func TestEditIsReplacement(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	text := rapid.StringOfN(rapid.RuneFrom([]rune("ab\n\t é")), 0, 60, -1)
	rapid.Check(t, func(t *rapid.T) {
		body := text.Draw(t, "body")
		put(t, root, "workspace/f", body)
		type edit struct {
			Old string `json:"old_text"`
			New string `json:"new_text"`
			All bool   `json:"replace_all,omitempty"`
		}
		want, refused := body, false
		var edits []edit
		for range rapid.IntRange(1, 3).Draw(t, "edits") {
			e := edit{Old: rapid.StringOfN(rapid.RuneFrom([]rune("ab\n é")), 0, 4, -1).Draw(t, "old"), New: text.Draw(t, "new"), All: rapid.Bool().Draw(t, "all")}
			edits = append(edits, e)
			n := strings.Count(want, e.Old)
			refused = refused || e.Old == "" || e.Old == e.New || n == 0 || n > 1 && !e.All
			if !refused {
				want = strings.ReplaceAll(want, e.Old, e.New)
			}
		}
		r := ask(t, root, hand.Request{Op: hand.OpEdit, Args: args(t, map[string]any{"path": "f", "edits": edits})}, "")
		got := get(t, root, "workspace/f")
		if r.IsError != refused {
			t.Fatalf("refused: %v, want %v: %s", r.IsError, refused, r.Text)
		}
		if refused {
			want = body
		}
		if got != want {
			t.Fatalf("%q, want %q", got, want)
		}
	})
}

// TestEditKeepsLineEnds: in a file whose lines end with CR LF they still do after an
// edit that was written with "\n", and a byte order mark stays.
func TestEditKeepsLineEnds(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		line := rapid.StringOfN(rapid.RuneFrom([]rune("abc ")), 0, 5, -1)
		lines := rapid.SliceOfN(line, 3, 8).Draw(t, "lines")
		mark := rapid.SampledFrom([]string{"", "\ufeff"}).Draw(t, "mark")
		plain := strings.Join(lines, "\n") + "\n"
		put(t, root, "workspace/f", mark+strings.ReplaceAll(plain, "\n", "\r\n"))
		from := rapid.IntRange(0, len(plain)-1).Draw(t, "from")
		to := rapid.IntRange(from+1, len(plain)).Draw(t, "to")
		old, text := plain[from:to], strings.Join(rapid.SliceOfN(line, 1, 3).Draw(t, "new"), "\n")
		if old == text {
			return
		}
		r := ask(t, root, hand.Request{Op: hand.OpEdit, Args: args(t, map[string]any{
			"path": "f", "edits": []map[string]any{{"old_text": old, "new_text": text, "replace_all": true}},
		})}, "")
		if r.IsError {
			t.Fatal(r.Text)
		}
		want := mark + strings.ReplaceAll(strings.ReplaceAll(plain, old, text), "\n", "\r\n")
		if got := get(t, root, "workspace/f"); got != want {
			t.Fatalf("replacing %q by %q: %q, want %q", old, text, got, want)
		}
	})
}

// FuzzRequest: whatever is on the input, there is one response of valid text within
// its bounds, and nothing outside the directory is touched.
func FuzzRequest(f *testing.F) {
	for _, s := range []string{
		`{"op":"read","args":{"path":"a"}}`, `{"op":"write","args":{"path":"../../x","content":"y"}}`,
		`{"op":"edit","args":{"path":"a","edits":[{"old_text":"a","new_text":"b"}]}}`,
		`{"op":"search","args":{"pattern":"(a|b)*c","include":["**/{a,b}*.go"]}}`, `{"op":"list","args":{"depth":99}}`,
		`{"op":"spill","args":{"dir":"/tmp/x","prefix":"out-"}}` + "\nhello", `{}`, ``, `[`, `{"op":"read","args":{"path":"\u0000"}}`,
		`{"op":"read","args":{"path":"out/../../../../etc/passwd"}}`, `{"op":"write","args":{"path":"/link/x","content":""}}`,
		`{"op":"read","args":{"path":"a","offset":-3}}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		top := t.TempDir()
		root := filepath.Join(top, "root")
		put(t, root, "workspace/a", "one\r\ntwo\nthree")
		put(t, top, "secret", "SECRET")
		if err := os.Symlink(top, filepath.Join(root, "link")); err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		code := hand.Main(root, bytes.NewReader(in), &out)
		var r hand.Response
		if err := json.Unmarshal(out.Bytes(), &r); err != nil || code != 0 || !utf8.ValidString(r.Text) || len(r.Text) > 2<<20 {
			t.Fatalf("exit code %d, %v, %q", code, err, out.Bytes())
		}
		if bytes.Contains(out.Bytes(), []byte("SECRET")) || get(t, top, "secret") != "SECRET" {
			t.Fatal("it got out")
		}
		if list, err := os.ReadDir(top); err != nil || len(list) != 2 {
			t.Fatalf("outside: %v, %v", list, err)
		}
	})
}

// FuzzEdit: an edit never panics, and its outcome is the old text with the
// replacements or an error.
func FuzzEdit(f *testing.F) {
	f.Add("a\r\nb\n", "a\nb", "c", true)
	f.Add("\xef\xbb\xbfx", "x", "y\nz", false)
	f.Add("aaaa", "aa", "a", true)
	f.Add("func x() {\n\treturn\n}\n", "func x() {\n    return\n}", "", false)
	f.Add("\xff\xfe", "\xff", "", false)
	f.Fuzz(func(t *testing.T, body, old, text string, all bool) {
		got, n, err := hand.Apply(body, old, text, all)
		if err != nil {
			if err.Error() == "" || n != 0 {
				t.Fatal(n, err)
			}
			return
		}
		if n == 0 || !strings.Contains(old, "\r") && !strings.Contains(body, "\r") && got != strings.ReplaceAll(body, old, text) && !strings.HasPrefix(body, "\ufeff") {
			t.Fatalf("%d replacements: %q", n, got)
		}
		_ = hand.Unified(body, got)
	})
}

// TestDifference: the script between two lists of lines leads from one to the other,
// and names every line of both once and in order.
func TestDifference(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		lines := rapid.SliceOfN(rapid.SampledFrom([]string{"a\n", "b\n", "c\n", "d\n"}), 0, rapid.SampledFrom([]int{5, 30, 600}).Draw(t, "most"))
		a, b := lines.Draw(t, "a"), lines.Draw(t, "b")
		i, j := 0, 0
		script, old, now := hand.Compare(a, b)
		for k, op := range script {
			if op != '+' && old[k] != i || op != '-' && now[k] != j || op == ' ' && a[i] != b[j] {
				t.Fatalf("step %d of %q: %d, %d", k, script, old[k], now[k])
			}
			if op != '+' {
				i++
			}
			if op != '-' {
				j++
			}
		}
		if i != len(a) || j != len(b) {
			t.Fatalf("%q: %d of %d, %d of %d", script, i, len(a), j, len(b))
		}
	})
}

func TestGlobs(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		glob, path string
		want       bool
	}{
		{"*.go", "main.go", true},
		{"*.go", "cmd/x/main.go", true},
		{"/*.go", "cmd/main.go", false},
		{"cmd/*.go", "cmd/main.go", true},
		{"cmd/*.go", "cmd/x/main.go", false},
		{"cmd/**/*.go", "cmd/main.go", true},
		{"cmd/**/*.go", "cmd/x/y/main.go", true},
		{"**/x", "x", true},
		{"cmd/**", "cmd/x/y", true},
		{"*.{go,mod}", "a/go.mod", true},
		{"*.{go,mod}", "a/go.sum", false},
		{"[!a]b", "cb", true},
		{"[!a]b", "ab", false},
		{"[]x]", "]", true},
		{"a?c", "a/c", false},
		{`\*`, "*", true},
		{`\*`, "x", false},
		{"a.b", "axb", false},
		{"é*", "éa", true},
	} {
		got, err := hand.Fits(test.glob, test.path)
		if err != nil || got != test.want {
			t.Errorf("%q, %q: %v, %v", test.glob, test.path, got, err)
		}
	}
	for _, bad := range []string{"", "{a", "[z-a]"} {
		if _, err := hand.Fits(bad, "x"); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}

// TestSpill gives each file the next number, and follows no link.
func TestSpill(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	spill := func(op, rest string) hand.Response {
		return ask(t, root, hand.Request{Op: op, Args: json.RawMessage(`{"dir":"/tmp/cairn","prefix":"out-"}`)}, rest)
	}
	if r := spill(hand.OpSpill, "one"); r.Text != "/tmp/cairn/out-1.txt" || get(t, root, "tmp/cairn/out-1.txt") != "one" {
		t.Error(r)
	}
	if err := os.Symlink("../../workspace/secret", filepath.Join(root, "tmp/cairn/out-2.txt")); err != nil {
		t.Fatal(err)
	}
	if r := spill(hand.OpReserve, "ignored"); r.Text != "/tmp/cairn/out-3.txt" || get(t, root, "tmp/cairn/out-3.txt") != "" {
		t.Error(r)
	}
}

// TestLongLinesAndManyBytes stay within their bounds.
func TestLongLinesAndManyBytes(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	put(t, root, "workspace/long", strings.Repeat("é", 3000)+"\nshort\n")
	r := ask(t, root, hand.Request{Op: hand.OpRead, Args: json.RawMessage(`{"path":"long"}`)}, "")
	if !strings.Contains(r.Text, "…\n     2\tshort\n[1 line longer than 2000 bytes cut off") || len(r.Text) > 2200 {
		t.Error(len(r.Text), r.Text[1990:])
	}
	put(t, root, "workspace/many", strings.Repeat(strings.Repeat("x", 99)+"\n", 2000))
	r = ask(t, root, hand.Request{Op: hand.OpRead, Args: json.RawMessage(`{"path":"many"}`), Max: 10_000}, "")
	if len(r.Text) > 10_100 || !strings.Contains(r.Text, "of 2000; read on with offset ") {
		t.Error(len(r.Text), r.Text[len(r.Text)-100:])
	}
}

// FuzzGlob: any glob is compiled or refused, and what .gitignore files hold is read
// like it.
func FuzzGlob(f *testing.F) {
	for _, s := range []string{"*.go", "**/x/**", "[a-z]{b,c}", "{{{", "[]", `\`, "[!", "a[b", "{a,{b,c}}", "[^/]é"} {
		f.Add(s, "cmd/main.go")
	}
	f.Fuzz(func(t *testing.T, glob, path string) {
		if _, err := hand.Fits(glob, path); err != nil && err.Error() == "" {
			t.Fatal("refused without a word")
		}
		if hand.Ignored(glob, path) && hand.Ignored(glob+"\n!/**", path) {
			t.Fatalf("%q ignores %q though all is taken back", glob, path)
		}
	})
}
