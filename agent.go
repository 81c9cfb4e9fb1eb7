package cairn

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// Agent is a versioned, immutable definition: its digest is its version.
// Durations and amounts are strings in files ("30m", "$0.50").
type Agent struct {
	Name         string   `json:"name"`
	Description  string   `json:"description,omitzero"`
	Model        string   `json:"model"`              // "provider/name"
	Fallback     []string `json:"fallback,omitempty"` // tried in order when the model before is given up
	Instructions string   `json:"instructions,omitzero"`

	Tools   []ToolSource           `json:"tools,omitempty"`
	Effects map[string]*EffectDecl `json:"effects,omitempty"` // by tool name
	Policy  Policy                 `json:"policy,omitzero"`
	Budget  Budget                 `json:"budget,omitzero"`
	Limits  Limits                 `json:"limits,omitzero"`
	Params  Params                 `json:"params,omitzero"`
	Context ContextRules           `json:"context,omitzero"`
	// Environment is the sandbox of its commands.
	Environment Environment `json:"environment,omitzero"`
	Skills      []Skill     `json:"skills,omitempty"`
	Output      *Output     `json:"output,omitempty"`
	Reflect     *Reflect    `json:"reflect,omitempty"`
	// OnExit are the safe-state hooks: tool calls made when a run ends, in whatever way.
	OnExit []Hook `json:"on_exit,omitempty"`
}

// ToolSource is one entry of an agent's tools. Exactly one of Builtin, HTTP,
// MCP and Client is set.
type ToolSource struct {
	Builtin []string    `json:"builtin,omitempty"` // of Builtins
	HTTP    *HTTPTool   `json:"http,omitempty"`
	MCP     *MCPServer  `json:"mcp,omitempty"`
	Client  *ClientTool `json:"client,omitempty"`
	// Allow lists the tools of an MCP server that are granted, by glob; empty: all.
	Allow []string `json:"allow,omitempty"`
}

// Names of the built-in tools.
const (
	BuiltinPlan       = "plan"
	BuiltinReadResult = "read_result"
	BuiltinAskPerson  = "ask_person"
	BuiltinHTTP       = "http"
	BuiltinRead       = "read"
	BuiltinList       = "list"
	BuiltinSearch     = "search"
	BuiltinWrite      = "write"
	BuiltinEdit       = "edit"
	BuiltinBash       = "bash"
	BuiltinPython     = "python"
)

// Builtins are the tools of the runtime itself.
var Builtins = []string{
	BuiltinRead, BuiltinWrite, BuiltinEdit, BuiltinList, BuiltinSearch, BuiltinBash, BuiltinPython,
	BuiltinHTTP, BuiltinPlan, BuiltinAskPerson, BuiltinReadResult,
}

// HTTPTool is a tool that is one HTTP request. The arguments that the URL does
// not name go into the query (GET, DELETE) or the JSON body.
type HTTPTool struct {
	Name        string            `json:"name"`
	Description string            `json:"description,omitzero"`
	Method      string            `json:"method,omitzero"` // default POST
	URL         string            `json:"url"`             // may hold {argument}
	Headers     map[string]string `json:"headers,omitempty"`
	InputSchema json.RawMessage   `json:"input_schema,omitempty"`
}

// MCPServer is reached over streamable HTTP (URL) or stdio (Command).
type MCPServer struct {
	URL     string            `json:"url,omitzero"`
	Headers map[string]string `json:"headers,omitempty"`
	Command []string          `json:"command,omitempty"`
	Env     map[string]string `json:"env,omitempty"`
	Prefix  string            `json:"prefix,omitzero"` // put before every tool name
}

// ClientTool is executed by the client: its call parks the run.
type ClientTool struct {
	Name        string          `json:"name"`
	Description string          `json:"description,omitzero"`
	InputSchema json.RawMessage `json:"input_schema,omitempty"`
	Timeout     Duration        `json:"timeout,omitzero"` // default 24h
}

