package price_test

import (
	"context"
	"errors"
	"iter"
	"testing"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/model"
	"github.com/cairn-run/cairn/model/price"
)

// known is a driver that knows something of its models itself.
type known struct{ info cairn.ModelInfo }

func (k known) Info(_ context.Context, name string) (cairn.ModelInfo, error) {
	if name == "" {
		return cairn.ModelInfo{}, errors.New("no name")
	}
	info := k.info
	info.Name = name
	return info, nil
}

func (k known) Call(context.Context, model.Call) iter.Seq2[model.Chunk, error] {
	return func(func(model.Chunk, error) bool) {}
}

type knownLister struct{ known }

func (k knownLister) List(context.Context) ([]cairn.ModelInfo, error) {
	return []cairn.ModelInfo{{Name: "claude-sonnet-4-5", Provider: "mine", MaxOutput: 7}, {Name: "new", Provider: "mine"}}, nil
}

func TestWrap(t *testing.T) {
	t.Parallel()
	table := price.Embedded()
	ctx := t.Context()
	d := price.Wrap("anthropic", known{cairn.ModelInfo{Provider: "mine", Window: 9}}, table)
	info, err := d.Info(ctx, "claude-sonnet-4-5")
	if err != nil || !info.Priced || info.Provider != "mine" || info.Name != "claude-sonnet-4-5" || info.Window != 9 || info.Table != table.Name() {
		t.Errorf("%+v, %v", info, err)
	}
	if _, err := d.Info(ctx, ""); err == nil {
		t.Error("the driver's error is lost")
	}
	if _, ok := d.(model.Lister); ok {
		t.Error("a driver that cannot list became one that can")
	}
	own := cairn.ModelInfo{Prices: cairn.Flat(cairn.Rates{Input: 1}), Priced: true, Table: "own"}
	info, err = price.Wrap("anthropic", known{own}, table).Info(ctx, "claude-sonnet-4-5")
	if err != nil || info.Table != "own" || info.Prices[0].Rates.Input != 1 || info.Window != 200_000 {
		t.Errorf("%+v, %v", info, err)
	}
	l, ok := price.Wrap("anthropic", knownLister{}, table).(model.Lister)
	if !ok {
		t.Fatal("a driver that can list cannot any more")
	}
	list, err := l.List(ctx)
	if err != nil || len(list) != 2 || !list[0].Priced || list[0].Window != 200_000 || list[0].MaxOutput != 7 || list[1].Priced || len(list[1].Prices) == 0 {
		t.Errorf("%+v, %v", list, err)
	}
}
