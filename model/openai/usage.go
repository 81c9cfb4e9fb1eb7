package openai

import (
	"encoding/json"
	"fmt"

	"github.com/cairn-run/cairn"
)

// account is the usage object of both wires, and what other servers add to it.
type account struct {
	Prompt     Count `json:"prompt_tokens"`
	Completion Count `json:"completion_tokens"`
	Input      Count `json:"input_tokens"`
	Output     Count `json:"output_tokens"`
	Total      Count `json:"total_tokens"`

	PromptDetails     inputDetails  `json:"prompt_tokens_details"`
	InputDetails      inputDetails  `json:"input_tokens_details"`
	CompletionDetails outputDetails `json:"completion_tokens_details"`
	OutputDetails     outputDetails `json:"output_tokens_details"`

	Cached      Count `json:"cached_tokens"`               // Moonshot
	NumCached   Count `json:"num_cached_tokens"`           // Mistral
	CacheHit    Count `json:"prompt_cache_hit_tokens"`     // DeepSeek
	CacheCreate Count `json:"cache_creation_input_tokens"` // Vercel AI Gateway
	CacheRead   Count `json:"cache_read_input_tokens"`     // gateways to Anthropic
	Reasoning   Count `json:"reasoning_tokens"`            // Perplexity and others

	SearchQueries Count `json:"num_search_queries"`         // Perplexity
	Citations     Count `json:"citation_tokens"`            // Perplexity
	Sources       Count `json:"num_sources_used"`           // xAI: billed by source
	ServerTools   Count `json:"num_server_side_tools_used"` // xAI
	ServerToolUse struct {
		WebSearches Count `json:"web_search_requests"`
		Executed    Count `json:"tool_calls_executed"`
	} `json:"server_tool_use_details"` // OpenRouter
	// AudioSeconds is Mistral's measure of audio input.
	AudioSeconds Count `json:"prompt_audio_seconds"`
}

type inputDetails struct {
	Cached     Count `json:"cached_tokens"`
	CacheWrite Count `json:"cache_write_tokens"`
	Audio      Count `json:"audio_tokens"`
	Writes     struct {
		Half Count `json:"ttl_30m_tokens"`
		Long Count `json:"ttl_12h_tokens"`
	} `json:"cache_write_tokens_details"`
}

type outputDetails struct {
	Reasoning Count `json:"reasoning_tokens"`
	Audio     Count `json:"audio_tokens"`
	Image     Count `json:"image_tokens"`
}

// evidence is what an answer says, beside its usage, of how to read it.
type evidence struct {
	// openRouter: completion_tokens holds the reasoning, and reasoning_tokens is
	// counted by another tokenizer, so that it may be the larger of the two
	// (https://openrouter.ai/docs/use-cases/reasoning-tokens).
	openRouter bool
	// candidates and thoughts are Google's own counts, where a gateway shows them.
	candidates, thoughts Count
}

