package kernel

import (
	"fmt"
	"strings"
	"testing"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/engine"
)

// The bound of the cache holds for states that are large because of their calls.
func TestCacheSize(t *testing.T) {
	t.Parallel()
	const args = 64 << 10
	c := stateCache{max: 1 << 20}
	for i := range 100 {
		k := cairn.SessionKey{Tenant: "t", ID: cairn.SessionID(fmt.Sprint(i))}
		c.put(engine.State{Key: k, Calls: []engine.Call{{Args: make([]byte, args)}}}, history{})
	}
	if n := c.list.Len(); n == 0 || n*args > c.max {
		t.Errorf("%d states of %d bytes are held in %d", n, args, c.max)
	}
	for c.list.Len() > 0 {
		c.take(c.list.Back().Value.(*cached).key)
	}
	if c.size != 0 {
		t.Errorf("an empty cache counts %d bytes", c.size)
	}
}

// Whatever holds a result counts with it, so that no session holds more than its
// bound: also calls that failed at length.
func TestEventSize(t *testing.T) {
	t.Parallel()
	const long = 64 << 10
	text := strings.Repeat("x", long)
	r := cairn.ToolResult{Content: []cairn.Part{cairn.Text(text)}}
	for _, d := range []cairn.EventData{
		cairn.ToolCallCompleted{Result: r},
		cairn.ToolCallFailed{Result: &r},
		cairn.ToolCallFailed{Error: cairn.Error{Message: text}},
		cairn.EffectReconciled{Result: &r},
		cairn.ToolCallDenied{Reason: text},
		cairn.PlanUpdated{Plan: []byte(text)},
		cairn.ContextCompacted{Note: text},
		cairn.MessageCreated{Content: r.Content},
		cairn.ModelCompleted{Answer: cairn.ModelAnswer{Content: []cairn.Part{{Kind: cairn.PartToolResult, Parts: r.Content}}}},
	} {
		if n := eventSize(cairn.Event{Data: d}); n < long {
			t.Errorf("%s with %d bytes counts %d", d.EventType(), long, n)
		}
	}
}
