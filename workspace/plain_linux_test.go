package workspace

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cairn-run/cairn"
)

// TestPlainIsBounded: a file without end that costs nothing to make is neither read nor
// kept, and does not keep the session from going on.
func TestPlainIsBounded(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	_, tr := newTree(t, Options{})
	dir, err := tr.Plain(ctx, cairn.Snapshot{})
	if err != nil {
		t.Fatal(err)
	}
	write := func(name, body string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, "workspace", name), []byte(body), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("kept", strings.Repeat("k", 5000))
	s, err := tr.SnapshotPlain(ctx, cairn.Snapshot{})
	if err != nil {
		t.Fatal(err)
	}
	// Reading them takes hours.
	for _, name := range []string{"kept", "new"} {
		write(name, "x")
		if err := os.Truncate(filepath.Join(dir, "workspace", name), 4<<40); err != nil {
			t.Fatal(err)
		}
	}
	_, err = tr.Within(6000).SnapshotPlain(ctx, s.Snapshot)
	if over, ok := errors.AsType[*Oversize](err); !ok || over.Max != 6000 {
		t.Fatal(err)
	}
	if _, err := tr.Plain(ctx, s.Snapshot); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(filepath.Join(dir, "workspace", "kept")); err != nil || len(b) != 5000 {
		t.Errorf("%d bytes, %v", len(b), err)
	}
	if _, err := os.Lstat(filepath.Join(dir, "workspace", "new")); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
	// What was recorded before does not count.
	write("small", "s")
	if _, err := tr.Within(6000).SnapshotPlain(ctx, s.Snapshot); err != nil {
		t.Error(err)
	}
	write("large", strings.Repeat("l", 6001))
	if _, err := tr.Within(6000).SnapshotPlain(ctx, s.Snapshot); cairn.CodeOf(err) == "" {
		t.Error("more than is allowed was recorded")
	}
}

// TestPlainCopyChanges: a file that is written between hashing and copying is a conflict
// that another attempt may not meet, and no damage to what was recorded.
func TestPlainCopyChanges(t *testing.T) {
	t.Parallel()
	var name string
	_, tr := newTree(t, Options{Hook: func(point string) {
		if point == "workspace.snapshot.copy" && name != "" {
			_ = os.WriteFile(name, []byte("other"), 0o644)
		}
	}})
	dir, err := tr.Plain(context.Background(), cairn.Snapshot{})
	if err != nil {
		t.Fatal(err)
	}
	name = filepath.Join(dir, "workspace", "f")
	if err := os.WriteFile(name, []byte("first"), 0o644); err != nil {
		t.Fatal(err)
	}
	_, err = tr.SnapshotPlain(t.Context(), cairn.Snapshot{})
	if e := cairn.AsError(err); cairn.CodeOf(err) != cairn.CodeConflict || !e.Retryable || errors.Is(err, ErrDamaged) {
		t.Errorf("%v", err)
	}
	s, err := tr.SnapshotPlain(t.Context(), cairn.Snapshot{})
	if err != nil {
		t.Fatal(err)
	}
	if b, _, err := tr.ReadFile(t.Context(), s.Snapshot, "workspace/f", 0, 0); err != nil || string(b) != "other" {
		t.Errorf("%q, %v", b, err)
	}
}
