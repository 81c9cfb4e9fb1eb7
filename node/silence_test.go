package node_test

import (
	"context"
	"iter"
	"testing"
	"time"

	"github.com/cairn-run/cairn"
	v1 "github.com/cairn-run/cairn/api/v1"
	"github.com/cairn-run/cairn/model"
	"github.com/cairn-run/cairn/node"
)

// silent takes calls and says nothing for as long as it is let.
type silent struct{}

func (silent) Info(_ context.Context, name string) (cairn.ModelInfo, error) {
	return cairn.ModelInfo{Name: name, Priced: true, Prices: cairn.Flat(cairn.Rates{})}, nil
}

func (silent) Call(ctx context.Context, _ model.Call) iter.Seq2[model.Chunk, error] {
	return func(yield func(model.Chunk, error) bool) {
		<-ctx.Done()
		yield(model.Chunk{}, ctx.Err())
	}
}

// TestSilence: a model that hangs is given up, and the reason is in the journal.
func TestSilence(t *testing.T) {
	t.Parallel()
	n, _ := start(t, t.TempDir(), node.Options{
		Models: map[string]model.Driver{"p": silent{}}, Guard: model.GuardOptions{First: time.Millisecond},
	})
	none := 0
	if _, _, err := n.Apply(t.Context(), cairn.DefaultTenant, &cairn.Agent{Name: "a", Model: "p/m", Limits: cairn.Limits{Retries: &none}}); err != nil {
		t.Fatal(err)
	}
	s, err := n.Client().CreateSession(t.Context(), v1.CreateSession{Agent: "a", Input: v1.Text("Hi."), Once: true})
	if err != nil {
		t.Fatal(err)
	}
	settled(t, n.Client(), s.ID)
	var failed *cairn.Error
	for e, err := range n.Journal().Events(t.Context(), cairn.SessionKey{Tenant: cairn.DefaultTenant, ID: s.ID}, 0) {
		if err != nil {
			t.Fatal(err)
		}
		if d, ok := e.Data.(cairn.ModelFailed); ok {
			failed = &d.Error
		}
	}
	if failed == nil || failed.Code != cairn.CodeTimeout || failed.NotDone {
		t.Errorf("%+v", failed)
	}
}
