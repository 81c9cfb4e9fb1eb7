package builtin_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/sandbox"
)

// quantiles reports what a series took.
func quantiles(b *testing.B, name string, all []time.Duration) {
	b.Helper()
	slices.Sort(all)
	b.ReportMetric(float64(all[len(all)/2].Microseconds())/1e3, name+"-p50-ms")
	b.ReportMetric(float64(all[0].Microseconds())/1e3, name+"-min-ms")
}

// BenchmarkCalls are calls of each kind from end to end: through the catalogue, with
// the real sandbox and the real store.
func BenchmarkCalls(b *testing.B) {
	for name, call := range map[string]func(s *talk, n int){
		"bash that changes nothing": func(s *talk, _ int) { s.call("bash", object{"command": "true"}) },
		"bash that writes a file":   func(s *talk, n int) { s.call("bash", object{"command": fmt.Sprintf("echo %d > f", n)}) },
		"python":                    func(s *talk, n int) { s.call("python", object{"code": "print(1)"}) },
		"read":                      func(s *talk, _ int) { s.call("read", object{"path": "f"}) },
		"write":                     func(s *talk, n int) { s.call("write", object{"path": "f", "content": fmt.Sprint(n)}) },
		"bash in a live instance": func(s *talk, n int) {
			if n == 0 {
				s.start("sleep 1000")
			}
			s.call("bash", object{"command": "true"})
		},
	} {
		b.Run(name, func(b *testing.B) {
			s := newWorld(b, worldOptions{}).talk(b, agent())
			s.bash("echo > f")
			var took []time.Duration
			n := 0
			for b.Loop() {
				began := time.Now()
				call(s, n)
				took = append(took, time.Since(began))
				n++
			}
			quantiles(b, "call", took)
		})
	}
}

// BenchmarkParts takes a bash call that writes one file apart.
func BenchmarkParts(b *testing.B) {
	w := newWorld(b, worldOptions{})
	s := w.talk(b, agent())
	s.bash("echo > f")
	tree, err := w.store.Tree(s.key, "")
	if err != nil {
		b.Fatal(err)
	}
	names := []string{"checkout", "create", "start", "wait", "destroy", "snapshot"}
	took := map[string][]time.Duration{}
	n := 0
	for b.Loop() {
		n++
		at := time.Now()
		part := func(name string, err error) {
			if err != nil {
				b.Fatal(name, err)
			}
			took[name] = append(took[name], time.Since(at))
			at = time.Now()
		}
		m, err := tree.Checkout(b.Context(), s.at)
		part("checkout", err)
		i, err := w.sandbox.Create(b.Context(), sandbox.Spec{ID: fmt.Sprint("bench-", n), Root: sandbox.Root{Lower: m.Lower, Upper: m.Upper, Work: m.Work}})
		part("create", err)
		p, err := i.Start(b.Context(), sandbox.Cmd{Args: []string{"bash", "-c", fmt.Sprintf("echo %d > f", n)}})
		part("start", err)
		_, err = p.Wait(b.Context())
		part("wait", err)
		_, err = i.Destroy(b.Context())
		part("destroy", err)
		var shot cairn.Snapshotted
		shot, err = tree.Snapshot(b.Context(), s.at)
		part("snapshot", err)
		s.at = shot.Snapshot
	}
	for _, name := range names {
		quantiles(b, name, took[name])
	}
}
