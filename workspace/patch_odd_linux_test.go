package workspace

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/cairn-run/cairn"
)

// TestPatchOfOddFiles: `git apply` of a patch gives the other state, and an import of an
// archive the same, whatever names, times and lines look like: those of a patch itself
// among them.
func TestPatchOfOddFiles(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir(), Options{})
	names := rapid.SampledFrom([]string{
		"a", "a b", "x b/x", "a/x b/a/x", " lead", "trail ", "t\tab", "nl\nl", "q\"uote", "back\\slash", "\u00e9", "e\u0301", "\xff", "-dash", "dev/null", "a.txt", "d/a", "d/a/b", "b/d", "c /e", "\\\\\"\n", "\x01\x7f",
	})
	line := rapid.SampledFrom([]string{
		"a\n", "b\n", "\n", "c\r\n", "\r\n", "d\r", "\r", " \n", "\t\n", "trail \n", "\\ No newline at end of file\n", "--- a/a\n", "+++ b/a\n", "@@ -1 +1 @@\n", "diff --git a/a b/a\n",
		"-", "+\n", "-\n", " \t", "\f\n", "\xff\xfe\n", "-- \n", "GIT binary patch\n", "\u2028\n", "z", strings.Repeat("w", 9000) + "\n", strings.Repeat("n\n", 5000), "nul\x00\n",
	})
	content := rapid.Custom(func(t *rapid.T) string {
		return strings.Join(rapid.SliceOfN(line, 0, 12).Draw(t, "lines"), "")
	})
	n := 0
	rapid.Check(t, func(rt *rapid.T) {
		n++
		tr, err := s.Tree(cairn.SessionKey{Tenant: "default", ID: cairn.SessionID(fmt.Sprint("ses_", n))}, "")
		if err != nil {
			rt.Fatal(err)
		}
		var at []cairn.Snapshot
		last := cairn.Snapshot{}
		for range 2 {
			dir, err := tr.Plain(t.Context(), last)
			if err != nil {
				rt.Fatal(err)
			}
			top := filepath.Join(dir, Prefix)
			for range rapid.IntRange(1, 6).Draw(rt, "changes") {
				p := filepath.Join(top, names.Draw(rt, "name"))
				switch rapid.IntRange(0, 5).Draw(rt, "do") {
				case 0:
					_ = os.RemoveAll(p)
				case 1:
					_ = errors.Join(os.RemoveAll(p), os.Symlink(rapid.SampledFrom([]string{"a", "to\nx", " ", "\xff", "../.."}).Draw(rt, "target"), p))
				case 2: // a change of a part, or of the mode
					if b, err := os.ReadFile(p); err == nil && len(b) > 0 {
						i := rapid.IntRange(0, len(b)).Draw(rt, "at")
						b = append(append(bytes.Clone(b[:i]), line.Draw(rt, "line")...), b[i:]...)
						_ = os.WriteFile(p, b, 0o644)
					} else {
						_ = os.Chmod(p, 0o755)
					}
				default:
					if i, err := os.Lstat(p); err == nil && i.IsDir() {
						_ = os.RemoveAll(p)
					}
					_ = os.MkdirAll(filepath.Dir(p), 0o755) // where a file is in the way, nothing is written
					_ = os.WriteFile(p, []byte(content.Draw(rt, "content")), 0o644)
					year := rapid.SampledFrom([]int{2026, 1902, 1969, 2038, 2300}).Draw(rt, "year")
					when := time.Date(year, 1, 2, 3, 4, 5, 6, time.UTC)
					_ = os.Chtimes(p, when, when)
				}
			}
			got, err := tr.SnapshotPlain(t.Context(), last)
			if err != nil {
				rt.Fatal(err)
			}
			last = got.Snapshot
			at = append(at, last)
		}
		applies(rt, tr, at[0], at[1])
		applies(rt, tr, at[1], at[0])
		var archive bytes.Buffer
		if err := tr.WriteTar(t.Context(), last, "", &archive); err != nil {
			rt.Fatal(err)
		}
		if i, err := s.Import(t.Context(), "default", &archive); err != nil || i.Tree != last.Tree && last.Tree != "" {
			rt.Fatalf("the archive of %s is one of %s: %v", last.Tree, i.Tree, err)
		}
		if err := tr.Remove(t.Context()); err != nil {
			rt.Fatal(err)
		}
	})
}
