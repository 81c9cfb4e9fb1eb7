package cli_test

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cairn-run/cairn/internal/cli"
)

// mending is an agent that changes the copy of a project in one command.
var mending = map[string]string{
	"coder.md": "---\nname: coder\nmodel: script/coder\ntools: [{builtin: [bash]}]\n---\nYou mend code.\n",
	"coder.yaml": `
replies:
  - text: I mend it.
    calls:
      - tool: bash
        args:
          command: |-
            set -e
            printf 'package main\n\nfunc main() {\n\tprintln("\033[31mred\033[0m")\n}\n' > main.go
            chmod 755 main.go
            mkdir -p new vendor/.git
            printf 'new\n' > new/deep.txt
            printf 'one\ntwo' > 'dir/with space.txt'
            printf '\000\001\003' > bin
            printf 'ref: refs/heads/other\n' > .git/HEAD
            printf '[core]\n' > vendor/.git/config
            rm old.txt link
            ln -s new/deep.txt link
  - text: Mended.
default: { text: Nothing more. }
`,
}

// write writes files below a directory.
func write(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// newProject is a workshop with a directory that has in it what projects have.
func newProject(t *testing.T) (*workshop, string) {
	t.Helper()
	w := newWorkshop(t, mending)
	dir := w.file("project")
	write(t, dir, map[string]string{
		"AGENTS.md": "Run make test.\n", "main.go": "package main\n\nfunc main() {\n}\n", "old.txt": "gone soon\n",
		"dir/with space.txt": "one\n", ".git/HEAD": "ref: refs/heads/main\n", "bin": "\x00\x01\x02",
	})
	if err := errors.Join(os.Chmod(filepath.Join(dir, "bin"), 0o755), os.Symlink("main.go", filepath.Join(dir, "link"))); err != nil {
		t.Fatal(err)
	}
	return w, dir
}

// must runs a command that has to succeed and returns its stdout.
func (w *workshop) must(args ...string) string {
	w.t.Helper()
	code, stdout, stderr := w.run(args...)
	if code != 0 {
		w.t.Fatalf("cairn %s: code %d\n%s%s", strings.Join(args, " "), code, stdout, stderr)
	}
	return stdout
}

// mend runs the agent on a copy of the directory and returns the event after which
// it is mended.
func (w *workshop) mend(dir string) string {
	w.t.Helper()
	w.must("run", w.file("coder.md"), "--input", "mend it", "--workspace", dir, "--sandbox", "none", "-q")
	var e struct{ Seq int }
	if err := json.Unmarshal([]byte(w.must("logs", "last", "--type", "workspace.snapshotted", "--json")), &e); err != nil {
		w.t.Fatal(err)
	}
	return strconv.Itoa(e.Seq)
}

// onTerminal runs a command whose output is a terminal.
func (w *workshop) onTerminal(args ...string) (code int, stdout string) {
	env := w.env(args...)
	env.Terminal = cli.Terminal{Out: true, Err: true}
	var out bytes.Buffer
	env.Stdout = &out
	ctx, cancel := context.WithTimeout(w.t.Context(), hopeless)
	defer cancel()
	return cli.Run(ctx, env), out.String()
}

// contents is what is in a directory, by path; what is inside .git is not.
func contents(t *testing.T, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if e.IsDir() {
			if e.Name() == ".git" {
				return fs.SkipDir
			}
			return nil
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		if info.Mode()&fs.ModeSymlink != 0 {
			target, err := os.Readlink(path)
			out[name] = "-> " + target
			return err
		}
		b, err := os.ReadFile(path)
		out[name] = info.Mode().String()[3:4] + " " + string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// unpack writes a tar into a directory.
func unpack(t *testing.T, archive, dir string) {
	t.Helper()
	for r := tar.NewReader(strings.NewReader(archive)); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return
		} else if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, filepath.FromSlash(h.Name))
		switch h.Typeflag {
		case tar.TypeDir:
			err = os.MkdirAll(path, 0o755)
		case tar.TypeSymlink:
			err = os.Symlink(h.Linkname, path)
		default:
			var b []byte
			if b, err = io.ReadAll(r); err == nil {
				err = os.WriteFile(path, b, fs.FileMode(h.Mode)) //nolint:gosec // mode bits only
			}
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// TestTakeHome: what the agent changed in the copy arrives, by git apply, in the
// directory that it was a copy of, which nothing has touched before.
func TestTakeHome(t *testing.T) {
	t.Parallel()
	w, dir := newProject(t)
	was := contents(t, dir)
	w.mend(dir)
	if d := cmp.Diff(was, contents(t, dir)); d != "" {
		t.Errorf("the directory itself: %s", d)
	}
	first, mended := t.TempDir(), t.TempDir()
	unpack(t, w.must("files", "archive", "last", "--at", "0"), first)
	if d := cmp.Diff(was, contents(t, first)); d != "" {
		t.Errorf("the copy at first: %s", d)
	}
	unpack(t, w.must("files", "archive", "last"), mended)
	patch := w.must("diff", "last", "--patch")
	if patch != w.must("diff", "last") {
		t.Error("elsewhere than on a terminal the patch alone stands on stdout")
	}
	if err := os.RemoveAll(filepath.Join(dir, ".git")); err != nil { // it never was a repository
		t.Fatal(err)
	}
	apply := exec.CommandContext(t.Context(), "git", "apply", "-")
	apply.Dir, apply.Stdin = dir, strings.NewReader(patch)
	apply.Env = append(os.Environ(), "GIT_CEILING_DIRECTORIES="+w.dir)
	if out, err := apply.CombinedOutput(); err != nil {
		t.Fatalf("git apply: %v\n%s\n%s", err, out, patch)
	}
	if d := cmp.Diff(contents(t, mended), contents(t, dir)); d != "" {
		t.Error(d)
	}
}

func TestDiff(t *testing.T) {
	t.Parallel()
	w, dir := newProject(t)
	at := w.mend(dir)
	stat := w.must("diff", "last", "--stat")
	for _, want := range []string{"main.go (mode 644 to 755)", "+1 -0", "+0 -1", "new/deep.txt", "files +1 ~4 -1, +4 lines, -2 lines"} {
		if !strings.Contains(stat, want) {
			t.Errorf("--stat does not say %q:\n%s", want, stat)
		}
	}
	_, shown := w.onTerminal("diff", "last")
	if strings.Contains(shown, "\x1b[31mred") || !strings.Contains(shown, "\x1b[32m+\tprintln(\"red\")\x1b[0m") || !strings.Contains(shown, "with space.txt") {
		t.Errorf("on a terminal:\n%q", shown)
	}
	if got := w.must("diff", "last", "--from", at); got != "" {
		t.Errorf("nothing changed after event %s: %s", at, got)
	}
	if got := w.must("diff", "last", "--from", at, "--to", "0", "--stat"); !strings.Contains(got, "files +1 ~4 -1") {
		t.Errorf("backwards:\n%s", got)
	}
	if all := w.must("diff", "last", "--stat", "--all"); !strings.Contains(all, ".git/HEAD") || !strings.Contains(all, "vendor/.git/config") {
		t.Errorf("diff --all:\n%s", all)
	}
	if _, _, stderr := w.run("diff", "last", "--stat"); !strings.Contains(stderr, "inside .git not shown") {
		t.Errorf("diff: %s", stderr)
	}
	var all struct {
		Changes []struct{ Path, Change string }
	}
	if err := json.Unmarshal([]byte(w.must("diff", "last", "--json")), &all); err != nil || len(all.Changes) != 8 {
		t.Errorf("%+v, %v", all, err)
	}
	for _, args := range [][]string{{"--stat", "--patch"}, {"--from", "x"}, {"--to", "-1"}, {"--json", "--patch"}, {"--from", "9999"}} {
		if code, _, stderr := w.run(append([]string{"diff", "last"}, args...)...); code != cli.ExitUsage {
			t.Errorf("%v: code %d\n%s", args, code, stderr)
		}
	}
}

func TestFiles(t *testing.T) {
	t.Parallel()
	w, dir := newProject(t)
	w.must("run", w.file("coder.md"), "--input", "later", "--workspace", dir, "-d")
	if got := w.must("files", "last"); !strings.Contains(got, "AGENTS.md") { // nobody has taken it yet
		t.Errorf("files:\n%s", got)
	}
	w.must("cancel", "last")
	at := w.mend(dir)
	listed := w.must("files", "last", "--depth", "5")
	for _, want := range []string{"dir/with space.txt", "link -> new/deep.txt", "rwxr-xr-x     3  bin", "new/deep.txt"} {
		if !strings.Contains(listed, want) {
			t.Errorf("files does not say %q:\n%s", want, listed)
		}
	}
	if got := w.must("files", "last", "old.txt", "--at", "0", "--depth", "0"); !strings.Contains(got, "old.txt") {
		t.Errorf("files --at 0:\n%s", got)
	}
	seq, err := strconv.Atoi(at)
	if err != nil {
		t.Fatal(err)
	}
	if got := w.must("files", "get", "last", "main.go", "--at", strconv.Itoa(seq-1)); got != "package main\n\nfunc main() {\n}\n" {
		t.Errorf("get --at: %q", got)
	}
	if _, got := w.onTerminal("files", "get", "last", "main.go"); strings.Contains(got, "\x1b") || !strings.Contains(got, `println("red")`) {
		t.Errorf("get on a terminal: %q", got)
	}
	for _, args := range [][]string{{"files", "get", "last", "bin"}, {"files", "archive", "last"}} {
		if code, _ := w.onTerminal(args...); code != cli.ExitUsage {
			t.Errorf("%v on a terminal: code %d", args, code)
		}
	}
	out := w.file("out")
	w.must("files", "get", "last", "bin", "-o", out)
	if b, err := os.ReadFile(out); err != nil || string(b) != "\x00\x01\x03" {
		t.Errorf("%q, %v", b, err)
	}
	if code, _, stderr := w.run("files", "get", "last", "bin", "-o", out); code != cli.ExitUsage || !strings.Contains(stderr, "exists already") {
		t.Errorf("over a file: code %d\n%s", code, stderr)
	}
	if code, _, _ := w.run("files", "get", "last", "nothing", "-o", out+"2"); code != cli.ExitNotFound {
		t.Errorf("no such file: code %d", code)
	}
	if _, err := os.Stat(out + "2"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a download that failed left a file: %v", err)
	}
	if left, err := filepath.Glob(w.file(".cairn-*")); err != nil || len(left) > 0 {
		t.Errorf("left over: %v, %v", left, err)
	}
	if got := w.must("export", "last"); !strings.HasPrefix(got, `{"type":"export","format":"cairn.session/1"`) || !strings.Contains(got, "\n{\"type\":\"end\",\"events\":") {
		t.Errorf("export:\n%s", got)
	}
	if got := w.must("ps"); !strings.Contains(got, " none ") {
		t.Errorf("ps does not say that nothing is confined:\n%s", got)
	}
	if got := w.must("show", "last"); !strings.Contains(got, "none: commands are not confined") || !strings.Contains(got, "files   +2 ~5 -1") {
		t.Errorf("show:\n%s", got)
	}
}

// TestWorkspaceRefused: what must not leave the machine does not, and what is left
// out is named.
func TestWorkspaceRefused(t *testing.T) {
	t.Parallel()
	w, dir := newProject(t)
	home := filepath.Join(w.data, "home")
	write(t, home, map[string]string{"src/a.go": "package a\n", ".cairn/token": "hush", ".ssh/id": "hush"})
	if err := syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o644); err != nil {
		t.Fatal(err)
	}
	run := func(args ...string) (int, string) {
		t.Helper()
		env := w.env(append([]string{"run", w.file("coder.md"), "--input", "x", "-d", "--workspace"}, args...)...)
		env.Home, env.Getenv = home, func(string) string { return "" }
		var errs bytes.Buffer
		env.Stderr = &errs
		return cli.Run(t.Context(), env), errs.String()
	}
	link := w.file("link-to-home")
	if err := os.Symlink(home, link); err != nil {
		t.Fatal(err)
	}
	for _, private := range []string{"/", home, filepath.Dir(home), link, filepath.Join(home, ".cairn"), home + "/src/.."} {
		if code, stderr := run(private); code != cli.ExitUsage || !strings.Contains(stderr, "keys and tokens") {
			t.Errorf("%s: code %d\n%s", private, code, stderr)
		}
	}
	for _, args := range [][]string{{dir + "/none"}, {dir + "/main.go"}, {dir, "--workspace-limit", "10"}, {dir, "--workspace-limit", "0"}, {dir, "--sandbox", "docker"}} {
		if code, stderr := run(args...); code != cli.ExitUsage {
			t.Errorf("%v: code %d\n%s", args, code, stderr)
		}
	}
	code, stderr := run(dir)
	if code != 0 || !strings.Contains(stderr, "left out of the workspace: pipe (a pipe)") || !strings.Contains(stderr, "7 files, ") {
		t.Errorf("code %d\n%s", code, stderr)
	}
	if code, stderr := run(filepath.Join(home, "src")); code != 0 || !strings.Contains(stderr, "1 file, 10 bytes") {
		t.Errorf("code %d\n%s", code, stderr)
	}
	// A data directory below the workspace stays out of it.
	if code, stderr := run(dir, "--data", filepath.Join(dir, "state")); code != 0 {
		t.Errorf("code %d\n%s", code, stderr)
	} else if code, stderr = run(dir, "--data", filepath.Join(dir, "state")); code != 0 || !strings.Contains(stderr, "state (the data directory of Cairn)") {
		t.Errorf("code %d\n%s", code, stderr)
	}
}
