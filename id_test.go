package cairn_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cairn-run/cairn"
)

// Ids inside a session derive from its name and a sequence number, for ever: they
// are idempotency keys in other people's ledgers.
func TestDerivedIDs(t *testing.T) {
	t.Parallel()
	const s = cairn.SessionID("ses_01JD3ZW8M0AAAAAAAAAAAAAAAA")
	got := []string{
		string(cairn.RunIDAt(s, 2)), string(cairn.EffectIDAt(s, 4)), string(cairn.EffectIDAt(s, 1<<40)), string(cairn.AskIDAt(s, 7)),
		string(cairn.EffectIDAt("ses_1", 4)), string(cairn.NewSessionID("01JD3ZW8M0AAAAAAAAAAAAAAAA")), string(cairn.DigestOf([]byte("x"))),
	}
	want := []string{
		"run_10WQXQ54E415HZCKTQCFGJTR6Z",
		"eff_5XEJT0460RY9QHJ8S3TMSJ0V6W",
		"eff_4ARZH0HYGCY7NGDRCY7JM4B5ZC",
		"ask_06WBFYJQMYQZ217SJRMCK6WJMD",
		"eff_7J41HK8B6WGB5W25ZVBMN9HTHW",
		"ses_01JD3ZW8M0AAAAAAAAAAAAAAAA",
		"sha256:2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("ids changed (-before +now):\n%s", diff)
	}
}

func TestIDsDiffer(t *testing.T) {
	t.Parallel()
	seen := map[string]string{}
	for _, s := range []cairn.SessionID{"ses_1", "ses_2", "ses_11", ""} {
		for n := range cairn.Seq(3000) {
			for kind, id := range map[string]string{
				"run_": string(cairn.RunIDAt(s, n)), "eff_": string(cairn.EffectIDAt(s, n)), "ask_": string(cairn.AskIDAt(s, n)),
			} {
				if !strings.HasPrefix(id, kind) || len(id) != len(kind)+26 || strings.Trim(id[len(kind):], "0123456789ABCDEFGHJKMNPQRSTVWXYZ") != "" {
					t.Fatalf("%q is no id", id)
				}
				name := fmt.Sprint(kind, s, n)
				if other, ok := seen[id]; ok {
					t.Fatalf("%s and %s have the id %s", name, other, id)
				}
				seen[id] = name
			}
		}
	}
}
