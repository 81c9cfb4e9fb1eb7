//go:build linux

package workspace

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/cairn-run/cairn"
)

func TestImport(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir(), Options{})
	body := makeTar(t,
		tarFile{name: "./b", body: "second\n", mode: 0o6755}, tarFile{name: "a/x", body: "1"},
		tarFile{name: "a/y", kind: tar.TypeLink, link: "a/x"}, tarFile{name: "a/x", body: "replaced"},
		tarFile{name: "out", kind: tar.TypeSymlink, link: "../../etc/passwd"}, tarFile{name: "\xff\xfe", body: "name"},
		tarFile{name: "d/", kind: tar.TypeDir, mode: 0o500}, tarFile{name: "d/in", body: "x"})
	i, err := s.Import(t.Context(), "default", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if i.Files != 6 || i.Bytes != 7+8+1+4+1 {
		t.Errorf("imported %+v", i)
	}
	again, err := s.Import(t.Context(), "default", bytes.NewReader(body))
	if err != nil || again != i {
		t.Errorf("again: %+v, %v", again, err)
	}
	if err := s.Base(t.Context(), "other", i.Tree); !errors.Is(err, ErrNotFound) || cairn.CodeOf(err) != cairn.CodeNotFound {
		t.Errorf("another tenant sees it: %v", err)
	}
	tr, err := s.Tree(cairn.SessionKey{Tenant: "default", ID: "ses_1"}, i.Tree)
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{"workspace/a/x": "replaced", "workspace/a/y": "1", "workspace/\xff\xfe": "name", "workspace/b": "second\n"} {
		got, e, err := tr.ReadFile(t.Context(), cairn.Snapshot{}, path, 0, 0)
		if err != nil || string(got) != want {
			t.Errorf("%q: %q, %v", path, got, err)
		}
		if path == "workspace/b" && e.Mode != 0o755 {
			t.Errorf("mode %v", e.Mode)
		}
	}
	if got, _, err := tr.ReadFile(t.Context(), cairn.Snapshot{}, "workspace/b", 3, 2); err != nil || string(got) != "on" {
		t.Errorf("a part: %q, %v", got, err)
	}
	if _, _, err := tr.ReadFile(t.Context(), cairn.Snapshot{}, "/workspace/out", 0, 0); cairn.CodeOf(err) != cairn.CodeInvalid || !strings.Contains(err.Error(), "etc/passwd") {
		t.Errorf("a link: %v", err)
	}
	if _, _, err := tr.ReadFile(t.Context(), cairn.Snapshot{}, "/workspace/../../etc/passwd", 0, 0); cairn.CodeOf(err) != cairn.CodeNotFound {
		t.Errorf("a path that leads out: %v", err)
	}
}

