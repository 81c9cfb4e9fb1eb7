// Package builtin holds the tools that an agent can name under builtin: those that
// the engine executes itself, and a driver for the others.
package builtin

import (
	"encoding/json"

	"github.com/cairn-run/cairn"
)

// Plan is the name of the tool with which a model records its plan.
const Plan = cairn.BuiltinPlan

// planSchema is what a plan holds. It is part of the definition's digest: a
// change of one byte is a new definition.
const planSchema = `{
  "type": "object",
  "properties": {
    "steps": {
      "type": "array",
      "description": "All steps of the plan in order, those that are done too.",
      "minItems": 1,
      "maxItems": 100,
      "items": {
        "type": "object",
        "properties": {
          "title": {"type": "string", "minLength": 1, "maxLength": 500},
          "status": {"type": "string", "enum": ["pending", "in_progress", "done", "dropped"]}
        },
        "required": ["title", "status"],
        "additionalProperties": false
      }
    },
    "note": {"type": "string", "maxLength": 4000, "description": "Why the plan changed."}
  },
  "required": ["steps"],
  "additionalProperties": false
}`

// Tools returns the definitions by name.
func Tools() map[string]cairn.ToolSpec {
	plan := cairn.ToolSpec{
		ToolDef: cairn.ToolDef{
			Name:        Plan,
			Description: "Record your plan, or how it has changed. Send the whole plan each time; it replaces the one before.",
			InputSchema: json.RawMessage(planSchema),
		},
		Host:  cairn.HostEngine,
		Class: cairn.ClassRead, // recording it again changes nothing outside the session
	}
	plan.Digest = plan.ToolDef.Digest()
	result := cairn.ToolSpec{
		ToolDef: cairn.ToolDef{
			Name:        ReadResult,
			Description: "Read more of a tool result that was too long to be shown whole.",
			InputSchema: json.RawMessage(resultSchema),
		},
		Host:  cairn.HostRuntime,
		Class: cairn.ClassRead,
	}
	result.Digest = result.ToolDef.Digest()
	return map[string]cairn.ToolSpec{Plan: plan, ReadResult: result}
}
