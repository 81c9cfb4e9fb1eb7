package google

import "encoding/json"

// Request is the body of generateContent and streamGenerateContent. The order of
// its fields is the order of a prompt: what one turn begins with, the next does.
type Request struct {
	SystemInstruction *Content          `json:"systemInstruction,omitempty"`
	Tools             []Tool            `json:"tools,omitempty"`
	Contents          []Content         `json:"contents"`
	GenerationConfig  *GenerationConfig `json:"generationConfig,omitempty"`
	ToolConfig        *ToolConfig       `json:"toolConfig,omitempty"`
}

// Content is one turn: of the user (who also answers function calls) or of the
// model.
type Content struct {
	Role string `json:"role,omitempty"` // "user" or "model"
	// Parts are kept raw, because what came from Google goes back verbatim. See
	// [Part] for the forms that are known.
	Parts []json.RawMessage `json:"parts,omitempty"`
}

// Part is one part of a turn, with the fields that this driver writes.
type Part struct {
	Text             *string           `json:"text,omitempty"`
	Thought          bool              `json:"thought,omitempty"`
	InlineData       *Blob             `json:"inlineData,omitempty"`
	FunctionCall     *FunctionCall     `json:"functionCall,omitempty"`
	FunctionResponse *FunctionResponse `json:"functionResponse,omitempty"`
	ThoughtSignature string            `json:"thoughtSignature,omitempty"`
}

// Blob is data within a part; base64 in JSON.
type Blob struct {
	MIMEType string `json:"mimeType"`
	Data     []byte `json:"data"`
}

// FunctionCall is a call that the model wants made.
type FunctionCall struct {
	Name string          `json:"name,omitempty"`
	Args json.RawMessage `json:"args,omitempty"`
	ID   string          `json:"id,omitempty"`
	// PartialArgs and WillContinue are of Vertex AI's streams only.
	PartialArgs  []PartialArg `json:"partialArgs,omitempty"`
	WillContinue bool         `json:"willContinue,omitempty"`
}

// PartialArg is a piece of an argument that is still being streamed.
type PartialArg struct {
	JSONPath     string          `json:"jsonPath"`
	StringValue  *string         `json:"stringValue,omitempty"`
	NumberValue  json.RawMessage `json:"numberValue,omitempty"`
	BoolValue    *bool           `json:"boolValue,omitempty"`
	NullValue    json.RawMessage `json:"nullValue,omitempty"` // "NULL_VALUE"
	WillContinue bool            `json:"willContinue,omitempty"`
}

// FunctionResponse is the result of a call. Response is an object: the keys
// "output" and "error" say what it is, without them the whole of it is the output
// (https://ai.google.dev/api/caching#FunctionResponse).
type FunctionResponse struct {
	Name     string          `json:"name"`
	Response json.RawMessage `json:"response"`
	ID       string          `json:"id,omitempty"`
}

// Tool is a list of functions.
type Tool struct {
	FunctionDeclarations []FunctionDeclaration `json:"functionDeclarations,omitempty"`
}

// FunctionDeclaration is a function that the model may call.
type FunctionDeclaration struct {
	Name                 string          `json:"name"`
	Description          string          `json:"description,omitempty"`
	ParametersJSONSchema json.RawMessage `json:"parametersJsonSchema,omitempty"`
}

// ToolConfig rules the use of tools.
type ToolConfig struct {
	FunctionCallingConfig FunctionCallingConfig `json:"functionCallingConfig"`
}

// FunctionCallingConfig says whether functions may be called.
type FunctionCallingConfig struct {
	Mode string `json:"mode"` // AUTO, ANY, NONE, VALIDATED
}

// GenerationConfig are the settings of an answer.
type GenerationConfig struct {
	StopSequences      []string        `json:"stopSequences,omitempty"`
	MaxOutputTokens    int64           `json:"maxOutputTokens,omitempty"`
	Temperature        *float64        `json:"temperature,omitempty"`
	TopP               *float64        `json:"topP,omitempty"`
	ResponseMIMEType   string          `json:"responseMimeType,omitempty"`
	ResponseJSONSchema json.RawMessage `json:"responseJsonSchema,omitempty"`
	ThinkingConfig     *ThinkingConfig `json:"thinkingConfig,omitempty"`
}

// ThinkingConfig rules thoughts.
type ThinkingConfig struct {
	IncludeThoughts bool `json:"includeThoughts"`
}

