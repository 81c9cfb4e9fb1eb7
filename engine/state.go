package engine

import (
	"encoding/json"
	"time"

	"github.com/cairn-run/cairn"
)

// State is a session as folded from its events. It holds references and sums,
// never the conversation; what is open now is all that it holds whole. It is a
// value: folding returns a new one and leaves the old one as it was.
type State struct {
	Seq      cairn.Seq // of the last event folded
	At       time.Time // of the last event folded
	Key      cairn.SessionKey
	Agent    string
	Digest   cairn.Digest
	Title    string
	Once     bool
	Budget   cairn.Budget // tightens the agent's
	Created  time.Time
	Final    cairn.Status `json:",omitzero"` // completed, failed or cancelled; empty: not yet
	LastErr  *cairn.Error `json:",omitempty"`
	Runs     int
	Run      Run
	Unseen   bool // a message has come that no model call has seen
	Context  Context
	Money    Money
	Model    *ModelCall `json:",omitempty"` // the open model call; there is at most one
	Calls    []Call     `json:",omitempty"` // open tool calls, by sequence number
	Asks     []Ask      `json:",omitempty"` // open asks, by sequence number
	Discover *Discovery `json:",omitempty"` // the open discovery of tools
	Draw     *Draw      `json:",omitempty"` // the open draw from shared budgets
	Files    Files      `json:",omitzero"`
	Release  cairn.Seq  `json:",omitzero"`  // sandbox.releasing that is open; zero: none
	Move     *Move      `json:",omitempty"` // to another definition, as soon as nothing is open
	Totals   Totals
}

// Files is the state of the session's files.
type Files struct {
	Base    cairn.Digest   `json:",omitzero"` // what they were in the beginning
	Now     cairn.Snapshot `json:",omitzero"`
	Sandbox string         `json:",omitzero"`  // the driver of the last run that had one
	Running []string       `json:",omitempty"` // background commands
}

// Move is a definition that the session is to go on under.
type Move struct {
	Agent   string
	Digest  cairn.Digest
	Settled bool // what the former definition drew from shared budgets is settled
}

// Totals are the sums of a session's life.
type Totals struct {
	Usage      cairn.Usage
	ModelCalls int
	ToolCalls  int
}

// Run is the current activation; Active is false between runs.
type Run struct {
	Active   bool
	ID       cairn.RunID
	Started  time.Time
	Deadline time.Time // of the wall limit; zero: none
	// Parked is since when the run waits for people only; the deadline moves on by it.
	Parked  time.Time
	Paused  bool
	Want    bool          // the model is to be asked next
	Purpose cairn.Purpose // what for
	Model   string        // in use, the agent's or a fallback
	Stop    *Stop         `json:",omitempty"` // everything is being stopped
	Ending  *Ending       `json:",omitempty"` // the outcome is settled, hooks run
	Answer  cairn.Seq     // of the last answer
	Degrade bool          // the last answer was cut at its cap, or empty

	Cap       cairn.Money // 0: none
	Spent     cairn.Money
	Estimated cairn.Money // the part of Spent that was settled at reservations
	Usage     cairn.Usage
	Sum       RunSums

	Invalid   int // answers in a row whose every call was invalid
	Repairs   int
	Reflected int // model calls since the last reflect turn
	Compacted bool
	Returned  bool // what was drawn has been settled with what was spent
	Sandboxed bool `json:",omitzero"` // Files.Sandbox is that of this run
	Moved     bool `json:",omitzero"` // the definition has just changed: the next step is planned under the new one

	Unknown     []cairn.EffectID `json:",omitempty"`
	HooksFailed []string         `json:",omitempty"`
	Killed      []string         `json:",omitempty"`
}

// RunSums count what happened in a run.
type RunSums struct {
	ModelCalls, Retries, Lost, Asks            int
	Completed, Failed, Denied, Unknown, Hooked int
}

// Stop says that a run is being stopped. With Err it ends as failed.
type Stop struct {
	Err *cairn.Error
}

// Ending is the settled outcome of a run.
type Ending struct {
	Outcome string
	Err     *cairn.Error
	Output  cairn.Seq
}

