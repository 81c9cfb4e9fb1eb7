package anthropic

import (
	"context"
	"encoding/json"
	"net/url"
	"time"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/model"
	"github.com/cairn-run/cairn/model/wire"
)

const (
	listTime  = 5 * time.Second
	listPages = 20 // of a thousand models
)

// page is a page of GET /v1/models
// (https://platform.claude.com/docs/en/api/models-list).
type page struct {
	Data []struct {
		ID             string `json:"id"`
		MaxInputTokens int64  `json:"max_input_tokens"`
		MaxTokens      int64  `json:"max_tokens"`
		Lifecycle      string `json:"lifecycle"`
	} `json:"data"`
	HasMore bool   `json:"has_more"`
	LastID  string `json:"last_id"`
}

// List asks the provider for its models, without those that are retired, for at
// most five seconds. The error is a *model.Failure.
func (d *Driver) List(ctx context.Context) ([]cairn.ModelInfo, error) {
	ctx, cancel := context.WithTimeout(ctx, listTime)
	defer cancel()
	var out []cairn.ModelInfo
	after := ""
	for range listPages {
		p, err := d.page(ctx, after)
		if err != nil {
			return nil, model.AsFailure(err)
		}
		for _, m := range p.Data {
			if m.ID == "" || m.Lifecycle == "retired" {
				continue
			}
			out = append(out, cairn.ModelInfo{
				Name: m.ID, Provider: d.endpoint.Name, Window: max(0, m.MaxInputTokens), MaxOutput: max(0, m.MaxTokens),
			})
		}
		if !p.HasMore || p.LastID == "" || p.LastID == after {
			break
		}
		after = p.LastID
	}
	return out, nil
}

func (d *Driver) page(ctx context.Context, after string) (*page, error) {
	path := "/v1/models?limit=1000"
	if after != "" {
		path += "&after_id=" + url.QueryEscape(after)
	}
	reply, err := d.endpoint.Get(ctx, path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = reply.Close() }() // nothing was written to it
	body, err := reply.All()
	if err != nil {
		return nil, err
	}
	var p page
	if err := json.Unmarshal(body, &p); err != nil {
		return nil, wire.Malformed(d.endpoint.Name, "it is not a list of models")
	}
	return &p, nil
}
