package google

import (
	"cmp"
	"context"
	"iter"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/model"
	"github.com/cairn-run/cairn/model/wire"
)

const (
	// DefaultName is the provider's name in model names.
	DefaultName = "google"
	// DefaultURL is the Gemini API (https://ai.google.dev/api).
	DefaultURL = "https://generativelanguage.googleapis.com/v1beta"
	// KeyHeader is where the Gemini API takes its key.
	KeyHeader = "x-goog-api-key"
)

// Options say how Google is reached. The zero value is the Gemini API without a
// key.
type Options struct {
	// Endpoint: Name, URL and KeyHeader have the defaults of this package. For Vertex
	// AI the URL ends before "/models": ".../v1/projects/P/locations/L/publishers/google",
	// or before "/publishers" when names of models begin with it.
	wire.Endpoint
	// Bearer sends the credential as a bearer token, as Vertex AI wants it, and not in
	// KeyHeader.
	Bearer bool
	// NoStream asks for answers in one piece.
	NoStream bool
	// Thoughts asks for summaries of the model's thoughts. Models that do not think
	// refuse it.
	Thoughts bool
}

// Driver is a [model.Driver] of Google's wire. It is safe for concurrent use.
type Driver struct {
	o Options
}

var (
	_ model.Driver = (*Driver)(nil)
	_ model.Lister = (*Driver)(nil)
)

// New returns a driver.
func New(o Options) *Driver {
	o.Name = cmp.Or(o.Name, DefaultName)
	o.URL = cmp.Or(o.URL, DefaultURL)
	if o.Bearer {
		o.KeyHeader = ""
	} else {
		o.KeyHeader = cmp.Or(o.KeyHeader, KeyHeader)
	}
	return &Driver{o}
}

// Info says what is known without asking: the name.
func (d *Driver) Info(_ context.Context, name string) (cairn.ModelInfo, error) {
	return cairn.ModelInfo{Name: name, Provider: d.o.Name}, nil
}

// Call makes one attempt. The errors are those of [NewRequest], of the endpoint
// and of [Stream].
func (d *Driver) Call(ctx context.Context, c model.Call) iter.Seq2[model.Chunk, error] {
	return func(yield func(model.Chunk, error) bool) {
		reply, err := d.post(ctx, c.Request)
		if err != nil {
			yield(model.Chunk{}, model.AsFailure(err))
			return
		}
		defer func() { _ = reply.Close() }()
		s := NewStream(d.o.Name)
		s.classify = reply.Failed
		events := reply.Events()
		if !reply.Stream {
			events = one(reply)
		}
		for e, err := range events {
			if err != nil {
				yield(model.Chunk{}, s.Failure(err))
				return
			}
			deltas, err := s.Add(e.Data)
			for i := range deltas {
				if !yield(model.Chunk{Delta: &deltas[i]}, nil) {
					return
				}
			}
			if err != nil {
				yield(model.Chunk{}, err)
				return
			}
		}
		answer, err := s.Done()
		if err != nil {
			yield(model.Chunk{}, err)
			return
		}
		if answer.Model == "" {
			_, answer.Model = model.Split(c.Request.Model)
		}
		yield(model.Chunk{Answer: answer}, nil)
	}
}

func (d *Driver) post(ctx context.Context, r *cairn.ModelRequest) (*wire.Reply, error) {
	method := "streamGenerateContent"
	if d.o.NoStream {
		method = "generateContent"
	}
	_, name := model.Split(r.Model)
	p, err := path(name, method)
	if err != nil {
		return nil, err
	}
	if !d.o.NoStream {
		p += "?alt=sse"
	}
	req, err := NewRequest(d.o.Name, r)
	if err != nil {
		return nil, err
	}
	if d.o.Thoughts {
		req.GenerationConfig.ThinkingConfig = &ThinkingConfig{IncludeThoughts: true}
	}
	body, err := wire.Encode(req)
	if err != nil {
		return nil, invalid("it holds what is not JSON")
	}
	return d.o.Post(ctx, p, body)
}

// one is a reply that is a document, as a stream of it.
func one(r *wire.Reply) iter.Seq2[wire.Event, error] {
	return func(yield func(wire.Event, error) bool) {
		body, err := r.All()
		yield(wire.Event{Data: body}, err)
	}
}
