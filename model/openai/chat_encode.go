package openai

import (
	"encoding/base64"
	"encoding/json"
	"strings"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/model"
	"github.com/cairn-run/cairn/model/wire"
)

// EncodeChat writes a request for POST /chat/completions. CodeInvalid, with
// NotDone: the wire cannot carry it.
func EncodeChat(d Dialect, r *cairn.ModelRequest) ([]byte, error) {
	_, name := model.Split(r.Model)
	q := ChatRequest{
		Model: name, ServiceTier: d.Service, PromptCacheKey: d.CacheKey,
		Temperature: r.Params.Temperature, TopP: r.Params.TopP,
	}
	if d.Stream {
		q.Stream, q.StreamOptions = true, &StreamOptions{IncludeUsage: true}
	}
	if d.Cap == capCompletion {
		q.MaxCompletionTokens = r.Params.MaxOutput
	} else {
		q.MaxTokens = r.Params.MaxOutput
	}
	if len(r.Params.Stop) > 0 {
		q.Stop = raw(r.Params.Stop)
	}
	if s := r.Params.OutputSchema; !isNull(s) {
		q.ResponseFormat = &ResponseFormat{Type: "json_schema", JSONSchema: &ChatSchema{outputName, wire.Compact(s), strictable(s)}}
	}
	for i := range r.Tools {
		t := &r.Tools[i]
		q.Tools = append(q.Tools, ChatTool{Type: "function", Function: ChatFunction{
			Name: t.Name, Description: t.Description, Parameters: parameters(t),
		}})
	}
	if r.Params.NoTools && len(q.Tools) > 0 {
		q.ToolChoice = json.RawMessage(`"none"`)
	}
	w := chatWriter{d: &d, ids: newCallIDs(maxChatCallID, d.ShortIDs)}
	if r.System != "" {
		w.add(ChatMessage{Role: "system", Content: quote(r.System)})
	}
	for i := range r.Messages {
		if err := w.message(&r.Messages[i]); err != nil {
			return nil, err
		}
	}
	w.flush()
	q.Messages = w.out
	body, err := wire.Encode(&q)
	if err != nil {
		return nil, invalid("the request holds something that is not JSON")
	}
	return d.extend(body)
}

// chatWriter turns messages into those of the wire.
type chatWriter struct {
	d   *Dialect
	ids *callIDs
	out []ChatMessage
	// later is what only a user's message can hold, from results and answers: it
	// follows as one, when all results are given.
	later []json.RawMessage
}

func (w *chatWriter) add(m ChatMessage) { w.out = append(w.out, m) }

func (w *chatWriter) flush() {
	if len(w.later) > 0 {
		w.add(ChatMessage{Role: "user", Content: array(w.later)})
		w.later = nil
	}
}

func (w *chatWriter) message(m *cairn.Message) error {
	switch m.Role {
	case cairn.RoleTool:
		for i := range m.Content {
			w.result(&m.Content[i])
		}
		w.flush()
		return nil
	case cairn.RoleAssistant:
		w.flush()
		w.ids.turn()
		w.assistant(m.Content)
		return nil
	default:
		w.flush()
		return w.user(m.Content)
	}
}

// user writes a user's message. Text alone is one string: not every server takes
// lists.
func (w *chatWriter) user(parts []cairn.Part) error {
	var texts []string
	var items []json.RawMessage
	for i := range parts {
		p := &parts[i]
		if p.Kind == cairn.PartText {
			texts = append(texts, p.Text)
			items = append(items, chatText(p.Text))
			continue
		}
		item, err := w.media(p)
		if err != nil {
			return err
		}
		items = append(items, item)
	}
	if len(texts) == len(parts) {
		w.add(ChatMessage{Role: "user", Content: quote(strings.Join(texts, "\n\n"))})
		return nil
	}
	w.add(ChatMessage{Role: "user", Content: array(items)})
	return nil
}

func chatText(s string) json.RawMessage {
	return raw(struct {
		Type string `json:"type"`
		Text string `json:"text"`
	}{"text", s})
}

