package builtin

import (
	"encoding/json"
	"time"

	"github.com/cairn-run/cairn"
)

// Schemas and descriptions are what models see, and part of the definition's
// digest: a change of one byte is a new definition.
const (
	readText   = "Read a text file. Lines come with their numbers, which are no part of the file."
	readSchema = `{
  "type": "object",
  "properties": {
    "path": {"type": "string", "minLength": 1, "description": "Relative paths begin with /workspace."},
    "offset": {"type": "integer", "description": "First line, from 1; negative: that many lines from the end. Default 1."},
    "limit": {"type": "integer", "minimum": 1, "maximum": 10000, "description": "Number of lines; default 2000."}
  },
  "required": ["path"],
  "additionalProperties": false
}`

	listText   = "List a directory as a tree with sizes. What .gitignore names is left out."
	listSchema = `{
  "type": "object",
  "properties": {
    "path": {"type": "string", "description": "Default /workspace."},
    "depth": {"type": "integer", "minimum": 1, "maximum": 10, "description": "Levels to show; default 2."},
    "all": {"type": "boolean", "description": "Show what .gitignore names, and the inside of .git, too."}
  },
  "additionalProperties": false
}`

	searchText   = "Find lines in files by a regular expression, or files by their names when there is no pattern. What .gitignore names is left out."
	searchSchema = `{
  "type": "object",
  "properties": {
    "pattern": {"type": "string", "description": "Regular expression (RE2), looked for within single lines."},
    "path": {"type": "string", "description": "Directory or file; default /workspace."},
    "include": {"type": "array", "items": {"type": "string"}, "maxItems": 50, "description": "Only files that fit one of these globs, such as *.go or src/**/*.ts."},
    "exclude": {"type": "array", "items": {"type": "string"}, "maxItems": 50, "description": "No files or directories that fit one of these globs."},
    "literal": {"type": "boolean", "description": "Take the pattern as plain text."},
    "ignore_case": {"type": "boolean"},
    "context": {"type": "integer", "minimum": 0, "maximum": 10, "description": "Lines to show around each match."},
    "files_only": {"type": "boolean", "description": "Show only the names of files with a match."},
    "limit": {"type": "integer", "minimum": 1, "maximum": 1000, "description": "Most matches to show; default 200."},
    "all": {"type": "boolean", "description": "Search what .gitignore names, and .git, too."}
  },
  "additionalProperties": false
}`

	writeText   = "Write a whole file, new or in place of an old one. Missing directories are made. To change a part of a file use edit."
	writeSchema = `{
  "type": "object",
  "properties": {
    "path": {"type": "string", "minLength": 1, "description": "Relative paths begin with /workspace."},
    "content": {"type": "string"}
  },
  "required": ["path", "content"],
  "additionalProperties": false
}`

	editText   = "Replace exact pieces of a text file. Either all edits are made, in order, or none."
	editSchema = `{
  "type": "object",
  "properties": {
    "path": {"type": "string", "minLength": 1, "description": "Relative paths begin with /workspace."},
    "edits": {
      "type": "array",
      "minItems": 1,
      "maxItems": 100,
      "items": {
        "type": "object",
        "properties": {
          "old_text": {"type": "string", "minLength": 1, "description": "Exactly as in the file, white space too, without line numbers. It must stand there once; give lines around it if it does not."},
          "new_text": {"type": "string"},
          "replace_all": {"type": "boolean", "description": "Replace it wherever it stands."}
        },
        "required": ["old_text", "new_text"],
        "additionalProperties": false
      }
    }
  },
  "required": ["path", "edits"],
  "additionalProperties": false
}`

	bashText = "Run a shell command in the sandbox: no network, no input, files below /workspace. The working directory is kept from call to call; variables are not. " +
		"What a command leaves running is killed when it ends: use background for servers and long builds, and read their output file."
	bashSchema = `{
  "type": "object",
  "properties": {
    "command": {"type": "string", "minLength": 1},
    "timeout": {"type": "integer", "minimum": 1, "maximum": 600, "description": "Seconds until it is killed; default 120."},
    "background": {"type": "boolean", "description": "Let it run on; the result names its id and the file its output goes to."},
    "stop": {"type": "integer", "minimum": 1, "description": "Instead of command: the id of a background command to kill."}
  },
  "additionalProperties": false
}`

	pythonText   = "Run Python 3 code in the sandbox, in a new interpreter each time. Print what you want to see."
	pythonSchema = `{
  "type": "object",
  "properties": {
    "code": {"type": "string", "minLength": 1},
    "timeout": {"type": "integer", "minimum": 1, "maximum": 600, "description": "Seconds until it is killed; default 120."}
  },
  "required": ["code"],
  "additionalProperties": false
}`

	httpText   = "Make an HTTP request to a host that this agent may reach. Credentials cannot be sent."
	httpSchema = `{
  "type": "object",
  "properties": {
    "url": {"type": "string", "minLength": 1, "maxLength": 8192},
    "method": {"type": "string", "enum": ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"], "description": "Default GET. Others than GET and HEAD need the agent's permission."},
    "headers": {"type": "object", "additionalProperties": {"type": "string"}, "maxProperties": 50},
    "body": {"type": "string", "description": "Sent as it is."},
    "json": {"description": "Sent as JSON, instead of body."},
    "text": {"type": "boolean", "description": "Reduce an HTML answer to its text."}
  },
  "required": ["url"],
  "additionalProperties": false
}`

	askText   = "Ask a person a question and wait for the answer. For what you cannot find out yourself, or must not decide."
	askSchema = `{
  "type": "object",
  "properties": {
    "question": {"type": "string", "minLength": 1, "maxLength": 4000},
    "options": {"type": "array", "items": {"type": "string", "minLength": 1, "maxLength": 500}, "maxItems": 20, "description": "Answers to choose from; another one may be given."},
    "context": {"type": "string", "maxLength": 16000, "description": "What the person needs to know to answer."}
  },
  "required": ["question"],
  "additionalProperties": false
}`
)

