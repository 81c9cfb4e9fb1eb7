package anthropic

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"github.com/cairn-run/cairn"
)

// Count is a number of tokens or requests. What is not a count reads as 0.
type Count int64

// maxCount is more tokens than any answer has, and keeps their cost away from
// overflow at any price.
const maxCount = 1 << 32

// UnmarshalJSON never fails.
func (c *Count) UnmarshalJSON(raw []byte) error {
	f, err := strconv.ParseFloat(string(raw), 64)
	switch {
	case err != nil || !(f > 0): // NaN too
		*c = 0
	case f > maxCount:
		*c = maxCount
	default:
		*c = Count(f)
	}
	return nil
}

// Usage is what an answer used. InputTokens are those that were neither read from
// the cache nor written to it.
type Usage struct {
	InputTokens              Count          `json:"input_tokens"`
	CacheCreationInputTokens Count          `json:"cache_creation_input_tokens"`
	CacheReadInputTokens     Count          `json:"cache_read_input_tokens"`
	CacheCreation            *CacheCreation `json:"cache_creation,omitempty"`
	OutputTokens             Count          `json:"output_tokens"`
	OutputTokensDetails      *OutputDetails `json:"output_tokens_details,omitempty"`
	// ServerToolUse counts requests by their name, "web_search_requests".
	ServerToolUse map[string]Count `json:"server_tool_use,omitempty"`
	// Iterations are the parts of an answer that took several calls of models.
	Iterations   []Iteration `json:"iterations,omitempty"`
	ServiceTier  string      `json:"service_tier,omitzero"`
	InferenceGeo string      `json:"inference_geo,omitzero"`
	Speed        string      `json:"speed,omitzero"`
}

// CacheCreation tells written tokens apart by how long they are kept.
type CacheCreation struct {
	Ephemeral5m Count `json:"ephemeral_5m_input_tokens"`
	Ephemeral1h Count `json:"ephemeral_1h_input_tokens"`
}

// OutputDetails say what the output was.
type OutputDetails struct {
	ThinkingTokens Count `json:"thinking_tokens"`
}

// Iteration is one call of a model.
type Iteration struct {
	Type                     string         `json:"type"`
	Model                    string         `json:"model,omitzero"`
	InputTokens              Count          `json:"input_tokens"`
	CacheCreationInputTokens Count          `json:"cache_creation_input_tokens"`
	CacheReadInputTokens     Count          `json:"cache_read_input_tokens"`
	CacheCreation            *CacheCreation `json:"cache_creation,omitempty"`
	OutputTokens             Count          `json:"output_tokens"`
}

// bill is a usage in our terms.
type bill struct {
	usage   cairn.Usage
	service string
	beside  []string
}

// readUsage puts a usage object into disjoint buckets.
//
//   - input_tokens exclude what was read from the cache or written to it
//     (https://platform.claude.com/docs/en/build-with-claude/prompt-caching#tracking-cache-performance).
//   - The totals cover the iterations of the answering model. Those of a compaction
//     are not in them and are billed at the same rates
//     (https://platform.claude.com/docs/en/build-with-claude/compaction#understanding-usage):
//     they are added. Those of another model (advisor_message, the model before a
//     fallback) have another price: they stand beside.
//   - web_search_requests are billed by the search, web_fetch_requests are not
//     (https://platform.claude.com/docs/en/about-claude/pricing#tool-use-pricing).
//   - inference_geo other than global has its own price, speed fast is a service of
//     its own (https://platform.claude.com/docs/en/about-claude/pricing).
func readUsage(raw json.RawMessage) bill {
	o, ok := parseObject(raw)
	if !ok {
		return bill{}
	}
	var u Usage
	_ = json.Unmarshal(raw, &u) // a member of another type stays zero
	var b bill
	m5, h1 := written(&u)
	b.usage = cairn.Usage{
		Input: int64(u.InputTokens), CacheRead: int64(u.CacheReadInputTokens), CacheWrite5m: int64(m5), CacheWrite1h: int64(h1),
		Output: int64(u.OutputTokens),
	}
	if u.OutputTokensDetails != nil {
		b.usage.Reasoning = int64(min(u.OutputTokensDetails.ThinkingTokens, u.OutputTokens))
	}
	b.iterations(u.Iterations)
	b.tools(o.get("server_tool_use"))
	b.terms(&u)
	for _, m := range o {
		var n Count
		if !usageMembers[m.key] && json.Unmarshal(m.value, &n) == nil && n > 0 {
			b.aside("%s: %d", m.key, n)
		}
	}
	if c := o.get("fallback_credit"); !isNull(c) { // reprices the answer
		b.aside("fallback_credit")
	}
	return b
}

