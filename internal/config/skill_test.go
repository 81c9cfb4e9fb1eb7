//go:build linux

package config_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/internal/config"
)

const (
	agentText = "name: a\nmodel: script/a\nskills: [skills/x]\n"
	skillText = "---\nname: x\ndescription: X.\n---\n"
)

// TestSkillAttacks reads folders that somebody made to get at files outside, to
// hang the reader, or to fill its memory.
func TestSkillAttacks(t *testing.T) {
	t.Parallel()
	link := func(to string) func(*testing.T, string) {
		return func(t *testing.T, dir string) { check(t, os.Symlink(to, filepath.Join(dir, "link"))) }
	}
	for name, test := range map[string]struct {
		make func(t *testing.T, dir string)
		says string
	}{
		"link to /etc/passwd":    {link("/etc/passwd"), `"link" cannot be read: path escapes from parent`},
		"link out of the folder": {link("../../agent.yaml"), `"link" cannot be read: path escapes from parent`},
		"link to a folder":       {link("/etc"), `"link" cannot be read: path escapes from parent`},
		"link to itself":         {link("link"), `"link" cannot be read: too many levels of symbolic links`},
		"link to nothing":        {link("gone"), `"link" cannot be read: no such file or directory`},
		"link to its own folder": {link("."), `"link" is no regular file`},
		"SKILL.md as a link": {func(t *testing.T, dir string) {
			check(t, os.Remove(filepath.Join(dir, "SKILL.md")))
			check(t, os.Symlink("/etc/passwd", filepath.Join(dir, "SKILL.md")))
		}, `"SKILL.md" cannot be read: path escapes from parent`},
		"the folder as a link": {func(t *testing.T, dir string) {
			check(t, os.RemoveAll(dir))
			check(t, os.Symlink("/etc", dir))
		}, "path escapes from parent"},
		"pipe": {func(t *testing.T, dir string) { check(t, unix.Mkfifo(filepath.Join(dir, "pipe"), 0o600)) }, `"pipe" is no regular file`},
		"socket": {func(t *testing.T, dir string) {
			check(t, unix.Mknod(filepath.Join(dir, "socket"), unix.S_IFSOCK|0o600, 0))
		}, `"socket" cannot be read`},
		"large file": {func(t *testing.T, dir string) {
			check(t, os.Truncate(filepath.Join(dir, "SKILL.md"), 1<<40)) // sparse
		}, fmt.Sprintf("have more than %d bytes", cairn.MaxSkillBytes)},
		"10,000 files": {func(t *testing.T, dir string) {
			for i := range 10_000 {
				write(t, filepath.Join(dir, fmt.Sprint(i)), "")
			}
		}, "more than 256 files"},
		"257 files in folders": {func(t *testing.T, dir string) {
			for i := range cairn.MaxSkills * 4 {
				write(t, filepath.Join(dir, fmt.Sprint(i%16), fmt.Sprint(i)), "")
			}
		}, "more than 256 files"},
		"deep folders": {func(t *testing.T, dir string) {
			check(t, os.MkdirAll(filepath.Join(dir, strings.Repeat("d/", 40)), 0o700))
		}, "nested at most 16 deep"},
		"many folders": {func(t *testing.T, dir string) {
			for i := range 300 {
				check(t, os.Mkdir(filepath.Join(dir, fmt.Sprint(i)), 0o700))
			}
		}, "at most 256"},
		"name that is not UTF-8":  {func(t *testing.T, dir string) { write(t, filepath.Join(dir, "a\xff"), "") }, "not UTF-8"},
		"name with a line break":  {func(t *testing.T, dir string) { write(t, filepath.Join(dir, "a\nb"), "") }, "control character"},
		"name with an escape":     {func(t *testing.T, dir string) { write(t, filepath.Join(dir, "a\x1b[2J"), "") }, "control character"},
		"name with a backslash":   {func(t *testing.T, dir string) { write(t, filepath.Join(dir, `..\..\x`), "") }, "backslash"},
		"name turned round":       {func(t *testing.T, dir string) { write(t, filepath.Join(dir, "a\u202eb"), "") }, "control character"},
		"SKILL.md with NUL":       {func(t *testing.T, dir string) { write(t, filepath.Join(dir, "SKILL.md"), skillText+"a\x00b\n") }, "SKILL.md:5:2: a NUL byte"},
		"SKILL.md not UTF-8":      {func(t *testing.T, dir string) { write(t, filepath.Join(dir, "SKILL.md"), "---\nname: \xff\n---\n") }, "SKILL.md:2:7: not UTF-8"},
		"SKILL.md with an anchor": {func(t *testing.T, dir string) { write(t, filepath.Join(dir, "SKILL.md"), bomb) }, "anchors and aliases cannot be used in a skill"},
		"SKILL.md nested too deep": {func(t *testing.T, dir string) {
			write(t, filepath.Join(dir, "SKILL.md"), "---\nname: "+strings.Repeat("[", 100_000)+"\n---\n")
		}, "nested more than 100 deep"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			root := t.TempDir()
			dir := filepath.Join(root, "skills", "x")
			write(t, filepath.Join(root, "agent.yaml"), agentText)
			write(t, filepath.Join(dir, "SKILL.md"), skillText)
			test.make(t, dir)
			_, err := config.ReadAgent(filepath.Join(root, "agent.yaml"))
			if _, ok := errors.AsType[*config.Error](err); !ok || !strings.Contains(err.Error(), test.says) {
				t.Fatalf("got %v, want an error with a place that says %q", err, test.says)
			}
			if len(err.Error()) > 1000 || strings.ContainsAny(err.Error(), "\x1b\u202e") {
				t.Errorf("the message is not fit for a terminal: %q", err)
			}
		})
	}
}

