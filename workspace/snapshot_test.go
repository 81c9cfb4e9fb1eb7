//go:build linux

package workspace

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/cairn-run/cairn"
)

func newTree(tb testing.TB, o Options) (*Store, *Tree) {
	tb.Helper()
	s := open(tb, tb.TempDir(), o)
	i, err := s.Import(tb.Context(), "default", bytes.NewReader(someTar(tb)))
	if err != nil {
		tb.Fatal(err)
	}
	tr, err := s.Tree(cairn.SessionKey{Tenant: "default", ID: "ses_1"}, i.Tree)
	if err != nil {
		tb.Fatal(err)
	}
	return s, tr
}

func checkedOut(tb testing.TB, tr *Tree, at cairn.Snapshot) Mount {
	tb.Helper()
	m, err := tr.Checkout(tb.Context(), at)
	if err != nil {
		tb.Fatal(err)
	}
	return m
}

// put writes a file of the workspace into an upper directory.
func put(tb testing.TB, m Mount, name, body string) {
	tb.Helper()
	p := filepath.Join(m.Upper, Prefix, name)
	if err := errors.Join(os.MkdirAll(filepath.Dir(p), 0o755), os.WriteFile(p, []byte(body), 0o644)); err != nil {
		tb.Fatal(err)
	}
}

// next records what fn puts into a fresh upper directory.
func next(tb testing.TB, tr *Tree, at cairn.Snapshot, name, body string) cairn.Snapshotted {
	tb.Helper()
	put(tb, checkedOut(tb, tr, at), name, body)
	got, err := tr.Snapshot(tb.Context(), at)
	if err != nil {
		tb.Fatal(err)
	}
	return got
}

func TestSnapshotRefuses(t *testing.T) {
	t.Parallel()
	_, tr := newTree(t, Options{})
	if _, err := tr.Snapshot(t.Context(), cairn.Snapshot{}); !errors.Is(err, ErrNotCheckedOut) {
		t.Errorf("before checkout: %v", err)
	}
	one := next(t, tr, cairn.Snapshot{}, "x", "1")
	if one.Snapshot.Layer != 1 || one.Changes != (cairn.Changes{Added: 1, Bytes: 1}) {
		t.Errorf("first: %+v", one)
	}
	if _, err := tr.Snapshot(t.Context(), one.Snapshot); !errors.Is(err, ErrNotCheckedOut) {
		t.Errorf("twice: %v", err)
	}
	put(t, checkedOut(t, tr, one.Snapshot), "x", "2")
	if _, err := tr.Snapshot(t.Context(), cairn.Snapshot{}); !errors.Is(err, ErrNotCheckedOut) {
		t.Errorf("of another parent: %v", err)
	}
	if _, err := tr.SnapshotPlain(t.Context(), one.Snapshot); !errors.Is(err, ErrNotCheckedOut) {
		t.Errorf("in the other form: %v", err)
	}
	wrong := one.Snapshot
	wrong.Tree = cairn.DigestOf(nil)
	if _, err := tr.Checkout(t.Context(), wrong); !errors.Is(err, ErrDamaged) {
		t.Errorf("another tree: %v", err)
	}
	if _, err := tr.Checkout(t.Context(), cairn.Snapshot{Layer: 2}); !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), "layer 2") {
		t.Errorf("a layer that is not there: %v", err)
	}
	other, err := tr.s.Tree(tr.key, "")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := other.Checkout(t.Context(), cairn.Snapshot{}); cairn.CodeOf(err) != cairn.CodeConflict {
		t.Errorf("another base: %v", err)
	}
}

