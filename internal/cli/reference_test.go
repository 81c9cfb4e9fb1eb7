package cli

import (
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestReference holds docs/cli.md equal to what the commands say. Run with
// -update after a change.
func TestReference(t *testing.T) {
	t.Parallel()
	const file = "../../docs/cli.md"
	const from, to = "<!-- generated: go test ./internal/cli -update -->\n", "<!-- end -->\n"
	guide, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(guide), from)
	_, after, ok2 := strings.Cut(rest, to)
	if !ok || !ok2 {
		t.Fatalf("%s has no generated part", file)
	}
	want := before + from + Reference() + to + after
	if *update {
		if err := os.WriteFile(file, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if d := cmp.Diff(want, string(guide)); d != "" {
		t.Errorf("%s is not up to date: go test ./internal/cli -update (-want +committed):\n%s", file, d)
	}
}
