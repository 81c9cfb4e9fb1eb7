package cli

import (
	"cmp"
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/model/price"
	"github.com/cairn-run/cairn/node"
)

// modelsFlags are the flags of models.
type modelsFlags struct {
	all, prices, circuits bool
}

func (a *app) modelsCommand() *cobra.Command {
	var f modelsFlags
	c := &cobra.Command{
		Use:   "models [PROVIDER]",
		Short: "List the model providers and the models that can be reached, with window and price",
		Long: "models says of every provider whether there is a key for it and whether it answers, and lists the models of\n" +
			"those that do, with their window and their price for a million tokens. It asks the providers themselves, each\n" +
			"for 5 seconds at most, and needs no server. A model whose price is not known is unpriced, never free: its calls are\n" +
			"accounted at what was reserved for them. Keys are never shown.",
		Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			name := ""
			if len(args) == 1 {
				name = args[0]
			}
			if f.circuits {
				return a.circuits(c.Context(), name)
			}
			return a.models(c.Context(), name, f)
		},
	}
	c.Flags().BoolVar(&f.all, "all", false, "all models of every provider, not the first few")
	c.Flags().BoolVar(&f.prices, "prices", false, "all prices of each model: dates, service tiers, hours, long prompts")
	c.Flags().BoolVar(&f.circuits, "circuits", false, "instead, which models failed lately in the process that runs, and which are not called for a while")
	c.Flags().StringVar(&a.providers, "providers", "", providersHelp)
	return c
}

// Bounds of what models shows.
const (
	// fewModels is how many models of a provider are shown when more were not asked for.
	fewModels = 12
	// oldTable is the age from which prices should be looked at again.
	oldTable = 30 * 24 * time.Hour
)

// reach says how a provider is.
type reach string

const (
	reachReady   reach = "ready"
	reachNoKey   reach = "no key"
	reachBadKey  reach = "key unusable" // it is kept somewhere and cannot be had
	reachRefused reach = "key refused"
	reachDown    reach = "not running" // a local server
	reachAway    reach = "unreachable"
	reachNoList  reach = "no list" // it answers, and does not say which models it has
	reachUnset   reach = "not set up"
)

// providerLine is one provider as models prints it with --json.
type providerLine struct {
	*node.Provider
	State   reach             `json:"state"`
	Key     string            `json:"key,omitzero"`     // the reference under which the key was found
	Problem string            `json:"problem,omitzero"` // of a state that is not ready
	Code    cairn.Code        `json:"code,omitzero"`
	Models  []cairn.ModelInfo `json:"models,omitempty"`
}

func (a *app) models(ctx context.Context, name string, f modelsFlags) error {
	ctx, stop := a.interruptible(ctx)
	defer stop()
	found, err := node.OpenProviders(node.ProviderOptions{Dir: a.data, File: a.providers, Getenv: a.Getenv})
	if err != nil {
		return err
	}
	all := found.All()
	if name != "" {
		all = slices.DeleteFunc(all, func(p *node.Provider) bool { return p.Name != name })
		if len(all) == 0 {
			return noProvider(name, found.All())
		}
		f.all = true
	}
	if len(all) == 0 && !a.json {
		a.note("no model providers: env is false, and none is named in %s", cmp.Or(a.providers, filepath.Join(a.data, node.ProvidersFile)))
	}
	lines := askAll(ctx, all)
	if err := interrupted(ctx, ctx.Err()); err != nil {
		return err
	}
	if a.json {
		for _, l := range lines {
			if err := a.printJSON(l); err != nil {
				return err
			}
		}
	} else {
		a.printProviders(lines)
		a.printModels(lines, f, found.Table())
		a.adviseOn(lines, found.Table())
	}
	if name == "" {
		return nil
	}
	switch l := lines[0]; l.State {
	case reachReady, reachNoList:
		return nil
	case reachDown:
		return cairn.Errorf(l.Code, "%s is not running at %s: start it, or say where it is (%s): %s", l.Name, l.Host(), whereabouts(l.Provider), l.Problem)
	default:
		return cairn.Errorf(l.Code, "%s: %s: %s", l.Name, l.State, l.Problem)
	}
}