// media writes an image or a file as a part of a user's message.
func (w *chatWriter) media(p *cairn.Part) (json.RawMessage, error) {
	switch carry(p) {
	case carriesImage:
		return raw(ChatPart{Type: "image_url", ImageURL: &ChatImage{URL: dataURL(p.MediaType, p.Data)}}), nil
	case carriesPDF:
		return raw(ChatPart{Type: "file", File: &ChatFile{Filename: fileName, FileData: dataURL(p.MediaType, p.Data)}}), nil
	case carriesAudio:
		format := "mp3"
		if strings.HasSuffix(p.MediaType, "wav") {
			format = "wav"
		}
		audio := &ChatAudio{Data: base64.StdEncoding.EncodeToString(p.Data), Format: format}
		return raw(ChatPart{Type: "input_audio", InputAudio: audio}), nil
	case carriesText:
		return chatText(fileText(p)), nil
	}
	return nil, cannotCarry(w.d.Provider, "chat", p)
}

// result writes the answer to a call. It is text only on this wire: images and
// documents follow in a user's message that says which call they are from.
func (w *chatWriter) result(p *cairn.Part) {
	call := w.ids.result(p.CallID)
	said := p.Text
	add := func(s string) {
		if said != "" {
			said += "\n\n"
		}
		said += s
	}
	for i := range p.Parts {
		q := &p.Parts[i]
		if q.Kind == cairn.PartText {
			add(q.Text)
			continue
		}
		if carry(q) == carriesText {
			add(fileText(q))
			continue
		}
		item, err := w.media(q)
		if err != nil || !shows(q) {
			add(unseen(q))
			continue
		}
		w.later = append(w.later, chatText("From the result of call "+call.to+" ("+p.Tool+"):"), item)
		add("[" + q.MediaType + " in the next message]")
	}
	w.add(ChatMessage{Role: "tool", Content: quote(said), ToolCallID: call.to})
}

// assistant writes an answer of the past.
func (w *chatWriter) assistant(parts []cairn.Part) {
	a := chatAssistant{w: w}
	for i := range parts {
		p := &parts[i]
		if frag := w.fragment(p); frag != nil {
			a.fragment(p, frag)
			continue
		}
		switch p.Kind {
		case cairn.PartText:
			a.say(p.Text)
		case cairn.PartToolCall:
			a.calls = append(a.calls, raw(ChatCall{
				ID: w.ids.call(p.CallID, ""), Type: "function", Function: ChatCallFunction{toolName(p.Tool), validArgs(p.Args)},
			}))
		case cairn.PartImage, cairn.PartFile:
			// An assistant's message holds no images here; the user shows them instead.
			item, err := w.media(p)
			if err != nil {
				a.say(unseen(p))
				continue
			}
			w.later = append(w.later, chatText("You made this:"), item)
		}
	}
	if m, ok := a.message(); ok {
		w.add(m)
	}
}

// fragment returns the provider's own form of a part; nil: it has none here.
func (w *chatWriter) fragment(p *cairn.Part) Object {
	if len(p.Opaque) == 0 || p.Provider != w.d.Provider {
		return nil
	}
	o, err := parseObject(p.Opaque)
	if err != nil || !isNull(o.Get("type")) {
		return nil // an item of Responses
	}
	return o
}

// validArgs are a call's arguments as a server takes them back. A model may write
// broken JSON; the templates of open models and strict servers fail on it, and the
// result of such a call says what was wrong with it.
func validArgs(args string) string {
	if isObject(args) {
		return args
	}
	return "{}"
}

// chatAssistant gathers one assistant message.
type chatAssistant struct {
	w      *chatWriter
	pieces []piece
	calls  []json.RawMessage
	rest   Object
}

// piece is a stretch of content: a part of a list, or text.
type piece struct {
	text string
	item json.RawMessage // nil: text
	raw  json.RawMessage // the text as the provider wrote it
}

