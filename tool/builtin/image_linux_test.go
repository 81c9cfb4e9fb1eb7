package builtin_test

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/tool/builtin"
)

// smallImage makes a root file system with nothing but sh, cat and what they need.
func smallImage(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	take := func(from, to string) {
		t.Helper()
		to = filepath.Join(root, to)
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			t.Fatal(err)
		}
		in, err := os.Open(from)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = in.Close() }() // read only
		out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o755)
		if os.IsExist(err) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(out, in); err != nil {
			t.Fatal(err)
		}
		if err := out.Close(); err != nil {
			t.Fatal(err)
		}
	}
	library := regexp.MustCompile(`(/\S+) \(0x`)
	for to, name := range map[string]string{"bin/sh": "dash", "bin/cat": "cat"} {
		from, err := exec.LookPath(name)
		if err != nil {
			t.Fatalf("%s is needed to make an image: %v", name, err)
		}
		take(from, to)
		out, err := exec.CommandContext(t.Context(), "ldd", from).Output()
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range library.FindAllStringSubmatch(string(out), -1) {
			take(m[1], m[1])
		}
	}
	for _, dir := range []string{"dev", "proc", "tmp", "etc", "run", "workspace", "home/agent", "skills"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(root, 0o755); err != nil {
		t.Fatal(err)
	}
	return root
}

// TestImageWithoutBash: where there is only sh, commands run in that; the file tools
// need nothing of the image; and python says what is missing.
func TestImageWithoutBash(t *testing.T) {
	t.Parallel()
	a := agent()
	image := smallImage(t)
	a.Environment.Image = filepath.Base(image)
	s := newWorld(t, worldOptions{builtin: builtin.Options{ImageDir: filepath.Dir(image)}}).talk(t, a)
	s.call("write", object{"path": "d/f", "content": "text\n"})
	if got := s.text("bash", object{"command": "cd d; echo err >&2; cat f; exit 3"}); got != "exit code 3\nworking directory: /workspace/d\n\nerr\ntext\n" {
		t.Error(got)
	}
	if got := s.text("bash", object{"command": "pwd; cat"}); got != "exit code 0\n\n/workspace/d\n" {
		t.Error(got)
	}
	if r := s.call("bash", object{"command": "echo " + strings.Repeat("y", 150<<10)}); r.IsError || factsOf(t, r).OutputFile == "" {
		t.Errorf("%.300s", cairn.TextOf(r.Content))
	}
	r := s.call("python", object{"code": "print(1)"})
	if f := factsOf(t, r); f.ExitCode != 127 || !strings.Contains(cairn.TextOf(r.Content), "There is no python3 in this sandbox.") {
		t.Error(cairn.TextOf(r.Content))
	}
	f := s.start("while :; do cat /workspace/d/f; done")
	waitFor(t, func() bool {
		return strings.HasPrefix(s.text("read", object{"path": f.Background.OutputFile, "limit": 1}), "     1\ttext\n")
	})
	if got := s.text("bash", object{"stop": f.Background.ID}); !strings.Contains(got, "sh: while :; do cat") {
		t.Error(got)
	}
}
