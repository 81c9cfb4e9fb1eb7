package cairn

import (
	"encoding/json"
	"fmt"
)

// Role says who speaks in a message.
type Role string

// Roles of messages. Instructions are not a message: they are [ModelRequest.System].
const (
	RoleUser      Role = "user"
	RoleAssistant Role = "assistant"
	RoleTool      Role = "tool"
)

// PartKind says what a part of a message is.
type PartKind string

// Kinds of parts.
const (
	PartText       PartKind = "text"
	PartReasoning  PartKind = "reasoning"
	PartToolCall   PartKind = "tool_call"
	PartToolResult PartKind = "tool_result"
	PartImage      PartKind = "image"
	PartFile       PartKind = "file"
	// PartOpaque is a provider's own block. It is kept verbatim, goes back to the
	// provider that made it, and is dropped when the model is switched.
	PartOpaque PartKind = "opaque"
	// PartOutput is what a tool prints while it runs; it is live only.
	PartOutput PartKind = "output"
)

// Part is one piece of a message's content.
type Part struct {
	Kind PartKind `json:"kind"`
	Text string   `json:"text,omitzero"`
	// CallID is the provider's own name of a call. It may repeat within a
	// session: nothing but the provider's wire format may rely on it.
	CallID string `json:"call_id,omitzero"`
	Tool   string `json:"tool,omitzero"`
	// Args are a call's arguments exactly as the model wrote them.
	Args string `json:"args,omitzero"`
	// Parts are what a tool's result holds besides its text.
	Parts []Part `json:"parts,omitempty"`
	// IsError marks a result that reports a failure.
	IsError bool `json:"is_error,omitzero"`
	// MediaType and Data carry images and files; Data is base64 in JSON.
	MediaType string `json:"media_type,omitzero"`
	Data      []byte `json:"data,omitempty"`
	// Opaque is, of PartOpaque, the block; of any other part it is the provider's
	// own form of the part, where that says more than the other fields do. It goes
	// back to the provider in their place. Provider names who understands it.
	Provider string          `json:"provider,omitzero"`
	Opaque   json.RawMessage `json:"opaque,omitempty"`
}

// Text makes a text part.
func Text(s string) Part { return Part{Kind: PartText, Text: s} }

// TextOf joins the text of parts.
func TextOf(parts []Part) string {
	if len(parts) == 1 && parts[0].Kind == PartText {
		return parts[0].Text
	}
	var s []byte
	for _, p := range parts {
		if p.Kind == PartText {
			s = append(s, p.Text...)
		}
	}
	return string(s)
}

// Message is one turn of a conversation as a model sees it.
type Message struct {
	Role    Role   `json:"role"`
	Content []Part `json:"content"`
}

// ToolDef is a tool as a model sees it.
type ToolDef struct {
	Name        string          `json:"name"`
	Description string          `json:"description,omitzero"`
	InputSchema json.RawMessage `json:"input_schema,omitempty"`
}

// ModelParams are the settings of a model call.
type ModelParams struct {
	MaxOutput    int64           `json:"max_output"` // tokens; there is no call without a cap
	Temperature  *float64        `json:"temperature,omitempty"`
	TopP         *float64        `json:"top_p,omitempty"`
	Stop         []string        `json:"stop,omitempty"`
	OutputSchema json.RawMessage `json:"output_schema,omitempty"`
	// NoTools forbids calls in this answer (a reflect turn).
	NoTools bool `json:"no_tools,omitzero"`
}

// ModelRequest is one model call, rendered from history. Its canonical bytes
// are System, Tools, then Messages in order, so that the prefix of one turn is
// the prefix of the next.
type ModelRequest struct {
	Model    string      `json:"model"` // "provider/name"
	System   string      `json:"system,omitzero"`
	Tools    []ToolDef   `json:"tools,omitempty"`
	Messages []Message   `json:"messages"`
	Params   ModelParams `json:"params"`
}

// Prefix is the canonical form of what a provider's cache goes by: instructions,
// tools, then messages in order. The prefix of one request begins the prefix of
// the next one, unless cache.broken says otherwise.
func (r *ModelRequest) Prefix() []byte {
	b, _ := json.Marshal(r.System) // a string, and below only what was JSON before
	for i := range r.Tools {
		t, _ := json.Marshal(&r.Tools[i])
		b = append(append(b, '\n'), t...)
	}
	for i := range r.Messages {
		m, _ := json.Marshal(&r.Messages[i])
		b = append(append(b, '\n'), m...)
	}
	return b
}

