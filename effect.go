package cairn

import (
	"encoding/json"
	"time"
)

// EffectKind says what kind of work an effect is.
type EffectKind string

// Kinds of effects.
const (
	EffectModel     EffectKind = "model"
	EffectTool      EffectKind = "tool"
	EffectReconcile EffectKind = "reconcile" // find out whether a lost call took place
	EffectToolset   EffectKind = "toolset"   // discover the agent's tools
	EffectDraw      EffectKind = "draw"      // draw from, or give back to, shared budgets
	EffectRelease   EffectKind = "release"   // end what still runs in the sandbox
)

// Effect is work the session asks the world to do. Effects are not stored: they
// are derived from the state.
type Effect struct {
	ID      EffectID
	Seq     Seq // of the event that intends it
	Session SessionKey
	Run     RunID
	Kind    EffectKind
	Attempt int // from 1
	// NotBefore is when a retry is due; zero: at once.
	NotBefore time.Time
	// Stop says that the work is no longer wanted: stop it and report, or report
	// that it was never begun.
	Stop bool
	// Hold says that it must not be begun now (the run is paused); if it is under
	// way it goes on.
	Hold bool
	// Agent is the version of the definition the session is pinned to.
	Agent Digest
	Model *ModelEffect
	Tool  *ToolEffect
	Draw  *DrawEffect
}

// Purpose says what a model call is for.
type Purpose string

// Purposes of model calls; the empty one is the ordinary turn.
const (
	PurposeTurn    Purpose = ""
	PurposeReflect Purpose = "reflect"
	PurposeRepair  Purpose = "repair"
	// PurposeCompact asks for a summary that stands for what is cut from the context.
	PurposeCompact Purpose = "compact"
)

// ModelEffect is a model call. It holds a manifest, never the prompt.
type ModelEffect struct {
	Model    string
	Purpose  Purpose
	Manifest Manifest
}

// Manifest says of which events a request is made.
type Manifest struct {
	// From and To bound the events that are rendered, inclusive.
	From Seq `json:"from"`
	To   Seq `json:"to"`
	// Note is the context.compacted event that stands for what came before From,
	// and Task the first message of the session that is kept; zero: nothing was cut.
	Note Seq `json:"note,omitzero"`
	Task Seq `json:"task,omitzero"`
	// Plan is the last plan.updated before the cut: it is kept beside the note.
	Plan Seq `json:"plan,omitzero"`
	// Prior is an earlier context.compacted whose note is a summary, if the note itself is none.
	Prior Seq `json:"prior,omitzero"`
	// Project is the session.created event whose AGENTS.md is part of the instructions; zero: there is none.
	Project Seq `json:"project,omitzero"`
	// Toolset is the event that pinned discovered tools; zero: none.
	Toolset Seq         `json:"toolset,omitzero"`
	Params  ModelParams `json:"params"`
}

// Apart lists the events of which a request is made besides those from From to To;
// those that are zero, and those within the range, are no others.
func (m *Manifest) Apart() []Seq { return []Seq{m.Task, m.Note, m.Plan, m.Prior, m.Project} }

// ToolEffect is a tool call, or for EffectReconcile the call to find out about.
type ToolEffect struct {
	Tool   string
	Source int
	Class  EffectClass
	Args   json.RawMessage // canonical
	Key    string          // idempotency key of every attempt
	Digest Digest          // the action an approval was bound to
	// Def is the digest of the definition that was pinned.
	Def Digest
	// MustStart says that tool_call.started has to be committed first.
	MustStart bool
	Reconcile *Reconcile
	Timeout   Duration
	// Files is the access the tool was pinned with; then Workspace is the state that
	// the call is made on, Base what the session began with, and Sandbox the driver
	// that the run was started with.
	Files     Access   `json:",omitzero"`
	Workspace Snapshot `json:",omitzero"`
	Base      Digest   `json:",omitzero"`
	Sandbox   string   `json:",omitzero"`
	// Running are the background commands that the last recorded state names: not all of
	// them need be alive.
	Running []string `json:",omitempty"`
}

// DrawEffect moves money between shared budgets and the session: positive draws,
// negative gives back.
type DrawEffect struct {
	Budgets []SharedBudget
	Amount  Money
}

// SharedBudget is a budget above the session.
type SharedBudget struct {
	ID    string `json:"id"` // "agent:refunds"
	Limit Money  `json:"limit"`
}
