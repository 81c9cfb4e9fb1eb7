package config

import (
	"reflect"

	"github.com/cairn-run/cairn"
)

// about says what each field of the file is for, in one sentence. The JSON
// Schema and the reference in docs/agent-file.md are made of it; a test holds it
// complete.
var about = map[string]string{
	"Agent.name":         "Name of the agent: a-z, 0-9, '.', '_' and '-', at most 63 characters.",
	"Agent.description":  "What the agent is for.",
	"Agent.model":        "Model that answers, as provider/name.",
	"Agent.fallback":     "Models tried in order when the one before is given up.",
	"Agent.instructions": "What the model is told before anything else. In a Markdown file it is the text after the fields.",
	"Agent.tools":        "What the agent may call. Each entry is one of builtin, http, mcp and client.",
	"Agent.effects":      "By tool name: what a repeat of a call would do, and the limits of calls.",
	"Agent.policy":       "Rules over tool calls. The strictest rule that matches wins: deny, ask, allow.",
	"Agent.budget":       "What may be spent. Nothing is bought that could exceed it.",
	"Agent.limits":       "Bounds of one run.",
	"Agent.params":       "Settings of the model.",
	"Agent.context":      "How the conversation is kept within the model's window.",
	"Agent.environment":  "Sandbox of the agent's commands: what they see, and their limits.",
	"Agent.skills":       "Folders of instructions and files, each with a SKILL.md, that the agent reads when it needs them; in a file, paths at or below the directory of the agent file.",
	"Agent.output":       "Asks for a final answer that fits a JSON Schema.",
	"Agent.reflect":      "Asks the model, every so many steps, to look back in a turn without tools.",
	"Agent.on_exit":      "Tool calls made when a run ends, in whatever way.",

	"ToolSource.builtin": "Tools of the runtime itself: " +
		"read, write, edit, list and search (the files of the session), bash and python (commands in the sandbox), " +
		"http (requests to the hosts of environment.network), plan (the model records its plan), ask_person (a question to a person), " +
		"read_result (it reads on in a result that was too long to be shown whole).",
	"ToolSource.http":   "A tool that is one HTTP request.",
	"ToolSource.mcp":    "An MCP server: its URL (streamable HTTP), or fields.",
	"ToolSource.client": "A tool that the client of the session executes: its call waits for the result.",
	"ToolSource.allow":  "The tools of the MCP server that are granted, by glob. Without it: all.",

	"HTTPTool.name":         "Name of the tool: letters, digits, '_' and '-', at most 64.",
	"HTTPTool.description":  "What the model reads about it.",
	"HTTPTool.method":       "HTTP method.",
	"HTTPTool.url":          "Address; {argument} stands for an argument of the call. The others go into the query (GET, HEAD, DELETE) or the JSON body.",
	"HTTPTool.headers":      "Headers sent with every call.",
	"HTTPTool.input_schema": "JSON Schema of the arguments.",

	"MCPServer.url":     "Address of a server that speaks streamable HTTP.",
	"MCPServer.headers": "Headers sent with every request.",
	"MCPServer.command": "Program and arguments of a server that speaks over its standard input and output.",
	"MCPServer.env":     "Environment of the program; it gets nothing else but PATH, HOME and LANG.",
	"MCPServer.prefix":  "Put before the name of every tool of the server.",

	"ClientTool.name":         "Name of the tool: letters, digits, '_' and '-', at most 64.",
	"ClientTool.description":  "What the model reads about it.",
	"ClientTool.input_schema": "JSON Schema of the arguments.",
	"ClientTool.timeout":      "How long the call waits for the client.",

	"EffectDecl.class":           "What is done when the outcome of a call is lost: read and workspace calls are made again, idempotent ones with the same key, reversible and irreversible ones never by themselves.",
	"EffectDecl.idempotency_key": "Key of the call, with {argument} for its arguments. Without it: the id of the effect.",
	"EffectDecl.reconcile":       "How to find out whether a lost call took place.",
	"EffectDecl.timeout":         "How long one attempt may take.",
	"EffectDecl.retries":         "How often a call that failed for a passing reason is made again; only for classes that may be repeated.",
	"EffectDecl.rate":            "Calls per second, over all sessions. 0: no limit.",
	"EffectDecl.burst":           "Calls that may be made at once before the rate counts.",
	"EffectDecl.concurrency":     "Calls in flight at once, over all sessions. 0: no limit.",
	"EffectDecl.max_output":      "Bytes of a result; what is longer is cut, and says so.",

	"Reconcile.tool":      "A tool of class read that can tell.",
	"Reconcile.arguments": "Its arguments; texts may hold {argument} of the lost call and {idempotency_key}.",
	"Reconcile.done":      "Fields of its result. All equal: the call took place.",
	"Reconcile.not_done":  "Fields of its result. All equal: it did not.",

	"Policy.allow":    "Calls that are made.",
	"Policy.ask":      "Calls that a person has to approve.",
	"Policy.deny":     "Calls that are never made.",
	"Policy.default":  "What holds for a call that no rule matches.",
	"Policy.approval": "How long an approval is waited for.",

	"Approval.timeout":    "How long an ask stays open.",
	"Approval.on_timeout": "What happens then.",

	"Budget.run":       "Most that one run may cost.",
	"Budget.session":   "Most that a session may cost.",
	"Budget.agent":     "Most that all sessions of the agent may cost together.",
	"Budget.on_breach": "When a call could exceed a budget: pause asks a person, stop ends the run.",

	"Limits.steps":    "Model calls.",
	"Limits.wall":     "Time, not counting waits for people. Without it: no limit.",
	"Limits.tokens":   "Billed tokens. Without it: no limit.",
	"Limits.parallel": "Tool calls of one answer, at most 512.",
	"Limits.retries":  "How often a model call that failed is tried again, per model.",
	"Limits.invalid":  "Answers in a row of which no call could be made.",

	"Params.max_output":  "Tokens of one answer. There is no call without a cap; it is at most half of the model's window.",
	"Params.temperature": "Sampling temperature.",
	"Params.top_p":       "Nucleus sampling.",
	"Params.stop":        "Texts that end an answer.",

	"Output.schema":  "JSON Schema, or the name of a file that holds it, at or below the directory of the agent file.",
	"Output.retries": "How often an answer that does not fit is sent back.",

	"ContextRules.compact": "How a conversation that no longer fits is cut: summary has the model write down first what matters, drop only leaves a note.",
	"ContextRules.results": "Bytes of the results of one answer's calls that the model sees, shared by the calls; a quarter of the window when it is not set. The whole results are kept in the journal.",

	"Environment.image":      "What the sandbox shows: host (the programs of this machine, read-only), or the name of a root file system in images/ of the data directory, a directory or a link to one.",
	"Environment.network":    "Hosts that the http tool may reach: api.example.com, *.example.com, api.example.com:8443. Without it: none. Commands have no network.",
	"Environment.env":        "Variables of commands. No secrets: the model can read them.",
	"Environment.cpu":        "Processors.",
	"Environment.memory":     "Memory of all processes together, at least 16Mi.",
	"Environment.disk":       "What one call may write.",
	"Environment.processes":  "Processes at once.",
	"Environment.open_files": "Open files of one process.",
	"Environment.idle":       "How long background commands live without a call.",

	"Skill.name":           "Name of the skill: a-z, 0-9 and single '-', at most 64 characters.",
	"Skill.description":    "What it is for: all the model sees until it reads the skill.",
	"Skill.files":          "Its files, SKILL.md among them; those of all skills together have at most " + cairn.Bytes(cairn.MaxSkillBytes).String() + ".",
	"SkillFile.path":       "Path below the skill's folder, with slashes.",
	"SkillFile.content":    "Its bytes. Without it: none.",
	"SkillFile.executable": "It may be executed.",

	"Reflect.every":  "Steps between two looks back.",
	"Reflect.prompt": "What the model is asked then.",

	"Hook.tool":      "Tool that is called.",
	"Hook.arguments": "Its arguments.",
	"Hook.when":      "After which outcome.",
}