// PrefixBreak says where a request begins to differ from the one before it.
type PrefixBreak struct {
	Byte int64 `json:"byte"` // of Prefix
}

// Validate reports why a request would be refused by a provider: an empty or
// wrongly ended conversation, a call without its result, a result without its
// call, empty content.
func (r *ModelRequest) Validate() error {
	if r.Params.MaxOutput <= 0 {
		return fmt.Errorf("request: no cap on the output")
	}
	if len(r.Messages) == 0 {
		return fmt.Errorf("request: no messages")
	}
	var open []string
	for i, m := range r.Messages {
		if len(m.Content) == 0 {
			return fmt.Errorf("request: message %d is empty", i)
		}
		if m.Role == RoleTool {
			if len(open) != len(m.Content) {
				return fmt.Errorf("request: message %d has %d results for %d calls", i, len(m.Content), len(open))
			}
			for j, p := range m.Content {
				if p.Kind != PartToolResult || p.CallID != open[j] {
					return fmt.Errorf("request: message %d, part %d answers %q instead of %q", i, j, p.CallID, open[j])
				}
			}
			open = nil
			continue
		}
		if len(open) > 0 {
			return fmt.Errorf("request: message %d leaves the calls before it unanswered", i)
		}
		for j, p := range m.Content {
			switch p.Kind {
			case PartToolCall:
				if m.Role != RoleAssistant {
					return fmt.Errorf("request: message %d, part %d: a %s cannot call tools", i, j, m.Role)
				}
				open = append(open, p.CallID)
			case PartToolResult:
				return fmt.Errorf("request: message %d, part %d: a result outside a tool message", i, j)
			case PartOpaque, PartReasoning:
				if m.Role != RoleAssistant {
					return fmt.Errorf("request: message %d, part %d: %s from a %s", i, j, p.Kind, m.Role)
				}
			case PartText, PartImage, PartFile:
			default:
				return fmt.Errorf("request: message %d, part %d: kind %q", i, j, p.Kind)
			}
		}
	}
	if r.Messages[0].Role != RoleUser {
		return fmt.Errorf("request: the first message is from the %s", r.Messages[0].Role)
	}
	if last := r.Messages[len(r.Messages)-1].Role; last == RoleAssistant {
		return fmt.Errorf("request: the last message is the assistant's own")
	}
	return nil
}

// StopReason says why a model stopped.
type StopReason string

// Reasons a model stops.
const (
	StopEnd       StopReason = "end"
	StopToolUse   StopReason = "tool_use"
	StopMaxOutput StopReason = "max_output"
	StopRefusal   StopReason = "refusal"
	StopSequence  StopReason = "stop_sequence"
	StopPause     StopReason = "pause" // the provider wants to be asked to go on
)

// ModelAnswer is a finished answer of a model.
type ModelAnswer struct {
	Model    string          `json:"model"` // exact id the provider reported
	Content  []Part          `json:"content"`
	Stop     StopReason      `json:"stop"`
	Finish   string          `json:"finish,omitzero"` // the provider's own word for Stop
	Usage    Usage           `json:"usage"`
	RawUsage json.RawMessage `json:"raw_usage,omitempty"`
	// Service is the provider's service tier that was billed; empty: the standard one.
	Service string `json:"service,omitzero"`
	// Charged is what the provider says it billed, where it says so; it is believed
	// before any price.
	Charged *Money `json:"charged,omitempty"`
	// Beside names what the provider reported and may bill that no bucket of Usage
	// holds ("input_image_tokens: 85"): the cost is an estimate then.
	Beside []string `json:"beside,omitempty"`
}

// Delta is a piece of an answer that is still being made. It is live only.
type Delta struct {
	Kind   PartKind `json:"kind"` // text, reasoning, tool_call or output
	Index  int      `json:"index"`
	Text   string   `json:"text"`
	CallID string   `json:"call_id,omitzero"`
	Tool   string   `json:"tool,omitzero"`
}
