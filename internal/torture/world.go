package torture

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/cairn-run/cairn"
)

// Names of the agents that are tortured.
const (
	worker = "worker" // one run, every kind of effect, a shared budget
	talker = "talker" // many runs: steered, interrupted, paused, idle
)

// agents are the definitions: every effect class, approvals, a client's tool,
// parallel calls, hooks, a shared budget.
func agents(effects string) []*cairn.Agent {
	schema := json.RawMessage(`{"type":"object"}`)
	tool := func(name, method, path string) cairn.ToolSource {
		return cairn.ToolSource{HTTP: &cairn.HTTPTool{Name: name, Description: "An effect.", Method: method, URL: effects + path, InputSchema: schema}}
	}
	raw := func(s string) json.RawMessage { return json.RawMessage(s) }
	wait := cairn.Duration(5 * time.Second)
	decl := map[string]*cairn.EffectDecl{
		"put": {Class: cairn.ClassIdempotent, Timeout: wait},
		"pay": {Class: cairn.ClassIrreversible, Timeout: wait, Reconcile: &cairn.Reconcile{
			Tool: "lookup", Arguments: map[string]json.RawMessage{"key": raw(`"{idempotency_key}"`)},
			Done: map[string]json.RawMessage{"status": raw(`"done"`)}, NotDone: map[string]json.RawMessage{"status": raw(`"not_found"`)},
		}},
		"wire":   {Class: cairn.ClassIrreversible, Timeout: wait},
		"lookup": {Class: cairn.ClassRead, Timeout: wait},
		"safe":   {Class: cairn.ClassIdempotent, Timeout: wait},
	}
	tools := []cairn.ToolSource{
		{Builtin: []string{"plan"}},
		tool("look", "GET", "/read/{name}"),
		tool("put", "POST", "/effect/idempotent"),
		tool("pay", "POST", "/effect/irreversible"),
		tool("wire", "POST", "/effect/irreversible"),
		tool("lookup", "GET", "/effect/by-key/{key}"),
		tool("safe", "POST", "/effect/idempotent"),
		{Client: &cairn.ClientTool{Name: "press", Description: "A button of the client.", InputSchema: schema}},
	}
	return []*cairn.Agent{
		{
			Name: worker, Model: "script/worker", Fallback: []string{"script/worker2"}, Instructions: "Do everything.",
			Tools: tools, Effects: decl, Params: cairn.Params{MaxOutput: 30_000},
			Policy: cairn.Policy{Ask: []string{"wire:ask=yes"}, Deny: []string{"put:forbidden=yes"}},
			Budget: cairn.Budget{Session: 10 * cairn.Dollar, Agent: 100_000 * cairn.Dollar},
			OnExit: []cairn.Hook{{Tool: "safe", Arguments: raw(`{"state":"safe"}`)}},
		},
		{
			Name: talker, Model: "script/talker", Instructions: "Talk.", Tools: tools, Effects: decl,
			Budget: cairn.Budget{Agent: 100_000 * cairn.Dollar},
		},
	}
}

// scripts are what the models say.
func scripts() map[string]string {
	long := strings.Repeat("A long thought that does not fit into the log itself. ", 1400)
	common := "window: 2000000\nrates: {input: $3, output: $15}\ndelay: 8ms\nstream: {chunk: 4000, every: 2ms}\n"
	replies := `replies:
  - text: I plan and look around.
    calls:
      - {tool: plan, args: {steps: [look, pay, wire]}}
      - {tool: look, args: {name: alpha}}
      - {tool: look, args: {name: beta}}
      - {tool: put, args: {n: 1}}
  - calls:
      - {tool: pay, args: {amount: 1}}
      - {tool: put, args: {n: 2}}
      - {tool: put, args: {forbidden: "yes"}}
  - calls:
      - {tool: wire, args: {ask: "yes", amount: 2}}
      - {tool: pay, args: {amount: 3}}
      - {tool: nonsense, args: {}}
  - text: LONG
    calls: [{tool: look, args: {name: gamma}}]
  - calls: [{tool: wire, args: {amount: 4}}, {tool: put, args: {n: 3}}]
    fail: [{code: overloaded, retry_after: 1ms, times: 1}]
  - calls: [{tool: press, args: {button: ok}}, {tool: pay, args: {amount: 5}}]
  - text: Everything is done.
`
	return map[string]string{
		"worker":  common + strings.Replace(replies, "LONG", `"`+long+`"`, 1),
		"worker2": common + "default: {text: The other model ends it.}\n",
		"talker": common + `cases:
  - when: {user: {contains: pay}}
    calls: [{tool: pay, args: {amount: 1}}, {tool: put, args: {n: 1}}]
default: {text: "I see."}
`,
	}
}

// write puts the scripts into a directory.
func write(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	for name, text := range scripts() {
		if err := os.WriteFile(filepath.Join(dir, name+".yaml"), []byte(text), 0o600); err != nil {
			return fmt.Errorf("torture: %w", err)
		}
	}
	return nil
}
