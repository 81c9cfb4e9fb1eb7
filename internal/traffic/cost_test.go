package traffic_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/internal/traffic"
	"github.com/cairn-run/cairn/model/price"
)

// pricedAt is when all recorded answers are priced.
var pricedAt = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

// buckets are tokens, or searches, by the names that the price table's rates have.
type buckets map[string]int64

// tokens reads a usage object along paths like "prompt_tokens_details.cached_tokens".
type tokens map[string]any

func (u tokens) at(path string) int64 {
	var v any = map[string]any(u)
	for key := range strings.SplitSeq(path, ".") {
		m, ok := v.(map[string]any)
		if !ok {
			return 0
		}
		v = m[key]
	}
	n, err := strconv.ParseInt(fmt.Sprint(v), 10, 64)
	if err != nil {
		return 0
	}
	return n
}

func (u tokens) most(paths ...string) int64 {
	var most int64
	for _, p := range paths {
		most = max(most, u.at(p))
	}
	return most
}

// audio is the sum of a list's counts of audio.
func (u tokens) audio(list string) int64 {
	var sum int64
	all, _ := u[list].([]any)
	for _, one := range all {
		if m, ok := one.(map[string]any); ok && m["modality"] == "AUDIO" {
			sum += tokens(m).at("tokenCount")
		}
	}
	return sum
}

// billed reads raw usage again, by what the providers' documents say, and without
// the drivers.
func billed(e *traffic.Exchange, raw json.RawMessage) (buckets, error) {
	d := json.NewDecoder(strings.NewReader(string(raw)))
	d.UseNumber()
	var u tokens
	if err := d.Decode(&u); err != nil {
		return nil, err
	}
	b := buckets{}
	switch e.Wire {
	case traffic.Messages:
		b["input"] = u.at("input_tokens")
		b["cache_read"] = u.at("cache_read_input_tokens")
		b["cache_write_1h"] = u.at("cache_creation.ephemeral_1h_input_tokens")
		b["cache_write_5m"] = u.at("cache_creation_input_tokens") - b["cache_write_1h"]
		b["output"] = u.at("output_tokens")
		b["searches"] = u.at("server_tool_use.web_search_requests")
		// "A compaction entry's tokens are not included in the top-level usage fields."
		all, _ := u["iterations"].([]any)
		for _, one := range all {
			if it, _ := one.(map[string]any); it["type"] == "compaction" {
				b["input"] += tokens(it).at("input_tokens")
				b["output"] += tokens(it).at("output_tokens")
			}
		}
	case traffic.Generate:
		b["cache_read"] = u.at("cachedContentTokenCount")
		b["input_audio"] = u.audio("promptTokensDetails") - u.audio("cacheTokensDetails") + u.audio("toolUsePromptTokensDetails")
		b["input"] = u.at("promptTokenCount") + u.at("toolUsePromptTokenCount") - b["cache_read"] - b["input_audio"]
		b["output_audio"] = u.audio("candidatesTokensDetails")
		b["output"] = u.at("candidatesTokenCount") + u.at("thoughtsTokenCount") - b["output_audio"]
		b["searches"] = googleSearches(e)
	case traffic.Responses:
		b["cache_read"] = u.at("input_tokens_details.cached_tokens")
		b["cache_write_5m"] = u.at("input_tokens_details.cache_write_tokens")
		b["input"] = u.at("input_tokens") - b["cache_read"] - b["cache_write_5m"]
		b["output"] = u.at("output_tokens")
		b["searches"] = openaiSearches(e)
	default:
		b["cache_read"] = u.most("prompt_tokens_details.cached_tokens", "cached_tokens", "num_cached_tokens", "prompt_cache_hit_tokens")
		b["cache_write_5m"] = u.most("prompt_tokens_details.cache_write_tokens", "cache_creation_input_tokens")
		b["input_audio"] = u.at("prompt_tokens_details.audio_tokens")
		b["input"] = u.at("prompt_tokens") - b["cache_read"] - b["cache_write_5m"] - b["input_audio"]
		b["output_audio"] = u.at("completion_tokens_details.audio_tokens")
		b["output"] = u.at("completion_tokens") - b["output_audio"]
		if reasoningApart(e) {
			b["output"] += u.at("completion_tokens_details.reasoning_tokens")
		}
		if rest := u.at("total_tokens") - u.at("prompt_tokens") - u.at("completion_tokens"); rest > 0 && !reasoningApart(e) {
			b["output"] += rest
		}
		b["searches"] = u.most("num_search_queries", "server_tool_use_details.web_search_requests")
	}
	maps.DeleteFunc(b, func(_ string, n int64) bool { return n == 0 })
	return b, nil
}

