// Package kernel is the one loop: claim a session, fold its history, step its
// inputs, commit, perform what is open. It knows no model and no tool: what lies
// outside is behind [Host].
package kernel

import (
	"context"

	"github.com/cairn-run/cairn"
)

// Host is what the kernel needs from the node it runs in.
type Host interface {
	// Agent returns the definition with this digest.
	Agent(ctx context.Context, t cairn.TenantID, name string, d cairn.Digest) (*cairn.Agent, error)
	// Models returns what is known now of the agent's model and its fallbacks.
	Models(ctx context.Context, a *cairn.Agent) ([]cairn.ModelInfo, error)
	// Tools joins the tools the definition declares with those that discovery
	// pinned. No I/O.
	Tools(a *cairn.Agent, pinned []cairn.ToolSpec) []cairn.ToolSpec
	// Check looks at a call before it is made: schema and policy. No I/O.
	Check(a *cairn.Agent, tools []cairn.ToolSpec, session cairn.SessionKey, tool, args string) cairn.Check
	// CheckOutput says why a final answer does not fit the agent's output schema;
	// empty: it does. No I/O.
	CheckOutput(a *cairn.Agent, text string) string
	// Perform does an effect and returns what was learnt: a ModelOutcome,
	// ToolOutcome, ReconcileOutcome, ToolsetOutcome or ReleaseOutcome. When ctx is cancelled it
	// returns soon, but not before what it started has stopped.
	Perform(ctx context.Context, j Job) cairn.InputData
}

// Job is one attempt at an effect.
type Job struct {
	Effect cairn.Effect
	Agent  *cairn.Agent
	Tools  []cairn.ToolSpec
	// Request is the rendered request of a model call.
	Request *cairn.ModelRequest
	// Say streams a piece of a model's answer, or of a tool's output, to those who watch.
	Say func(cairn.Delta)
}
