package conformance_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
	"github.com/openai/openai-go/v3/packages/respjson"
	"github.com/openai/openai-go/v3/responses"
	"github.com/tidwall/gjson"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/internal/traffic"
)

func openaiClient(e *traffic.Exchange) openai.Client {
	return openai.NewClient(
		option.WithHTTPClient(e.Client()), option.WithBaseURL("https://recorded.test/v1/"),
		option.WithAPIKey("none"), option.WithMaxRetries(0),
	)
}

// sdkChat decodes with openai-go. What it has no type for (reasoning, content as a
// list, other servers' counts) is read from the JSON that it keeps.
func sdkChat(ctx context.Context, e *traffic.Exchange, count *tally) (answer, error) {
	client := openaiClient(e)
	params := openai.ChatCompletionNewParams{Model: e.Model, Messages: []openai.ChatCompletionMessageParamUnion{openai.UserMessage("hi")}}
	if !e.Stream {
		c, err := client.Chat.Completions.New(ctx, params)
		if err != nil {
			return answer{}, err
		}
		a := chatAnswer(c)
		if len(c.Choices) > 0 {
			a.Reasoning = extraReasoning(c.Choices[0].Message.JSON.ExtraFields)
			if raw := c.Choices[0].Message.JSON.Content.Raw(); strings.HasPrefix(raw, "[") {
				count.exclude("chat: content as a list: the SDK has no type for it, it is read from the JSON that it keeps", e)
				a.Text, a.Reasoning = mistralContent(raw)
			}
		}
		extraFields(e, &a, &c.Usage, count)
		return a, nil
	}
	stream := client.Chat.Completions.NewStreaming(ctx, params)
	defer func() { _ = stream.Close() }()
	var acc openai.ChatCompletionAccumulator
	p := chunks{accepted: true}
	for stream.Next() {
		chunk := stream.Current()
		p.accepted = p.accepted && acc.AddChunk(chunk)
		if err := p.add(&chunk); err != nil {
			return answer{}, err
		}
	}
	if err := stream.Err(); err != nil {
		return answer{}, err
	}
	a := answer{Model: p.model, Calls: p.calls}
	if p.accepted {
		a = chatAnswer(&acc.ChatCompletion)
		if a.Text != p.text && p.listed == 0 {
			return a, fmt.Errorf("the accumulator has the text %q, the chunks %q", a.Text, p.text)
		}
	} else {
		count.exclude("chat: the SDK's accumulator rejects a chunk, whose id is another: its chunks are put together here", e)
	}
	if p.finish != a.Finish && p.accepted {
		count.exclude("chat: the SDK's accumulator forgets the finish reason, for a chunk of usage has none: it is taken from its chunk", e)
	}
	if gaps := len(a.Calls); p.accepted {
		a.Calls = slices.DeleteFunc(a.Calls, func(c call) bool { return c == call{} })
		if len(a.Calls) < gaps {
			count.exclude("chat: the SDK's accumulator fills a gap between indices with an empty call", e)
		}
	}
	a.Text, a.Reasoning, a.Finish = p.text, p.reasoning, p.finish
	if p.listed > 0 {
		count.exclude("chat: content as a list: the SDK has no type for it, it is read from the JSON that it keeps", e)
	}
	if p.groq {
		count.exclude("chat: x_groq.usage: the SDK has no field for it, it is read from the JSON that it keeps", e)
	}
	extraFields(e, &a, p.usage, count)
	return a, nil
}

// extraFields adds the usage, and counts what had to be read beside the SDK's types.
func extraFields(e *traffic.Exchange, a *answer, u *openai.CompletionUsage, count *tally) {
	if a.Reasoning != "" {
		count.exclude("chat: reasoning: the SDK has no field for it, it is read from the JSON that it keeps", e)
	}
	if u == nil {
		return
	}
	chatUsage(a, u)
	if a.Usage["cached"] != u.PromptTokensDetails.CachedTokens {
		count.exclude("chat: cached tokens under a name that the SDK has no field for, read from the JSON that it keeps", e)
	}
	if a.Usage["searches"] > 0 {
		count.exclude("chat: searches: the SDK has no field for them, they are read from the JSON that it keeps", e)
	}
}

// chunks puts together what the accumulator drops.
type chunks struct {
	accepted                       bool // by the accumulator
	model, text, reasoning, finish string
	listed                         int // deltas whose content is a list
	calls                          []call
	usage                          *openai.CompletionUsage
	groq                           bool // the usage is where only Groq has it
}