// rule is what a field may hold beyond its type.
type rule struct {
	required bool
	enum     []string
	preset   string // the default, for the reference
	min, max int64  // of numbers; max 0: none
	pattern  string // of text, and of the items of a list
	items    int64  // most items of a list; 0: not said
}

var rules = map[string]rule{
	"Agent.name":             {required: true, pattern: `^[a-z0-9][a-z0-9._-]{0,62}$`},
	"Agent.model":            {required: true, pattern: `^[a-z0-9][a-z0-9-]*/.+$`},
	"HTTPTool.name":          {required: true, pattern: `^[a-zA-Z0-9_-]{1,64}$`},
	"HTTPTool.url":           {required: true},
	"HTTPTool.method":        {preset: "POST"},
	"ClientTool.name":        {required: true, pattern: `^[a-zA-Z0-9_-]{1,64}$`},
	"ClientTool.timeout":     {preset: "24h"},
	"EffectDecl.class":       {enum: []string{"read", "workspace", "idempotent", "reversible", "irreversible"}, preset: "from MCP annotations or the HTTP method, else irreversible"},
	"EffectDecl.timeout":     {preset: "60s"},
	"EffectDecl.retries":     {preset: "2, or 0 for classes that may not be repeated"},
	"EffectDecl.burst":       {preset: "1"},
	"EffectDecl.max_output":  {preset: "256 KiB"},
	"Reconcile.tool":         {required: true},
	"Reconcile.done":         {required: true},
	"Policy.default":         {enum: []string{"allow", "ask", "deny"}, preset: "allow"},
	"Approval.timeout":       {preset: "24h"},
	"Approval.on_timeout":    {enum: []string{"reject", "approve"}, preset: "reject"},
	"Budget.on_breach":       {enum: []string{"pause", "stop"}, preset: "pause"},
	"Limits.steps":           {preset: "100"},
	"Limits.parallel":        {preset: "64", max: 512},
	"Limits.retries":         {preset: "4"},
	"Limits.invalid":         {preset: "4"},
	"Params.max_output":      {preset: "4096"},
	"Agent.skills":           {items: cairn.MaxSkills},
	"ToolSource.builtin":     {enum: cairn.Builtins},
	"Environment.image":      {preset: "host", pattern: `^[a-z0-9][a-z0-9._-]{0,62}$`},
	"Environment.network":    {pattern: `^(\*\.)?[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?(:[0-9]{1,5})?$`},
	"Environment.cpu":        {preset: "2"},
	"Environment.memory":     {preset: "1Gi"},
	"Environment.disk":       {preset: "2Gi"},
	"Environment.processes":  {preset: "256"},
	"Environment.open_files": {preset: "1024"},
	"Environment.idle":       {preset: "10m"},
	"Skill.name":             {required: true, pattern: `^[a-z0-9]+(-[a-z0-9]+)*$`},
	"Skill.description":      {required: true},
	"Skill.files":            {required: true},
	"SkillFile.path":         {required: true},
	"Output.schema":          {required: true},
	"Output.retries":         {preset: "2"},
	"Reflect.every":          {required: true, min: 1},
	"ContextRules.compact":   {preset: "summary", enum: []string{"summary", "drop"}},
	"Hook.tool":              {required: true},
	"Hook.when":              {enum: []string{"always", "completed", "failed", "cancelled"}, preset: "always"},
}

// fieldKey names a field in the tables above.
func fieldKey(t reflect.Type, f reflect.StructField) string { return t.Name() + "." + jsonName(f) }
