package swe

import (
	"archive/tar"
	"bytes"
	"crypto/sha1"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cairn-run/cairn/internal/sim"
)

func load(tb testing.TB) []Trajectory {
	tb.Helper()
	all, err := Load(sim.Data(tb, "agent-decisions", "swe-agent-trajectories"))
	if err != nil {
		tb.Fatal(err)
	}
	return all
}

// TestWhatWasRecorded pins what the data is, so that nothing is left out unseen.
func TestWhatWasRecorded(t *testing.T) {
	t.Parallel()
	all := load(t)
	steps := 0
	commands, tools, kinds := map[string]int{}, map[string]int{}, map[Kind]int{}
	for i := range all {
		steps += len(all[i].Steps)
		if all[i].Task == "" {
			t.Errorf("%s has no task", all[i].Name)
		}
		for _, s := range all[i].Steps {
			name, _, _ := strings.Cut(strings.TrimSpace(s.Action), " ")
			name, _, _ = strings.Cut(name, "\n")
			commands[name]++
		}
		decisions, err := Decide(&all[i])
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range decisions {
			tools[d.Tool]++
			kinds[d.Want.Kind]++
		}
	}
	if len(all) != 22 || steps != 232 {
		t.Errorf("%d trajectories with %d steps, want 22 with 232", len(all), steps)
	}
	for what, diff := range map[string]string{
		"commands": cmp.Diff(map[string]int{
			"./rock": 1, "RsaCtfTool.py": 4, "cat": 3, "connect_sendline": 2, "connect_start": 1, "create": 16, "curl": 18,
			"decompile": 8, "disassemble": 2, "echo": 3, "edit": 46, "file": 3, "find_file": 12, "insert": 2, "ls": 11, "open": 19,
			"pip": 2, "pwd": 1, "python": 31, "python3": 1, "rm": 9, "set_cursors": 2, "strings": 2, "submit": 29, "tshark": 3, "unzip": 1,
		}, commands),
		"tools": cmp.Diff(map[string]int{"bash": 160, "edit": 4, "python": 44, "read": 21, "write": 16}, tools),
		"kinds": cmp.Diff(map[Kind]int{
			KindOutput: 75, KindNames: 11, KindRaised: 3, KindLines: 52, KindRefused: 13, KindDone: 20, KindPatch: 4, KindHunks: 9,
			KindTimedOut: 1, KindDiffers: 57,
		}, kinds),
	} {
		if diff != "" {
			t.Errorf("%s: %s", what, diff)
		}
	}
}

// TestRepositoriesAreWhatWasRecorded: where the recording names the hash of a
// file, the prepared one has it; and every line that was shown is in its place.
func TestRepositoriesAreWhatWasRecorded(t *testing.T) {
	t.Parallel()
	all := load(t)
	hashed := 0
	for i := range all {
		tr := &all[i]
		files, err := Repository(tr, all)
		if err != nil {
			t.Fatal(err)
		}
		content := map[string]string{}
		for _, f := range files {
			content[f.Path] = string(f.Content)
		}
		if kindOf(tr).whole {
			patch := tr.Steps[len(tr.Steps)-1].Observation
			_, rest, _ := strings.Cut(patch, "--- a/")
			name, _, _ := strings.Cut(rest, "\n")
			_, rest, _ = strings.Cut(patch, "\nindex ")
			want, _, _ := strings.Cut(rest, "..")
			sum := sha1.Sum(fmt.Appendf(nil, "blob %d\x00%s", len(content[name]), content[name])) //nolint:gosec // git's
			if got := fmt.Sprintf("%x", sum)[:len(want)]; got != want {
				t.Errorf("%s: %s has hash %s, recorded was %s", tr.Name, name, got, want)
			}
			hashed++
		}
		known := map[string]*window{}
		tr.known(known)
		for name, w := range known {
			lines := strings.Split(strings.TrimSuffix(content[name], "\n"), "\n")
			if len(lines) != w.total {
				t.Errorf("%s: %s has %d lines, recorded were %d", tr.Name, name, len(lines), w.total)
				continue
			}
			for n, l := range w.lines {
				if lines[n-1] != l {
					t.Errorf("%s: %s:%d is %q, recorded was %q", tr.Name, name, n, lines[n-1], l)
				}
			}
		}
		var b bytes.Buffer
		if err := Tar(&b, files); err != nil {
			t.Fatal(err)
		}
		read := map[string]string{}
		for r := tar.NewReader(&b); ; {
			h, err := r.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			if h.Typeflag == tar.TypeReg {
				c, err := io.ReadAll(r)
				if err != nil {
					t.Fatal(err)
				}
				read[h.Name] = string(c)
			}
		}
		if diff := cmp.Diff(content, read); diff != "" {
			t.Errorf("%s: the tar differs: %s", tr.Name, diff)
		}
	}
	if hashed != 4 {
		t.Errorf("%d recorded hashes, want 4", hashed)
	}
}

