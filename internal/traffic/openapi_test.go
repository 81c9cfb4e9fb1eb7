package traffic_test

import (
	"bytes"
	"encoding/json"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/internal/sim"
	"github.com/cairn-run/cairn/internal/traffic"
	"github.com/cairn-run/cairn/model"
	"github.com/cairn-run/cairn/model/openai"
	"github.com/cairn-run/cairn/model/wire"
)

// TestRequestsFitOpenAPI puts every recorded answer, whoever gave it, into the next
// request to OpenAI, on both of its wires, and holds the request against OpenAI's own
// description of them.
func TestRequestsFitOpenAPI(t *testing.T) {
	t.Parallel()
	c := traffic.Load(t)
	raw, err := os.ReadFile(filepath.Join(sim.Data(t, "schemas"), "openai-openapi", "openapi.json"))
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	loosen(doc)
	compiler := jsonschema.NewCompiler()
	if err := compiler.AddResource("openapi.json", doc); err != nil {
		t.Fatal(err)
	}
	fits := map[string]int{}
	for api, name := range map[string]string{openai.APIChat: "CreateChatCompletionRequest", openai.APIResponses: "CreateResponse"} {
		schema, err := compiler.Compile("openapi.json#/components/schemas/" + name)
		if err != nil {
			t.Fatal(err)
		}
		problems := map[string][]string{}
		for i := range c.Exchanges {
			e := &c.Exchanges[i]
			h, err := decode(t.Context(), e)
			if err != nil || h.answer == nil || len(h.answer.Content) == 0 {
				continue
			}
			r := everything(ask(e))
			r.Messages = append(r.Messages, turn(h.answer.Content)...)
			s := &seen{}
			d := openai.New(openai.Options{Endpoint: wire.Endpoint{Name: "openai", Client: &http.Client{Transport: s}}, API: api})
			var last error
			for _, err := range d.Call(t.Context(), model.Call{Request: r}) {
				last = err
			}
			sent, err := jsonschema.UnmarshalJSON(bytes.NewReader(s.body))
			if err != nil {
				t.Errorf("%s: nothing was sent: %v", e.Name, last)
				continue
			}
			if err := schema.Validate(sent); err != nil {
				k := err.Error()
				problems[k] = append(problems[k], e.Name)
				continue
			}
			fits[api]++
		}
		for _, k := range slices.Sorted(maps.Keys(problems)) {
			t.Errorf("%s: %d requests, the first with the answer of %s:\n%s", api, len(problems[k]), problems[k][0], k)
		}
	}
	if fits[openai.APIChat] < 1000 || fits[openai.APIResponses] != fits[openai.APIChat] {
		t.Errorf("requests that fit: %v", fits)
	}
}

// loosen makes of OpenAPI what JSON Schema can check: $recursiveRef is of another
// draft than the rest, and what a discriminator tells apart fits more than one of a
// oneOf.
func loosen(doc any) {
	switch v := doc.(type) {
	case map[string]any:
		delete(v, "$recursiveAnchor")
		delete(v, "$recursiveRef")
		if r, ok := v["required"].([]any); ok { // younger than some of what was recorded
			v["required"] = slices.DeleteFunc(r, func(name any) bool { return name == "logprobs" })
		}
		if one, ok := v["oneOf"].([]any); ok && v["anyOf"] == nil {
			delete(v, "oneOf")
			v["anyOf"] = one
		}
		for _, child := range v {
			loosen(child)
		}
	case []any:
		for _, child := range v {
			loosen(child)
		}
	}
}

// everything has every setting that OpenAI's two wires share.
func everything(r *cairn.ModelRequest) *cairn.ModelRequest {
	half := 0.5
	r.System = "Be brief."
	r.Tools = []cairn.ToolDef{{Name: "t", Description: "d", InputSchema: json.RawMessage(`{"type":"object","anyOf":[{"required":["a"]}]}`)}, {Name: "u"}}
	r.Params.Temperature, r.Params.TopP, r.Params.NoTools = &half, &half, true
	r.Params.OutputSchema = json.RawMessage(`{"type":"object","properties":{"a":{"type":"string"}},"required":["a"],"additionalProperties":false}`)
	r.Messages[0].Content = append(r.Messages[0].Content,
		cairn.Part{Kind: cairn.PartImage, MediaType: "image/png", Data: []byte("PNG")},
		cairn.Part{Kind: cairn.PartFile, MediaType: "application/pdf", Data: []byte("%PDF")},
	)
	return r
}
