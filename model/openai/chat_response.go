package openai

import (
	"bytes"
	"encoding/json"
	"strings"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/model"
	"github.com/cairn-run/cairn/model/wire"
)

// ChatResponse is an answer of chat completions: whole (choices have a message) or
// one chunk of its stream (choices have a delta).
type ChatResponse struct {
	ID          string          `json:"id"`
	Object      string          `json:"object"`  // chat.completion or chat.completion.chunk
	Created     Count           `json:"created"` // Unix time in seconds
	Model       string          `json:"model"`
	Choices     []ChatChoice    `json:"choices"`
	ServiceTier string          `json:"service_tier,omitzero"`
	Usage       json.RawMessage `json:"usage,omitempty"` // see ChatUsage
	// Error is what went wrong after the reply had begun.
	Error json.RawMessage `json:"error,omitempty"`
	// Provider is OpenRouter's name of who answered.
	Provider string `json:"provider,omitzero"`
	// Groq holds the usage of Groq's streams.
	Groq *ChatGroq `json:"x_groq,omitempty"`
	// Breakdown is Groq's account of the models behind a compound one.
	Breakdown json.RawMessage `json:"usage_breakdown,omitempty"`
	// SearchResults are what Perplexity searched for the answer.
	SearchResults []json.RawMessage `json:"search_results,omitempty"`
}

// ChatGroq is Groq's own member of an answer.
type ChatGroq struct {
	Usage     json.RawMessage `json:"usage,omitempty"`
	Breakdown json.RawMessage `json:"usage_breakdown,omitempty"`
	Error     json.RawMessage `json:"error,omitempty"`
}

// ChatChoice is one of the answers to a request; we ask for one.
type ChatChoice struct {
	Index        int             `json:"index"`
	Message      json.RawMessage `json:"message,omitempty"` // a ChatMessage
	Delta        json.RawMessage `json:"delta,omitempty"`   // a piece of a ChatMessage
	FinishReason string          `json:"finish_reason"`
	Error        json.RawMessage `json:"error,omitempty"` // OpenRouter
}

// ChatUsage is the usage of an answer, as OpenAI reports it.
type ChatUsage struct {
	PromptTokens            int64                  `json:"prompt_tokens"`
	CompletionTokens        int64                  `json:"completion_tokens"`
	TotalTokens             int64                  `json:"total_tokens"`
	PromptTokensDetails     *ChatPromptDetails     `json:"prompt_tokens_details,omitempty"`
	CompletionTokensDetails *ChatCompletionDetails `json:"completion_tokens_details,omitempty"`
}

// ChatPromptDetails are parts of the prompt's tokens.
type ChatPromptDetails struct {
	CachedTokens     int64 `json:"cached_tokens"`
	CacheWriteTokens int64 `json:"cache_write_tokens,omitzero"`
	AudioTokens      int64 `json:"audio_tokens,omitzero"`
}

// ChatCompletionDetails are parts of the completion's tokens.
type ChatCompletionDetails struct {
	ReasoningTokens int64 `json:"reasoning_tokens"`
	AudioTokens     int64 `json:"audio_tokens,omitzero"`
}

// DecodeChat reads a whole answer of chat completions. Errors are *model.Failure,
// with the usage if the answer had one.
func DecodeChat(provider string, body []byte) (*cairn.ModelAnswer, error) {
	return decodeChat(provider, body, reporter(provider))
}

func decodeChat(provider string, body []byte, failed reported) (*cairn.ModelAnswer, error) {
	s := &ChatStream{fold: chatFold{provider: provider, whole: true}, failed: failed}
	if err := s.chunk(body); err != nil {
		return nil, err
	}
	if !s.spoken {
		return nil, s.failure(wire.Malformed(provider, "no choices"))
	}
	s.done = true
	return s.Done()
}

// reported types an error that a provider put into a reply it had accepted.
type reported func(body []byte) *cairn.Error

// reporter is for callers without a reply: it cannot know the headers, nor which
// credential must not be quoted.
func reporter(provider string) reported {
	return func(body []byte) *cairn.Error {
		e := wire.Classify(provider, 0, nil, body)
		e.NotDone = false
		return e
	}
}

// ChatStream puts the chunks of one answer together.
type ChatStream struct {
	fold     chatFold
	failed   reported
	model    string
	finish   string
	service  string
	rawUsage json.RawMessage
	ev       evidence
	beside   []string
	spoken   bool // a choice came
	settled  bool // usage came with the finish reason, or after it
	done     bool // the provider said that this was all
}