// Context is what the next request is made of.
type Context struct {
	From      cairn.Seq // first event that is rendered
	Note      cairn.Seq // context.compacted that stands for what came before
	Task      cairn.Seq // first message of the session
	TaskBytes int64
	Toolset   cairn.Seq // toolset.pinned
	Project   cairn.Seq `json:",omitzero"` // session.created, if AGENTS.md says something
	// ProjectBytes is how much.
	ProjectBytes int64 `json:",omitzero"`
	// Bytes of everything that is rendered now, with a margin for framing.
	Bytes int64
	// Plan is the last plan.updated, PlanBytes its size.
	Plan      cairn.Seq
	PlanBytes int64
	Kept      cairn.Seq // the plan.updated that is rendered beside the note
	// Summary is the last context.compacted whose note is a summary, and Prior the one
	// that is rendered beside a later note.
	Summary, Prior cairn.Seq
	SummaryBytes   int64
	// Known is the number of tokens that prompt and answer of the last call had,
	// and KnownBytes what Bytes was then.
	Known, KnownBytes int64
	// Prompt is the number of tokens that the prompt of the last answered request
	// had, zero if nobody counted them, and PromptBytes its size in bytes.
	Prompt, PromptBytes int64
	// Answer is the last model.completed.
	Answer cairn.Seq
	// Last is the manifest of the request it answers, without parameters, and Cached
	// the tokens of it that the provider then had in its cache.
	Last      cairn.Manifest
	Asked     string       // the model that gave it
	Under     cairn.Digest `json:",omitzero"` // and the definition it was asked under, with its name
	UnderName string       `json:",omitzero"`
	Cached    int64
	// Batch is the number of calls that it makes.
	Batch int
	// Turns are places where the conversation can be cut, at most maxTurns.
	Turns []Turn `json:",omitempty"`
	Model string // of the last request
	// Summed says that a summary was asked for since the last answer.
	Summed bool
}

// Turn is a place between two turns: Bytes were rendered before it.
type Turn struct {
	Seq   cairn.Seq
	Bytes int64
}

// maxTurns bounds the places kept; older ones are thinned out.
const maxTurns = 64

// Money is the account of a session.
type Money struct {
	Spent    cairn.Money // settled
	Reserved cairn.Money // held for the open model call
	Granted  cairn.Money // drawn from shared budgets, net
	Apart    cairn.Money `json:",omitzero"` // spent under former definitions, no matter of the shared budgets of this one
	Refused  cairn.Money // what the last draw was not given; zero: it was given
	// Raised is what people allowed on top, by scope.
	RaisedRun, RaisedSession, RaisedAgent cairn.Money
}

// ModelCall is the open model call.
type ModelCall struct {
	Seq      cairn.Seq // of the first attempt's event: the effect's id derives from it
	Attempt  int
	Failures int // real failures on this model
	Lost     int
	Model    string
	Purpose  cairn.Purpose
	Manifest cairn.Manifest
	Reserved cairn.Money
	At       time.Time // of this attempt
	Out      int64     // cap of its output
	Bytes    int64     // of the conversation, when it was requested first
	// RetryAt is set while the next attempt waits; then nothing is reserved.
	RetryAt time.Time
	Waiting bool
	Stop    bool
}

// Phase is where a tool call stands.
type Phase string

// Phases of a tool call.
const (
	PhaseAsking      Phase = "asking"      // an approval or a client's result is awaited
	PhaseReady       Phase = "ready"       // may be performed
	PhaseStarted     Phase = "started"     // tool_call.started is recorded, the outcome is not
	PhaseReconciling Phase = "reconciling" // unknown, the declared query is asked
	PhaseUnknown     Phase = "unknown"     // unknown, a person is asked
)

// Call is an open tool call.
type Call struct {
	Seq       cairn.Seq
	Run       cairn.RunID
	Phase     Phase
	Tool      string
	Host      cairn.ToolHost
	Source    int
	Class     cairn.EffectClass
	Files     cairn.Access    `json:",omitzero"`
	Args      json.RawMessage `json:",omitempty"`
	Key       string          `json:",omitzero"`
	Digest    cairn.Digest    `json:",omitzero"`
	Def       cairn.Digest    `json:",omitzero"`
	Attempt   int
	Retries   int
	Timeout   cairn.Duration
	NotBefore time.Time
	Reconcile *cairn.Reconcile `json:",omitempty"`
	Hook      bool
	Stop      bool
}

// Ask is an open ask.
type Ask struct {
	Seq      cairn.Seq
	ID       cairn.AskID
	Kind     cairn.AskKind
	Call     cairn.Seq // zero: a budget
	Expires  time.Time
	OnExpire string
	Scope    string
	Amount   cairn.Money
}

