package cairn

import (
	"encoding/json"
	"slices"
	"time"
)

// The facts of a session and its runs.
type (
	// SessionCreated is the first event of a session.
	SessionCreated struct {
		Key      SessionKey        `json:"key"`
		Agent    string            `json:"agent"`
		Digest   Digest            `json:"agent_digest"`
		Owner    Principal         `json:"owner,omitzero"`
		Title    string            `json:"title,omitzero"`
		Once     bool              `json:"once,omitzero"`
		Budget   Budget            `json:"budget,omitzero"` // tightens the agent's
		Metadata map[string]string `json:"metadata,omitempty"`
		// Workspace is the tree of files it begins with, Project what AGENTS.md at the top
		// of it says to every agent.
		Workspace Digest `json:"workspace,omitzero"`
		Project   string `json:"project,omitzero"`
	}
	// SessionMoving says that somebody wants the session to go on under another
	// definition, and SessionMoved that from here on it does: when no call is open.
	SessionMoving struct {
		Agent  string    `json:"agent"`
		Digest Digest    `json:"agent_digest"`
		By     Principal `json:"by,omitzero"`
		Reason string    `json:"reason,omitzero"`
	}
	SessionMoved struct {
		From   Digest `json:"from_digest"`
		Agent  string `json:"agent"`
		Digest Digest `json:"agent_digest"`
		// Apart was spent under the former definition and not drawn from shared budgets:
		// those of the next one have no part in it.
		Apart Money `json:"apart,omitzero"`
	}
	// SessionForked closes what the parent had open; ids derive from Key from here on.
	SessionForked struct {
		Key    SessionKey `json:"key"`
		Parent SessionKey `json:"parent"`
		At     Seq        `json:"at"`
	}
	// SessionIdle says that the session waits for its next message.
	SessionIdle struct{}

	// RunStarted opens a run.
	RunStarted struct {
		Digest   Digest    `json:"agent_digest"`
		Sandbox  string    `json:"sandbox,omitzero"` // the driver of its commands; empty: it has none
		Budget   Money     `json:"budget,omitzero"`
		Deadline time.Time `json:"deadline,omitzero"`
	}
	// RunEnding says that the outcome is settled and the safe-state hooks run.
	RunEnding struct {
		Outcome string `json:"outcome"` // completed, failed, cancelled
		Error   *Error `json:"error,omitempty"`
		// Output is the model.completed event that holds the final answer.
		Output Seq `json:"output,omitzero"`
	}
	// RunCompleted ends a run well. Final: the session ends with it.
	RunCompleted struct {
		Summary  RunSummary `json:"summary"`
		Output   Seq        `json:"output,omitzero"`
		Degraded bool       `json:"degraded,omitzero"`
		Final    bool       `json:"final,omitzero"`
	}
	// RunFailed ends a run badly.
	RunFailed struct {
		Error   Error      `json:"error"`
		Summary RunSummary `json:"summary"`
		Final   bool       `json:"final,omitzero"`
	}
	// RunCancelling says that everything is being stopped: by a person, or with
	// Error by a limit, and then the run ends as failed.
	RunCancelling struct {
		By     Principal `json:"by,omitzero"`
		Reason string    `json:"reason,omitzero"`
		Error  *Error    `json:"error,omitempty"`
	}
	// RunCancelled says that everything has stopped. It is always final.
	RunCancelled struct {
		Summary RunSummary `json:"summary"`
	}
	// RunPaused stops before the next effect.
	RunPaused struct {
		By     Principal `json:"by,omitzero"`
		Reason string    `json:"reason,omitzero"`
	}
	// RunResumed goes on after a pause.
	RunResumed struct {
		By Principal `json:"by,omitzero"`
	}
)