func (a *chatAssistant) say(s string) { a.pieces = append(a.pieces, piece{text: s}) }

func (a *chatAssistant) fragment(p *cairn.Part, o Object) {
	for _, m := range o {
		switch m.Name {
		case "content":
			if isList(m.Value) {
				for _, it := range list(m.Value) {
					a.pieces = append(a.pieces, piece{item: it})
				}
			} else {
				a.pieces = append(a.pieces, piece{text: text(m.Value), raw: m.Value})
			}
		case "tool_calls":
			for _, c := range list(m.Value) {
				a.calls = append(a.calls, a.call(p, c))
			}
		default:
			if v := a.w.sendable(m); v != nil {
				a.add(m.Name, v)
			}
		}
	}
}

// call is a call in the provider's own form, made acceptable.
func (a *chatAssistant) call(p *cairn.Part, c json.RawMessage) json.RawMessage {
	o, err := parseObject(c)
	if err != nil {
		return c
	}
	if id := a.w.ids.call(p.CallID, ""); id != text(o.Get("id")) {
		o.Set("id", quote(id))
	}
	if f, err := parseObject(o.Get("function")); err == nil && (validArgs(p.Args) != p.Args || toolName(p.Tool) != p.Tool) {
		f.Set("name", quote(toolName(p.Tool)))
		f.Set("arguments", quote(validArgs(p.Args)))
		o.Set("function", f.raw())
	}
	return o.raw()
}

func (a *chatAssistant) add(name string, v json.RawMessage) {
	if old := a.rest.Get(name); isList(old) && isList(v) {
		v = array(append(list(old), list(v)...))
	}
	a.rest.Set(name, v)
}

// sendable is what goes back of a member of a message; nil: nothing.
//
//   - annotations: OpenAI's assistant message in a request has none
//     (https://platform.openai.com/docs/api-reference/chat/create). OpenRouter takes
//     those of files, so as not to read a PDF twice
//     (https://openrouter.ai/docs/features/multimodal/pdfs).
//   - audio: a request has its id only (same reference).
//   - executed_tools: Groq's record of its own tools, which a request does not know
//     (https://console.groq.com/docs/api-reference#chat-create).
//   - a server that is [Dialect.Closed] takes none.
func (w *chatWriter) sendable(m Member) json.RawMessage {
	if w.d.Closed {
		return nil
	}
	switch m.Name {
	case "executed_tools":
		return nil
	case "audio":
		o, err := parseObject(m.Value)
		if err != nil || isNull(o.Get("id")) {
			return nil
		}
		return Object{{"id", o.Get("id")}}.raw()
	case "annotations":
		var files []json.RawMessage
		for _, it := range list(m.Value) {
			if o, err := parseObject(it); err == nil && text(o.Get("type")) == "file" {
				files = append(files, it)
			}
		}
		if len(files) == 0 {
			return nil
		}
		return array(files)
	}
	return m.Value
}

// message is the whole; false: nothing of it can be sent, and servers refuse an
// empty message.
func (a *chatAssistant) message() (ChatMessage, bool) {
	m := ChatMessage{Role: "assistant", ToolCalls: a.calls, Rest: a.rest}
	items := false
	for _, p := range a.pieces {
		items = items || p.item != nil
	}
	switch {
	case items:
		var l []json.RawMessage
		for _, p := range a.pieces {
			if p.item == nil {
				p.item = chatText(p.text)
			}
			l = append(l, p.item)
		}
		m.Content = array(l)
	case len(a.pieces) == 1 && a.pieces[0].raw != nil:
		m.Content = a.pieces[0].raw
	case len(a.pieces) > 0:
		var b strings.Builder
		for _, p := range a.pieces {
			b.WriteString(p.text)
		}
		m.Content = quote(b.String())
	case len(a.calls) > 0:
		m.Content = json.RawMessage("null")
	case len(a.rest) > 0:
		m.Content = json.RawMessage(`""`)
	default:
		return m, false
	}
	return m, true
}