// whereabouts says where the address of a local server is set.
func whereabouts(p *node.Provider) string {
	switch p.Name {
	case "ollama":
		return "OLLAMA_HOST"
	case "llamacpp", "lmstudio", "vllm":
		return strings.ToUpper(p.Name) + "_URL"
	}
	return node.ProvidersFile
}

func noProvider(name string, all []*node.Provider) error {
	var names []string
	for _, p := range all {
		names = append(names, p.Name)
	}
	return cairn.Errorf(cairn.CodeNotFound, "no model provider is called %q; there is: %s", name, strings.Join(names, ", "))
}

// askAll asks all providers at once.
func askAll(ctx context.Context, all []*node.Provider) []providerLine {
	lines := make([]providerLine, len(all))
	var group sync.WaitGroup
	for i, p := range all {
		group.Go(func() { lines[i] = askProvider(ctx, p) })
	}
	group.Wait()
	return lines
}

func askProvider(ctx context.Context, p *node.Provider) providerLine {
	l := providerLine{Provider: p, State: reachReady}
	key, err := p.Key(ctx)
	if err != nil {
		l.State, l.Problem, l.Code = reachBadKey, message(err), cairn.CodeOf(err)
		if key == "" || strings.HasPrefix(key, "env:") {
			l.State = reachNoKey
		}
		return l
	}
	l.Key = key
	if l.Models, err = p.Models(ctx); err != nil {
		l.State, l.Problem, l.Code = reachOf(p, err), message(err), cairn.CodeOf(err)
		return l
	}
	for i := range l.Models {
		m := &l.Models[i]
		m.Provider, m.Name = p.Name, p.Name+"/"+m.Name
	}
	slices.SortFunc(l.Models, func(a, b cairn.ModelInfo) int { return strings.Compare(a.Name, b.Name) })
	return l
}

// reachOf names what an error says of a provider that was asked.
func reachOf(p *node.Provider, err error) reach {
	switch code := cairn.CodeOf(err); {
	case !strings.HasPrefix(p.URL, "http://") && !strings.HasPrefix(p.URL, "https://"):
		return reachUnset
	case code == cairn.CodeAuth, code == cairn.CodeDenied:
		return reachRefused
	case code == cairn.CodeInvalid, code == cairn.CodeNotFound, code == cairn.CodeCut:
		return reachNoList
	case p.Local:
		return reachDown
	}
	return reachAway
}

func (a *app) printProviders(lines []providerLine) {
	t := table{head: []string{"PROVIDER", "STATE", "MODELS", "WHERE", "KEY"}, right: map[int]bool{2: true}}
	for _, l := range lines {
		state, models, key := string(l.State), "", l.Key
		switch l.State {
		case reachReady:
			state, models = a.out.green(state), count(int64(len(l.Models)))
		case reachNoKey:
			state, key = a.out.dim(state), a.out.dim(keysOf(l.Provider))
		case reachDown, reachUnset:
			state = a.out.dim(state)
		case reachNoList:
			state = a.out.yellow(state)
		default:
			state = a.out.red(state)
		}
		if key == "" && len(l.Keys) == 0 {
			key = a.out.dim("none needed")
		}
		t.add(word(l.Name), state, models, oneLine(l.Host(), 48), key)
	}
	t.print(a.Stdout, a.out)
}

// keysOf says where a key would be looked for: the variables, which are also the
// names under which keys are stored.
func keysOf(p *node.Provider) string {
	var names []string
	for _, k := range p.Keys {
		if len(p.Keys) == 1 || strings.HasPrefix(k, "env:") {
			names = append(names, strings.TrimPrefix(k, "env:"))
		}
	}
	return oneLine(strings.Join(names, " or "), 60)
}

func (a *app) printModels(lines []providerLine, f modelsFlags, prices *price.Table) {
	t := table{
		head:  []string{"MODEL", "WINDOW", "IN", "CACHED", "OUT", "PRICE"},
		right: map[int]bool{1: true, 2: true, 3: true, 4: true},
	}
	var more []string
	for _, l := range lines {
		for i := range l.Models {
			m := &l.Models[i]
			if i == fewModels && !f.all {
				more = append(more, fmt.Sprintf("%s of %s", count(int64(len(l.Models)-i)), l.Name))
				break
			}
			window := "?"
			if m.Window > 0 {
				window = count(m.Window)
			}
			a.priceRows(&t, m, window, f.prices, prices)
		}
	}
	if len(t.rows) == 0 {
		return
	}
	fmt.Fprintln(a.Stdout)
	t.print(a.Stdout, a.out)
	if len(more) > 0 {
		a.note("not shown: %s; --all shows them", strings.Join(more, ", "))
	}
}

