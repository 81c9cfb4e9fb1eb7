// Package tool is the port to tools: a call goes in, one result comes out. Its
// [Catalog] knows the tools of an agent definition, checks calls before they are
// made (schema, policy, digest, idempotency key) and makes them within their
// limits. Drivers in sub-packages reach the tools of one kind of entry.
//
// What matters most here is what is known after a failure. A driver says whether
// it is certain that nothing was done (NotDone); the catalogue turns every other
// broken call of a class that must not be repeated into CodeUnknown, so that
// nobody performs it again.
package tool

import (
	"context"
	"encoding/json"

	"github.com/cairn-run/cairn"
)

// Driver reaches the tools of one kind of entry. It is safe for concurrent use.
type Driver interface {
	// Validate reports what is wrong with an entry, as a *cairn.FieldError whose
	// path starts at the entry ("http.url"). No I/O.
	Validate(e *cairn.ToolSource) error
	// List discovers the tools of an entry: name, description and schema as a model
	// is to see them, the digest of those three, and the class of effect the
	// source claims. A driver whose entries declare their tools returns none.
	// Errors are *cairn.Error; Retryable says that trying again may help.
	List(ctx context.Context, t Target) ([]cairn.ToolSpec, error)
	// Call makes one attempt. An error is a *cairn.Error, of three sorts:
	//   - NotDone: it is certain that the target did not act.
	//   - CodeToolFailed, CodeAuth, CodeInvalidArgs, CodeUnknownTool, CodePinMismatch,
	//     CodeRateLimited: the target answered, and that is its answer.
	//   - any other code: the target may have acted.
	// A failure that the model should read and react to is a result with IsError.
	// When ctx ends, Call tells the target where that is possible and returns soon.
	Call(ctx context.Context, c Call) (*cairn.ToolResult, error)
}

// Target names one entry of a version of an agent.
type Target struct {
	Tenant cairn.TenantID
	Agent  string // name
	Digest cairn.Digest
	Source int // index of the entry in the agent's tools
	Entry  *cairn.ToolSource
}

// Call is one attempt at a tool call.
type Call struct {
	Target
	Session cairn.SessionID
	Effect  cairn.EffectID
	Attempt int
	Tool    string // as the model sees it
	Class   cairn.EffectClass
	// Def is the digest of the definition that was pinned: a driver whose
	// definitions can change refuses with CodePinMismatch, before the call, when
	// the current one differs. Empty: not pinned.
	Def  cairn.Digest
	Args json.RawMessage // canonical, an object
	Key  string          // idempotency key, the same for every attempt
	// MaxOutput is the number of bytes of output worth keeping.
	MaxOutput int64
	// Run and Definition are what the call is made for; Tool says which entry.
	Run        cairn.RunID
	Definition *cairn.Agent
	// Files, Workspace, Base, Sandbox and Running are those of [cairn.ToolEffect].
	Files     cairn.Access
	Workspace cairn.Snapshot
	Base      cairn.Digest
	Sandbox   string
	Running   []string
	// Left takes what the attempt leaves besides its result, also with an error. It
	// is never nil.
	Left *Left
	// Say shows a piece of output to those who watch; it is never nil.
	Say func(text string)
}

// Left is what an attempt leaves besides its result.
type Left struct {
	// Files is the state of the files after it; nil: the attempt changed nothing, or
	// what it changed is to be put back.
	Files *cairn.Snapshotted
	// Killed is what was killed when the attempt was stopped or took too long.
	Killed []string
}
