package cairn_test

import (
	"encoding/json"
	"math"
	"math/big"
	"testing"

	"pgregory.net/rapid"

	"github.com/cairn-run/cairn"
)

func TestParseMoney(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]cairn.Money{
		"$1.25": 1_250_000_000, "1.25": 1_250_000_000, "$0.000000001": 1, "0": 0, "$0.1": 100_000_000,
		"2000000000": 2_000_000_000 * cairn.Dollar,
	} {
		if got, err := cairn.ParseMoney(text); err != nil || got != want {
			t.Errorf("ParseMoney(%q) = %d, %v; want %d", text, got, err, want)
		}
	}
	if got, err := cairn.ParseMoney(" $5 "); err != nil || got != 5*cairn.Dollar {
		t.Errorf("with white space around: %d, %v", got, err)
	}
	for _, text := range []string{"", "$", "-1", "1.", ".5", "1.0000000001", "1,5", "€1", "$$1", "1 2", "9223372036", "1e3", "٣"} {
		if got, err := cairn.ParseMoney(text); err == nil {
			t.Errorf("ParseMoney(%q) = %s; want an error", text, got)
		}
	}
}

func TestMoneyString(t *testing.T) {
	t.Parallel()
	for m, want := range map[cairn.Money]string{
		0: "$0.00", 1: "$0.000000001", cairn.Dollar: "$1.00", -cairn.Dollar / 2: "-$0.50", 1_234_500_000: "$1.2345",
		math.MaxInt64: "$9223372036.854775807", math.MinInt64: "-$9223372036.854775808",
	} {
		if got := m.String(); got != want {
			t.Errorf("%d prints as %s, not %s", int64(m), got, want)
		}
	}
}

func TestMoneyJSON(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]cairn.Money{`"$0.50"`: cairn.Dollar / 2, `17`: 17, `-3`: -3} {
		var m cairn.Money
		if err := json.Unmarshal([]byte(text), &m); err != nil || m != want {
			t.Errorf("%s is read as %d, %v", text, m, err)
		}
	}
	for _, text := range []string{`1.5`, `"x"`, `true`, `1e3`, `9223372036854775808`} {
		var m cairn.Money
		if err := json.Unmarshal([]byte(text), &m); err == nil {
			t.Errorf("%s is read as %s", text, m)
		}
	}
}

// FuzzParseMoney: what is read prints as something that is read the same.
func FuzzParseMoney(f *testing.F) {
	for _, s := range []string{"$1.25", "0.000000001", "2305843009", "$", "1.", "-1", " 7 "} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		m, err := cairn.ParseMoney(text)
		if err != nil {
			return
		}
		if m < 0 {
			t.Fatalf("%q is read as %d", text, int64(m))
		}
		if back, err := cairn.ParseMoney(m.String()); err != nil || back != m {
			t.Fatalf("%q is read as %d, printed as %s and read as %d, %v", text, int64(m), m, int64(back), err)
		}
	})
}

// A cost is the exact sum, rounded up once.
func TestCost(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		tokens := rapid.Int64Range(0, 1<<36)
		rate := rapid.Custom(func(t *rapid.T) cairn.Money { return cairn.Money(rapid.Int64Range(0, 1<<38).Draw(t, "rate")) })
		u := cairn.Usage{
			Input: tokens.Draw(t, "input"), CacheRead: tokens.Draw(t, "read"), CacheWrite5m: tokens.Draw(t, "5m"),
			CacheWrite1h: tokens.Draw(t, "1h"), Output: tokens.Draw(t, "output"), Reasoning: tokens.Draw(t, "reasoning"),
		}
		r := cairn.Rates{
			Input: rate.Draw(t, "input rate"), CacheRead: rate.Draw(t, "read rate"), CacheWrite5m: rate.Draw(t, "5m rate"),
			CacheWrite1h: rate.Draw(t, "1h rate"), Output: rate.Draw(t, "output rate"),
		}
		sum := new(big.Int)
		for _, p := range [][2]int64{
			{u.Input, int64(r.Input)},
			{u.CacheRead, int64(r.CacheRead)},
			{u.CacheWrite5m, int64(r.CacheWrite5m)},
			{u.CacheWrite1h, int64(r.CacheWrite1h)},
			{u.Output, int64(r.Output)},
		} {
			sum.Add(sum, new(big.Int).Mul(big.NewInt(p[0]), big.NewInt(p[1])))
		}
		million := big.NewInt(1_000_000)
		want := sum.Add(sum, big.NewInt(999_999)).Div(sum, million)
		if got := r.Cost(u); int64(got) != want.Int64() {
			t.Fatalf("it costs %d, exactly %s", got, want)
		}
		if dearest := (cairn.Rates{Input: r.Dearest(), Output: r.Output}).Cost(cairn.Usage{Input: u.Prompt(), Output: u.Output}); dearest < r.Cost(u) {
			t.Fatalf("a reservation of %s does not cover %s", dearest, r.Cost(u))
		}
	})
	if got := (cairn.Rates{Input: 3 * cairn.Dollar}).Cost(cairn.Usage{Input: 1}); got != 3000 {
		t.Errorf("a token at $3 a million costs %d", got)
	}
	if got := (cairn.Rates{Input: 1}).Cost(cairn.Usage{Input: 1}); got != 1 {
		t.Errorf("what costs almost nothing costs %d", got)
	}
}
