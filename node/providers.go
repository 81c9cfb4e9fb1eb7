package node

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/model"
	"github.com/cairn-run/cairn/model/price"
	"github.com/cairn-run/cairn/model/wire"
	"github.com/cairn-run/cairn/vault"
)

// ProvidersFile is the file of the data directory that names providers beside those
// that are built in.
const ProvidersFile = "providers.yaml"

// listTimeout bounds one question for a provider's models.
const listTimeout = 5 * time.Second

// ProviderOptions say where a node's providers come from. The zero value is what
// the environment says.
type ProviderOptions struct {
	// Dir is the data directory: ProvidersFile, and the keys that were stored.
	Dir string
	// File is a providers file instead of the one in Dir; it has to be there.
	File string
	// Getenv reads the environment; default os.Getenv.
	Getenv func(string) string
	// Vault resolves keys; default one over Dir and the environment.
	Vault *vault.Vault
	// Client makes the requests; default that of model/wire.
	Client *http.Client
	// Now is the clock; default time.Now.
	Now func() time.Time
}

// Providers are the ways to models that a node has.
type Providers struct {
	all   []*Provider
	table *price.Table
}

// Provider is one of them.
type Provider struct {
	Name string `json:"name"`
	API  string `json:"api"` // chat, responses, messages or google
	// URL is where it is reached, without a user and a query, which may be credentials;
	// empty: it is not known yet, and the provider cannot be used.
	URL   string `json:"url,omitzero"`
	Local bool   `json:"local,omitzero"` // its models are free
	// From says who named it: "built in", or the path of a file.
	From string `json:"from"`
	// Keys are the references under which its key is looked for, in this order; empty:
	// it needs none.
	Keys []string `json:"keys,omitempty"`

	url    string // with all that the environment gave
	known  known
	vault  *vault.Vault
	now    func() time.Time
	driver model.Driver
}

// OpenProviders finds the providers. Nothing is asked of them, and no key is
// needed: one that is named by an agent and has no key says so when it is called.
func OpenProviders(o ProviderOptions) (*Providers, error) {
	if o.Getenv == nil {
		o.Getenv = os.Getenv
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Vault == nil {
		o.Vault = vault.Open(vault.Options{Dir: o.Dir, Getenv: o.Getenv, Now: o.Now})
	}
	path, asked := o.File, o.File != ""
	if !asked && o.Dir != "" {
		path = filepath.Join(o.Dir, ProvidersFile)
	}
	file := &providersFile{}
	if path != "" {
		read, err := readProviders(path, asked)
		if err != nil {
			return nil, err
		}
		if read != nil {
			file = read
		}
	}
	table, err := price.Embedded().Overlay(path, file.rows())
	if err != nil {
		return nil, err
	}
	as := map[string]string{}
	for name, spec := range file.Providers {
		if spec.PricedAs != "" {
			as[name] = spec.PricedAs
		}
		if spec.Local {
			as[name] = "ollama" // free, whatever it is
		}
	}
	p := &Providers{table: table.As(as)}
	for _, k := range knownProviders {
		spec, named := file.Providers[k.name]
		if named || file.Env == nil || *file.Env {
			p.add(o, k, spec, named, path)
		}
	}
	for _, name := range sortedKeys(file.Providers) {
		if _, builtIn := knownProvider(name); !builtIn {
			p.add(o, known{name: name, api: apiChat}, file.Providers[name], true, path)
		}
	}
	slices.SortFunc(p.all, func(a, b *Provider) int { return strings.Compare(a.Name, b.Name) })
	return p, nil
}

// add makes a provider of what is built in and what a file says of it.
func (p *Providers) add(o ProviderOptions, k known, spec providerSpec, named bool, path string) {
	one := &Provider{Name: k.name, API: k.api, URL: k.url, Local: k.local || spec.Local, From: "built in", known: k, vault: o.Vault, now: o.Now}
	if k.from != nil && spec.URL == "" {
		if u := k.from(o.Getenv); u != "" {
			one.URL = u
		}
	}
	if named {
		one.From = path
	}
	if spec.URL != "" {
		one.URL = strings.TrimSuffix(spec.URL, "/")
	}
	// Who stands in for OpenAI mostly speaks the older wire.
	if k.api == apiResponses && one.URL != k.url {
		one.API = apiChat
	}
	if spec.API != "" {
		one.API = spec.API
	}
	one.url, one.URL = one.URL, shown(one.URL)
	switch {
	case spec.Key != "":
		one.Keys = []string{spec.Key}
	case k.local && !slices.ContainsFunc(k.keys, func(v string) bool { return o.Getenv(v) != "" }):
		// A local server takes a key only if it was told to.
	default:
		for _, v := range k.keys {
			one.Keys = append(one.Keys, "env:"+v)
		}
		for _, v := range k.keys {
			one.Keys = append(one.Keys, storedKey(v))
		}
	}
	e := wire.Endpoint{
		Name: one.Name, URL: one.url, KeyHeader: k.keyHeader, Header: maps.Clone(spec.Headers), Query: spec.Query, Client: o.Client,
	}
	if spec.KeyHeader != "" {
		e.KeyHeader = spec.KeyHeader
	}
	for header, v := range k.headers {
		if value := o.Getenv(v); value != "" && one.URL == k.url {
			if e.Header == nil {
				e.Header = map[string]string{}
			}
			e.Header[header] = value
		}
	}
	if len(one.Keys) > 0 {
		e.Key = func(ctx context.Context) (cairn.Secret, error) {
			s, _, err := one.key(ctx)
			return s, err
		}
	}
	one.driver = price.Wrap(one.Name, newDriver(one, e, &spec), p.table)
	p.all = append(p.all, one)
}

// shown is a URL without what may be a credential. What is no URL is not shown, for
// the same reason; calls say what is wrong with it.
func shown(raw string) string {
	if raw == "" {
		return ""
	}
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" {
		return "(not a URL)"
	}
	u.User, u.RawQuery, u.Fragment = nil, "", ""
	return u.String()
}

