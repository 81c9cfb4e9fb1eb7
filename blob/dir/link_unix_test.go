//go:build unix

package dir

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/cairn-run/cairn/blob"
)

// TestSymlink: a link inside the folder does not lead out of it.
func TestSymlink(t *testing.T) {
	t.Parallel()
	folder, outside := t.TempDir(), t.TempDir()
	if err := os.Symlink(outside, filepath.Join(folder, "t-acme")); err != nil {
		t.Fatal(err)
	}
	if _, err := blob.New(open(t, folder), blob.Options{}).Put(t.Context(), "acme", []byte("x")); err == nil {
		t.Error("the write went through")
	}
	if got := files(t, outside); len(got) > 0 {
		t.Errorf("wrote %v outside its folder", got)
	}
}
