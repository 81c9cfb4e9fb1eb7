package torture

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
)

// Build builds the victim, with failpoints, and the effect server into a
// directory. It must be called within the module. Flags go to the build of the
// victim.
func Build(ctx context.Context, dir string, flags ...string) (victim, effects string, err error) {
	victim, effects = filepath.Join(dir, "victim"), filepath.Join(dir, "effectserver")
	for _, b := range []struct {
		out, pkg string
		flags    []string
	}{
		{victim, "github.com/cairn-run/cairn/internal/torture/victim", append([]string{"-tags", "failpoint"}, flags...)},
		{effects, "github.com/cairn-run/cairn/internal/effectserver/cmd", nil},
	} {
		args := append(append([]string{"build"}, b.flags...), "-o", b.out, b.pkg)
		out, err := exec.CommandContext(ctx, "go", args...).CombinedOutput()
		if err != nil {
			return "", "", fmt.Errorf("torture: build %s: %w\n%s", b.pkg, err, out)
		}
	}
	return victim, effects, nil
}