// TestVerifyFindsDamage: one byte of one layer, a file that went, and a manifest.
func TestVerifyFindsDamage(t *testing.T) {
	t.Parallel()
	s, tr := newTree(t, Options{})
	at := next(t, tr, cairn.Snapshot{}, "x", "first").Snapshot
	at = next(t, tr, at, "y", "second").Snapshot
	file := filepath.Join(tr.layerRoot(1), "workspace/x")
	st, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	flip := func(path string, off int64) {
		t.Helper()
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		b := make([]byte, 1)
		_, err = f.ReadAt(b, off)
		b[0] ^= 1
		_, err2 := f.WriteAt(b, off)
		if err := errors.Join(err, err2, f.Close()); err != nil {
			t.Fatal(err)
		}
	}
	flip(file, 2)
	if err := os.Chtimes(file, st.ModTime(), st.ModTime()); err != nil {
		t.Fatal(err)
	}
	if err := tr.Verify(t.Context(), at); !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), `"workspace/x"`) {
		t.Errorf("a flipped bit: %v", err)
	}
	if _, err := tr.Plain(t.Context(), at); !errors.Is(err, ErrDamaged) {
		t.Errorf("a flipped bit, put in place: %v", err)
	}
	flip(file, 2)
	if err := tr.Verify(t.Context(), at); err != nil {
		t.Errorf("put right: %v", err)
	}
	flip(filepath.Join(tr.layerPath(1), manifestFile), 40)
	s.cache.forget("default", "ses_1", 0)
	if _, err := tr.Checkout(t.Context(), at); !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), "layer 1") {
		t.Errorf("a damaged manifest: %v", err)
	}
	flip(filepath.Join(tr.layerPath(1), manifestFile), 40)
	if err := os.RemoveAll(tr.layerPath(1)); err != nil {
		t.Fatal(err)
	}
	if _, err := tr.Checkout(t.Context(), at); !errors.Is(err, ErrDamaged) || cairn.CodeOf(err) != cairn.CodeInternal {
		t.Errorf("a lost layer: %v", err)
	}
}

// TestDeep: a payload nests directories deeper than a path can name. That cannot be
// recorded, and can be removed.
func TestDeep(t *testing.T) {
	t.Parallel()
	_, tr := newTree(t, Options{})
	nest := func(dir string) {
		t.Helper()
		fd, err := unix.Open(dir, unix.O_DIRECTORY, 0)
		if err != nil {
			t.Fatal(err)
		}
		for range 3000 {
			sub := -1
			err := unix.Mkdirat(fd, "deep", 0o755)
			if err == nil {
				sub, err = unix.Openat(fd, "deep", unix.O_DIRECTORY, 0)
			}
			if err != nil {
				t.Fatal(err)
			}
			_ = unix.Close(fd)
			fd = sub
		}
		_ = unix.Close(fd)
	}
	nest(checkedOut(t, tr, cairn.Snapshot{}).Upper)
	if _, err := tr.Snapshot(t.Context(), cairn.Snapshot{}); cairn.CodeOf(err) != cairn.CodeInvalid || len(err.Error()) > 500 {
		t.Errorf("%v", err)
	}
	checkedOut(t, tr, cairn.Snapshot{})
	dir, err := tr.Plain(t.Context(), cairn.Snapshot{})
	if err != nil {
		t.Fatal(err)
	}
	nest(dir)
	if _, err := tr.SnapshotPlain(t.Context(), cairn.Snapshot{}); cairn.CodeOf(err) != cairn.CodeInvalid {
		t.Errorf("plain: %v", err)
	}
	if _, err := tr.Plain(t.Context(), cairn.Snapshot{}); err != nil {
		t.Fatal(err)
	}
	if got, err := tr.SnapshotPlain(t.Context(), cairn.Snapshot{}); err != nil || got.Snapshot.Layer != 0 {
		t.Errorf("put back: %+v, %v", got, err)
	}
	if left, err := os.ReadDir(filepath.Join(tr.s.dir, tempDir)); err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}

// TestLiveSeesMappings: a frozen process has a file mapped. What it writes into a page
// that was dirty already is in the next snapshot, though it may change no time; on tmpfs
// no write through a mapping ever does.
func TestLiveSeesMappings(t *testing.T) {
	t.Parallel()
	dirs := map[string]string{"disk": t.TempDir()}
	if memory, err := os.MkdirTemp("/dev/shm", "mappings"); err == nil {
		t.Cleanup(func() { _ = os.RemoveAll(memory) })
		dirs["memory"] = memory
	} else {
		t.Log("there is no file system in memory here:", err)
	}
	for name, dir := range dirs {
		t.Run(name, func(t *testing.T) { seesMappings(t, dir) })
	}
}

