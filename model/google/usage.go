package google

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/cairn-run/cairn"
)

// maxCount is more tokens than any answer has, and keeps their cost away from
// overflow at any price.
const maxCount = 1 << 32

// counts says whether a usage counts anything: the chunks of Vertex AI begin with
// usages that only name the traffic type.
func counts(raw json.RawMessage) bool {
	var fields map[string]json.RawMessage
	if json.Unmarshal(raw, &fields) != nil {
		return len(raw) > 0 && string(raw) != "null"
	}
	for k := range fields {
		if strings.HasSuffix(k, "TokenCount") {
			return true
		}
	}
	return false
}

// ReadUsage puts Google's account of an answer into buckets, which add up to the
// totals it reports. The results of its own tools (toolUsePromptTokenCount) are
// input: they are "provided back to the model as input" and part of the total; for
// the URL context tool and file search the API says that they are billed as such
// (https://ai.google.dev/gemini-api/docs/url-context,
// https://ai.google.dev/gemini-api/docs/file-search#pricing). Thoughts are billed
// as output (https://ai.google.dev/gemini-api/docs/thinking#pricing).
//
// Service is the tier that was billed: the Gemini API names it, Vertex AI says it
// by the type of traffic. Beside is what has rates of its own and no bucket.
func ReadUsage(raw json.RawMessage) (u cairn.Usage, service string, beside []string) {
	var m UsageMetadata
	if json.Unmarshal(raw, &m) != nil { // what can be read of it counts
		beside = append(beside, "usage in a form that is not known")
	}
	prompt, cached := count(m.PromptTokenCount), count(m.CachedContentTokenCount)
	cached = min(cached, prompt)
	tools, candidates, thoughts := count(m.ToolUsePromptTokenCount), count(m.CandidatesTokenCount), count(m.ThoughtsTokenCount)

	cachedAudio := min(of(m.CacheTokensDetails, "AUDIO"), cached)
	audio := min(max(of(m.PromptTokensDetails, "AUDIO")-cachedAudio, 0), prompt-cached)
	toolAudio := min(of(m.ToolUsePromptTokensDetails, "AUDIO"), tools)
	u.CacheRead = cached
	u.InputAudio = audio + toolAudio
	u.Input = prompt - cached - audio + tools - toolAudio

	u.OutputAudio = min(of(m.CandidatesTokensDetails, "AUDIO"), candidates)
	u.Output = candidates - u.OutputAudio + thoughts
	u.Reasoning = thoughts

	tell := func(what string, n int64) {
		if n > 0 {
			beside = append(beside, fmt.Sprintf("%s: %d", what, n))
		}
	}
	tell("cached_audio_tokens", cachedAudio)
	tell("output_image_tokens", of(m.CandidatesTokensDetails, "IMAGE"))
	tell("output_video_tokens", of(m.CandidatesTokensDetails, "VIDEO"))
	tell("unaccounted_tokens", count(m.TotalTokenCount)-prompt-tools-candidates-thoughts)
	return u, tier(m.ServiceTier, m.TrafficType), beside
}

func count(n *int64) int64 {
	if n == nil {
		return 0
	}
	return min(max(*n, 0), maxCount)
}

// of is how many tokens had a modality.
func of(details []ModalityTokenCount, modality string) int64 {
	var sum int64
	for _, d := range details {
		if d.Modality == modality {
			sum = min(sum+count(&d.TokenCount), maxCount)
		}
	}
	return sum
}

// tier is the name of a service tier (https://ai.google.dev/gemini-api/docs/priority-inference
// and .../flex-inference), or of a traffic type of Vertex AI
// (https://cloud.google.com/vertex-ai/generative-ai/docs/reference/rest/v1/GenerateContentResponse#TrafficType);
// empty for the standard one.
func tier(service, traffic string) string {
	for _, s := range []string{service, strings.TrimPrefix(traffic, "ON_DEMAND_")} {
		switch s = strings.ToLower(s); s {
		case "", "standard", "unspecified", "service_tier_unspecified", "on_demand", "traffic_type_unspecified":
		default:
			return s
		}
	}
	return ""
}

// grounding is what was looked up for an answer.
type grounding struct {
	web, image map[string]bool
	maps       bool
}

// maxQueries bounds how many are remembered.
const maxQueries = 1000

// add reads the metadata of a chunk, as far as it can be read.
func (g *grounding) add(raw json.RawMessage) {
	var m GroundingMetadata
	if len(raw) == 0 || json.Unmarshal(raw, &m) != nil {
		return
	}
	keep := func(set *map[string]bool, queries []string) {
		for _, q := range queries {
			if q == "" || len(*set) >= maxQueries {
				continue
			}
			if *set == nil {
				*set = map[string]bool{}
			}
			(*set)[q] = true
		}
	}
	keep(&g.web, m.WebSearchQueries)
	keep(&g.image, m.ImageSearchQueries)
	for _, c := range m.GroundingChunks {
		g.maps = g.maps || len(c.Maps) > 0 && string(c.Maps) != "null"
	}
}

// billed says how many searches are billed: from Gemini 3 on each different query
// that is not empty, before it one for a prompt that was grounded
// (https://ai.google.dev/gemini-api/docs/google-search#pricing). What is not
// certain is said beside.
func (g *grounding) billed(model string) (searches int64, beside []string) {
	switch n := int64(len(g.web)); {
	case n == 0:
	case generation(model) >= 3:
		searches = n
	case generation(model) > 0:
		searches = 1
	default:
		beside = append(beside, fmt.Sprintf("web_search_queries: %d", n))
	}
	if n := len(g.image); n > 0 {
		beside = append(beside, fmt.Sprintf("image_search_queries: %d", n))
	}
	if g.maps {
		beside = append(beside, "google_maps_grounding: 1")
	}
	return searches, beside
}