// The facts of messages and model calls.
type (
	// MessageCreated is a message of a user, or of the runtime on its own behalf.
	MessageCreated struct {
		Content []Part `json:"content"`
		// Origin is "user" or "runtime"; Purpose says what the runtime wants.
		Origin    string    `json:"origin"`
		Purpose   Purpose   `json:"purpose,omitzero"`
		Interrupt bool      `json:"interrupt,omitzero"`
		By        Principal `json:"by,omitzero"`
		Input     string    `json:"input,omitzero"` // the input it came with
	}
	// ModelRequested intends one attempt at a model call and reserves what it may
	// cost. Attempts after the first keep the effect's id.
	ModelRequested struct {
		Attempt  int      `json:"attempt"`
		Model    string   `json:"model"`
		Purpose  Purpose  `json:"purpose,omitzero"`
		Manifest Manifest `json:"manifest"`
		Reserved Money    `json:"reserved"`
		Tokens   int64    `json:"tokens"` // upper bound of the prompt that was reserved for
	}
	// ModelRetried settles a failed attempt and says when the next is due.
	ModelRetried struct {
		Attempt int        `json:"attempt"` // the one that failed
		Error   Error      `json:"error"`
		Usage   Usage      `json:"usage,omitzero"`
		Cost    Money      `json:"cost,omitzero"`
		Status  CostStatus `json:"cost_status,omitzero"`
		// RawUsage is what the provider reported, verbatim; Prices the table Cost is from.
		RawUsage json.RawMessage `json:"raw_usage,omitempty"`
		Prices   string          `json:"prices,omitzero"`
		NextAt   time.Time       `json:"next_at"`
		Model    string          `json:"model"` // of the next attempt
	}
	// ModelCompleted is a recorded answer: it is never bought again.
	ModelCompleted struct {
		Attempt int         `json:"attempt"`
		Answer  ModelAnswer `json:"answer"`
		Purpose Purpose     `json:"purpose,omitzero"`
		Cost    Money       `json:"cost"`
		Status  CostStatus  `json:"cost_status"`
		Prices  string      `json:"prices,omitzero"` // the table Cost is from
		Took    Duration    `json:"took,omitzero"`
	}
	// ModelFailed gives a model call up.
	ModelFailed struct {
		Attempt int        `json:"attempt"`
		Error   Error      `json:"error"`
		Usage   Usage      `json:"usage,omitzero"`
		Cost    Money      `json:"cost,omitzero"`
		Status  CostStatus `json:"cost_status,omitzero"`
		// RawUsage is what the provider reported, verbatim; Prices the table Cost is from.
		RawUsage json.RawMessage `json:"raw_usage,omitempty"`
		Prices   string          `json:"prices,omitzero"`
	}
)

// The facts of tool calls.
type (
	// ToolCallRequested intends a tool call. Verdict and Rule are what policy said.
	ToolCallRequested struct {
		Answer  Seq             `json:"answer,omitzero"` // the model.completed that holds the call; zero: a hook
		Index   int             `json:"index"`
		CallID  string          `json:"call_id,omitzero"`
		Tool    string          `json:"tool"`
		Host    ToolHost        `json:"host,omitzero"`
		Source  int             `json:"source,omitzero"`
		Class   EffectClass     `json:"class,omitzero"`
		Files   Access          `json:"files,omitzero"`
		Sandbox string          `json:"sandbox,omitzero"` // the driver of commands from here on, in a run that was started without one
		Args    json.RawMessage `json:"args,omitempty"`
		Key     string          `json:"key,omitzero"`
		Digest  Digest          `json:"digest,omitzero"`
		Def     Digest          `json:"def,omitzero"`
		Verdict Verdict         `json:"verdict,omitzero"`
		Rule    string          `json:"rule,omitzero"`
		Hook    bool            `json:"hook,omitzero"`
		Retries int             `json:"retries,omitzero"`
		Timeout Duration        `json:"timeout,omitzero"`
		// Reconcile is the query declared for a lost outcome.
		Reconcile *Reconcile `json:"reconcile,omitempty"`
	}
	// ToolCallDenied answers a call that policy or a person forbade.
	ToolCallDenied struct {
		Rule   string `json:"rule,omitzero"`
		Reason string `json:"reason"`
		By     string `json:"by,omitzero"`
	}
	// ToolCallStarted is committed immediately before a call that must not be repeated.
	ToolCallStarted struct {
		Attempt int `json:"attempt"`
	}
	// ToolCallRetried schedules another attempt at a repeatable call.
	ToolCallRetried struct {
		Attempt int       `json:"attempt"` // the one that failed
		Error   Error     `json:"error"`
		NextAt  time.Time `json:"next_at"`
	}
	// ToolCallCompleted is the recorded result of a call.
	ToolCallCompleted struct {
		Attempt int        `json:"attempt"`
		Result  ToolResult `json:"result"`
		Took    Duration   `json:"took,omitzero"`
	}
	// ToolCallFailed is the recorded failure of a call.
	ToolCallFailed struct {
		Attempt int         `json:"attempt,omitzero"`
		Error   Error       `json:"error"`
		Result  *ToolResult `json:"result,omitempty"` // what the tool said, if it said anything
		Killed  []string    `json:"killed,omitempty"`
		Took    Duration    `json:"took,omitzero"`
	}
	// ToolCallUnknown says that nobody knows whether the call took place.
	ToolCallUnknown struct {
		Attempt   int      `json:"attempt"`
		Reason    string   `json:"reason"`
		Reconcile bool     `json:"reconcile,omitzero"` // a query is asked first
		Killed    []string `json:"killed,omitempty"`
	}
	// EffectReconciled settles an unknown call. It may follow a terminal event.
	EffectReconciled struct {
		Finding Finding     `json:"finding"` // done or not_done
		By      string      `json:"by"`      // "query", "owner" or the person
		Result  *ToolResult `json:"result,omitempty"`
	}
	// WorkspaceSnapshotted is the state of the files that a call left. It stands in the
	// commit of its outcome, right before it.
	WorkspaceSnapshotted struct {
		Snapshotted
	}
	// SandboxReleasing intends the end of what the run left running in its sandbox, and
	// SandboxReleased says what that was. With an error it is not certain that all of it
	// is dead.
	SandboxReleasing struct{}
	SandboxReleased  struct {
		Killed []string `json:"killed,omitempty"`
		Error  *Error   `json:"error,omitempty"`
	}
	// PlanUpdated is the plan the model recorded.
	PlanUpdated struct {
		Plan json.RawMessage `json:"plan"`
	}
	// ToolsetRequested intends the discovery of the agent's tools.
	ToolsetRequested struct{}
	// ToolsetRetried schedules another attempt at discovery.
	ToolsetRetried struct {
		Attempt int       `json:"attempt"`
		Error   Error     `json:"error"`
		NextAt  time.Time `json:"next_at"`
	}
	// ToolsetFailed gives discovery up.
	ToolsetFailed struct {
		Attempt int   `json:"attempt"`
		Error   Error `json:"error"`
	}
	// ToolsetPinned pins the discovered tools for the session.
	ToolsetPinned struct {
		Tools []ToolSpec `json:"tools"`
	}
)

