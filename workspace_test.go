package cairn_test

import (
	"strings"
	"testing"

	"github.com/cairn-run/cairn"
)

// TestSkillFiles: what the files of a skill that came through the API may be called.
func TestSkillFiles(t *testing.T) {
	t.Parallel()
	for says, paths := range map[string][]string{
		"":                          {"SKILL.md", "bin/run", "bin/a b", "ü/x"},
		"SKILL.md is missing":       {"skill.md"},
		"stands there twice":        {"SKILL.md", "a", "a"},
		`"a/b" is a file, and the`:  {"SKILL.md", "a/b/c/d", "a/b"},
		`"SKILL.md" is a file, and`: {"SKILL.md", "SKILL.md/x"},
	} {
		if got := skillError(paths...); says == "" && got != "" || !strings.Contains(got, says) {
			t.Errorf("%q: %q, want %q", paths, got, says)
		}
	}
	for _, p := range []string{
		"", ".", "..", "../x", "/x", "a/../b", "a//b", "./a", "a/", "a\x00", "a\n", "a\x1b[2J", "a\u202eb", `..\x`, "a\xff", strings.Repeat("a", 513),
	} {
		if got := skillError("SKILL.md", p); !strings.Contains(got, "is not a path below") {
			t.Errorf("%q: %q", p, got)
		}
	}
}

// TestEmptySkillFile: an empty file is the same version however it is written.
func TestEmptySkillFile(t *testing.T) {
	t.Parallel()
	a := &cairn.Agent{Skills: []cairn.Skill{{Files: []cairn.SkillFile{{Path: "a"}}}}}
	b := &cairn.Agent{Skills: []cairn.Skill{{Files: []cairn.SkillFile{{Path: "a", Content: []byte{}}}}}}
	if a.Digest() != b.Digest() {
		t.Error("nil and empty are two versions")
	}
}

// skillError is what is wrong with a skill that has these files; empty: nothing.
func skillError(paths ...string) string {
	s := cairn.Skill{Name: "x", Description: "X."}
	for _, p := range paths {
		s.Files = append(s.Files, cairn.SkillFile{Path: p})
	}
	a := &cairn.Agent{Name: "a", Model: "script/a", Skills: []cairn.Skill{s}}
	if err := a.Validate(); err != nil {
		return err.Error()
	}
	return ""
}
