package wire

import (
	"net/http"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/cairn-run/cairn"
)

// TestClassify: bodies are recorded ones ("recorded", shortened) or those of the
// providers' documentation and bug reports.
func TestClassify(t *testing.T) {
	t.Parallel()
	type want struct {
		Code  cairn.Code
		Retry bool
		Done  bool // it may have been done
	}
	var (
		invalid     = want{Code: cairn.CodeInvalid}
		notFound    = want{Code: cairn.CodeNotFound}
		auth        = want{Code: cairn.CodeAuth}
		refused     = want{Code: cairn.CodeRefused}
		overflow    = want{Code: cairn.CodeOverflow}
		rate        = want{Code: cairn.CodeRateLimited, Retry: true}
		overloaded  = want{Code: cairn.CodeOverloaded, Retry: true}
		unavailable = want{Code: cairn.CodeUnavailable, Retry: true}
	)
	inside := func(w want) want { w.Done = true; return w }
	tests := []struct {
		name   string
		status int
		body   string
		want   want
	}{
		{"recorded: anthropic, effort", 400, `{"error": {"message": "This model does not support effort level 'xhigh'. Supported levels: high, low, max, medium.", "type": "invalid_request_error"}, "request_id": "req_1", "type": "error"}`, invalid},
		{"recorded: anthropic, model", 404, `{"error": {"message": "model: claude-sonet-4-5", "type": "not_found_error"}, "request_id": "req_1", "type": "error"}`, notFound},
		{"recorded: openai, model", 404, `{"error": {"code": "model_not_found", "message": "The model 'gpt-5.2-proo' does not exist or you do not have access to it.", "param": null, "type": "invalid_request_error"}}`, notFound},
		{"recorded: responses, model", 400, `{"error": {"code": "model_not_found", "message": "The requested model 'gpt-5.2-proo' does not exist.", "param": "model", "type": "invalid_request_error"}}`, notFound},
		{"recorded: openai, role", 400, `{"error": {"code": "unsupported_value", "message": "Unsupported value: 'messages[0].role' does not support 'system' with this model.", "param": "messages[0].role", "type": "invalid_request_error"}}`, invalid},
		{"recorded: openai, search", 400, `{"error": {"code": null, "message": "Web search options not supported with this model.", "param": "web_search_options", "type": "invalid_request_error"}}`, invalid},
		{"recorded: responses, temperature", 400, `{"error": {"code": "decimal_below_min_value", "message": "Invalid 'temperature': decimal below minimum value. Expected a value >= 0, but got -1 instead.", "param": "temperature", "type": "invalid_request_error"}}`, invalid},
		{"recorded: openai-error.1.json", 429, `{"error": {"message": "You exceeded your current quota, please check your plan and billing details.", "type": "insufficient_quota", "param": null, "code": "insufficient_quota"}}`, auth},
		{"recorded: reasoning-model-legacy-parameter-error.json", 400, `{"error": {"message": "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.", "type": "invalid_request_error", "param": "max_tokens", "code": "unsupported_parameter"}}`, invalid},
		{"recorded: reasoning-model-temperature-error.json", 400, `{"error": {"message": "Unsupported parameter: 'temperature' is not supported with this model.", "type": "invalid_request_error", "param": "temperature", "code": null}}`, invalid},
		{"recorded: google, model", 404, `{"error": {"code": 404, "message": "models/gemini-3.6-flahs is not found for API version v1beta, or is not supported for generateContent.", "status": "NOT_FOUND"}}`, notFound},
		{"recorded: google-429-retry-info.json", 429, `{"error": {"code": 429, "message": "You exceeded your current quota, please check your plan.", "status": "RESOURCE_EXHAUSTED", "details": [{"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": [{"quotaId": "x"}]}, {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "34.4s"}]}}`, rate},
		{"recorded: openrouter", 429, `{"error": {"code": 429, "message": "Provider returned error", "metadata": {"provider_name": "Google", "raw": "google/gemini-2.0-flash-exp:free is temporarily rate-limited upstream. Please retry shortly."}}, "user_id": "u"}`, rate},
		{"recorded: groq, tool", 400, `{"error": {"code": "tool_use_failed", "failed_generation": "maybe", "message": "Tool choice is required, but model did not call a tool", "type": "invalid_request_error"}}`, want{Code: cairn.CodeCut, Retry: true, Done: true}},
		{"recorded: deepseek", 400, `{"error":{"message":"No tool output found for tool call call-a.","type":"invalid_request_error","param":null,"code":"invalid_request_error"}}`, invalid},
		{"recorded: bedrock", 400, `{"message": "The provided model identifier is invalid."}`, invalid},

		{"anthropic, overloaded", 529, `{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}`, overloaded},
		{"anthropic, overloaded within", 0, `{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}`, inside(overloaded)},
		{"anthropic, rate", 429, `{"type":"error","error":{"type":"rate_limit_error","message":"This request would exceed your organization's rate limit of 30,000 input tokens per minute"}}`, rate},
		{"anthropic, too large", 413, `{"type":"error","error":{"type":"request_too_large","message":"Request exceeds the maximum size"}}`, overflow},
		{"anthropic, overflow", 400, `{"type":"error","error":{"type":"invalid_request_error","message":"prompt is too long: 215000 tokens > 200000 maximum"}}`, overflow},
		{"anthropic, overflow with max_tokens", 400, `{"type":"error","error":{"type":"invalid_request_error","message":"input length and ` + "`max_tokens`" + ` exceed context limit: 199000 + 8192 > 200000, decrease input length or ` + "`max_tokens`" + ` and try again"}}`, overflow},
		{"anthropic, credit", 400, `{"type":"error","error":{"type":"invalid_request_error","message":"Your credit balance is too low to access the Anthropic API."}}`, auth},
		{"anthropic, key", 401, `{"type":"error","error":{"type":"authentication_error","message":"invalid x-api-key"}}`, auth},
		{"anthropic, permission", 403, `{"type":"error","error":{"type":"permission_error","message":"no"}}`, auth},
		{"anthropic, filter", 400, `{"type":"error","error":{"type":"invalid_request_error","message":"Output blocked by content filtering policy"}}`, refused},
		{"anthropic, internal", 500, `{"type":"error","error":{"type":"api_error","message":"Internal server error"}}`, unavailable},
		{"anthropic, internal within", 0, `{"type":"error","error":{"type":"api_error","message":"Internal server error"}}`, inside(unavailable)},
		{"anthropic, timeout", 504, `{"type":"error","error":{"type":"timeout_error","message":"timed out"}}`, want{cairn.CodeTimeout, true, true}},
		{"anthropic, invalid within", 0, `{"type":"error","error":{"type":"invalid_request_error","message":"no"}}`, inside(invalid)},

		{"openai, overflow", 400, `{"error":{"message":"This model's maximum context length is 128000 tokens. However, your messages resulted in 130000 tokens.","type":"invalid_request_error","param":"messages","code":"context_length_exceeded"}}`, overflow},
		{"responses, overflow within", 0, `{"type":"response.failed","response":{"error":{"code":"context_length_exceeded","message":"Your input exceeds the context window of this model."}}}`, inside(overflow)},
		{"responses, error event", 0, `{"type":"error","code":"server_error","message":"boom","param":null}`, inside(unavailable)},
		{"openai, key", 401, `{"error":{"message":"Incorrect API key provided: sk-a***z.","type":"invalid_request_error","param":null,"code":"invalid_api_key"}}`, auth},
		{"openai, tokens a minute", 429, `{"error":{"message":"Request too large for gpt-4o in organization org-x on tokens per min (TPM): Limit 30000, Requested 40000.","type":"tokens","code":"rate_limit_exceeded"}}`, overflow},
		{"openai, rate", 429, `{"error":{"message":"Rate limit reached for gpt-4o on tokens per min (TPM): Limit 30000, Used 29000, Requested 2000. Please try again in 2s.","type":"tokens","code":"rate_limit_exceeded"}}`, rate},
		{"openai, slow down", 503, `{"error":{"message":"Slow down","type":"server_error","code":"slow_down"}}`, overloaded},
		{"azure, filter", 400, `{"error":{"message":"The response was filtered","type":null,"param":"prompt","code":"content_filter","status":400,"innererror":{"code":"ResponsibleAIPolicyViolation"}}}`, refused},
		{"google, overflow", 400, `{"error":{"code":400,"message":"The input token count (1048577) exceeds the maximum number of tokens allowed (1048576).","status":"INVALID_ARGUMENT"}}`, overflow},
		{"google, key", 400, `{"error":{"code":400,"message":"API key not valid.","status":"INVALID_ARGUMENT","details":[{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"API_KEY_INVALID","domain":"googleapis.com"}]}}`, auth},
		{"google, in a list", 503, `[{"error":{"code":503,"message":"The model is overloaded. Please try again later.","status":"UNAVAILABLE"}}]`, overloaded},
		{"google, within", 0, `{"error":{"code":503,"message":"The model is overloaded.","status":"UNAVAILABLE"}}`, inside(overloaded)},
		{"google, quota of tokens", 429, `{"error":{"code":429,"message":"Quota exceeded for metric: generate_content_paid_tier_input_token_count, limit: 250000","status":"RESOURCE_EXHAUSTED"}}`, rate},
		{"google, deadline", 504, `{"error":{"code":504,"message":"Deadline expired before operation could complete.","status":"DEADLINE_EXCEEDED"}}`, want{cairn.CodeTimeout, true, true}},
		{"groq, tokens a minute", 413, `{"error":{"message":"Request too large for model llama on tokens per minute (TPM): Limit 6000, Requested 9000","type":"tokens","code":"rate_limit_exceeded"}}`, overflow},
		{"groq, flex capacity", 498, `{"error":{"message":"capacity exceeded","type":"internal_server_error","code":"capacity_exceeded"}}`, overloaded},
		{"openrouter, within", 0, `{"id":"gen","error":{"code":429,"message":"Rate limit exceeded"},"choices":[]}`, inside(rate)},
		{"openrouter, credits", 402, `{"error":{"code":402,"message":"This request requires more credits"}}`, auth},
		{"deepseek, balance", 402, `{"error":{"message":"Insufficient Balance","type":"unknown_error","code":"invalid_request_error"}}`, auth},
		{"xai, key", 400, `{"code":"Client specified an invalid argument","error":"Incorrect API key provided: xa***. You can obtain an API key from https://console.x.ai."}`, auth},
		{"xai, overflow", 400, `{"code":"x","error":"This model's maximum prompt length is 131072 but the request contains 140000 tokens."}`, overflow},
		{"bedrock, overflow", 400, `{"message":"Input is too long for requested model."}`, overflow},
		{"llama.cpp, overflow", 400, `{"error":{"code":400,"message":"the request exceeds the available context size, try increasing it","type":"exceed_context_size_error","n_prompt_tokens":900,"n_ctx":512}}`, overflow},
		{"llama.cpp, loading", 503, `{"error":{"code":503,"message":"Loading model","type":"unavailable_error"}}`, overloaded},
		{"ollama, model", 404, `{"error":"model 'x' not found, try pulling it first"}`, notFound},
		{"ollama, overflow", 400, `{"error":"the input length exceeds the context length"}`, overflow},
		{"vllm, overflow", 400, `{"object":"error","message":"This model's maximum context length is 4096 tokens. However, you requested 5000 tokens.","type":"BadRequestError","param":null,"code":400}`, overflow},
		{"fastapi", 422, `{"detail":[{"loc":["body"],"msg":"field required"}]}`, invalid},
		{"moonshot, overflow", 400, `{"error":{"message":"Invalid request: Your request exceeded model token limit: 8192","type":"invalid_request_error"}}`, overflow},

		{"a page", 502, "<html><h1>Bad gateway</h1></html>", want{cairn.CodeUnavailable, true, true}},
		{"nothing", 500, "", unavailable},
		{"nothing within", 0, "", inside(unavailable)},
		{"null", 500, "null", unavailable},
		{"a number", 400, "5", invalid},
		{"a string", 404, `"no"`, notFound},
		{"an empty list", 400, `[]`, invalid},
		{"null error", 400, `{"error":null,"message":"prompt is too long: 2 tokens > 1 maximum"}`, overflow},
		{"strange members", 400, `{"error":{"type":{},"code":[],"status":5,"message":["x"],"metadata":"y","details":"z"},"response":"r"}`, invalid},
		{"redirect", 307, "", invalid},
		{"conflict", 409, "", unavailable},
		{"request timeout", 408, "", want{cairn.CodeTimeout, true, true}},
		{"cloudflare, timeout", 524, "", want{cairn.CodeTimeout, true, true}},
		{"given up", 499, "", want{cairn.CodeUnavailable, true, true}},
		{"too long, but not the prompt", 400, `{"error":{"message":"tool name is too long"}}`, invalid},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			e := Classify("acme", test.status, nil, []byte(test.body))
			got := want{e.Code, e.Retryable, !e.NotDone}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("%s\n%s", e.Message, diff)
			}
			if !strings.HasPrefix(e.Message, "acme ") {
				t.Errorf("the message is %q", e.Message)
			}
		})
	}
}

