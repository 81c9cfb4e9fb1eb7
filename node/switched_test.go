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

// leaving answers so often, and is gone then.
type leaving struct {
	answers int
	cached  int64 // of the 1000 tokens of each prompt
}

func (*leaving) Info(_ context.Context, name string) (cairn.ModelInfo, error) {
	return cairn.ModelInfo{Name: name, Priced: true, Table: "t", Prices: cairn.Flat(cairn.Rates{Input: cairn.Dollar, CacheRead: cairn.Dollar / 10, Output: cairn.Dollar})}, nil
}

func (l *leaving) Call(_ context.Context, c model.Call) iter.Seq2[model.Chunk, error] {
	return func(yield func(model.Chunk, error) bool) {
		if l.answers--; l.answers < 0 {
			yield(model.Chunk{}, &cairn.Error{Code: cairn.CodeUnavailable, NotDone: true, Message: "gone"})
			return
		}
		yield(model.Chunk{Answer: &cairn.ModelAnswer{
			Model: "m", Stop: cairn.StopEnd, Content: []cairn.Part{cairn.Text("Hi.")}, Usage: cairn.Usage{Input: 1000 - l.cached, CacheRead: l.cached, Output: 10},
		}}, nil)
	}
}

// TestSwitched: a model that takes over reads the whole conversation anew, even if
// it is sent the same bytes, and what that cost is told once.
func TestSwitched(t *testing.T) {
	t.Parallel()
	n, _ := start(t, t.TempDir(), node.Options{Models: map[string]model.Driver{"p": &leaving{1, 500}, "q": &leaving{2, 0}}})
	if _, _, err := n.Apply(t.Context(), cairn.DefaultTenant, &cairn.Agent{Name: "a", Model: "p/m", Fallback: []string{"q/m"}}); err != nil {
		t.Fatal(err)
	}
	s, err := n.Client().CreateSession(t.Context(), v1.CreateSession{Agent: "a", Input: v1.Text("One.")})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var broken []cairn.CacheBroken
	runs := 0
	for item, err := range n.Client().Stream(ctx, s.ID, 0) {
		if err != nil {
			t.Fatal(err)
		}
		if item.Event == nil {
			continue
		}
		e, err := item.Event.Cairn()
		if err != nil {
			t.Fatal(err)
		}
		switch d := e.Data.(type) {
		case cairn.CacheBroken:
			broken = append(broken, d)
		case cairn.RunCompleted:
			runs++
			if runs == 3 {
				break
			}
			if _, err := n.Client().Send(ctx, s.ID, v1.PostMessage{Content: v1.Text("And?")}); err != nil {
				t.Fatal(err)
			}
		}
		if runs == 3 {
			break
		}
	}
	if len(broken) != 1 || broken[0].Reason != "model_switched" || broken[0].Byte != 0 || broken[0].Tokens != 500 || broken[0].Cost != 450_000 {
		t.Errorf("%+v", broken)
	}
}
