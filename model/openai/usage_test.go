package openai_test

import (
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/model/openai"
	"github.com/cairn-run/cairn/model/wire"
)

func chatWith(usage, more string) string {
	return `{"choices":[{"index":0,"message":{"content":"A"` + more + `},"finish_reason":"stop"}],"usage":` + usage
}

func TestUsage(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		body   string
		want   cairn.Usage
		beside []string
	}{
		"OpenAI": {
			chatWith(`{"prompt_tokens":100,"completion_tokens":50,"total_tokens":150,"prompt_tokens_details":{"cached_tokens":60,"cache_write_tokens":20,"audio_tokens":10},"completion_tokens_details":{"reasoning_tokens":30,"audio_tokens":5}}`, "") + `}`,
			cairn.Usage{Input: 10, CacheRead: 60, CacheWrite5m: 20, InputAudio: 10, Output: 45, Reasoning: 30, OutputAudio: 5},
			nil,
		},
		"xAI: reasoning is not in the completion": {
			chatWith(`{"prompt_tokens":331,"completion_tokens":11,"total_tokens":674,"prompt_tokens_details":{"cached_tokens":283},"completion_tokens_details":{"reasoning_tokens":332},"num_sources_used":3}`, "") + `}`,
			cairn.Usage{Input: 48, CacheRead: 283, Output: 343, Reasoning: 332},
			[]string{"num_sources_used: 3"},
		},
		"Gemini: reasoning has no name": {
			chatWith(`{"prompt_tokens":35,"completion_tokens":12,"total_tokens":109}`, "") + `}`,
			cairn.Usage{Input: 35, Output: 74, Reasoning: 62},
			nil,
		},
		"a gateway, more reasoning than completion": {
			chatWith(`{"prompt_tokens":28,"completion_tokens":5,"total_tokens":33,"completion_tokens_details":{"reasoning_tokens":48}}`, "") + `}`,
			cairn.Usage{Input: 28, Output: 53, Reasoning: 48},
			nil,
		},
		"a gateway that shows Google's counts": {
			chatWith(`{"prompt_tokens":28,"completion_tokens":50,"total_tokens":78,"completion_tokens_details":{"reasoning_tokens":48}}`,
				`,"provider_metadata":{"google":{"usageMetadata":{"candidatesTokenCount":50,"thoughtsTokenCount":48}},"gateway":{"billableWebSearchCalls":2}}`) + `}`,
			cairn.Usage{Input: 28, Output: 98, Reasoning: 48},
			[]string{"billable_web_search_calls: 2"},
		},
		"OpenRouter counts reasoning in another way": {
			chatWith(`{"prompt_tokens":43,"completion_tokens":10,"total_tokens":53,"completion_tokens_details":{"reasoning_tokens":11,"image_tokens":4},"server_tool_use_details":{"web_search_requests":2,"tool_calls_executed":3}}`, "") + `,"provider":"Minimax"}`,
			cairn.Usage{Input: 43, Output: 10, Reasoning: 10, Searches: 2},
			[]string{"server_tool_calls: 1", "output_image_tokens: 4"},
		},
		"Perplexity": {
			chatWith(`{"prompt_tokens":33,"completion_tokens":70,"total_tokens":103,"citation_tokens":200,"num_search_queries":18,"reasoning_tokens":900}`, "") + `,"search_results":[{},{}]}`,
			cairn.Usage{Input: 33, Output: 70, Searches: 18},
			[]string{"reasoning_tokens: 900", "citation_tokens: 200", "search_results: 2"},
		},
		"Groq, a compound model": {
			chatWith(`null`, "") + `,"x_groq":{"usage":{"prompt_tokens":5,"completion_tokens":2.0},"usage_breakdown":{"models":[{},{}]}}}`,
			cairn.Usage{Input: 5, Output: 2},
			[]string{"usage_breakdown: 2"},
		},
		"citations of a search nobody counted": {
			chatWith(`{"prompt_tokens":5,"completion_tokens":2,"total_tokens":7}`, `,"annotations":[{"type":"url_citation"},{"type":"url_citation"}]`) + `}`,
			cairn.Usage{Input: 5, Output: 2},
			[]string{"url_citations: 2"},
		},
		"Mistral":  {chatWith(`{"prompt_tokens":77,"completion_tokens":12,"total_tokens":89,"num_cached_tokens":76}`, "") + `}`, cairn.Usage{Input: 1, CacheRead: 76, Output: 12}, nil},
		"Moonshot": {chatWith(`{"prompt_tokens":20,"completion_tokens":30,"total_tokens":50,"cached_tokens":10}`, "") + `}`, cairn.Usage{Input: 10, CacheRead: 10, Output: 30}, nil},
		"DeepSeek": {chatWith(`{"prompt_tokens":20,"completion_tokens":30,"prompt_cache_hit_tokens":10,"prompt_cache_miss_tokens":10}`, "") + `}`, cairn.Usage{Input: 10, CacheRead: 10, Output: 30}, nil},
		"more cached than there is": {
			chatWith(`{"prompt_tokens":20,"completion_tokens":1,"prompt_tokens_details":{"cached_tokens":15,"cache_write_tokens":9,"audio_tokens":3}}`, "") + `}`,
			cairn.Usage{CacheRead: 15, CacheWrite5m: 5, Output: 1},
			[]string{"tokens_beyond_the_prompt: 4", "tokens_beyond_the_prompt: 3"},
		},
		"only a total": {
			chatWith(`{"total_tokens":500}`, "") + `}`, cairn.Usage{Output: 500}, []string{"tokens_without_a_name: 500"},
		},
		"a total and what came out": {
			chatWith(`{"completion_tokens":10,"total_tokens":500}`, "") + `}`, cairn.Usage{Input: 490, Output: 10}, []string{"tokens_without_a_name: 490"},
		},
		"a gateway to Anthropic": {
			chatWith(`{"prompt_tokens":103,"completion_tokens":10,"total_tokens":113,"cache_read_input_tokens":60,"cache_creation_input_tokens":40}`, "") + `}`,
			cairn.Usage{Input: 3, CacheRead: 60, CacheWrite5m: 40, Output: 10},
			nil,
		},
		"a gateway to Anthropic that counts like it": {
			chatWith(`{"prompt_tokens":3,"completion_tokens":10,"total_tokens":113,"cache_read_input_tokens":60,"cache_creation_input_tokens":40}`, "") + `}`,
			cairn.Usage{Input: 3, CacheRead: 60, CacheWrite5m: 40, Output: 10},
			nil,
		},
		"in strings": {chatWith(`{"prompt_tokens":"12","completion_tokens":"7"}`, "") + `}`, cairn.Usage{Input: 12, Output: 7}, nil},
		"none":       {chatWith(`null`, "") + `}`, cairn.Usage{}, nil},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a, err := openai.DecodeChat("p", []byte(test.body))
			if err != nil {
				t.Fatal(err)
			}
			equal(t, test.want, a.Usage)
			equal(t, test.beside, a.Beside)
		})
	}
}

