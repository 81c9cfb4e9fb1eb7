package openai

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/cairn-run/cairn"
)

// chatFold gathers the members of an answer's message, from one object or from the
// deltas of a stream, and keeps the parts in the order they began in.
type chatFold struct {
	provider  string
	whole     bool
	slots     []*slot
	text      *slot
	refusal   *slot
	audio     *slot
	reasoning *slot
	shown     string // the member whose text is shown as reasoning
	calls     chatCalls
	notes     []json.RawMessage // annotations
	blank     string            // a reasoning member that came and was empty
	rest      Object
	deltas    []cairn.Delta // of the object that was added last
}

// slot is a part in the making.
type slot struct {
	place  int
	kind   cairn.PartKind
	said   strings.Builder // what is shown
	fields fields          // members of the message that the part stands for
	call   *chatCall
	part   cairn.Part // a part that came whole
}

// reasoningTexts are the members that hold reasoning as text: DeepSeek and most
// others; OpenRouter, Groq, Cerebras, Ollama; older servers; GitHub Copilot.
var reasoningTexts = []string{"reasoning_content", "reasoning", "thinking", "reasoning_text"}

func isReasoningText(name string) bool {
	for _, n := range reasoningTexts {
		if n == name {
			return true
		}
	}
	return false
}

func (f *chatFold) slot(kind cairn.PartKind) *slot {
	s := &slot{place: len(f.slots), kind: kind}
	f.slots = append(f.slots, s)
	return s
}

func (f *chatFold) say(s *slot, said string) {
	if said != "" {
		s.said.WriteString(said)
		f.deltas = append(f.deltas, cairn.Delta{Kind: s.kind, Index: s.place, Text: said})
	}
}

// add takes a message, or a piece of one.
func (f *chatFold) add(o Object) {
	f.reason(o)
	for _, m := range o {
		if isNull(m.Value) {
			continue
		}
		switch m.Name {
		case "role", "reasoning_details", "reasoning_opaque", "tool_calls", "function_call":
		case "content":
			f.content(m.Value)
		case "refusal":
			f.said(&f.refusal, m)
		case "annotations":
			f.notes = append(f.notes, list(m.Value)...)
		case "images":
			f.images(list(m.Value))
		case "audio":
			f.hear(m.Value)
		case "provider_metadata", "channel", "index", "type", "logprobs", "prefix", "cache_control":
			// About the answer or its transport, not of it: Vercel's routing, the
			// channel a token of gpt-oss came on, the place of a choice.
		default:
			if !isReasoningText(m.Name) && !isEmpty(m.Value) {
				f.rest.merge(m)
			}
		}
	}
	for _, m := range o {
		switch m.Name {
		case "tool_calls":
			for _, c := range list(m.Value) {
				f.call(c)
			}
		case "function_call": // before there were tool calls
			if !isNull(m.Value) {
				f.call(Object{{"index", json.RawMessage("0")}, {"function", m.Value}}.raw())
			}
		}
	}
}

// reason takes the members that hold reasoning.
func (f *chatFold) reason(o Object) {
	said, by := "", ""
	for _, name := range reasoningTexts {
		v := o.Get(name)
		if isNull(v) {
			continue
		}
		t := text(v)
		if t == "" {
			if string(v) == `""` {
				f.blank = name
			} else {
				f.rest.merge(Member{name, v})
			}
			continue
		}
		if by == "" && (f.shown == "" || f.shown == name) {
			said, by = t, name
		}
		f.reasons().fields.text(name, t, v)
	}
	if v := o.Get("reasoning_details"); isList(v) && !isEmpty(v) {
		s := f.reasons()
		for _, d := range list(v) {
			t := s.fields.detail("reasoning_details", d, f.whole)
			if t != "" && (f.shown == "reasoning_details" || f.shown == "" && by == "") {
				said += t
			}
		}
		if said != "" && by == "" {
			by = "reasoning_details"
		}
	}
	if v := o.Get("reasoning_opaque"); !isEmpty(v) { // GitHub Copilot
		f.reasons().fields.text("reasoning_opaque", text(v), v)
	}
	if by != "" {
		f.shown = by
		f.say(f.reasons(), said)
	}
}

func (f *chatFold) reasons() *slot {
	if f.reasoning == nil {
		f.reasoning = f.slot(cairn.PartReasoning)
	}
	return f.reasoning
}

// said takes a member that holds text of its own.
func (f *chatFold) said(s **slot, m Member) {
	t := text(m.Value)
	if t == "" {
		return
	}
	if *s == nil {
		*s = f.slot(cairn.PartText)
	}
	(*s).fields.text(m.Name, t, m.Value)
	f.say(*s, t)
}

func (f *chatFold) content(v json.RawMessage) {
	if !isList(v) {
		f.plain(v)
		return
	}
	for _, it := range list(v) {
		f.item(it)
	}
}

