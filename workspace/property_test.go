//go:build linux

package workspace

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/cairn-run/cairn"
)

// snapshotAt is a snapshot with the context to look at it.
type snapshotAt struct {
	cairn.Snapshot
	ctx context.Context //nolint:containedctx // saves an argument in each test
}

type tarFile struct {
	name, body, link string
	mode             int64
	kind             byte
}

func makeTar(tb testing.TB, files ...tarFile) []byte {
	tb.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, f := range files {
		h := &tar.Header{Name: f.name, Mode: f.mode, Size: int64(len(f.body)), Typeflag: f.kind, Linkname: f.link}
		if h.Typeflag == 0 {
			h.Typeflag = tar.TypeReg
		}
		if h.Mode == 0 {
			h.Mode = 0o644
		}
		if err := w.WriteHeader(h); err != nil {
			tb.Fatal(err)
		}
		if _, err := w.Write([]byte(f.body)); err != nil {
			tb.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		tb.Fatal(err)
	}
	return b.Bytes()
}

func open(tb testing.TB, dir string, o Options) *Store {
	tb.Helper()
	s, err := Open(dir, o)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = s.Close() })
	return s
}

// someTar is the base that the properties begin with.
func someTar(tb testing.TB) []byte {
	return makeTar(tb,
		tarFile{name: "a", body: "one\n"}, tarFile{name: "b", body: "two\n", mode: 0o755},
		tarFile{name: "d/a", body: "three\n"}, tarFile{name: "d/b", body: ""}, tarFile{name: "d/d/a", body: "deep\n"},
		tarFile{name: "d/d/b", body: "secret\n", mode: 0o400},
		tarFile{name: "e/", kind: tar.TypeDir, mode: 0o755}, tarFile{name: "e/a", body: "x"},
		tarFile{name: "c", kind: tar.TypeSymlink, link: "d/a"})
}

// ops draws what a payload does, among few names so that they meet.
func ops(rt *rapid.T, max int) []op {
	name := rapid.SampledFrom([]string{"a", "b", "c", "d", "e", "f g", "\xff"})
	path := rapid.Custom(func(t *rapid.T) string {
		p := rapid.SampledFrom([]string{"workspace", "workspace", "workspace", "tmp", "home/agent"}).Draw(t, "top")
		for range rapid.IntRange(1, 3).Draw(t, "depth") {
			p += "/" + name.Draw(t, "name")
		}
		return p
	})
	data := rapid.SampledFrom([][]byte{nil, []byte("one\n"), []byte("two\n"), []byte("x"), []byte("1\n2\n3\n4\n5\n6\n7\n8\n9\n"), []byte("zero\x00\n"), bytes.Repeat([]byte("long line\n"), 2000)})
	do := rapid.SampledFrom([]string{"write", "write", "write", "append", "same", "mkdir", "mkdir", "remove", "remove", "again", "rename", "rename", "symlink", "link", "chmod", "chmod", "fifo", "device", "xattr"})
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) op {
		return op{
			Do: do.Draw(t, "do"), Path: path.Draw(t, "path"), To: path.Draw(t, "to"), Data: data.Draw(t, "data"),
			Mode: rapid.SampledFrom([]uint32{0o644, 0o755, 0o600, 0, 0o4755, 0o2777, 0o1777, 0o444, 0o555}).Draw(t, "mode"),
		}
	}), 0, max).Draw(rt, "ops")
}

// TestOverlay lets random payloads loose in a real overlay: after each of them the
// recorded tree is what the mount showed, and every recorded state can be brought
// back exactly, whatever came after it.
func TestOverlay(t *testing.T) {
	bothWays(t, "TestOverlay")
	s := open(t, t.TempDir(), Options{})
	h := startHelper(t, s.dir)
	i, err := s.Import(t.Context(), "default", bytes.NewReader(someTar(t)))
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	rapid.Check(t, func(rt *rapid.T) {
		n++
		k := cairn.SessionKey{Tenant: "default", ID: cairn.SessionID(fmt.Sprintf("ses_%d", n))}
		base := rapid.SampledFrom([]cairn.Digest{i.Tree, ""}).Draw(rt, "base")
		tr, err := s.Tree(k, base)
		if err != nil {
			rt.Fatalf("tree: %v", err)
		}
		at := snapshotAt{ctx: t.Context()}
		states := []state{{at.Snapshot, describe(rt, tr, at)}}
		for range rapid.IntRange(1, 8).Draw(rt, "calls") {
			back := rapid.IntRange(0, 3).Draw(rt, "back")
			if back == 0 { // go on from an earlier state
				states = states[:rapid.IntRange(1, len(states)).Draw(rt, "to")]
			}
			call(rt, h, tr, &states)
		}
		for _, st := range states {
			m, err := tr.View(t.Context(), st.at)
			if err != nil {
				rt.Fatalf("view: %v", err)
			}
			if d := cmp.Diff(st.shown, h.do(rt, order{Mount: &m, Walk: true, Unmount: true})); d != "" {
				rt.Fatalf("the view of layer %d differs (-recorded +mounted):\n%s", st.at.Layer, d)
			}
			if err := tr.Verify(t.Context(), st.at); err != nil {
				rt.Fatalf("verify: %v", err)
			}
		}
		if err := tr.Remove(t.Context()); err != nil {
			rt.Fatalf("remove: %v", err)
		}
	})
}

type state struct {
	at    cairn.Snapshot
	shown []string
}

// call is one tool call: check out, work, record; sometimes with snapshots of a
// living instance in between, and sometimes the attempt is lost.
func call(rt *rapid.T, h *helper, tr *Tree, states *[]state) {
	last := (*states)[len(*states)-1]
	ctx := context.Background()
	m, err := tr.Checkout(ctx, last.at)
	if err != nil {
		rt.Fatalf("checkout: %v", err)
	}
	shown := h.do(rt, order{Mount: &m, Walk: true})
	if d := cmp.Diff(last.shown, shown); d != "" {
		rt.Fatalf("checkout of layer %d differs (-recorded +mounted):\n%s", last.at.Layer, d)
	}
	record := func(snap func(context.Context, cairn.Snapshot) (cairn.Snapshotted, error), shown []string) {
		got, err := snap(ctx, last.at)
		if err != nil {
			rt.Fatalf("snapshot: %v", err)
		}
		recorded := describe(rt, tr, snapshotAt{got.Snapshot, ctx})
		if d := cmp.Diff(shown, recorded); d != "" {
			rt.Fatalf("the snapshot differs (-mounted +recorded):\n%s", d)
		}
		if clean := slices.Equal(shown, last.shown); clean != (got.Snapshot == last.at) {
			rt.Fatalf("nothing changed: %v, and the snapshot is %v after %v", clean, got.Snapshot, last.at)
		}
		if got.Snapshot != last.at {
			last = state{got.Snapshot, shown}
			*states = append(*states, last)
		}
	}
	for rapid.Bool().Draw(rt, "live") {
		shown = h.do(rt, order{Ops: ops(rt, 8), Walk: true})
		record(tr.SnapshotLive, shown)
	}
	shown = h.do(rt, order{Ops: ops(rt, 10), Walk: true, Unmount: true})
	if rapid.IntRange(0, 4).Draw(rt, "lost") == 0 {
		return
	}
	record(tr.Snapshot, shown)
}
