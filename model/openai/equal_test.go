package openai_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func equal(t testing.TB, want, got any) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got) %s", diff)
	}
}
