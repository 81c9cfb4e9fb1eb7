//go:build linux

package workspace

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/cairn-run/cairn"
)

// TestPlain lets random payloads loose in the plain directory. Every state comes back
// exactly, the archive of a state imports as the same files, and `git apply` of the
// patch between any two states makes the one into the other.
func TestPlain(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir(), Options{})
	i, err := s.Import(t.Context(), "default", bytes.NewReader(someTar(t)))
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	rapid.Check(t, func(rt *rapid.T) {
		n++
		tr, err := s.Tree(cairn.SessionKey{Tenant: "default", ID: cairn.SessionID(fmt.Sprintf("ses_%d", n))}, i.Tree)
		if err != nil {
			rt.Fatalf("tree: %v", err)
		}
		ctx := context.Background()
		at := cairn.Snapshot{}
		states := []state{{at, describe(rt, tr, snapshotAt{at, ctx})}}
		for range rapid.IntRange(1, 4).Draw(rt, "calls") {
			if rapid.IntRange(0, 3).Draw(rt, "back") == 0 {
				states = states[:rapid.IntRange(1, len(states)).Draw(rt, "to")]
			}
			last := states[len(states)-1]
			dir, err := tr.Plain(ctx, last.at)
			if err != nil {
				rt.Fatalf("plain: %v", err)
			}
			if d := cmp.Diff(last.shown, mustWalk(rt, dir)); d != "" {
				rt.Fatalf("layer %d came back as another (-recorded +shown):\n%s", last.at.Layer, d)
			}
			for _, o := range ops(rt, 12) {
				_ = o.do(dir)
			}
			shown := mustWalk(rt, dir)
			got, err := tr.SnapshotPlain(ctx, last.at)
			if err != nil {
				rt.Fatalf("snapshot: %v", err)
			}
			if d := cmp.Diff(shown, describe(rt, tr, snapshotAt{got.Snapshot, ctx})); d != "" {
				rt.Fatalf("the snapshot differs (-shown +recorded):\n%s", d)
			}
			if got.Snapshot != last.at {
				states = append(states, state{got.Snapshot, shown})
			}
		}
		from := rapid.SampledFrom(states).Draw(rt, "from").at
		to := rapid.SampledFrom(states).Draw(rt, "to").at
		applies(rt, tr, from, to)
		var archive bytes.Buffer
		if err := tr.WriteTar(ctx, to, "", &archive); err != nil {
			rt.Fatalf("archive: %v", err)
		}
		again, err := s.Import(ctx, "other", &archive)
		if err != nil {
			rt.Fatalf("import of the archive: %v", err)
		}
		other, err := s.Tree(cairn.SessionKey{Tenant: "other", ID: "ses_x"}, again.Tree)
		if err != nil {
			rt.Fatalf("tree: %v", err)
		}
		if d := cmp.Diff(below(describe(rt, tr, snapshotAt{to, ctx})), below(describe(rt, other, snapshotAt{ctx: ctx}))); d != "" {
			rt.Fatalf("the archive gives other files:\n%s", d)
		}
		if err := tr.Remove(ctx); err != nil {
			rt.Fatalf("remove: %v", err)
		}
	})
}

// below keeps what is in the workspace.
func below(shown []string) []string {
	return slices.DeleteFunc(slices.Clone(shown), func(s string) bool { return !strings.HasPrefix(s, `"workspace/`) })
}

func mustWalk(tb fatal, dir string) []string {
	tb.Helper()
	shown, err := walk(dir)
	if err != nil {
		tb.Fatalf("walk: %v", err)
	}
	return shown
}

