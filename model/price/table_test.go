package price_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/model/price"
)

func at(t *testing.T, s string) time.Time {
	t.Helper()
	v, err := time.Parse(time.RFC3339, s)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// TestFacts holds single costs against what the providers publish.
func TestFacts(t *testing.T) {
	t.Parallel()
	const anthropic = "https://platform.claude.com/docs/en/about-claude/pricing"
	const m = 1_000_000
	tests := map[string]struct {
		provider, model, at, service string
		usage                        cairn.Usage
		want                         string
		source                       string
	}{
		"sonnet 4.5, small": {
			"anthropic", "claude-sonnet-4-5", "2026-11-20T00:00:00Z", "",
			cairn.Usage{Input: 150_000, CacheRead: 50_000, Output: 1000},
			"$0.48", anthropic,
		},
		"sonnet 4.5, the cached tokens count towards the tier": {
			"anthropic", "claude-sonnet-4-5", "2026-11-20T00:00:00Z", "",
			cairn.Usage{Input: 150_000, CacheRead: 50_001, Output: 1000},
			"$0.9525006", anthropic,
		},
		"sonnet 4.5 with its date": {
			"anthropic", "claude-sonnet-4-5-20250929", "2026-11-20T00:00:00Z", "",
			cairn.Usage{CacheWrite5m: 1000, CacheWrite1h: 1000},
			"$0.00975", anthropic,
		},
		"cache reads at a fortieth": {
			"anthropic", "claude-fable-5-1", "2026-11-20T00:00:00Z", "", cairn.Usage{CacheRead: m}, "$0.25", anthropic,
		},
		"searches": {
			"anthropic", "claude-sonnet-4-5", "2026-11-20T00:00:00Z", "", cairn.Usage{Searches: 3}, "$0.03", anthropic,
		},
		"haiku 5.5 above its limit": {
			"anthropic", "claude-haiku-5-5", "2026-11-20T00:00:00Z", "", cairn.Usage{Input: 100_001, Output: 10}, "$0.0500255", anthropic,
		},
		"haiku 5.5 at its limit": {
			"anthropic", "claude-haiku-5-5", "2026-11-20T00:00:00Z", "", cairn.Usage{Input: 100_000, Output: 10}, "$0.010005", anthropic,
		},
		"batch": {
			"anthropic", "claude-haiku-4-5", "2026-11-20T00:00:00Z", "batch", cairn.Usage{Input: m, Output: m}, "$3.00", anthropic,
		},
		"fast": {
			"anthropic", "claude-opus-5-5", "2026-11-20T00:00:00Z", "fast", cairn.Usage{Input: m, CacheRead: m}, "$8.40", anthropic,
		},
		"before a price fell": {
			"openai", "gpt-5.6-luna", "2026-07-29T23:59:59Z", "", cairn.Usage{Input: 1000, Output: 1000}, "$0.007", "https://openai.com/api/pricing",
		},
		"after it fell": {
			"openai", "gpt-5.6-luna", "2026-07-30T00:00:00Z", "", cairn.Usage{Input: 1000, Output: 1000}, "$0.0014", "https://openai.com/api/pricing",
		},
		"a dated model with a price of its own": {
			"openai", "gpt-4o-2024-05-13", "2026-11-20T00:00:00Z", "", cairn.Usage{Input: m}, "$5.00", "https://openai.com/api/pricing",
		},
		"audio": {
			"google", "gemini-2.5-flash", "2026-11-20T00:00:00Z", "", cairn.Usage{InputAudio: m}, "$1.00", "https://ai.google.dev/pricing",
		},
		"off-peak": {
			"deepseek", "deepseek-v4-pro", "2026-11-20T05:00:00Z", "", cairn.Usage{Input: m}, "$0.66", "https://api-docs.deepseek.com/quick_start/pricing",
		},
		"peak": {
			"deepseek", "deepseek-v4-pro", "2026-11-20T06:00:00Z", "", cairn.Usage{Input: m}, "$1.32", "https://api-docs.deepseek.com/quick_start/pricing",
		},
		"a router's name": {
			"openrouter", "anthropic/claude-sonnet-4.5", "2026-11-20T00:00:00Z", "", cairn.Usage{Output: m}, "$15.00", "https://openrouter.ai/models",
		},
		"a seller of somebody's models": {
			"azure", "gpt-4o", "2026-11-20T00:00:00Z", "", cairn.Usage{Output: m}, "$10.00", "https://openai.com/api/pricing",
		},
		"local": {"ollama", "qwen3:4b", "2026-11-20T00:00:00Z", "", cairn.Usage{Input: m, Output: m}, "$0.00", ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			info := price.Embedded().Lookup(tt.provider, tt.model)
			p, ok := info.Price(at(t, tt.at), tt.service)
			if !ok {
				t.Fatalf("%s/%s is not priced", tt.provider, tt.model)
			}
			if got := p.Cost(tt.usage).String(); got != tt.want {
				t.Errorf("%s, want %s (%s)", got, tt.want, tt.source)
			}
		})
	}
}

