package node

import (
	"context"
	"fmt"
	"iter"
	"strings"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/model"
	"github.com/cairn-run/cairn/model/anthropic"
	"github.com/cairn-run/cairn/model/google"
	"github.com/cairn-run/cairn/model/openai"
	"github.com/cairn-run/cairn/model/wire"
)

// newDriver makes the driver that speaks a provider's wire.
func newDriver(p *Provider, e wire.Endpoint, spec *providerSpec) model.Driver {
	if p.URL == "" {
		return unset{p}
	}
	noStream := spec.Stream != nil && !*spec.Stream
	bearer := strings.EqualFold(e.KeyHeader, "Authorization")
	if bearer {
		e.KeyHeader = "" // with "Bearer " before the key
	}
	switch p.API {
	case apiGoogle:
		return google.New(google.Options{Endpoint: e, Bearer: bearer, NoStream: noStream})
	case apiMessages:
		return anthropic.New(anthropic.Options{
			Endpoint: e, Bearer: bearer,
			Format: anthropic.Format{NoStream: noStream, NoTier: p.URL != anthropic.DefaultURL},
		})
	}
	d := openai.New(openai.Options{Endpoint: e, API: p.API, NoStream: noStream, Cap: spec.Cap, Extra: spec.extra()})
	if p.Local {
		return &localWindows{Driver: d, provider: p}
	}
	return d
}

// unset is the driver of a provider whose address is not known.
type unset struct{ p *Provider }

func (u unset) fail() *cairn.Error {
	return &cairn.Error{
		Code: cairn.CodeAuth, NotDone: true,
		Message: fmt.Sprintf("model provider %s is not set up: set %s to its address, or give its url in %s", u.p.Name, u.p.known.address, ProvidersFile),
	}
}

// Info says nothing of a model.
func (u unset) Info(_ context.Context, name string) (cairn.ModelInfo, error) {
	return cairn.ModelInfo{Name: name, Provider: u.p.Name}, nil
}

// List fails.
func (u unset) List(context.Context) ([]cairn.ModelInfo, error) { return nil, u.fail() }

// Call fails before anything is sent.
func (u unset) Call(context.Context, model.Call) iter.Seq2[model.Chunk, error] {
	return func(yield func(model.Chunk, error) bool) { yield(model.Chunk{}, &model.Failure{Err: u.fail()}) }
}
