package ledger

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func reopen(t *testing.T, path string) (*Ledger, []string) {
	t.Helper()
	var lines []string
	l, err := Open(t.Context(), path, func(line json.RawMessage) error {
		lines = append(lines, string(line))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return l, lines
}

func TestLinesComeBackInOrder(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "deep", "er", "lines.jsonl")
	l, lines := reopen(t, path)
	if len(lines) != 0 {
		t.Fatalf("a new file has %q", lines)
	}
	for i := range 5 {
		if err := l.Append(t.Context(), i); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if err := l.Append(t.Context(), 9); !errors.Is(err, ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
	l, lines = reopen(t, path)
	defer func() { _ = l.Close() }()
	if diff := cmp.Diff([]string{"0", "1", "2", "3", "4"}, lines); diff != "" {
		t.Error(diff)
	}
}

func TestConcurrentAppendsAreAllThereOnce(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "lines.jsonl")
	l, _ := reopen(t, path)
	var wg sync.WaitGroup
	for g := range 20 {
		wg.Go(func() {
			for i := range 20 {
				if err := l.Append(t.Context(), fmt.Sprintf("%d/%d", g, i)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	_ = l.Close()
	l, lines := reopen(t, path)
	defer func() { _ = l.Close() }()
	seen := map[string]bool{}
	for _, line := range lines {
		seen[line] = true
	}
	if len(lines) != 400 || len(seen) != 400 {
		t.Errorf("%d lines, %d different, of 400", len(lines), len(seen))
	}
}

func TestOpenWaitsForTheOther(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "lines.jsonl")
	l, _ := reopen(t, path)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Open(ctx, path, nil); !errors.Is(err, context.Canceled) {
		t.Fatalf("opened twice: %v", err)
	}
	opened := make(chan error, 1)
	go func() {
		l, err := Open(t.Context(), path, nil)
		if err == nil {
			err = l.Close()
		}
		opened <- err
	}()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-opened; err != nil {
		t.Error(err)
	}
}

func TestDamageIsAnError(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "lines.jsonl")
	if err := os.WriteFile(path, []byte("1\n{\"a\n2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), path, func(json.RawMessage) error { return nil }); err == nil {
		t.Error("a damaged line in the middle was read")
	}
}

// TestAnyTornTail cuts a file anywhere: what comes back is a prefix, and the
// ledger goes on after it.
func TestAnyTornTail(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		path := filepath.Join(dir, "torn.jsonl")
		values := rapid.SliceOfN(rapid.String(), 1, 8).Draw(t, "values")
		var text []byte
		for _, v := range values {
			line, _ := json.Marshal(v)
			text = append(append(text, line...), '\n')
		}
		cut := rapid.IntRange(0, len(text)).Draw(t, "cut")
		if err := os.WriteFile(path, text[:cut], 0o600); err != nil {
			t.Fatal(err)
		}
		whole := bytes.Count(text[:cut], []byte("\n"))
		n := 0
		count := func(json.RawMessage) error { n++; return nil }
		l, err := Open(context.Background(), path, count)
		if err != nil {
			t.Fatal(err)
		}
		if err := l.Append(context.Background(), "after"); err != nil {
			t.Fatal(err)
		}
		_ = l.Close()
		if n != whole {
			t.Fatalf("%d lines of %d", n, whole)
		}
		n = 0
		if l, err = Open(context.Background(), path, count); err != nil {
			t.Fatal(err)
		}
		_ = l.Close()
		if n != whole+1 {
			t.Fatalf("%d lines of %d after going on", n, whole+1)
		}
	})
}

func FuzzScan(f *testing.F) {
	f.Add([]byte("1\n{}\n"))
	f.Add([]byte("\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		var lines int64
		good, err := Scan(bytes.NewReader(b), func(line json.RawMessage) error {
			lines += int64(len(line)) + 1
			return nil
		})
		if err == nil && good != lines {
			t.Errorf("%d bytes said, %d seen", good, lines)
		}
	})
}
