package cairn

import (
	"encoding/json"
	"fmt"
	"time"
)

// Input is what the world tells a session. At is the engine's only time.
type Input struct {
	ID      string // unique within the session; a second one with the same content is the same input
	To      SessionKey
	Stepped time.Time `json:"-"` // when it is stepped, by the clock; zero: At
	At      time.Time
	From    Principal
	Data    InputData
}

// InputData is the content of an input; the types below are all there are.
type InputData interface{ InputKind() string }

// Start creates a session, and with Content its first run.
type Start struct {
	Agent    string            `json:"agent"`
	Digest   Digest            `json:"digest"`
	Content  []Part            `json:"content,omitempty"`
	Title    string            `json:"title,omitzero"`
	Once     bool              `json:"once,omitzero"` // the session ends with its first run
	Budget   Budget            `json:"budget,omitzero"`
	Metadata map[string]string `json:"metadata,omitempty"`
	// Workspace is the tree of files the session begins with; empty: none.
	Workspace Digest `json:"workspace,omitzero"`
	// Project is what AGENTS.md at the top of it says.
	Project string `json:"project,omitzero"`
}

// Post is a message from a user. While a run is going on it steers it; with
// Interrupt it stops the running calls first.
type Post struct {
	Content   []Part `json:"content"`
	Interrupt bool   `json:"interrupt,omitzero"`
}

// ControlAction is something a person does to a whole session.
type ControlAction string

// Control actions.
const (
	ControlPause  ControlAction = "pause"
	ControlResume ControlAction = "resume"
	ControlCancel ControlAction = "cancel"
)

// Control pauses, resumes or cancels a session.
type Control struct {
	Action ControlAction `json:"action"`
	Reason string        `json:"reason,omitzero"`
}

// Move makes a session go on under another definition, from its next model call on.
type Move struct {
	Agent  string `json:"agent"`
	Digest Digest `json:"digest"`
	Reason string `json:"reason,omitzero"`
}

// Decide answers an ask. Check is added by the owner for edited arguments.
type Decide struct {
	Decision
	Check *Check `json:"check,omitempty"`
}

// Wake says that time has passed: a timer may be due.
type Wake struct{}

// ModelOutcome is how one attempt at a model call ended.
type ModelOutcome struct {
	Effect  EffectID     `json:"effect"`
	Attempt int          `json:"attempt"`
	Answer  *ModelAnswer `json:"answer,omitempty"`
	Error   *Error       `json:"error,omitempty"`
	// Usage is what a failed attempt reported; nil: it is not known what it cost,
	// unless Error.NotDone says that nothing was bought.
	Usage    *Usage          `json:"usage,omitempty"`
	RawUsage json.RawMessage `json:"raw_usage,omitempty"`
	// Broken says where the request began to differ from the one that was answered
	// before it; nil: it continued it, or there was none.
	Broken *PrefixBreak `json:"broken,omitempty"`
	// Served is what is known of the model that answered, where the answer names
	// another one than was asked.
	Served *ModelInfo `json:"served,omitempty"`
	// Checks are the verdicts on the answer's calls, in order.
	Checks []Check `json:"checks,omitempty"`
	// OutputError says why a final answer does not fit the agent's output schema.
	OutputError string   `json:"output_error,omitzero"`
	Took        Duration `json:"took,omitzero"`
}

// Starting says that the owner is about to perform a call that must not be
// repeated. Check is the policy looked at again.
type Starting struct {
	Effect EffectID `json:"effect"`
	Check  Check    `json:"check"`
}

// ToolOutcome is how one attempt at a tool call ended.
type ToolOutcome struct {
	Effect  EffectID    `json:"effect"`
	Attempt int         `json:"attempt"`
	Result  *ToolResult `json:"result,omitempty"`
	Error   *Error      `json:"error,omitempty"`
	Killed  []string    `json:"killed,omitempty"` // what stopping it killed
	Took    Duration    `json:"took,omitzero"`
	// Files is the state the call left; nil: it changed nothing.
	Files *Snapshotted `json:"files,omitempty"`
}

// Finding is what a reconcile query found out.
type Finding string

// Findings of a reconcile query.
const (
	FoundDone    Finding = "done"
	FoundNotDone Finding = "not_done"
	FoundUnclear Finding = "unclear"
)

// ReconcileOutcome is what the declared query said about a lost call.
type ReconcileOutcome struct {
	Effect  EffectID    `json:"effect"` // the lost call
	Attempt int         `json:"attempt"`
	Finding Finding     `json:"finding"`
	Result  *ToolResult `json:"result,omitempty"`
	Error   *Error      `json:"error,omitempty"`
}

