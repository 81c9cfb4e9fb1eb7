package config_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cairn-run/cairn/internal/config"
)

// TestGuide reads the example of the guide, with the skill that stands there.
func TestGuide(t *testing.T) {
	t.Parallel()
	guide, err := os.ReadFile(guideFile)
	if err != nil {
		t.Fatal(err)
	}
	parts := strings.Split(string(guide), "```markdown\n")
	if len(parts) != 3 {
		t.Fatalf("the guide has %d examples in Markdown, want an agent and a skill", len(parts)-1)
	}
	block := func(i int) string {
		text, _, _ := strings.Cut(parts[i], "```\n")
		return text
	}
	dir := t.TempDir()
	write(t, filepath.Join(dir, "refunds.md"), block(1))
	write(t, filepath.Join(dir, "skills", "pdf", "SKILL.md"), block(2))
	write(t, filepath.Join(dir, "schemas", "decision.json"), `{"type": "object"}`)
	f, err := config.ReadAgent(filepath.Join(dir, "refunds.md"))
	if err != nil {
		t.Fatal(err)
	}
	if a := f.Agent; len(a.Skills) != 1 || a.Skills[0].Name != "pdf" || a.Environment.Memory != 1<<30 || a.Output == nil {
		t.Errorf("%+v", a)
	}
}
