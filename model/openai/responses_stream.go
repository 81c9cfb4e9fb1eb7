package openai

import (
	"bytes"
	"encoding/json"
	"strings"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/model"
	"github.com/cairn-run/cairn/model/wire"
)

// ResponsesEvent is an event of a stream of Responses.
type ResponsesEvent struct {
	Type         string          `json:"type"`
	OutputIndex  *int            `json:"output_index,omitempty"` // the place of the item
	ItemID       string          `json:"item_id,omitzero"`
	ContentIndex int             `json:"content_index,omitzero"` // the place in its content
	SummaryIndex int             `json:"summary_index,omitzero"` // the place in its summary
	Delta        json.RawMessage `json:"delta,omitempty"`        // a piece of text
	Item         json.RawMessage `json:"item,omitempty"`         // a ResponsesItem
	Response     *Response       `json:"response,omitempty"`
	Error        json.RawMessage `json:"error,omitempty"`
}

// ResponsesStream puts the events of one answer together.
type ResponsesStream struct {
	provider string
	failed   reported
	last     *Response // the state of the answer that was reported last
	said     []byte    // the event that ended it
	done     bool
	items    []*item
	byPlace  map[int]*item
	byID     map[string]*item
	used     map[string]bool
	deltas   []cairn.Delta // of the event that was added last
}

// item is an item in the making. It is known by its place: servers have been seen
// to give an item another id in every event.
type item struct {
	place   int
	kind    cairn.PartKind
	callID  string
	tool    string
	said    strings.Builder
	section string // of a text with several, which one was said last
	raw     json.RawMessage
}

// NewResponsesStream returns a decoder for the answer of a provider.
func NewResponsesStream(provider string) *ResponsesStream {
	return &ResponsesStream{
		provider: provider, failed: reporter(provider),
		byPlace: map[int]*item{}, byID: map[string]*item{}, used: map[string]bool{},
	}
}

// Ended says that nothing that matters follows.
func (s *ResponsesStream) Ended() bool { return s.done }

// Add takes the next event and returns what it says. Errors are *model.Failure;
// nothing can be added after one.
func (s *ResponsesStream) Add(e wire.Event) ([]cairn.Delta, error) {
	data := bytes.TrimSpace(e.Data)
	if string(data) == "[DONE]" || s.done {
		return nil, nil
	}
	var ev ResponsesEvent
	if err := tolerate(data, &ev); err != nil {
		return nil, s.Fail(wire.Malformed(s.provider, "not JSON"))
	}
	if ev.Type == "" {
		ev.Type = e.Type
	}
	if ev.Response != nil {
		s.last = ev.Response
	}
	s.deltas = nil
	switch ev.Type {
	case "error", "response.error":
		return nil, s.Fail(s.failed(data))
	case "response.failed":
		return nil, s.Fail(s.failed(data))
	case "response.completed", "response.incomplete", "response.done":
		s.done, s.said = true, bytes.Clone(data)
	case "response.output_item.added":
		s.begin(&ev)
	case "response.output_item.done":
		s.end(&ev)
	case "response.output_text.delta", "response.refusal.delta":
		s.say(s.item(&ev), cairn.PartText, "", text(ev.Delta))
	case "response.reasoning_summary_text.delta":
		s.say(s.item(&ev), cairn.PartReasoning, noted("summary", ev.SummaryIndex), text(ev.Delta))
	case "response.reasoning_text.delta":
		s.say(s.item(&ev), cairn.PartReasoning, noted("content", ev.ContentIndex), text(ev.Delta))
	case "response.function_call_arguments.delta", "response.custom_tool_call_input.delta":
		s.say(s.item(&ev), cairn.PartToolCall, "", text(ev.Delta))
	default:
		if ev.Type == "" && !isEmpty(ev.Error) {
			return nil, s.Fail(s.failed(data))
		}
	}
	return s.deltas, nil
}

