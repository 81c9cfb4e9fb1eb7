package cairn

import "time"

// Price is what a model costs from a date on.
type Price struct {
	// From is when it begins to hold; zero: it always has.
	From time.Time `json:"from,omitzero"`
	// Service is the provider's service tier it is for ("priority", "flex", …);
	// empty: the standard one.
	Service string `json:"service,omitzero"`
	// Start and End bound the hours of the day it holds, since midnight UTC; both
	// zero: all day. An interval may pass midnight.
	Start Duration `json:"start,omitzero"`
	End   Duration `json:"end,omitzero"`
	Rates Rates    `json:"rates"`
	// Above are the rates of requests with a larger prompt, smallest first.
	Above []Above `json:"above,omitempty"`
}

// Above are the rates that all tokens of a request have whose prompt, cached
// tokens included, is larger than Prompt.
type Above struct {
	Prompt int64 `json:"prompt"` // tokens
	Rates  Rates `json:"rates"`
}

// RatesFor returns the rates of a request with a prompt of so many tokens.
func (p *Price) RatesFor(prompt int64) Rates {
	r := p.Rates
	for _, a := range p.Above {
		if prompt > a.Prompt {
			r = a.Rates
		}
	}
	return r
}

// Cost prices one request. Prices are never applied to sums of requests: the
// tier is the request's.
func (p *Price) Cost(u Usage) Money { return p.RatesFor(u.Prompt()).Cost(u) }

// holds says whether the price holds at this time of the day.
func (p *Price) holds(at time.Time) bool {
	if p.Start == 0 && p.End == 0 {
		return true
	}
	at = at.UTC()
	now := Duration(at.Sub(at.Truncate(24 * time.Hour)))
	if p.End < p.Start {
		return now >= p.Start || now < p.End
	}
	return p.Start <= now && now < p.End
}

// ModelInfo is what the runtime knows of a model when a step is decided.
type ModelInfo struct {
	Name     string `json:"name"`
	Provider string `json:"provider"`
	// Prices, by From, later ones first where two hold. Not Priced: of a model that
	// is not known they are the highest its provider has, good for a reservation
	// and nothing else.
	Prices    []Price `json:"prices,omitempty"`
	Priced    bool    `json:"priced"`
	Table     string  `json:"table,omitzero"` // the price table they are from, with its date
	Window    int64   `json:"window"`         // tokens; 0: unknown
	MaxOutput int64   `json:"max_output"`     // tokens; 0: unknown
}

// Flat is one price that always holds.
func Flat(r Rates) []Price { return []Price{{Rates: r}} }

// Price is the price of a request that starts at this time with this service
// tier. False: there is none, or the model is not priced.
func (m *ModelInfo) Price(at time.Time, service string) (*Price, bool) {
	var best *Price
	for i := range m.Prices {
		p := &m.Prices[i]
		if p.Service != service || p.From.After(at) || !p.holds(at) {
			continue
		}
		// An interval of the day is the exception to the price beside it.
		if best == nil || p.From.After(best.From) || p.From.Equal(best.From) && p.End != p.Start {
			best = p
		}
	}
	return best, best != nil && m.Priced
}

// Bound is the most that a request may cost that starts at this time, with a
// prompt of at most so many tokens and at most so much output, at the standard
// service tier. Every row that holds or has held counts: a clock may be wrong.
func (m *ModelInfo) Bound(at time.Time, prompt, output int64) Money {
	var most Money
	for i := range m.Prices {
		p := &m.Prices[i]
		if p.Service != "" || p.From.After(at) {
			continue
		}
		most = max(most, bound(p.Rates, prompt, output))
		for _, a := range p.Above {
			if prompt > a.Prompt {
				most = max(most, bound(a.Rates, prompt, output))
			}
		}
	}
	return most
}

func bound(r Rates, prompt, output int64) Money {
	return Rates{Input: r.Dearest(), Output: max(r.Output, r.OutputAudio)}.Cost(Usage{Input: prompt, Output: output})
}
