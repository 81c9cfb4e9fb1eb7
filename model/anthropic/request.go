package anthropic

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/model"
	"github.com/cairn-run/cairn/model/wire"
)

// Request is a call of the Messages API. Its order is that of its bytes: what stays
// the same from turn to turn comes first, the messages last.
type Request struct {
	Model         string          `json:"model"`
	MaxTokens     int64           `json:"max_tokens"`
	Stream        bool            `json:"stream,omitzero"`
	Temperature   *float64        `json:"temperature,omitempty"`
	TopP          *float64        `json:"top_p,omitempty"`
	TopK          *int64          `json:"top_k,omitempty"`
	StopSequences []string        `json:"stop_sequences,omitempty"`
	ServiceTier   string          `json:"service_tier,omitzero"`
	Metadata      json.RawMessage `json:"metadata,omitempty"`
	Thinking      json.RawMessage `json:"thinking,omitempty"`
	OutputConfig  *OutputConfig   `json:"output_config,omitempty"`
	ToolChoice    *ToolChoice     `json:"tool_choice,omitempty"`
	Tools         []Tool          `json:"tools,omitempty"`
	System        Blocks          `json:"system,omitempty"`
	Messages      []Message       `json:"messages"`
}

// Message is a turn. Results of tools are blocks of the user.
type Message struct {
	Role    string `json:"role"` // "user", "assistant"
	Content Blocks `json:"content"`
}

// Tool is a tool of the client, or with Type one of the provider's.
type Tool struct {
	Type         string          `json:"type,omitzero"`
	Name         string          `json:"name"`
	Description  string          `json:"description,omitzero"`
	InputSchema  json.RawMessage `json:"input_schema,omitempty"`
	CacheControl *CacheControl   `json:"cache_control,omitempty"`
}

// ToolChoice says whether tools may be called: "auto", "any", "tool" (Name) or "none".
type ToolChoice struct {
	Type                   string `json:"type"`
	Name                   string `json:"name,omitzero"`
	DisableParallelToolUse bool   `json:"disable_parallel_tool_use,omitzero"`
}

// OutputConfig says how the answer is to look.
type OutputConfig struct {
	Effort string        `json:"effort,omitzero"`
	Format *OutputFormat `json:"format,omitempty"`
}

// OutputFormat asks for JSON that fits a schema
// (https://platform.claude.com/docs/en/build-with-claude/structured-outputs).
type OutputFormat struct {
	Type   string          `json:"type"` // "json_schema"
	Schema json.RawMessage `json:"schema"`
}

// Format is how requests are written. The zero value is for Anthropic itself.
type Format struct {
	// NoStream asks for the answer in one piece.
	NoStream bool
	// NoCache sets no breakpoints for the prompt cache.
	NoCache bool
	// CacheHour keeps what is cached for an hour instead of five minutes. Writing it
	// costs more.
	CacheHour bool
	// NoTier leaves service_tier out, for servers that do not know it. With it the
	// request is pinned to "standard_only"
	// (https://platform.claude.com/docs/en/api/service-tiers): a priority tier has
	// other prices.
	NoTier bool
}

// EncodeRequest writes the request for one call. Parts that came from the provider
// go back as they came. CodeInvalid, not done: the API cannot carry something in it.
//
// With the cache on there are breakpoints after the tools and the system prompt,
// and after the last two turns of the user: the second last is where the request
// before this one ended, so its prefix is found again.
func EncodeRequest(provider string, r *cairn.ModelRequest, f Format) ([]byte, error) {
	_, name := model.Split(r.Model)
	p := r.Params
	if err := bounded(provider, "temperature", p.Temperature); err != nil {
		return nil, err
	}
	if err := bounded(provider, "top_p", p.TopP); err != nil {
		return nil, err
	}
	out := &Request{
		Model: name, MaxTokens: p.MaxOutput, Stream: !f.NoStream, Temperature: p.Temperature, TopP: p.TopP,
		StopSequences: p.Stop,
	}
	if !f.NoTier {
		out.ServiceTier = "standard_only"
	}
	if len(p.OutputSchema) > 0 {
		out.OutputConfig = &OutputConfig{Format: &OutputFormat{Type: "json_schema", Schema: outputSchema(p.OutputSchema)}}
	}
	h := history{provider: provider, taken: map[string]int{}}
	if err := h.encode(r.Messages); err != nil {
		return nil, err
	}
	out.Messages = h.out
	if r.System != "" {
		out.System = Blocks{{Type: BlockText, Text: r.System}}
	}
	out.Tools = tools(r.Tools)
	if len(out.Tools) == 0 && len(h.called) > 0 {
		// Calls in the history need their tools, even if there are none any more.
		for _, name := range h.called {
			out.Tools = append(out.Tools, Tool{Name: name, Description: "Not available.", InputSchema: anyObject})
		}
		out.ToolChoice = &ToolChoice{Type: "none"}
	}
	if p.NoTools && len(out.Tools) > 0 {
		out.ToolChoice = &ToolChoice{Type: "none"} // the tools stay: they are part of the cached prefix
	}
	if !f.NoCache {
		out.mark(f.CacheHour)
	}
	body, err := wire.Encode(out)
	if err != nil {
		return nil, invalid("the request cannot be written as JSON: %v", err)
	}
	return body, nil
}

var anyObject = json.RawMessage(`{"type":"object"}`)

func tools(defs []cairn.ToolDef) []Tool {
	var out []Tool
	for _, d := range defs {
		out = append(out, Tool{Name: d.Name, Description: d.Description, InputSchema: toolSchema(d.InputSchema)})
	}
	return out
}

// mark sets the breakpoints, three of the four that the API allows.
func (r *Request) mark(hour bool) {
	c := &CacheControl{Type: "ephemeral"}
	if hour {
		c.TTL = "1h"
	}
	switch {
	case len(r.System) > 0: // the tools come before it
		r.System[len(r.System)-1].CacheControl = c
	case len(r.Tools) > 0:
		r.Tools[len(r.Tools)-1].CacheControl = c
	}
	left := 2
	for _, m := range slices.Backward(r.Messages) {
		if m.Role == "user" && left > 0 {
			m.Content[len(m.Content)-1].CacheControl = c
			left--
		}
	}
}

// bounded refuses what is not from 0 to 1
// (https://platform.claude.com/docs/en/api/messages#body-temperature). Another
// provider's 1.5 means nothing here, so it is not cut to 1.
func bounded(provider, what string, v *float64) error {
	if v == nil || *v >= 0 && *v <= 1 {
		return nil
	}
	return invalid("%s takes a %s from 0 to 1, not %v", provider, what, *v)
}

func invalid(format string, args ...any) *cairn.Error {
	return &cairn.Error{Code: cairn.CodeInvalid, Message: fmt.Sprintf(format, args...), NotDone: true}
}
