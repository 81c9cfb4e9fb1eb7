package traffic

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
)

// fixtures are the folders of Vercel's answers, the longest first where one holds
// another.
var fixtures = []struct {
	folder, provider string
	wire             Wire
	reason           string
}{
	{"alibaba/", "alibaba", Chat, ""},
	{"amazon-bedrock/src/reranking/", "", "", "reranking"},
	{"amazon-bedrock/", "", "", "Bedrock Converse"},
	{"anthropic/src/skills/", "", "", "skill"},
	{"anthropic/", "anthropic", Messages, ""},
	{"azure/src/__fixtures__/azure-deepseek", "azure", Chat, ""},
	{"azure/", "azure", Responses, ""},
	{"cohere/src/reranking/", "", "", "reranking"},
	{"cohere/", "", "", "Cohere"},
	{"deepseek/", "deepseek", Chat, ""},
	{"google/src/interactions/", "", "", "Google interactions"},
	{"google/src/speech-translation/", "", "", "speech"},
	{"google/", "google", Generate, ""},
	{"groq/", "groq", Chat, ""},
	{"mistral/", "mistral", Chat, ""},
	{"moonshotai/", "moonshotai", Chat, ""},
	{"open-responses/", "lmstudio", Responses, ""},
	{"openai-compatible/", "openai-compatible", Chat, ""},
	{"openai/src/chat/", "openai", Chat, ""},
	{"openai/src/completion/", "", "", "legacy completion"},
	{"openai/src/embedding/", "", "", "embedding"},
	{"openai/src/responses/", "openai", Responses, ""},
	{"openai/src/skills/", "", "", "skill"},
	{"openai/src/speech-translation/", "", "", "speech"},
	{"openai/src/transcription/", "", "", "transcription"},
	{"perplexity/", "perplexity", Chat, ""},
	{"xai/src/responses/", "xai", Responses, ""},
	{"xai/", "xai", Chat, ""},
}

// statuses are of the answers that were errors: the files do not say. Of the first
// two it is in their body or name, of the others what OpenAI documents for the code
// (https://platform.openai.com/docs/guides/error-codes).
var statuses = map[string]int{
	"google-429-retry-info":                  http.StatusTooManyRequests,
	"openai-error.1":                         http.StatusTooManyRequests,
	"reasoning-model-legacy-parameter-error": http.StatusBadRequest,
	"reasoning-model-temperature-error":      http.StatusBadRequest,
}

// fixture reads an answer of Vercel's: one JSON document, server-sent events, or
// the payloads of events, one a line.
func (c *Corpus) fixture(file string, raw []byte) error {
	name := Vercel + "/" + file
	base := file[strings.LastIndexByte(file, '/')+1:]
	base, form, ok := cutForm(base)
	if !ok {
		return fmt.Errorf("not an answer")
	}
	if strings.Contains(base, "-transcription") {
		c.exclude(Vercel, name, "transcription")
		return nil
	}
	for _, f := range fixtures {
		if !strings.HasPrefix(file, f.folder) {
			continue
		}
		if f.reason != "" {
			c.exclude(Vercel, name, f.reason)
			return nil
		}
		e := Exchange{Name: name, Corpus: Vercel, Provider: f.provider, Wire: f.wire, Status: http.StatusOK, Body: raw, Stream: form != ".json"}
		if s := statuses[base]; s != 0 && !e.Stream {
			e.Status = s
		}
		e.Header = http.Header{"Content-Type": {"application/json"}}
		if e.Stream {
			e.Header.Set("Content-Type", "text/event-stream")
		}
		if form != ".chunks.txt" {
			e.Model = named(raw, e.Stream)
			c.Exchanges = append(c.Exchanges, e)
			return nil
		}
		streams := split(raw)
		for i, lines := range streams {
			one := e
			if len(streams) > 1 {
				one.Name = fmt.Sprintf("%s#%d", name, i)
			}
			var err error
			if one.Body, err = reframe(f.wire, lines); err != nil {
				return err
			}
			one.Model = named(lines, true)
			c.Exchanges = append(c.Exchanges, one)
		}
		return nil
	}
	c.exclude(Vercel, name, unknown)
	return nil
}

// split takes apart what some files hold one after the other: the answers of
// several steps. A stream begins after the event that ends the one before.
func split(lines []byte) [][]byte {
	var streams [][]byte
	start := 0
	for at := 0; at < len(lines); {
		line, _, _ := bytes.Cut(lines[at:], []byte("\n"))
		var event struct {
			Type string `json:"type"`
		}
		_ = json.Unmarshal(line, &event) // what is not JSON ends nothing
		at = min(at+len(line)+1, len(lines))
		ends := event.Type == "message_stop" || event.Type == "response.completed" || event.Type == "response.incomplete" || event.Type == "response.failed"
		if ends && len(bytes.TrimSpace(lines[at:])) > 0 {
			streams = append(streams, lines[start:at])
			start = at
		}
	}
	return append(streams, lines[start:])
}

func cutForm(base string) (name, form string, ok bool) {
	for _, form = range []string{".chunks.txt", ".json", ".sse"} {
		if name, ok = strings.CutSuffix(base, form); ok {
			return name, form, true
		}
	}
	return "", "", false
}

// named is the model that an answer names, "unknown" if it names none.
func named(raw []byte, stream bool) string {
	docs := []string{string(raw)}
	if stream {
		docs = strings.Split(string(raw), "\n")
	}
	for _, doc := range docs {
		var d struct {
			Model        string `json:"model"`
			ModelVersion string `json:"modelVersion"`
			Response     struct {
				Model string `json:"model"`
			} `json:"response"`
			Message struct {
				Model string `json:"model"`
			} `json:"message"`
		}
		if json.Unmarshal([]byte(strings.TrimPrefix(doc, "data: ")), &d) != nil {
			continue // a blank line, [DONE], or an error as a text
		}
		for _, m := range []string{d.Model, d.ModelVersion, d.Response.Model, d.Message.Model} {
			if m != "" {
				return m
			}
		}
	}
	return "unknown"
}