func (p *chunks) add(chunk *openai.ChatCompletionChunk) error {
	if p.model == "" {
		p.model = chunk.Model
	}
	for _, choice := range chunk.Choices {
		if choice.Index != 0 {
			continue
		}
		if choice.FinishReason != "" {
			p.finish = choice.FinishReason
		}
		p.reasoning += extraReasoning(choice.Delta.JSON.ExtraFields)
		if raw := choice.Delta.JSON.Content.Raw(); strings.HasPrefix(raw, "[") {
			t, r := mistralContent(raw)
			p.text += t
			p.reasoning += r
			p.listed++
		} else {
			p.text += choice.Delta.Content
		}
		for _, t := range choice.Delta.ToolCalls {
			for int64(len(p.calls)) <= t.Index {
				p.calls = append(p.calls, call{})
			}
			c := &p.calls[t.Index]
			c.ID += t.ID
			c.Name += t.Function.Name
			c.Args += t.Function.Arguments
		}
	}
	if chunk.JSON.Usage.Valid() {
		p.usage = &chunk.Usage
	} else if raw := gjson.Get(chunk.RawJSON(), "x_groq.usage"); raw.IsObject() && p.usage == nil {
		p.usage, p.groq = &openai.CompletionUsage{}, true
		return p.usage.UnmarshalJSON([]byte(raw.Raw))
	}
	return nil
}

func chatAnswer(c *openai.ChatCompletion) answer {
	a := answer{Model: c.Model}
	if len(c.Choices) == 0 {
		return a
	}
	choice := &c.Choices[0]
	a.Text, a.Finish = choice.Message.Content, choice.FinishReason
	for _, t := range choice.Message.ToolCalls {
		a.Calls = append(a.Calls, call{t.ID, t.Function.Name, t.Function.Arguments})
	}
	return a
}

// extraReasoning reads the fields that openai-go does not have: DeepSeek's and
// others' reasoning_content, OpenRouter's and Groq's reasoning.
func extraReasoning(extra map[string]respjson.Field) string {
	for _, name := range []string{"reasoning_content", "reasoning"} {
		if r := gjson.Parse(extra[name].Raw()); r.Type == gjson.String && r.Str != "" {
			return r.Str
		}
	}
	return ""
}

// mistralContent reads content that is a list: text, and thinking with a list of
// texts in it.
func mistralContent(raw string) (text, reasoning string) {
	for _, part := range gjson.Parse(raw).Array() {
		text += part.Get("text").String()
		for _, t := range part.Get("thinking").Array() {
			reasoning += t.Get("text").String()
		}
	}
	return text, reasoning
}

func chatUsage(a *answer, u *openai.CompletionUsage) {
	raw := gjson.Parse(u.RawJSON())
	cached := u.PromptTokensDetails.CachedTokens
	for _, name := range []string{"cached_tokens", "num_cached_tokens", "prompt_cache_hit_tokens"} { // Moonshot, Mistral, DeepSeek
		cached = max(cached, raw.Get(name).Int())
	}
	a.count("prompt", u.PromptTokens)
	a.count("completion", u.CompletionTokens)
	a.count("cached", cached)
	a.count("cache_write", max(u.PromptTokensDetails.CacheWriteTokens, raw.Get("cache_creation_input_tokens").Int()))
	a.count("audio_in", u.PromptTokensDetails.AudioTokens)
	a.count("reasoning", u.CompletionTokensDetails.ReasoningTokens)
	a.count("audio_out", u.CompletionTokensDetails.AudioTokens)
	a.count("searches", max(raw.Get("num_search_queries").Int(), raw.Get("server_tool_use_details.web_search_requests").Int()))
	a.count("total", u.TotalTokens)
}