// The buckets never are negative, and add up to the prompt and to the output.
func TestUsagePartition(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		n := func(name string) int64 { return rapid.Int64Range(-5, 1000).Draw(t, name) }
		prompt, completion, total := n("prompt"), n("completion"), n("total")
		usage := fmt.Sprintf(
			`{"prompt_tokens":%d,"completion_tokens":%d,"total_tokens":%d,"cached_tokens":%d,"cache_creation_input_tokens":%d,`+
				`"prompt_tokens_details":{"cached_tokens":%d,"audio_tokens":%d},"completion_tokens_details":{"reasoning_tokens":%d,"audio_tokens":%d}}`,
			prompt, completion, total, n("cached"), n("written"), n("cached too"), n("heard"), n("reasoning"), n("spoken"),
		)
		a, err := openai.DecodeChat("p", []byte(chatWith(usage, "")+"}"))
		if err != nil {
			t.Fatal(err)
		}
		u := a.Usage
		if min(u.Input, u.CacheRead, u.CacheWrite5m, u.Output, u.Reasoning, u.InputAudio, u.OutputAudio) < 0 || u.Reasoning > u.Output {
			t.Fatalf("%s: %+v", usage, u)
		}
		prompt, completion, total = max(prompt, 0), max(completion, 0), max(total, 0)
		if prompt == 0 && total > completion { // what nothing is said of
			if u.Total() < total {
				t.Fatalf("%s: %d in all", usage, u.Total())
			}
			return
		}
		if u.Prompt() != prompt && u.Total() != total {
			t.Fatalf("%s: a prompt of %d", usage, u.Prompt())
		}
		out := u.Output + u.OutputAudio
		if prompt > 0 && total > prompt+completion && u.Total() != total || out < completion {
			t.Fatalf("%s: %d in all, %d of it output", usage, u.Total(), out)
		}
	})
}

