package script

import (
	"encoding/json"

	"github.com/cairn-run/cairn"
)

// Script is one model: what it says, and what it costs. It must not be changed
// once a driver has it.
type Script struct {
	Model     string      // exact id an answer reports; default the script's name
	Window    int64       // tokens; 0: no limit
	MaxOutput int64       // tokens; 0: no limit
	Rates     cairn.Rates // nano-dollars per million tokens; zero: free
	// Unpriced says that the rates are only the highest there may be.
	Unpriced bool
	Delay    cairn.Duration // of every reply, unless it has its own
	Stream   Stream         // of every reply, unless it has its own
	Cases    []Case
	Replies  []Reply // Replies[i] answers a request with i assistant messages
	Default  *Reply
	// Recording is instead of replies, cases and a default; and of Model, Window,
	// MaxOutput and Rates, which are those of the recorded models.
	Recording *Recording
}

// Stream says how a reply arrives.
type Stream struct {
	Chunk int            // bytes in a delta, at least one character; 0: a whole part
	Every cairn.Duration // pause between two deltas
}

// Reply is one answer. Its content is in this order: reasoning, opaque blocks,
// text, calls.
//
// Text, reasoning and the strings in arguments may hold templates:
//
//	{{result.NAME}}         the latest result of tool NAME that is not an error
//	{{result.NAME.a.0.b}}   a field of the latest such result that is JSON; numbers are places in lists
//	{{user}}                the text of the last user message
//	{{task}}                the text of the first user message
//	{{turn}}                the number of assistant messages in the request
//
// An argument that is nothing but one template takes the value with its type;
// inside other text it takes the text of a string, the JSON of anything else. A
// value that is not there fails the call with CodeInvalid.
type Reply struct {
	Text      string
	Reasoning string
	Opaque    []Opaque
	Calls     []Call
	Stop      cairn.StopReason // default tool_use if there are calls, else end
	Usage     *cairn.Usage     // nil: estimated
	// RawUsage is what the answer reports as the provider's own account, any
	// JSON; nil: the usage.
	RawUsage json.RawMessage
	Delay    *cairn.Duration // before the first byte; nil: the script's
	Stream   *Stream         // nil: the script's
	// Fail are the failures of the first attempts, in order. A reply that has
	// nothing else fails at every attempt: the last one is repeated.
	Fail []Fail
	// Verbatim says that "{{" means itself: no templates.
	Verbatim bool
}

// Call is a tool call of a reply.
type Call struct {
	ID   string // default call_TURN_N, counted from 0 and 1
	Tool string
	// Args are the arguments. A string is sent exactly as it is, JSON or not,
	// without templates; nil is {}; anything else is sent as JSON, keys sorted.
	Args any
}

// Opaque is a block that only its provider understands.
type Opaque struct {
	Provider string // default the one that is asked, "script"
	Data     json.RawMessage
}

// Fail is a failed attempt.
//
// It is retryable when the code is rate_limited, overloaded, unavailable,
// cut_stream or timeout. It is certain that nothing was bought (not_done) when
// the code is rate_limited, overloaded, unavailable, auth, invalid, not_found or
// context_overflow, there is no usage and nothing was streamed. Both can be set.
type Fail struct {
	Code       cairn.Code     // default cut_stream with AfterBytes, timeout with Hang; else required
	Message    string         // default "scripted failure"
	RetryAfter cairn.Duration // what the provider asks to wait
	AfterBytes int            // bytes of the reply that are streamed first
	Hang       cairn.Duration // silence before the failure
	Usage      *cairn.Usage   // nil: not reported
	Retryable  *bool
	NotDone    *bool
	Times      int // attempts in a row that fail like this; default 1
}

// Case is a reply with conditions.
type Case struct {
	When When
	Reply
}

// When holds when all of its conditions do; without any it always holds. The end
// of a request is what follows its last assistant message.
type When struct {
	Turn    *int    // the number of assistant messages is this
	NoTools *bool   // the request forbids calls, or does not
	System  *Text   // of the instructions
	Task    *Text   // of the first user message
	User    *Text   // of a user message at the end of the request
	Result  *Result // of a tool result at the end of the request
}

// Text is a condition on a text: all that are set must hold, and one must be set.
type Text struct {
	Equals   string
	Contains string
	Glob     string // of the whole text: * is any characters, ? is one
}

// Result is a condition on a tool result: all that are set must hold for one result.
type Result struct {
	Tool    string // glob
	IsError *bool
	Text
}