// TestNames says which names are a model's own.
func TestNames(t *testing.T) {
	t.Parallel()
	tests := []struct {
		provider, model string
		priced          bool
	}{
		{"anthropic", "claude-sonnet-5", true},
		{"anthropic", "Claude-Sonnet-5", true},
		{"anthropic", "claude-sonnet-5-5", true},
		{"anthropic", "claude-sonnet-5-20260301", true},
		{"anthropic", "claude-sonnet-5-2026-03-01", true},
		{"anthropic", "claude-sonnet-5@20260301", true},
		{"anthropic", "claude-3-7-sonnet-20250219", true}, // a family of the table, and a date
		{"anthropic", "claude-sonnet-5-9", false},         // begins like one
		{"anthropic", "claude-sonnet-5-20261399", false},  // no date
		{"anthropic", "claude-sonnet-5-19990101", false},  // a number
		{"anthropic", "claude-sonnet-5-21000101", false},
		{"anthropic", "claude-sonnet-5-fast", false},
		{"anthropic", "claude-sonnet", false},
		{"anthropic", "anthropic/claude-sonnet-5", false},
		{"anthropic", "", false},
		{"anthropic", "-20250101", false},
		{"openai", "gpt-4o-2024-11-20", true},
		{"openai", "gpt-4o-0613", false},
		{"openai", "ft:gpt-4o:acme::1", false},
		{"xai", "grok-4", true},
		{"x-ai", "grok-4", true},
		{"huggingface", "openai/gpt-oss-120b:groq", true},
		{"huggingface", "openai/gpt-oss-120b", false},
		{"google", "claude-sonnet-4-5", true},
		{"perplexity", "sonar", false}, // it is billed by the request too
		{"nobody", "gpt-4o", false},
		{"ollama", "gpt-oss:120b", true},
		{"ollama", "gpt-oss:120b-cloud", false},
	}
	for _, tt := range tests {
		info := price.Embedded().Lookup(tt.provider, tt.model)
		if info.Priced != tt.priced {
			t.Errorf("%s/%s: priced %t, want %t", tt.provider, tt.model, info.Priced, tt.priced)
		}
		if _, ok := info.Price(at(t, "2026-11-20T00:00:00Z"), ""); ok != tt.priced {
			t.Errorf("%s/%s: a price %t, want %t", tt.provider, tt.model, ok, tt.priced)
		}
		if !tt.priced && info.Bound(at(t, "2026-11-20T00:00:00Z"), 1000, 1000) <= 0 {
			t.Errorf("%s/%s: nothing would be reserved", tt.provider, tt.model)
		}
	}
	// Of a router's unknown model the highest is that of those behind it.
	behind, anybody := price.Embedded().Lookup("huggingface", "acme/new"), price.Embedded().Lookup("nobody", "new")
	if at := at(t, "2026-11-20T00:00:00Z"); behind.Bound(at, 1000, 1000) >= anybody.Bound(at, 1000, 1000) {
		t.Errorf("a router's unknown model is taken for the dearest of all: %+v", behind.Prices)
	}
	sonnet := price.Embedded().Lookup("anthropic", "claude-sonnet-4-5")
	if sonnet.Window != 200_000 || sonnet.Table != "genai-prices 0.2.3 (2026-11-20)" {
		t.Errorf("window %d of table %q", sonnet.Window, sonnet.Table)
	}
}

