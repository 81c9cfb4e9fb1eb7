package openai

import "encoding/json"

// ResponsesRequest is the body of POST /responses. What grows from turn to turn
// stands last, so that the bytes before it stay the same.
type ResponsesRequest struct {
	Model           string            `json:"model"`
	Stream          bool              `json:"stream,omitzero"`
	Store           *bool             `json:"store,omitempty"`
	Include         []string          `json:"include,omitempty"`
	ServiceTier     string            `json:"service_tier,omitzero"`
	PromptCacheKey  string            `json:"prompt_cache_key,omitzero"`
	MaxOutputTokens int64             `json:"max_output_tokens,omitzero"`
	Temperature     *float64          `json:"temperature,omitempty"`
	TopP            *float64          `json:"top_p,omitempty"`
	Text            *ResponsesText    `json:"text,omitempty"`
	ToolChoice      json.RawMessage   `json:"tool_choice,omitempty"` // a word or an object
	Tools           []ResponsesTool   `json:"tools,omitempty"`
	Instructions    string            `json:"instructions,omitzero"`
	Input           []json.RawMessage `json:"input"` // items; a server may also be given one string
}

// ResponsesText says what an answer has to look like.
type ResponsesText struct {
	Format ResponsesFormat `json:"format"`
}

// ResponsesFormat is text, or JSON by a schema.
type ResponsesFormat struct {
	Type   string          `json:"type"` // text, json_object or json_schema
	Name   string          `json:"name,omitzero"`
	Schema json.RawMessage `json:"schema,omitempty"`
	Strict *bool           `json:"strict,omitempty"`
}

// ResponsesTool is a function that the model may call.
type ResponsesTool struct {
	Type        string          `json:"type"` // function
	Name        string          `json:"name"`
	Description string          `json:"description,omitzero"`
	Parameters  json.RawMessage `json:"parameters"` // a JSON schema
	// Strict is always sent: without it the server makes the schema strict.
	Strict bool `json:"strict"`
}

// ResponsesItem is an item of a conversation, in a request or in an answer. Only
// the members that we read are named; an item goes back as the bytes it came in.
type ResponsesItem struct {
	Type      string          `json:"type,omitzero"`
	ID        string          `json:"id,omitzero"`
	Status    string          `json:"status,omitzero"`
	Role      string          `json:"role,omitzero"`
	Content   json.RawMessage `json:"content,omitempty"` // a string, or a list of ResponsesPart
	Summary   []ResponsesPart `json:"summary,omitempty"`
	CallID    string          `json:"call_id,omitzero"`
	Name      string          `json:"name,omitzero"`
	Arguments json.RawMessage `json:"arguments,omitempty"` // of a function_call, a string
	Input     json.RawMessage `json:"input,omitempty"`     // of a custom_tool_call, a string
	Output    json.RawMessage `json:"output,omitempty"`    // a string, or a list of ResponsesPart
	Result    string          `json:"result,omitzero"`     // of an image_generation_call, in base64
	Action    *struct {
		Type string `json:"type"`
	} `json:"action,omitempty"`
	Environment *struct {
		Type string `json:"type"`
	} `json:"environment,omitempty"`
	OutputFormat string `json:"output_format,omitzero"`
}

// ResponsesPart is a part of an item's content.
type ResponsesPart struct {
	// Type is input_text, input_image, input_file, output_text, refusal,
	// summary_text, reasoning_text, …
	Type     string `json:"type"`
	Text     string `json:"text,omitzero"`
	Refusal  string `json:"refusal,omitzero"`
	ImageURL string `json:"image_url,omitzero"`
	// Detail is required of an input_image in OpenAI's description, by which other
	// servers check.
	Detail   string `json:"detail,omitzero"`
	Filename string `json:"filename,omitzero"`
	FileData string `json:"file_data,omitzero"`
}

// responsesText is a part of text, which may be empty.
type responsesText struct {
	Type string `json:"type"`
	Text string `json:"text"`
}

// responsesMessage is a message in its shortest form.
type responsesMessage struct {
	Role    string          `json:"role"`
	Content json.RawMessage `json:"content"`
}

// responsesCall is a call that another provider made.
type responsesCall struct {
	Type      string `json:"type"`
	CallID    string `json:"call_id"`
	Name      string `json:"name"`
	Arguments string `json:"arguments"`
}

// responsesOutput is the result of a call.
type responsesOutput struct {
	Type   string          `json:"type"`
	CallID string          `json:"call_id"`
	Output json.RawMessage `json:"output"`
}