// The names that the Responses API gives to the buckets count as those of chat do.
func TestUsageOfResponses(t *testing.T) {
	t.Parallel()
	a, err := openai.DecodeResponses("p", []byte(`{"status":"completed","output":[{"type":"new"}],"usage":{"input_tokens":100,"output_tokens":50,"total_tokens":150,`+
		`"input_tokens_details":{"cached_tokens":60,"cache_write_tokens":20,"audio_tokens":10,"cache_write_tokens_details":{"ttl_12h_tokens":7}},`+
		`"output_tokens_details":{"reasoning_tokens":30,"audio_tokens":5,"image_tokens":3}}}`))
	if err != nil {
		t.Fatal(err)
	}
	equal(t, cairn.Usage{Input: 10, CacheRead: 60, CacheWrite5m: 20, InputAudio: 10, Output: 45, Reasoning: 30, OutputAudio: 5}, a.Usage)
	equal(t, []string{"output_image_tokens: 3", "cache_write_12h_tokens: 7"}, a.Beside)
}

// However much is reported, and at the highest price there is, the cost is not below
// zero: a budget would get it back.
func TestHugeUsage(t *testing.T) {
	t.Parallel()
	const most = `9e18`
	a, err := openai.DecodeChat("p", []byte(chatWith(`{"prompt_tokens":`+most+`,"completion_tokens":`+most+`,"num_search_queries":`+most+`}`, "")+"}"))
	if err != nil {
		t.Fatal(err)
	}
	dear := cairn.Rates{Input: 600 * cairn.Dollar, Output: 600 * cairn.Dollar, Searches: 35_000 * cairn.Dollar}
	one := dear.Cost(cairn.Usage{Input: 1 << 20, Output: 1 << 20})
	if got := dear.Cost(a.Usage); got <= one {
		t.Errorf("%+v costs %s", a.Usage, got)
	}
}

// A usage that counts nothing does not take back one that did.
func TestUsageTakenBack(t *testing.T) {
	t.Parallel()
	s := openai.NewChatStream("p")
	for _, data := range []string{
		`{"choices":[{"index":0,"delta":{"content":"A"},"finish_reason":"stop"}]}`,
		`{"choices":[],"usage":{"prompt_tokens":5,"completion_tokens":2}}`, `{"choices":[],"usage":{}}`, `{"choices":[],"usage":null}`, `[DONE]`,
	} {
		if _, err := s.Add(wire.Event{Data: []byte(data)}); err != nil {
			t.Fatal(err)
		}
	}
	a, err := s.Done()
	if err != nil {
		t.Fatal(err)
	}
	equal(t, cairn.Usage{Input: 5, Output: 2}, a.Usage)
	equal(t, `{"prompt_tokens":5,"completion_tokens":2}`, string(a.RawUsage))
}