// reasoningApart says whose completion_tokens have no reasoning in them. xAI's
// total is the sum of the three; the gateway's cost of Gemini's answers is.
func reasoningApart(e *traffic.Exchange) bool {
	return e.Provider == "xai" || e.Provider == "openai-compatible" && strings.HasPrefix(e.Model, "grok-") ||
		e.Provider == "vercel-gateway" && strings.HasPrefix(e.Model, "google/")
}

// googleSearches: each different query from Gemini 3 on, one for the prompt before
// (https://ai.google.dev/gemini-api/docs/google-search#pricing).
func googleSearches(e *traffic.Exchange) int64 {
	queries := map[string]bool{}
	var walk func(v any)
	walk = func(v any) {
		switch v := v.(type) {
		case []any:
			for _, x := range v {
				walk(x)
			}
		case map[string]any:
			all, _ := v["webSearchQueries"].([]any)
			for _, q := range all {
				if q != "" {
					queries[fmt.Sprint(q)] = true
				}
			}
			for _, x := range v {
				walk(x)
			}
		}
	}
	for _, doc := range documents(e) {
		walk(doc)
	}
	if len(queries) > 0 && !strings.Contains(e.Model, "gemini-3") {
		return 1
	}
	return int64(len(queries))
}

// openaiSearches counts the calls of web search whose action is a search.
func openaiSearches(e *traffic.Exchange) int64 {
	blocks, err := recorded(e)
	if err != nil {
		return 0
	}
	var n int64
	for _, raw := range blocks {
		item, _ := parseObject(raw)
		action, _ := parseObject(item.get("action"))
		if item.str("type") == "web_search_call" && (action == nil || action.str("type") == "search") {
			n++
		}
	}
	return n
}

// documents are the JSON documents of an answer.
func documents(e *traffic.Exchange) []any {
	var all []any
	add := func(raw []byte) {
		var v any
		if json.Unmarshal(raw, &v) == nil {
			all = append(all, v)
		}
	}
	if !e.Stream {
		add(e.Body)
		return all
	}
	objects, _ := events(e) // what is broken has no usage either
	for _, o := range objects {
		add(o.raw())
	}
	return all
}

// tableRow is a model in the price table, read again from its file.
type tableRow struct {
	Provider string   `json:"provider"`
	ID       string   `json:"id"`
	Names    []string `json:"names"`
	Families []string `json:"families"`
	Also     []string `json:"also"`
	Prices   []struct {
		From    time.Time                  `json:"from"`
		Service string                     `json:"service"`
		Start   cairn.Duration             `json:"start"`
		End     cairn.Duration             `json:"end"`
		Rates   map[string]json.RawMessage `json:"rates"`
		Above   []struct {
			Prompt int64                      `json:"prompt"`
			Rates  map[string]json.RawMessage `json:"rates"`
		} `json:"above"`
	} `json:"prices"`
}

