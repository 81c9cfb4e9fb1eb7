package cairn

import (
	"encoding/json"
	"time"
)

// Status is the state of a session. Completed, failed and cancelled are final.
type Status string

// Statuses of a session.
const (
	StatusQueued     Status = "queued"
	StatusRunning    Status = "running"
	StatusWaiting    Status = "waiting" // for asks or timers, see Summary.Waiting
	StatusPaused     Status = "paused"
	StatusIdle       Status = "idle" // the run ended; the next message starts another
	StatusCancelling Status = "cancelling"
	StatusCompleted  Status = "completed"
	StatusFailed     Status = "failed"
	StatusCancelled  Status = "cancelled"
)

// Final says that the session will never do anything again.
func (s Status) Final() bool {
	return s == StatusCompleted || s == StatusFailed || s == StatusCancelled
}

// Principal says who did something: a person, a client or the runtime.
type Principal struct {
	Kind string `json:"kind,omitzero"` // "user", "runtime"
	ID   string `json:"id,omitzero"`
}

// Summary is the row of a session in a list: written in the transaction that
// commits the events it sums up.
type Summary struct {
	Session    SessionKey `json:"session"`
	Agent      string     `json:"agent"`
	Digest     Digest     `json:"agent_digest"`
	Status     Status     `json:"status"`
	Waiting    []string   `json:"waiting,omitempty"` // "ask:ask_…", "timer"
	Title      string     `json:"title,omitzero"`
	Created    time.Time  `json:"created"`
	Updated    time.Time  `json:"updated"`
	Events     Seq        `json:"events"`
	Run        RunID      `json:"run,omitzero"`
	Runs       int        `json:"runs"`
	ModelCalls int        `json:"model_calls"`
	ToolCalls  int        `json:"tool_calls"`
	Usage      Usage      `json:"usage"`
	Cost       Money      `json:"cost"`     // settled, nano-dollars
	Reserved   Money      `json:"reserved"` // held for calls in flight, nano-dollars
	LastError  *Error     `json:"last_error,omitempty"`
	// Sandbox is the driver the agent's commands run in; empty: it has none to run.
	Sandbox string `json:"sandbox,omitzero"`
}

// RunSummary is the account a run leaves however it ends.
type RunSummary struct {
	Outcome    string         `json:"outcome"` // completed, failed, cancelled
	ModelCalls int            `json:"model_calls"`
	Retries    int            `json:"retries,omitzero"`
	LostCalls  int            `json:"lost_calls,omitzero"` // model calls in flight when a process died
	ToolCalls  map[string]int `json:"tool_calls,omitempty"`
	Asks       int            `json:"asks,omitzero"`
	Usage      Usage          `json:"usage"`
	Cost       Money          `json:"cost"`
	Estimated  Money          `json:"estimated,omitzero"` // the part of Cost settled at reservations
	Duration   Duration       `json:"duration"`
	// Unknown are the calls whose outcome is not known.
	Unknown []EffectID `json:"unknown,omitempty"`
	// HooksFailed are the safe-state hooks that did not succeed.
	HooksFailed []string `json:"hooks_failed,omitempty"`
	// Killed is what a cancel stopped.
	Killed []string `json:"killed,omitempty"`
}

// AskKind says what is asked.
type AskKind string

// Kinds of asks.
const (
	AskApproval   AskKind = "approval"    // may this call be made?
	AskClientTool AskKind = "client_tool" // make this call and send its result
	AskUnknown    AskKind = "unknown"     // did this call take place?
	AskBudget     AskKind = "budget"      // may more be spent?
	AskQuestion   AskKind = "question"    // what the agent wants to know from a person
)

// AskStatus is the state of an ask.
type AskStatus string

// States of an ask; all but open are final.
const (
	AskOpen       AskStatus = "open"
	AskApproved   AskStatus = "approved"
	AskEdited     AskStatus = "approved_edited"
	AskRejected   AskStatus = "rejected"
	AskAnswered   AskStatus = "answered"
	AskLapsed     AskStatus = "expired"
	AskCancelled  AskStatus = "cancelled"
	AskSuperseded AskStatus = "superseded"
)

// Ask is something a person or a client must answer. What is shown is rendered
// from Args, the canonical arguments; Prose is the agent's own text and not to
// be trusted.
type Ask struct {
	ID      AskID           `json:"id"`
	Kind    AskKind         `json:"kind"`
	Run     RunID           `json:"run"`
	Effect  EffectID        `json:"effect,omitzero"`
	Tool    string          `json:"tool,omitzero"`
	Class   EffectClass     `json:"class,omitzero"`
	Args    json.RawMessage `json:"args,omitempty"`
	Digest  Digest          `json:"digest,omitzero"` // binds an approval to the exact action
	Rule    string          `json:"rule,omitzero"`
	Reason  string          `json:"reason,omitzero"`
	Prose   string          `json:"prose,omitzero"`
	Amount  Money           `json:"amount,omitzero"` // budget: how much more is asked for
	Scope   string          `json:"scope,omitzero"`  // budget: run, session or agent
	Opened  time.Time       `json:"opened"`
	Expires time.Time       `json:"expires,omitzero"`
	// OnExpire is what happens when nobody answers: "reject" or "approve".
	OnExpire string `json:"on_expire,omitzero"`
}

// AskVerb is what a person or client answers.
type AskVerb string

// Answers to asks.
const (
	VerbApprove AskVerb = "approve" // unknown: it took place
	VerbReject  AskVerb = "reject"  // unknown: it did not
	VerbEdit    AskVerb = "edit"    // approve with other arguments
	VerbAnswer  AskVerb = "answer"  // client tool: the result
)

// Decision is an answer to an ask.
type Decision struct {
	Ask     AskID           `json:"ask"`
	Verb    AskVerb         `json:"verb"`
	Args    json.RawMessage `json:"args,omitempty"`   // edit
	Result  *ToolResult     `json:"result,omitempty"` // answer
	Comment string          `json:"comment,omitzero"`
}

// Status is the state an ask is in after the decision.
func (d Decision) Status() AskStatus {
	switch d.Verb {
	case VerbApprove:
		return AskApproved
	case VerbEdit:
		return AskEdited
	case VerbAnswer:
		return AskAnswered
	}
	return AskRejected
}