func TestParse(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		action string
		want   command
		ok     bool
	}{
		{"open a.py 12", command{name: "open", args: []string{"a.py", "12"}}, true},
		{`open "/x/a b.py"`, command{name: "open", args: []string{"/x/a b.py"}}, true},
		{"edit 4:5\none\n\n two\nend_of_edit\n", command{name: "edit", args: []string{}, hasBody: true, body: []string{"one", "", " two"}, from: 4, to: 5}, true},
		{"edit 2:2 b.py\nx\nend_of_edit", command{name: "edit", args: []string{"b.py"}, hasBody: true, body: []string{"x"}, from: 2, to: 2}, true},
		{"edit 6:7\nend_of_edit", command{name: "edit", args: []string{}, hasBody: true, from: 6, to: 7}, true},
		{"edit\nfrom x import y\nend_of_edit", command{name: "edit", hasBody: true, body: []string{"from x import y"}}, true},
		{"edit 'a\n b' 'it'\"'\"'s' False", command{name: "edit", args: []string{"a\n b", "it's", "False"}}, true},
		{`submit flag{a\\tb}`, command{name: "submit", args: []string{`flag{a\tb}`}}, true},
		{"submit 'open", command{}, false},
		{"ls -a", command{}, false},
		{"openssl x", command{}, false},
	} {
		got, ok := parse(c.action)
		if diff := cmp.Diff(c.want, got, cmp.AllowUnexported(command{})); diff != "" || ok != c.ok {
			t.Errorf("%q: %v %s", c.action, ok, diff)
		}
	}
}

// FuzzDecode: no recording makes the reader, or what follows, fail otherwise than
// with an error.
func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"trajectory":[{"action":"open x\n","observation":"[File: /r/x (2 lines total)]\n1:a\n2:b","state":"{\"working_dir\":\"/r\"}"}]}`))
	f.Add([]byte(`{"trajectory":[{"action":"create x","state":{"working_dir":"/r"}},{"action":"edit 1:1\na\nend_of_edit","observation":"[File: /r/x (1 lines total)]\n1:a"}]}`))
	f.Add([]byte(`{"history":[{"role":"user","content":[{"text":"do"}]},{"role":"assistant","action":"edit 'a' 'b'"},{"role":"tool","content":"x\n(Open file: n/a)\n(Current directory: /r)\nbash-$"}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		tr, err := Decode(b)
		if err != nil {
			return
		}
		decisions, err := Decide(tr)
		if err != nil {
			return
		}
		for _, d := range decisions {
			if !json.Valid(d.Args) {
				t.Fatalf("the arguments %q are no JSON", d.Args)
			}
			_ = d.Compare(Result{Output: string(b)})
		}
		files, err := Repository(tr, []Trajectory{*tr})
		if err == nil {
			err = Tar(io.Discard, files)
		}
		_ = err // a name that no tar can hold
		if _, err := Script(decisions); err != nil {
			t.Fatal(err)
		}
	})
}