// measure reads a usage object into disjoint buckets: they add up to the prompt
// and the output that were reported. The second value is what may be billed besides.
func measure(raw json.RawMessage, ev evidence) (cairn.Usage, []string) {
	var a account
	if tolerate(raw, &a) != nil {
		return cairn.Usage{}, nil
	}
	var beside []string
	note := func(name string, n Count) {
		if n > 0 {
			beside = append(beside, fmt.Sprintf("%s: %d", name, n))
		}
	}
	prompt, completion := max(a.Prompt, a.Input), max(a.Completion, a.Output)
	if rest := a.Total - completion; prompt == 0 && rest > 0 {
		// Only the total is known: what nothing is said of is billed as what is dearer.
		note("tokens_without_a_name", rest)
		if completion > 0 {
			prompt = rest
		} else {
			completion = rest
		}
	}
	read := max(a.PromptDetails.Cached, a.InputDetails.Cached, a.Cached, a.NumCached, a.CacheHit, a.CacheRead)
	written := max(a.PromptDetails.CacheWrite, a.InputDetails.CacheWrite, a.CacheCreate)
	if beyond := read + written; a.CacheRead+a.CacheCreate > 0 && a.Total == prompt+completion+beyond {
		prompt += beyond // counted as Anthropic does, and the total says so
	}
	out, reasoning := a.output(prompt, completion, ev, note)
	audioOut := min(max(a.CompletionDetails.Audio, a.OutputDetails.Audio), out)

	// Cached and written tokens are part of the prompt.
	left := prompt
	take := func(n Count) int64 {
		if n > left {
			note("tokens_beyond_the_prompt", n-left) // counted twice by the provider, and billed so
			n = left
		}
		left -= n
		return int64(n)
	}
	var u cairn.Usage
	u.CacheRead = take(read)
	// OpenAI keeps what it writes for thirty minutes, Anthropic behind OpenRouter for
	// five: it is the shorter and cheaper of a provider's two in both cases.
	u.CacheWrite5m = take(written)
	u.InputAudio = take(max(a.PromptDetails.Audio, a.InputDetails.Audio))
	u.Input = int64(left)
	u.Output = int64(out - audioOut)
	u.OutputAudio = int64(audioOut)
	u.Reasoning = min(int64(reasoning), u.Output)
	u.Searches = int64(max(a.SearchQueries, a.ServerToolUse.WebSearches))

	note("server_tool_calls", a.ServerToolUse.Executed-a.ServerToolUse.WebSearches)
	note("output_image_tokens", max(a.CompletionDetails.Image, a.OutputDetails.Image))
	note("cache_write_12h_tokens", max(a.PromptDetails.Writes.Long, a.InputDetails.Writes.Long))
	note("citation_tokens", a.Citations)
	note("num_sources_used", a.Sources)
	note("num_server_side_tools_used", a.ServerTools)
	note("prompt_audio_seconds", a.AudioSeconds)
	return u, beside
}

// counts says whether a usage object counts any tokens.
func counts(raw json.RawMessage) bool {
	u, _ := measure(raw, evidence{})
	return u.Total() > 0
}

// output says how much output there was, and how much of it was reasoning. OpenAI
// counts reasoning within completion_tokens; others do not, and this is how they
// are told apart, by what recorded answers show:
//
//   - The total is larger than prompt and completion: the rest is output. xAI
//     reports it as reasoning_tokens, Gemini's own endpoint under no name at all.
//   - There is more reasoning than completion, or Google's counts are shown and its
//     candidates alone make up the completion: reasoning is not in it (Vercel AI
//     Gateway with Gemini, whose cost shows that both are billed).
//   - Perplexity bills the reasoning of its research models at a price of its own
//     (https://docs.perplexity.ai/getting-started/pricing): it is noted beside.
func (a *account) output(prompt, completion Count, ev evidence, note func(string, Count)) (out, reasoning Count) {
	reasoning = max(a.CompletionDetails.Reasoning, a.OutputDetails.Reasoning)
	if reasoning == 0 {
		reasoning = a.Reasoning
	}
	if a.SearchQueries > 0 && reasoning > completion {
		note("reasoning_tokens", reasoning)
		return completion, 0
	}
	switch rest := a.Total - prompt - completion; {
	case prompt > 0 && rest > 0:
		if reasoning == 0 {
			reasoning = rest
		} else if reasoning != rest {
			note("tokens_without_a_name", max(rest-reasoning, 0))
		}
		return completion + rest, min(reasoning, completion+rest)
	case ev.openRouter:
	case reasoning > completion, reasoning > 0 && ev.thoughts == reasoning && ev.candidates == completion:
		return completion + reasoning, reasoning
	}
	return completion, min(reasoning, completion)
}

// tier is the service tier that was billed; empty: the standard one. Providers
// name the standard one differently: "auto" is what was asked for and names none,
// and "provisioned" (Google behind OpenRouter) is billed like any other, as the cost
// in recorded answers shows.
func tier(reported string) string {
	switch reported {
	case "default", "standard", "on_demand", "auto", "provisioned":
		return ""
	}
	return reported
}
