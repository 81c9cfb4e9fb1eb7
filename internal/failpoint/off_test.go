//go:build !failpoint

package failpoint

import (
	"os/exec"
	"testing"
)

// TestWithTag runs the tests of the other build, so that the ordinary test run
// covers both.
func TestWithTag(t *testing.T) {
	t.Parallel()
	out, err := exec.CommandContext(t.Context(), "go", "test", "-tags", "failpoint", "-run", "^TestTagged", "-count=1", ".").CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}