// TestAnnounced: a price that begins after the table was made is there, and does
// not hold yet.
func TestAnnounced(t *testing.T) {
	t.Parallel()
	table := price.Embedded()
	info := table.Lookup("google", "gemini-3.8-flash")
	last := info.Prices[0]
	for _, p := range info.Prices {
		if p.Service == "" && p.From.After(last.From) {
			last = p
		}
	}
	if !last.From.After(table.Fetched()) {
		t.Fatalf("the last price is from %s: choose another model for this test", last.From)
	}
	now, ok := info.Price(table.Fetched(), "")
	then, ok2 := info.Price(last.From, "")
	if !ok || !ok2 || cmp.Equal(now.Rates, then.Rates) {
		t.Errorf("now %v, then %v", now, then)
	}
}

// TestCosts recomputes a sample of costs that the source's own package computed.
func TestCosts(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile(filepath.Join("testdata", "costs.json"))
	if err != nil {
		t.Fatal(err)
	}
	var doc struct {
		Version string
		Costs   []struct {
			Provider, Model, Service, Dollars string
			At                                time.Time
			Usage                             cairn.Usage
			Nano                              int64
		}
	}
	if err := json.Unmarshal(data, &doc); err != nil {
		t.Fatal(err)
	}
	if len(doc.Costs) < 500 || !strings.Contains(price.Embedded().Name(), doc.Version) {
		t.Fatalf("%d costs of version %s", len(doc.Costs), doc.Version)
	}
	services := map[string]int{}
	for _, c := range doc.Costs {
		info := price.Embedded().Lookup(c.Provider, c.Model)
		p, ok := info.Price(c.At, c.Service)
		if !ok {
			t.Errorf("%s/%s (%s) has no price at %s", c.Provider, c.Model, c.Service, c.At)
			continue
		}
		if got := p.Cost(c.Usage); int64(got) != c.Nano {
			t.Errorf("%s/%s (%s) at %s: %+v costs %s, want %s", c.Provider, c.Model, c.Service, c.At, c.Usage, got, c.Dollars)
		}
		services[c.Service]++
	}
	t.Logf("%d costs agree: %v", len(doc.Costs), services)
}