// priceRows adds a model to the table: the price of now, or all.
func (a *app) priceRows(t *table, m *cairn.ModelInfo, window string, every bool, prices *price.Table) {
	name := oneLine(m.Name, 64)
	now := a.Now()
	if !m.Priced {
		t.add(name, window, "", "", "", a.out.yellow("unpriced"))
		return
	}
	if !every {
		p, ok := m.Price(now, "")
		if !ok {
			t.add(name, window, "", "", "", a.out.yellow("unpriced"))
			return
		}
		t.add(name, window, dollars(p.Rates.Input), dollars(p.Rates.CacheRead), dollars(p.Rates.Output), priceNote(m, p, now, prices))
		return
	}
	for i := range m.Prices {
		p := &m.Prices[i]
		t.add(name, window, dollars(p.Rates.Input), dollars(p.Rates.CacheRead), dollars(p.Rates.Output), priceNote(m, p, now, prices))
		name, window = "", ""
		for _, above := range p.Above {
			t.add("", "", dollars(above.Rates.Input), dollars(above.Rates.CacheRead), dollars(above.Rates.Output), "prompts above "+count(above.Prompt))
		}
	}
}

// priceNote says of a price when it holds and where it is from.
func priceNote(m *cairn.ModelInfo, p *cairn.Price, now time.Time, prices *price.Table) string {
	var notes []string
	if p.Service != "" {
		notes = append(notes, oneLine(p.Service, 20))
	}
	if !p.From.IsZero() {
		text := "since " + p.From.Format(time.DateOnly)
		if p.From.After(now) {
			text = "from " + p.From.Format(time.DateOnly)
			if p.From.After(prices.Fetched()) {
				text += ", announced"
			}
		}
		notes = append(notes, text)
	}
	if p.Start != 0 || p.End != 0 {
		clock := func(d cairn.Duration) string { return time.Time{}.Add(time.Duration(d)).Format("15:04") }
		notes = append(notes, clock(p.Start)+" to "+clock(p.End)+" UTC")
	}
	if len(p.Above) > 0 {
		notes = append(notes, "more above "+count(p.Above[0].Prompt))
	}
	if m.Table != prices.Name() && m.Table != "" && !strings.HasPrefix(m.Table, "genai-prices ") {
		notes = append(notes, oneLine(m.Table, 40))
	}
	return strings.Join(notes, ", ")
}

// dollars prints a rate for a million tokens.
func dollars(m cairn.Money) string {
	if m == 0 {
		return "free"
	}
	return m.String()
}

// adviseOn says what a person should know or do. What is wrong with the one
// provider that was asked for is the command's error.
func (a *app) adviseOn(lines []providerLine, prices *price.Table) {
	ready := false
	for _, l := range lines {
		switch l.State {
		case reachReady:
			ready = true
		case reachNoList:
			ready = true
			a.note("%s does not say which models it has: %s", l.Name, oneLine(l.Problem, 300))
		case reachBadKey, reachRefused, reachAway, reachUnset:
			if len(lines) > 1 {
				a.note("%s: %s", l.Name, oneLine(l.Problem, 300))
			}
		}
	}
	if !ready && len(lines) > 1 {
		a.note("no model can be reached. Store a key: cairn keys set ANTHROPIC_API_KEY (or OPENAI_API_KEY, GEMINI_API_KEY, …);\n" +
			"or run a model on this machine: start Ollama (https://ollama.com), then ollama pull qwen3:4b;\n" +
			"script models need neither: docs/script-model.md")
	}
	if age := a.Now().Sub(prices.Fetched()); age > oldTable {
		a.note("the prices are those of %s, %s ago: prices may have changed; a newer release of cairn has newer ones, and providers.yaml can correct them",
			prices.Fetched().Format(time.DateOnly), plural(int(age.Hours()/24), "day"))
	} else {
		a.note("prices for a million tokens, of %s", prices.Fetched().Format(time.DateOnly))
	}
}
