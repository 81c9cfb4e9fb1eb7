package client

import (
	"testing"

	"github.com/cairn-run/cairn"
	v1 "github.com/cairn-run/cairn/api/v1"
)

// TestSettled: whatever ends an answer or a call, what was said of it is forgotten,
// or a stream that is followed for weeks would only grow.
func TestSettled(t *testing.T) {
	t.Parallel()
	for _, ends := range []cairn.EventData{
		cairn.ModelCompleted{},
		cairn.ModelFailed{},
		cairn.ModelRetried{},
		cairn.ToolCallCompleted{},
		cairn.ToolCallFailed{},
		cairn.ToolCallRetried{},
		cairn.ToolCallUnknown{},
		cairn.EffectReconciled{},
	} {
		f := &follower{said: map[said]int{}}
		for _, step := range []cairn.EffectID{"eff_1", "eff_2"} {
			if !f.fresh(&v1.Delta{Effect: step, Attempt: 1, Text: "Hi."}) {
				t.Fatal("what was never said is not fresh")
			}
		}
		f.settle(v1.Event{Type: ends.EventType(), Step: "eff_1"})
		if _, other := f.said[said{effect: "eff_2", attempt: 1}]; len(f.said) != 1 || !other {
			t.Errorf("after %s: %v", ends.EventType(), f.said)
		}
	}
}
