package torture

import (
	"encoding/json"
	"fmt"
	"maps"
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
	// With files: one run of more calls than layers are mounted one by one.
	hoarder = "hoarder"
)

// agents are the definitions: every effect class, approvals, a client's tool,
// parallel calls, hooks, a shared budget.
//
// With hands they have the tools that touch files as well.
func agents(effects string, hands bool) []*cairn.Agent {
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
	var environment cairn.Environment
	if hands {
		tools[0].Builtin = append(tools[0].Builtin, cairn.BuiltinRead, cairn.BuiltinList, cairn.BuiltinSearch, cairn.BuiltinWrite,
			cairn.BuiltinEdit, cairn.BuiltinBash, cairn.BuiltinPython)
		// Small, so that many can be alive at once on a small machine.
		environment = cairn.Environment{Memory: 128 << 20, Processes: 64}
	}
	all := []*cairn.Agent{
		{
			Name: worker, Model: "script/worker", Fallback: []string{"script/worker2"}, Instructions: "Do everything.",
			Tools: tools, Effects: decl, Params: cairn.Params{MaxOutput: 30_000}, Environment: environment,
			Policy: cairn.Policy{Ask: []string{"wire:ask=yes"}, Deny: []string{"put:forbidden=yes"}},
			Budget: cairn.Budget{Session: 10 * cairn.Dollar, Agent: 100_000 * cairn.Dollar},
			OnExit: []cairn.Hook{{Tool: "safe", Arguments: raw(`{"state":"safe"}`)}},
		},
		{
			Name: talker, Model: "script/talker", Instructions: "Talk.", Tools: tools, Effects: decl, Environment: environment,
			Budget: cairn.Budget{Agent: 100_000 * cairn.Dollar},
		},
	}
	if hands {
		all = append(all, &cairn.Agent{
			Name: hoarder, Model: "script/hoarder", Instructions: "Write.", Tools: tools, Effects: decl, Environment: environment,
			Budget: cairn.Budget{Agent: 100_000 * cairn.Dollar},
		})
	}
	return all
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

// handScripts are what the models of agents with files say: the deeds, with effects
// on the world between them.
func handScripts() (map[string]string, error) {
	type call = map[string]any
	calls := func(tags []string) []call {
		var out []call
		for _, t := range tags {
			out = append(out, call{"tool": deeds[t].tool, "args": deeds[t].args})
		}
		return out
	}
	var replies []any
	for i, tags := range workerDeeds {
		c := calls(tags)
		switch i {
		case 1:
			c = append(c, call{"tool": "pay", "args": call{"amount": 1}}, call{"tool": cairn.BuiltinRead, "args": call{"path": "log"}},
				call{"tool": cairn.BuiltinSearch, "args": call{"pattern": "a[0-9]"}})
		case 3:
			c = append(c, call{"tool": "wire", "args": call{"ask": "yes", "amount": 2}}, call{"tool": "put", "args": call{"n": 1}})
		case 5:
			c = append(c, call{"tool": cairn.BuiltinList, "args": call{"path": "."}}, call{"tool": "look", "args": call{"name": "alpha"}})
		}
		replies = append(replies, call{"calls": c})
	}
	replies = append(replies, call{"text": "Everything is done."})
	var hoard []any
	for _, c := range hoardCalls() {
		hoard = append(hoard, call{"calls": c})
	}
	hoard = append(hoard, call{"text": "It is all there."})
	base := call{
		"window": 2_000_000, "rates": call{"input": "$3", "output": "$15"}, "delay": "4ms", "stream": call{"chunk": 4000, "every": "2ms"},
	}
	with := func(more call) call {
		c := maps.Clone(base)
		maps.Copy(c, more)
		return c
	}
	out := map[string]string{}
	for name, s := range map[string]call{
		"worker":  with(call{"replies": replies}),
		"worker2": with(call{"default": call{"text": "The other model ends it."}}),
		"hoarder": with(call{"replies": hoard}),
		"talker": with(call{
			"cases": []any{call{
				"when":  call{"user": call{"contains": "pay"}},
				"calls": append(talkerCalls(), call{"tool": "pay", "args": call{"amount": 1}}),
			}},
			"default": call{"text": "I see."},
		}),
	} {
		b, err := json.Marshal(s)
		if err != nil {
			return nil, err
		}
		out[name] = string(b)
	}
	return out, nil
}

// write puts the scripts into a directory that everybody may read.
func write(dir string, hands bool) error {
	all, ext := scripts(), ".yaml"
	if hands {
		var err error
		if all, err = handScripts(); err != nil {
			return err
		}
		ext = ".json"
	}
	if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // the victim may be another user
		return err
	}
	for name, text := range all {
		if err := os.WriteFile(filepath.Join(dir, name+ext), []byte(text), 0o644); err != nil { //nolint:gosec // likewise
			return fmt.Errorf("torture: %w", err)
		}
	}
	return nil
}
