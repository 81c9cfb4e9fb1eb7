package node

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/internal/yamltree"
	"github.com/cairn-run/cairn/model/price"
	"github.com/cairn-run/cairn/model/wire"
	"github.com/cairn-run/cairn/vault"
)

// Bounds of a providers file.
const (
	maxProvidersFile = 1 << 20 // bytes
	maxNesting       = 32
)

// providersFile is providers.yaml; docs/providers.md describes it.
type providersFile struct {
	// Env says whether providers that the file does not name are there, too; default true.
	Env       *bool                   `yaml:"env"`
	Providers map[string]providerSpec `yaml:"providers"`
	Prices    []priceSpec             `yaml:"prices"`
}

// providerSpec is one provider. Of one that is built in, what is not given stays.
type providerSpec struct {
	API       string            `yaml:"api"`
	URL       string            `yaml:"url"`
	Key       string            `yaml:"key"`
	KeyHeader string            `yaml:"key_header"`
	Headers   map[string]string `yaml:"headers"`
	Query     map[string]string `yaml:"query"`
	Stream    *bool             `yaml:"stream"`
	// Cap names the member of chat that caps the output, and Extra are members that
	// are added to every request; both of chat and responses only.
	Cap   string         `yaml:"cap"`
	Extra map[string]any `yaml:"extra"`
	// PricedAs names the provider whose prices hold. Local: its models are free.
	PricedAs string `yaml:"priced_as"`
	Local    bool   `yaml:"local"`
}

// priceSpec is one price of a model, in dollars for a million tokens.
type priceSpec struct {
	Provider  string      `yaml:"provider"`
	Model     string      `yaml:"model"`
	Names     []string    `yaml:"names"`
	Window    int64       `yaml:"window"`
	MaxOutput int64       `yaml:"max_output"`
	From      string      `yaml:"from"`
	Service   string      `yaml:"service"`
	Rates     rateSpec    `yaml:",inline"`
	Above     []aboveSpec `yaml:"above"`
}

type aboveSpec struct {
	Prompt int64    `yaml:"prompt"`
	Rates  rateSpec `yaml:",inline"`
}

type rateSpec struct {
	Input        *dollars `yaml:"input"`
	CacheRead    *dollars `yaml:"cache_read"`
	CacheWrite5m *dollars `yaml:"cache_write_5m"`
	CacheWrite1h *dollars `yaml:"cache_write_1h"`
	Output       *dollars `yaml:"output"`
	InputAudio   *dollars `yaml:"input_audio"`
	OutputAudio  *dollars `yaml:"output_audio"`
	Searches     *dollars `yaml:"searches"` // for a thousand, as providers write it
}

// dollars is an amount that is written like $2.50.
type dollars cairn.Money

// UnmarshalYAML implements the interface of goccy/go-yaml.
func (d *dollars) UnmarshalYAML(n ast.Node) error {
	s, ok := n.(*ast.StringNode)
	if !ok || !strings.HasPrefix(s.Value, "$") {
		return &yamltree.Error{At: yamltree.At(n.GetToken()), Problem: "expected dollars for a million tokens, like $2.50"}
	}
	m, err := cairn.ParseMoney(s.Value)
	if err != nil {
		return &yamltree.Error{At: yamltree.At(n.GetToken()), Problem: err.Error()}
	}
	*d = dollars(m)
	return nil
}

// pathError is a problem of a value that was read, by the names that lead to it.
type pathError struct {
	path    []any // names of fields, and places in lists
	problem string
}

func (p *pathError) Error() string { return p.problem }

// fileErrorf is what is wrong with a providers file, and where. The line itself is
// not shown: somebody may have written a key there.
func fileErrorf(file string, at yamltree.Place, format string, args ...any) error {
	where := file
	if at.Line > 0 {
		where = fmt.Sprintf("%s:%d:%d", file, at.Line, at.Column)
	}
	return &cairn.Error{Code: cairn.CodeInvalid, NotDone: true, Message: where + ": " + fmt.Sprintf(format, args...)}
}

