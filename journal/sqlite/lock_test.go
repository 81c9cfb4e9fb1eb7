package sqlite

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func FuzzHolder(f *testing.F) {
	f.Add([]byte(`{"pid":12,"host":"ada","started":"2026-01-01T00:00:00Z"}`))
	f.Add([]byte(`{"pid":-1}`))
	f.Add([]byte(`{`))
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := parseHolder(b)
		if err != nil {
			return
		}
		again, err := json.Marshal(h)
		if err != nil {
			t.Fatal(err)
		}
		got, err := parseHolder(again)
		if err != nil {
			t.Fatalf("%s: %v", again, err)
		}
		if d := cmp.Diff(h, got); d != "" {
			t.Errorf("differs (-want +got):\n%s", d)
		}
	})
}
