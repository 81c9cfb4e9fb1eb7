package openai

import (
	"encoding/json"
	"math/big"
	"strings"

	"github.com/cairn-run/cairn"
)

// maxCharge is where a reported charge stops being believed.
const maxCharge = 10_000 * cairn.Dollar

// charged is what OpenRouter says it charged for the answer: it routes to whoever
// is there, at prices of their own, and knows. Of another provider's usage, or with
// a key of the user's own that is billed elsewhere, there is no charge to be read.
// The amount is in dollars and is rounded up to a nano-dollar
// (https://openrouter.ai/docs/use-cases/usage-accounting).
func charged(raw json.RawMessage) *cairn.Money {
	var u struct {
		Cost  json.Number `json:"cost"`
		OwnOf *bool       `json:"is_byok"` // only OpenRouter says this
	}
	if json.Unmarshal(raw, &u) != nil || u.OwnOf == nil || *u.OwnOf || len(u.Cost) == 0 || len(u.Cost) > 40 {
		return nil
	}
	about, err := u.Cost.Float64() // before the exact reading: an exponent may be monstrous
	if err != nil || about < 0 || about > float64(maxCharge/cairn.Dollar) {
		return nil
	}
	if about < 1e-9 {
		least := cairn.Money(0)
		if mantissa, _, _ := strings.Cut(strings.ToLower(u.Cost.String()), "e"); strings.Trim(mantissa, "-0.") != "" {
			least = 1
		}
		return &least
	}
	dollars, ok := new(big.Rat).SetString(u.Cost.String())
	if !ok {
		return nil
	}
	nano := dollars.Mul(dollars, big.NewRat(int64(cairn.Dollar), 1))
	up := new(big.Int).Add(nano.Num(), new(big.Int).Sub(nano.Denom(), big.NewInt(1)))
	up.Div(up, nano.Denom())
	m := cairn.Money(up.Int64())
	return &m
}