func seesMappings(t *testing.T, dir string) {
	s := open(t, dir, Options{})
	tr, err := s.Tree(cairn.SessionKey{Tenant: "default", ID: "ses_1"}, "")
	if err != nil {
		t.Fatal(err)
	}
	s.racy = 0 // or the first snapshot would not trust the file's times, and hash it again
	m := checkedOut(t, tr, cairn.Snapshot{})
	put(t, m, "mapped", strings.Repeat("0", 4096))
	f, err := os.OpenFile(filepath.Join(m.Upper, "workspace/mapped"), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	page, err := unix.Mmap(int(f.Fd()), 0, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Munmap(page) }()
	at := cairn.Snapshot{}
	for n := byte('1'); n <= '5'; n++ {
		page[7] = n
		got, err := tr.SnapshotLive(t.Context(), at)
		if err != nil {
			t.Fatal(err)
		}
		if got.Snapshot.Layer != int64(n-'0') {
			t.Fatalf("write %c was not seen: %+v", n, got)
		}
		at = got.Snapshot
		b, _, err := tr.ReadFile(t.Context(), at, "workspace/mapped", 7, 1)
		if err != nil || b[0] != n {
			t.Fatalf("%q, %v", b, err)
		}
	}
	if got, err := tr.SnapshotLive(t.Context(), at); err != nil || got.Snapshot != at {
		t.Errorf("nothing changed: %+v, %v", got, err)
	}
	// The instance ends, and its upper directory is more than one step.
	put(t, m, "last", "x")
	got, err := tr.Snapshot(t.Context(), at)
	if err != nil || got.Changes != (cairn.Changes{Added: 1, Bytes: 1}) {
		t.Fatalf("%+v, %v", got, err)
	}
	if err := tr.Verify(t.Context(), got.Snapshot); err != nil {
		t.Error(err)
	}
}

// TestHostileModes: what its owner may not read, search or write is recorded, put
// back and removed, also by a process without privileges; special files go.
func TestHostileModes(t *testing.T) {
	bothWays(t, "TestHostileModes")
	_, tr := newTree(t, Options{})
	plant := func(dir string) {
		t.Helper()
		w := filepath.Join(dir, Prefix)
		err := errors.Join(
			os.MkdirAll(w+"/readonly/sub", 0o755), unix.Mkfifo(w+"/readonly/fifo", 0o644), unix.Mkfifo(w+"/fifo", 0),
			os.WriteFile(w+"/readonly/sub/f", []byte("f"), 0o400), unix.Lsetxattr(w+"/readonly/sub", "user.mine", []byte("x"), 0),
			os.WriteFile(w+"/none", []byte("secret"), 0o644), unix.Lsetxattr(w+"/none", "user.mine", []byte("x"), 0), os.Chmod(w+"/none", 0),
			os.MkdirAll(w+"/dark/in", 0o755), os.WriteFile(w+"/dark/in/f", []byte("g"), 0), os.Chmod(w+"/dark/in", 0), os.Chmod(w+"/dark", 0o200),
			os.WriteFile(w+"/suid", nil, 0o755), unix.Chmod(w+"/suid", 0o6755), os.Symlink("/etc/passwd", w+"/out"),
			os.Chmod(w+"/readonly/sub", 0o555), os.Chmod(w+"/readonly", 0o555))
		if err != nil {
			t.Fatal(err)
		}
	}
	plant(checkedOut(t, tr, cairn.Snapshot{}).Upper)
	live, err := tr.SnapshotLive(t.Context(), cairn.Snapshot{})
	if err != nil {
		t.Fatal(err)
	}
	plant(checkedOut(t, tr, cairn.Snapshot{}).Upper)
	got, err := tr.Snapshot(t.Context(), cairn.Snapshot{})
	if err != nil {
		t.Fatal(err)
	}
	if got.Snapshot != live.Snapshot || got.Changes != (cairn.Changes{Added: 5, Bytes: 8}) {
		t.Errorf("%+v, and alive %+v", got, live)
	}
	if b, e, err := tr.ReadFile(t.Context(), got.Snapshot, "workspace/dark/in/f", 0, 0); err != nil || string(b) != "g" || e.Mode != 0 {
		t.Errorf("%q, %v, %v", b, e.Mode, err)
	}
	if err := tr.Verify(t.Context(), got.Snapshot); err != nil {
		t.Error(err)
	}
	var st unix.Stat_t
	if err := unix.Lstat(filepath.Join(tr.layerRoot(1), "workspace/suid"), &st); err != nil || st.Mode&0o7777 != 0o755 {
		t.Errorf("suid: %o, %v", st.Mode, err)
	}
	if n, err := unix.Lgetxattr(filepath.Join(tr.layerRoot(1), "workspace/readonly/sub"), "user.mine", nil); n >= 0 && err == nil {
		t.Error("an attribute was kept")
	}
	var patch bytes.Buffer
	if err := tr.Patch(t.Context(), cairn.Snapshot{}, got.Snapshot, "", &patch); err != nil || !strings.Contains(patch.String(), "+secret") {
		t.Errorf("patch: %v", err)
	}
	if _, err := tr.Plain(t.Context(), got.Snapshot); err != nil {
		t.Fatal(err)
	}
	if again, err := tr.SnapshotPlain(t.Context(), got.Snapshot); err != nil || again.Snapshot != got.Snapshot {
		t.Errorf("plain: %+v, %v", again, err)
	}
	dir, err := tr.Plain(t.Context(), cairn.Snapshot{})
	if err != nil {
		t.Fatal(err)
	}
	plant(dir)
	if again, err := tr.SnapshotPlain(t.Context(), cairn.Snapshot{}); err != nil || again.Snapshot != got.Snapshot {
		t.Errorf("recorded in the plain directory: %+v, %v", again, err)
	}
	if err := tr.Remove(t.Context()); err != nil {
		t.Error(err)
	}
	if left, err := os.ReadDir(filepath.Join(tr.s.dir, tempDir)); err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}

// TestSquash: many layers stay few mounts, and every step can be read.
func TestSquash(t *testing.T) {
	t.Parallel()
	_, tr := newTree(t, Options{})
	at := []cairn.Snapshot{{}}
	for n := 1; n <= 70; n++ {
		at = append(at, next(t, tr, at[n-1], fmt.Sprintf("f%d", n%7), fmt.Sprint(n)).Snapshot)
	}
	m, err := tr.View(t.Context(), at[70])
	if err != nil || len(m.Lower) != 70-64+2 {
		t.Fatalf("%d layers, %v", len(m.Lower), err)
	}
	changes, err := tr.Diff(t.Context(), at[1], at[2], "")
	if err != nil || len(changes) != 1 || changes[0].Path != "workspace/f2" || changes[0].Kind != Added {
		t.Errorf("an early step: %+v, %v", changes, err)
	}
	if err := tr.Verify(t.Context(), at[70]); err != nil {
		t.Error(err)
	}
	checkedOut(t, tr, at[40])
	if left, err := os.ReadDir(filepath.Join(tr.path(), squashDir)); err != nil || len(left) != 1 {
		t.Errorf("squashed layers after going back: %v, %v", left, err)
	}
	if _, err := os.Stat(tr.layerPath(41)); !os.IsNotExist(err) {
		t.Errorf("a layer above the state: %v", err)
	}
}

func TestSweep(t *testing.T) {
	t.Parallel()
	s, tr := newTree(t, Options{})
	at := next(t, tr, cairn.Snapshot{}, "x", "1").Snapshot
	gone, err := s.Tree(cairn.SessionKey{Tenant: "odd/../tenant", ID: "../ses"}, "")
	if err != nil {
		t.Fatal(err)
	}
	checkedOut(t, gone, cairn.Snapshot{})
	unused, err := s.Import(t.Context(), "default", bytes.NewReader(makeTar(t, tarFile{name: "unused"})))
	if err != nil {
		t.Fatal(err)
	}
	got, err := s.Sweep(t.Context(), func(k cairn.SessionKey) bool { return k == tr.key }, func(cairn.TenantID, cairn.Digest) bool { return false })
	if err != nil || got != (Swept{Sessions: 1, Bases: 1}) {
		t.Errorf("%+v, %v", got, err)
	}
	if err := s.Base(t.Context(), "default", unused.Tree); !errors.Is(err, ErrNotFound) {
		t.Errorf("the unused base: %v", err)
	}
	if err := tr.Verify(t.Context(), at); err != nil {
		t.Errorf("what was kept: %v", err)
	}
	if len(s.sessions) != 0 {
		t.Errorf("idle sessions are held: %v", s.sessions)
	}
}

// TestCacheIsBounded: with hardly any memory everything works the same.
func TestCacheIsBounded(t *testing.T) {
	t.Parallel()
	s, tr := newTree(t, Options{CacheBytes: 1})
	at := cairn.Snapshot{}
	for n := range 5 {
		at = next(t, tr, at, fmt.Sprint(n), "x").Snapshot
	}
	if len(s.cache.items) > 1 || len(s.cache.heirs) > 1 {
		t.Errorf("held: %d trees", len(s.cache.items))
	}
	if err := tr.Verify(t.Context(), at); err != nil {
		t.Error(err)
	}
}

// TestSyncEach: files synced one by one make the same layer.
func TestSyncEach(t *testing.T) {
	t.Parallel()
	s, tr := newTree(t, Options{})
	s.syncMode = syncEach
	at := next(t, tr, cairn.Snapshot{}, "a/b/c", "1").Snapshot
	if err := tr.Verify(t.Context(), at); err != nil {
		t.Error(err)
	}
}

// TestFullDisk fills a small file system: the snapshot says so, nothing recorded is
// lost, and with space again it works.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	cmd := helperCmd(t, "full")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

func fullMain() {
	if err := fullPlay(context.Background()); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}

func fullPlay(ctx context.Context) error {
	if err := unix.Mount("tmpfs", mountPoint, "tmpfs", 0, "size=2m"); err != nil {
		return err
	}
	// The first file of a process makes Go open two descriptors of its own.
	first, err := os.Create(mountPoint + "/first")
	if err != nil {
		return err
	}
	if err := first.Close(); err != nil {
		return err
	}
	before, err := descriptors()
	if err != nil {
		return err
	}
	s, err := Open(mountPoint+"/store", Options{})
	if err != nil {
		return err
	}
	t, err := s.Tree(cairn.SessionKey{Tenant: "default", ID: "ses_1"}, "")
	if err != nil {
		return err
	}
	at := cairn.Snapshot{}
	for n := range 3 {
		m, err := t.Checkout(ctx, at)
		if err != nil {
			return err
		}
		if err := scribble(m.Upper, n); err != nil {
			return err
		}
		filler, err := os.Create(mountPoint + "/filler")
		if err != nil {
			return err
		}
		for err == nil {
			_, err = filler.Write(make([]byte, 4096))
		}
		if !errors.Is(err, unix.ENOSPC) {
			return err
		}
		for _, snap := range []func(context.Context, cairn.Snapshot) (cairn.Snapshotted, error){t.SnapshotLive, t.Snapshot} {
			if got, err := snap(ctx, at); cairn.CodeOf(err) != cairn.CodeFull {
				return fmt.Errorf("on a full disk: %v, %w", got, err)
			}
		}
		if _, err := s.Import(ctx, "default", bytes.NewReader(make([]byte, 1024))); cairn.CodeOf(err) != cairn.CodeFull {
			return fmt.Errorf("import on a full disk: %w", err)
		}
		if err := t.Verify(ctx, at); err != nil {
			return err
		}
		if err := errors.Join(filler.Close(), os.Remove(filler.Name())); err != nil {
			return err
		}
		if m, err = t.Checkout(ctx, at); err != nil {
			return err
		}
		if err := scribble(m.Upper, n); err != nil {
			return err
		}
		got, err := t.Snapshot(ctx, at)
		if err != nil {
			return err
		}
		at = got.Snapshot
		if err := t.Verify(ctx, at); err != nil {
			return err
		}
	}
	if err := s.Close(); err != nil {
		return err
	}
	if after, err := descriptors(); err != nil || after != before {
		return fmt.Errorf("descriptors: %d before, %d after; %w", before, after, err)
	}
	return nil
}

func descriptors() (int, error) {
	all, err := os.ReadDir("/proc/self/fd")
	return len(all), err
}