// ToolsetOutcome is what discovery of the agent's tools gave.
type ToolsetOutcome struct {
	Effect  EffectID   `json:"effect"`
	Attempt int        `json:"attempt"`
	Tools   []ToolSpec `json:"tools,omitempty"`
	Error   *Error     `json:"error,omitempty"`
}

// DrawOutcome is what drawing from shared budgets gave.
type DrawOutcome struct {
	Effect  EffectID `json:"effect"`
	Granted Money    `json:"granted,omitzero"`
	Error   *Error   `json:"error,omitempty"`
}

// ReleaseOutcome says that nothing of the session runs in a sandbox any more.
type ReleaseOutcome struct {
	Effect EffectID `json:"effect"`
	Killed []string `json:"killed,omitempty"`
	Error  *Error   `json:"error,omitempty"`
}

// Takeover says that this owner did not start what is open, except Held.
type Takeover struct {
	Epoch uint64     `json:"epoch"`
	Held  []EffectID `json:"held,omitempty"`
}

// Fork makes the session a fork of another, after the event At.
type Fork struct {
	Parent SessionKey `json:"parent"`
	At     Seq        `json:"at"`
}

// Kinds of inputs.
func (Start) InputKind() string            { return "start" }
func (Post) InputKind() string             { return "post" }
func (Control) InputKind() string          { return "control" }
func (Move) InputKind() string             { return "move" }
func (Decide) InputKind() string           { return "decide" }
func (Wake) InputKind() string             { return "wake" }
func (ModelOutcome) InputKind() string     { return "model_outcome" }
func (Starting) InputKind() string         { return "starting" }
func (ToolOutcome) InputKind() string      { return "tool_outcome" }
func (ReconcileOutcome) InputKind() string { return "reconcile_outcome" }
func (ToolsetOutcome) InputKind() string   { return "toolset_outcome" }
func (DrawOutcome) InputKind() string      { return "draw_outcome" }
func (ReleaseOutcome) InputKind() string   { return "release_outcome" }
func (Takeover) InputKind() string         { return "takeover" }
func (Fork) InputKind() string             { return "fork" }

type inputJSON struct {
	ID   string          `json:"id"`
	To   SessionKey      `json:"to"`
	At   time.Time       `json:"at"`
	From Principal       `json:"from,omitzero"`
	Kind string          `json:"kind"`
	Data json.RawMessage `json:"data"`
}

// MarshalJSON writes the kind beside the data.
func (in Input) MarshalJSON() ([]byte, error) {
	if in.Data == nil {
		return nil, fmt.Errorf("input %s has no data", in.ID)
	}
	data, err := json.Marshal(in.Data)
	if err != nil {
		return nil, err
	}
	return json.Marshal(inputJSON{in.ID, in.To, in.At, in.From, in.Data.InputKind(), data})
}

// UnmarshalJSON reads what MarshalJSON wrote; an unknown kind is an error.
func (in *Input) UnmarshalJSON(b []byte) error {
	var j inputJSON
	if err := json.Unmarshal(b, &j); err != nil {
		return err
	}
	*in = Input{ID: j.ID, To: j.To, At: j.At, From: j.From}
	var err error
	switch j.Kind {
	case "start":
		in.Data, err = into[Start](j.Data)
	case "post":
		in.Data, err = into[Post](j.Data)
	case "control":
		in.Data, err = into[Control](j.Data)
	case "move":
		in.Data, err = into[Move](j.Data)
	case "release_outcome":
		in.Data, err = into[ReleaseOutcome](j.Data)
	case "decide":
		in.Data, err = into[Decide](j.Data)
	case "wake":
		in.Data, err = into[Wake](j.Data)
	case "model_outcome":
		in.Data, err = into[ModelOutcome](j.Data)
	case "starting":
		in.Data, err = into[Starting](j.Data)
	case "tool_outcome":
		in.Data, err = into[ToolOutcome](j.Data)
	case "reconcile_outcome":
		in.Data, err = into[ReconcileOutcome](j.Data)
	case "toolset_outcome":
		in.Data, err = into[ToolsetOutcome](j.Data)
	case "draw_outcome":
		in.Data, err = into[DrawOutcome](j.Data)
	case "takeover":
		in.Data, err = into[Takeover](j.Data)
	case "fork":
		in.Data, err = into[Fork](j.Data)
	default:
		err = fmt.Errorf("input %s: unknown kind %q", j.ID, j.Kind)
	}
	return err
}

func into[T any](b []byte) (T, error) {
	var v T
	err := json.Unmarshal(b, &v)
	return v, err
}
