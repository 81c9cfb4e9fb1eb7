package node_test

import (
	"context"
	"iter"
	"testing"

	"github.com/cairn-run/cairn"
	v1 "github.com/cairn-run/cairn/api/v1"
	"github.com/cairn-run/cairn/model"
	"github.com/cairn-run/cairn/node"
)

// broken is a provider that cannot now, and one that can.
type broken struct{ works bool }

func (broken) Info(_ context.Context, name string) (cairn.ModelInfo, error) {
	return cairn.ModelInfo{Name: name, Priced: true, Prices: cairn.Flat(cairn.Rates{Input: cairn.Dollar, Output: cairn.Dollar})}, nil
}

func (b broken) Call(context.Context, model.Call) iter.Seq2[model.Chunk, error] {
	return func(yield func(model.Chunk, error) bool) {
		if !b.works {
			yield(model.Chunk{}, &model.Failure{Err: &cairn.Error{Code: cairn.CodeOverloaded, Message: "busy", NotDone: true}})
			return
		}
		yield(model.Chunk{Answer: &cairn.ModelAnswer{
			Model: "m", Stop: cairn.StopEnd, Content: []cairn.Part{cairn.Text("Hi.")}, Usage: cairn.Usage{Input: 9, Output: 2},
		}}, nil)
	}
}

// TestCircuits: a model that failed too often is not asked, the run goes to the next
// one, and the node says which model it leaves alone.
func TestCircuits(t *testing.T) {
	t.Parallel()
	n, _ := start(t, t.TempDir(), node.Options{
		Models: map[string]model.Driver{"bad": broken{}, "good": broken{works: true}}, Breaker: model.BreakerOptions{Failures: 2},
	})
	if all := n.Circuits(); len(all) != 0 {
		t.Errorf("before any call: %+v", all)
	}
	if _, _, err := n.Apply(t.Context(), cairn.DefaultTenant, &cairn.Agent{Name: "a", Model: "bad/m", Fallback: []string{"good/m"}}); err != nil {
		t.Fatal(err)
	}
	var failed []cairn.Code
	for range 3 {
		s, err := n.Client().CreateSession(t.Context(), v1.CreateSession{Agent: "a", Input: v1.Text("Hi."), Once: true})
		if err != nil {
			t.Fatal(err)
		}
		completed(t, n.Client(), s.ID, 1)
		for e, err := range n.Journal().Events(t.Context(), cairn.SessionKey{Tenant: cairn.DefaultTenant, ID: s.ID}, 0) {
			if err != nil {
				t.Fatal(err)
			}
			if d, ok := e.Data.(cairn.ModelRetried); ok {
				failed = append(failed, d.Error.Code)
			}
		}
	}
	if len(failed) != 3 || failed[1] != cairn.CodeOverloaded || failed[2] != cairn.CodeCircuitOpen {
		t.Errorf("the failures were %v", failed)
	}
	if all := n.Circuits(); len(all) != 1 || all[0].Model != "bad/m" || all[0].Circuit != model.CircuitOpen || all[0].Failures != 2 {
		t.Errorf("%+v", all)
	}
}
