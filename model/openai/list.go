package openai

import (
	"bytes"
	"context"
	"encoding/json"
	"time"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/model/wire"
)

const (
	// listTime is how long a provider may take to say which models it has.
	listTime = 5 * time.Second
	// maxModels bounds how many are taken of a list.
	maxModels = 10_000
)

// listed is a model in the answer to GET /models. OpenAI says its id only; the
// others say more, each under a name of its own.
type listed struct {
	ID            string `json:"id"`
	ContextLength Count  `json:"context_length"`     // OpenRouter, Together
	ContextWindow Count  `json:"context_window"`     // Groq, Vercel AI Gateway
	MaxContext    Count  `json:"max_context_length"` // Mistral
	MaxModelLen   Count  `json:"max_model_len"`      // vLLM
	LoadedContext Count  `json:"loaded_context_length"`
	Meta          struct {
		Train Count `json:"n_ctx_train"`
	} `json:"meta"` // llama.cpp
	MaxCompletion Count `json:"max_completion_tokens"` // Groq
	MaxTokens     Count `json:"max_tokens"`            // Vercel AI Gateway
	TopProvider   struct {
		ContextLength Count `json:"context_length"`
		MaxCompletion Count `json:"max_completion_tokens"`
	} `json:"top_provider"` // OpenRouter
}

// List asks the provider which models it has.
func (d *Driver) List(ctx context.Context) ([]cairn.ModelInfo, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, listTime, &cairn.Error{
		Code: cairn.CodeTimeout, Retryable: true, NotDone: true, Message: d.o.Name + " did not say in time which models it has",
	})
	defer cancel()
	reply, err := d.o.Get(ctx, "/models")
	if err != nil {
		return nil, listError(ctx, err)
	}
	defer func() { _ = reply.Close() }()
	body, err := reply.All()
	if err != nil {
		return nil, listError(ctx, err)
	}
	models, err := decodeList(d.o.Name, body)
	if err != nil {
		return nil, err
	}
	return models, nil
}

// listError is why the time was up, if it was.
func listError(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil && cairn.CodeOf(cause) == cairn.CodeTimeout {
		return cause
	}
	return err
}

func decodeList(provider string, body []byte) ([]cairn.ModelInfo, error) {
	var doc struct {
		Data []json.RawMessage `json:"data"`
	}
	if err := tolerate(body, &doc); err != nil {
		return nil, wire.Malformed(provider, "the list of models is not JSON")
	}
	all := doc.Data
	if body = bytes.TrimSpace(body); isList(body) { // Together
		all = list(body)
	}
	var models []cairn.ModelInfo
	for _, rawModel := range all[:min(len(all), maxModels)] {
		var m listed
		if tolerate(rawModel, &m) != nil || m.ID == "" {
			continue
		}
		window := max(m.ContextLength, m.ContextWindow, m.MaxContext, m.MaxModelLen, m.Meta.Train)
		if w := m.TopProvider.ContextLength; w > 0 {
			window = w // of who would answer, where that is less than the model's
		}
		if w := m.LoadedContext; w > 0 { // LM Studio: what the server was started with
			window = w
		}
		models = append(models, cairn.ModelInfo{
			Name: m.ID, Provider: provider, Window: int64(window),
			MaxOutput: int64(max(m.MaxCompletion, m.MaxTokens, m.TopProvider.MaxCompletion)),
		})
	}
	return models, nil
}
