package record_test

import (
	"context"
	"iter"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/model"
	"github.com/cairn-run/cairn/node"
)

// gateway answers with another model than was asked, at five times the price, and
// says of some answers what it charged.
type gateway struct{}

func (gateway) Info(_ context.Context, name string) (cairn.ModelInfo, error) {
	in := cairn.Dollar
	if name != "auto" {
		in = 5 * cairn.Dollar
	}
	return cairn.ModelInfo{Name: name, Window: 10000, MaxOutput: 1000, Priced: true, Table: "t", Prices: cairn.Flat(cairn.Rates{Input: in, Output: in})}, nil
}

func (gateway) Call(_ context.Context, c model.Call) iter.Seq2[model.Chunk, error] {
	return func(yield func(model.Chunk, error) bool) {
		a := &cairn.ModelAnswer{
			Model: "large-2026-11-01", Stop: cairn.StopEnd, Content: []cairn.Part{cairn.Text("Hi.")}, Usage: cairn.Usage{Input: 1000, Output: 10},
		}
		if strings.Contains(cairn.TextOf(c.Request.Messages[0].Content), "charged") {
			charged := cairn.Money(123_456)
			a.Charged = &charged
		}
		yield(model.Chunk{Answer: a}, nil)
	}
}

// TestPlayCosts: a played answer costs what it cost when it was recorded, where
// the provider said so, and where another model answered than was asked.
func TestPlayCosts(t *testing.T) {
	t.Parallel()
	for name, line := range map[string]string{"charged": "It is charged.", "served": "Hi."} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rec, path := create(t)
			talks := map[string][]string{name: {line}}
			live := all(t, &cairn.Agent{Name: "a", Model: "g/auto"}, talks, node.Options{Models: map[string]model.Driver{"g": gateway{}}, Wrap: rec.Wrap})
			if n, err := rec.Close(); n != 1 || err != nil {
				t.Fatal(n, err)
			}
			for _, as := range []string{"script/rec/g/auto", "script/rec"} {
				played := all(t, &cairn.Agent{Name: "a", Model: as}, talks, node.Options{Scripts: []string{filepath.Dir(path)}})
				if diff := cmp.Diff(live, played); diff != "" {
					t.Errorf("as %s: %s", as, diff)
				}
			}
		})
	}
}
