package traffic_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/internal/traffic"
	"github.com/cairn-run/cairn/model"
	"github.com/cairn-run/cairn/model/anthropic"
	"github.com/cairn-run/cairn/model/google"
	"github.com/cairn-run/cairn/model/openai"
	"github.com/cairn-run/cairn/model/wire"
)

// driverOf is the driver of an exchange's wire, whose every request is answered by
// rt. Its provider's name is the exchange's.
func driverOf(e *traffic.Exchange, rt http.RoundTripper) model.Driver {
	at := wire.Endpoint{Name: e.Provider, URL: "https://recorded.test/v1", Client: &http.Client{Transport: rt}}
	switch e.Wire {
	case traffic.Chat:
		return openai.New(openai.Options{Endpoint: at, API: "chat"})
	case traffic.Responses:
		return openai.New(openai.Options{Endpoint: at, API: "responses"})
	case traffic.Messages:
		return anthropic.New(anthropic.Options{Endpoint: at})
	default:
		return google.New(google.Options{Endpoint: at})
	}
}

// ask is the least that can be asked of an exchange's model.
func ask(e *traffic.Exchange) *cairn.ModelRequest {
	return &cairn.ModelRequest{
		Model:    e.Provider + "/" + e.Model,
		Messages: []cairn.Message{{Role: cairn.RoleUser, Content: []cairn.Part{cairn.Text("hi")}}},
		Params:   cairn.ModelParams{MaxOutput: 4096},
	}
}

// heard is what a call came to.
type heard struct {
	answer *cairn.ModelAnswer
	failed *model.Failure
	said   map[int]string // text of the deltas, by part
}

// listen makes a call to its end. What breaks the contract of a stream is an error.
func listen(ctx context.Context, d model.Driver, r *cairn.ModelRequest) (h heard, err error) {
	h.said = map[int]string{}
	for chunk, err := range d.Call(ctx, model.Call{Request: r}) {
		switch {
		case h.answer != nil || h.failed != nil:
			return h, errors.New("something follows the end")
		case err != nil:
			f, ok := errors.AsType[*model.Failure](err)
			if !ok || f.Err == nil || f.Err.Code == "" {
				return h, fmt.Errorf("not a failure with a code: %w", err)
			}
			h.failed = f
		case chunk.Delta != nil:
			h.said[chunk.Delta.Index] += chunk.Delta.Text
		case chunk.Answer != nil:
			h.answer = chunk.Answer
		}
	}
	if h.answer == nil && h.failed == nil {
		return h, errors.New("neither an answer nor a failure")
	}
	return h, nil
}

// decode puts an exchange through its driver.
func decode(ctx context.Context, e *traffic.Exchange) (heard, error) {
	return listen(ctx, driverOf(e, &traffic.Transport{Exchange: e}), ask(e))
}
