//go:build linux && (amd64 || arm64)

package ns

import (
	"fmt"
	"os/exec"
	"slices"
	"testing"
	"time"

	"github.com/cairn-run/cairn/sandbox"
)

// BenchmarkColdStart runs `true` in three ways in turn, so that noise hits all
// alike: plain, in bubblewrap if it is installed, and here with everything from
// Create to Destroy.
func BenchmarkColdStart(b *testing.B) {
	cold := newDriver(b)
	ready := newDriver(b)
	ready.spare = 1
	root := layers(b)
	times := map[string][]time.Duration{}
	measure := func(name string, f func() error) {
		begin := time.Now()
		if err := f(); err != nil {
			b.Fatalf("%s: %v", name, err)
		}
		times[name] = append(times[name], time.Since(begin))
	}
	bwrap, missing := exec.LookPath("bwrap")
	args := []string{
		"--unshare-all", "--die-with-parent", "--new-session", "--cap-drop", "ALL", "--ro-bind", "/usr", "/usr",
		"--symlink", "usr/bin", "/bin", "--symlink", "usr/lib", "/lib", "--symlink", "usr/lib64", "/lib64",
		"--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp", "true",
	}
	n := 0
	part := func(name string, begin time.Time) { times[name] = append(times[name], time.Since(begin)) }
	for b.Loop() {
		n++
		measure("plain", func() error { return exec.CommandContext(b.Context(), "true").Run() })
		if missing == nil {
			measure("bwrap", func() error { return exec.CommandContext(b.Context(), bwrap, args...).Run() })
		}
		measure("ns", func() error { return once(b, cold, fmt.Sprint("c", n), root, part) })
		measure("ns-readonly", func() error { // as bubblewrap here: nothing but tmpfs can be written
			return once(b, cold, fmt.Sprint("o", n), sandbox.Root{}, func(string, time.Time) {})
		})
		measure("ns-spare", func() error { return once(b, ready, fmt.Sprint("r", n), root, func(string, time.Time) {}) })
	}
	for name, all := range times {
		slices.Sort(all)
		b.ReportMetric(float64(all[len(all)/2].Microseconds())/1000, name+"-p50-ms")
		b.ReportMetric(float64(all[len(all)/10].Microseconds())/1000, name+"-p10-ms")
		b.ReportMetric(float64(all[len(all)*95/100].Microseconds())/1000, name+"-p95-ms")
	}
}

// once makes an instance, runs `true` and destroys it.
func once(b testing.TB, d *driver, id string, root sandbox.Root, part func(string, time.Time)) error {
	t := time.Now()
	i, err := d.Create(b.Context(), sandbox.Spec{ID: id, Root: root})
	if err != nil {
		return err
	}
	part("create", t)
	t = time.Now()
	p, err := i.Start(b.Context(), sandbox.Cmd{Args: []string{"true"}})
	if err != nil {
		return err
	}
	part("start", t)
	t = time.Now()
	if _, err := p.Wait(b.Context()); err != nil {
		return err
	}
	part("wait", t)
	t = time.Now()
	_, err = i.Destroy(b.Context())
	part("destroy", t)
	return err
}