// readProviders reads a providers file; nil: there is none and none was asked for.
func readProviders(path string, asked bool) (*providersFile, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) && !asked {
		return nil, nil //nolint:nilnil // no file is a good answer
	}
	if err != nil {
		return nil, fmt.Errorf("providers: %w", err)
	}
	defer func() { _ = f.Close() }() // nothing was written to it
	data, err := io.ReadAll(io.LimitReader(f, maxProvidersFile+1))
	if err != nil {
		return nil, fmt.Errorf("providers: %w", err)
	}
	if len(data) > maxProvidersFile {
		return nil, fileErrorf(path, yamltree.Place{}, "larger than %d bytes", maxProvidersFile)
	}
	return parseProviders(path, data)
}

// parseProviders reads a file strictly.
func parseProviders(name string, data []byte) (*providersFile, error) {
	docs, bad := yamltree.Parse(string(data), yamltree.Options{Depth: maxNesting, Columns: 80 * maxNesting})
	switch {
	case bad != nil:
		return nil, yamlError(name, bad)
	case len(docs) == 0:
		return &providersFile{}, nil
	case len(docs) > 1:
		return nil, fileErrorf(name, yamltree.At(docs[1].Body.GetToken()), "a second YAML document: a file holds one")
	}
	root := docs[0].Root
	if bad := root.Find(func(n *yamltree.Node) bool { return n.Kind >= yamltree.Anchor && n.Kind <= yamltree.Tag }); bad != nil {
		return nil, fileErrorf(name, bad.At, "anchors, aliases and tags cannot be used here: write the value out")
	}
	var f providersFile
	if err := yaml.NodeToValue(docs[0].Body, &f, yaml.Strict()); err != nil {
		return nil, yamlError(name, err)
	}
	if bad := f.validate(); bad != nil {
		return nil, fileErrorf(name, locate(root, bad.path), "%s", bad.problem)
	}
	return &f, nil
}

// yamlError takes the place and the problem out of an error of the parser, and
// leaves the text of the file.
func yamlError(name string, err error) error {
	bad, ok := errors.AsType[*yamltree.Error](err)
	if !ok {
		bad = &yamltree.Error{}
		if e, ok := errors.AsType[yaml.Error](err); ok {
			bad = &yamltree.Error{At: yamltree.At(e.GetToken()), Problem: e.GetMessage()}
		}
	}
	if bad.At.Line == 0 {
		return fileErrorf(name, bad.At, "not YAML")
	}
	return fileErrorf(name, bad.At, "%s", unquoted(bad.Problem))
}

var quoted = regexp.MustCompile(`"[^"]*"`)

// unquoted leaves out what a message quotes, unless it can only be the name of a
// field.
func unquoted(message string) string {
	return quoted.ReplaceAllStringFunc(message, func(s string) string {
		if fieldName.MatchString(s) {
			return s
		}
		return "(not shown)"
	})
}

// locate finds where a path leads, or as far as it leads.
func locate(n *yamltree.Node, path []any) yamltree.Place {
	at := n.At
	for _, step := range path {
		var next *yamltree.Node
		switch step := step.(type) {
		case string:
			for _, f := range n.Fields {
				if f.Name == step {
					at, next = f.At, f.Value
				}
			}
		case int:
			if step < len(n.Items) {
				next = n.Items[step]
				at = next.At
			}
		}
		if next == nil {
			break
		}
		n = next
	}
	return at
}

var (
	providerName = regexp.MustCompile(`^[a-z][a-z0-9_-]{0,31}$`)
	fieldName    = regexp.MustCompile(`^"[a-z_]{1,20}"$`)
	// headerName is a token of RFC 9110, 5.6.2.
	headerName = regexp.MustCompile("^[A-Za-z0-9!#$%&'*+.^_`|~-]+$")
	// credentialName and credentialValue are how what belongs under key looks; a short
	// value, or one of words, is something else.
	credentialName  = regexp.MustCompile(`(?i)(key|token|secret|auth|authorization|password|cookie|signature|credential)s?$`)
	credentialValue = regexp.MustCompile(`^((?i:bearer|basic) +)?[!-~]{16,}$`)
	apis            = []string{apiChat, apiResponses, apiMessages, apiGoogle}
)

