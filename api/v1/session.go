package v1

import (
	"time"

	"github.com/cairn-run/cairn"
)

// CreateSession starts a session.
type CreateSession struct {
	Agent string `json:"agent" minLength:"1" maxLength:"63" doc:"name of the agent; its current version is pinned"`
	// Input opens the first run; without it the session waits for a message.
	Input    Content           `json:"input,omitempty" doc:"opens the first run; without it the session waits for a message"`
	Title    string            `json:"title,omitzero" maxLength:"200"`
	Once     bool              `json:"once,omitzero" doc:"the session ends with its first run"`
	Budget   SessionBudget     `json:"budget,omitzero" doc:"tightens the budget of the agent"`
	Metadata map[string]string `json:"metadata,omitempty" maxProperties:"64"`
	// Workspace is the tree of files the session begins with.
	Workspace cairn.Digest `json:"workspace,omitzero" maxLength:"71" doc:"tree of files it begins with: upload one with POST /v1/workspaces; absent: none"`
}

// SessionBudget tightens the budget of an agent for one session.
type SessionBudget struct {
	Run      cairn.Money  `json:"run,omitzero"`
	Session  cairn.Money  `json:"session,omitzero"`
	OnBreach cairn.Breach `json:"on_breach,omitzero" enum:"pause,stop"`
}

// Session is a session as a list shows it.
type Session struct {
	ID     cairn.SessionID `json:"id"`
	Agent  string          `json:"agent"`
	Digest cairn.Digest    `json:"agent_digest" doc:"the version of the agent it is pinned to"`
	Status cairn.Status    `json:"status" enum:"queued,running,waiting,paused,idle,cancelling,completed,failed,cancelled"`
	// Waiting is what it waits for: "ask:ask_…", "timer".
	Waiting    []string     `json:"waiting,omitempty" doc:"what it waits for: ask:ask_…, timer"`
	Title      string       `json:"title,omitzero"`
	Created    time.Time    `json:"created"`
	Updated    time.Time    `json:"updated"`
	LastSeq    cairn.Seq    `json:"last_seq" doc:"sequence number of the last event"`
	RunID      cairn.RunID  `json:"run_id,omitzero"`
	Runs       int          `json:"runs"`
	ModelCalls int          `json:"model_calls"`
	ToolCalls  int          `json:"tool_calls"`
	Usage      cairn.Usage  `json:"usage"`
	Cost       cairn.Money  `json:"cost" doc:"settled"`
	Reserved   cairn.Money  `json:"reserved" doc:"held for calls in flight"`
	LastError  *cairn.Error `json:"last_error,omitempty"`
	// Sandbox is the driver of its commands; "none" means that they are not confined.
	Sandbox string `json:"sandbox,omitzero" doc:"the driver its commands run in: ns, or none, which confines nothing; absent: it has none to run"`
	// Workspace is only there when one session is asked for.
	Workspace cairn.Digest `json:"workspace,omitzero" doc:"the tree of files it began with; absent in lists"`
	EventsURL string       `json:"events_url"`
	StreamURL string       `json:"stream_url"`
}

// SessionFrom shows the list row of a session.
func SessionFrom(s cairn.Summary) Session {
	url := "/v1/sessions/" + string(s.Session.ID)
	return Session{
		ID: s.Session.ID, Agent: s.Agent, Digest: s.Digest, Status: s.Status, Waiting: s.Waiting,
		Title: s.Title, Created: s.Created, Updated: s.Updated, LastSeq: s.Events,
		RunID: s.Run, Runs: s.Runs, ModelCalls: s.ModelCalls, ToolCalls: s.ToolCalls,
		Usage: s.Usage, Cost: s.Cost, Reserved: s.Reserved, LastError: s.LastError, Sandbox: s.Sandbox,
		EventsURL: url + "/events", StreamURL: url + "/stream",
	}
}

// SessionList is a page of sessions, newest first.
type SessionList struct {
	Sessions []Session `json:"sessions"`
	// Next is the value of before for the next page; empty: this is the last.
	Next cairn.SessionID `json:"next,omitzero" doc:"value of before for the next page; absent on the last"`
}

// PostMessage is a message to a session.
type PostMessage struct {
	Content   Content `json:"content"`
	Interrupt bool    `json:"interrupt,omitzero" doc:"stops the running calls first; else the message joins after them"`
}

// Control says why a session is paused, resumed or cancelled.
type Control struct {
	Reason string `json:"reason,omitzero" maxLength:"1000"`
}

// Move makes a session go on under another definition.
type Move struct {
	Agent string `json:"agent" minLength:"1" maxLength:"63" doc:"name of the agent"`
	// Version is the digest of the definition; empty: the current one of the name.
	Version cairn.Digest `json:"version,omitzero" maxLength:"71" doc:"digest of the definition; absent: the current one of the name"`
	Reason  string       `json:"reason,omitzero" maxLength:"1000"`
}

// Moving says that a move is durable.
type Moving struct {
	Accepted
	Agent  string       `json:"agent"`
	Digest cairn.Digest `json:"agent_digest" doc:"the version it goes on under"`
	// From is what the session is pinned to until then.
	From cairn.Digest `json:"from_digest" doc:"the version it is pinned to until then"`
	// Effective is when it takes effect.
	Effective string `json:"effective" enum:"next_model_call" doc:"the calls that are open end under the definition that made them"`
}

// NextModelCall is when a move takes effect.
const NextModelCall = "next_model_call"

// Accepted says that an input is durable. The session acts on it when its owner
// takes it; the event that follows names it.
type Accepted struct {
	Session cairn.SessionID `json:"session_id"`
	Input   string          `json:"input_id"`
}

// SessionUsage is what a session used.
type SessionUsage struct {
	Session    cairn.SessionID `json:"session_id"`
	Runs       int             `json:"runs"`
	ModelCalls int             `json:"model_calls"`
	ToolCalls  int             `json:"tool_calls"`
	Usage      cairn.Usage     `json:"usage"`
	Cost       cairn.Money     `json:"cost" doc:"settled"`
	Reserved   cairn.Money     `json:"reserved" doc:"held for calls in flight"`
	// Models add up what was settled by model; the sum of their costs is Cost as
	// of the same event.
	Models []ModelUsage `json:"models"`
}

// ModelUsage is what one model cost a session.
type ModelUsage struct {
	Model    string      `json:"model"`
	Attempts int         `json:"attempts" doc:"settled attempts, failed ones included"`
	Failed   int         `json:"failed,omitzero"`
	Usage    cairn.Usage `json:"usage"`
	Cost     cairn.Money `json:"cost"`
	// Estimated is the part of Cost that was settled at reservations.
	Estimated cairn.Money `json:"estimated,omitzero" doc:"the part of cost that was settled at reservations"`
}