func TestImportRefuses(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := open(t, filepath.Join(dir, "store"), Options{MaxBytes: 1 << 20, MaxFiles: 50})
	long := strings.Repeat("d/", maxDepth+1)
	many := make([]tarFile, 60)
	for i := range many {
		many[i] = tarFile{name: strings.Repeat("x", i+1)}
	}
	for name, files := range map[string][]tarFile{
		"dot dot":           {{name: "../x", body: "x"}},
		"dot dot inside":    {{name: "a/../../x", body: "x"}},
		"absolute":          {{name: "/etc/x", body: "x"}},
		"through a link":    {{name: "l", kind: tar.TypeSymlink, link: "/tmp"}, {name: "l/x", body: "x"}},
		"through a file":    {{name: "f", body: "x"}, {name: "f/x", body: "x"}},
		"over a directory":  {{name: "f/x", body: "x"}, {name: "f", body: "x"}},
		"device":            {{name: "null", kind: tar.TypeChar}},
		"block device":      {{name: "disk", kind: tar.TypeBlock}},
		"fifo":              {{name: "fifo", kind: tar.TypeFifo}},
		"hard link outside": {{name: "h", kind: tar.TypeLink, link: "/etc/passwd"}},
		"hard link up":      {{name: "h", kind: tar.TypeLink, link: "../../x"}},
		"hard link nowhere": {{name: "h", kind: tar.TypeLink, link: "nowhere"}},
		"hard link to link": {{name: "l", kind: tar.TypeSymlink, link: "/etc/passwd"}, {name: "h", kind: tar.TypeLink, link: "l"}},
		"hard link to self": {{name: "a", body: "x"}, {name: "./a", kind: tar.TypeLink, link: "a"}},
		"too large":         {{name: "a", body: strings.Repeat("x", 1<<20+1)}},
		"too large by link": {{name: "a", body: strings.Repeat("x", 600_000)}, {name: "b", kind: tar.TypeLink, link: "a"}},
		"too many":          many,
		"too deep":          {{name: long + "x"}},
		"name too long":     {{name: strings.Repeat("x", maxName+1)}},
		"path too long":     {{name: strings.Repeat(strings.Repeat("x", 200)+"/", 30) + "x"}},
		"no target":         {{name: "l", kind: tar.TypeSymlink}},
	} {
		if _, err := s.Import(t.Context(), "default", bytes.NewReader(makeTar(t, files...))); cairn.CodeOf(err) != cairn.CodeInvalid {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, body := range map[string][]byte{
		"no tar": []byte("PK\x03\x04 this is something else, and longer than a header of tar would be" + strings.Repeat(".", 1000)),
		"cut":    makeTar(t, tarFile{name: "a", body: strings.Repeat("x", 5000)})[:3000],
	} {
		if _, err := s.Import(t.Context(), "default", bytes.NewReader(body)); cairn.CodeOf(err) != cairn.CodeInvalid {
			t.Errorf("%s: %v", name, err)
		}
	}
	broken := errors.New("the client went away")
	if _, err := s.Import(t.Context(), "default", io.MultiReader(bytes.NewReader(makeTar(t, tarFile{name: "a"})[:512]), failing{broken})); !errors.Is(err, broken) {
		t.Errorf("a broken connection: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Import(ctx, "default", bytes.NewReader(someTar(t))); cairn.CodeOf(err) != cairn.CodeCancelled {
		t.Errorf("cancelled: %v", err)
	}
	for _, sub := range []string{tempDir, tenantsDir} {
		if left, err := os.ReadDir(filepath.Join(dir, "store", sub)); err != nil || len(left) > 0 {
			t.Errorf("left in %s: %v, %v", sub, left, err)
		}
	}
	if all, err := os.ReadDir(dir); err != nil || len(all) != 1 {
		t.Errorf("beside the store: %v, %v", all, err)
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// TestImportAtOnce: the same files, sent several times at once, are one base.
func TestImportAtOnce(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir(), Options{})
	body := someTar(t)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if _, err := s.Import(t.Context(), "default", bytes.NewReader(body)); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

// TestImportHeals: a base that was damaged on the disk is replaced by the same upload.
func TestImportHeals(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir(), Options{})
	i, err := s.Import(t.Context(), "default", bytes.NewReader(someTar(t)))
	if err != nil {
		t.Fatal(err)
	}
	tr, err := s.Tree(cairn.SessionKey{Tenant: "default", ID: "ses_1"}, i.Tree)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(tr.layerRoot(0), "workspace/a"), []byte("bad\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := tr.Verify(t.Context(), cairn.Snapshot{}); !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), "workspace/a") {
		t.Errorf("verify: %v", err)
	}
	if _, err := s.Import(t.Context(), "default", bytes.NewReader(someTar(t))); err != nil {
		t.Fatal(err)
	}
	if err := tr.Verify(t.Context(), cairn.Snapshot{}); err != nil {
		t.Errorf("verify after the upload: %v", err)
	}
}

// FuzzImport: no stream makes Import panic or write outside of its directory, and what
// it accepts verifies.
func FuzzImport(f *testing.F) {
	f.Add(someTar(f))
	f.Add(makeTar(f, tarFile{name: "../x", body: "x"}))
	f.Add(makeTar(f, tarFile{name: "l", kind: tar.TypeSymlink, link: ".."}, tarFile{name: "l/x", body: "x"}))
	f.Add(makeTar(f, tarFile{name: "a", body: "1"}, tarFile{name: "b", kind: tar.TypeLink, link: "a"}, tarFile{name: "a", body: "2"}))
	f.Fuzz(func(t *testing.T, b []byte) {
		dir := t.TempDir()
		s := open(t, filepath.Join(dir, "store"), Options{MaxBytes: 1 << 20, MaxFiles: 100})
		s.syncMode = syncNone
		i, err := s.Import(t.Context(), "default", bytes.NewReader(b))
		if all, e := os.ReadDir(dir); e != nil || len(all) != 1 {
			t.Fatalf("beside the store: %v, %v", all, e)
		}
		if err != nil {
			if cairn.CodeOf(err) != cairn.CodeInvalid {
				t.Fatalf("%v", err)
			}
			return
		}
		tr, err := s.Tree(cairn.SessionKey{Tenant: "default", ID: "ses_1"}, i.Tree)
		if err != nil {
			t.Fatal(err)
		}
		if err := tr.Verify(t.Context(), cairn.Snapshot{}); err != nil {
			t.Fatal(err)
		}
		if err := tr.WriteTar(t.Context(), cairn.Snapshot{}, "", io.Discard); err != nil {
			t.Fatal(err)
		}
	})
}

// FuzzManifest: what is read is written the same way again.
func FuzzManifest(f *testing.F) {
	file := &node{kind: kindFile, mode: 0o644, size: 3}
	m := &manifest{layer: 7, root: &node{kind: kindDir, mode: rootMode, kids: []kid{
		{"a", &node{kind: kindDir, opaque: true, mode: 0o1777, layer: 7, kids: []kid{{"x", file}, {"y", &node{kind: kindWhiteout, layer: 7}}}}},
		{"b", linkNode("a/x", 7)},
	}}}
	good := m.encode()
	if got, err := decodeManifest(good); err != nil || !equal(got.root, m.root) || got.layer != 7 {
		f.Fatalf("read back: %+v, %v", got, err)
	}
	f.Add(good[:len(good)-32])
	f.Fuzz(func(t *testing.T, body []byte) {
		// With the right checksum, or nothing would ever get past it.
		b := append(bytes.Clone(body), checksum(body)...)
		m, err := decodeManifest(b)
		if err != nil {
			return
		}
		again, err := decodeManifest(m.encode())
		if err != nil || !equal(again.root, m.root) {
			t.Fatalf("written and read again: %v", err)
		}
	})
}

func checksum(b []byte) []byte {
	sum := sha256.Sum256(b)
	return sum[:]
}

// equal compares layers in everything that a manifest says.
func equal(a, b *node) bool {
	if a.kind != b.kind || a.mode != b.mode || a.opaque != b.opaque || a.size != b.size || a.link != b.link ||
		len(a.kids) != len(b.kids) || a.kind != kindDir && a.hash != b.hash {
		return false
	}
	for i := range a.kids {
		if a.kids[i].name != b.kids[i].name || !equal(a.kids[i].n, b.kids[i].n) {
			return false
		}
	}
	return true
}
