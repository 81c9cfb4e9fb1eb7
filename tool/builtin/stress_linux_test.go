package builtin_test

import (
	"context"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/tool/builtin"
)

// TestManySessions makes calls of many sessions in few places, and stops some of them at
// any moment: what was stopped changed nothing, the others did, and nothing is left.
func TestManySessions(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{builtin: builtin.Options{Instances: 3, Creations: 2}})
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	var wait sync.WaitGroup
	for n := range 8 {
		s := w.talk(t, agent())
		random := rand.New(rand.NewPCG(seed, uint64(n)))
		wait.Go(func() {
			want := 0
			for range 8 {
				ctx, cancel := context.WithCancel(t.Context())
				if random.IntN(3) == 0 { // at some moment; which one does not matter
					time.AfterFunc(time.Duration(random.IntN(60))*time.Millisecond, cancel)
				}
				args := object{"command": "echo x >> f; sleep 0.01 & sleep 0.01"}
				if random.IntN(4) == 0 {
					args = object{"command": "echo x >> f; sleep 96", "background": true}
				}
				_, err := s.attempt(ctx, s.effect("bash", args))
				cancel()
				switch {
				case err == nil:
					if s.left.Files != nil {
						s.at = s.left.Files.Snapshot
					}
					want++
				case cairn.CodeOf(err) == cairn.CodeCancelled && s.left.Files == nil:
				default:
					t.Errorf("%v, %+v", err, s.left.Files)
				}
			}
			if err := w.verify(s); err != nil {
				t.Error(err)
			}
			// A background command writes after its call was recorded, if at all.
			if got := strings.Count(s.text("bash", object{"command": "cat f 2>/dev/null; true"}), "x\n"); got > want {
				t.Errorf("%d lines of %d calls", got, want)
			}
			if _, err := w.driver.Release(t.Context(), s.key); err != nil {
				t.Error(err)
			}
		})
	}
	wait.Wait()
	if n := w.driver.Live(); n != 0 {
		t.Errorf("%d instances are alive", n)
	}
	waitFor(t, func() bool { return !alive("sleep\x0096\x00") })
}
