package anthropic

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/cairn-run/cairn"
)

func TestUsage(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		in      string
		want    cairn.Usage
		service string
		beside  []string
	}{
		"nothing": {``, cairn.Usage{}, "", nil},
		"plain": {
			`{"input_tokens":3,"cache_creation_input_tokens":50,"cache_read_input_tokens":100,"cache_creation":{"ephemeral_5m_input_tokens":20,"ephemeral_1h_input_tokens":30},"output_tokens":7,"output_tokens_details":{"thinking_tokens":4},"service_tier":"standard","inference_geo":"not_available"}`,
			cairn.Usage{Input: 3, CacheRead: 100, CacheWrite5m: 20, CacheWrite1h: 30, Output: 7, Reasoning: 4},
			"", nil,
		},
		"written, not how": {`{"input_tokens":3,"cache_creation_input_tokens":50}`, cairn.Usage{Input: 3, CacheWrite5m: 50}, "", nil},
		"how, not written": {`{"cache_creation":{"ephemeral_1h_input_tokens":50}}`, cairn.Usage{CacheWrite1h: 50}, "", nil},
		"more written later": {
			`{"cache_creation_input_tokens":80,"cache_creation":{"ephemeral_5m_input_tokens":0,"ephemeral_1h_input_tokens":50}}`,
			cairn.Usage{CacheWrite5m: 30, CacheWrite1h: 50},
			"", nil,
		},
		"how, by iteration": {
			`{"cache_creation_input_tokens":80,"cache_creation":{"ephemeral_1h_input_tokens":50},"iterations":[{"type":"message","cache_creation":{"ephemeral_1h_input_tokens":50}},{"type":"message","cache_creation":{"ephemeral_1h_input_tokens":30}}]}`,
			cairn.Usage{CacheWrite1h: 80},
			"", nil,
		},
		"searches": {
			`{"input_tokens":1,"server_tool_use":{"web_search_requests":2,"web_fetch_requests":3,"robot_requests":4}}`,
			cairn.Usage{Input: 1, Searches: 2},
			"",
			[]string{"robot_requests: 4"},
		},
		"compaction": {
			`{"input_tokens":682,"output_tokens":1320,"iterations":[{"type":"compaction","input_tokens":60385,"output_tokens":592,"cache_read_input_tokens":5,"cache_creation_input_tokens":6},{"type":"message","input_tokens":682,"output_tokens":1320}]}`,
			cairn.Usage{Input: 61067, Output: 1912, CacheRead: 5, CacheWrite5m: 6},
			"", nil,
		},
		"advisor": {
			`{"input_tokens":10,"output_tokens":5,"iterations":[{"type":"message","input_tokens":10,"output_tokens":5},{"type":"advisor_message","model":"claude-y","input_tokens":7,"output_tokens":3}]}`,
			cairn.Usage{Input: 10, Output: 5},
			"",
			[]string{"advisor_message claude-y: 7 input, 0 cache write, 0 cache read, 3 output tokens"},
		},
		"fallback": {
			`{"input_tokens":412,"output_tokens":264,"iterations":[{"type":"message","model":"claude-x","input_tokens":408,"output_tokens":0},{"type":"fallback_message","model":"claude-y","input_tokens":412,"output_tokens":264}],"fallback_credit":{"status":{"type":"redeemed"}}}`,
			cairn.Usage{Input: 412, Output: 264},
			"",
			[]string{"message claude-x: 408 input, 0 cache write, 0 cache read, 0 output tokens", "fallback_credit"},
		},
		"terms":          {`{"input_tokens":1,"service_tier":"priority","inference_geo":"us"}`, cairn.Usage{Input: 1}, "priority", []string{"inference_geo: us"}},
		"fast":           {`{"input_tokens":1,"service_tier":"standard","speed":"fast"}`, cairn.Usage{Input: 1}, "fast", nil},
		"fast, in batch": {`{"input_tokens":1,"service_tier":"batch","speed":"fast"}`, cairn.Usage{Input: 1}, "batch", []string{"speed: fast"}},
		"new":            {`{"input_tokens":1,"moon_tokens":9,"sun_tokens":0,"x":{"y":1}}`, cairn.Usage{Input: 1}, "", []string{"moon_tokens: 9"}},
		"nonsense": {
			`{"input_tokens":-5,"output_tokens":"7","cache_read_input_tokens":null,"cache_creation":[],"output_tokens_details":{"thinking_tokens":9},"server_tool_use":5,"iterations":{},"service_tier":6}`,
			cairn.Usage{},
			"", nil,
		},
		"too many": {`{"input_tokens":1e300,"output_tokens":2.5}`, cairn.Usage{Input: maxCount, Output: 2}, "", nil},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := readUsage(json.RawMessage(test.in))
			if diff := cmp.Diff(test.want, b.usage); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(test.beside, b.beside); diff != "" || b.service != test.service {
				t.Errorf("service %q: %s", b.service, diff)
			}
		})
	}
}

// TestUsagePartition: the buckets add up to what was reported, and none of them is
// negative.
func TestUsagePartition(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.Custom(func(t *rapid.T) Count { return Count(rapid.Int64Range(0, 1<<32).Draw(t, "n")) })
		split := rapid.Custom(func(t *rapid.T) *CacheCreation {
			if rapid.Bool().Draw(t, "no split") {
				return nil
			}
			return &CacheCreation{n.Draw(t, "5m"), n.Draw(t, "1h")}
		})
		u := Usage{
			InputTokens: n.Draw(t, "input"), CacheCreationInputTokens: n.Draw(t, "written"), CacheReadInputTokens: n.Draw(t, "read"),
			OutputTokens: n.Draw(t, "output"), CacheCreation: split.Draw(t, "split"),
			OutputTokensDetails: &OutputDetails{n.Draw(t, "thinking")},
		}
		prompt := u.InputTokens + u.CacheCreationInputTokens + u.CacheReadInputTokens
		if u.CacheCreationInputTokens == 0 && u.CacheCreation != nil {
			prompt += u.CacheCreation.Ephemeral5m + u.CacheCreation.Ephemeral1h
		}
		output := u.OutputTokens
		for range rapid.IntRange(0, 3).Draw(t, "iterations") {
			it := Iteration{
				Type:        rapid.SampledFrom([]string{"message", "compaction", "advisor_message"}).Draw(t, "type"),
				InputTokens: n.Draw(t, "input"), CacheCreationInputTokens: n.Draw(t, "written"), CacheReadInputTokens: n.Draw(t, "read"),
				OutputTokens: n.Draw(t, "output"), CacheCreation: split.Draw(t, "split"),
			}
			if it.Type == "compaction" {
				prompt += it.InputTokens + it.CacheCreationInputTokens + it.CacheReadInputTokens
				if it.CacheCreationInputTokens == 0 && it.CacheCreation != nil {
					prompt += it.CacheCreation.Ephemeral5m + it.CacheCreation.Ephemeral1h
				}
				output += it.OutputTokens
			}
			u.Iterations = append(u.Iterations, it)
		}
		raw, err := json.Marshal(u)
		if err != nil {
			t.Fatal(err)
		}
		got := readUsage(raw).usage
		if got.Prompt() != int64(prompt) || got.Output != int64(output) {
			t.Fatalf("%s\ngives %+v: prompt %d, want %d", raw, got, got.Prompt(), prompt)
		}
		if min(got.Input, got.CacheRead, got.CacheWrite5m, got.CacheWrite1h, got.Output, got.Reasoning) < 0 || got.Reasoning > got.Output {
			t.Fatalf("%+v", got)
		}
	})
}