// openaiUsage puts buckets together to what OpenAI's wires report: a prompt with
// everything in it, a completion, and a total. Where the total is larger than both,
// the rest is output that the provider leaves out of the completion.
func openaiUsage(e *traffic.Exchange, a *answer, u cairn.Usage, theirs *answer, count *tally) {
	reported := theirs.Usage
	apart := max(0, reported["total"]-reported["prompt"]-reported["completion"])
	total := u.Total()
	if e.Provider == "vercel-gateway" && strings.HasPrefix(e.Model, "google/") && reported["reasoning"] > 0 {
		count.exclude("chat: the gateway bills reasoning beside completion and total", e)
		apart = reported["reasoning"]
		total -= apart
	}
	if reported["total"] == 0 {
		total = 0
	}
	written := u.CacheWrite5m + u.CacheWrite1h
	if reported["cached"]+reported["cache_write"] > reported["prompt"] {
		count.exclude("chat: tokens are counted as read from the cache and as written to it, ours are in one bucket", e)
		written = reported["cache_write"]
	}
	reasoning := u.Reasoning
	if apart > 0 && reported["reasoning"] == 0 {
		count.exclude("chat: output that is only in the total, ours is reasoning", e)
		reasoning -= apart
	}
	a.count("prompt", u.Prompt())
	a.count("completion", u.Output+u.OutputAudio-apart)
	a.count("cached", u.CacheRead)
	a.count("cache_write", written)
	a.count("audio_in", u.InputAudio)
	a.count("audio_out", u.OutputAudio)
	a.count("reasoning", reasoning)
	a.count("searches", u.Searches)
	a.count("total", total)
}

// errNoEnd is a stream that ended without its last event.
var errNoEnd = errors.New("the stream has no last event")

func sdkResponses(ctx context.Context, e *traffic.Exchange, count *tally) (answer, error) {
	client := openaiClient(e)
	params := responses.ResponseNewParams{Model: e.Model, Input: responses.ResponseNewParamsInputUnion{OfString: openai.String("hi")}}
	if !e.Stream {
		r, err := client.Responses.New(ctx, params)
		if err != nil {
			return answer{}, err
		}
		return responsesAnswer(e, r, r.Output, count), nil
	}
	stream := client.Responses.NewStreaming(ctx, params)
	defer func() { _ = stream.Close() }()
	var end *responses.Response
	type indexed struct {
		at   int64
		item responses.ResponseOutputItemUnion
	}
	var done []indexed
	for stream.Next() {
		switch event := stream.Current(); event.Type {
		case "response.completed", "response.incomplete", "response.failed":
			end = &event.Response
		case "response.output_item.done":
			done = append(done, indexed{event.OutputIndex, event.Item})
		}
	}
	if err := stream.Err(); err != nil {
		return answer{}, err
	}
	if end == nil {
		return answer{}, errNoEnd
	}
	output := end.Output
	if len(output) == 0 { // servers that leave it out: the items were in their own events
		slices.SortStableFunc(done, func(a, b indexed) int { return int(a.at - b.at) })
		if len(done) > 0 {
			count.exclude("responses: the last event has no output: the items are taken from their own events", e)
		}
		for _, d := range done {
			output = append(output, d.item)
		}
	}
	return responsesAnswer(e, end, output, count), nil
}

func responsesAnswer(e *traffic.Exchange, r *responses.Response, output []responses.ResponseOutputItemUnion, count *tally) answer {
	a := answer{Model: r.Model, Finish: string(r.Status)}
	if r.IncompleteDetails.Reason != "" {
		a.Finish = r.IncompleteDetails.Reason
	}
	var searches int64
	for _, item := range output {
		switch v := item.AsAny().(type) {
		case responses.ResponseOutputMessage:
			for _, c := range v.Content {
				a.Text += c.Text + c.Refusal
			}
		case responses.ResponseReasoningItem:
			var texts []string
			for _, s := range v.Summary {
				texts = append(texts, s.Text)
			}
			for _, c := range v.Content {
				texts = append(texts, c.Text)
			}
			if len(texts) > 1 {
				count.exclude("responses: the paragraphs of a summary are a list, ours are a text with blank lines between", e)
			}
			a.Reasoning += strings.Join(texts, "\n\n")
		case responses.ResponseFunctionToolCall:
			a.Calls = append(a.Calls, call{v.CallID, v.Name, v.Arguments})
		case responses.ResponseCustomToolCall:
			a.Calls = append(a.Calls, call{v.CallID, v.Name, v.Input})
		case responses.ResponseFunctionWebSearch:
			if v.Action.Type == "search" || v.Action.Type == "" {
				searches++
			}
		}
	}
	if u := &r.Usage; r.JSON.Usage.Valid() {
		a.count("prompt", u.InputTokens)
		a.count("completion", u.OutputTokens)
		a.count("cached", u.InputTokensDetails.CachedTokens)
		a.count("cache_write", u.InputTokensDetails.CacheWriteTokens)
		a.count("reasoning", u.OutputTokensDetails.ReasoningTokens)
		a.count("searches", searches)
		a.count("total", u.TotalTokens)
	}
	return a
}
