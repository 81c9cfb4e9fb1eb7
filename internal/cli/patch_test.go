package cli

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var somePatch = strings.ReplaceAll(`diff --git a/old.txt b/old.txt
deleted file mode 100644
--- a/old.txt
+++ /dev/null
@@ -1 +0,0 @@
-gone
diff --git a/a file b/a file
--- a/a file	
+++ b/a file	
@@ -1,3 +1,3 @@
 one
--- a/trick
+++ b/trick
 diff --git a/x b/x
\ No newline at end of file
@@ -9 +9,2 @@
 nine
+ten
diff --git "a/\303\244" "b/\303\244"
new file mode 100644
--- /dev/null
+++ "b/\303\244"
@@ -0,0 +1,2 @@
+one
+ESC[31mtwo
diff --git a/bin b/bin
GIT binary patch
literal 3
+c$aaa
-c$bbb
`, "ESC", "\x1b")

// TestPatchPrinter counts and shows a patch, wherever it is cut, and passes it on
// as it is.
func TestPatchPrinter(t *testing.T) {
	t.Parallel()
	want := map[string]lineCount{"old.txt": {0, 1}, "a file": {2, 1}, "ä": {2, 0}}
	for size := 1; size <= len(somePatch); size++ {
		var shown, raw bytes.Buffer
		p := &patchPrinter{out: &shown, raw: &raw}
		for rest := []byte(somePatch); len(rest) > 0; {
			n := min(size, len(rest))
			if _, err := p.Write(rest[:n]); err != nil {
				t.Fatal(err)
			}
			rest = rest[n:]
		}
		if err := p.end(); err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want, p.counts, cmp.AllowUnexported(lineCount{})); d != "" {
			t.Fatalf("in pieces of %d bytes: %s", size, d)
		}
		if raw.String() != somePatch {
			t.Fatal("the patch was changed")
		}
		if got := shown.String(); strings.ReplaceAll(somePatch, "\x1b[31m", "") != got {
			t.Fatal(cmp.Diff(somePatch, got))
		}
	}
}

// FuzzPatchPrinter: no patch brings control characters to a terminal.
func FuzzPatchPrinter(f *testing.F) {
	f.Add([]byte(somePatch))
	f.Add([]byte("@@ -1,99999999999999999999 +1 @@\n+"))
	f.Add([]byte("diff --git \"\n--- \"\n+++ \"\\\n@@ -1 +1 @@\n"))
	f.Fuzz(func(t *testing.T, patch []byte) {
		var shown bytes.Buffer
		p := &patchPrinter{out: &shown}
		if _, err := p.Write(patch); err != nil {
			t.Fatal(err)
		}
		if err := p.end(); err != nil {
			t.Fatal(err)
		}
		if s := shown.String(); clean(s) != s {
			t.Fatalf("a control character in %q", s)
		}
	})
}
