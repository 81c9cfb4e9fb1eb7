package price

import (
	"bytes"
	_ "embed" // the table
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/cairn-run/cairn"
)

// Table is what is known of models. It does not change.
type Table struct {
	name    string
	fetched time.Time
	// providers by the table's own names; fallback names those whose models a
	// provider sells.
	providers map[string]*provider
	fallback  map[string][]string
	highest   cairn.Rates
	under     *Table // what this one lies over; nil: nothing
	as        map[string]string
}

// provider is the part of a table that one provider has.
type provider struct {
	names    map[string]*Row // lower case
	families map[string]*Row
	highest  cairn.Rates
}

//go:embed genai-prices.json
var embedded []byte

// Embedded is the table that is built in.
var Embedded = sync.OnceValue(func() *Table {
	t, err := Parse(embedded)
	if err != nil {
		panic("price: the table that is built in: " + err.Error()) // a test holds that it is sound
	}
	return t
})

// Parse reads a table as scripts/prices writes it.
func Parse(data []byte) (*Table, error) {
	var doc struct {
		Source   string              `json:"source"`
		Version  string              `json:"version"`
		Fetched  string              `json:"fetched"`
		SHA256   string              `json:"sha256"` // of the source
		Fallback map[string][]string `json:"fallback"`
		Models   []Row               `json:"models"`
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(&doc); err != nil {
		return nil, fmt.Errorf("price table: %w", err)
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, fmt.Errorf("price table: something follows it")
	}
	at, err := time.Parse(time.DateOnly, doc.Fetched)
	if err != nil || doc.Source == "" {
		return nil, fmt.Errorf("price table: its source and the date of it are missing")
	}
	t := &Table{name: fmt.Sprintf("%s %s (%s)", doc.Source, doc.Version, doc.Fetched), fetched: at, fallback: doc.Fallback}
	if err := t.add(doc.Models); err != nil {
		return nil, fmt.Errorf("price table: %w", err)
	}
	return t, nil
}

// add fills an empty table.
func (t *Table) add(rows []Row) error {
	t.providers = map[string]*provider{}
	for i := range rows {
		r := &rows[i]
		if err := r.validate(); err != nil {
			return err
		}
		p := t.providers[r.Provider]
		if p == nil {
			p = &provider{names: map[string]*Row{}, families: map[string]*Row{}}
			t.providers[r.Provider] = p
		}
		p.highest = r.highest(p.highest)
		t.highest = r.highest(t.highest)
		if err := claim(p.names, r, append([]string{r.Model}, r.Names...)); err != nil {
			return err
		}
		if err := claim(p.families, r, r.Families); err != nil {
			return err
		}
	}
	return nil
}

// claim gives names to a row.
func claim(to map[string]*Row, r *Row, names []string) error {
	for _, n := range names {
		n = strings.ToLower(n)
		if other := to[n]; other != nil && other != r {
			return fmt.Errorf("%s/%s and %s/%s are both called %q", r.Provider, r.Model, r.Provider, other.Model, n)
		}
		to[n] = r
	}
	return nil
}

// Name names the table and its date.
func (t *Table) Name() string { return t.name }

// Fetched is the day on which the prices were taken from their source. A price
// that holds from a later day on was announced, and may have been cancelled since.
func (t *Table) Fetched() time.Time {
	if t.under != nil {
		return t.under.Fetched()
	}
	return t.fetched
}

// Overlay lays rows over the table, under a name of their own: they win over it.
// The table stays as it was.
func (t *Table) Overlay(name string, rows []Row) (*Table, error) {
	if len(rows) == 0 {
		return t, nil
	}
	over := &Table{name: name, under: t}
	rows = slices.Clone(rows)
	for i := range rows {
		rows[i].Provider = tableName(rows[i].Provider)
	}
	if err := over.add(rows); err != nil {
		return nil, err
	}
	return over, nil
}

// localProviders run on machines of the user's own: what their models write is free.
var localProviders = []string{"llamacpp", "lmstudio", "ollama", "vllm"}

// localTable is the name of the table that says so.
const localTable = "local"

// tableName is what the table calls a provider.
func tableName(provider string) string {
	if provider == "xai" {
		return "x-ai"
	}
	return provider
}

// route finds the provider behind a router's name for a model: that of Hugging
// Face may name it after a colon, and the table has a list for each.
func route(provider, model string) (string, string) {
	const router = "huggingface"
	if name, behind, ok := strings.Cut(model, ":"); provider == router && ok {
		return router + "_" + behind, name
	}
	return tableName(provider), model
}

// As returns the table with other names for providers: what it does not have under
// one of these names it looks for under the name beside it.
func (t *Table) As(names map[string]string) *Table {
	other := *t
	other.as = maps.Clone(names)
	return &other
}

// Lookup says what is known of a model, by its provider's name in model names and
// the provider's own name for it. Case does not count.
//
// A model that is not in the table is not Priced: its Prices are the highest of its
// provider, or of all providers if that is not known either, so that a reservation
// holds.
func (t *Table) Lookup(provider, model string) cairn.ModelInfo {
	info := cairn.ModelInfo{Name: model, Provider: provider, Table: t.baseName()}
	who, name := t.where(provider, strings.ToLower(model))
	for l := t; l != nil; l = l.under {
		// What lies on top wins, but a name that is exact further down is meant.
		r, dated := l.find(who, name)
		if r == nil || dated && l.under != nil && l.under.has(who, name) {
			continue
		}
		if info.Prices == nil {
			info.Prices, info.Priced, info.Table = r.Prices, len(r.Also) == 0, l.name
		}
		info.Window, info.MaxOutput = firstOf(info.Window, r.Window), firstOf(info.MaxOutput, r.MaxOutput)
	}
	if info.Prices != nil {
		return info
	}
	if (slices.Contains(localProviders, provider) || slices.Contains(localProviders, t.as[provider])) && !remote(name) {
		info.Prices, info.Priced, info.Table = cairn.Flat(cairn.Rates{}), true, localTable
		return info
	}
	info.Prices = cairn.Flat(t.most(who))
	return info
}

// where lists the names under which the table may have a provider's models: its
// own, the one beside it, and those of the providers whose models they sell.
func (t *Table) where(provider, model string) (who []string, name string) {
	own, name := route(provider, model)
	who = append(who, own)
	if as, ok := t.as[provider]; ok {
		own, name = route(as, model)
		who = append(who, own)
	}
	for _, p := range who {
		who = append(who, t.sells(p)...)
	}
	return who, name
}

// remote says that Ollama runs a model on its own machines, and bills it
// (https://docs.ollama.com/cloud).
func remote(name string) bool {
	return strings.HasSuffix(name, ":cloud") || strings.HasSuffix(name, "-cloud")
}

// find looks for a model in this layer alone, in one provider's list after the
// other; dated says that it found the model without its date.
func (t *Table) find(who []string, name string) (r *Row, dated bool) {
	base, hasDate := undated(name)
	for _, w := range who {
		p := t.providers[w]
		switch {
		case p == nil:
		case p.names[name] != nil:
			return p.names[name], false
		case !hasDate:
		case p.names[base] != nil:
			return p.names[base], true
		case p.families[base] != nil:
			return p.families[base], true
		}
	}
	return nil, false
}

// has says whether the table, or one below it, has exactly this name.
func (t *Table) has(who []string, name string) bool {
	for l := t; l != nil; l = l.under {
		if r, dated := l.find(who, name); r != nil && !dated {
			return true
		}
	}
	return false
}

func (t *Table) sells(who string) []string {
	if t.under != nil {
		return t.under.sells(who)
	}
	return t.fallback[who]
}

func (t *Table) baseName() string {
	if t.under != nil {
		return t.under.baseName()
	}
	return t.name
}

// most is the highest that any of these providers takes for anything; if none is
// known, the highest of all.
func (t *Table) most(who []string) cairn.Rates {
	var most, all cairn.Rates
	known := false
	for l := t; l != nil; l = l.under {
		all = dearer(all, l.highest)
		for name, p := range l.providers {
			router, _, _ := strings.Cut(name, "_") // huggingface_groq
			if slices.Contains(who, name) || slices.Contains(who, router) {
				most, known = dearer(most, p.highest), true
			}
		}
	}
	if !known {
		return all
	}
	return most
}

// Providers are those the table has, sorted.
func (t *Table) Providers() []string {
	all := map[string]bool{}
	for l := t; l != nil; l = l.under {
		for name := range l.providers {
			all[name] = true
		}
	}
	return slices.Sorted(maps.Keys(all))
}

func firstOf(a, b int64) int64 {
	if a != 0 {
		return a
	}
	return b
}
