package anthropic

import (
	"bytes"
	"encoding/json"

	"github.com/cairn-run/cairn/model/wire"
)

// Kinds of content blocks that this package looks into. There are more, and more
// to come: they are kept as they are.
const (
	BlockText       = "text"
	BlockThinking   = "thinking"
	BlockToolUse    = "tool_use"
	BlockToolResult = "tool_result"
	BlockImage      = "image"
	BlockDocument   = "document"
	blockFallback   = "fallback"
)

// Block is a piece of a message's content.
type Block struct {
	Type string
	Text string // of text

	Thinking  string // of thinking
	Signature string

	ID    string // of tool_use
	Name  string
	Input json.RawMessage

	ToolUseID string // of tool_result
	Content   Blocks
	IsError   bool

	Source *Source // of image and document

	// CacheControl marks the end of what the provider is to cache.
	CacheControl *CacheControl

	// Raw is the block as it was received, without white space; its own
	// cache_control is in there. A block that has it is written as it, whatever the
	// other fields say.
	Raw json.RawMessage
}

// Blocks are a message's content. In JSON a lone string stands for one text block.
type Blocks []Block

// Source is where an image or a document is: "base64" and "text" carry it in Data.
type Source struct {
	Type      string `json:"type"`
	MediaType string `json:"media_type,omitzero"`
	Data      string `json:"data,omitzero"`
	URL       string `json:"url,omitzero"`
	FileID    string `json:"file_id,omitzero"`
}

// CacheControl is a breakpoint of the prompt cache
// (https://platform.claude.com/docs/en/build-with-claude/prompt-caching).
type CacheControl struct {
	Type string `json:"type"`         // "ephemeral"
	TTL  string `json:"ttl,omitzero"` // "5m", the default, or "1h"
}

// MarshalJSON writes the raw form, or the fields that the type has.
func (b Block) MarshalJSON() ([]byte, error) {
	var o object
	if b.Raw != nil {
		if b.CacheControl == nil {
			return b.Raw, nil
		}
		if o, _ = parseObject(b.Raw); o == nil {
			return b.Raw, nil
		}
	} else {
		o = b.fields()
	}
	if b.CacheControl != nil {
		raw, err := wire.Encode(b.CacheControl)
		if err != nil {
			return nil, err
		}
		o.set("cache_control", raw)
	}
	return o.encode(), nil
}

// fields is a block without a raw form, in the order in which the API writes it.
func (b *Block) fields() object {
	o := object{{"type", quote(b.Type)}}
	switch b.Type {
	case BlockText:
		o.setText("text", b.Text)
	case BlockThinking:
		o.setText("thinking", b.Thinking)
		if b.Signature != "" {
			o.setText("signature", b.Signature)
		}
	case BlockToolUse:
		o.setText("id", b.ID)
		o.setText("name", b.Name)
		input := b.Input
		if !json.Valid(input) {
			input = json.RawMessage(`{}`)
		}
		o.set("input", input)
	case BlockToolResult:
		o.setText("tool_use_id", b.ToolUseID)
		if len(b.Content) > 0 {
			raw, _ := wire.Encode(b.Content) // blocks of blocks and strings
			o.set("content", raw)
		}
		if b.IsError {
			o.set("is_error", json.RawMessage("true"))
		}
	case BlockImage, BlockDocument:
		raw, _ := wire.Encode(b.Source) // strings
		o.set("source", raw)
	}
	return o
}

// UnmarshalJSON reads any block. What it does not know is in Raw.
func (b *Block) UnmarshalJSON(raw []byte) error {
	*b = readBlock(raw, true)
	return nil
}

// readBlock reads a block, and the blocks in it if it is not one of those itself:
// the API has no deeper ones.
func readBlock(raw []byte, inner bool) Block {
	b := Block{Raw: wire.Compact(raw)}
	o, ok := parseObject(raw)
	if !ok {
		return b
	}
	b.Type = o.text("type")
	switch b.Type {
	case BlockText:
		b.Text = o.text("text")
	case BlockThinking:
		b.Thinking, b.Signature = o.text("thinking"), o.text("signature")
	case BlockToolUse:
		b.ID, b.Name, b.Input = o.text("id"), o.text("name"), o.get("input")
	case BlockToolResult:
		b.ToolUseID = o.text("tool_use_id")
		_ = json.Unmarshal(o.get("is_error"), &b.IsError) // anything else is false
		if inner {
			b.Content = readBlocks(o.get("content"), false)
		}
	case BlockImage, BlockDocument:
		_ = json.Unmarshal(o.get("source"), &b.Source) // what does not fit is in Raw
	}
	return b
}

// UnmarshalJSON reads a list of blocks or a string. Anything else is no content.
func (b *Blocks) UnmarshalJSON(raw []byte) error {
	*b = readBlocks(raw, true)
	return nil
}

// readBlocks reads content: a list or a string, of anything else nothing.
func readBlocks(raw []byte, inner bool) Blocks {
	raw = bytes.TrimSpace(raw)
	if len(raw) == 0 {
		return nil
	}
	switch raw[0] {
	case '"':
		var s string
		if json.Unmarshal(raw, &s) != nil {
			return nil
		}
		return Blocks{{Type: BlockText, Text: s}}
	case '[':
		var list []json.RawMessage
		if json.Unmarshal(raw, &list) != nil {
			return nil
		}
		out := make(Blocks, len(list))
		for i, item := range list {
			out[i] = readBlock(item, inner)
		}
		return out
	}
	return nil
}
