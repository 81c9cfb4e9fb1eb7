package dir

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/blob"
	"github.com/cairn-run/cairn/blob/blobtest"
)

func open(t *testing.T, folder string) *Dir {
	t.Helper()
	d, err := Open(folder)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	return d
}

func TestConformance(t *testing.T) {
	t.Parallel()
	blobtest.Run(t, func(t *testing.T) blob.Driver { return open(t, filepath.Join(t.TempDir(), "a", "b")) })
}

// files lists all files below a folder.
func files(t *testing.T, folder string) []string {
	t.Helper()
	var names []string
	err := fs.WalkDir(os.DirFS(folder), ".", func(name string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() {
			names = append(names, name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

func TestLayout(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	d := open(t, folder)
	s := blob.New(d, blob.Options{})
	for _, tenant := range []cairn.TenantID{"acme", "../x"} {
		if _, err := s.Put(t.Context(), tenant, []byte("abc")); err != nil {
			t.Fatal(err)
		}
	}
	const hex = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad" // FIPS 180-2, B.1
	want := []string{
		"h-d6b96a97d147daaae49eb87a5ca7bfbc280e79551016df8aa5edc5920d21c274/ba/" + hex, // of "../x"
		"t-acme/ba/" + hex,
	}
	got := files(t, folder)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatal(diff)
	}
	info, err := os.Stat(filepath.Join(folder, got[1]))
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		t.Errorf("others may read it: %v", info.Mode())
	}
}

func TestReopen(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	first, err := Open(folder)
	if err != nil {
		t.Fatal(err)
	}
	digest, err := blob.New(first, blob.Options{}).Put(t.Context(), "acme", []byte("kept"))
	if err != nil {
		t.Fatal(err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	got, err := blob.New(open(t, folder), blob.Options{}).Get(t.Context(), "acme", digest)
	if err != nil || string(got) != "kept" {
		t.Fatalf("got %q, %v", got, err)
	}
}

// TestFaults fails every step of a Put once: nothing is left behind under the
// name unless it is whole, no temporary file stays, and the next Put succeeds.
func TestFaults(t *testing.T) {
	t.Parallel()
	for _, op := range []string{"mkdir", "create", "write", "sync", "rename", "syncdir"} {
		for cause, want := range map[error]error{
			syscall.ENOSPC: blob.ErrFull,
			syscall.EDQUOT: blob.ErrFull,
			syscall.EIO:    syscall.EIO,
		} {
			t.Run(op+"/"+cause.Error(), func(t *testing.T) {
				t.Parallel()
				folder := t.TempDir()
				d := open(t, folder)
				s := blob.New(d, blob.Options{})
				before, err := s.Put(t.Context(), "acme", []byte("before"))
				if err != nil {
					t.Fatal(err)
				}
				failed := false
				d.fault = func(now string) error {
					if now == op && !failed {
						failed = true
						return &fs.PathError{Op: op, Path: "x", Err: cause}
					}
					return nil
				}
				_, err = s.Put(t.Context(), "acme", []byte("after"))
				if !failed || !errors.Is(err, want) {
					t.Fatalf("got %v, want %v", err, want)
				}
				code := cairn.CodeInternal
				if errors.Is(want, blob.ErrFull) {
					code = cairn.CodeFull
				}
				if got := cairn.CodeOf(err); got != code {
					t.Errorf("code %s, want %s", got, code)
				}
				for _, f := range files(t, folder) {
					if strings.HasPrefix(f, tempDir) {
						t.Errorf("%s was left behind", f)
					}
				}
				if got, err := s.Get(t.Context(), "acme", before); err != nil || string(got) != "before" {
					t.Errorf("what was there before: %q, %v", got, err)
				}
				digest, err := s.Put(t.Context(), "acme", []byte("after"))
				if err != nil {
					t.Fatal(err)
				}
				if got, err := s.Get(t.Context(), "acme", digest); err != nil || string(got) != "after" {
					t.Errorf("got %q, %v", got, err)
				}
			})
		}
	}
}

// TestRepair damages a stored file: it is never handed out, and putting the same
// bytes again makes it whole.
func TestRepair(t *testing.T) {
	t.Parallel()
	for name, damaged := range map[string]string{"changed": "kepT", "torn": "ke", "empty": "", "longer": "kept and more"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			folder := t.TempDir()
			s := blob.New(open(t, folder), blob.Options{})
			digest, err := s.Put(t.Context(), "acme", []byte("kept"))
			if err != nil {
				t.Fatal(err)
			}
			_, file := place("acme", digest)
			if err := os.WriteFile(filepath.Join(folder, file), []byte(damaged), 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := s.Get(t.Context(), "acme", digest); !errors.Is(err, blob.ErrCorrupt) {
				t.Fatalf("got %v, want ErrCorrupt", err)
			}
			if _, err := s.Put(t.Context(), "acme", []byte("kept")); err != nil {
				t.Fatal(err)
			}
			if got, err := s.Get(t.Context(), "acme", digest); err != nil || string(got) != "kept" {
				t.Fatalf("got %q, %v", got, err)
			}
		})
	}
}

// TestLeftovers removes the temporary files of a crash, and only those.
func TestLeftovers(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	open(t, folder)
	old, young := filepath.Join(folder, tempDir, "old"), filepath.Join(folder, tempDir, "young")
	for _, f := range []string{old, young} {
		if err := os.WriteFile(f, []byte("half"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	past := time.Now().Add(-2 * tempAge)
	if err := os.Chtimes(old, past, past); err != nil {
		t.Fatal(err)
	}
	open(t, folder)
	if diff := cmp.Diff([]string{tempDir + "/young"}, files(t, folder)); diff != "" {
		t.Fatal(diff)
	}
}