// applies exports one state, applies the patch to the other one with git, and compares.
func applies(rt *rapid.T, tr *Tree, from, to cairn.Snapshot) {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "patch")
	if err != nil {
		rt.Fatalf("%v", err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	for name, at := range map[string]cairn.Snapshot{"from": from, "to": to} {
		var b bytes.Buffer
		if err := tr.WriteTar(ctx, at, "", &b); err != nil {
			rt.Fatalf("archive: %v", err)
		}
		sub := filepath.Join(dir, name)
		cmd := exec.CommandContext(ctx, "tar", "-xpf", "-", "-C", sub)
		cmd.Stdin = &b
		if err := os.Mkdir(sub, 0o755); err != nil {
			rt.Fatalf("%v", err)
		}
		if out, err := cmd.CombinedOutput(); err != nil {
			rt.Fatalf("tar: %v\n%s", err, out)
		}
	}
	withoutEmptyDirs(filepath.Join(dir, "from"))
	var patch bytes.Buffer
	if err := tr.Patch(ctx, from, to, "", &patch); err != nil {
		rt.Fatalf("patch: %v", err)
	}
	if patch.Len() > 0 {
		cmd := exec.CommandContext(ctx, "git", "apply", "--whitespace=nowarn", "-")
		cmd.Dir = filepath.Join(dir, "from")
		cmd.Env = append(os.Environ(), "GIT_DIR=/nonexistent", "GIT_CEILING_DIRECTORIES="+dir)
		cmd.Stdin = bytes.NewReader(patch.Bytes())
		if out, err := cmd.CombinedOutput(); err != nil {
			rt.Fatalf("git apply: %v\n%s\n%s", err, out, patch.String())
		}
	}
	if d := cmp.Diff(gitView(rt, filepath.Join(dir, "to")), gitView(rt, filepath.Join(dir, "from"))); d != "" {
		rt.Fatalf("applied, the patch gives other files (-want +got):\n%s\n%s", d, patch.String())
	}
}

// withoutEmptyDirs removes directories that hold no file: git knows none, and does not
// remove one where a file is to come.
func withoutEmptyDirs(dir string) {
	var dirs []string
	_ = filepath.WalkDir(dir, func(p string, e fs.DirEntry, err error) error {
		if err == nil && e.IsDir() && p != dir {
			dirs = append(dirs, p)
		}
		return nil
	}) // one that cannot be read stays
	for _, p := range slices.Backward(dirs) {
		_ = os.Remove(p) // fails where something is in it
	}
}

// gitView is what git would hold of a directory.
func gitView(rt *rapid.T, dir string) []string {
	var out []string
	for _, l := range mustWalk(rt, dir) {
		if i := strings.Index(l, " file "); i >= 0 {
			var mode uint32
			var sum string
			if _, err := fmt.Sscanf(l[i:], " file %o %s", &mode, &sum); err != nil {
				rt.Fatalf("%q: %v", l, err)
			}
			out = append(out, fmt.Sprintf("%s file %v %s", l[:i], mode&0o100 != 0, sum))
		} else if strings.Contains(l, " link ") {
			out = append(out, l)
		}
	}
	return out
}

// TestPatchText shows a patch line by line.
func TestPatchText(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir(), Options{})
	tr, err := s.Tree(cairn.SessionKey{Tenant: "default", ID: "ses_1"}, "")
	if err != nil {
		t.Fatal(err)
	}
	write := func(at cairn.Snapshot, files map[string]string) cairn.Snapshot {
		t.Helper()
		m, err := tr.Checkout(t.Context(), at)
		if err != nil {
			t.Fatal(err)
		}
		for name, body := range files {
			p := filepath.Join(m.Upper, Prefix, name)
			if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(p, []byte(body), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		got, err := tr.Snapshot(t.Context(), at)
		if err != nil {
			t.Fatal(err)
		}
		return got.Snapshot
	}
	from := write(cairn.Snapshot{}, map[string]string{"a.txt": "1\n2\n3\n4\n5\n6\n7\n8\n9\n", "b.txt": "no end"})
	to := write(from, map[string]string{"a.txt": "1\n2\n3\n4\nfive\n6\n7\n8\n9\n", "b.txt": "no end\n", "sp ace": "new\n", ".git/config": "left out\n"})
	var got strings.Builder
	if err := tr.Patch(t.Context(), from, to, "", &got); err != nil {
		t.Fatal(err)
	}
	lines := []string{
		"--- a/a.txt", "+++ b/a.txt", "@@ -2,7 +2,7 @@", " 2", " 3", " 4", "-5", "+five", " 6", " 7", " 8",
		"--- a/b.txt", "+++ b/b.txt", "@@ -1 +1 @@", "-no end", `\ No newline at end of file`, "+no end",
		"new file mode 100644", "--- /dev/null", "+++ b/sp ace\t", "@@ -0,0 +1 @@", "+new",
	}
	var kept []string
	for l := range strings.Lines(got.String()) {
		l = strings.TrimSuffix(l, "\n")
		if !strings.HasPrefix(l, "diff ") && !strings.HasPrefix(l, "index ") {
			kept = append(kept, l)
		}
	}
	if d := cmp.Diff(lines, kept); d != "" {
		t.Errorf("the patch differs:\n%s", d)
	}
}

// TestCompareLines: applying the edits gives the new lines, few or many.
func TestCompareLines(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		line := rapid.SampledFrom([]string{"a\n", "b\n", "c\n", "\n"})
		text := func(name string) []byte {
			return []byte(strings.Join(rapid.SliceOfN(line, 0, 40).Draw(rt, name), ""))
		}
		a, b := splitLines(text("a")), splitLines(text("b"))
		var got [][]byte
		at := 0
		for _, e := range compareLines(a, b) {
			got = append(got, a[at:e.a0]...)
			got = append(got, b[e.b0:e.b1]...)
			at = e.a1
		}
		got = append(got, a[at:]...)
		if !bytes.Equal(bytes.Join(got, nil), bytes.Join(b, nil)) {
			rt.Fatalf("applied: %q, want %q", got, b)
		}
	})
	// Beyond the bound, one edit replaces everything between the ends.
	var a, b [][]byte
	for i := range 5000 {
		a, b = append(a, fmt.Appendf(nil, "a%d\n", i)), append(b, fmt.Appendf(nil, "b%d\n", i))
	}
	if got := compareLines(a, b); len(got) != 1 || got[0] != (edit{0, 5000, 0, 5000}) {
		t.Errorf("edits: %v", got)
	}
}
