package mcp

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/cairn-run/cairn"
)

// wireError is the server's own error inside err, nil if there is none. The SDK
// uses the same type for what its own connection says (the codes below, of its
// package jsonrpc2).
func wireError(err error) *jsonrpc.Error {
	w, _ := errors.AsType[*jsonrpc.Error](err)
	if w != nil && w.Code <= clientClosing && w.Code >= rejected {
		return nil
	}
	return w
}

// Codes of the SDK's own connection: it is closing (two of them), or the
// transport did not get the message through.
const (
	clientClosing = -32003
	rejected      = -32005
)

// refusal are the JSON-RPC codes of a request that was not begun.
func refusal(code int64) bool {
	switch code {
	case jsonrpc.CodeParseError, jsonrpc.CodeInvalidRequest, jsonrpc.CodeMethodNotFound, jsonrpc.CodeInvalidParams:
		return true
	}
	return false
}

// resultOf turns a server's result into ours.
func resultOf(r *sdk.CallToolResult) (*cairn.ToolResult, error) {
	if r.NeedsInput() {
		return nil, &cairn.Error{Code: cairn.CodeToolFailed, Message: "the MCP server asks for input from a person, which is not passed on"}
	}
	out := &cairn.ToolResult{Content: []cairn.Part{}, IsError: r.IsError}
	for _, c := range r.Content {
		if p, ok := partOf(c); ok {
			out.Content = append(out.Content, p)
		}
	}
	if r.StructuredContent != nil {
		b, err := structured(r.StructuredContent, out.Content)
		if err != nil {
			return nil, &cairn.Error{Code: cairn.CodeToolFailed, Message: "the structured content of the MCP server's answer cannot be read", Err: err}
		}
		out.Structured = b
		if len(out.Content) == 0 { // a model reads content only
			out.Content = append(out.Content, cairn.Text(string(b)))
		}
	}
	return out, nil
}

// structured is the JSON of a result. The SDK reads numbers as floating point;
// servers send the same JSON as text as well (MCP, structured content), and
// where it means the same its digits are kept.
func structured(v any, content []cairn.Part) (json.RawMessage, error) {
	if len(content) == 1 && content[0].Kind == cairn.PartText {
		text := []byte(content[0].Text)
		var same any
		if json.Unmarshal(text, &same) == nil && reflect.DeepEqual(same, v) {
			return cairn.Canonical(text)
		}
	}
	b, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	return cairn.Canonical(b)
}

func partOf(c sdk.Content) (cairn.Part, bool) {
	switch c := c.(type) {
	case *sdk.TextContent:
		return cairn.Text(c.Text), true
	case *sdk.ImageContent:
		return cairn.Part{Kind: cairn.PartImage, MediaType: c.MIMEType, Data: c.Data}, true
	case *sdk.AudioContent:
		return cairn.Part{Kind: cairn.PartFile, MediaType: c.MIMEType, Data: c.Data}, true
	case *sdk.ResourceLink:
		return cairn.Text(fmt.Sprintf("[%s: %s]", c.Name, c.URI)), true
	case *sdk.EmbeddedResource:
		r := c.Resource
		switch {
		case r == nil:
			return cairn.Part{}, false
		case len(r.Blob) > 0:
			return cairn.Part{Kind: cairn.PartFile, MediaType: r.MIMEType, Data: r.Blob}, true
		}
		return cairn.Text(r.Text), true
	}
	return cairn.Part{}, false
}

// schemaOf is the canonical form of a tool's input schema.
func schemaOf(v any) (json.RawMessage, error) {
	if v == nil {
		return nil, nil
	}
	b, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	if bytes.Equal(b, []byte("null")) {
		return nil, nil
	}
	return cairn.Canonical(b)
}

// classOf is what a server claims of a tool. That a tool does not destroy says
// nothing of what a repeat would do.
func classOf(a *sdk.ToolAnnotations) cairn.EffectClass {
	switch {
	case a == nil:
		return cairn.ClassIrreversible
	case a.ReadOnlyHint:
		return cairn.ClassRead
	case a.IdempotentHint:
		return cairn.ClassIdempotent
	}
	return cairn.ClassIrreversible
}
