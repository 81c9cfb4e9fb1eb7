package torture_test

import (
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/cairn-run/cairn/internal/torture"
)

// TestHands kills the runtime, the helper that makes sandboxes, and first processes
// of sandboxes, 45 times ($CAIRN_HANDS_KILLS), as the user of the test and, if that is
// root, as one without rights; and checks every promise, those on files and leaks
// among them.
func TestHands(t *testing.T) {
	t.Parallel()
	kills := 45
	if s := os.Getenv("CAIRN_HANDS_KILLS"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil {
			t.Fatal(err)
		}
		kills = n
	}
	dir := torture.Open755(t)
	victim, effects, err := torture.Build(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	for name, uid := range users() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			res, err := torture.Run(t.Context(), torture.Options{
				Dir: filepath.Join(dir, name), Victim: victim, Effects: effects, Kills: kills, Sessions: 6, Seed: 1, Hands: true,
				UID: uid, GID: uid, Log: t.Output(),
			})
			if err != nil {
				t.Fatal(err)
			}
			for _, v := range res.Violations {
				t.Error(v)
			}
			t.Logf("%+v %+v", *res, *res.Checked.Files)
		})
	}
}

// users are those the victim is run as: 0 is whoever the test is.
func users() map[string]int {
	if os.Geteuid() != 0 {
		return map[string]int{"rootless": 0}
	}
	return map[string]int{"rootful": 0, "rootless": torture.OtherUser}
}
