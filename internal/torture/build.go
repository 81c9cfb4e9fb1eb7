package torture

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
)

// Build builds the victim, with failpoints, and the effect server into a
// directory. It must be called within the module.
func Build(ctx context.Context, dir string) (victim, effects string, err error) {
	victim, effects = filepath.Join(dir, "victim"), filepath.Join(dir, "effectserver")
	for _, b := range []struct{ out, pkg, tags string }{
		{victim, "github.com/cairn-run/cairn/internal/torture/victim", "failpoint"},
		{effects, "github.com/cairn-run/cairn/internal/effectserver/cmd", ""},
	} {
		out, err := exec.CommandContext(ctx, "go", "build", "-tags", b.tags, "-o", b.out, b.pkg).CombinedOutput()
		if err != nil {
			return "", "", fmt.Errorf("torture: build %s: %w\n%s", b.pkg, err, out)
		}
	}
	return victim, effects, nil
}
