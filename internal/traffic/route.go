package traffic

import (
	"net/http"
	"net/url"
	"strings"
)

// unknown is the reason of an exchange that nobody has thought of: a test fails
// where it occurs.
const unknown = "unknown endpoint"

// endings are the paths that are not generation exchanges of our wires.
var endings = []struct{ suffix, reason string }{
	{"/count_tokens", "token count"},
	{"/count-tokens", "token count"},
	{":countTokens", "token count"},
	{"/responses/input_tokens", "token count"},
	{"/responses/compact", "compaction of a history"},
	{"/converse", "Bedrock Converse"},
	{"/converse-stream", "Bedrock Converse"},
	{"/invoke-with-response-stream", "AWS event stream"},
	{"/token", "access token"},
}

// folderReasons are parts of paths that are not generation exchanges.
var folderReasons = []struct{ part, reason string }{
	{"/fileSearchStores", "files and stores"},
	{"/files", "files and stores"},
	{"/vector_stores", "files and stores"},
	{"/cachedContents", "files and stores"},
	{"/conversations", "stored conversation"},
	{"/assets/", "download"},
	{"huggingface.co/api/models/", "model's page"},
}

// route finds the wire of a request, or the reason it is left out.
func route(method string, u *url.URL, contentType string) (w Wire, reason string) {
	path := u.Path
	if u.Host == "api.cohere.com" {
		return "", "Cohere"
	}
	for _, e := range endings {
		if strings.HasSuffix(path, e.suffix) {
			return "", e.reason
		}
	}
	for _, f := range folderReasons {
		if strings.Contains(u.Host+path, f.part) {
			return "", f.reason
		}
	}
	if method == http.MethodGet && strings.Contains(path, "/responses/") {
		return "", "stored response fetched"
	}
	if method != http.MethodPost {
		return "", unknown
	}
	if strings.HasPrefix(u.Host, "demo-endpoints.") {
		return "", "echo of a request, no model"
	}
	if strings.HasPrefix(contentType, "application/vnd.amazon.eventstream") {
		return "", "AWS event stream"
	}
	for _, end := range []struct {
		suffix string
		wire   Wire
	}{
		{"/chat/completions", Chat},
		{"/responses", Responses},
		{"/messages", Messages},
		{"/invoke", Messages},
		{":rawPredict", Messages},
		{":streamRawPredict", Messages},
		{":generateContent", Generate},
		{":streamGenerateContent", Generate},
	} {
		if strings.HasSuffix(path, end.suffix) {
			return end.wire, ""
		}
	}
	return "", unknown
}

// hosts name the provider behind a host, by the host's ending.
var hosts = []struct{ host, provider string }{
	{"ai-gateway.vercel.sh", "vercel-gateway"},
	{"api.anthropic.com", "anthropic"},
	{"api.avian.io", "avian"},
	{"api.cerebras.ai", "cerebras"},
	{"api.deepseek.com", "deepseek"},
	{"api.groq.com", "groq"},
	{"api.mistral.ai", "mistral"},
	{"api.openai.com", "openai"},
	{"api.x.ai", "xai"},
	{"api.z.ai", "zai"},
	{".api.aws", "bedrock"},
	{".amazonaws.com", "bedrock"},
	{".openai.azure.com", "azure"},
	{"aiplatform.googleapis.com", "vertex"},
	{"generativelanguage.googleapis.com", "google"},
	{"ollama.com", "ollama"},
	{"localhost:11434", "ollama"},
	{"localhost:8080", "llamacpp"},
	{"openrouter.ai", "openrouter"},
	{"router.huggingface.co", "huggingface"},
}

// providerOf says who answered. A gateway on this machine puts it into the path.
func providerOf(u *url.URL) string {
	for _, h := range hosts {
		if strings.HasSuffix(u.Host, h.host) {
			return h.provider
		}
	}
	if strings.HasPrefix(u.Host, "localhost:") {
		first, _, _ := strings.Cut(strings.TrimPrefix(u.Path, "/"), "/")
		return first
	}
	return u.Host
}