func TestClassifyMessage(t *testing.T) {
	t.Parallel()
	e := Classify("acme", 404, nil, []byte(`{"type":"error","error":{"type":"not_found_error","message":"model: x"}}`))
	if want := "acme answered HTTP 404 (not_found_error): model: x"; e.Message != want {
		t.Errorf("%q, want %q", e.Message, want)
	}
	e = Classify("acme", 500, nil, []byte(strings.Repeat("ä", 1000)))
	if len(e.Message) > 700 || !utf8.ValidString(e.Message) {
		t.Errorf("%d bytes", len(e.Message))
	}
}

func TestShouldRetry(t *testing.T) {
	t.Parallel()
	for value, want := range map[string]bool{"true": true, "false": false} {
		for _, status := range []int{400, 429, 500} {
			if e := Classify("acme", status, http.Header{"X-Should-Retry": {value}}, nil); e.Retryable != want {
				t.Errorf("%d with %s: retryable is %t", status, value, e.Retryable)
			}
		}
	}
}

func TestRetryAfter(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		header http.Header
		body   string
		want   time.Duration
	}{
		"none":         {http.Header{}, "", 0},
		"seconds":      {http.Header{"Retry-After": {"7"}}, "", 7 * time.Second},
		"fractions":    {http.Header{"Retry-After": {"0.5"}}, "", 500 * time.Millisecond},
		"milliseconds": {http.Header{"Retry-After-Ms": {"250"}, "Retry-After": {"1"}}, "", 250 * time.Millisecond},
		"date": {
			http.Header{"Retry-After": {"Fri, 20 Nov 2026 10:00:30 GMT"}, "Date": {"Fri, 20 Nov 2026 10:00:00 GMT"}}, "", 30 * time.Second,
		},
		"past":      {http.Header{"Retry-After": {"Fri, 20 Nov 2026 10:00:00 GMT"}, "Date": {"Fri, 20 Nov 2026 10:00:30 GMT"}}, "", 0},
		"no clock":  {http.Header{"Retry-After": {"Fri, 01 Jan 2100 00:00:00 GMT"}}, "", time.Hour},
		"long past": {http.Header{"Retry-After": {"Fri, 20 Nov 2020 10:00:00 GMT"}}, "", 0},
		"negative":  {http.Header{"Retry-After": {"-3"}}, "", 0},
		"words":     {http.Header{"Retry-After": {"soon"}}, "", 0},
		"not one":   {http.Header{"Retry-After": {"NaN"}}, "", 0},
		"for ever":  {http.Header{"Retry-After": {"86400"}}, "", time.Hour},
		"infinite":  {http.Header{"Retry-After": {"Inf"}}, "", 0},
		"body":      {http.Header{}, `{"error":{"details":[{"retryDelay":"34.4s"}]}}`, 34400 * time.Millisecond},
		"both":      {http.Header{"Retry-After": {"7"}}, `{"error":{"details":[{"retryDelay":"34.4s"}]}}`, 7 * time.Second},
		"body, for ever": {
			http.Header{}, `{"error":{"details":[{"retryDelay":"100h"}]}}`, time.Hour,
		},
		"body, negative": {http.Header{}, `{"error":{"details":[{"retryDelay":"-1s"}]}}`, 0},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := Classify("acme", 429, test.header, []byte(test.body))
			if time.Duration(e.RetryAfter) != test.want {
				t.Errorf("%s, want %s", e.RetryAfter, test.want)
			}
		})
	}
}

func FuzzClassify(f *testing.F) {
	for _, s := range []string{
		"", "null", "[]", "[5]", `{"error":{"type":"x","code":429,"message":"m","details":[{"retryDelay":"1s","reason":"r"}]}}`,
		`{"detail":[{}]}`, `{"error":"text"}`, `{"response":{"error":{"code":"x"}}}`, "<html>", "\xff\xfe",
	} {
		f.Add(429, []byte(s), "5")
	}
	f.Fuzz(func(t *testing.T, status int, body []byte, after string) {
		e := Classify("acme", status, http.Header{"Retry-After": {after}}, body)
		if e.Code == "" || e.Message == "" || !utf8.ValidString(e.Message) || len(e.Message) > 1000 {
			t.Errorf("%q: %q", e.Code, e.Message)
		}
		if e.RetryAfter < 0 || time.Duration(e.RetryAfter) > maxRetryAfter {
			t.Errorf("wait %s", e.RetryAfter)
		}
		if status == 0 && e.NotDone {
			t.Error("what was reported within an answer cannot be known not to be done")
		}
	})
}
