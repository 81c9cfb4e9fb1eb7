package tool

import (
	"fmt"
	"strings"

	"github.com/cairn-run/cairn"
)

// maxArgs bounds the arguments of a call, in bytes.
const maxArgs = 4 << 20

// Check looks at a call before it is made: is there such a tool, do the arguments
// fit its schema, what does policy say. args is what the model wrote; nothing at
// all stands for an empty object. It does no I/O, and its outcome is recorded: a
// replay never evaluates it again.
//
// A definition that cannot be used denies every call.
func (c *Catalog) Check(a *cairn.Agent, tools []cairn.ToolSpec, session cairn.SessionKey, tool, args string) cairn.Check {
	def := c.definition(a)
	if def.err != nil {
		return cairn.Check{Verdict: cairn.VerdictDeny, Rule: "the agent definition cannot be used: " + def.err.Error()}
	}
	spec := find(tools, tool)
	if spec == nil {
		return cairn.Check{Error: &cairn.Error{Code: cairn.CodeUnknownTool, Message: "there is no tool " + unknownName(tool, tools), NotDone: true}}
	}
	refuse := func(format string, args ...any) cairn.Check {
		return cairn.Check{Error: &cairn.Error{
			Code: cairn.CodeInvalidArgs, NotDone: true,
			Message: fmt.Sprintf("the arguments of %s %s", tool, fmt.Sprintf(format, args...)),
		}}
	}
	if len(args) > maxArgs {
		return refuse("are longer than %d bytes", maxArgs)
	}
	if strings.TrimSpace(args) == "" {
		args = "{}"
	}
	canonical, err := cairn.Canonical([]byte(args))
	if err != nil {
		return refuse("are not valid JSON: %v", err)
	}
	object, err := decodeObject(canonical)
	if err != nil {
		return refuse("must be a JSON object")
	}
	schema, err := c.schemas.compile(schemaOr(spec.InputSchema))
	if err != nil {
		return refuse("cannot be checked: the schema of the tool is broken: %v", err)
	}
	if why := fits(schema, object); why != "" {
		return refuse("do not fit its schema: %s", why)
	}
	check := cairn.Check{Args: canonical}
	if spec.Key != "" {
		if check.Key, err = renderKey(spec.Key, object); err != nil {
			return refuse("give no idempotency key: %v", err)
		}
	}
	check.Verdict, check.Rule = def.rules.Decide(tool, canonical)
	bound, err := action{
		Arguments: canonical, Definition: spec.Digest, Principal: principal{session.ID, session.Tenant},
		Target: targetOf(a, spec.Source), Tool: tool,
	}.canonical()
	if err != nil { // everything in it was encoded before
		return refuse("cannot be bound to an approval: %v", err)
	}
	check.Digest = cairn.DigestOf(bound)
	return check
}

// CheckOutput says why a final answer does not fit the agent's output schema, in
// words for the model; empty: it does, or there is none.
func (c *Catalog) CheckOutput(a *cairn.Agent, text string) string {
	if a.Output == nil {
		return ""
	}
	def := c.definition(a)
	if def.err != nil {
		return "the agent definition cannot be used: " + def.err.Error()
	}
	if len(text) > maxArgs {
		return fmt.Sprintf("the answer is longer than %d bytes", maxArgs)
	}
	// A duplicate key would let two readers of the answer see two answers.
	canonical, err := cairn.Canonical([]byte(text))
	if err != nil {
		return fmt.Sprintf("the answer must be one JSON value and nothing else, no prose and no code fence: %v", err)
	}
	v, err := decodeValue(canonical)
	if err != nil { // it was decoded before
		return "the answer cannot be read: " + err.Error()
	}
	if why := fits(def.output, v); why != "" {
		return "the answer does not fit the schema: " + why
	}
	return ""
}
