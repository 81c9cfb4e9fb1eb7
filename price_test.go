package cairn_test

import (
	"math/big"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/cairn-run/cairn"
)

func day(s string) time.Time {
	t, err := time.Parse(time.DateTime, s)
	if err != nil {
		panic(err)
	}
	return t
}

// TestPrice: the row that holds when the request starts, the tier of the whole
// prompt, and nothing for a model that is not known.
func TestPrice(t *testing.T) {
	t.Parallel()
	rates := func(in, out cairn.Money) cairn.Rates {
		return cairn.Rates{Input: in * cairn.Dollar, Output: out * cairn.Dollar, CacheRead: in * cairn.Dollar / 10}
	}
	m := cairn.ModelInfo{Priced: true, Prices: []cairn.Price{
		{Rates: rates(3, 15), Above: []cairn.Above{{Prompt: 200_000, Rates: rates(6, 22)}}},
		{From: day("2026-10-07 00:00:00"), Rates: rates(2, 10)},
		{From: day("2026-10-07 00:00:00"), Service: "priority", Rates: rates(4, 20)},
		{From: day("2026-10-07 00:00:00"), Start: cairn.Duration(22 * time.Hour), End: cairn.Duration(2 * time.Hour), Rates: rates(1, 5)},
		{From: day("2027-01-01 00:00:00"), Rates: rates(9, 45)},
	}}
	for name, c := range map[string]struct {
		at      string
		service string
		usage   cairn.Usage
		want    cairn.Money
		priced  bool
	}{
		"before":              {"2026-10-06 23:59:59", "", cairn.Usage{Input: 1_000_000 / 10}, 3 * cairn.Dollar / 10, true},
		"from that day":       {"2026-10-07 12:00:00", "", cairn.Usage{Input: 100_000}, 2 * cairn.Dollar / 10, true},
		"at the tier":         {"2026-10-01 12:00:00", "", cairn.Usage{Input: 200_000}, 6 * cairn.Dollar / 10, true},
		"above the tier":      {"2026-10-01 12:00:00", "", cairn.Usage{Input: 200_001}, 12*cairn.Dollar/10 + 6000, true},
		"cached tokens count": {"2026-10-01 12:00:00", "", cairn.Usage{Input: 1, CacheRead: 200_000}, 12*cairn.Dollar/100 + 6000, true},
		"priority":            {"2026-11-01 12:00:00", "priority", cairn.Usage{Output: 100_000}, 2 * cairn.Dollar, true},
		"at night":            {"2026-11-01 23:00:00", "", cairn.Usage{Input: 100_000}, cairn.Dollar / 10, true},
		"past midnight":       {"2026-11-01 01:59:59", "", cairn.Usage{Input: 100_000}, cairn.Dollar / 10, true},
		"in the morning":      {"2026-11-01 02:00:00", "", cairn.Usage{Input: 100_000}, 2 * cairn.Dollar / 10, true},
		"no such tier":        {"2026-11-01 12:00:00", "flex", cairn.Usage{Input: 100_000}, 0, false},
	} {
		p, ok := m.Price(day(c.at), c.service)
		if ok != c.priced {
			t.Errorf("%s: priced is %v", name, ok)
			continue
		}
		if ok && p.Cost(c.usage) != c.want {
			t.Errorf("%s: %s, want %s", name, p.Cost(c.usage), c.want)
		}
	}
	m.Priced = false
	if p, ok := m.Price(day("2026-11-01 12:00:00"), ""); ok || p == nil {
		t.Errorf("a model that is not known: %v, %v", p, ok)
	}
}

// TestBound: no answer within its caps costs more than what was reserved for it.
func TestBound(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		money := rapid.Custom(func(t *rapid.T) cairn.Money { return cairn.Money(rapid.Int64Range(0, 100_000_000_000).Draw(t, "rate")) })
		rates := rapid.Custom(func(t *rapid.T) cairn.Rates {
			return cairn.Rates{
				Input: money.Draw(t, "in"), CacheRead: money.Draw(t, "read"), CacheWrite5m: money.Draw(t, "5m"),
				CacheWrite1h: money.Draw(t, "1h"), Output: money.Draw(t, "out"), InputAudio: money.Draw(t, "audio"),
				OutputAudio: money.Draw(t, "speech"),
			}
		})
		m := cairn.ModelInfo{Priced: true}
		base := day("2026-01-01 00:00:00")
		for range rapid.IntRange(1, 3).Draw(t, "rows") {
			p := cairn.Price{Rates: rates.Draw(t, "rates"), From: base.AddDate(0, 0, rapid.IntRange(0, 60).Draw(t, "from"))}
			if rapid.Bool().Draw(t, "hours") {
				p.Start = cairn.Duration(rapid.IntRange(0, 23).Draw(t, "start")) * cairn.Duration(time.Hour)
				p.End = cairn.Duration(rapid.IntRange(0, 23).Draw(t, "end")) * cairn.Duration(time.Hour)
			}
			if rapid.Bool().Draw(t, "tier") {
				p.Above = []cairn.Above{{Prompt: rapid.Int64Range(0, 2000).Draw(t, "above"), Rates: rates.Draw(t, "rates")}}
			}
			m.Prices = append(m.Prices, p)
		}
		at := base.Add(time.Duration(rapid.IntRange(0, 100*24).Draw(t, "at")) * time.Hour)
		split := func(name string) int64 { return rapid.Int64Range(0, 600).Draw(t, name) }
		u := cairn.Usage{Input: split("input"), CacheRead: split("read"), CacheWrite5m: split("5m"), CacheWrite1h: split("1h"), InputAudio: split("audio"), Output: split("output"), OutputAudio: split("spoken")}
		p, ok := m.Price(at, "")
		if !ok {
			return
		}
		prompt := u.Prompt() + rapid.Int64Range(0, 50).Draw(t, "slack")
		if bound := m.Bound(at, prompt, u.Output+u.OutputAudio); p.Cost(u) > bound {
			t.Fatalf("%+v costs %s at %s; at most %s was reserved", u, p.Cost(u), at, bound)
		}
	})
}

// TestCostNeverTurns: no count and no rate, however absurd, makes a cost small or
// negative: that would be a credit to the budget.
func TestCostNeverTurns(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		n, rate := rapid.Int64Range(0, 1<<62), rapid.Custom(func(t *rapid.T) cairn.Money { return cairn.Money(rapid.Int64Range(0, 1<<62).Draw(t, "rate")) })
		r := cairn.Rates{Input: rate.Draw(t, "in"), CacheRead: rate.Draw(t, "read"), Output: rate.Draw(t, "out"), Searches: rate.Draw(t, "searches")}
		u := cairn.Usage{Input: n.Draw(t, "input"), CacheRead: n.Draw(t, "cached"), Output: n.Draw(t, "output"), Searches: n.Draw(t, "searched")}
		got := r.Cost(u)
		exact := new(big.Int)
		for _, p := range [][2]int64{{u.Input, int64(r.Input)}, {u.CacheRead, int64(r.CacheRead)}, {u.Output, int64(r.Output)}, {u.Searches, int64(r.Searches)}} {
			exact.Add(exact, new(big.Int).Mul(big.NewInt(p[0]), big.NewInt(p[1])))
		}
		exact.Add(exact, big.NewInt(999_999)).Div(exact, big.NewInt(1_000_000))
		most := int64(1<<63-1) / 4
		if want := min(exact.Uint64(), uint64(most)); exact.IsUint64() && uint64(got) != want || !exact.IsUint64() && int64(got) != most {
			t.Fatalf("%+v at %+v costs %d; exactly it is %s", u, r, got, exact)
		}
	})
}
