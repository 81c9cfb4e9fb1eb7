package api

import (
	"cmp"
	"context"
	"slices"

	"github.com/cairn-run/cairn"
	v1 "github.com/cairn-run/cairn/api/v1"
)

// modelUsage adds up the settled attempts of a session by model, up to an event.
func (a *API) modelUsage(ctx context.Context, s cairn.SessionKey, last cairn.Seq) ([]v1.ModelUsage, error) {
	byModel := map[string]*v1.ModelUsage{}
	calling := map[cairn.EffectID]string{} // the model of the attempt in flight
	settle := func(step cairn.EffectID, u cairn.Usage, cost cairn.Money, status cairn.CostStatus, failed bool) {
		name := calling[step]
		m := byModel[name]
		if m == nil {
			m = &v1.ModelUsage{Model: name}
			byModel[name] = m
		}
		m.Attempts++
		m.Usage = m.Usage.Add(u)
		m.Cost += cost
		if status == cairn.CostEstimated || status == cairn.CostUnpriced {
			m.Estimated += cost
		}
		if failed {
			m.Failed++
		}
	}
	for e, err := range a.Journal.Events(ctx, s, 0) {
		if err != nil {
			return nil, err
		}
		if e.Seq > last {
			break
		}
		switch d := e.Data.(type) {
		case cairn.ModelRequested:
			calling[e.Step] = d.Model
		case cairn.ModelRetried:
			settle(e.Step, d.Usage, d.Cost, d.Status, true)
			calling[e.Step] = d.Model
		case cairn.ModelCompleted:
			settle(e.Step, d.Answer.Usage, d.Cost, d.Status, false)
			delete(calling, e.Step)
		case cairn.ModelFailed:
			settle(e.Step, d.Usage, d.Cost, d.Status, true)
			delete(calling, e.Step)
		}
	}
	models := make([]v1.ModelUsage, 0, len(byModel))
	for _, m := range byModel {
		models = append(models, *m)
	}
	slices.SortFunc(models, func(x, y v1.ModelUsage) int { return cmp.Compare(x.Model, y.Model) })
	return models, nil
}
