package cairn

import "encoding/json"

// EffectClass says what a repeat of a tool call would do.
type EffectClass string

// Classes of effects, by what happens when an outcome is lost in a crash.
const (
	ClassRead         EffectClass = "read"         // do it again
	ClassWorkspace    EffectClass = "workspace"    // put the workspace back, do it again
	ClassIdempotent   EffectClass = "idempotent"   // do it again with the same key
	ClassReversible   EffectClass = "reversible"   // never again by itself
	ClassIrreversible EffectClass = "irreversible" // never again by itself
)

// Repeatable says that a call of this class may be performed again by itself.
func (c EffectClass) Repeatable() bool {
	return c == ClassRead || c == ClassWorkspace || c == ClassIdempotent
}

// Valid says whether c is one of the classes.
func (c EffectClass) Valid() bool {
	return c.Repeatable() || c == ClassReversible || c == ClassIrreversible
}

// ToolHost says who executes a tool.
type ToolHost string

// Hosts of tools.
const (
	HostRuntime ToolHost = "runtime" // a performer of Cairn: HTTP, MCP, built in
	HostEngine  ToolHost = "engine"  // the engine itself: plan
	HostClient  ToolHost = "client"  // the client: the call parks the run as an ask
	HostPerson  ToolHost = "person"  // a person: the call parks the run as a question
)

// ToolSpec is a tool as it is pinned for a run.
type ToolSpec struct {
	ToolDef
	Host  ToolHost    `json:"host"`
	Class EffectClass `json:"class"`
	// Files says what it does with the session's files: a tool with access to them
	// runs in the sandbox.
	Files Access `json:"files,omitzero"`
	// Source names the entry of the agent definition it came from, for its performer.
	Source int `json:"source"`
	// Digest is the hash of name, description and schema as they were pinned.
	Digest Digest `json:"digest"`
	// Key is the template of the idempotency key; empty: the effect's id.
	Key       string     `json:"key,omitzero"`
	Reconcile *Reconcile `json:"reconcile,omitempty"`
	// Retries is how often a retryable failure is tried again; only for repeatable classes.
	Retries int `json:"retries,omitzero"`
	// Timeout of one attempt.
	Timeout Duration `json:"timeout,omitzero"`
}

// Digest is the hash by which a definition is pinned.
func (d ToolDef) Digest() Digest {
	schema, err := Canonical(d.InputSchema)
	if err != nil {
		schema = d.InputSchema
	}
	b, _ := json.Marshal([]string{d.Name, d.Description, string(schema)})
	return DigestOf(b)
}

// Reconcile declares how the outcome of a lost call is found out: a query, and
// what its JSON result must hold for "it happened" and for "it did not".
type Reconcile struct {
	Tool      string                     `json:"tool"`
	Arguments map[string]json.RawMessage `json:"arguments,omitempty"` // strings may hold {argument} and {idempotency_key}
	Done      map[string]json.RawMessage `json:"done"`                // every field equal: it took place
	NotDone   map[string]json.RawMessage `json:"not_done,omitempty"`  // every field equal: it did not
}

// ToolResult is what a tool call gave.
type ToolResult struct {
	Content []Part `json:"content"`
	// Structured is the machine-readable form of the result, where there is one.
	Structured json.RawMessage `json:"structured,omitempty"`
	IsError    bool            `json:"is_error,omitzero"`
	// Truncated is the number of bytes the output cap cut off.
	Truncated int64 `json:"truncated,omitzero"`
	// Shown says how much of the text the model sees; nil: all. The whole is kept.
	Shown *Shown `json:"shown,omitempty"`
}

// Shown is the part of a long text that goes into requests, in bytes.
type Shown struct {
	Head int64 `json:"head"`
	Tail int64 `json:"tail"`
}

// Verdict is the outcome of looking at a call before it is made.
type Verdict string

// Verdicts, strictest last.
const (
	VerdictAllow Verdict = "allow"
	VerdictAsk   Verdict = "ask"
	VerdictDeny  Verdict = "deny"
)

// Check is what schema and policy said of one call. It is found in process
// before the commit and recorded; a replay never evaluates it again.
type Check struct {
	// Error says why the call cannot be made: CodeUnknownTool or CodeInvalidArgs.
	Error   *Error  `json:"error,omitempty"`
	Verdict Verdict `json:"verdict,omitzero"`
	Rule    string  `json:"rule,omitzero"` // the rule that decided
	// Args are the canonical arguments; Digest binds an approval to the action.
	Args   json.RawMessage `json:"args,omitempty"`
	Digest Digest          `json:"digest,omitzero"`
	// Key is the rendered idempotency key; empty: the effect's id.
	Key string `json:"key,omitzero"`
}