// TestBound: no request costs more than was reserved for it, whichever model it
// is and whatever its usage within the bound.
func TestBound(t *testing.T) {
	t.Parallel()
	var names [][2]string
	var doc struct{ Models []price.Row }
	data, err := os.ReadFile("genai-prices.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &doc); err != nil {
		t.Fatal(err)
	}
	for _, r := range doc.Models {
		names = append(names, [2]string{r.Provider, r.Model})
	}
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.SampledFrom(names).Draw(t, "model")
		known := price.Embedded().Lookup(name[0], name[1])
		unknown := price.Embedded().Lookup(name[0], name[1]+"-of-tomorrow")
		when := time.Unix(rapid.Int64Range(1_700_000_000, 1_830_000_000).Draw(t, "at"), 0)
		draw := func(label string) int64 { return rapid.Int64Range(0, 400_000).Draw(t, label) }
		u := cairn.Usage{
			Input: draw("input"), CacheRead: draw("read"), CacheWrite5m: draw("5m"), CacheWrite1h: draw("1h"),
			InputAudio: draw("audio"), Output: draw("output"), OutputAudio: draw("spoken"),
		}
		prompt := u.Prompt() + draw("more prompt")
		output := u.Output + u.OutputAudio + draw("more output")
		bound := known.Bound(when, prompt, output)
		most := unknown.Bound(when, prompt, output)
		for i := range known.Prices {
			p := &known.Prices[i]
			if cost := p.Cost(u); cost > most {
				t.Fatalf("%v costs %s, and only %s is reserved for an unknown model", name, cost, most)
			}
		}
		if p, ok := known.Price(when, ""); ok {
			if cost := p.Cost(u); cost > bound {
				t.Fatalf("%v costs %s, and only %s is reserved", name, cost, bound)
			}
		}
		// One bucket after the other costs what all do, but for what is rounded up.
		if p, ok := known.Price(when, ""); ok {
			r, sum := p.RatesFor(u.Prompt()), cairn.Money(0)
			for _, part := range []cairn.Usage{
				{Input: u.Input},
				{CacheRead: u.CacheRead},
				{CacheWrite5m: u.CacheWrite5m},
				{CacheWrite1h: u.CacheWrite1h},
				{InputAudio: u.InputAudio},
				{Output: u.Output},
				{OutputAudio: u.OutputAudio},
			} {
				sum += r.Cost(part)
			}
			if cost := p.Cost(u); sum < cost || sum > cost+7 {
				t.Fatalf("%v: the buckets cost %s, all of them %s", name, sum, cost)
			}
		}
	})
}

