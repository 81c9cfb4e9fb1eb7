package sandboxtest_test

import (
	"os"
	"testing"

	"github.com/cairn-run/cairn/sandbox"
	"github.com/cairn-run/cairn/sandbox/ns"
	"github.com/cairn-run/cairn/sandbox/sandboxtest"
)

func TestMain(m *testing.M) {
	code := m.Run()
	sandboxtest.Cleanup()
	os.Exit(code)
}

var options = sandboxtest.Options{Isolated: true, Limited: true, Overlay: true, Owner: ns.Owner}

func openAt(dir string) (sandbox.Driver, error) { return ns.Open(ns.Options{Dir: dir}) }

func open(t *testing.T) sandbox.Driver {
	d, err := openAt(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	return d
}

func TestNamespaces(t *testing.T)          { sandboxtest.Run(t, open, options) }
func TestNamespacesAttack(t *testing.T)    { sandboxtest.Attack(t, open, options) }
func TestNamespacesExhaust(t *testing.T)   { sandboxtest.Exhaust(t, open, options) }
func TestNamespacesLifecycle(t *testing.T) { sandboxtest.Lifecycle(t, openAt, options) }

// TestNamespacesAsUser runs the same without root.
func TestNamespacesAsUser(t *testing.T) {
	for _, run := range []string{"^TestNamespaces$", "^TestNamespacesAttack$", "^TestNamespacesExhaust$", "^TestNamespacesLifecycle$"} {
		t.Run(run, func(t *testing.T) { sandboxtest.AsUser(t, run) })
	}
}