const bomb = "---\na: &a [x, x]\nb: &b [*a, *a]\nname: x\ndescription: X.\n---\n"

// TestSkillLinks: a link to a file of the folder is that file; all skills together
// keep to the bound.
func TestSkillLinks(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	dir := filepath.Join(root, "skills", "x")
	write(t, filepath.Join(root, "agent.yaml"), agentText)
	write(t, filepath.Join(dir, "SKILL.md"), skillText)
	write(t, filepath.Join(dir, "bin", "run"), "#!/bin/sh\n")
	check(t, os.Chmod(filepath.Join(dir, "bin", "run"), 0o700))
	check(t, os.Symlink("bin/run", filepath.Join(dir, "run")))
	f, err := config.ReadAgent(filepath.Join(root, "agent.yaml"))
	check(t, err)
	var got []string
	for _, file := range f.Agent.Skills[0].Files {
		got = append(got, fmt.Sprintf("%s %d %t", file.Path, len(file.Content), file.Executable))
	}
	if s := strings.Join(got, ", "); s != "SKILL.md 32 false, bin/run 10 true, run 10 true" {
		t.Errorf("got %s", s)
	}
	write(t, filepath.Join(root, "skills", "y", "SKILL.md"), "---\ndescription: Y.\n---\n")
	for _, s := range []string{"x", "y"} {
		write(t, filepath.Join(root, "skills", s, "data"), strings.Repeat("x", cairn.MaxSkillBytes/2))
	}
	write(t, filepath.Join(root, "agent.yaml"), "name: a\nmodel: script/a\nskills: [skills/x, skills/y]\n")
	if _, err := config.ReadAgent(filepath.Join(root, "agent.yaml")); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("have more than %d bytes", cairn.MaxSkillBytes)) {
		t.Errorf("got %v", err)
	}
}

// TestPipes: a file that is a pipe ends in an error, and not in waiting.
func TestPipes(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	check(t, unix.Mkfifo(filepath.Join(root, "pipe.json"), 0o600))
	write(t, filepath.Join(root, "agent.yaml"), "name: a\nmodel: script/a\noutput: {schema: pipe.json}\n")
	for _, name := range []string{"pipe.json", "agent.yaml"} {
		if _, err := config.ReadAgent(filepath.Join(root, name)); err == nil || !strings.Contains(err.Error(), "no regular file") {
			t.Errorf("%s: got %v", name, err)
		}
	}
	if sort, err := config.Look(filepath.Join(root, "pipe.json")); sort != config.Other || err != nil {
		t.Errorf("a pipe is %v, %v", sort, err)
	}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// FuzzSkill checks that no SKILL.md does anything but give a skill or an error with a
// place inside it.
func FuzzSkill(f *testing.F) {
	for _, s := range []string{skillText, bomb, "---\ndescription: >-\n  a\n b\n---", "---\n---\n", "\ufeff---\r\nname: 3\r\ndescription: x\r\n---\r\n"} {
		f.Add([]byte(s))
	}
	root := f.TempDir()
	dir := filepath.Join(root, "skills", "x")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		check(t, os.WriteFile(filepath.Join(dir, "SKILL.md"), data, 0o600))
		a, err := config.ParseAgent(filepath.Join(root, "agent.yaml"), []byte(agentText))
		if err != nil {
			if e, ok := errors.AsType[*config.Error](err); !ok || e.Line < 1 || e.Column < 1 {
				t.Fatalf("an error without a place: %v", err)
			}
			return
		}
		if s := a.Skills[0]; string(s.Files[0].Content) != string(data) || s.Description == "" {
			t.Fatalf("not used unchanged: %+v", s)
		}
	})
}