// plain takes content that is a string. After an item of a list it goes on with
// that item, or is a text of its own.
func (f *chatFold) plain(v json.RawMessage) {
	if n := len(f.slots); n > 0 && f.slots[n-1] != f.text && f.slots[n-1].fields.listed() {
		f.text = nil
	}
	if f.text == nil || !f.text.fields.listed() {
		f.said(&f.text, Member{"content", v})
		return
	}
	t := text(v)
	f.text.fields.all[0].parts[0].add("text", t, false)
	f.say(f.text, t)
}

// item takes a part of a list of content. Mistral streams them in pieces, with the
// text of an answer as plain strings after them.
func (f *chatFold) item(it json.RawMessage) {
	o, err := parseObject(it)
	if err != nil {
		return
	}
	var last *slot
	if n := len(f.slots); n > 0 && !f.whole {
		last = f.slots[n-1]
	}
	switch kind := text(o.Get("type")); kind {
	case "text", "output_text":
		t := text(o.Get("text"))
		if f.text == nil || f.text != last || !last.fields.listed() {
			f.text = f.slot(cairn.PartText)
		}
		f.text.fields.item(o, "text", t)
		f.say(f.text, t)
	case "thinking", "reasoning":
		t := thinking(o)
		if last == nil || last.kind != cairn.PartReasoning || !last.fields.listed() {
			last = f.slot(cairn.PartReasoning)
		}
		last.fields.item(o, "thinking", t)
		f.say(last, t)
	case "image_url":
		f.images([]json.RawMessage{it})
	default:
		s := f.slot(cairn.PartOpaque)
		s.fields.item(o, "", "")
	}
}

// thinking is the text of Mistral's thinking, a list of text parts, or a string.
func thinking(o Object) string {
	v := o.Get("thinking")
	if !isList(v) {
		return text(v)
	}
	var b strings.Builder
	for _, it := range list(v) {
		if p, err := parseObject(it); err == nil {
			b.WriteString(text(p.Get("text")))
		}
	}
	return b.String()
}

// images takes images of an answer (OpenRouter); they come whole.
func (f *chatFold) images(items []json.RawMessage) {
	for _, it := range items {
		var im struct {
			URL ChatImage `json:"image_url"`
		}
		s := f.slot(cairn.PartOpaque)
		if tolerate(it, &im) == nil {
			if mt, data, ok := fromDataURL(im.URL.URL); ok {
				s.kind = cairn.PartImage
				s.part.MediaType, s.part.Data = mt, data
			}
		}
		s.part.Kind, s.part.Provider = s.kind, f.provider
		s.part.Opaque = Object{{"images", array([]json.RawMessage{it})}}.raw()
	}
}

// hear takes spoken output: its transcript is what is shown.
func (f *chatFold) hear(v json.RawMessage) {
	o, err := parseObject(v)
	if err != nil {
		return
	}
	if f.audio == nil {
		f.audio = f.slot(cairn.PartText)
	}
	f.audio.fields.object("audio", o)
	f.say(f.audio, text(o.Get("transcript")))
}

func (f *chatFold) refused() bool { return f.refusal != nil }

// citations is the number of pages that an answer cites.
func (f *chatFold) citations() int {
	n := 0
	for _, a := range f.notes {
		if o, err := parseObject(a); err == nil && text(o.Get("type")) == "url_citation" {
			n++
		}
	}
	return n
}

// parts are the parts of the answer.
func (f *chatFold) parts() ([]cairn.Part, error) {
	parts := make([]cairn.Part, 0, len(f.slots)+1)
	notes := f.notes
	for _, s := range f.slots {
		switch {
		case s.call != nil:
			f.settle(s.call)
			p, err := s.call.part(f.provider)
			if err != nil {
				return nil, err
			}
			parts = append(parts, p)
		case s.part.Kind != "":
			parts = append(parts, s.part)
		default:
			p := cairn.Part{Kind: s.kind, Text: s.said.String()}
			own := s.fields.form()
			if s.kind == cairn.PartText && s == f.text && len(notes) > 0 {
				own = append(own, Member{"annotations", array(notes)})
				notes = nil
			}
			f.keep(&p, own)
			parts = append(parts, p)
		}
	}
	rest := f.rest
	if len(notes) > 0 {
		rest = append(rest, Member{"annotations", array(notes)})
	}
	if f.blank != "" && f.reasoning == nil && len(f.calls.all) > 0 {
		// Moonshot and DeepSeek refuse a message with calls whose reasoning is missing,
		// an empty one too: https://api-docs.deepseek.com/guides/thinking_mode.
		rest = append(rest, Member{f.blank, json.RawMessage(`""`)})
	}
	if len(rest) > 0 {
		parts = append(parts, cairn.Part{Kind: cairn.PartOpaque, Provider: f.provider, Opaque: rest.raw()})
	}
	return parts, nil
}

// keep gives a part its own form, unless its fields say the same.
func (f *chatFold) keep(p *cairn.Part, own Object) {
	if p.Kind == cairn.PartText && len(own) == 1 && own[0].Name == "content" && string(own[0].Value) == string(quote(p.Text)) {
		return
	}
	p.Provider, p.Opaque = f.provider, own.raw()
}

// noted is a line of what is billed beside the usage.
func noted(name string, n int) string { return fmt.Sprintf("%s: %d", name, n) }
