package price

import (
	"fmt"
	"strings"
	"time"

	"github.com/cairn-run/cairn"
)

// Row is what a table says of one model.
type Row struct {
	Provider string   `json:"provider"` // as the table calls it
	Model    string   `json:"id"`
	Names    []string `json:"names,omitempty"` // other names of the same model
	// Families are beginnings that name the model when a date follows.
	Families  []string `json:"families,omitempty"`
	Window    int64    `json:"window,omitzero"`     // tokens; 0: unknown
	MaxOutput int64    `json:"max_output,omitzero"` // tokens; 0: unknown
	// Also names what is billed besides and no bucket of cairn.Rates holds. A model
	// that has it is not priced; its rates are good as a bound.
	Also   []string      `json:"also,omitempty"`
	Prices []cairn.Price `json:"prices"`
}

const (
	// maxRate keeps costs away from overflow: a dollar for each token or search.
	maxRate = 1_000_000 * cairn.Dollar
	// maxTokens is more than any window has.
	maxTokens = 1 << 40
	day       = cairn.Duration(24 * time.Hour)
)

// validate says what is wrong with a row.
func (r *Row) validate() error {
	switch {
	case r.Provider == "":
		return fmt.Errorf("a model without a provider")
	case r.Model == "":
		return fmt.Errorf("a model of %s without a name", r.Provider)
	case r.Window < 0 || r.Window > maxTokens || r.MaxOutput < 0 || r.MaxOutput > maxTokens:
		return fmt.Errorf("%s/%s: a window of %d and an output of %d tokens", r.Provider, r.Model, r.Window, r.MaxOutput)
	case len(r.Prices) == 0:
		return fmt.Errorf("%s/%s: no price", r.Provider, r.Model)
	}
	for i := range r.Prices {
		p := &r.Prices[i]
		if p.Start < 0 || p.Start >= day || p.End < 0 || p.End >= day {
			return fmt.Errorf("%s/%s: an interval of the day from %s to %s", r.Provider, r.Model, p.Start, p.End)
		}
		if err := validRates(p.Rates); err != nil {
			return fmt.Errorf("%s/%s: %w", r.Provider, r.Model, err)
		}
		for j, a := range p.Above {
			if a.Prompt <= 0 || a.Prompt > maxTokens || j > 0 && a.Prompt <= p.Above[j-1].Prompt {
				return fmt.Errorf("%s/%s: prices above %d tokens are out of order", r.Provider, r.Model, a.Prompt)
			}
			if err := validRates(a.Rates); err != nil {
				return fmt.Errorf("%s/%s above %d tokens: %w", r.Provider, r.Model, a.Prompt, err)
			}
		}
	}
	return nil
}

func validRates(r cairn.Rates) error {
	for _, m := range []cairn.Money{
		r.Input, r.CacheRead, r.CacheWrite5m, r.CacheWrite1h, r.Output, r.InputAudio, r.OutputAudio, r.Searches,
	} {
		if m < 0 || m > maxRate {
			return fmt.Errorf("a rate of %s for a million", m)
		}
	}
	return nil
}

// highest raises rates to those of a row, whatever the service, hour or size.
func (r *Row) highest(most cairn.Rates) cairn.Rates {
	for i := range r.Prices {
		most = dearer(most, r.Prices[i].Rates)
		for _, a := range r.Prices[i].Above {
			most = dearer(most, a.Rates)
		}
	}
	return most
}

func dearer(a, b cairn.Rates) cairn.Rates {
	return cairn.Rates{
		Input: max(a.Input, b.Input), CacheRead: max(a.CacheRead, b.CacheRead),
		CacheWrite5m: max(a.CacheWrite5m, b.CacheWrite5m), CacheWrite1h: max(a.CacheWrite1h, b.CacheWrite1h),
		Output: max(a.Output, b.Output), InputAudio: max(a.InputAudio, b.InputAudio),
		OutputAudio: max(a.OutputAudio, b.OutputAudio), Searches: max(a.Searches, b.Searches),
	}
}

// undated takes a date off the end of a name: model-2025-09-29, model-20250929 or
// model@20250929, which are the forms of OpenAI, Anthropic and Vertex AI.
func undated(name string) (string, bool) {
	for _, f := range []struct{ mark, layout string }{{"-", "2006-01-02"}, {"-", "20060102"}, {"@", "20060102"}} {
		cut := len(name) - len(f.layout)
		if cut < 2 || !strings.HasSuffix(name[:cut], f.mark) {
			continue
		}
		if at, err := time.Parse(f.layout, name[cut:]); err == nil && at.Year() >= 2020 && at.Year() < 2100 {
			return name[:cut-1], true
		}
	}
	return "", false
}
