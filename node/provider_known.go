package node

import (
	"maps"
	"net"
	"net/url"
	"slices"
	"strings"
)

// The wires that providers speak.
const (
	apiChat      = "chat"
	apiResponses = "responses"
	apiMessages  = "messages"
	apiGoogle    = "google"
)

// known is a provider that is built in.
type known struct {
	name string
	api  string
	url  string
	// keys are the variables that may hold its key, the usual one first.
	keys []string
	// keyHeader carries the key; empty: as the driver does.
	keyHeader string
	local     bool // a server on this machine, which needs no key
	// from finds the URL in the environment; empty: the default holds.
	from func(getenv func(string) string) string
	// address is the variable that from reads, where there is no default.
	address string
	// headers are variables whose values are sent under a header.
	headers map[string]string
}

// officialOpenAI is where Responses are spoken for certain.
const officialOpenAI = "https://api.openai.com/v1"

// knownProviders are built in. Each URL and variable is the one of the provider's own
// documentation.
var knownProviders = []known{
	{
		name: "anthropic", api: apiMessages, url: "https://api.anthropic.com", keys: []string{"ANTHROPIC_API_KEY"},
		from: variable("ANTHROPIC_BASE_URL"), // https://platform.claude.com/docs/en/api/client-sdks
	},
	{
		name: "azure", api: apiChat, keys: []string{"AZURE_OPENAI_API_KEY"}, keyHeader: "api-key",
		address: "AZURE_OPENAI_ENDPOINT",
		from:    azureURL, // https://learn.microsoft.com/azure/ai-foundry/openai/api-version-lifecycle
	},
	{name: "cerebras", api: apiChat, url: "https://api.cerebras.ai/v1", keys: []string{"CEREBRAS_API_KEY"}},                    // https://inference-docs.cerebras.ai
	{name: "deepseek", api: apiChat, url: "https://api.deepseek.com", keys: []string{"DEEPSEEK_API_KEY"}},                      // https://api-docs.deepseek.com
	{name: "fireworks", api: apiChat, url: "https://api.fireworks.ai/inference/v1", keys: []string{"FIREWORKS_API_KEY"}},       // https://docs.fireworks.ai
	{name: "google", api: apiGoogle, keys: []string{"GEMINI_API_KEY", "GOOGLE_API_KEY"}, from: googleURL, url: officialGoogle}, // https://ai.google.dev/api
	{name: "groq", api: apiChat, url: "https://api.groq.com/openai/v1", keys: []string{"GROQ_API_KEY"}},                        // https://console.groq.com/docs
	{name: "huggingface", api: apiChat, url: "https://router.huggingface.co/v1", keys: []string{"HF_TOKEN"}},                   // https://huggingface.co/docs/inference-providers
	{name: "mistral", api: apiChat, url: "https://api.mistral.ai/v1", keys: []string{"MISTRAL_API_KEY"}},                       // https://docs.mistral.ai/api
	{name: "openai", api: apiResponses, url: officialOpenAI, keys: []string{"OPENAI_API_KEY"}, from: variable("OPENAI_BASE_URL"), headers: map[string]string{
		"OpenAI-Organization": "OPENAI_ORG_ID", "OpenAI-Project": "OPENAI_PROJECT_ID", // https://platform.openai.com/docs/api-reference
	}},
	{name: "openrouter", api: apiChat, url: "https://openrouter.ai/api/v1", keys: []string{"OPENROUTER_API_KEY"}}, // https://openrouter.ai/docs
	{name: "perplexity", api: apiChat, url: "https://api.perplexity.ai", keys: []string{"PERPLEXITY_API_KEY"}},    // https://docs.perplexity.ai
	{name: "together", api: apiChat, url: "https://api.together.xyz/v1", keys: []string{"TOGETHER_API_KEY"}},      // https://docs.together.ai
	{name: "vercel", api: apiChat, url: "https://ai-gateway.vercel.sh/v1", keys: []string{"AI_GATEWAY_API_KEY"}},  // https://vercel.com/docs/ai-gateway
	{name: "xai", api: apiChat, url: "https://api.x.ai/v1", keys: []string{"XAI_API_KEY"}},                        // https://docs.x.ai
	{name: "zai", api: apiChat, url: "https://api.z.ai/api/paas/v4", keys: []string{"ZAI_API_KEY"}},               // https://docs.z.ai

	{name: "llamacpp", api: apiChat, url: "http://127.0.0.1:8080/v1", local: true, from: server("LLAMACPP_URL"), keys: []string{"LLAMACPP_API_KEY"}}, // https://github.com/ggml-org/llama.cpp/tree/master/tools/server
	{name: "lmstudio", api: apiChat, url: "http://127.0.0.1:1234/v1", local: true, from: server("LMSTUDIO_URL"), keys: []string{"LMSTUDIO_API_KEY"}}, // https://lmstudio.ai/docs
	{name: "ollama", api: apiChat, url: "http://127.0.0.1:11434/v1", local: true, from: ollamaURL, keys: []string{"OLLAMA_API_KEY"}},                 // https://docs.ollama.com/openai
	{name: "vllm", api: apiChat, url: "http://127.0.0.1:8000/v1", local: true, from: server("VLLM_URL"), keys: []string{"VLLM_API_KEY"}},             // https://docs.vllm.ai
}

