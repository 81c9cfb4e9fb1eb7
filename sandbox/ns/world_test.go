//go:build linux && (amd64 || arm64)

package ns

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/cairn-run/cairn/sandbox"
)

// layers makes an upper and a work directory as the workspace store does.
func layers(t testing.TB) sandbox.Root {
	t.Helper()
	base := t.TempDir()
	uid, gid := Owner()
	for _, p := range []string{"", "upper", "work", "upper/workspace", "upper/home", "upper/home/agent", "upper/tmp"} {
		p = filepath.Join(base, p)
		if err := os.MkdirAll(p, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(p, uid, gid); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(filepath.Join(base, "upper/tmp"), 0o777|os.ModeSticky); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { // overlayfs leaves directories that not even their owner may enter
		own := filepath.Join(base, "work", "work")
		for _, p := range []string{own, filepath.Join(own, "incompat"), filepath.Join(own, "incompat", "volatile")} {
			_ = os.Chmod(p, 0o755)
		}
	})
	return sandbox.Root{Upper: filepath.Join(base, "upper"), Work: filepath.Join(base, "work")}
}

// newDriver opens a driver that is closed with the test.
func newDriver(t testing.TB) *driver {
	t.Helper()
	d, err := open(Options{Dir: t.TempDir()})
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

// create makes an instance that is destroyed with the test.
func create(t testing.TB, d *driver, s sandbox.Spec) sandbox.Instance {
	t.Helper()
	if s.ID == "" {
		s.ID = "test"
	}
	i, err := d.Create(context.WithoutCancel(t.Context()), s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = i.Destroy(context.Background()) })
	return i
}

// run runs a shell script and returns what it said.
func run(t testing.TB, i sandbox.Instance, script string) (sandbox.Exit, string) {
	t.Helper()
	var out bytes.Buffer
	p, err := i.Start(t.Context(), sandbox.Cmd{Args: []string{"bash", "-c", script}, Stdout: &out, Stderr: &out})
	if err != nil {
		t.Fatal(err)
	}
	e, err := p.Wait(t.Context())
	if err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	return e, out.String()
}
