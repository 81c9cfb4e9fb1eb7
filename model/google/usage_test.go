package google_test

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/model/google"
)

func TestReadUsage(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		raw     string
		want    cairn.Usage
		service string
		beside  []string
	}{
		"text": {
			raw:  `{"promptTokenCount":100,"candidatesTokenCount":10,"thoughtsTokenCount":5,"totalTokenCount":115,"serviceTier":"standard"}`,
			want: cairn.Usage{Input: 100, Output: 15, Reasoning: 5},
		},
		"cache and tools": {
			raw: `{"promptTokenCount":100,"cachedContentTokenCount":80,"toolUsePromptTokenCount":40,"candidatesTokenCount":10,"totalTokenCount":150,
				"trafficType":"ON_DEMAND_FLEX"}`,
			want: cairn.Usage{Input: 60, CacheRead: 80, Output: 10}, service: "flex",
		},
		"audio and images": {
			raw: `{"promptTokenCount":100,"cachedContentTokenCount":30,"candidatesTokenCount":50,"toolUsePromptTokenCount":5,"totalTokenCount":160,
				"promptTokensDetails":[{"modality":"TEXT","tokenCount":40},{"modality":"AUDIO","tokenCount":60}],
				"cacheTokensDetails":[{"modality":"AUDIO","tokenCount":20},{"modality":"TEXT","tokenCount":10}],
				"toolUsePromptTokensDetails":[{"modality":"AUDIO","tokenCount":2}],
				"candidatesTokensDetails":[{"modality":"AUDIO","tokenCount":7},{"modality":"IMAGE","tokenCount":40}],
				"trafficType":"PROVISIONED_THROUGHPUT"}`,
			want:    cairn.Usage{Input: 33, CacheRead: 30, InputAudio: 42, Output: 43, OutputAudio: 7},
			service: "provisioned_throughput",
			beside:  []string{"cached_audio_tokens: 20", "output_image_tokens: 40", "unaccounted_tokens: 5"},
		},
		"impossible": {
			raw: `{"promptTokenCount":10,"cachedContentTokenCount":80,"candidatesTokenCount":-3,"thoughtsTokenCount":9223372036854775807,
				"promptTokensDetails":[{"modality":"AUDIO","tokenCount":9223372036854775807},{"modality":"AUDIO","tokenCount":9223372036854775807}],
				"candidatesTokensDetails":[{"modality":"AUDIO","tokenCount":4}],"serviceTier":"PRIORITY","trafficType":"ON_DEMAND"}`,
			want: cairn.Usage{CacheRead: 10, Output: 1 << 32, Reasoning: 1 << 32}, service: "priority",
		},
		"partly another form": {
			raw:  `{"promptTokenCount":10,"promptTokensDetails":{"x":1},"candidatesTokenCount":5}`,
			want: cairn.Usage{Input: 10, Output: 5}, beside: []string{"usage in a form that is not known"},
		},
		"another form": {raw: `{"promptTokenCount":"x"}`, beside: []string{"usage in a form that is not known"}},
	}
	for name, test := range tests {
		u, service, beside := google.ReadUsage(json.RawMessage(test.raw))
		if diff := cmp.Diff(test.want, u); diff != "" || service != test.service {
			t.Errorf("%s: tier %q: %s", name, service, diff)
		}
		if diff := cmp.Diff(test.beside, beside); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

// TestBuckets: the buckets are never negative and add up to what was reported.
func TestBuckets(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.Int64Range(0, 1000)
		draw := func(name string) *int64 {
			if rapid.Bool().Draw(t, "no "+name) {
				return nil
			}
			v := n.Draw(t, name)
			return &v
		}
		details := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) google.ModalityTokenCount {
			return google.ModalityTokenCount{Modality: rapid.SampledFrom([]string{"TEXT", "AUDIO", "IMAGE"}).Draw(t, "modality"), TokenCount: n.Draw(t, "tokens")}
		}), 0, 3)
		m := google.UsageMetadata{
			PromptTokenCount: draw("prompt"), CachedContentTokenCount: draw("cached"), CandidatesTokenCount: draw("candidates"),
			ToolUsePromptTokenCount: draw("tools"), ThoughtsTokenCount: draw("thoughts"),
			PromptTokensDetails: details.Draw(t, "p"), CacheTokensDetails: details.Draw(t, "k"),
			CandidatesTokensDetails: details.Draw(t, "c"), ToolUsePromptTokensDetails: details.Draw(t, "t"),
		}
		raw, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		u, _, _ := google.ReadUsage(raw)
		zero := func(v *int64) int64 {
			if v == nil {
				return 0
			}
			return *v
		}
		if min(u.Input, u.CacheRead, u.InputAudio, u.Output, u.OutputAudio, u.Reasoning) < 0 || u.Reasoning > u.Output {
			t.Fatalf("%+v", u)
		}
		if u.Prompt() != zero(m.PromptTokenCount)+zero(m.ToolUsePromptTokenCount) ||
			u.Output+u.OutputAudio != zero(m.CandidatesTokenCount)+zero(m.ThoughtsTokenCount) {
			t.Fatalf("%+v of %s", u, raw)
		}
	})
}

func TestSearches(t *testing.T) {
	t.Parallel()
	tests := []struct {
		model, grounding string
		want             int64
		beside           []string
	}{
		{"gemini-3.1-pro-preview", `{"webSearchQueries":["","a","b","a"]}`, 2, nil},
		{"gemini-2.5-flash", `{"webSearchQueries":["a","b"]}`, 1, nil},
		{"gemini-2.5-flash", `{"webSearchQueries":[""],"groundingChunks":[{"web":{}}]}`, 0, nil},
		{"gemini-flash-latest", `{"webSearchQueries":["a","b"]}`, 2, nil},
		{"tuned", `{"webSearchQueries":["a","b"]}`, 0, []string{"web_search_queries: 2"}},
		{"gemini-3-pro-image", `{"imageSearchQueries":["a"],"groundingChunks":[{"maps":{"uri":"x"}}]}`, 0, []string{"image_search_queries: 1", "google_maps_grounding: 1"}},
		{"gemini-3-pro", `{"webSearchQueries":5}`, 0, nil},
	}
	for _, test := range tests {
		a, err := google.DecodeResponse("google", fmt.Appendf(nil,
			`{"candidates":[{"content":{"parts":[{"text":"x"}]},"finishReason":"STOP","groundingMetadata":%s}],"modelVersion":%q}`, test.grounding, test.model))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(test.beside, a.Beside); a.Usage.Searches != test.want || diff != "" {
			t.Errorf("%s: %d searches, %s", test.model, a.Usage.Searches, diff)
		}
	}
}