const officialGoogle = "https://generativelanguage.googleapis.com/v1beta"

func knownProvider(name string) (known, bool) {
	i := slices.IndexFunc(knownProviders, func(k known) bool { return k.name == name })
	if i < 0 {
		return known{}, false
	}
	return knownProviders[i], true
}

func variable(name string) func(func(string) string) string {
	return func(getenv func(string) string) string {
		return strings.TrimSuffix(strings.TrimSpace(getenv(name)), "/")
	}
}

// server reads the address of a server whose API is below /v1.
func server(name string) func(func(string) string) string {
	return func(getenv func(string) string) string {
		s := variable(name)(getenv)
		if s == "" {
			return ""
		}
		if !strings.Contains(s, "://") {
			s = "http://" + s
		}
		if u, err := url.Parse(s); err == nil && u.Path == "" {
			s += "/v1"
		}
		return s
	}
}

// azureURL is the resource's endpoint with the path of its version-less API.
func azureURL(getenv func(string) string) string {
	s := variable("AZURE_OPENAI_ENDPOINT")(getenv)
	if s == "" || strings.Contains(s, "/openai") {
		return s
	}
	return s + "/openai/v1"
}

// googleURL is the base that the official SDKs take, which is without the version.
func googleURL(getenv func(string) string) string {
	s := variable("GOOGLE_GEMINI_BASE_URL")(getenv)
	if s == "" || strings.Contains(s, "/v1") {
		return s
	}
	return s + "/v1beta"
}

// ollamaURL reads OLLAMA_HOST as Ollama does
// (https://github.com/ollama/ollama/blob/main/envconfig/config.go): the port is 11434
// unless a scheme says otherwise, and an address to listen on everywhere is this
// machine's own.
func ollamaURL(getenv func(string) string) string {
	s := strings.Trim(strings.TrimSpace(getenv("OLLAMA_HOST")), `"'`)
	if s == "" {
		return ""
	}
	port := "11434"
	scheme, rest, ok := strings.Cut(s, "://")
	switch {
	case !ok:
		scheme, rest = "http", s
	case scheme == "http":
		port = "80"
	case scheme == "https":
		port = "443"
	}
	rest, path, _ := strings.Cut(rest, "/")
	host, p, err := net.SplitHostPort(rest)
	if err != nil {
		host = strings.Trim(rest, "[]")
	} else if p != "" {
		port = p
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	if path = strings.Trim(path, "/"); path != "" {
		path = "/" + path
	}
	return scheme + "://" + net.JoinHostPort(host, port) + path + "/v1"
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
