package openai

import (
	"encoding/json"
	"strings"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/model"
	"github.com/cairn-run/cairn/model/wire"
)

// EncodeResponses writes a request for POST /responses. CodeInvalid, with NotDone:
// the wire cannot carry it.
func EncodeResponses(d Dialect, r *cairn.ModelRequest) ([]byte, error) {
	if len(r.Params.Stop) > 0 {
		return nil, invalid("the responses wire of " + d.Provider + " has no stop sequences: leave them out, or take the chat wire")
	}
	_, name := model.Split(r.Model)
	q := ResponsesRequest{
		Model: name, Stream: d.Stream, ServiceTier: d.Service, PromptCacheKey: d.CacheKey,
		MaxOutputTokens: r.Params.MaxOutput, Temperature: r.Params.Temperature, TopP: r.Params.TopP,
		Instructions: r.System,
	}
	if d.Stateless {
		// The journal is the history: nothing is left with the provider, and reasoning
		// comes in a form that can be sent back
		// (https://platform.openai.com/docs/guides/reasoning#encrypted-reasoning-items).
		store := false
		q.Store, q.Include = &store, []string{"reasoning.encrypted_content"}
	}
	if s := r.Params.OutputSchema; !isNull(s) {
		strict := strictable(s)
		q.Text = &ResponsesText{Format: ResponsesFormat{Type: "json_schema", Name: outputName, Schema: wire.Compact(s), Strict: &strict}}
	}
	for i := range r.Tools {
		t := &r.Tools[i]
		q.Tools = append(q.Tools, ResponsesTool{Type: "function", Name: t.Name, Description: t.Description, Parameters: parameters(t)})
	}
	if r.Params.NoTools && len(q.Tools) > 0 {
		q.ToolChoice = json.RawMessage(`"none"`)
	}
	w := responsesWriter{d: &d, ids: newCallIDs(maxResponsesCallID, false)}
	for i := range r.Messages {
		if err := w.message(&r.Messages[i]); err != nil {
			return nil, err
		}
	}
	w.flush()
	q.Input = w.out
	body, err := wire.Encode(&q)
	if err != nil {
		return nil, invalid("the request holds something that is not JSON")
	}
	return d.extend(body)
}

// responsesWriter turns messages into items.
type responsesWriter struct {
	d     *Dialect
	ids   *callIDs
	out   []json.RawMessage
	later []json.RawMessage // parts of answers that only a user's message can hold
}

func (w *responsesWriter) add(v any) { w.out = append(w.out, raw(v)) }

func (w *responsesWriter) flush() {
	if len(w.later) > 0 {
		w.add(responsesMessage{"user", array(w.later)})
		w.later = nil
	}
}

func (w *responsesWriter) message(m *cairn.Message) error {
	switch m.Role {
	case cairn.RoleTool:
		for i := range m.Content {
			if err := w.result(&m.Content[i]); err != nil {
				return err
			}
		}
		w.flush()
		return nil
	case cairn.RoleAssistant:
		w.flush()
		for i := range m.Content {
			if err := w.assistant(&m.Content[i]); err != nil {
				return err
			}
		}
		return nil
	default:
		w.flush()
		content, err := w.content(m.Content)
		if err != nil {
			return err
		}
		w.add(responsesMessage{"user", content})
		return nil
	}
}

// content is one text as a string, anything else as a list of parts.
func (w *responsesWriter) content(parts []cairn.Part) (json.RawMessage, error) {
	if len(parts) == 1 && parts[0].Kind == cairn.PartText {
		return quote(parts[0].Text), nil
	}
	var items []json.RawMessage
	for i := range parts {
		it, err := w.part(&parts[i])
		if err != nil {
			return nil, err
		}
		items = append(items, it)
	}
	return array(items), nil
}

func inputText(s string) json.RawMessage { return raw(responsesText{"input_text", s}) }

func (w *responsesWriter) part(p *cairn.Part) (json.RawMessage, error) {
	if p.Kind == cairn.PartText {
		return inputText(p.Text), nil
	}
	switch carry(p) {
	case carriesImage:
		return raw(ResponsesPart{Type: "input_image", ImageURL: dataURL(p.MediaType, p.Data)}), nil
	case carriesPDF:
		return raw(ResponsesPart{Type: "input_file", Filename: fileName, FileData: dataURL(p.MediaType, p.Data)}), nil
	case carriesText:
		return inputText(fileText(p)), nil
	}
	return nil, cannotCarry(w.d.Provider, "responses", p)
}

func (w *responsesWriter) result(p *cairn.Part) error {
	call := w.ids.result(p.CallID)
	output := quote(p.Text)
	if len(p.Parts) > 0 {
		parts := p.Parts
		if p.Text != "" {
			parts = append([]cairn.Part{cairn.Text(p.Text)}, parts...)
		}
		var err error
		if output, err = w.content(parts); err != nil {
			return err
		}
	}
	kind := "function_call_output"
	if call.kind == customCall {
		kind = "custom_tool_call_output"
	}
	w.add(responsesOutput{kind, call.to, output})
	return nil
}

// customCall is the item of a tool that takes free text.
const customCall = "custom_tool_call"

// assistant writes a part of an answer of the past: its own item, if this provider
// made it, and else what its fields say.
func (w *responsesWriter) assistant(p *cairn.Part) error {
	if it := w.item(p); it != nil {
		w.out = append(w.out, it)
		return nil
	}
	switch p.Kind {
	case cairn.PartText:
		if p.Text != "" {
			w.add(responsesMessage{"assistant", quote(p.Text)})
		}
	case cairn.PartToolCall:
		w.add(responsesCall{"function_call", w.ids.call(p.CallID, ""), p.Tool, validArgs(p.Args)})
	case cairn.PartImage, cairn.PartFile:
		// An assistant's message holds no images here; the user shows them instead.
		item, err := w.part(p)
		if err != nil {
			return err
		}
		w.later = append(w.later, inputText("You made this:"), item)
	}
	return nil
}

// item returns the item a part came in; nil: it came in none. Everything goes back
// as it came, but for created_by, which only answers have
// (https://platform.openai.com/docs/api-reference/responses/object), for the id of
// a call that would not be the only one, and for arguments that are no object.
func (w *responsesWriter) item(p *cairn.Part) json.RawMessage {
	if len(p.Opaque) == 0 || p.Provider != w.d.Provider {
		return nil
	}
	o, err := parseObject(p.Opaque)
	kind := text(o.Get("type"))
	if err != nil || kind == "" {
		return nil // a fragment of chat
	}
	o.remove("created_by")
	if p.Kind == cairn.PartToolCall {
		if id := w.ids.call(p.CallID, kind); id != text(o.Get("call_id")) {
			o.Set("call_id", quote(id))
		}
		if kind != customCall && validArgs(p.Args) != p.Args {
			o.Set("arguments", quote(validArgs(p.Args)))
		}
	}
	return o.raw()
}

// join puts texts together with an empty line between them.
func join(texts []string) string { return strings.Join(texts, blankLine) }

const blankLine = "\n\n"