// NewChatStream returns a decoder for the answer of a provider.
func NewChatStream(provider string) *ChatStream {
	return &ChatStream{fold: chatFold{provider: provider}, failed: reporter(provider)}
}

// Ended says that nothing that matters follows.
func (s *ChatStream) Ended() bool { return s.done }

// Add takes the next event and returns what it says. Errors are *model.Failure;
// nothing can be added after one.
func (s *ChatStream) Add(e wire.Event) ([]cairn.Delta, error) {
	data := bytes.TrimSpace(e.Data)
	if string(data) == "[DONE]" {
		s.done = true
		return s.fold.close(), nil
	}
	before := s.finish
	s.fold.deltas = nil
	if err := s.chunk(data); err != nil {
		return nil, err
	}
	if e.Type == "error" {
		return nil, s.failure(s.failed(data))
	}
	said := s.fold.deltas
	if before == "" && s.finish != "" {
		said = append(said, s.fold.close()...)
	}
	return said, nil
}

func (s *ChatStream) chunk(data []byte) error {
	var c ChatResponse
	if err := tolerate(data, &c); err != nil {
		return s.failure(wire.Malformed(s.fold.provider, "not JSON"))
	}
	if c.Model != "" {
		s.model = c.Model
	}
	if c.ServiceTier != "" {
		s.service = c.ServiceTier
	}
	s.ev.openRouter = s.ev.openRouter || c.Provider != ""
	fresh := s.account(&c)
	wrong := c.Error
	if isNull(wrong) && c.Groq != nil {
		wrong = c.Groq.Error
	}
	for i := range c.Choices {
		h := &c.Choices[i]
		if h.Index != 0 {
			continue // never asked for
		}
		s.spoken = true
		if isNull(wrong) && !isNull(h.Error) {
			wrong = h.Error
		}
		if h.FinishReason != "" {
			s.finish = h.FinishReason
		}
		piece := h.Delta
		if isNull(piece) {
			piece = h.Message
		}
		if o, err := parseObject(piece); err == nil {
			s.google(o)
			s.fold.add(o)
		}
	}
	if !isEmpty(wrong) {
		return s.failure(s.wrong(data, wrong))
	}
	if c.Object == "error" { // older vLLM
		return s.failure(s.failed(data))
	}
	s.settled = s.finish != "" && (fresh || s.settled)
	return nil
}

// wrong types an error inside an answer.
func (s *ChatStream) wrong(data []byte, wrong json.RawMessage) *cairn.Error {
	var e struct {
		Code json.RawMessage `json:"code"`
	}
	// Groq: the model wrote a call that does not fit, https://console.groq.com/docs/tool-use
	if tolerate(wrong, &e) == nil && text(e.Code) == "tool_use_failed" {
		return wire.Malformed(s.fold.provider, "the model's call of a tool")
	}
	var c struct {
		Error json.RawMessage `json:"error"`
	}
	if tolerate(data, &c) == nil && isNull(c.Error) {
		data = Object{{"error", wrong}}.raw()
	}
	return s.failed(data)
}

// account keeps the last usage that was reported, but for one that takes back what
// was counted, and what is billed beside it.
func (s *ChatStream) account(c *ChatResponse) (fresh bool) {
	u, breakdown := c.Usage, c.Breakdown
	if c.Groq != nil && isNull(u) {
		u, breakdown = c.Groq.Usage, c.Groq.Breakdown
	}
	if fresh = len(u) > 0 && u[0] == '{'; fresh && (s.rawUsage == nil || counts(u)) {
		s.rawUsage = wire.Compact(u)
	}
	var models struct {
		Models []struct{} `json:"models"`
	}
	if !isNull(breakdown) && tolerate(breakdown, &models) == nil && len(models.Models) > 0 {
		// The calls of a compound model are billed at the prices of the models it used.
		s.note("usage_breakdown", len(models.Models))
	}
	if len(c.SearchResults) > 0 {
		s.note("search_results", len(c.SearchResults)) // Perplexity bills requests that search
	}
	return fresh
}

func (s *ChatStream) note(name string, n int) {
	line := noted(name, n)
	for i, b := range s.beside {
		if strings.HasPrefix(b, name+":") {
			s.beside[i] = line
			return
		}
	}
	s.beside = append(s.beside, line)
}

