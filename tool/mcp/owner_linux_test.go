package mcp_test

import (
	"os"
	"os/exec"
	"testing"

	"github.com/cairn-run/cairn/tool/tooltest"
)

// TestServerDiesWithItsOwner: a server whose runtime was killed must not go on
// acting.
func TestServerDiesWithItsOwner(t *testing.T) {
	t.Parallel()
	ledger := tooltest.NewLedger(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	owner := exec.CommandContext(t.Context(), self)
	owner.Env = append(os.Environ(), modeEnv+"=owner", ledgerEnv+"="+ledger.URL)
	if err := owner.Start(); err != nil {
		t.Fatal(err)
	}
	<-ledger.Acted("ready")
	if err := owner.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = owner.Wait() // killed
	server := pidIn(t, ledger)
	waitUntil(t, func() bool { return ended(server) })
}
