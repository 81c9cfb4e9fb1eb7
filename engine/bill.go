package engine

import (
	"encoding/json"

	"github.com/cairn-run/cairn"
)

// bill is what an attempt at a model call cost, and how that is known.
type bill struct {
	usage  cairn.Usage
	cost   cairn.Money
	status cairn.CostStatus
	raw    json.RawMessage
	table  string
}

// price prices an answer: by the row that held when the attempt began, for the
// size of this one request.
func (p *planner) price(a *cairn.ModelAnswer, served *cairn.ModelInfo) bill {
	if a.Charged != nil && *a.Charged >= 0 {
		return bill{usage: a.Usage, cost: *a.Charged, status: cairn.CostExact, table: reported}
	}
	info := p.env.model(p.s.Model.Model)
	if served != nil && served.Priced { // an alias, or a router: what answered is what is billed
		info = *served
	}
	b := p.priced(&info, a.Usage, a.Service)
	switch {
	case b.status == cairn.CostUnpriced:
	case a.Usage.Total() == 0: // an answer is never free because nobody counted, or counted nothing
		b.cost, b.status = p.s.Model.Reserved, cairn.CostEstimated
	case len(a.Beside) > 0:
		b.status = cairn.CostEstimated
	}
	return b
}

// reported is in place of a price table: the provider's own account.
const reported = "reported by the provider"

// priced prices a usage of the open model call.
func (p *planner) priced(info *cairn.ModelInfo, u cairn.Usage, service string) bill {
	m := p.s.Model
	b := bill{usage: u, status: cairn.CostExact, table: info.Table}
	row, ok := info.Price(m.At, service)
	if !ok && service != "" { // the tier has no price of its own
		row, ok = info.Price(m.At, "")
		b.status = cairn.CostEstimated
	}
	if !ok {
		b.cost, b.status, b.table = m.Reserved, cairn.CostUnpriced, ""
		return b
	}
	rates := row.RatesFor(u.Prompt())
	b.cost = rates.Cost(u)
	if u.Searches > 0 && rates.Searches == 0 || u.InputAudio > 0 && rates.InputAudio == 0 || u.OutputAudio > 0 && rates.OutputAudio == 0 {
		b.status = cairn.CostEstimated // not free: not in the table
	}
	return b
}

// failedCost prices an attempt that gave no answer.
func (p *planner) failedCost(d cairn.ModelOutcome, err *cairn.Error) bill {
	m := p.s.Model
	if d.Usage == nil {
		if err.NotDone {
			return bill{status: cairn.CostExact}
		}
		switch err.Code { // nobody works on such a request; an overload may come in the middle of an answer
		case cairn.CodeOverflow, cairn.CodeAuth, cairn.CodeInvalid, cairn.CodeNotFound, cairn.CodeCircuitOpen:
			return bill{status: cairn.CostExact}
		}
		return p.unknownBill(d.RawUsage)
	}
	info := p.env.model(m.Model)
	b := p.priced(&info, *d.Usage, "")
	b.raw = d.RawUsage
	if err.Code != cairn.CodeRefused && !err.NotDone && b.status != cairn.CostUnpriced {
		// It broke off. What it went on to say after its last account is billed too: up to the cap.
		most := *d.Usage
		most.Output = max(most.Output, m.Out)
		b.cost, b.status = max(b.cost, min(m.Reserved, p.priced(&info, most, "").cost)), cairn.CostEstimated
	}
	return b
}

// unknownBill is that of an attempt of which nobody said what it used: its reservation.
func (p *planner) unknownBill(raw json.RawMessage) bill {
	b := bill{cost: p.s.Model.Reserved, status: cairn.CostEstimated, raw: raw}
	if info := p.env.model(p.s.Model.Model); !info.Priced {
		b.status = cairn.CostUnpriced
	}
	return b
}

// cacheBroken says what a request cost that did not continue the one before it.
func cacheBroken(info *cairn.ModelInfo, m *ModelCall, last cairn.Manifest, lastModel string, cached int64, moved bool, d cairn.ModelOutcome) cairn.CacheBroken {
	b := cairn.CacheBroken{Reason: "tools_changed", At: last.From, Byte: d.Broken.Byte}
	switch {
	case moved && lastModel == m.Model:
		b.Reason = "moved"
	case lastModel != m.Model:
		b.Reason, b.Byte = "model_switched", 0
	case last.Note != m.Manifest.Note:
		b.Reason = "compacted"
	}
	u := d.Answer.Usage
	if b.Tokens = max(0, min(cached, u.Prompt())-u.CacheRead); b.Tokens == 0 {
		return b
	}
	if row, ok := info.Price(m.At, d.Answer.Service); ok {
		// The tokens are the first of the request: those written to the cache come before those that were not.
		var paid cairn.Usage
		left := b.Tokens
		for _, bucket := range []struct {
			to   *int64
			have int64
		}{{&paid.CacheWrite1h, u.CacheWrite1h}, {&paid.CacheWrite5m, u.CacheWrite5m}, {&paid.Input, u.Input}} {
			*bucket.to = min(left, bucket.have)
			left -= *bucket.to
		}
		if r := row.RatesFor(u.Prompt()); r.CacheRead > 0 {
			b.Cost = max(0, r.Cost(paid)-r.Cost(cairn.Usage{CacheRead: b.Tokens - left}))
		}
	}
	return b
}

// Continues says whether a manifest only adds to the one that was answered before
// it, by the same model: then its request begins with that one's.
func (s *State) Continues(m cairn.Manifest, model string) bool {
	l := &s.Context.Last
	return l.To == 0 || l.Note == m.Note && l.Toolset == m.Toolset && s.Context.Asked == model &&
		(s.Context.Under == "" || s.Context.Under == s.Digest)
}
