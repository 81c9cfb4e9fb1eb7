package sim_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/cairn-run/cairn/internal/sim"
)

func TestDataIsLookedForWhereItIsSaidToBe(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "set"), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("CAIRN_TESTDATA", dir)
	if got, want := sim.Data(t, "set"), filepath.Join(dir, "set"); got != want {
		t.Errorf("%s instead of %s", got, want)
	}
}

func TestSeedIsTakenFromTheEnvironment(t *testing.T) {
	t.Setenv("CAIRN_SEED", "42")
	if got := sim.Seed(t); got != 42 {
		t.Errorf("seed %d", got)
	}
}
