package builtin

import (
	"context"
	"encoding/json"
	"unicode/utf8"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/tool"
)

// ReadResult is the name of the tool that reads on in a result of which requests
// show the beginning and the end only.
const ReadResult = cairn.BuiltinReadResult

const resultText = "Read more of a tool result that was too long to be shown whole."

const resultSchema = `{
  "type": "object",
  "properties": {
    "result": {"type": "integer", "minimum": 1, "description": "The number of the result, as the note in it says."},
    "offset": {"type": "integer", "minimum": 0, "description": "The first byte to read; default 0."},
    "limit": {"type": "integer", "minimum": 1, "maximum": 65536, "description": "How many bytes to read; default 8192."}
  },
  "required": ["result"],
  "additionalProperties": false
}`

const defaultLimit = 8192 // bytes

// Results reads the recorded result of a tool call of a session, by the number of
// its event. CodeNotFound: there is none.
type Results func(ctx context.Context, s cairn.SessionKey, n cairn.Seq) (*cairn.ToolResult, error)

// readResult shows a piece of a recorded result.
func (d *Driver) readResult(ctx context.Context, c tool.Call) (*cairn.ToolResult, error) {
	if d.o.Results == nil {
		return nil, &cairn.Error{Code: cairn.CodeInternal, Message: "results cannot be read here", NotDone: true}
	}
	var args struct {
		Result cairn.Seq `json:"result"`
		Offset int64     `json:"offset"`
		Limit  int64     `json:"limit"`
	}
	if err := json.Unmarshal(c.Args, &args); err != nil {
		return nil, &cairn.Error{Code: cairn.CodeInvalidArgs, Message: err.Error(), NotDone: true}
	}
	r, err := d.o.Results(ctx, cairn.SessionKey{Tenant: c.Tenant, ID: c.Session}, args.Result)
	if cairn.CodeOf(err) == cairn.CodeNotFound {
		return said(true, "There is no result %d in this session.", args.Result), nil
	}
	if err != nil {
		return nil, err
	}
	text := cairn.TextOf(r.Content)
	all := int64(len(text))
	if args.Offset >= all {
		return said(true, "Result %d has %d bytes.", args.Result, all), nil
	}
	limit := args.Limit
	if limit == 0 {
		limit = defaultLimit
	}
	from, to := args.Offset, min(all, args.Offset+limit)
	for from > 0 && !utf8.RuneStart(text[from]) {
		from--
	}
	for to < all && !utf8.RuneStart(text[to]) {
		to++
	}
	return said(false, "[bytes %d to %d of %d]\n%s", from, to, all, text[from:to]), nil
}
