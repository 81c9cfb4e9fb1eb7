// Package builtin holds the tools that an agent can name under builtin: those that
// the engine executes itself, and a [Driver] for the others.
//
// Tools that touch the files of the session run in its sandbox. A call that writes
// begins with the files exactly as they were recorded before it, in an instance of
// its own, and ends with a new record or with none: so a call whose outcome was lost
// is simply made again. While background commands live, their instance is kept, and
// calls are made in it.
package builtin

import "github.com/cairn-run/cairn"

// Plan is the name of the tool with which a model records its plan.
const Plan = cairn.BuiltinPlan

const planText = "Record your plan, or how it has changed. Send the whole plan each time; it replaces the one before."

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
