package workspace

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/cairn-run/cairn"
)

// rawEntry is an entry of a tar that [tar.Writer] does not write.
func rawEntry(b *bytes.Buffer, name string, kind byte, data string) {
	h := make([]byte, 512)
	copy(h, name)
	copy(h[100:], "0000644\x000000000\x000000000\x00")
	copy(h[124:], fmt.Sprintf("%011o\x0000000000000\x00        ", len(data)))
	h[156] = kind
	copy(h[257:], "ustar\x0000")
	sum := 0
	for _, c := range h {
		sum += int(c)
	}
	copy(h[148:], fmt.Sprintf("%06o\x00 ", sum))
	b.Write(h)
	b.WriteString(data)
	b.Write(make([]byte, (512-len(data)%512)%512))
}

// sparseTar is an archive of one file of so many bytes of which only the last is there
// (GNU's sparse format 1.0).
func sparseTar(size int64) []byte {
	var b bytes.Buffer
	records := ""
	for _, r := range []string{"GNU.sparse.major=1", "GNU.sparse.minor=0", "GNU.sparse.name=big", fmt.Sprint("GNU.sparse.realsize=", size)} {
		n := len(r) + 2
		for n != len(fmt.Sprint(n))+len(r)+2 {
			n = len(fmt.Sprint(n)) + len(r) + 2
		}
		records += fmt.Sprintf("%d %s\n", n, r)
	}
	rawEntry(&b, "head", 'x', records)
	pieces := fmt.Sprintf("1\n%d\n1\n", size-1)
	rawEntry(&b, "GNUSparseFile/big", '0', pieces+strings.Repeat("\x00", 512-len(pieces))+"x")
	b.Write(make([]byte, 1024))
	return b.Bytes()
}

// TestImportHoles: an archive of a few bytes does not fill the disk.
func TestImportHoles(t *testing.T) {
	t.Parallel()
	s, _ := newTree(t, Options{})
	if in, err := s.Import(t.Context(), "acme", bytes.NewReader(sparseTar(1<<20))); err != nil || in.Bytes != 1<<20 {
		t.Errorf("%+v, %v", in, err)
	}
	for _, size := range []int64{maxHoles + 1<<20, 1 << 32} {
		if _, err := s.Import(t.Context(), "acme", bytes.NewReader(sparseTar(size))); cairn.CodeOf(err) != cairn.CodeInvalid || !strings.Contains(err.Error(), "--sparse") {
			t.Errorf("%d: %v", size, err)
		}
	}
	// Many small ones are no way around it.
	var many bytes.Buffer
	for range 70 {
		one := sparseTar(1 << 20)
		many.Write(one[:len(one)-1024])
	}
	many.Write(make([]byte, 1024))
	if _, err := s.Import(t.Context(), "acme", &many); cairn.CodeOf(err) != cairn.CodeInvalid {
		t.Error(err)
	}
	if left, err := os.ReadDir(filepath.Join(s.dir, tempDir)); err != nil || len(left) > 0 {
		t.Errorf("%v, %v", left, err)
	}
}

