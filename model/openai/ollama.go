package openai

import (
	"context"
	"encoding/json"
	"strconv"
	"strings"
	"time"

	"github.com/cairn-run/cairn/model"
	"github.com/cairn-run/cairn/model/wire"
)

// ollamaTime is how long the local server may take.
const ollamaTime = 5 * time.Second

// OllamaWindow asks an Ollama server for the window of a model, in tokens; 0: it
// does not say. base is the server's URL, with or without /v1. A running model's
// window comes first, then the one its file sets, then the one it was trained with:
// Ollama cuts a longer prompt without a word
// (https://github.com/ollama/ollama/blob/main/docs/api.md).
func OllamaWindow(ctx context.Context, base, name string) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, ollamaTime)
	defer cancel()
	e := &wire.Endpoint{Name: "ollama", URL: strings.TrimSuffix(strings.TrimSuffix(base, "/"), "/v1")}
	var running struct {
		Models []struct {
			Name   string `json:"name"`
			Model  string `json:"model"`
			Window Count  `json:"context_length"`
		} `json:"models"`
	}
	if err := ask(ctx, e, "/api/ps", nil, &running); err == nil {
		for _, m := range running.Models {
			if (m.Name == name || m.Model == name || m.Name == name+":latest") && m.Window > 0 {
				return int64(m.Window), nil
			}
		}
	}
	var shown struct {
		Parameters string                     `json:"parameters"`
		Info       map[string]json.RawMessage `json:"model_info"`
	}
	if err := ask(ctx, e, "/api/show", raw(map[string]string{"model": name}), &shown); err != nil {
		return 0, model.AsFailure(err).Err
	}
	for line := range strings.Lines(shown.Parameters) {
		if f := strings.Fields(line); len(f) == 2 && f[0] == "num_ctx" {
			if n, err := strconv.ParseInt(f[1], 10, 64); err == nil && n > 0 {
				return n, nil
			}
		}
	}
	var window Count
	for key, v := range shown.Info {
		var n Count
		if strings.HasSuffix(key, ".context_length") && n.UnmarshalJSON(v) == nil {
			window = max(window, n)
		}
	}
	return int64(window), nil
}

// ask makes one request, with a body or without, and reads the answer.
func ask(ctx context.Context, e *wire.Endpoint, path string, body []byte, v any) error {
	var reply *wire.Reply
	var err error
	if body == nil {
		reply, err = e.Get(ctx, path)
	} else {
		reply, err = e.Post(ctx, path, body)
	}
	if err != nil {
		return err
	}
	defer func() { _ = reply.Close() }()
	b, err := reply.All()
	if err != nil {
		return err
	}
	if tolerate(b, v) != nil {
		return wire.Malformed(e.Name, "not JSON")
	}
	return nil
}
