package torture_test

import (
	"os"
	"strconv"
	"testing"

	"github.com/cairn-run/cairn/internal/torture"
)

// TestTorture kills the runtime 100 times ($CAIRN_KILLS) and checks every promise.
func TestTorture(t *testing.T) {
	kills, seed := 100, uint64(1)
	if s := os.Getenv("CAIRN_KILLS"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil {
			t.Fatal(err)
		}
		kills = n
	}
	dir := t.TempDir()
	victim, effects, err := torture.Build(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	res, err := torture.Run(t.Context(), torture.Options{Dir: dir, Victim: victim, Effects: effects, Kills: kills, Seed: seed, Log: t.Output()})
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range res.Violations {
		t.Error(v)
	}
	t.Logf("%+v", *res)
}
