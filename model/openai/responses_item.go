package openai

import (
	"encoding/base64"
	"encoding/json"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/model/wire"
)

// itemPart makes a part of an item of an answer: there is one part for each item.
// The item is kept as it came, because none says less than our fields do.
func itemPart(provider string, rawItem json.RawMessage) cairn.Part {
	var it ResponsesItem
	own := wire.Compact(rawItem)
	p := cairn.Part{Kind: cairn.PartOpaque, Provider: provider, Opaque: own}
	if tolerate(rawItem, &it) != nil {
		return p
	}
	switch it.Type {
	case "message":
		if it.Role == "" || it.Role == "assistant" {
			p.Kind, p.Text = cairn.PartText, messageText(&it)
		}
	case "reasoning":
		p.Kind, p.Text = cairn.PartReasoning, reasoningText(&it)
	case "function_call":
		p.Kind, p.CallID, p.Tool, p.Args = cairn.PartToolCall, it.CallID, it.Name, argText(it.Arguments)
	case customCall:
		p.Kind, p.CallID, p.Tool, p.Args = cairn.PartToolCall, it.CallID, it.Name, argText(it.Input)
	case "image_generation_call":
		data, err := base64.StdEncoding.DecodeString(it.Result)
		if err != nil || len(data) == 0 {
			break
		}
		p.Kind, p.Data, p.MediaType = cairn.PartImage, data, imageType(data)
		if it.OutputFormat != "" {
			p.MediaType = "image/" + it.OutputFormat
		}
	}
	return p
}

// messageText is what a message says, refusals included.
func messageText(it *ResponsesItem) string {
	if !isList(it.Content) {
		return text(it.Content)
	}
	var b []byte
	for _, c := range contentParts(it) {
		b = append(b, c.Text...)
		b = append(b, c.Refusal...)
	}
	return string(b)
}

// reasoningText is what may be shown of reasoning: its summaries, and the reasoning
// itself where a model gives it.
func reasoningText(it *ResponsesItem) string {
	var texts []string
	for _, s := range it.Summary {
		if s.Text != "" {
			texts = append(texts, s.Text)
		}
	}
	for _, c := range contentParts(it) {
		if c.Text != "" {
			texts = append(texts, c.Text)
		}
	}
	return join(texts)
}

func contentParts(it *ResponsesItem) []ResponsesPart {
	var parts []ResponsesPart
	if !isList(it.Content) || tolerate(it.Content, &parts) != nil {
		return nil
	}
	return parts
}

// refuses says whether a message holds a refusal.
func refuses(rawItem json.RawMessage) bool {
	var it ResponsesItem
	if tolerate(rawItem, &it) != nil || it.Type != "message" {
		return false
	}
	for _, c := range contentParts(&it) {
		if c.Type == "refusal" {
			return true
		}
	}
	return false
}