// Response is an answer, or one chunk of a stream.
type Response struct {
	Candidates     []Candidate     `json:"candidates,omitempty"`
	PromptFeedback *PromptFeedback `json:"promptFeedback,omitempty"`
	UsageMetadata  json.RawMessage `json:"usageMetadata,omitempty"` // see [UsageMetadata]
	ModelVersion   string          `json:"modelVersion,omitempty"`
	CreateTime     string          `json:"createTime,omitempty"`
	ResponseID     string          `json:"responseId,omitempty"`
	// Error is what a stream ends with instead.
	Error json.RawMessage `json:"error,omitempty"`
}

// Candidate is one answer to the prompt.
type Candidate struct {
	Content       *Content `json:"content,omitempty"`
	FinishReason  string   `json:"finishReason,omitempty"`
	FinishMessage string   `json:"finishMessage,omitempty"`
	Index         int      `json:"index,omitempty"`
	// What stands beside the content is kept as it came.
	SafetyRatings      json.RawMessage `json:"safetyRatings,omitempty"`
	CitationMetadata   json.RawMessage `json:"citationMetadata,omitempty"`
	GroundingMetadata  json.RawMessage `json:"groundingMetadata,omitempty"` // see [GroundingMetadata]
	URLContextMetadata json.RawMessage `json:"urlContextMetadata,omitempty"`
	AvgLogprobs        json.RawMessage `json:"avgLogprobs,omitempty"` // may be "NaN"
	LogprobsResult     json.RawMessage `json:"logprobsResult,omitempty"`
}

// PromptFeedback says why a prompt was not answered.
type PromptFeedback struct {
	BlockReason        string          `json:"blockReason,omitempty"`
	BlockReasonMessage string          `json:"blockReasonMessage,omitempty"`
	SafetyRatings      json.RawMessage `json:"safetyRatings,omitempty"`
}

// GroundingMetadata is what of a grounded answer may be billed.
type GroundingMetadata struct {
	WebSearchQueries   []string `json:"webSearchQueries,omitempty"`
	ImageSearchQueries []string `json:"imageSearchQueries,omitempty"`
	GroundingChunks    []struct {
		Maps json.RawMessage `json:"maps,omitempty"`
	} `json:"groundingChunks,omitempty"`
}

// UsageMetadata counts tokens. PromptTokenCount holds what came from a cache;
// ToolUsePromptTokenCount (the results of tools that Google ran) and
// ThoughtsTokenCount stand beside the counts of the prompt and the candidates, and
// TotalTokenCount is the sum of the four
// (https://ai.google.dev/api/generate-content#UsageMetadata).
type UsageMetadata struct {
	PromptTokenCount           *int64               `json:"promptTokenCount,omitempty"`
	CachedContentTokenCount    *int64               `json:"cachedContentTokenCount,omitempty"`
	CandidatesTokenCount       *int64               `json:"candidatesTokenCount,omitempty"`
	ToolUsePromptTokenCount    *int64               `json:"toolUsePromptTokenCount,omitempty"`
	ThoughtsTokenCount         *int64               `json:"thoughtsTokenCount,omitempty"`
	TotalTokenCount            *int64               `json:"totalTokenCount,omitempty"`
	PromptTokensDetails        []ModalityTokenCount `json:"promptTokensDetails,omitempty"`
	CacheTokensDetails         []ModalityTokenCount `json:"cacheTokensDetails,omitempty"`
	CandidatesTokensDetails    []ModalityTokenCount `json:"candidatesTokensDetails,omitempty"`
	ToolUsePromptTokensDetails []ModalityTokenCount `json:"toolUsePromptTokensDetails,omitempty"`
	TrafficType                string               `json:"trafficType,omitempty"` // Vertex AI
	ServiceTier                string               `json:"serviceTier,omitempty"` // Gemini API
}

// ModalityTokenCount is how many tokens were text, images, video, audio or
// documents.
type ModalityTokenCount struct {
	Modality   string `json:"modality"`
	TokenCount int64  `json:"tokenCount,omitempty"`
}

// Model is one entry of the list of models.
type Model struct {
	Name                       string   `json:"name"` // "models/gemini-…"
	DisplayName                string   `json:"displayName,omitempty"`
	InputTokenLimit            int64    `json:"inputTokenLimit,omitempty"`
	OutputTokenLimit           int64    `json:"outputTokenLimit,omitempty"`
	SupportedGenerationMethods []string `json:"supportedGenerationMethods,omitempty"`
}

// ModelList is one page of the list of models.
type ModelList struct {
	Models        []Model `json:"models"`
	NextPageToken string  `json:"nextPageToken,omitempty"`
}