// The facts of asks, budgets and context.
type (
	// AskOpened puts something to a person or a client.
	AskOpened struct {
		Ask Ask `json:"ask"`
	}
	// AskResolved records the first decision.
	AskResolved struct {
		Ask     AskID           `json:"ask"`
		Status  AskStatus       `json:"status"`
		By      Principal       `json:"by,omitzero"`
		Args    json.RawMessage `json:"args,omitempty"`
		Key     string          `json:"key,omitzero"`
		Digest  Digest          `json:"digest,omitzero"` // of the edited action
		Comment string          `json:"comment,omitzero"`
	}
	// AskExpired records that nobody answered, and the default that was taken.
	AskExpired struct {
		Ask    AskID  `json:"ask"`
		Action string `json:"action"` // "reject" or "approve"
	}
	// BudgetExceeded says that a call would have overspent; it was not made.
	BudgetExceeded struct {
		Scope string `json:"scope"` // run, session, agent
		Limit Money  `json:"limit"`
		Spent Money  `json:"spent"` // settled and reserved
		Need  Money  `json:"need"`
	}
	// BudgetRaised says that a person allowed more.
	BudgetRaised struct {
		Scope  string    `json:"scope"`
		Amount Money     `json:"amount"`
		By     Principal `json:"by,omitzero"`
	}
	// BudgetRequested intends a draw from shared budgets; negative gives back.
	BudgetRequested struct {
		Budgets []SharedBudget `json:"budgets"`
		Amount  Money          `json:"amount"`
	}
	// BudgetDrawn settles a draw. Granted is zero when it was refused.
	BudgetDrawn struct {
		Granted Money  `json:"granted"`
		Error   *Error `json:"error,omitempty"`
	}
	// ContextCompacted drops what came before KeepFrom from requests.
	ContextCompacted struct {
		KeepFrom Seq    `json:"keep_from"`
		Task     Seq    `json:"task,omitzero"`
		Plan     Seq    `json:"plan,omitzero"`  // the plan.updated that is kept
		Prior    Seq    `json:"prior,omitzero"` // the context.compacted whose summary is kept
		Note     string `json:"note"`
		// Summary is the model.completed whose text the note is; zero: none was made.
		Summary Seq   `json:"summary,omitzero"`
		Before  int64 `json:"before"` // bytes
		After   int64 `json:"after"`  // bytes
	}
	// CacheBroken says that a request did not begin with the one that was answered
	// before it, and what that cost. It follows the answer.
	CacheBroken struct {
		Reason string `json:"reason"` // compacted, model_switched, tools_changed, moved
		At     Seq    `json:"at"`     // first event of the conversation that was rendered then
		// Byte is the first byte that differs in the canonical form of the request:
		// instructions, tools, messages.
		Byte int64 `json:"byte"`
		// Tokens were in the provider's cache by the last answer's account and were
		// not read from it now; Cost is what the cache would have saved on them.
		Tokens int64 `json:"tokens,omitzero"`
		Cost   Money `json:"cost,omitzero"`
	}
)