// Bounds of the time a command may take.
const (
	defaultCommandTime = 120 * time.Second
	maxCommandTime     = 600 * time.Second
	// commandMargin is what a call may take beyond its command: making the sandbox,
	// killing, recording the files. The catalogue's bound lies that much higher.
	commandMargin = 60 * time.Second
)

// Tools returns the definitions by name: all of [cairn.Builtins].
func Tools() map[string]cairn.ToolSpec {
	all := map[string]cairn.ToolSpec{}
	add := func(name, text, schema string, s cairn.ToolSpec) {
		s.ToolDef = cairn.ToolDef{Name: name, Description: text, InputSchema: json.RawMessage(schema)}
		s.Digest = s.ToolDef.Digest()
		all[name] = s
	}
	// Recording a plan again changes nothing outside the session.
	add(Plan, planText, planSchema, cairn.ToolSpec{Host: cairn.HostEngine, Class: cairn.ClassRead})
	// A question that is put again is answered again.
	add(cairn.BuiltinAskPerson, askText, askSchema, cairn.ToolSpec{Host: cairn.HostPerson, Class: cairn.ClassRead})
	add(ReadResult, resultText, resultSchema, cairn.ToolSpec{Host: cairn.HostRuntime, Class: cairn.ClassRead})

	read := cairn.ToolSpec{Host: cairn.HostRuntime, Class: cairn.ClassRead, Files: cairn.AccessRead}
	add(cairn.BuiltinRead, readText, readSchema, read)
	add(cairn.BuiltinList, listText, listSchema, read)
	add(cairn.BuiltinSearch, searchText, searchSchema, read)

	write := cairn.ToolSpec{Host: cairn.HostRuntime, Class: cairn.ClassWorkspace, Files: cairn.AccessWrite}
	add(cairn.BuiltinWrite, writeText, writeSchema, write)
	add(cairn.BuiltinEdit, editText, editSchema, write)
	write.Timeout = cairn.Duration(maxCommandTime + commandMargin)
	add(cairn.BuiltinBash, bashText, bashSchema, write)
	add(cairn.BuiltinPython, pythonText, pythonSchema, write)

	// GET and HEAD; what an agent declares otherwise holds, see [cairn.EffectDecl].
	add(cairn.BuiltinHTTP, httpText, httpSchema, cairn.ToolSpec{Host: cairn.HostRuntime, Class: cairn.ClassRead})
	return all
}
