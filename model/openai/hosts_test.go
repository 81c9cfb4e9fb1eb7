package openai_test

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/model"
	"github.com/cairn-run/cairn/model/openai"
)

// TestHosts: what a service is known to refuse is not sent to it, and what it needs
// is, by the name of its host alone.
func TestHosts(t *testing.T) {
	t.Parallel()
	r := &cairn.ModelRequest{
		Model: "p/m", Params: cairn.ModelParams{MaxOutput: 9},
		Messages: []cairn.Message{
			{Role: cairn.RoleUser, Content: []cairn.Part{cairn.Text("Look.")}},
			{Role: cairn.RoleAssistant, Content: []cairn.Part{
				own(cairn.PartReasoning, "Hm.", `{"reasoning_content":"Hm."}`), toolCall("call_longer_than_nine", "look", "{}"),
			}},
			{Role: cairn.RoleTool, Content: []cairn.Part{{Kind: cairn.PartToolResult, CallID: "call_longer_than_nine", Text: "seen"}}},
		},
	}
	const reasoning, id, encrypted = `"reasoning_content":"Hm."`, `"id":"call_longer_than_nine"`, `"include":["reasoning.encrypted_content"]`
	for url, want := range map[string]struct{ has, hasNot string }{
		"https://llm.example.com/v1":     {reasoning + ` ` + id, encrypted},
		"https://api.groq.com/openai/v1": {id, "reasoning"},
		"https://api.mistral.ai/v1":      {reasoning, "call_longer_than_nine"},
	} {
		o := at(url)
		check(t, o, r, strings.Fields(want.has), want.hasNot)
	}
	o := at("https://api.x.ai/v1")
	o.API = openai.APIResponses
	check(t, o, r, []string{encrypted, `"store":false`}, "service_tier")
}

// check looks at what would be sent.
func check(t *testing.T, o openai.Options, r *cairn.ModelRequest, has []string, hasNot string) {
	t.Helper()
	body := ""
	o.Name = "p"
	o.Client = &http.Client{Transport: transport(func(q *http.Request) (*http.Response, error) {
		b, err := io.ReadAll(q.Body)
		body = string(b)
		return nil, refuse(err)
	})}
	for _, err := range openai.New(o).Call(t.Context(), model.Call{Request: r}) {
		if cairn.CodeOf(err) != cairn.CodeUnavailable {
			t.Error(err)
		}
	}
	for _, s := range has {
		if !strings.Contains(body, s) {
			t.Errorf("%s is sent no %s: %s", o.URL, s, body)
		}
	}
	if strings.Contains(body, hasNot) {
		t.Errorf("%s is sent %s: %s", o.URL, hasNot, body)
	}
}