// EffectDecl declares what a repeat of a tool would do, and its limits. What is
// not declared is taken from MCP annotations or the HTTP method; failing those a
// tool is irreversible.
type EffectDecl struct {
	Class          EffectClass `json:"class,omitzero"`
	IdempotencyKey string      `json:"idempotency_key,omitzero"` // "refund:{charge_id}"
	Reconcile      *Reconcile  `json:"reconcile,omitempty"`
	Timeout        Duration    `json:"timeout,omitzero"`     // of one attempt; default 60s
	Retries        *int        `json:"retries,omitempty"`    // default 2 for repeatable classes, else 0
	Rate           float64     `json:"rate,omitzero"`        // calls per second over all sessions; 0: no limit
	Burst          int         `json:"burst,omitzero"`       // default 1
	Concurrency    int         `json:"concurrency,omitzero"` // at once over all sessions; 0: no limit
	MaxOutput      int64       `json:"max_output,omitzero"`  // bytes of result; default 256 KiB
}

// Policy is a list of rules over tool calls, "tool", "tool:glob" or
// "tool:argument=glob". The strictest that matches wins: deny, ask, allow.
type Policy struct {
	Allow []string `json:"allow,omitempty"`
	Ask   []string `json:"ask,omitempty"`
	Deny  []string `json:"deny,omitempty"`
	// Default is the verdict when no rule matches; default allow for granted tools.
	Default Verdict `json:"default,omitzero"`
	// Approval says how an ask is put.
	Approval Approval `json:"approval,omitzero"`
}

// Approval says how long an ask waits and what happens then.
type Approval struct {
	Timeout   Duration `json:"timeout,omitzero"`    // default 24h
	OnTimeout string   `json:"on_timeout,omitzero"` // "reject" (default) or "approve"
}

// Breach says what happens when a budget is spent.
type Breach string

// What a breach does.
const (
	BreachPause Breach = "pause" // ask a person (default)
	BreachStop  Breach = "stop"  // end the run
)

// Budget caps what may be spent. Zero: no cap.
type Budget struct {
	Run      Money  `json:"run,omitzero"`
	Session  Money  `json:"session,omitzero"`
	Agent    Money  `json:"agent,omitzero"` // shared by all sessions of the agent
	OnBreach Breach `json:"on_breach,omitzero"`
}

// Limits bound a run. Zero takes the default.
type Limits struct {
	Steps    int      `json:"steps,omitzero"`    // model calls; default 100
	Wall     Duration `json:"wall,omitzero"`     // not counting waits for people; default none
	Tokens   int64    `json:"tokens,omitzero"`   // billed tokens; default none
	Parallel int      `json:"parallel,omitzero"` // calls of one answer; default 64
	Retries  *int     `json:"retries,omitempty"` // of a failed model call, per model; default 4
	Invalid  int      `json:"invalid,omitzero"`  // answers in a row whose every call was invalid; default 4
}

// Params are the model settings an agent chooses.
type Params struct {
	MaxOutput   int64    `json:"max_output,omitzero"` // tokens; default 4096
	Temperature *float64 `json:"temperature,omitempty"`
	TopP        *float64 `json:"top_p,omitempty"`
	Stop        []string `json:"stop,omitempty"`
}

// ContextRules say how the conversation is kept within the model's window.
type ContextRules struct {
	// Compact is how it is cut: "summary" (default) has the model write down what
	// matters first, "drop" only leaves a note.
	Compact string `json:"compact,omitzero"`
	// Results is how much of the results of one answer's calls the model sees, in
	// bytes; default a quarter of the window. The whole is kept in the journal.
	Results int64 `json:"results,omitzero"`
}

// How a conversation is cut.
const (
	CompactSummary = "summary"
	CompactDrop    = "drop"
)

// Output asks for a final answer that fits a JSON Schema.
type Output struct {
	Schema  json.RawMessage `json:"schema"`
	Retries *int            `json:"retries,omitempty"` // repairs; default 2
}

