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
	w := responsesWriter{d: &d, ids: newCallIDs(maxResponsesCallID, false), thinks: !plainModel(name)}
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
	d      *Dialect
	ids    *callIDs
	thinks bool // the model takes reasoning
	out    []json.RawMessage
	later  []json.RawMessage // parts of answers that only a user's message can hold
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
			w.result(&m.Content[i])
		}
		w.flush()
		return nil
	case cairn.RoleAssistant:
		w.flush()
		w.answer(m.Content)
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
		return raw(ResponsesPart{Type: "input_image", ImageURL: dataURL(p.MediaType, p.Data), Detail: "auto"}), nil
	case carriesPDF:
		return raw(ResponsesPart{Type: "input_file", Filename: fileName, FileData: dataURL(p.MediaType, p.Data)}), nil
	case carriesText:
		return inputText(fileText(p)), nil
	}
	return nil, cannotCarry(w.d.Provider, "responses", p)
}

func (w *responsesWriter) result(p *cairn.Part) {
	call := w.ids.result(p.CallID)
	output := quote(p.Text)
	if len(p.Parts) > 0 {
		parts := p.Parts
		if p.Text != "" {
			parts = append([]cairn.Part{cairn.Text(p.Text)}, parts...)
		}
		output = w.shown(parts)
	}
	kind := "function_call_output"
	if call.kind == customCall {
		kind = "custom_tool_call_output"
	}
	w.add(responsesOutput{kind, call.to, output})
}

// shown is what a tool gave, with words in place of what cannot be carried.
func (w *responsesWriter) shown(parts []cairn.Part) json.RawMessage {
	items := make([]json.RawMessage, 0, len(parts))
	for i := range parts {
		it, err := w.part(&parts[i])
		if err != nil || !shows(&parts[i]) {
			it = inputText(unseen(&parts[i]))
		}
		items = append(items, it)
	}
	return array(items)
}

// customCall is the item of a tool that takes free text.
const customCall = "custom_tool_call"

// answer writes an answer of the past. Reasoning goes back only where the API takes
// it, because what it does not take it refuses every time:
//
//   - Not to a model that does not reason
//     (https://github.com/openai/openai-python/issues/2364).
//   - Not as a mere id, where nothing is stored under it: "Items are not persisted
//     when `store` is set to false" (https://github.com/vercel/ai/issues/7543).
//   - Not at the end of an answer that was cut: "of type 'reasoning' was provided
//     without its required following item"
//     (https://github.com/openai/openai-node/issues/1567).
//
// Messages and calls that follow reasoning and come without it go without their ids,
// by which the API would miss it
// (https://github.com/openai/openai-node/issues/1791).
func (w *responsesWriter) answer(parts []cairn.Part) {
	begin := len(w.out)
	end := 0 // what is after it is reasoning
	unpaired := false
	for i := range parts {
		p := &parts[i]
		it := w.item(p)
		switch {
		case p.Kind == cairn.PartReasoning && it != nil && w.refuses(it):
			unpaired = true
		case it != nil && (!unpaired || p.Kind != cairn.PartText):
			if unpaired && p.Kind == cairn.PartToolCall {
				o, _ := parseObject(it) // it was one
				o.remove("id")
				it = o.raw()
			}
			w.out = append(w.out, it)
			if p.Kind != cairn.PartReasoning {
				end = len(w.out) - begin
			}
		case p.Kind != cairn.PartReasoning && p.Kind != cairn.PartOpaque:
			if said := len(w.out); w.assistant(p) > said {
				end = len(w.out) - begin
			}
		}
	}
	w.out = w.out[:begin+end]
}

// refuses says whether the API would not take an item of reasoning back.
func (w *responsesWriter) refuses(it json.RawMessage) bool {
	o, _ := parseObject(it) // none: it is not refused
	return !w.thinks || w.d.Stateless && isEmpty(o.Get("encrypted_content"))
}

// plainModel says whether a name is that of an OpenAI model that does not reason.
func plainModel(name string) bool {
	name = strings.TrimPrefix(name, "ft:")
	for _, family := range []string{"gpt-3", "gpt-4", "chatgpt-", "gpt-5-chat"} {
		if strings.HasPrefix(name, family) {
			return true
		}
	}
	return false
}

// assistant writes a part of an answer by its fields, and says how many items there are
// then.
func (w *responsesWriter) assistant(p *cairn.Part) int {
	switch p.Kind {
	case cairn.PartText:
		if p.Text != "" {
			w.add(responsesMessage{"assistant", quote(p.Text)})
		}
	case cairn.PartToolCall:
		w.add(responsesCall{"function_call", w.ids.call(p.CallID, ""), toolName(p.Tool), validArgs(p.Args)})
	case cairn.PartImage, cairn.PartFile:
		// An assistant's message holds no images here; the user shows them instead.
		item, err := w.part(p)
		if err != nil {
			w.add(responsesMessage{"assistant", quote(unseen(p))})
			break
		}
		w.later = append(w.later, inputText("You made this:"), item)
	}
	return len(w.out)
}

// item returns the item a part came in; nil: it came in none. Everything goes back
// as it came, but for created_by, which only answers have
// (https://platform.openai.com/docs/api-reference/responses/object), for the id of
// a call that would not be the only one, a name that no tool can have, and for
// arguments that are no object.
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
		if toolName(p.Tool) != p.Tool {
			o.Set("name", quote(toolName(p.Tool)))
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
