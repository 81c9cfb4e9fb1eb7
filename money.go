package cairn

import (
	"encoding/json"
	"fmt"
	"math"
	"math/bits"
	"strconv"
	"strings"
)

// Money is an amount in nano-dollars (10⁻⁹ USD). It is never a float: prices
// are rates per million tokens, and a call's cost is rounded once.
type Money int64

// Dollar is one US dollar.
const Dollar Money = 1_000_000_000

// maxMoney keeps sums of two amounts away from overflow.
const maxMoney = Money(math.MaxInt64 / 4)

// ParseMoney reads "$1.25", "1.25" or "$0.000001"; at most nine decimals.
func ParseMoney(s string) (Money, error) {
	bad := func(why string) (Money, error) {
		return 0, fmt.Errorf("money %q: %s; write it like $1.25", s, why)
	}
	t := strings.TrimPrefix(strings.TrimSpace(s), "$")
	whole, frac, dotted := strings.Cut(t, ".")
	if whole == "" || (dotted && frac == "") {
		return bad("not an amount")
	}
	if len(frac) > 9 {
		return bad("more than nine decimals")
	}
	for _, c := range whole + frac {
		if c < '0' || c > '9' {
			return bad("not an amount")
		}
	}
	w, err := strconv.ParseInt(whole, 10, 64)
	if err != nil || Money(w) > maxMoney/Dollar {
		return bad("too large")
	}
	f, err := strconv.ParseInt((frac + "000000000")[:9], 10, 64)
	if err != nil {
		return bad("not an amount")
	}
	return Money(w)*Dollar + Money(f), nil
}

// String prints dollars with at least two decimals and as many as are needed.
func (m Money) String() string {
	sign := ""
	u := uint64(m)
	if m < 0 {
		sign, u = "-", -u
	}
	frac := fmt.Sprintf("%09d", u%uint64(Dollar))
	frac = strings.TrimRight(frac, "0")
	for len(frac) < 2 {
		frac += "0"
	}
	return fmt.Sprintf("%s$%d.%s", sign, u/uint64(Dollar), frac)
}

// UnmarshalJSON reads nano-dollars as a number or dollars as a string.
func (m *Money) UnmarshalJSON(b []byte) error {
	if len(b) > 0 && b[0] == '"' {
		var s string
		if err := json.Unmarshal(b, &s); err != nil {
			return err
		}
		v, err := ParseMoney(s)
		*m = v
		return err
	}
	v, err := strconv.ParseInt(string(b), 10, 64)
	if err != nil {
		return fmt.Errorf("money %s: write a whole number of nano-dollars, or a string like \"$1.25\"", b)
	}
	*m = Money(v)
	return nil
}

// Usage counts the tokens of one model call in disjoint buckets: they add up to
// what was billed, and nothing stands in two of them.
type Usage struct {
	Input        int64 `json:"input,omitzero"`          // uncached input
	CacheRead    int64 `json:"cache_read,omitzero"`     // input read from the provider's cache
	CacheWrite5m int64 `json:"cache_write_5m,omitzero"` // input written to it for five minutes
	CacheWrite1h int64 `json:"cache_write_1h,omitzero"` // input written to it for an hour
	Output       int64 `json:"output,omitzero"`         // output, reasoning included
	Reasoning    int64 `json:"reasoning,omitzero"`      // the part of Output that was reasoning
	InputAudio   int64 `json:"input_audio,omitzero"`    // uncached audio input, not in Input
	OutputAudio  int64 `json:"output_audio,omitzero"`   // audio output, not in Output
	Searches     int64 `json:"searches,omitzero"`       // web searches the provider made: requests, not tokens
}

// Add returns the sum of two usages.
func (u Usage) Add(v Usage) Usage {
	u.Input += v.Input
	u.CacheRead += v.CacheRead
	u.CacheWrite5m += v.CacheWrite5m
	u.CacheWrite1h += v.CacheWrite1h
	u.Output += v.Output
	u.Reasoning += v.Reasoning
	u.InputAudio += v.InputAudio
	u.OutputAudio += v.OutputAudio
	u.Searches += v.Searches
	return u
}

// Prompt is the number of tokens that went in, from wherever they were read.
func (u Usage) Prompt() int64 {
	return u.Input + u.CacheRead + u.CacheWrite5m + u.CacheWrite1h + u.InputAudio
}

// Total is the number of tokens that were billed.
func (u Usage) Total() int64 { return u.Prompt() + u.Output + u.OutputAudio }

// Rates are prices in nano-dollars per million tokens, or searches. A bucket
// whose rate is zero is free.
type Rates struct {
	Input        Money `json:"input"`
	CacheRead    Money `json:"cache_read,omitzero"`
	CacheWrite5m Money `json:"cache_write_5m,omitzero"`
	CacheWrite1h Money `json:"cache_write_1h,omitzero"`
	Output       Money `json:"output"`
	InputAudio   Money `json:"input_audio,omitzero"`
	OutputAudio  Money `json:"output_audio,omitzero"`
	Searches     Money `json:"searches,omitzero"`
}

// Cost prices a usage and rounds up to a nano-dollar, once. What no price list
// could mean stops at a sum far beyond any budget, and never turns around.
func (r Rates) Cost(u Usage) Money {
	const million = 1_000_000
	var hi, lo uint64 // their 128 bits hold the sum of all products
	for _, b := range [...]struct {
		n    int64
		rate Money
	}{
		{u.Input, r.Input},
		{u.CacheRead, r.CacheRead},
		{u.CacheWrite5m, r.CacheWrite5m},
		{u.CacheWrite1h, r.CacheWrite1h},
		{u.Output, r.Output},
		{u.InputAudio, r.InputAudio},
		{u.OutputAudio, r.OutputAudio},
		{u.Searches, r.Searches},
	} {
		if b.n <= 0 || b.rate <= 0 {
			continue
		}
		h, l := bits.Mul64(uint64(b.n), uint64(b.rate))
		var carry uint64
		lo, carry = bits.Add64(lo, l, 0)
		hi += h + carry
	}
	if hi >= million { // the quotient has more than 64 bits
		return maxMoney
	}
	cost, rest := bits.Div64(hi, lo, million)
	if rest > 0 {
		cost++
	}
	return Money(min(cost, uint64(maxMoney)))
}

// Dearest is the highest rate that may apply to an input token: what a
// reservation must assume.
func (r Rates) Dearest() Money {
	return max(r.Input, r.CacheRead, r.CacheWrite5m, r.CacheWrite1h, r.InputAudio)
}

// CostStatus says how a cost was found.
type CostStatus string

// The three ways a cost is known. An unpriced model is never free: it is
// accounted at its reservation.
const (
	CostExact CostStatus = "exact" // the provider's usage times a dated price
	// CostEstimated: no usage came back and the reservation was taken for it, or the
	// provider reported something that it may bill besides (ModelAnswer.Beside).
	CostEstimated CostStatus = "estimated"
	CostUnpriced  CostStatus = "unpriced" // no price for the model: settled at the reservation
)
