package wire

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/cairn-run/cairn"
)

// Statuses that are in no RFC.
const (
	statusCapacity   = 498 // Groq, flex tier: no capacity (https://console.groq.com/docs/errors)
	statusClosed     = 499 // nginx, Google: the client, or a proxy, gave up
	statusUnknown    = 520 // Cloudflare, to 524: something went wrong behind it
	statusNoConnect  = 522
	statusNoAnswer   = 524
	statusOverloaded = 529 // Anthropic (https://platform.claude.com/docs/en/api/errors)
)

// Classify types what a provider reports instead of an answer: an HTTP status (0:
// inside a reply with status 200), its headers and its body. It reads the bodies
// of OpenAI, Anthropic, Google and those that copy them.
//
// The code says what to do: CodeRateLimited and CodeOverloaded wait, CodeOverflow
// makes the request smaller, CodeAuth needs a person, CodeRefused and CodeInvalid
// are the request's own fault. NotDone says that the provider turned the request
// away before a model worked on it; a gateway that gave up waiting cannot say so.
func Classify(name string, status int, header http.Header, body []byte) *cairn.Error {
	s := parse(body)
	e := &cairn.Error{Code: code(status, &s), RetryAfter: cairn.Duration(retryAfter(header))}
	if e.RetryAfter == 0 {
		e.RetryAfter = cairn.Duration(min(s.RetryAfter, maxRetryAfter))
	}
	switch e.Code {
	case cairn.CodeRateLimited, cairn.CodeOverloaded, cairn.CodeUnavailable, cairn.CodeTimeout, cairn.CodeCut:
		e.Retryable = true
	}
	switch header.Get("X-Should-Retry") { // OpenAI and Anthropic know better
	case "true":
		e.Retryable = true
	case "false":
		e.Retryable = false
	}
	switch status {
	case 0, http.StatusRequestTimeout, statusClosed, http.StatusBadGateway, http.StatusGatewayTimeout,
		statusUnknown, statusNoConnect, statusNoAnswer:
	default:
		e.NotDone = e.Code != cairn.CodeTimeout && e.Code != cairn.CodeCut
	}
	what := "reported an error"
	if status != 0 {
		what = fmt.Sprintf("answered HTTP %d", status)
	}
	if kind := firstOf(s.Type, s.Code, s.Status); kind != "" {
		what += " (" + clip(kind, 80) + ")"
	}
	e.Message = name + " " + what
	if s.Message != "" {
		e.Message += ": " + clip(s.Message, 600)
	}
	return e
}

func code(status int, s *said) cairn.Code {
	if status == 0 {
		// Google and OpenRouter put the status that it would have been into the body.
		if n, err := strconv.Atoi(s.Code); err == nil && n >= 400 && n <= 599 {
			status = n
		}
	}
	text := strings.ToLower(s.Message)
	kinds := strings.ToLower(s.Type + " " + s.Code + " " + s.Status)
	is := func(words ...string) bool { return containsAny(kinds, words) }
	switch {
	case is("context_length_exceeded", "context_window_exceeded", "exceed_context_size", "request_too_large", "string_above_max_length"),
		mayOverflow(status) && containsAny(text, overflowPhrases),
		(status == http.StatusRequestEntityTooLarge || status == http.StatusTooManyRequests) && strings.Contains(text, tooLargeForRate):
		return cairn.CodeOverflow
	case is("insufficient_quota", "billing", "credit", "payment_required"), status == http.StatusPaymentRequired,
		strings.Contains(text, "credit balance is too low"): // Anthropic: an invalid_request_error
		return cairn.CodeAuth
	case is("content_filter", "content_policy", "responsibleai", "prompt_blocked", "safety", "cyber_policy"),
		strings.Contains(text, "blocked by content filtering policy"): // Anthropic: an invalid_request_error
		return cairn.CodeRefused
	case is("tool_use_failed"): // Groq: the model wrote a call that it could not read
		return cairn.CodeCut
	case is("overloaded", "capacity", "slow_down"):
		return cairn.CodeOverloaded
	case is("rate_limit", "rate_limited", "resource_exhausted", "too_many_requests"):
		return cairn.CodeRateLimited
	case is("authentication", "invalid_api_key", "api_key_invalid", "unauthenticated", "permission"),
		status == http.StatusBadRequest && strings.Contains(text, "incorrect api key"): // xAI
		return cairn.CodeAuth
	case is("timeout", "deadline_exceeded"):
		return cairn.CodeTimeout
	case is("not_found"): // OpenAI's Responses answer 400 for a model that is not there
		return cairn.CodeNotFound
	}
	switch status {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusProxyAuthRequired:
		return cairn.CodeAuth
	case http.StatusNotFound:
		return cairn.CodeNotFound
	case http.StatusRequestTimeout, http.StatusGatewayTimeout, statusNoAnswer:
		return cairn.CodeTimeout
	case http.StatusRequestEntityTooLarge:
		return cairn.CodeOverflow
	case http.StatusTooManyRequests:
		return cairn.CodeRateLimited
	case http.StatusServiceUnavailable, statusOverloaded, statusCapacity:
		return cairn.CodeOverloaded
	case http.StatusConflict, http.StatusTooEarly, statusClosed:
		return cairn.CodeUnavailable
	}
	if status >= 500 || status == 0 && !is("invalid", "bad_request") {
		return cairn.CodeUnavailable
	}
	return cairn.CodeInvalid // a redirect too: the URL is wrong, and is not followed
}

// mayOverflow says whether an error with this status may be about the size of
// the prompt: one about rates speaks of tokens as well.
func mayOverflow(status int) bool {
	switch status {
	case 0, http.StatusBadRequest, http.StatusRequestEntityTooLarge, http.StatusUnprocessableEntity:
		return true
	}
	return status >= 500 // llama.cpp, and gateways that pass on what was 400 behind them
}

// overflowPhrases are how providers say that a prompt does not fit. Only what is
// said of the prompt or the context counts: "too long" alone is said of many
// things. Where the words are not general, whose they are stands beside them.
var overflowPhrases = []string{
	"prompt is too long", // Anthropic
	"input length and `max_tokens` exceed", "exceed context limit",
	"input is too long", // Bedrock
	"number of input tokens exceeds",
	"maximum context length", // OpenAI, vLLM, DeepSeek, Mistral, OpenRouter
	"context length exceeded", "reduce the length of the messages",
	"exceeds the context", "context window", // OpenAI's Responses, Ollama, MiniMax
	"exceeds the maximum number of tokens", "input token count", // Google
	"exceeds the available context size", // llama.cpp
	"maximum prompt length",              // xAI
	"too many tokens in the prompt", "prompt too long",
	"exceeded model token limit", // Moonshot
	"prompt exceeds max length",  // Z.ai
	"range of input length",      // Qwen
	"tokens in the prompt exceeds",
	"prompt token count",
}

// tooLargeForRate is what OpenAI and Groq say of one request that is larger than
// all the tokens of a minute: waiting does not help, a smaller one does.
const tooLargeForRate = "request too large for"

func containsAny(s string, words []string) bool {
	for _, w := range words {
		if strings.Contains(s, w) {
			return true
		}
	}
	return false
}

func firstOf(all ...string) string {
	for _, s := range all {
		if s != "" {
			return s
		}
	}
	return ""
}

// clip shortens a text at a rune.
func clip(s string, n int) string {
	s = strings.ToValidUTF8(strings.TrimSpace(s), "\uFFFD")
	if len(s) <= n {
		return s
	}
	for n > 0 && s[n]&0xC0 == 0x80 {
		n--
	}
	return s[:n] + "…"
}
