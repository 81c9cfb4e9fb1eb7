package v1

import (
	"encoding/json"
	"time"

	"github.com/cairn-run/cairn"
)

// Ask is something a person or a client must answer.
type Ask struct {
	ID      cairn.AskID     `json:"id"`
	Session cairn.SessionID `json:"session_id"`
	Run     cairn.RunID     `json:"run_id,omitzero"`
	Effect  cairn.EffectID  `json:"step_id,omitzero"`
	Kind    cairn.AskKind   `json:"kind" enum:"approval,client_tool,unknown,budget,question"`
	Status  cairn.AskStatus `json:"status" enum:"open,approved,approved_edited,rejected,answered,expired,cancelled,superseded"`
	Tool    string          `json:"tool,omitzero"`
	// Class says what a repeat of the call would do.
	Class cairn.EffectClass `json:"class,omitzero"`
	// Args are the canonical arguments: show these.
	Args json.RawMessage `json:"args,omitempty" doc:"canonical arguments of the call"`
	// Digest binds an approval to the exact action.
	Digest cairn.Digest `json:"digest,omitzero" doc:"of the exact action an approval is bound to"`
	Rule   string       `json:"rule,omitzero"`
	Reason string       `json:"reason,omitzero"`
	// Prose is the agent's own text and not to be trusted.
	Prose    string           `json:"prose,omitzero" doc:"the agent's own words, not to be trusted"`
	Amount   cairn.Money      `json:"amount,omitzero" doc:"of kind budget: how much more is asked for"`
	Scope    string           `json:"scope,omitzero" doc:"of kind budget: run, session or agent"`
	Opened   time.Time        `json:"opened"`
	Expires  time.Time        `json:"expires,omitzero"`
	OnExpire string           `json:"on_expire,omitzero" doc:"what happens when nobody answers: reject or approve"`
	By       *cairn.Principal `json:"by,omitempty" doc:"who decided"`
	Decided  time.Time        `json:"decided,omitzero"`
}

// AskFrom shows an ask and how it was decided.
func AskFrom(s cairn.SessionID, a cairn.Ask, status cairn.AskStatus, by cairn.Principal, decided time.Time) Ask {
	out := Ask{
		ID: a.ID, Session: s, Run: a.Run, Effect: a.Effect, Kind: a.Kind, Status: status,
		Tool: a.Tool, Class: a.Class, Args: a.Args, Digest: a.Digest, Rule: a.Rule, Reason: a.Reason,
		Prose: a.Prose, Amount: a.Amount, Scope: a.Scope, Opened: a.Opened, Expires: a.Expires,
		OnExpire: a.OnExpire, Decided: decided,
	}
	if by != (cairn.Principal{}) {
		out.By = &by
	}
	return out
}

// AskList is a page of asks, oldest first.
type AskList struct {
	Asks []Ask `json:"asks"`
	// Next is the value of after for the next page; empty: this is the last.
	Next cairn.AskID `json:"next,omitzero" doc:"value of after for the next page; absent on the last"`
}

// Approve approves or rejects what is asked.
type Approve struct {
	// Digest is that of the action the person saw; when it is given and the ask is
	// about another, nothing is decided.
	Digest  cairn.Digest `json:"digest,omitzero" doc:"of the action that was seen; another one is refused"`
	Comment string       `json:"comment,omitzero" maxLength:"4000"`
}

// Edit approves with other arguments: schema and policy are looked at again.
type Edit struct {
	Args    json.RawMessage `json:"args" doc:"the arguments to call the tool with, an object"`
	Digest  cairn.Digest    `json:"digest,omitzero" doc:"of the action that was seen; another one is refused"`
	Comment string          `json:"comment,omitzero" maxLength:"4000"`
}

// Answer answers a question, or is the result of a tool that the client executes.
type Answer struct {
	// Text is the answer in words; it stands for a result of one text.
	Text string `json:"text,omitzero" maxLength:"1000000" doc:"the answer in words; or give result"`
	// Result is the result of a call; not with Text.
	Result  Result `json:"result,omitzero" doc:"the result of the call; or give text"`
	Comment string `json:"comment,omitzero" maxLength:"4000"`
}

// Result is what a tool call gave.
type Result struct {
	Content    Content         `json:"content,omitempty"`
	Structured json.RawMessage `json:"structured,omitempty" doc:"the machine-readable form"`
	IsError    bool            `json:"is_error,omitzero"`
}
