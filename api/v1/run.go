package v1

import (
	"encoding/json"
	"time"

	"github.com/cairn-run/cairn"
)

// Statuses of runs and steps that are not over.
const (
	StatusOpen    = "open"
	StatusWaiting = "waiting"
)

// Run is one activation of a session, read from its history.
type Run struct {
	ID     cairn.RunID  `json:"id"`
	Status string       `json:"status" enum:"open,completed,failed,cancelled"`
	Digest cairn.Digest `json:"agent_digest" doc:"the version of the agent it began with"`
	// Sandbox is the driver of its commands; empty: it has none to run.
	Sandbox  string      `json:"sandbox,omitzero" doc:"the driver its commands run in"`
	Budget   cairn.Money `json:"budget,omitzero"`
	Started  time.Time   `json:"started"`
	Deadline time.Time   `json:"deadline,omitzero"`
	Ended    time.Time   `json:"ended,omitzero"`
	FirstSeq cairn.Seq   `json:"first_seq"`
	LastSeq  cairn.Seq   `json:"last_seq" doc:"its last event so far"`
	// Output is the event that holds the final answer.
	Output   cairn.Seq         `json:"output,omitzero" doc:"the event that holds the final answer"`
	Degraded bool              `json:"degraded,omitzero"`
	Error    *cairn.Error      `json:"error,omitempty"`
	Summary  *cairn.RunSummary `json:"summary,omitempty" doc:"its account; absent while it goes on"`
}

// RunList is a page of runs, oldest first.
type RunList struct {
	Runs []Run `json:"runs"`
	// Next is the value of after for the next page; zero: this is the last.
	Next cairn.Seq `json:"next,omitzero" doc:"value of after for the next page; absent on the last"`
}

// Kinds of steps.
const (
	StepModel = "model"
	StepTool  = "tool"
)

// Step is one model call or one tool call, read from the history of its session.
type Step struct {
	ID       cairn.EffectID `json:"id"`
	Run      cairn.RunID    `json:"run_id,omitzero"`
	Kind     string         `json:"kind" enum:"model,tool"`
	Status   string         `json:"status" enum:"open,waiting,completed,failed,denied,unknown,done,not_done" doc:"done and not_done: what was found out about an unknown outcome"`
	FirstSeq cairn.Seq      `json:"first_seq" doc:"the event that asked for it"`
	LastSeq  cairn.Seq      `json:"last_seq" doc:"its last event so far"`
	Started  time.Time      `json:"started"`
	Ended    time.Time      `json:"ended,omitzero"`
	Took     cairn.Duration `json:"took,omitzero" doc:"of the last attempt"`
	Attempts int            `json:"attempts,omitzero"`
	Error    *cairn.Error   `json:"error,omitempty"`

	// Of a model call.
	Model      string           `json:"model,omitzero"`
	Purpose    cairn.Purpose    `json:"purpose,omitzero" enum:"reflect,repair,compact"`
	Usage      *cairn.Usage     `json:"usage,omitempty" doc:"of all attempts"`
	Cost       cairn.Money      `json:"cost,omitzero" doc:"of all attempts, settled"`
	CostStatus cairn.CostStatus `json:"cost_status,omitzero"`

	// Of a tool call.
	Tool    string            `json:"tool,omitzero"`
	Class   cairn.EffectClass `json:"class,omitzero"`
	Args    json.RawMessage   `json:"args,omitempty" doc:"canonical arguments; absent when they are long: see the event first_seq"`
	Verdict cairn.Verdict     `json:"verdict,omitzero" doc:"what policy said"`
	Rule    string            `json:"rule,omitzero"`
	Hook    bool              `json:"hook,omitzero" doc:"made because the run ended"`
	IsError bool              `json:"is_error,omitzero" doc:"the tool answered with an error"`
	Killed  []string          `json:"killed,omitempty"`
	// Files is the state of the files that the call left, where it changed any.
	Files *cairn.Snapshotted `json:"files,omitempty" doc:"the state of the files it left; absent: it changed none"`
}

// StepList is a page of steps, oldest first.
type StepList struct {
	Steps []Step `json:"steps"`
	// Next is the value of after for the next page; zero: this is the last.
	Next cairn.Seq `json:"next,omitzero" doc:"value of after for the next page; absent on the last"`
}

// Circuit is what is known of a model whose last calls failed.
type Circuit struct {
	Model    string     `json:"model"`
	State    string     `json:"state" enum:"closed,open,half_open" doc:"open: it is not called until the cool-down is over; half_open: one call is let through"`
	Failures int        `json:"failures" doc:"in a row"`
	Since    time.Time  `json:"since,omitzero" doc:"when it opened last"`
	Until    time.Time  `json:"until,omitzero" doc:"end of the cool-down"`
	Code     cairn.Code `json:"code,omitzero" doc:"of the last failure"`
	Message  string     `json:"message,omitzero" doc:"of the last failure"`
}

// CircuitList holds the models whose last calls failed. A model that is not in it
// is called.
type CircuitList struct {
	Circuits []Circuit `json:"circuits"`
}
