package google

import (
	"context"
	"encoding/json"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/model"
	"github.com/cairn-run/cairn/model/wire"
)

// Bounds of one List.
const (
	listTimeout = 5 * time.Second
	maxPages    = 20
)

// List asks for the models that generate content
// (https://ai.google.dev/api/models#method:-models.list). Window is the most that
// a prompt may have; the output has a limit of its own. Errors are
// *[cairn.Error]. Vertex AI has no such list.
func (d *Driver) List(ctx context.Context) ([]cairn.ModelInfo, error) {
	ctx, cancel := context.WithTimeout(ctx, listTimeout)
	defer cancel()
	var all []cairn.ModelInfo
	token := ""
	for range maxPages {
		page, err := d.page(ctx, token)
		if err != nil {
			return nil, model.AsFailure(err).Err
		}
		for i := range page.Models {
			m := &page.Models[i]
			if !slices.Contains(m.SupportedGenerationMethods, "generateContent") {
				continue
			}
			all = append(all, cairn.ModelInfo{
				Name:      strings.TrimPrefix(m.Name, "models/"),
				Provider:  d.o.Name,
				Window:    max(m.InputTokenLimit, 0),
				MaxOutput: max(m.OutputTokenLimit, 0),
			})
		}
		if token = page.NextPageToken; token == "" {
			break
		}
	}
	return all, nil
}

func (d *Driver) page(ctx context.Context, token string) (*ModelList, error) {
	q := url.Values{"pageSize": {"1000"}}
	if token != "" {
		q.Set("pageToken", token)
	}
	reply, err := d.o.Get(ctx, "/models?"+q.Encode())
	if err != nil {
		return nil, err
	}
	defer func() { _ = reply.Close() }()
	body, err := reply.All()
	if err != nil {
		return nil, err
	}
	var page ModelList
	if json.Unmarshal(body, &page) != nil {
		return nil, wire.Malformed(d.o.Name, "a list of models that is not one")
	}
	return &page, nil
}
