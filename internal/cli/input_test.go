package cli

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cairn-run/cairn"
	v1 "github.com/cairn-run/cairn/api/v1"
)

// TestAttach: a file is what its bytes say, and what no provider can read is
// refused before anything is sent.
func TestAttach(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	files := map[string]string{
		"a.png": "\x89PNG\r\n\x1a\n....", "renamed.txt": "\x89PNG\r\n\x1a\n....", "a.jpg": "\xff\xd8\xff\xe0", "a.gif": "GIF89a..", "a.webp": "RIFF....WEBPVP8 ",
		"a.pdf": "%PDF-1.7", "a.csv": "a,b\n1,2\n", "a.weird": "plain text", "a.html": "<html></html>",
		"a.bin": "\x00\x01\x02", "latin1.txt": "caf\xe9", "empty": "", "large": strings.Repeat("x", maxAttached+1),
	}
	path := func(name string) string { return filepath.Join(dir, name) }
	for name, data := range files {
		if err := os.WriteFile(path(name), []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	a := &app{Env: Env{Stdin: strings.NewReader(""), Stderr: io.Discard}}
	for name, want := range map[string]string{
		"a.png": "image image/png", "renamed.txt": "image image/png", "a.jpg": "image image/jpeg", "a.gif": "image image/gif",
		"a.webp": "image image/webp", "a.pdf": "file application/pdf", "a.weird": "file text/plain", "a.html": "file text/html",
		"a.bin": "neither a picture", "latin1.txt": "neither a picture", "empty": "empty", "large": "more than", "missing": "no such file",
	} {
		c, err := a.content("Look.", []string{path(name)}, false)
		if err != nil {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v, want %q", name, err, want)
			}
			continue
		}
		kind, media, _ := strings.Cut(want, " ")
		if diff := cmp.Diff(v1.Content{{Kind: "text", Text: "Look."}, {Kind: cairn.PartKind(kind), MediaType: media, Data: []byte(files[name])}}, c); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
	if _, err := a.content("Look.", []string{path("a.csv"), path("large")}, false); err == nil {
		t.Error("too much was attached")
	}
	for _, name := range []string{"a.png", "a.pdf"} {
		if _, err := a.content(path(name), nil, false); err == nil || !strings.Contains(err.Error(), "--attach") {
			t.Errorf("%s as the input: %v", name, err)
		}
	}
}
