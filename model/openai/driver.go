package openai

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"iter"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/model"
	"github.com/cairn-run/cairn/model/wire"
)

// DefaultURL is OpenAI's own API.
const DefaultURL = "https://api.openai.com/v1"

// The two wires.
const (
	APIChat      = "chat"
	APIResponses = "responses"
)

// Options say how the provider is reached, and in which dialect.
type Options struct {
	// Endpoint is where it is; default name openai, default URL [DefaultURL]. Azure:
	// the URL ends with /openai/v1, and KeyHeader is api-key.
	wire.Endpoint
	// API is the wire: [APIResponses], the default for OpenAI itself, or [APIChat],
	// the default for every other URL.
	API string
	// NoStream asks for the answer in one piece.
	NoStream bool
	// Cap is, of chat, the member that carries the cap on the output; default
	// max_completion_tokens for OpenAI and Azure, max_tokens for all others.
	Cap string
	// Service pins the service tier; default "default" for OpenAI itself, else none.
	Service string
	// Stateless asks, of Responses, that nothing is stored and that reasoning comes
	// encrypted; default true for OpenAI, Azure and xAI, false for servers that may
	// not know the settings.
	Stateless *bool
	// Extra are members that are added to every request as they are, an object:
	// {"reasoning":{"effort":"low"}}. They replace what the driver would send.
	Extra json.RawMessage
}

// Driver is a provider of one of the two wires. It is safe for concurrent use.
type Driver struct {
	o     Options
	host  host
	plain Dialect
}

var (
	_ model.Driver = (*Driver)(nil)
	_ model.Lister = (*Driver)(nil)
)

// New returns a driver. Nothing is sent until it is called.
func New(o Options) *Driver {
	if o.Name == "" {
		o.Name = "openai"
	}
	if o.URL == "" {
		o.URL = DefaultURL
	}
	h := known(o.URL)
	if o.API == "" {
		o.API = APIChat
		if h.official {
			o.API = APIResponses
		}
	}
	d := h.dialect
	d.Provider, d.Stream, d.Extra = o.Name, !o.NoStream, o.Extra
	if o.Cap != "" {
		d.Cap = o.Cap
	}
	if o.Service != "" {
		d.Service = o.Service
	}
	if o.Stateless != nil {
		d.Stateless = *o.Stateless
	}
	return &Driver{o: o, host: h, plain: d}
}

// Info says what can be known without asking: the model's name.
func (d *Driver) Info(_ context.Context, name string) (cairn.ModelInfo, error) {
	return cairn.ModelInfo{Name: name, Provider: d.o.Name}, nil
}

// Call makes one attempt.
func (d *Driver) Call(ctx context.Context, c model.Call) iter.Seq2[model.Chunk, error] {
	return func(yield func(model.Chunk, error) bool) {
		a, err := d.call(ctx, &c, func(delta cairn.Delta) bool {
			return yield(model.Chunk{Delta: &delta}, nil)
		})
		switch {
		case errors.Is(err, errStopped):
		case err != nil:
			yield(model.Chunk{}, model.AsFailure(err))
		default:
			if a.Model == "" {
				_, a.Model = model.Split(c.Request.Model)
			}
			yield(model.Chunk{Answer: a}, nil)
		}
	}
}

// errStopped says that the reader has heard enough.
var errStopped = errors.New("the reader stopped")

// decoder puts the events of a stream together.
type decoder interface {
	Add(wire.Event) ([]cairn.Delta, error)
	Ended() bool
	Done() (*cairn.ModelAnswer, error)
	Fail(error) *model.Failure
}

func (d *Driver) call(ctx context.Context, c *model.Call, tell func(cairn.Delta) bool) (*cairn.ModelAnswer, error) {
	dialect := d.plain
	if d.host.official {
		dialect.CacheKey = string(c.Session.ID)
	}
	path, encode := "/chat/completions", EncodeChat
	if d.o.API == APIResponses {
		path, encode = "/responses", EncodeResponses
	}
	body, err := encode(dialect, c.Request)
	if err != nil {
		return nil, err
	}
	reply, err := d.o.Post(ctx, path, body)
	if err != nil {
		return nil, err
	}
	defer func() { _ = reply.Close() }()
	if reply.Stream {
		return d.stream(reply, reply.Events(), tell)
	}
	whole, err := reply.All()
	if err != nil {
		return nil, err
	}
	if start := bytes.TrimSpace(whole); bytes.HasPrefix(start, []byte("data:")) || bytes.HasPrefix(start, []byte("event:")) {
		// A stream under another content type.
		return d.stream(reply, wire.Events(bytes.NewReader(whole)), tell)
	}
	decode := decodeChat
	if d.o.API == APIResponses {
		decode = decodeResponses
	}
	a, err := decode(d.o.Name, whole, reply.Failed)
	if err != nil {
		return nil, err
	}
	for i := range a.Content {
		if delta, ok := arrived(i, &a.Content[i]); ok && !tell(delta) {
			return nil, errStopped
		}
	}
	return a, nil
}

// arrived is a whole part as a watcher sees it arrive.
func arrived(i int, p *cairn.Part) (cairn.Delta, bool) {
	d := cairn.Delta{Kind: p.Kind, Index: i, Text: p.Text}
	switch p.Kind {
	case cairn.PartText, cairn.PartReasoning:
		return d, p.Text != ""
	case cairn.PartToolCall:
		d.CallID, d.Tool, d.Text = p.CallID, p.Tool, p.Args
		return d, true
	case cairn.PartToolResult, cairn.PartImage, cairn.PartFile, cairn.PartOpaque:
	}
	return d, false
}

func (d *Driver) stream(reply *wire.Reply, events iter.Seq2[wire.Event, error], tell func(cairn.Delta) bool) (*cairn.ModelAnswer, error) {
	s := d.decoder(reply)
	size := 0
	for e, err := range events {
		if err != nil {
			return nil, s.Fail(err)
		}
		if size += len(e.Data); size > wire.MaxBody {
			return nil, s.Fail(&cairn.Error{Code: cairn.CodeCut, Message: "the answer of " + d.o.Name + " is too large"})
		}
		deltas, err := s.Add(e)
		if err != nil {
			return nil, err
		}
		for _, delta := range deltas {
			if !tell(delta) {
				return nil, errStopped
			}
		}
		if s.Ended() {
			break
		}
	}
	return s.Done()
}

func (d *Driver) decoder(reply *wire.Reply) decoder {
	if d.o.API == APIResponses {
		s := NewResponsesStream(d.o.Name)
		s.failed = reply.Failed
		return s
	}
	s := NewChatStream(d.o.Name)
	s.failed = reply.Failed
	return s
}
