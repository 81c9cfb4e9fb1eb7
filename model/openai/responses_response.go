package openai

import (
	"encoding/json"
	"fmt"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/model"
	"github.com/cairn-run/cairn/model/wire"
)

// Response is an answer of Responses.
type Response struct {
	ID          string `json:"id"`
	Object      string `json:"object"` // response
	CreatedAt   Count  `json:"created_at"`
	Status      string `json:"status"` // completed, incomplete, failed, in_progress, queued or cancelled
	Model       string `json:"model"`
	ServiceTier string `json:"service_tier,omitzero"`
	// Error is why it failed.
	Error      json.RawMessage      `json:"error"`
	Incomplete *ResponsesIncomplete `json:"incomplete_details"`
	Output     []json.RawMessage    `json:"output"`          // items
	Usage      json.RawMessage      `json:"usage,omitempty"` // see ResponsesUsage
	// ToolUsage is what the provider's own tools used.
	ToolUsage *ResponsesToolUsage `json:"tool_usage,omitempty"`
}

// ResponsesIncomplete says why an answer is not complete.
type ResponsesIncomplete struct {
	Reason string `json:"reason"` // max_output_tokens or content_filter
}

// ResponsesToolUsage is what the provider's own tools used.
type ResponsesToolUsage struct {
	WebSearch *struct {
		Requests Count `json:"num_requests"`
	} `json:"web_search,omitempty"`
	ImageGen *struct {
		Input  Count `json:"input_tokens"`
		Output Count `json:"output_tokens"`
	} `json:"image_gen,omitempty"`
}

// ResponsesUsage is the usage of an answer, as OpenAI reports it.
type ResponsesUsage struct {
	InputTokens         int64                  `json:"input_tokens"`
	InputTokensDetails  ResponsesInputDetails  `json:"input_tokens_details"`
	OutputTokens        int64                  `json:"output_tokens"`
	OutputTokensDetails ResponsesOutputDetails `json:"output_tokens_details"`
	TotalTokens         int64                  `json:"total_tokens"`
}

// ResponsesInputDetails are parts of the input's tokens.
type ResponsesInputDetails struct {
	CachedTokens     int64 `json:"cached_tokens"`
	CacheWriteTokens int64 `json:"cache_write_tokens,omitzero"`
}

// ResponsesOutputDetails are parts of the output's tokens.
type ResponsesOutputDetails struct {
	ReasoningTokens int64 `json:"reasoning_tokens"`
}

// DecodeResponses reads a whole answer of Responses. Errors are *model.Failure,
// with the usage if the answer had one.
func DecodeResponses(provider string, body []byte) (*cairn.ModelAnswer, error) {
	return decodeResponses(provider, body, reporter(provider))
}

func decodeResponses(provider string, body []byte, failed reported) (*cairn.ModelAnswer, error) {
	var r Response
	if err := tolerate(body, &r); err != nil {
		return nil, model.AsFailure(wire.Malformed(provider, "not JSON"))
	}
	return r.answer(provider, body, failed)
}

// measure reads the usage of the answer and of the provider's own tools.
func (r *Response) measure() (u cairn.Usage, rawUsage json.RawMessage, beside []string) {
	if len(r.Usage) == 0 || r.Usage[0] != '{' {
		return u, nil, nil
	}
	u, beside = measure(r.Usage, evidence{})
	searches := 0
	billed := map[string]int{}
	for _, rawItem := range r.Output {
		var it ResponsesItem
		if tolerate(rawItem, &it) != nil {
			continue
		}
		switch it.Type {
		case "web_search_call":
			// Opening a page and looking into it belong to the search before.
			if it.Action == nil || it.Action.Type == "" || it.Action.Type == "search" {
				searches++
			}
		case "shell_call":
			if it.Environment != nil && it.Environment.Type != "local" {
				billed[it.Type]++
			}
		case "file_search_call", "code_interpreter_call", "image_generation_call", "x_search_call":
			billed[it.Type]++
		}
	}
	if t := r.ToolUsage; t != nil {
		if t.WebSearch != nil {
			searches = int(t.WebSearch.Requests)
		}
		if t.ImageGen != nil && t.ImageGen.Input+t.ImageGen.Output > 0 {
			beside = append(beside,
				noted("image_gen_input_tokens", int(t.ImageGen.Input)), noted("image_gen_output_tokens", int(t.ImageGen.Output)))
			delete(billed, "image_generation_call")
		}
	}
	u.Searches = max(u.Searches, int64(searches))
	for _, kind := range []string{"code_interpreter_call", "file_search_call", "image_generation_call", "shell_call", "x_search_call"} {
		if n := billed[kind]; n > 0 {
			beside = append(beside, noted(kind, n))
		}
	}
	return u, wire.Compact(r.Usage), beside
}

// failure is an error with what is known of the usage.
func (r *Response) failure(err error) *model.Failure {
	f := model.AsFailure(err)
	if u, rawUsage, _ := r.measure(); len(rawUsage) > 0 && f.Usage == nil {
		f.Usage, f.RawUsage = &u, rawUsage
	}
	return f
}

// answer is the answer, if the provider says that it is complete. said is the
// document that the answer came in.
func (r *Response) answer(provider string, said []byte, failed reported) (*cairn.ModelAnswer, error) {
	switch r.Status {
	case "completed", "complete", "incomplete":
	case "failed":
		return nil, r.failure(failed(said))
	case "":
		if !isEmpty(r.Error) {
			return nil, r.failure(failed(said))
		}
		if len(r.Output) == 0 {
			return nil, r.failure(wire.Malformed(provider, "no output"))
		}
	default: // in_progress, queued, cancelled: nobody here waits for the rest
		e := errCut()
		e.Message = fmt.Sprintf("the answer of %s is not complete: %s", provider, r.Status)
		return nil, r.failure(e)
	}
	parts := make([]cairn.Part, 0, len(r.Output))
	refused := false
	for _, it := range r.Output {
		p := itemPart(provider, it)
		if p.Kind == cairn.PartToolCall && p.Tool == "" {
			return nil, r.failure(wire.Malformed(provider, "a call without the name of a tool"))
		}
		parts = append(parts, p)
		refused = refused || refuses(it)
	}
	uniqueCalls(parts)
	a := &cairn.ModelAnswer{Model: r.Model, Content: parts, Finish: r.Status, Service: tier(r.ServiceTier)}
	a.Usage, a.RawUsage, a.Beside = r.measure()
	a.Charged = charged(a.RawUsage)
	a.Stop = r.stop(parts, refused)
	if a.Stop == cairn.StopRefusal && len(parts) == 0 {
		return nil, r.failure(&cairn.Error{Code: cairn.CodeRefused, Message: provider + " gave no answer: " + r.reason()})
	}
	if reason := r.reason(); reason != "" {
		a.Finish = reason
	}
	return a, nil
}

func (r *Response) reason() string {
	if r.Incomplete == nil {
		return ""
	}
	return r.Incomplete.Reason
}

// stop says why the model stopped. An answer that is incomplete for a reason that
// is not known is never taken for an end.
func (r *Response) stop(parts []cairn.Part, refused bool) cairn.StopReason {
	switch {
	case r.reason() == "content_filter":
		return cairn.StopRefusal
	case r.Status == "incomplete":
		return cairn.StopMaxOutput
	case refused:
		return cairn.StopRefusal
	}
	for i := range parts {
		if parts[i].Kind == cairn.PartToolCall {
			return cairn.StopToolUse
		}
	}
	return cairn.StopEnd
}