// cost multiplies with rationals and rounds up once.
func (r *tableRow) cost(b buckets, service string) (cairn.Money, bool, error) {
	var prompt int64
	for _, name := range []string{"input", "cache_read", "cache_write_5m", "cache_write_1h", "input_audio"} {
		prompt += b[name]
	}
	var rates map[string]json.RawMessage
	var from time.Time
	timed := false
	hour := cairn.Duration(pricedAt.Sub(pricedAt.Truncate(24 * time.Hour)))
	for _, p := range r.Prices {
		whole := p.Start == p.End
		in := whole || p.Start < p.End && hour >= p.Start && hour < p.End || p.Start > p.End && (hour >= p.Start || hour < p.End)
		if p.Service != service || p.From.After(pricedAt) || !in || rates != nil && (p.From.Before(from) || p.From.Equal(from) && (timed || whole)) {
			continue
		}
		rates, from, timed = p.Rates, p.From, !whole
		for _, a := range p.Above {
			if prompt > a.Prompt {
				rates = a.Rates
			}
		}
	}
	if rates == nil {
		return 0, false, nil
	}
	sum := new(big.Rat)
	for name, n := range b {
		rate, ok := new(big.Rat).SetString(string(rates[name]))
		if rates[name] == nil {
			continue // free
		}
		if !ok {
			return 0, false, fmt.Errorf("the rate of %s is %s", name, rates[name])
		}
		sum.Add(sum, rate.Mul(rate, big.NewRat(n, 1_000_000)))
	}
	nano := new(big.Int).Add(sum.Num(), new(big.Int).Sub(sum.Denom(), big.NewInt(1)))
	return cairn.Money(nano.Quo(nano, sum.Denom()).Int64()), true, nil
}

// TestCostsAreExact prices every recorded answer twice: with the driver's buckets
// and Cairn's arithmetic, and again from the raw usage and the table's file with
// rationals. They agree by bucket and to the nano-dollar.
func TestCostsAreExact(t *testing.T) {
	t.Parallel()
	raw, err := os.ReadFile(filepath.Join("..", "..", "model", "price", "genai-prices.json"))
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Models []tableRow `json:"models"`
	}
	if err := json.Unmarshal(raw, &file); err != nil {
		t.Fatal(err)
	}
	rows := map[string]*tableRow{}
	for i := range file.Models {
		r := &file.Models[i]
		rows[r.Provider+"/"+r.ID] = r
	}
	c := traffic.Load(t)
	table := price.Embedded()
	counted := map[string]int{}
	var total cairn.Money
	unpriced := map[string]int{}
	for i := range c.Exchanges {
		e := &c.Exchanges[i]
		h, err := decode(t.Context(), e)
		if err != nil || h.answer == nil {
			continue // TestEveryExchangeDecodes says why
		}
		a := h.answer
		if a.RawUsage == nil {
			counted["answers without usage"]++
			continue
		}
		want, err := billed(e, a.RawUsage)
		if err != nil {
			t.Errorf("%s: %v", e.Name, err)
			continue
		}
		if want["input"] < 0 { // OpenRouter counts what it wrote and read at once as both
			counted["answers that count tokens twice: each is in one bucket"]++
			want["cache_write_5m"] += want["input"]
			delete(want, "input")
		}
		if diff := cmp.Diff(want, bucketsOf(a.Usage)); diff != "" {
			t.Errorf("%s: buckets (-raw usage +driver), %s:\n%s", e.Name, a.RawUsage, diff)
			continue
		}
		counted["answers whose buckets agree"]++
		seller := sellerOf(e)
		info := table.Lookup(seller, a.Model)
		p, priced := info.Price(pricedAt, a.Service)
		if !info.Priced {
			counted["of a model without a price"]++
			unpriced[seller+"/"+a.Model]++
			continue
		}
		row := rowOf(rows, seller, a.Model)
		if row == nil {
			if info.Table != "local" {
				t.Errorf("%s: %s/%s is priced by %s and not in its file", e.Name, seller, a.Model, info.Table)
			}
			counted["of a model that runs here"]++
			continue
		}
		cost, known, err := row.cost(want, a.Service)
		if err != nil || known != priced {
			t.Errorf("%s: %s %q priced %t, and again %t (%v)", e.Name, a.Model, a.Service, priced, known, err)
			continue
		}
		if !priced {
			counted["of a service tier without a price: "+a.Service]++
			continue
		}
		if got := p.Cost(a.Usage); got != cost {
			t.Errorf("%s: %s costs %s, and again %s", e.Name, a.Model, got, cost)
		}
		total += cost
		if a.Usage.Searches > 0 && p.RatesFor(a.Usage.Prompt()).Searches == 0 {
			counted["answers with searches that "+e.Provider+" bills and the table has no rate for"]++
		}
		if said := reported(a.RawUsage); said != nil {
			key := "costs that " + e.Provider + " names itself: "
			if apart := new(big.Rat).Sub(said, big.NewRat(int64(cost), 1)); apart.Abs(apart).Cmp(big.NewRat(1, 1)) <= 0 {
				counted[key+"ours are the same"]++
			} else {
				counted[key+"ours are others, by today's prices"]++
			}
		}
		counted["answers whose cost agrees"]++
		if len(a.Beside) > 0 {
			counted["of them estimated, because something is reported beside"]++
		}
	}
	var b strings.Builder
	fmt.Fprintf(&b, "At the prices of %s, for %s:\n\n", table.Name(), pricedAt.Format(time.DateTime))
	for _, k := range slices.Sorted(maps.Keys(counted)) {
		fmt.Fprintf(&b, "%6d %s\n", counted[k], k)
	}
	fmt.Fprintf(&b, "\n%s in all\n\nWithout a price\n", total)
	for _, k := range slices.Sorted(maps.Keys(unpriced)) {
		fmt.Fprintf(&b, "%6d %s\n", unpriced[k], k)
	}
	golden(t, "costs.txt", b.String())
}

