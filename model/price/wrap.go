package price

import (
	"context"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/model"
)

// Wrap adds what the table knows of a provider's models to what the driver says
// of them. The provider is the one whose prices hold, by its name in the table or in
// model names. A price that the driver knows itself stands. The result is a
// [model.Lister] if d is one.
func Wrap(provider string, d model.Driver, t *Table) model.Driver {
	w := &priced{Driver: d, provider: provider, table: t}
	if l, ok := d.(model.Lister); ok {
		return &pricedLister{w, l}
	}
	return w
}

type priced struct {
	model.Driver
	provider string
	table    *Table
}

// Info asks the driver and then the table.
func (p *priced) Info(ctx context.Context, name string) (cairn.ModelInfo, error) {
	info, err := p.Driver.Info(ctx, name)
	if err == nil {
		p.fill(&info, name)
	}
	return info, err
}

func (p *priced) fill(info *cairn.ModelInfo, name string) {
	known := p.table.Lookup(p.provider, name)
	if len(info.Prices) == 0 {
		info.Prices, info.Priced, info.Table = known.Prices, known.Priced, known.Table
	}
	info.Window = firstOf(info.Window, known.Window)
	info.MaxOutput = firstOf(info.MaxOutput, known.MaxOutput)
}

type pricedLister struct {
	*priced
	lister model.Lister
}

// List asks the provider for its models and the table for each.
func (p *pricedLister) List(ctx context.Context) ([]cairn.ModelInfo, error) {
	list, err := p.lister.List(ctx)
	for i := range list {
		p.fill(&list[i], list[i].Name)
	}
	return list, err
}