// Discovery is an open discovery of tools.
type Discovery struct {
	Seq       cairn.Seq
	Attempt   int
	NotBefore time.Time
	Stop      bool
}

// Draw is an open draw from shared budgets.
type Draw struct {
	Seq     cairn.Seq
	Budgets []cairn.SharedBudget
	Amount  cairn.Money
}

// effect is the id of the effect intended at n.
func (s *State) effect(n cairn.Seq) cairn.EffectID { return cairn.EffectIDAt(s.Key.ID, n) }

// callOf finds the open call of an effect; -1: none.
func (s *State) callOf(id cairn.EffectID) int {
	for i := range s.Calls {
		if s.effect(s.Calls[i].Seq) == id {
			return i
		}
	}
	return -1
}

// inFlight says whether anything outside people may still report.
func (s *State) inFlight() bool {
	if (s.Model != nil && !s.Model.Waiting) || s.Discover != nil || s.Draw != nil || s.Release != 0 {
		return true
	}
	turn := turns{}
	for i := range s.Calls {
		held := turn.held(&s.Calls[i])
		switch s.Calls[i].Phase {
		case PhaseReady, PhaseStarted, PhaseReconciling:
			if !held {
				return true
			}
		case PhaseAsking, PhaseUnknown:
		}
	}
	return false
}

// inSandbox takes the driver that the commands of the run are made in; empty: nothing
// is said.
func (s *State) inSandbox(driver string) {
	if driver != "" {
		s.Files.Sandbox, s.Run.Sandboxed = driver, true
	}
}

// turns says of the open calls, in order, which have to wait for one before them:
// what touches the files happens in the order the model wrote it.
type turns struct{ reads, writes bool }

func (t *turns) held(c *Call) bool {
	if c.Files == cairn.AccessNone || c.Phase == PhaseUnknown { // that one only a person can settle
		return false
	}
	held := t.writes || (t.reads && c.Files == cairn.AccessWrite)
	t.writes = t.writes || c.Files == cairn.AccessWrite
	t.reads = t.reads || c.Files == cairn.AccessRead
	return held && c.Phase != PhaseStarted && c.Phase != PhaseReconciling
}

// batch counts the open calls of the run that it has to wait for: once it is
// being ended, not those that only a person can settle.
func (s *State) batch() int {
	n := 0
	for i := range s.Calls {
		c := &s.Calls[i]
		if c.Run == s.Run.ID && (c.Phase != PhaseUnknown || (s.Run.Ending == nil && s.Run.Stop == nil)) {
			n++
		}
	}
	return n
}

// parked says that the run waits for people only.
func (s *State) parked() bool {
	return s.Run.Active && s.Run.Ending == nil && !s.inFlight() && (len(s.Asks) > 0 || s.Run.Paused) &&
		(s.Model == nil || s.Run.Paused)
}

// Status is the state of the session as its users see it.
func (s *State) Status() cairn.Status {
	r := &s.Run
	switch {
	case s.Final != "":
		return s.Final
	case s.Seq == 0:
		return cairn.StatusQueued
	case !r.Active:
		return cairn.StatusIdle
	case r.Stop != nil:
		return cairn.StatusCancelling
	case r.Paused:
		return cairn.StatusPaused
	case s.inFlight():
		return cairn.StatusRunning
	case len(s.Asks) > 0 || s.Model != nil:
		return cairn.StatusWaiting
	}
	return cairn.StatusRunning
}

// Summary is the list row of the session.
func (s *State) Summary() cairn.Summary {
	sum := cairn.Summary{
		Session: s.Key, Agent: s.Agent, Digest: s.Digest, Status: s.Status(), Title: s.Title,
		Created: s.Created, Updated: s.At, Events: s.Seq, Run: s.Run.ID, Runs: s.Runs,
		ModelCalls: s.Totals.ModelCalls, ToolCalls: s.Totals.ToolCalls, Usage: s.Totals.Usage,
		Cost: s.Money.Spent, Reserved: s.Money.Reserved, LastError: s.LastErr, Sandbox: s.Files.Sandbox,
	}
	for i := range s.Asks {
		sum.Waiting = append(sum.Waiting, "ask:"+string(s.Asks[i].ID))
	}
	if s.Model != nil && s.Model.Waiting {
		sum.Waiting = append(sum.Waiting, "timer")
	}
	return sum
}
