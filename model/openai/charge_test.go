package openai

import (
	"testing"

	"github.com/cairn-run/cairn"
)

func TestCharged(t *testing.T) {
	t.Parallel()
	for raw, want := range map[string]cairn.Money{
		`{"cost":0.001285,"is_byok":false}`:                                                  1_285_000,
		`{"cost":0,"is_byok":false}`:                                                         0,
		`{"cost":1.23e-05,"is_byok":false}`:                                                  12_300,
		`{"cost":0.00000000001,"is_byok":false}`:                                             1,      // never rounded to nothing
		`{"cost":0.0000123456781,"is_byok":false}`:                                           12_346, // up to a nano-dollar
		`{"cost":0.001285}`:                                                                  -1,
		`{"cost":0,"is_byok":true,"cost_details":{"upstream_inference_cost":0.2}}`:           -1,
		`{"cost":-1,"is_byok":false}`:                                                        -1,
		`{"cost":1e300,"is_byok":false}`:                                                     -1,
		`{"cost":null,"is_byok":false}`:                                                      -1,
		`{"cost":"0.5 dollars","is_byok":false}`:                                             -1,
		`{"cost":1e999999999,"is_byok":false}`:                                               -1,
		`{"cost":0.0000000000000000000000000000000000000000000000000000001,"is_byok":false}`: -1,
		`{"cost":1e-999999999,"is_byok":false}`:                                              1,
		`{"cost":0e999999999,"is_byok":false}`:                                               0,
		`[]`:                                                                                 -1, ``: -1,
	} {
		got := charged([]byte(raw))
		switch {
		case got == nil && want == -1:
		case got == nil || *got != want:
			t.Errorf("%s: %v, want %d", raw, got, want)
		}
	}
}
