package anthropic

import (
	"context"
	"iter"
	"net/http"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/model"
	"github.com/cairn-run/cairn/model/wire"
)

const (
	// DefaultURL is Anthropic's own endpoint.
	DefaultURL = "https://api.anthropic.com"
	// Version is the version of the API that this package speaks
	// (https://platform.claude.com/docs/en/api/versioning).
	Version = "2023-06-01"
)

// Options say how the provider is reached, and how requests are written.
type Options struct {
	// Endpoint has the defaults Name "anthropic", URL [DefaultURL], without the
	// "/v1", and KeyHeader X-Api-Key. The header anthropic-version is [Version]
	// unless Header has it.
	wire.Endpoint
	Format
	// Bearer sends the key as "Authorization: Bearer", as OAuth tokens and some
	// servers that copy the API want it.
	Bearer bool
}

// Driver calls a provider that speaks the Messages API. It is safe for concurrent
// use.
type Driver struct {
	endpoint wire.Endpoint
	format   Format
}

var (
	_ model.Driver = (*Driver)(nil)
	_ model.Lister = (*Driver)(nil)
)

// New returns a driver. Nothing is opened.
func New(o Options) *Driver {
	e := o.Endpoint
	if e.Name == "" {
		e.Name = "anthropic"
	}
	if e.URL == "" {
		e.URL = DefaultURL
	}
	switch {
	case o.Bearer:
		e.KeyHeader = ""
	case e.KeyHeader == "":
		e.KeyHeader = "X-Api-Key"
	}
	header := map[string]string{"Anthropic-Version": Version}
	for k, v := range e.Header {
		header[http.CanonicalHeaderKey(k)] = v
	}
	e.Header = header
	return &Driver{endpoint: e, format: o.Format}
}

// Info needs no network. Prices and windows are added by others.
func (d *Driver) Info(_ context.Context, name string) (cairn.ModelInfo, error) {
	return cairn.ModelInfo{Name: name, Provider: d.endpoint.Name}, nil
}

// Call makes one attempt.
func (d *Driver) Call(ctx context.Context, c model.Call) iter.Seq2[model.Chunk, error] {
	return func(yield func(model.Chunk, error) bool) {
		fail := func(err error) { yield(model.Chunk{}, model.AsFailure(err)) }
		body, err := EncodeRequest(d.endpoint.Name, c.Request, d.format)
		if err != nil {
			fail(err)
			return
		}
		reply, err := d.endpoint.Post(ctx, "/v1/messages", body)
		if err != nil {
			fail(err)
			return
		}
		defer func() { _ = reply.Close() }() // nothing was written to it
		_, name := model.Split(c.Request.Model)
		if reply.Stream {
			d.stream(reply, name, yield)
		} else {
			d.whole(reply, name, yield)
		}
	}
}

// whole reads an answer in one piece. What is in it is said before it is given.
func (d *Driver) whole(reply *wire.Reply, name string, yield func(model.Chunk, error) bool) {
	body, err := reply.All()
	var a *cairn.ModelAnswer
	if err == nil {
		if isError(body) {
			err = reply.Failed(body)
		} else {
			a, err = DecodeResponse(d.endpoint.Name, body)
		}
	}
	if err != nil {
		yield(model.Chunk{}, model.AsFailure(err))
		return
	}
	for i, p := range a.Content {
		delta := cairn.Delta{Kind: p.Kind, Index: i, Text: p.Text}
		switch p.Kind {
		case cairn.PartText, cairn.PartReasoning:
		case cairn.PartToolCall:
			delta.Text, delta.CallID, delta.Tool = p.Args, p.CallID, p.Tool
		default:
			continue
		}
		if delta.Text != "" && !yield(model.Chunk{Delta: &delta}, nil) {
			return
		}
	}
	give(a, name, yield)
}

func (d *Driver) stream(reply *wire.Reply, name string, yield func(model.Chunk, error) bool) {
	s := NewStream(d.endpoint.Name)
	for event, err := range reply.Events() {
		if err != nil {
			f := model.AsFailure(err)
			yield(model.Chunk{}, s.Failure(f.Err))
			return
		}
		if len(event.Data) == 0 {
			continue
		}
		deltas, err := s.Add(event.Data)
		if err != nil {
			if isError(event.Data) { // in the words of the reply, which knows the key
				err = s.Failure(reply.Failed(event.Data))
			}
			yield(model.Chunk{}, model.AsFailure(err))
			return
		}
		for i := range deltas {
			if !yield(model.Chunk{Delta: &deltas[i]}, nil) {
				return
			}
		}
		if s.Complete() {
			break
		}
		// A ping, or hidden thinking: nothing is said, and the model is at work.
		if len(deltas) == 0 && !yield(model.Chunk{}, nil) {
			return
		}
	}
	a, err := s.Done()
	if err != nil {
		yield(model.Chunk{}, model.AsFailure(err))
		return
	}
	give(a, name, yield)
	reply.Drain() // whoever has the answer reads no further
}

func give(a *cairn.ModelAnswer, name string, yield func(model.Chunk, error) bool) {
	if a.Model == "" {
		a.Model = name
	}
	yield(model.Chunk{Answer: a}, nil)
}
