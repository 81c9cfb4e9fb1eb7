package v1

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/cairn-run/cairn"
)

// Bounds of a message.
const (
	MaxBody = 1 << 20 // bytes of a request body
	// MaxAgentBody is bytes of a definition in JSON: its text, and the files of its
	// skills in base64.
	MaxAgentBody = 4<<20 + cairn.MaxSkillBytes/3*4
	MaxParts     = 8 << 20 // bytes of a request body that may hold parts
	maxParts     = 256     // parts of one message
)

// Part is a piece of a message that a client sends.
type Part struct {
	Kind      cairn.PartKind `json:"kind" enum:"text,image,file"`
	Text      string         `json:"text,omitzero" doc:"of kind text"`
	MediaType string         `json:"media_type,omitzero" doc:"of kind image and file"`
	Data      []byte         `json:"data,omitempty" doc:"of kind image and file, base64"`
}

// Content is a message: a string in requests that are only text, else a list of
// parts.
type Content []Part

// Text is a message of one text part.
func Text(s string) Content { return Content{{Kind: cairn.PartText, Text: s}} }

// UnmarshalJSON reads a string or a list of parts.
func (c *Content) UnmarshalJSON(b []byte) error {
	if len(b) > 0 && b[0] == '"' {
		var s string
		if err := json.Unmarshal(b, &s); err != nil {
			return err
		}
		*c = Text(s)
		return c.check()
	}
	if string(b) == "null" {
		*c = nil
		return nil
	}
	var parts []Part
	if err := Decode(b, &parts); err != nil {
		return fmt.Errorf("content is a string, or a list of parts {kind, text} or {kind, media_type, data}: %w", err)
	}
	*c = parts
	return c.check()
}

// check says what is wrong with the parts.
func (c Content) check() error {
	if len(c) == 0 {
		return errors.New("content is empty")
	}
	if len(c) > maxParts {
		return fmt.Errorf("content has %d parts, more than %d", len(c), maxParts)
	}
	for i, p := range c {
		switch p.Kind {
		case cairn.PartText:
			if p.Text == "" {
				return fmt.Errorf("content[%d]: the text is empty", i)
			}
			if p.MediaType != "" || len(p.Data) > 0 {
				return fmt.Errorf("content[%d]: a text has no media_type and no data", i)
			}
		case cairn.PartImage, cairn.PartFile:
			if p.MediaType == "" || len(p.Data) == 0 {
				return fmt.Errorf("content[%d]: give media_type and data", i)
			}
			if p.Text != "" {
				return fmt.Errorf("content[%d]: text belongs into a part of its own", i)
			}
		default:
			return fmt.Errorf("content[%d]: kind %q cannot be sent; use text, image or file", i, p.Kind)
		}
	}
	return nil
}

// Parts returns the content in the runtime's own form.
func (c Content) Parts() []cairn.Part {
	if len(c) == 0 {
		return nil
	}
	parts := make([]cairn.Part, len(c))
	for i, p := range c {
		parts[i] = cairn.Part{Kind: p.Kind, Text: p.Text, MediaType: p.MediaType, Data: p.Data}
	}
	return parts
}
