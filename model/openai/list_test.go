package openai_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/model"
	"github.com/cairn-run/cairn/model/openai"
	"github.com/cairn-run/cairn/model/wire"
)

func TestList(t *testing.T) {
	t.Parallel()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/v1/models" {
			t.Errorf("asked for %s", r.URL.Path)
		}
		fmt.Fprint(w, `{"data":[{"id":"plain","created":1},{"id":"groq","context_window":8,"max_completion_tokens":4},
			{"id":"mistral","max_context_length":9},{"id":"llama","meta":{"n_ctx_train":10}},{"id":"vllm","max_model_len":11},
			{"id":"router","context_length":12,"top_provider":{"context_length":6,"max_completion_tokens":3}},7,{"id":""},
			{"id":"studio","max_context_length":20,"loaded_context_length":5}]}`)
	}))
	t.Cleanup(srv.Close)
	d := openai.New(openai.Options{Endpoint: wire.Endpoint{Name: "p", URL: srv.URL + "/v1/"}})
	got, err := d.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	equal(t, []cairn.ModelInfo{
		{Name: "plain", Provider: "p"},
		{Name: "groq", Provider: "p", Window: 8, MaxOutput: 4},
		{Name: "mistral", Provider: "p", Window: 9},
		{Name: "llama", Provider: "p", Window: 10},
		{Name: "vllm", Provider: "p", Window: 11},
		{Name: "router", Provider: "p", Window: 6, MaxOutput: 3},
		{Name: "studio", Provider: "p", Window: 5},
	}, got)
}

func TestOllamaWindow(t *testing.T) {
	t.Parallel()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		switch {
		case r.URL.Path == "/api/ps":
			fmt.Fprint(w, `{"models":[{"name":"running:latest","context_length":4096}]}`)
		case strings.Contains(string(body), `"set"`):
			fmt.Fprint(w, `{"parameters":"stop \"x\"\nnum_ctx    8192\n","model_info":{"qwen3.context_length":40960}}`)
		case strings.Contains(string(body), `"trained"`):
			fmt.Fprint(w, `{"model_info":{"general.name":"x","qwen3.context_length":40960}}`)
		default:
			http.Error(w, `{"error":"model not found"}`, http.StatusNotFound)
		}
	}))
	t.Cleanup(srv.Close)
	for name, want := range map[string]int64{"running": 4096, "set": 8192, "trained": 40960} {
		got, err := openai.OllamaWindow(t.Context(), srv.URL+"/v1/", name)
		if err != nil || got != want {
			t.Errorf("%s: %d, %v, want %d", name, got, err, want)
		}
	}
	if _, err := openai.OllamaWindow(t.Context(), srv.URL, "nobody"); cairn.CodeOf(err) != cairn.CodeNotFound {
		t.Errorf("got %v", err)
	}
}

// What is sent to whom: the paths, the caps and the settings of the servers that are
// known.
func TestDialects(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		o    openai.Options
		path string
		want string // the beginning of the request
	}{
		"OpenAI":         {openai.Options{}, "/v1/responses", `{"model":"m","stream":true,"store":false,"include":["reasoning.encrypted_content"],"service_tier":"default","prompt_cache_key":"ses_1","max_output_tokens":100,`},
		"OpenAI chat":    {openai.Options{API: openai.APIChat, Service: "flex"}, "/v1/chat/completions", `{"model":"m","stream":true,"stream_options":{"include_usage":true},"service_tier":"flex","prompt_cache_key":"ses_1","max_completion_tokens":100,`},
		"Azure":          {at("https://r.openai.azure.com/openai/v1"), "/openai/v1/chat/completions", `{"model":"m","stream":true,"stream_options":{"include_usage":true},"max_completion_tokens":100,`},
		"anybody":        {at("http://localhost:8080/v1"), "/v1/chat/completions", `{"model":"m","stream":true,"stream_options":{"include_usage":true},"max_tokens":100,`},
		"anybody, whole": {openai.Options{Endpoint: wire.Endpoint{URL: "http://localhost/v1"}, API: openai.APIResponses, NoStream: true}, "/v1/responses", `{"model":"m","max_output_tokens":100,`},
		"not OpenAI":     {at("https://api.openai.com.example.org/v1"), "/v1/chat/completions", `{"model":"m","stream":true,"stream_options":{"include_usage":true},"max_tokens":100,`},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var path, body string
			test.o.Client = &http.Client{Transport: transport(func(r *http.Request) (*http.Response, error) {
				b, err := io.ReadAll(r.Body)
				path, body = r.URL.Path, string(b)
				return nil, refuse(err)
			})}
			c := call("text")
			c.Session.ID = "ses_1"
			for _, err := range openai.New(test.o).Call(t.Context(), c) {
				if cairn.CodeOf(err) != cairn.CodeUnavailable {
					t.Error(err)
				}
			}
			if path != test.path || !strings.HasPrefix(body, test.want) {
				t.Errorf("%s %s", path, body)
			}
		})
	}
	info, err := openai.New(openai.Options{}).Info(t.Context(), "gpt-5")
	if err != nil || info.Name != "gpt-5" || info.Provider != "openai" {
		t.Errorf("%+v, %v", info, err)
	}
	var _ model.Lister = openai.New(openai.Options{})
}

func at(url string) openai.Options { return openai.Options{Endpoint: wire.Endpoint{URL: url}} }

type transport func(*http.Request) (*http.Response, error)

func (f transport) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// refuse refuses every request once it was read.
func refuse(err error) error {
	if err != nil {
		return err
	}
	return &cairn.Error{Code: cairn.CodeUnavailable, Message: "no network here"}
}
