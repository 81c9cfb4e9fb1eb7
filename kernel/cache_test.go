package kernel

import (
	"fmt"
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
