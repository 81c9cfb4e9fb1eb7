package node_test

import (
	"context"
	"iter"
	"sync/atomic"
	"testing"

	"github.com/cairn-run/cairn"
	v1 "github.com/cairn-run/cairn/api/v1"
	"github.com/cairn-run/cairn/model"
	"github.com/cairn-run/cairn/node"
)

// moody is a dear model of which nothing can be learnt for a while.
type moody struct {
	infos, calls atomic.Int64
}

func (m *moody) Info(_ context.Context, name string) (cairn.ModelInfo, error) {
	if n := m.infos.Add(1); n == 2 || n == 3 { // the first one is that of Apply
		return cairn.ModelInfo{}, &cairn.Error{Code: cairn.CodeUnavailable, Message: "try later", Retryable: true}
	}
	return cairn.ModelInfo{Name: name, Priced: true, Prices: cairn.Flat(cairn.Rates{Input: 10 * cairn.Dollar, Output: 50 * cairn.Dollar})}, nil
}

func (m *moody) Call(context.Context, model.Call) iter.Seq2[model.Chunk, error] {
	return func(yield func(model.Chunk, error) bool) {
		m.calls.Add(1)
		yield(model.Chunk{Answer: &cairn.ModelAnswer{
			Model: "m", Stop: cairn.StopEnd, Content: []cairn.Part{cairn.Text("Hi.")},
			Usage: cairn.Usage{Input: 1_000_000, Output: 100_000},
		}}, nil)
	}
}

// TestInfoFails: while the prices of a model cannot be had, its calls are not
// free. They wait, and the budget that could not pay for one stops it.
func TestInfoFails(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		budget cairn.Money
		want   cairn.Status
		calls  int64
	}{
		"too dear": {cairn.Dollar / 1000, cairn.StatusFailed, 0},
		"paid":     {0, cairn.StatusCompleted, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := &moody{}
			n, _ := start(t, t.TempDir(), node.Options{Models: map[string]model.Driver{"p": m}})
			a := &cairn.Agent{Name: "a", Model: "p/m"}
			if c.budget > 0 {
				a.Budget = cairn.Budget{Run: c.budget, OnBreach: cairn.BreachStop}
			}
			if _, _, err := n.Apply(t.Context(), cairn.DefaultTenant, a); err != nil {
				t.Fatal(err)
			}
			s, err := n.Client().CreateSession(t.Context(), v1.CreateSession{Agent: "a", Input: v1.Text("Hi."), Once: true})
			if err != nil {
				t.Fatal(err)
			}
			settled(t, n.Client(), s.ID)
			sum, err := n.Journal().Summary(t.Context(), cairn.SessionKey{Tenant: cairn.DefaultTenant, ID: s.ID})
			if err != nil {
				t.Fatal(err)
			}
			if sum.Status != c.want || m.calls.Load() != c.calls {
				t.Errorf("%s after %d calls, want %s after %d", sum.Status, m.calls.Load(), c.want, c.calls)
			}
			if sum.Cost > 0 != (c.calls > 0) {
				t.Errorf("%d calls cost %s", m.calls.Load(), sum.Cost)
			}
		})
	}
}