var usageMembers = map[string]bool{
	"input_tokens": true, "cache_creation_input_tokens": true, "cache_read_input_tokens": true, "cache_creation": true,
	"output_tokens": true, "output_tokens_details": true, "server_tool_use": true, "iterations": true,
	"service_tier": true, "inference_geo": true, "speed": true, "fallback_credit": true,
}

// aside names something that no bucket holds.
func (b *bill) aside(format string, args ...any) {
	b.beside = append(b.beside, fmt.Sprintf(format, args...))
}

// written splits what was written to the cache. The total is what counts: in a
// stream the last event repeats it and not how it splits. What nothing is said of
// was written for five minutes, the API's default.
func written(u *Usage) (m5, h1 Count) {
	var split CacheCreation
	if u.CacheCreation != nil {
		split = *u.CacheCreation
	}
	var sum CacheCreation
	for _, it := range u.Iterations {
		if it.CacheCreation != nil && (it.Type == "message" || it.Type == "fallback_message") {
			sum.Ephemeral5m += it.CacheCreation.Ephemeral5m
			sum.Ephemeral1h += it.CacheCreation.Ephemeral1h
		}
	}
	total := u.CacheCreationInputTokens
	if total > 0 && sum.Ephemeral5m+sum.Ephemeral1h == total {
		split = sum
	}
	if total == 0 {
		total = split.Ephemeral5m + split.Ephemeral1h
	}
	h1 = min(split.Ephemeral1h, total)
	return total - h1, h1
}

// iterations takes what the totals leave out.
func (b *bill) iterations(all []Iteration) {
	fellBack := false
	for _, it := range all {
		fellBack = fellBack || it.Type == "fallback_message"
	}
	for _, it := range all {
		switch {
		case it.Type == "compaction":
			m5, h1 := written(&Usage{CacheCreationInputTokens: it.CacheCreationInputTokens, CacheCreation: it.CacheCreation})
			b.usage = b.usage.Add(cairn.Usage{
				Input: int64(it.InputTokens), CacheRead: int64(it.CacheReadInputTokens),
				CacheWrite5m: int64(m5), CacheWrite1h: int64(h1), Output: int64(it.OutputTokens),
			})
		case it.Type == "fallback_message", it.Type == "message" && !fellBack:
			// in the totals
		case it.InputTokens+it.CacheCreationInputTokens+it.CacheReadInputTokens+it.OutputTokens > 0:
			b.aside("%s %s: %d input, %d cache write, %d cache read, %d output tokens", it.Type, it.Model,
				it.InputTokens, it.CacheCreationInputTokens, it.CacheReadInputTokens, it.OutputTokens)
		}
	}
}

// tools counts what the provider's own tools did.
func (b *bill) tools(raw json.RawMessage) {
	o, _ := parseObject(raw)
	for _, m := range o {
		var n Count
		_ = n.UnmarshalJSON(m.value) // never fails
		switch {
		case m.key == "web_search_requests":
			b.usage.Searches = int64(n)
		case m.key != "web_fetch_requests" && n > 0:
			b.aside("%s: %d", m.key, n)
		}
	}
}

// terms says under which terms the answer was made.
func (b *bill) terms(u *Usage) {
	if t := strings.ToLower(u.ServiceTier); t != "standard" {
		b.service = t
	}
	if s := strings.ToLower(u.Speed); s != "" && s != "standard" {
		if b.service == "" {
			b.service = s
		} else {
			b.aside("speed: %s", s)
		}
	}
	switch geo := strings.ToLower(u.InferenceGeo); geo {
	case "", "global", "not_available":
	default:
		b.aside("inference_geo: %s", geo)
	}
}
