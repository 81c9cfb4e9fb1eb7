package anthropic

import "encoding/json"

// Event is one event of a stream
// (https://platform.claude.com/docs/en/build-with-claude/streaming). Which
// members it has, its type says; kinds that are not known are ignored.
type Event struct {
	Type         string          `json:"type"`
	Message      *Response       `json:"message,omitempty"`       // of message_start
	Index        *int            `json:"index,omitempty"`         // of content_block_*
	ContentBlock *Block          `json:"content_block,omitempty"` // of content_block_start
	Delta        json.RawMessage `json:"delta,omitempty"`         // a Delta or, of message_delta, a MessageDelta
	Usage        json.RawMessage `json:"usage,omitempty"`         // of message_delta: totals until now
	Error        json.RawMessage `json:"error,omitempty"`         // of error
}

// Delta is a piece of a content block.
type Delta struct {
	Type        string          `json:"type"`
	Text        *string         `json:"text,omitempty"`         // of text_delta
	PartialJSON *string         `json:"partial_json,omitempty"` // of input_json_delta
	Thinking    *string         `json:"thinking,omitempty"`     // of thinking_delta
	Signature   *string         `json:"signature,omitempty"`    // of signature_delta
	Citation    json.RawMessage `json:"citation,omitempty"`     // of citations_delta
}

// MessageDelta is what is known of a message at its end.
type MessageDelta struct {
	StopReason   *string         `json:"stop_reason"`
	StopSequence json.RawMessage `json:"stop_sequence"`
	StopDetails  json.RawMessage `json:"stop_details,omitempty"`
	Container    json.RawMessage `json:"container,omitempty"`
}
