package conformance_test

import (
	"context"

	"github.com/anthropics/anthropic-sdk-go"
	"github.com/anthropics/anthropic-sdk-go/option"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/internal/traffic"
)

// sdkMessages decodes with the SDK's beta types, which know every block of the
// others and more.
func sdkMessages(ctx context.Context, e *traffic.Exchange, _ *tally) (answer, error) {
	client := anthropic.NewClient(
		option.WithHTTPClient(e.Client()), option.WithBaseURL("https://recorded.test/"),
		option.WithAPIKey("none"), option.WithMaxRetries(0),
	)
	params := anthropic.BetaMessageNewParams{
		Model: e.Model, MaxTokens: 1,
		Messages: []anthropic.BetaMessageParam{anthropic.NewBetaUserMessage(anthropic.NewBetaTextBlock("hi"))},
	}
	if !e.Stream {
		m, err := client.Beta.Messages.New(ctx, params)
		if err != nil {
			return answer{}, err
		}
		return messagesAnswer(m), nil
	}
	stream := client.Beta.Messages.NewStreaming(ctx, params)
	defer func() { _ = stream.Close() }()
	var m anthropic.BetaMessage
	for stream.Next() {
		if err := m.Accumulate(stream.Current()); err != nil {
			return answer{}, err
		}
	}
	if err := stream.Err(); err != nil {
		return answer{}, err
	}
	return messagesAnswer(&m), nil
}

func messagesAnswer(m *anthropic.BetaMessage) answer {
	a := answer{Model: m.Model, Finish: string(m.StopReason)}
	for i := range m.Content {
		switch v := m.Content[i].AsAny().(type) {
		case anthropic.BetaTextBlock:
			a.Text += m.Content[i].Text
		case anthropic.BetaThinkingBlock:
			a.Reasoning += m.Content[i].Thinking
		case anthropic.BetaToolUseBlock:
			a.Calls = append(a.Calls, call{v.ID, v.Name, compact(m.Content[i].Input)})
		}
	}
	u := &m.Usage
	input, output := u.InputTokens, u.OutputTokens
	for _, it := range u.Iterations {
		if it.Type == "compaction" { // billed, and not in the totals
			input += it.InputTokens
			output += it.OutputTokens
		}
	}
	a.count("input", input)
	a.count("output", output)
	a.count("cache_read", u.CacheReadInputTokens)
	a.count("cache_creation", u.CacheCreationInputTokens)
	a.count("cache_creation_1h", u.CacheCreation.Ephemeral1hInputTokens)
	a.count("thinking", u.OutputTokensDetails.ThinkingTokens)
	a.count("web_searches", u.ServerToolUse.WebSearchRequests)
	return a
}

// messagesUsage puts buckets together to what Anthropic reports.
func messagesUsage(a *answer, u cairn.Usage) {
	a.count("input", u.Input)
	a.count("output", u.Output)
	a.count("cache_read", u.CacheRead)
	a.count("cache_creation", u.CacheWrite5m+u.CacheWrite1h)
	a.count("cache_creation_1h", u.CacheWrite1h)
	a.count("thinking", u.Reasoning)
	a.count("web_searches", u.Searches)
}