// reported is the cost that a provider puts into its usage, in nano-dollars: dollars
// (OpenRouter, Avian) or ticks of 10⁻¹⁰ dollars (xAI). Nothing is decided by it, it
// says how far the prices of the table are those of the recordings.
func reported(raw json.RawMessage) *big.Rat {
	var u struct {
		Cost  json.Number `json:"cost"`
		Ticks json.Number `json:"cost_in_usd_ticks"`
	}
	if json.Unmarshal(raw, &u) != nil {
		return nil
	}
	if r, ok := new(big.Rat).SetString(u.Ticks.String()); ok {
		return r.Quo(r, big.NewRat(10, 1))
	}
	if r, ok := new(big.Rat).SetString(u.Cost.String()); ok && r.Sign() > 0 {
		return r.Mul(r, big.NewRat(1_000_000_000, 1))
	}
	return nil
}

func bucketsOf(u cairn.Usage) buckets {
	b := buckets{
		"input": u.Input, "cache_read": u.CacheRead, "cache_write_5m": u.CacheWrite5m, "cache_write_1h": u.CacheWrite1h,
		"output": u.Output, "input_audio": u.InputAudio, "output_audio": u.OutputAudio, "searches": u.Searches,
	}
	maps.DeleteFunc(b, func(_ string, n int64) bool { return n == 0 })
	return b
}

// sellerOf is whose prices hold: the table has other names for some.
func sellerOf(e *traffic.Exchange) string {
	switch e.Provider {
	case "vertex", "google-vertex":
		return "google"
	case "bedrock":
		return "aws"
	}
	return e.Provider
}

// rowOf finds a model in the file: by its name, or by its name without the date at
// its end, with the provider or with those whose models it sells.
func rowOf(rows map[string]*tableRow, provider, model string) *tableRow {
	sellers := map[string][]string{
		"xai": {"x-ai"}, "azure": {"azure", "openai", "anthropic", "deepseek", "x-ai", "moonshotai"}, "google": {"google", "anthropic"},
	}[provider]
	if sellers == nil {
		sellers = []string{provider}
	}
	model = strings.ToLower(model)
	if name, behind, ok := strings.Cut(model, ":"); ok && provider == "huggingface" {
		sellers, model = []string{"huggingface_" + behind}, name
	}
	for _, who := range sellers {
		for _, r := range rows {
			if r.Provider == who && (strings.EqualFold(r.ID, model) || slices.ContainsFunc(r.Names, func(n string) bool { return strings.EqualFold(n, model) })) {
				return r
			}
		}
	}
	for _, who := range sellers {
		for _, r := range rows {
			for _, n := range slices.Concat([]string{r.ID}, r.Names, r.Families) {
				rest, ok := strings.CutPrefix(model, strings.ToLower(n))
				if date := strings.TrimLeft(rest, "-@"); r.Provider == who && ok && rest != date && isDate(date) {
					return r
				}
			}
		}
	}
	return nil
}

func isDate(s string) bool {
	for _, layout := range []string{"2006-01-02", "20060102"} {
		if _, err := time.Parse(layout, s); err == nil {
			return true
		}
	}
	return false
}
