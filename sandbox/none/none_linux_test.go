package none_test

import (
	"os"
	"testing"

	"github.com/cairn-run/cairn/sandbox"
	"github.com/cairn-run/cairn/sandbox/none"
	"github.com/cairn-run/cairn/sandbox/sandboxtest"
)

func TestMain(m *testing.M) {
	code := m.Run()
	sandboxtest.Cleanup()
	os.Exit(code)
}

func open(t *testing.T) sandbox.Driver {
	d := none.Open()
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	return d
}

func TestConformance(t *testing.T) { sandboxtest.Run(t, open, sandboxtest.Options{}) }

func TestExhaust(t *testing.T) { sandboxtest.Exhaust(t, open, sandboxtest.Options{}) }

// TestAttack shows that the probes of the attack suite hit where nothing stops
// them.
func TestAttack(t *testing.T) { sandboxtest.Attack(t, open, sandboxtest.Options{}) }

func TestAsUser(t *testing.T) { sandboxtest.AsUser(t, "^Test(Conformance|Exhaust|Attack)$") }