// google takes Google's own counts from where Vercel's gateway shows them.
func (s *ChatStream) google(o Object) {
	meta := o.Get("provider_metadata")
	if isNull(meta) {
		return
	}
	var m struct {
		Google struct {
			Usage struct {
				Candidates Count `json:"candidatesTokenCount"`
				Thoughts   Count `json:"thoughtsTokenCount"`
			} `json:"usageMetadata"`
		} `json:"google"`
		Gateway struct {
			Searches Count `json:"billableWebSearchCalls"`
		} `json:"gateway"`
	}
	if tolerate(meta, &m) != nil {
		return
	}
	if m.Google.Usage.Thoughts > 0 {
		s.ev.candidates, s.ev.thoughts = m.Google.Usage.Candidates, m.Google.Usage.Thoughts
	}
	if m.Gateway.Searches > 0 {
		s.note("billable_web_search_calls", int(m.Gateway.Searches))
	}
}

// failure is an error with what is known of the usage.
func (s *ChatStream) failure(err error) *model.Failure {
	f := model.AsFailure(err)
	if len(s.rawUsage) > 0 && f.Usage == nil {
		u, _ := measure(s.rawUsage, s.ev)
		f.Usage, f.RawUsage = &u, s.rawUsage
	}
	return f
}

// Fail types the error that broke the stream off, with the usage that was reported
// until then.
func (s *ChatStream) Fail(err error) *model.Failure { return s.failure(err) }

// Done returns the answer, if the provider said that it is complete: it gave a
// reason to stop, and then the end mark of the stream or its usage. Anything else
// is a *model.Failure, CodeCut. An end mark without a reason is no answer: gateways
// send it after an upstream that broke. A document that is not a stream is complete
// by itself.
func (s *ChatStream) Done() (*cairn.ModelAnswer, error) {
	if s.finish == "" && !s.fold.whole || !s.done && !s.settled {
		return nil, s.failure(errCut())
	}
	parts, err := s.fold.parts()
	if err != nil {
		return nil, s.failure(err)
	}
	stop, err := chatStop(s.fold.provider, s.finish, parts, s.fold.refused())
	if err != nil {
		return nil, s.failure(err)
	}
	a := &cairn.ModelAnswer{
		Model: s.model, Content: parts, Stop: stop, Finish: s.finish, RawUsage: s.rawUsage, Service: tier(s.service),
	}
	if len(s.rawUsage) > 0 {
		a.Usage, a.Beside = measure(s.rawUsage, s.ev)
		a.Charged = charged(s.rawUsage)
	}
	a.Beside = append(a.Beside, s.beside...)
	if n := s.fold.citations(); n > 0 && a.Usage.Searches == 0 {
		// Models that search by themselves bill it by request and report no number.
		a.Beside = append(a.Beside, noted("url_citations", n))
	}
	return a, nil
}

func errCut() *cairn.Error {
	return &cairn.Error{Code: cairn.CodeCut, Retryable: true, Message: "the answer broke off before it was complete"}
}

// chatStop maps a reason to stop. The words are OpenAI's; the others are from the
// documents of Mistral (model_length), DeepSeek (insufficient_system_resource),
// Z.ai (sensitive, network_error, model_context_window_exceeded), OpenRouter
// (error) and of Gemini's endpoint (malformed_function_call).
func chatStop(provider, finish string, parts []cairn.Part, refused bool) (cairn.StopReason, error) {
	calls := false
	for i := range parts {
		calls = calls || parts[i].Kind == cairn.PartToolCall
	}
	word := strings.ToLower(finish)
	switch {
	case strings.Contains(word, "malformed_function_call"):
		return "", wire.Malformed(provider, "the model's call of a tool")
	case word == "error", word == "network_error", word == "abort", word == "cancelled":
		return "", &cairn.Error{Code: cairn.CodeUnavailable, Retryable: true, Message: provider + " ended the answer with " + finish}
	case word == "insufficient_system_resource":
		return "", &cairn.Error{Code: cairn.CodeOverloaded, Retryable: true, Message: provider + " ended the answer with " + finish}
	case word == "length", word == "max_tokens", word == "model_length", word == "model_context_window_exceeded":
		return cairn.StopMaxOutput, nil
	case word == "content_filter", word == "sensitive", word == "safety", word == "refusal", refused:
		if len(parts) == 0 {
			return "", &cairn.Error{Code: cairn.CodeRefused, Message: provider + " gave no answer: " + finish}
		}
		return cairn.StopRefusal, nil
	case calls:
		return cairn.StopToolUse, nil // some say "stop" all the same
	case word == "stop_sequence":
		return cairn.StopSequence, nil
	}
	return cairn.StopEnd, nil
}