// validate says what is wrong with what was read.
func (f *providersFile) validate() *pathError {
	for _, name := range sortedKeys(f.Providers) {
		if bad := f.Providers[name].validate(name); bad != nil {
			bad.path = append([]any{"providers", name}, bad.path...)
			return bad
		}
	}
	for i, p := range f.Prices {
		_, err := p.price()
		if err == nil {
			one := providersFile{Prices: []priceSpec{p}}
			_, err = price.Embedded().Overlay("", one.rows())
		}
		if err != nil {
			return &pathError{[]any{"prices", i}, err.Error()}
		}
	}
	if _, err := price.Embedded().Overlay("", f.rows()); err != nil {
		return &pathError{[]any{"prices"}, err.Error()}
	}
	return f.sellers()
}

// sellers says where a name is wrong whose prices are to hold: a slip would leave
// others in force.
func (f *providersFile) sellers() *pathError {
	sold := price.Embedded().Providers()
	for _, k := range knownProviders {
		sold = append(sold, k.name)
	}
	sold = slices.AppendSeq(sold, maps.Keys(f.Providers))
	for _, p := range f.Prices {
		sold = append(sold, p.Provider)
	}
	const nobody = "no provider of this file or of the price table has this name"
	for _, name := range sortedKeys(f.Providers) {
		if as := f.Providers[name].PricedAs; as != "" && !slices.Contains(sold, as) {
			return &pathError{[]any{"providers", name, "priced_as"}, nobody}
		}
	}
	known := sold[:len(sold)-len(f.Prices)]
	for _, one := range f.Providers {
		known = append(known, one.PricedAs)
	}
	for i, p := range f.Prices {
		if !slices.Contains(known, p.Provider) {
			return &pathError{[]any{"prices", i, "provider"}, nobody}
		}
	}
	return nil
}

func (p providerSpec) validate(name string) *pathError {
	known, builtIn := knownProvider(name)
	switch {
	case !providerName.MatchString(name):
		return &pathError{nil, "a provider's name has small letters, digits, - and _, and begins with a letter"}
	case name == "script":
		return &pathError{nil, "script is the provider of scripted models: choose another name"}
	case p.API != "" && !slices.Contains(apis, p.API):
		return &pathError{[]any{"api"}, "expected one of " + strings.Join(apis, ", ")}
	case p.API != "" && builtIn && p.URL == "" && (p.API == apiMessages || p.API == apiGoogle || known.api == apiMessages || known.api == apiGoogle) && p.API != known.api:
		return &pathError{[]any{"api"}, fmt.Sprintf("%s speaks %s", name, known.api)}
	case p.Cap != "" && p.Cap != "max_tokens" && p.Cap != "max_completion_tokens":
		return &pathError{[]any{"cap"}, "expected max_tokens or max_completion_tokens"}
	case len(p.Extra) > 0 && p.extra() == nil:
		return &pathError{[]any{"extra"}, "expected what JSON can hold"}
	case (p.Cap != "" || len(p.Extra) > 0) && slices.Contains([]string{apiMessages, apiGoogle}, cmp.Or(p.API, known.api)):
		return &pathError{nil, "cap and extra are for chat and responses only"}
	case p.URL == "" && !builtIn:
		return &pathError{nil, fmt.Sprintf("%s is not built in: give its url", name)}
	}
	if p.URL != "" {
		u, err := url.Parse(p.URL)
		switch {
		case err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https":
			return &pathError{[]any{"url"}, "expected http:// or https://, a host and a path"}
		case u.User != nil || u.RawQuery != "" || u.Fragment != "":
			return &pathError{[]any{"url"}, "a URL without a user, a query and a fragment: put them under key and query"}
		}
	}
	if p.Key != "" {
		if _, err := vault.ParseRef(p.Key); err != nil {
			return &pathError{[]any{"key"}, cairn.AsError(err).Message}
		}
	}
	if p.KeyHeader != "" && !headerName.MatchString(p.KeyHeader) {
		return &pathError{[]any{"key_header"}, "expected the name of a header"}
	}
	for _, h := range sortedKeys(p.Headers) {
		if strings.EqualFold(h, "Authorization") || strings.EqualFold(h, "X-Api-Key") || strings.EqualFold(h, "Api-Key") || strings.EqualFold(h, "X-Goog-Api-Key") ||
			credentialName.MatchString(h) && credentialValue.MatchString(p.Headers[h]) {
			return &pathError{[]any{"headers", h}, "a credential belongs under key, as a reference; key_header names its header"}
		}
		if !headerName.MatchString(h) || strings.ContainsFunc(p.Headers[h], unicode.IsControl) {
			return &pathError{[]any{"headers", h}, "expected the name of a header, and a value of one line"}
		}
	}
	for _, q := range sortedKeys(p.Query) {
		if credentialName.MatchString(q) && credentialValue.MatchString(p.Query[q]) {
			return &pathError{[]any{"query", q}, "a credential belongs under key, as a reference; key_header names its header"}
		}
	}
	return nil
}