// Reflect asks the model, every so many steps, to look back in a turn of its
// own without tools.
type Reflect struct {
	Every  int    `json:"every"`
	Prompt string `json:"prompt,omitzero"`
}

// Hook is a tool call made when a run ends.
type Hook struct {
	Tool      string          `json:"tool"`
	Arguments json.RawMessage `json:"arguments,omitempty"`
	// When is "always" (default), "completed", "failed" or "cancelled".
	When string `json:"when,omitzero"`
}

// Defaults and bounds of an agent definition.
const (
	DefaultSteps     = 100
	DefaultParallel  = 64
	DefaultRetries   = 4
	DefaultInvalid   = 4
	DefaultMaxOutput = 4096
	DefaultRepairs   = 2
	maxParallel      = 512
	maxTools         = 512
)

// Digest is the version of the definition: the hash of its canonical JSON.
func (a *Agent) Digest() Digest {
	b, err := json.Marshal(a)
	if err != nil { // only a RawMessage that is no JSON can fail; Validate refuses it
		return DigestOf([]byte(err.Error()))
	}
	if c, err := Canonical(b); err == nil {
		b = c
	}
	return DigestOf(b)
}

var (
	agentName = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,62}$`)
	toolName  = regexp.MustCompile(`^[a-zA-Z0-9_-]{1,64}$`)
	modelName = regexp.MustCompile(`^[a-z0-9][a-z0-9-]*/.+$`)
)

// FieldError is what is wrong with one field of a definition; Path is dotted
// ("tools[1].http.url").
type FieldError struct {
	Path, Problem string
}

// Error implements error.
func (e *FieldError) Error() string { return e.Path + ": " + e.Problem }

// Validate reports the first thing wrong with the definition, as a *FieldError.
func (a *Agent) Validate() error {
	bad := func(path, format string, args ...any) error {
		return &FieldError{Path: path, Problem: fmt.Sprintf(format, args...)}
	}
	if !agentName.MatchString(a.Name) {
		return bad("name", "%q is not a name: use a-z, 0-9, '.', '_' and '-', at most 63 characters", a.Name)
	}
	for i, m := range append([]string{a.Model}, a.Fallback...) {
		if !modelName.MatchString(m) {
			path := "model"
			if i > 0 {
				path = fmt.Sprintf("fallback[%d]", i-1)
			}
			return bad(path, "%q is not a model: write provider/name, for example script/support", m)
		}
	}
	seen := map[string]bool{a.Model: true}
	for i, m := range a.Fallback {
		if seen[m] {
			return bad(fmt.Sprintf("fallback[%d]", i), "%s stands there twice", m)
		}
		seen[m] = true
	}
	if len(a.Tools) > maxTools {
		return bad("tools", "more than %d entries", maxTools)
	}
	for i, t := range a.Tools {
		path := fmt.Sprintf("tools[%d]", i)
		n := 0
		if len(t.Builtin) > 0 {
			n++
			for j, b := range t.Builtin {
				if !slices.Contains(Builtins, b) {
					return bad(fmt.Sprintf("%s.builtin[%d]", path, j), "no built-in tool is called %q; there is: %s", b, strings.Join(Builtins, ", "))
				}
			}
		}
		if t.HTTP != nil {
			n++
			if err := validTool(path+".http", t.HTTP.Name, t.HTTP.InputSchema); err != nil {
				return err
			}
			if t.HTTP.URL == "" {
				return bad(path+".http.url", "missing")
			}
		}
		if t.MCP != nil {
			n++
			if (t.MCP.URL == "") == (len(t.MCP.Command) == 0) {
				return bad(path+".mcp", "give either url (streamable HTTP) or command (stdio)")
			}
		}
		if t.Client != nil {
			n++
			if err := validTool(path+".client", t.Client.Name, t.Client.InputSchema); err != nil {
				return err
			}
		}
		if n != 1 {
			return bad(path, "give exactly one of builtin, http, mcp and client")
		}
		if len(t.Allow) > 0 && t.MCP == nil {
			return bad(path+".allow", "only for mcp")
		}
	}
	for name, e := range a.Effects {
		path := "effects." + name
		if e == nil {
			return bad(path, "empty")
		}
		if e.Class != "" && !e.Class.Valid() {
			return bad(path+".class", "%q is not a class: use read, workspace, idempotent, reversible or irreversible", e.Class)
		}
		if e.Rate < 0 || e.Concurrency < 0 || e.Burst < 0 || e.MaxOutput < 0 || (e.Retries != nil && *e.Retries < 0) {
			return bad(path, "a limit is negative")
		}
		if r := e.Reconcile; r != nil && (r.Tool == "" || len(r.Done) == 0) {
			return bad(path+".reconcile", "give tool (a read) and done (fields of its result that say it took place)")
		}
	}
	switch a.Policy.Default {
	case "", VerdictAllow, VerdictAsk, VerdictDeny:
	default:
		return bad("policy.default", "%q is not a verdict: use allow, ask or deny", a.Policy.Default)
	}
	switch a.Policy.Approval.OnTimeout {
	case "", "reject", "approve":
	default:
		return bad("policy.approval.on_timeout", "%q: use reject or approve", a.Policy.Approval.OnTimeout)
	}
	switch a.Budget.OnBreach {
	case "", BreachPause, BreachStop:
	default:
		return bad("budget.on_breach", "%q: use pause or stop", a.Budget.OnBreach)
	}
	if a.Budget.Run < 0 || a.Budget.Session < 0 || a.Budget.Agent < 0 {
		return bad("budget", "an amount is negative")
	}
	l := a.Limits
	if l.Steps < 0 || l.Tokens < 0 || l.Parallel < 0 || l.Invalid < 0 || (l.Retries != nil && *l.Retries < 0) {
		return bad("limits", "a limit is negative")
	}
	if l.Parallel > maxParallel {
		return bad("limits.parallel", "more than %d", maxParallel)
	}
	switch a.Context.Compact {
	case "", CompactSummary, CompactDrop:
	default:
		return bad("context.compact", "%q: use %s or %s", a.Context.Compact, CompactSummary, CompactDrop)
	}
	if a.Context.Results < 0 {
		return bad("context.results", "negative")
	}
	if a.Params.MaxOutput < 0 {
		return bad("params.max_output", "negative")
	}
	if err := a.validateEnvironment(); err != nil {
		return err
	}
	if a.Output != nil {
		if !json.Valid(a.Output.Schema) {
			return bad("output.schema", "not a JSON Schema")
		}
		if a.Output.Retries != nil && *a.Output.Retries < 0 {
			return bad("output.retries", "negative")
		}
	}
	if a.Reflect != nil && a.Reflect.Every < 1 {
		return bad("reflect.every", "give a number of steps, at least 1")
	}
	for i, h := range a.OnExit {
		path := fmt.Sprintf("on_exit[%d]", i)
		if h.Tool == "" {
			return bad(path+".tool", "missing")
		}
		if len(h.Arguments) > 0 && !json.Valid(h.Arguments) {
			return bad(path+".arguments", "not JSON")
		}
		switch h.When {
		case "", "always", "completed", "failed", "cancelled":
		default:
			return bad(path+".when", "%q: use always, completed, failed or cancelled", h.When)
		}
	}
	return nil
}

func validTool(path, name string, schema json.RawMessage) error {
	if !toolName.MatchString(name) {
		return &FieldError{path + ".name", fmt.Sprintf("%q is not a tool name: use letters, digits, '_' and '-', at most 64", name)}
	}
	if len(schema) > 0 && !json.Valid(schema) {
		return &FieldError{path + ".input_schema", "not a JSON Schema"}
	}
	return nil
}
