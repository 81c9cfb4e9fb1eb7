// Package engine is the pure heart of the runtime. It decides; it reads no
// clock, draws no random number and does no I/O.
//
//	Fold(State, Event) State           what a fact changes
//	Step(Env, State, Input) []Event    which facts follow from an input
//	Open(State) []Effect               which work is to be done now
//
// A state is folded from events alone, so a replay never calls Step. What a
// step looks up in process (schema, policy, prices) comes in as data and is
// recorded in the events that follow.
package engine

import (
	"time"

	"github.com/cairn-run/cairn"
)

// Version is the fold version: histories that need a newer one are refused.
const Version = 3

// Env is what a step may look at besides the state: the pinned definition, its
// tools, and what is known of its models now.
type Env struct {
	Agent  *cairn.Agent
	Tools  []cairn.ToolSpec
	Models []cairn.ModelInfo // of Agent.Model and Agent.Fallback, in that order
	Hooks  []cairn.Check     // of Agent.OnExit, in that order
	// Sandbox is the driver that commands run in here.
	Sandbox string
}

// tool finds a tool by name; nil: not granted.
func (v *Env) tool(name string) *cairn.ToolSpec {
	for i := range v.Tools {
		if v.Tools[i].Name == name {
			return &v.Tools[i]
		}
	}
	return nil
}

// earlier returns the earlier of two times that are not zero.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || (!b.IsZero() && b.Before(a)) {
		return b
	}
	return a
}