func TestOverlay(t *testing.T) {
	t.Parallel()
	own := cairn.Rates{Input: 7 * cairn.Dollar, Output: 9 * cairn.Dollar}
	dear := cairn.Rates{Input: 14 * cairn.Dollar, Output: 18 * cairn.Dollar}
	base := price.Embedded()
	over, err := base.Overlay("acme's prices", []price.Row{
		{Provider: "anthropic", Model: "claude-sonnet-4-5", Prices: cairn.Flat(own)},
		{Provider: "xai", Model: "grok-acme", Names: []string{"Grok-Ours"}, Window: 5, Prices: cairn.Flat(own)},
		{Provider: "inhouse", Model: "big", Prices: []cairn.Price{{Rates: own, Above: []cairn.Above{{Prompt: 1000, Rates: dear}}}}},
		{Provider: "ollama", Model: "metered", Prices: cairn.Flat(own)},
		{Provider: "openai", Model: "gpt-4o", Prices: cairn.Flat(own)},
		{Provider: "google", Model: "gemini-2.5-flash", Window: 7, MaxOutput: 3, Prices: cairn.Flat(own)},
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		provider, model, table string
		window                 int64
		input                  cairn.Money
	}{
		{"anthropic", "claude-sonnet-4-5", "acme's prices", 200_000, own.Input},
		{"anthropic", "claude-sonnet-4-5-20250929", "acme's prices", 200_000, own.Input},
		{"anthropic", "claude-sonnet-5", base.Name(), 1_000_000, 2 * cairn.Dollar},
		{"xai", "grok-acme", "acme's prices", 5, own.Input},
		{"xai", "grok-ours", "acme's prices", 5, own.Input},
		{"inhouse", "big", "acme's prices", 0, own.Input},
		{"ollama", "metered", "acme's prices", 0, own.Input},
		{"ollama", "other", "local", 0, 0},
		{"azure", "gpt-4o", "acme's prices", 128_000, own.Input}, // it sells OpenAI's
		{"google", "gemini-2.5-flash", "acme's prices", 7, own.Input},
		{"openai", "gpt-4o-2024-05-13", base.Name(), 128_000, 5 * cairn.Dollar}, // the older table names exactly this one
	} {
		info := over.Lookup(tt.provider, tt.model)
		if !info.Priced || info.Table != tt.table || info.Window != tt.window || info.Prices[0].Rates.Input != tt.input {
			t.Errorf("%s/%s: %+v", tt.provider, tt.model, info)
		}
	}
	if unknown := over.Lookup("inhouse", "small"); unknown.Priced || unknown.Prices[0].Rates != dear {
		t.Errorf("an unknown model of a provider: %+v", unknown)
	}
	if was := base.Lookup("anthropic", "claude-sonnet-4-5"); was.Prices[0].Rates.Input != 3*cairn.Dollar {
		t.Error("the table below was changed")
	}
	named := over.As(map[string]string{"box": "ollama", "work": "anthropic", "inhouse": "anthropic"})
	for _, tt := range []struct {
		provider, model, table string
		priced                 bool
		window                 int64
	}{
		{"box", "any", "local", true, 0},
		{"work", "claude-sonnet-4-5", "acme's prices", true, 200_000},
		{"work", "claude-sonnet-5", base.Name(), true, 1_000_000},
		{"inhouse", "big", "acme's prices", true, 0},
		{"inhouse", "claude-sonnet-5", base.Name(), true, 1_000_000},
		{"work", "big", base.Name(), false, 0},
	} {
		info := named.Lookup(tt.provider, tt.model)
		if info.Priced != tt.priced || info.Table != tt.table || info.Window != tt.window {
			t.Errorf("%s/%s under another name: %+v", tt.provider, tt.model, info)
		}
	}
	if same, err := base.Overlay("none", nil); err != nil || same != base {
		t.Error("an overlay of nothing is not the table itself")
	}
	if over.Fetched() != base.Fetched() {
		t.Error("the date of the table is lost")
	}
	for name, bad := range map[string]price.Row{
		"no provider": {Model: "x", Prices: cairn.Flat(own)},
		"no model":    {Provider: "x", Prices: cairn.Flat(own)},
		"no price":    {Provider: "x", Model: "x"},
		"negative":    {Provider: "x", Model: "x", Prices: cairn.Flat(cairn.Rates{Input: -1})},
		"too large":   {Provider: "x", Model: "x", Prices: cairn.Flat(cairn.Rates{Output: 1 << 60})},
		"window":      {Provider: "x", Model: "x", Window: -1, Prices: cairn.Flat(own)},
		"order":       {Provider: "x", Model: "x", Prices: []cairn.Price{{Above: []cairn.Above{{Prompt: 2}, {Prompt: 1}}}}},
		"hours":       {Provider: "x", Model: "x", Prices: []cairn.Price{{End: cairn.Duration(25 * time.Hour)}}},
	} {
		if _, err := base.Overlay("bad", []price.Row{bad}); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	twice := price.Row{Provider: "x", Model: "x", Prices: cairn.Flat(own)}
	if _, err := base.Overlay("bad", []price.Row{twice, twice}); err == nil {
		t.Error("a model twice: no error")
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"source":"s","version":"1","fetched":"2026-01-02","models":[]}`))
	f.Add([]byte(`{"source":"s","fetched":"2026-01-02","fallback":{"a":["b"]},"models":[{"provider":"b","id":"M","names":["n"],"families":["f"],` +
		`"window":1,"prices":[{"from":"2026-01-01T00:00:00Z","service":"batch","start":"1h0m0s","end":"2h0m0s","rates":{"input":1,"output":2},` +
		`"above":[{"prompt":5,"rates":{"input":"$3","output":4}}]}]}]}`))
	f.Add([]byte(`{}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		table, err := price.Parse(data)
		if err != nil {
			return
		}
		for _, p := range append(table.Providers(), "a", "nobody") {
			for _, m := range []string{"m", "n", "f-2026-01-02", "", "x"} {
				info := table.Lookup(p, m)
				if len(info.Prices) == 0 {
					t.Errorf("%s/%s has no bound", p, m)
				}
				if info.Bound(time.Unix(0, 0), 1<<30, 1<<30) < 0 {
					t.Errorf("%s/%s: a bound below zero", p, m)
				}
			}
		}
	})
}

func BenchmarkParse(b *testing.B) {
	data, err := os.ReadFile("genai-prices.json")
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := price.Parse(data); err != nil {
			b.Fatal(err)
		}
	}
}
