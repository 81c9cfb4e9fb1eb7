package openai

import (
	"encoding/json"

	"github.com/cairn-run/cairn/model/wire"
)

// ChatRequest is the body of POST /chat/completions. What grows from turn to turn
// stands last, so that the bytes before it stay the same.
type ChatRequest struct {
	Model               string          `json:"model"`
	Stream              bool            `json:"stream,omitzero"`
	StreamOptions       *StreamOptions  `json:"stream_options,omitempty"`
	ServiceTier         string          `json:"service_tier,omitzero"`
	PromptCacheKey      string          `json:"prompt_cache_key,omitzero"`
	MaxTokens           int64           `json:"max_tokens,omitzero"`
	MaxCompletionTokens int64           `json:"max_completion_tokens,omitzero"`
	Temperature         *float64        `json:"temperature,omitempty"`
	TopP                *float64        `json:"top_p,omitempty"`
	Stop                json.RawMessage `json:"stop,omitempty"` // a string or a list of them
	ResponseFormat      *ResponseFormat `json:"response_format,omitempty"`
	ToolChoice          json.RawMessage `json:"tool_choice,omitempty"` // a word or an object
	Tools               []ChatTool      `json:"tools,omitempty"`
	Messages            []ChatMessage   `json:"messages"`
}

// StreamOptions are the settings of a stream.
type StreamOptions struct {
	// IncludeUsage asks for a last chunk with the usage.
	IncludeUsage bool `json:"include_usage"`
}

// ResponseFormat says what an answer has to look like.
type ResponseFormat struct {
	Type       string      `json:"type"` // text, json_object or json_schema
	JSONSchema *ChatSchema `json:"json_schema,omitempty"`
}

// ChatSchema is the JSON schema that an answer has to fit.
type ChatSchema struct {
	Name   string          `json:"name"`
	Schema json.RawMessage `json:"schema"`
	Strict bool            `json:"strict"`
}

// ChatTool is a function that the model may call.
type ChatTool struct {
	Type     string       `json:"type"` // function
	Function ChatFunction `json:"function"`
}

// ChatFunction describes a function.
type ChatFunction struct {
	Name        string          `json:"name"`
	Description string          `json:"description,omitzero"`
	Parameters  json.RawMessage `json:"parameters,omitempty"` // a JSON schema
	Strict      *bool           `json:"strict,omitempty"`
}

// ChatMessage is a message of a chat, in a request or in an answer.
type ChatMessage struct {
	Role string
	// Content is a string, a list of [ChatPart], or null.
	Content json.RawMessage
	// ToolCalls are [ChatCall] as they were sent.
	ToolCalls  []json.RawMessage
	ToolCallID string
	// Rest are all other members, in order.
	Rest Object
}

// ChatPart is a part of a message's content.
type ChatPart struct {
	Type       string          `json:"type"` // text, image_url, input_audio, file, …
	Text       string          `json:"text,omitzero"`
	ImageURL   *ChatImage      `json:"image_url,omitempty"`
	InputAudio *ChatAudio      `json:"input_audio,omitempty"`
	File       *ChatFile       `json:"file,omitempty"`
	Thinking   json.RawMessage `json:"thinking,omitempty"` // Mistral: a list of text parts
}

// ChatImage is an image by its URL, which may be a data URL.
type ChatImage struct {
	URL    string `json:"url"`
	Detail string `json:"detail,omitzero"`
}

// ChatAudio is a piece of audio in base64.
type ChatAudio struct {
	Data   string `json:"data"`
	Format string `json:"format"` // wav or mp3
}

// ChatFile is a document, as a data URL.
type ChatFile struct {
	Filename string `json:"filename,omitzero"`
	FileData string `json:"file_data,omitzero"`
	FileID   string `json:"file_id,omitzero"`
}

// ChatCall is a call of a function.
type ChatCall struct {
	ID       string           `json:"id"`
	Type     string           `json:"type"` // function
	Function ChatCallFunction `json:"function"`
}

// ChatCallFunction names the function of a call and its arguments, in the order
// that OpenAI writes them.
type ChatCallFunction struct {
	Name      string `json:"name"`
	Arguments string `json:"arguments"` // JSON, as the model wrote it
}

// MarshalJSON writes the message; content is always there in an assistant's.
func (m ChatMessage) MarshalJSON() ([]byte, error) {
	o := Object{{"role", quote(m.Role)}}
	if len(m.Content) > 0 {
		o = append(o, Member{"content", m.Content})
	} else if m.Role == "assistant" {
		o = append(o, Member{"content", json.RawMessage("null")})
	}
	o = append(o, m.Rest...)
	if len(m.ToolCalls) > 0 {
		o = append(o, Member{"tool_calls", array(m.ToolCalls)})
	}
	if m.ToolCallID != "" {
		o = append(o, Member{"tool_call_id", quote(m.ToolCallID)})
	}
	return o.MarshalJSON()
}

// UnmarshalJSON reads a message of any form; what has an unknown one is in Rest.
func (m *ChatMessage) UnmarshalJSON(b []byte) error {
	*m = ChatMessage{}
	o, err := parseObject(b)
	if err != nil {
		return nil //nolint:nilerr // servers send null for an empty message
	}
	for _, v := range o {
		switch {
		case v.Name == "role":
			m.Role = text(v.Value)
		case v.Name == "content":
			m.Content = v.Value
		case v.Name == "tool_calls" && (isList(v.Value) || isNull(v.Value)):
			m.ToolCalls = list(v.Value)
		case v.Name == "tool_call_id":
			m.ToolCallID = text(v.Value)
		default:
			m.Rest.Set(v.Name, v.Value)
		}
	}
	return nil
}

// raw is a value of this package's own types as JSON.
func raw(v any) json.RawMessage {
	b, err := wire.Encode(v)
	if err != nil {
		return json.RawMessage("null") // they hold nothing that cannot be encoded
	}
	return b
}