// item is the item that an event is about.
func (s *ResponsesStream) item(ev *ResponsesEvent) *item {
	if ev.OutputIndex != nil {
		if it := s.byPlace[*ev.OutputIndex]; it != nil {
			return it
		}
	} else if it := s.byID[ev.ItemID]; it != nil {
		return it
	}
	it := &item{place: len(s.items)}
	s.items = append(s.items, it)
	if ev.OutputIndex != nil {
		s.byPlace[*ev.OutputIndex] = it
	}
	if ev.ItemID != "" {
		s.byID[ev.ItemID] = it
	}
	return it
}

// about fills in where an event with an item has the item's id.
func about(ev *ResponsesEvent) *ResponsesEvent {
	var id struct {
		ID string `json:"id"`
	}
	if ev.ItemID == "" && tolerate(ev.Item, &id) == nil {
		ev.ItemID = id.ID
	}
	return ev
}

func (s *ResponsesStream) begin(ev *ResponsesEvent) { s.name(s.item(about(ev)), ev.Item, false) }

// name takes what is known of an item before its text. A call that has no id yet
// gets one when it is finished.
func (s *ResponsesStream) name(it *item, rawItem json.RawMessage, last bool) cairn.Part {
	p := itemPart(s.provider, rawItem)
	it.kind = p.Kind
	if p.Kind != cairn.PartToolCall {
		return p
	}
	if it.callID == "" && (p.CallID != "" || last) {
		it.callID = freeID(p.CallID, it.place, s.used)
		s.used[it.callID] = true
	}
	if it.tool == "" {
		it.tool = p.Tool
	}
	return p
}

// end takes a finished item, and says what of it has not been said yet.
func (s *ResponsesStream) end(ev *ResponsesEvent) {
	it := s.item(about(ev))
	it.raw = wire.Compact(ev.Item)
	p := s.name(it, ev.Item, true)
	whole := p.Text
	if p.Kind == cairn.PartToolCall {
		whole = p.Args
	}
	switch p.Kind {
	case cairn.PartText, cairn.PartReasoning, cairn.PartToolCall:
		if rest, ok := strings.CutPrefix(whole, it.said.String()); ok {
			s.emit(it, rest)
		}
	}
}

// say takes a piece of an item's text. Sections are apart by an empty line, as they
// are in the finished part.
func (s *ResponsesStream) say(it *item, kind cairn.PartKind, section, said string) {
	if it.kind == "" {
		it.kind = kind
	}
	if said == "" || it.kind != kind || kind == cairn.PartToolCall && (it.tool == "" || it.callID == "") {
		return
	}
	if it.section != section && it.said.Len() > 0 {
		said = blankLine + said
	}
	it.section = section
	s.emit(it, said)
}

func (s *ResponsesStream) emit(it *item, said string) {
	if said != "" {
		it.said.WriteString(said)
		s.deltas = append(s.deltas, cairn.Delta{Kind: it.kind, Index: it.place, Text: said, CallID: it.callID, Tool: it.tool})
	}
}

// Fail types the error that broke the stream off, with the usage that was reported
// until then.
func (s *ResponsesStream) Fail(err error) *model.Failure {
	if s.last == nil {
		return model.AsFailure(err)
	}
	return s.last.failure(err)
}

// Done returns the answer, if the provider said that it is complete. Anything else
// is a *model.Failure. The last event holds the whole answer; where a server leaves
// its output empty, it is what the finished items were.
func (s *ResponsesStream) Done() (*cairn.ModelAnswer, error) {
	if !s.done || s.last == nil {
		return nil, s.Fail(errCut())
	}
	r := *s.last
	if len(r.Output) == 0 {
		for _, it := range s.items {
			if it.raw == nil {
				return nil, s.Fail(wire.Malformed(s.provider, "an item has no end"))
			}
			r.Output = append(r.Output, it.raw)
		}
	}
	return r.answer(s.provider, s.said, s.failed)
}
