package node_test

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/cairn-run/cairn/node"
)

// TestDrainAfterFailedStart: a node that could not start has nothing to drain,
// and does not wait for it.
func TestDrainAfterFailedStart(t *testing.T) {
	t.Parallel()
	var lc net.ListenConfig
	taken, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	n, err := node.Open(t.Context(), node.Options{Dir: t.TempDir(), Listen: taken.Addr().String()})
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Start(t.Context()); err == nil {
		t.Fatal("two listen on one address")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	ended := make(chan error, 1)
	go func() { ended <- n.Drain(ctx) }()
	select {
	case err := <-ended:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(30 * time.Second): // far more than it takes
		t.Fatal("the drain does not return")
	}
	if err := n.Close(); err != nil {
		t.Error(err)
	}
}
