//go:build linux

package workspace

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/cairn-run/cairn"
)

// bigTar is a workspace of n files in directories of 50, of 4 to 50 KB when content is
// set, else small.
func bigTar(tb testing.TB, n int, size func(i int) int) []byte {
	tb.Helper()
	random := rand.NewChaCha8([32]byte{1})
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for i := range n {
		body := make([]byte, size(i))
		_, _ = random.Read(body)
		if err := w.WriteHeader(&tar.Header{Name: fmt.Sprintf("d%d/s%d/f%d", i/500, i/50%10, i), Mode: 0o644, Size: int64(len(body)), Typeflag: tar.TypeReg}); err != nil {
			tb.Fatal(err)
		}
		if _, err := w.Write(body); err != nil {
			tb.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		tb.Fatal(err)
	}
	return b.Bytes()
}

// steps measures the time between the steps of a store.
type steps struct {
	last  time.Time
	at    string
	total map[string]time.Duration
}

func (s *steps) hook(point string) {
	now := time.Now()
	if s.total == nil {
		s.total = map[string]time.Duration{}
	}
	if s.at != "" {
		s.total[s.at] += now.Sub(s.last)
	}
	s.last, s.at = now, point
}

func (s *steps) end() { s.hook(""); s.at = "" }

func (s *steps) report(b *testing.B, names map[string]string) {
	b.Helper()
	for point, unit := range names {
		b.ReportMetric(float64(s.total[point].Microseconds())/1000/float64(b.N), unit)
	}
}

// BenchmarkSnapshot records a workspace of 20,000 files (4 KB each) after n of them were
// replaced by 4 to 50 KB, as they lie in the upper directory after a command. Besides
// the mean of all it shows the parts: scan with hashing, manifest, rename, sync.
func BenchmarkSnapshot(b *testing.B) {
	archive := bigTar(b, 20_000, func(int) int { return 4096 })
	for _, n := range []int{0, 1, 200, 5000} {
		b.Run(fmt.Sprintf("changed=%d", n), func(b *testing.B) {
			st := &steps{}
			on := false
			s := open(b, b.TempDir(), Options{Hook: func(p string) {
				if on {
					st.hook(p)
				}
			}})
			i, err := s.Import(b.Context(), "default", bytes.NewReader(archive))
			if err != nil {
				b.Fatal(err)
			}
			k := cairn.SessionKey{Tenant: "default", ID: "ses_bench"}
			tr, err := s.Tree(k, i.Tree)
			if err != nil {
				b.Fatal(err)
			}
			random := rand.NewChaCha8([32]byte{2})
			body := make([]byte, 50<<10)
			at := cairn.Snapshot{}
			var all []time.Duration
			for b.Loop() {
				b.StopTimer()
				if at.Layer == squashAbove {
					at = cairn.Snapshot{}
				}
				m, err := tr.Checkout(b.Context(), at)
				if err != nil {
					b.Fatal(err)
				}
				for j := range n {
					f := j * (20_000 / n)
					p := filepath.Join(m.Upper, Prefix, fmt.Sprintf("d%d/s%d/f%d", f/500, f/50%10, f))
					if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
						b.Fatal(err)
					}
					_, _ = random.Read(body)
					if err := os.WriteFile(p, body[:4096+f*7919%(46<<10)], 0o644); err != nil {
						b.Fatal(err)
					}
				}
				on = true
				b.StartTimer()
				began := time.Now()
				got, err := tr.Snapshot(b.Context(), at)
				all = append(all, time.Since(began))
				b.StopTimer()
				st.end()
				on = false
				if err != nil || got.Changes.Modified != n {
					b.Fatal(got, err)
				}
				at = got.Snapshot
				b.StartTimer()
			}
			b.StopTimer()
			st.report(b, map[string]string{
				"workspace.snapshot.scan": "scan-ms", "workspace.snapshot.manifest": "manifest-ms",
				"workspace.snapshot.rename": "rename-ms", "workspace.snapshot.sync": "sync-ms",
			})
			quantiles(b, all)
		})
	}
}

func quantiles(b *testing.B, all []time.Duration) {
	b.Helper()
	slices.Sort(all)
	ms := func(q float64) float64 {
		return float64(all[int(q*float64(len(all)-1))].Microseconds()) / 1000
	}
	b.ReportMetric(ms(0), "min-ms")
	b.ReportMetric(ms(0.5), "p50-ms")
	b.ReportMetric(ms(0.95), "p95-ms")
}

func BenchmarkImport(b *testing.B) {
	archive := bigTar(b, 20_000, func(i int) int { return 1000 + i*7919%8000 })
	s := open(b, b.TempDir(), Options{})
	n := 0
	for b.Loop() {
		n++
		if _, err := s.Import(b.Context(), cairn.TenantID(fmt.Sprintf("t%d", n)), bytes.NewReader(archive)); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkTree measures what is done with a tree of 20,000 files after 20 snapshots of
// 200 changes.
func BenchmarkTree(b *testing.B) {
	s := open(b, b.TempDir(), Options{})
	i, err := s.Import(b.Context(), "default", bytes.NewReader(bigTar(b, 20_000, func(int) int { return 4096 })))
	if err != nil {
		b.Fatal(err)
	}
	tr, err := s.Tree(cairn.SessionKey{Tenant: "default", ID: "ses_bench"}, i.Tree)
	if err != nil {
		b.Fatal(err)
	}
	at := cairn.Snapshot{}
	for n := range 20 {
		m, err := tr.Checkout(b.Context(), at)
		if err != nil {
			b.Fatal(err)
		}
		for j := range 200 {
			f := j*100 + n
			p := filepath.Join(m.Upper, Prefix, fmt.Sprintf("d%d/s%d/f%d", f/500, f/50%10, f))
			if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
				b.Fatal(err)
			}
			if err := os.WriteFile(p, bytes.Repeat([]byte{byte(n)}, 5000), 0o644); err != nil {
				b.Fatal(err)
			}
		}
		got, err := tr.Snapshot(b.Context(), at)
		if err != nil {
			b.Fatal(err)
		}
		at = got.Snapshot
	}
	run := func(name string, fn func() error) {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if err := fn(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	run("checkout", func() error { _, err := tr.Checkout(b.Context(), at); return err })
	run("checkout/cold", func() error {
		s.cache.forgetBase("default", i.Tree)
		_, err := tr.Checkout(b.Context(), at)
		return err
	})
	run("view", func() error { _, err := tr.View(b.Context(), at); return err })
	run("diff/all", func() error { _, err := tr.Diff(b.Context(), cairn.Snapshot{}, at, ""); return err })
	run("diff/step", func() error {
		_, err := tr.Diff(b.Context(), cairn.Snapshot{Layer: at.Layer - 1}, at, "")
		return err
	})
	run("patch/step", func() error {
		return tr.Patch(b.Context(), cairn.Snapshot{Layer: at.Layer - 1}, at, "", io.Discard)
	})
	run("verify", func() error { return tr.Verify(b.Context(), at) })
}