// storedKey is where cairn keys set NAME puts a key.
func storedKey(name string) string {
	return vault.Ref{Source: vault.Age, Place: vault.DefaultFile, Name: name}.String()
}

// key finds the key, and says where it was.
func (p *Provider) key(ctx context.Context) (cairn.Secret, string, error) {
	for _, ref := range p.Keys {
		r, err := vault.ParseRef(ref)
		if err != nil {
			return cairn.Secret{}, "", err
		}
		// Of several places, one that is not there is passed over: not one that is
		// there and cannot be used.
		if len(p.Keys) > 1 && r.Source == vault.Age {
			names, err := p.vault.Names(r.Place)
			if err != nil {
				return cairn.Secret{}, ref, p.about(err)
			}
			if !slices.Contains(names, r.Name) {
				continue
			}
		}
		s, err := p.vault.Get(ctx, r)
		if err == nil {
			return s, ref, nil
		}
		if len(p.Keys) == 1 || r.Source != vault.Env {
			return cairn.Secret{}, ref, p.about(err)
		}
	}
	return cairn.Secret{}, "", p.noKey()
}

// about says of an error of the vault whose key it is about.
func (p *Provider) about(err error) error {
	e, ok := errors.AsType[*cairn.Error](err)
	if !ok {
		e = cairn.AsError(err)
	}
	other := *e
	other.Message = fmt.Sprintf("model provider %s: the key cannot be had: %s", p.Name, e.Message)
	other.NotDone = true
	return &other
}

func (p *Provider) noKey() error {
	name := "KEY"
	if len(p.known.keys) > 0 {
		name = p.known.keys[0]
	}
	return &cairn.Error{
		Code: cairn.CodeAuth, NotDone: true,
		Message: fmt.Sprintf("model provider %s has no key: set %s, or store it with cairn keys set %s", p.Name, name, name),
	}
}

// Key says under which reference the key is found; empty: none is needed. CodeAuth:
// there is none, and what to set.
func (p *Provider) Key(ctx context.Context) (ref string, err error) {
	if len(p.Keys) == 0 {
		return "", nil
	}
	_, ref, err = p.key(ctx)
	return ref, err
}

// Models asks the provider which models it has now, within 5 seconds, and adds what
// the price table knows of each.
func (p *Provider) Models(ctx context.Context) ([]cairn.ModelInfo, error) {
	ctx, cancel := context.WithTimeout(ctx, listTimeout)
	defer cancel()
	l, ok := p.driver.(model.Lister)
	if !ok {
		return nil, cairn.Errorf(cairn.CodeInvalid, "%s does not list its models", p.Name)
	}
	list, err := l.List(ctx)
	if err != nil {
		return nil, model.AsFailure(err).Err
	}
	return list, nil
}

// Info says what is known of one model, without asking anybody.
func (p *Provider) Info(ctx context.Context, name string) (cairn.ModelInfo, error) {
	return p.driver.Info(ctx, name)
}

// Host is where the provider is, without a path.
func (p *Provider) Host() string {
	u, err := url.Parse(p.URL)
	if err != nil {
		return ""
	}
	return u.Host
}

// All lists the providers by name.
func (p *Providers) All() []*Provider { return slices.Clone(p.all) }

// Drivers are the providers' drivers by name, with prices.
func (p *Providers) Drivers() map[string]model.Driver {
	all := make(map[string]model.Driver, len(p.all))
	for _, one := range p.all {
		all[one.Name] = one.driver
	}
	return all
}

// Table is the price table, with what the providers file lays over it.
func (p *Providers) Table() *price.Table { return p.table }