// Types of events.
func (SessionCreated) EventType() EventType       { return "session.created" }
func (SessionForked) EventType() EventType        { return "session.forked" }
func (SessionIdle) EventType() EventType          { return "session.idle" }
func (RunStarted) EventType() EventType           { return "run.started" }
func (RunEnding) EventType() EventType            { return "run.ending" }
func (RunCompleted) EventType() EventType         { return "run.completed" }
func (RunFailed) EventType() EventType            { return "run.failed" }
func (RunCancelling) EventType() EventType        { return "run.cancelling" }
func (RunCancelled) EventType() EventType         { return "run.cancelled" }
func (RunPaused) EventType() EventType            { return "run.paused" }
func (RunResumed) EventType() EventType           { return "run.resumed" }
func (MessageCreated) EventType() EventType       { return "message.created" }
func (ModelRequested) EventType() EventType       { return "model.requested" }
func (ModelRetried) EventType() EventType         { return "model.retried" }
func (ModelCompleted) EventType() EventType       { return "model.completed" }
func (ModelFailed) EventType() EventType          { return "model.failed" }
func (ToolCallRequested) EventType() EventType    { return "tool_call.requested" }
func (ToolCallDenied) EventType() EventType       { return "tool_call.denied" }
func (ToolCallStarted) EventType() EventType      { return "tool_call.started" }
func (ToolCallRetried) EventType() EventType      { return "tool_call.retried" }
func (ToolCallCompleted) EventType() EventType    { return "tool_call.completed" }
func (ToolCallFailed) EventType() EventType       { return "tool_call.failed" }
func (ToolCallUnknown) EventType() EventType      { return "tool_call.unknown" }
func (EffectReconciled) EventType() EventType     { return "effect.reconciled" }
func (WorkspaceSnapshotted) EventType() EventType { return "workspace.snapshotted" }
func (SandboxReleasing) EventType() EventType     { return "sandbox.releasing" }
func (SandboxReleased) EventType() EventType      { return "sandbox.released" }
func (SessionMoving) EventType() EventType        { return "session.moving" }
func (SessionMoved) EventType() EventType         { return "session.moved" }
func (PlanUpdated) EventType() EventType          { return "plan.updated" }
func (ToolsetRequested) EventType() EventType     { return "toolset.requested" }
func (ToolsetRetried) EventType() EventType       { return "toolset.retried" }
func (ToolsetFailed) EventType() EventType        { return "toolset.failed" }
func (ToolsetPinned) EventType() EventType        { return "toolset.pinned" }
func (AskOpened) EventType() EventType            { return "ask.opened" }
func (AskResolved) EventType() EventType          { return "ask.resolved" }
func (AskExpired) EventType() EventType           { return "ask.expired" }
func (BudgetExceeded) EventType() EventType       { return "budget.exceeded" }
func (BudgetRaised) EventType() EventType         { return "budget.raised" }
func (BudgetRequested) EventType() EventType      { return "budget.requested" }
func (BudgetDrawn) EventType() EventType          { return "budget.drawn" }
func (ContextCompacted) EventType() EventType     { return "context.compacted" }
func (CacheBroken) EventType() EventType          { return "cache.broken" }

// eventDecoders reads the data of every durable type.
var eventDecoders = decoders(
	decoder[SessionCreated], decoder[SessionForked], decoder[SessionIdle],
	decoder[RunStarted], decoder[RunEnding], decoder[RunCompleted], decoder[RunFailed],
	decoder[RunCancelling], decoder[RunCancelled], decoder[RunPaused], decoder[RunResumed],
	decoder[MessageCreated],
	decoder[ModelRequested], decoder[ModelRetried], decoder[ModelCompleted], decoder[ModelFailed],
	decoder[ToolCallRequested], decoder[ToolCallDenied], decoder[ToolCallStarted], decoder[ToolCallRetried],
	decoder[ToolCallCompleted], decoder[ToolCallFailed], decoder[ToolCallUnknown], decoder[EffectReconciled],
	decoder[SessionMoving], decoder[SessionMoved], decoder[WorkspaceSnapshotted], decoder[SandboxReleasing], decoder[SandboxReleased],
	decoder[PlanUpdated], decoder[ToolsetRequested], decoder[ToolsetRetried], decoder[ToolsetFailed], decoder[ToolsetPinned],
	decoder[AskOpened], decoder[AskResolved], decoder[AskExpired],
	decoder[BudgetExceeded], decoder[BudgetRaised], decoder[BudgetRequested], decoder[BudgetDrawn],
	decoder[ContextCompacted], decoder[CacheBroken],
)

type decode = func(json.RawMessage) (EventData, error)

func decoder[T EventData]() (EventType, decode) {
	var zero T
	return zero.EventType(), func(b json.RawMessage) (EventData, error) { return into[T](b) }
}

func decoders(all ...func() (EventType, decode)) map[EventType]decode {
	m := make(map[EventType]decode, len(all))
	for _, d := range all {
		t, f := d()
		m[t] = f
	}
	return m
}

func eventTypes() []EventType {
	types := make([]EventType, 0, len(eventDecoders))
	for t := range eventDecoders {
		types = append(types, t)
	}
	slices.Sort(types)
	return types
}