// TestImportInAnyOrder: the order of an archive is no part of the tree, replaced
// entries are found in it, and links in place of links count for nothing.
func TestImportInAnyOrder(t *testing.T) {
	t.Parallel()
	s, _ := newTree(t, Options{})
	all := []tar.Header{
		{Typeflag: tar.TypeReg, Name: "b/z"},
		{Typeflag: tar.TypeReg, Name: "b/a", Mode: 0o644},
		{Typeflag: tar.TypeLink, Name: "b/m", Linkname: "b/a"},
		{Typeflag: tar.TypeSymlink, Name: "c", Linkname: "first"},
		{Typeflag: tar.TypeSymlink, Name: "c", Linkname: "then"},
		{Typeflag: tar.TypeReg, Name: "a/x/y"},
		{Typeflag: tar.TypeDir, Name: "a", Mode: 0o700},
	}
	pack := func(list []tar.Header) io.Reader {
		var b bytes.Buffer
		w := tar.NewWriter(&b)
		for _, h := range list {
			if err := w.WriteHeader(&h); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		return &b
	}
	first, err := s.Import(t.Context(), "acme", pack(all))
	if err != nil || first.Files != 5 {
		t.Fatalf("%+v, %v", first, err)
	}
	other := slices.Concat(all[5:], all[3:5], all[1:3], all[:1])
	if second, err := s.Import(t.Context(), "acme", pack(other)); err != nil || second != first {
		t.Errorf("%+v, %+v, %v", first, second, err)
	}
	if err := s.verifyBase(t.Context(), "acme", first.Tree); err != nil {
		t.Error(err)
	}
}

// TestListedIsBounded: names and targets stay in memory and in manifests that can be
// read again.
func TestListedIsBounded(t *testing.T) {
	t.Parallel()
	u := &unpacker{index: map[*node]map[string]*node{}}
	dir := &node{kind: kindDir}
	target := strings.Repeat("x", maxPath)
	for range 2 * maxListed / maxPath { // in the place of each other
		if err := u.put(dir, "link", &node{kind: kindLink, link: target}); err != nil {
			t.Fatal(err)
		}
	}
	n := 0
	for u.put(dir, fmt.Sprint(n), &node{kind: kindLink, link: target}) == nil {
		n++
	}
	if n < maxListed/maxPath/2 || n > maxListed/maxPath {
		t.Error(n)
	}
	sc := &scanner{max: 1}
	if err := errors.Join(sc.listed(maxListed)); err != nil {
		t.Error(err)
	}
	if err := sc.listed(1); cairn.CodeOf(err) != cairn.CodeInvalid {
		t.Error(err)
	}
}

// TestWithin: what costs nothing to write is not read for hours nor copied to a full
// disk: it is refused before it is read, and the recorded state stays.
func TestWithin(t *testing.T) {
	t.Parallel()
	for name, write := range map[string]func(dir string) error{
		"holes": func(dir string) error {
			return errors.Join(os.WriteFile(dir+"/f", nil, 0o600), os.Truncate(dir+"/f", 1<<42))
		},
		"names": func(dir string) error {
			err := os.WriteFile(dir+"/f", make([]byte, 64<<10), 0o600)
			for i := range 64 {
				err = errors.Join(err, os.Link(dir+"/f", fmt.Sprint(dir, "/f", i)))
			}
			return err
		},
		"reserved": func(dir string) error {
			f, err := os.Create(dir + "/f")
			if err != nil {
				return err
			}
			return errors.Join(unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_KEEP_SIZE, 0, 4<<20), f.Close())
		},
	} {
		for _, alive := range []bool{false, true} {
			t.Run(fmt.Sprint(name, alive), func(t *testing.T) {
				t.Parallel()
				_, tr := newTree(t, Options{})
				tr = tr.Within(1 << 20)
				at := next(t, tr, cairn.Snapshot{}, "kept", "old").Snapshot
				m := checkedOut(t, tr, at)
				put(t, m, "kept", "new")
				if err := write(filepath.Join(m.Upper, Prefix)); err != nil {
					t.Fatal(err)
				}
				record := tr.Snapshot
				if alive {
					record = tr.SnapshotLive
				}
				_, err := record(t.Context(), at)
				over, ok := errors.AsType[*Oversize](err)
				if !ok || cairn.CodeOf(err) != cairn.CodeInvalid || over.Bytes <= over.Max || over.Max != 1<<20 {
					t.Error(err)
				}
				checkedOut(t, tr, at)
				if err := tr.Verify(t.Context(), at); err != nil {
					t.Error(err)
				}
			})
		}
	}
}

// TestRemovedBesideItsNames: removing moves directories up, but never over what a
// payload gave the name it would use.
func TestRemovedBesideItsNames(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.MkdirAll(dir+"/d/a/b", 0o755); err != nil {
		t.Fatal(err)
	}
	fd, err := openDir(cwd, dir)
	if err != nil {
		t.Fatal(err)
	}
	defer closeFD(fd)
	st, err := lstat(fd, "d")
	if err != nil {
		t.Fatal(err)
	}
	r := remover{prefix: ".gone-" + fmt.Sprint(st.ino) + "-", dir: fd}
	if err := errors.Join(os.WriteFile(dir+"/"+r.prefix+"1", nil, 0o600), os.Mkdir(dir+"/"+r.prefix+"2", 0o700)); err != nil {
		t.Fatal(err)
	}
	if err := r.tree("d"); err != nil {
		t.Error(err)
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 2 {
		t.Errorf("%v, %v", left, err)
	}
}
