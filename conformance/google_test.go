package conformance_test

import (
	"context"
	"encoding/json"
	"errors"
	"strconv"
	"strings"

	"google.golang.org/genai"

	"github.com/cairn-run/cairn/internal/traffic"
)

func sdkGenerate(ctx context.Context, e *traffic.Exchange, _ *tally) (answer, error) {
	config := &genai.ClientConfig{
		HTTPClient: e.Client(), APIKey: "none", Backend: genai.BackendGeminiAPI,
		HTTPOptions: genai.HTTPOptions{BaseURL: "https://recorded.test/"},
	}
	if strings.Contains(e.Path, "/publishers/") {
		config.Backend, config.APIKey, config.Project, config.Location = genai.BackendVertexAI, "", "recorded", "global"
	}
	client, err := genai.NewClient(ctx, config)
	if err != nil {
		return answer{}, err
	}
	var a answer
	var calls pieces
	var usage *genai.GenerateContentResponseUsageMetadata
	add := func(r *genai.GenerateContentResponse) error {
		if r.ModelVersion != "" {
			a.Model = r.ModelVersion
		}
		if r.UsageMetadata != nil {
			usage = r.UsageMetadata
		}
		if r.PromptFeedback != nil && r.PromptFeedback.BlockReason != "" {
			a.Finish = string(r.PromptFeedback.BlockReason)
		}
		if len(r.Candidates) == 0 {
			return nil
		}
		c := r.Candidates[0]
		if c.FinishReason != "" {
			a.Finish = string(c.FinishReason)
		}
		if c.Content == nil {
			return nil
		}
		for _, p := range c.Content.Parts {
			switch {
			case p.FunctionCall != nil:
				if err := calls.add(&a, p.FunctionCall); err != nil {
					return err
				}
			case p.Thought:
				a.Reasoning += p.Text
			default:
				a.Text += p.Text
			}
		}
		return nil
	}
	contents := genai.Text("hi")
	if e.Stream {
		for r, err := range client.Models.GenerateContentStream(ctx, e.Model, contents, nil) {
			if err != nil {
				return answer{}, err
			}
			if err := add(r); err != nil {
				return answer{}, err
			}
		}
	} else {
		r, err := client.Models.GenerateContent(ctx, e.Model, contents, nil)
		if err != nil {
			return answer{}, err
		}
		if err := add(r); err != nil {
			return answer{}, err
		}
	}
	if usage != nil {
		a.count("prompt_and_tools", int64(usage.PromptTokenCount+usage.ToolUsePromptTokenCount))
		a.count("cached", int64(usage.CachedContentTokenCount))
		a.count("candidates", int64(usage.CandidatesTokenCount))
		a.count("thoughts", int64(usage.ThoughtsTokenCount))
		a.count("audio_in", audio(usage.PromptTokensDetails)+audio(usage.ToolUsePromptTokensDetails)-audio(usage.CacheTokensDetails))
	}
	return a, nil
}

func audio(details []*genai.ModalityTokenCount) int64 {
	var sum int64
	for _, d := range details {
		if d.Modality == genai.MediaModalityAudio {
			sum += int64(d.TokenCount)
		}
	}
	return sum
}

// pieces puts calls together whose arguments come in pieces, which the SDK has
// types for and no more.
type pieces struct{ open map[string]any }

func (p *pieces) add(a *answer, f *genai.FunctionCall) error {
	more := f.WillContinue != nil && *f.WillContinue
	if f.Name != "" {
		a.Calls = append(a.Calls, call{ID: f.ID, Name: f.Name})
		p.open = f.Args
		if p.open == nil {
			p.open = map[string]any{}
		}
	}
	for _, part := range f.PartialArgs {
		if err := set(p.open, part); err != nil {
			return err
		}
	}
	if len(a.Calls) == 0 {
		return errors.New("pieces of no call")
	}
	args, err := json.Marshal(p.open)
	if err != nil {
		return err
	}
	if p.open != nil {
		a.Calls[len(a.Calls)-1].Args = string(args)
	}
	if !more && f.Name == "" {
		p.open = nil
	}
	return nil
}

// set puts a piece in its place, "$.recipe.ingredients[0].amount". Texts grow.
func set(root map[string]any, p *genai.PartialArg) error {
	var value any
	switch {
	case p.NULLValue != "":
	case p.NumberValue != nil:
		value = *p.NumberValue
	case p.BoolValue != nil:
		value = *p.BoolValue
	default:
		value = p.StringValue
	}
	keys := strings.FieldsFunc(strings.TrimPrefix(p.JsonPath, "$"), func(r rune) bool { return strings.ContainsRune(".[]", r) })
	var put func(at any, keys []string) (any, error)
	put = func(at any, keys []string) (any, error) {
		if len(keys) == 0 {
			if old, ok := at.(string); ok {
				if s, ok := value.(string); ok {
					return old + s, nil
				}
			}
			return value, nil
		}
		if i, err := strconv.Atoi(keys[0]); err == nil {
			list, _ := at.([]any)
			for len(list) <= i {
				list = append(list, nil)
			}
			list[i], err = put(list[i], keys[1:])
			return list, err
		}
		object, ok := at.(map[string]any)
		if !ok {
			object = map[string]any{}
		}
		var err error
		object[keys[0]], err = put(object[keys[0]], keys[1:])
		return object, err
	}
	_, err := put(root, keys)
	return err
}