// extra are the added members as JSON, in the order of their names; nil: there are
// none, or they are no JSON.
func (p providerSpec) extra() json.RawMessage {
	if len(p.Extra) == 0 {
		return nil
	}
	b, err := wire.Encode(p.Extra)
	if err != nil {
		return nil
	}
	return b
}

// price is the price of one entry. What has no rate of its own has that of the
// tokens around it, as in the table.
func (p priceSpec) price() (cairn.Price, error) {
	out := cairn.Price{Service: p.Service}
	switch {
	case p.Provider == "" || p.Model == "":
		return out, errors.New("a price is for a provider and a model: give both")
	case p.Rates.Input == nil || p.Rates.Output == nil:
		return out, errors.New("a price has an input and an output, for a million tokens")
	}
	if p.From != "" {
		at, err := time.Parse(time.DateOnly, p.From)
		if err != nil {
			return out, errors.New("from is a day like 2026-12-31")
		}
		out.From = at
	}
	out.Rates = p.Rates.rates(cairn.Rates{})
	for _, a := range p.Above {
		out.Above = append(out.Above, cairn.Above{Prompt: a.Prompt, Rates: a.Rates.rates(out.Rates)})
	}
	return out, nil
}

// rates fills what is not given: from below, if that has a rate of its own.
func (r rateSpec) rates(below cairn.Rates) cairn.Rates {
	pick := func(d *dollars, otherwise cairn.Money) cairn.Money {
		if d != nil {
			return cairn.Money(*d)
		}
		return otherwise
	}
	in, out := pick(r.Input, below.Input), pick(r.Output, below.Output)
	write := pick(r.CacheWrite5m, in)
	searches := below.Searches
	if r.Searches != nil {
		searches = min(cairn.Money(*r.Searches), cairn.Dollar*1_000_000) * 1000
	}
	return cairn.Rates{
		Input: in, CacheRead: pick(r.CacheRead, in), CacheWrite5m: write, CacheWrite1h: pick(r.CacheWrite1h, write),
		Output: out, InputAudio: pick(r.InputAudio, in), OutputAudio: pick(r.OutputAudio, out), Searches: searches,
	}
}

// rows joins the prices of each model.
func (f *providersFile) rows() []price.Row {
	var rows []price.Row
	for _, p := range f.Prices {
		got, err := p.price()
		if err != nil {
			continue // validate has said it
		}
		i := slices.IndexFunc(rows, func(r price.Row) bool { return r.Provider == p.Provider && strings.EqualFold(r.Model, p.Model) })
		if i < 0 {
			i = len(rows)
			rows = append(rows, price.Row{Provider: p.Provider, Model: p.Model})
		}
		r := &rows[i]
		r.Names = append(r.Names, p.Names...)
		r.Window, r.MaxOutput = max(r.Window, p.Window), max(r.MaxOutput, p.MaxOutput)
		r.Prices = append(r.Prices, got)
	}
	return rows
}
