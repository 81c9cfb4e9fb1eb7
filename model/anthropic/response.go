package anthropic

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/model"
	"github.com/cairn-run/cairn/model/wire"
)

// Response is an answer in one piece. Members that only this package's callers
// may want are kept as they came.
type Response struct {
	ID           string          `json:"id"`
	Type         string          `json:"type"` // "message"
	Role         string          `json:"role"` // "assistant"
	Model        string          `json:"model"`
	Content      Blocks          `json:"content"`
	StopReason   *string         `json:"stop_reason"`
	StopSequence json.RawMessage `json:"stop_sequence"`
	StopDetails  json.RawMessage `json:"stop_details,omitempty"`
	// Container is where the provider ran code; how long is billed besides.
	Container json.RawMessage `json:"container,omitempty"`
	Usage     json.RawMessage `json:"usage,omitempty"`
}

// DecodeResponse reads an answer in one piece. The name of the provider marks what
// goes back to nobody else. The model is empty if the server did not say it.
//
// An error is a *model.Failure, with the usage where it was reported: CodeCut for
// what is no complete message, CodeRefused for a refusal without content, and what
// [wire.Classify] makes of an error document.
func DecodeResponse(provider string, body []byte) (*cairn.ModelAnswer, error) {
	if isError(body) {
		return nil, &model.Failure{Err: reported(provider, body)}
	}
	r, err := readResponse(body)
	if err != nil {
		return nil, &model.Failure{Err: wire.Malformed(provider, err.Error())}
	}
	parts := make([]cairn.Part, len(r.Content))
	for i := range r.Content {
		parts[i] = partOf(provider, &r.Content[i])
	}
	a, e := r.answer(provider, parts)
	if e != nil {
		return nil, failure(e, r.rawUsage())
	}
	return a, nil
}

// failure is an error with the usage that was reported.
func failure(e *cairn.Error, usage json.RawMessage) *model.Failure {
	f := &model.Failure{Err: e, RawUsage: usage}
	if usage != nil {
		u := readUsage(usage).usage
		f.Usage = &u
	}
	return f
}

// reported types the error that a provider reports with status 200.
func reported(provider string, body []byte) *cairn.Error {
	e := wire.Classify(provider, 0, nil, body)
	e.NotDone = false
	return e
}

// isError says whether a document or an event is {"type": "error", "error": …}.
func isError(data []byte) bool {
	var e Event
	_ = json.Unmarshal(data, &e) // what is no event is no error
	return e.isError()
}

func (e *Event) isError() bool {
	return e.Type == "error" || e.Type == "" && !isNull(e.Error)
}

func readResponse(body []byte) (*Response, error) {
	o, ok := parseObject(body)
	if !ok {
		return nil, fmt.Errorf("it is not a JSON object")
	}
	var r Response
	_ = json.Unmarshal(body, &r) // a member of another type stays empty
	if r.Type != "" && r.Type != "message" {
		return nil, fmt.Errorf("it is a %q, not a message", r.Type)
	}
	if list := bytes.TrimLeft(o.get("content"), " \t\r\n"); len(list) == 0 || list[0] != '[' {
		return nil, fmt.Errorf("it has no content")
	}
	return &r, nil
}

// rawUsage is the usage as the provider wrote it; nil: it said nothing.
func (r *Response) rawUsage() json.RawMessage {
	if !isObject(r.Usage) {
		return nil
	}
	return wire.Compact(r.Usage)
}

// answer makes the answer of a complete message whose content is parts.
func (r *Response) answer(provider string, parts []cairn.Part) (*cairn.ModelAnswer, *cairn.Error) {
	if r.StopReason == nil || *r.StopReason == "" {
		return nil, wire.Malformed(provider, "it does not say why it ended")
	}
	stop := stopOf(*r.StopReason, parts)
	if stop == cairn.StopRefusal && len(parts) == 0 {
		return nil, refusal(provider, r.StopDetails)
	}
	b := readUsage(r.Usage)
	if !isNull(r.Container) {
		b.aside("container")
	}
	return &cairn.ModelAnswer{
		Model: r.Model, Content: parts, Stop: stop, Finish: *r.StopReason,
		Usage: b.usage, RawUsage: r.rawUsage(), Service: b.service, Beside: b.beside,
	}, nil
}

// stopOf maps stop_reason
// (https://platform.claude.com/docs/en/build-with-claude/handling-stop-reasons).
func stopOf(word string, parts []cairn.Part) cairn.StopReason {
	calls := false
	for _, p := range parts {
		calls = calls || p.Kind == cairn.PartToolCall
	}
	switch word {
	case "max_tokens", "model_context_window_exceeded":
		return cairn.StopMaxOutput
	case "stop_sequence":
		return cairn.StopSequence
	case "refusal":
		return cairn.StopRefusal
	case "pause_turn", "compaction":
		return cairn.StopPause
	case "end_turn":
		return cairn.StopEnd
	}
	if calls { // tool_use, or a word that is new
		return cairn.StopToolUse
	}
	return cairn.StopEnd
}

func refusal(provider string, details json.RawMessage) *cairn.Error {
	e := &cairn.Error{Code: cairn.CodeRefused, Message: provider + " refused the request"}
	o, _ := parseObject(details)
	if category := o.text("category"); category != "" {
		e.Message += " (" + category + ")"
	}
	if why := strings.TrimSpace(o.text("explanation")); why != "" {
		e.Message += ": " + clip(why)
	}
	return e
}

// clip bounds what a provider says in an error, in runes.
func clip(s string) string {
	const most = 600
	if r := []rune(s); len(r) > most {
		return string(r[:most]) + "…"
	}
	return s
}

// partOf maps a block that came from the provider.
func partOf(provider string, b *Block) cairn.Part {
	p := cairn.Part{Kind: cairn.PartOpaque}
	switch b.Type {
	case BlockText:
		p = cairn.Text(b.Text)
	case BlockThinking:
		p = cairn.Part{Kind: cairn.PartReasoning, Text: b.Thinking, Provider: provider}
	case BlockToolUse:
		p = cairn.Part{Kind: cairn.PartToolCall, CallID: b.ID, Tool: b.Name, Args: "{}"}
		if !isNull(b.Input) {
			p.Args = string(b.Input)
		}
	}
	keep(provider, &p, b.Raw)
	return p
}

// keep gives a part its provider's own form, unless the part says as much.
func keep(provider string, p *cairn.Part, raw json.RawMessage) {
	if raw == nil { // a string in the place of blocks
		return
	}
	if p.Kind != cairn.PartOpaque {
		own, err := wire.Encode(blockOf(p))
		if err == nil && bytes.Equal(own, raw) {
			return
		}
	}
	p.Provider, p.Opaque = provider, raw
}

// blockOf is the block that a part is from its fields alone: its canonical form.
func blockOf(p *cairn.Part) Block {
	switch p.Kind {
	case cairn.PartReasoning:
		return Block{Type: BlockThinking, Thinking: p.Text}
	case cairn.PartToolCall:
		return Block{Type: BlockToolUse, ID: p.CallID, Name: p.Tool, Input: json.RawMessage(p.Args)}
	}
	return Block{Type: BlockText, Text: p.Text}
}
