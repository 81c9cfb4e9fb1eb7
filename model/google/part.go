package google

import (
	"bytes"
	"encoding/json"
	"strings"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/model/wire"
)

// builder is a part of the answer that is being made.
type builder struct {
	kind cairn.PartKind
	text strings.Builder
	// literal is the text as Google wrote it, without quotes; pieces, how many parts
	// it was; raw, the part, if there was one.
	literal []byte
	pieces  int
	raw     json.RawMessage
	closed  bool // nothing is added to it any more

	call      FunctionCall // without partialArgs
	callID    string
	signature string
	args      *tree // what has come of arguments in pieces; nil: none has

	mediaType string
	data      []byte
}

// part makes the finished part. Its raw form stays with it if it says more than
// the other fields: if they would be encoded to anything else.
func (b *builder) part(provider string) cairn.Part {
	p := cairn.Part{Kind: b.kind, Text: b.text.String()}
	raw := b.raw
	switch b.kind {
	case cairn.PartOpaque:
		p.Provider, p.Opaque = provider, raw
		return p
	case cairn.PartText, cairn.PartReasoning:
		if b.pieces > 1 {
			raw = append([]byte(`{"text":"`), b.literal...)
			raw = append(raw, '"')
			if b.kind == cairn.PartReasoning {
				raw = append(raw, `,"thought":true`...)
			}
			raw = append(raw, '}')
		}
	case cairn.PartToolCall:
		p.Tool, p.CallID, p.Args = b.call.Name, b.callID, string(b.call.Args)
	case cairn.PartImage, cairn.PartFile:
		p.MediaType, p.Data = b.mediaType, b.data
	}
	if b.kind == cairn.PartReasoning {
		p.Provider = provider // it is of no use to another
	}
	if !bytes.Equal(raw, canonical(&p)) {
		p.Provider, p.Opaque = provider, raw
	}
	return p
}

// canonical is how a part is encoded from its fields.
func canonical(p *cairn.Part) json.RawMessage {
	if p.Kind == cairn.PartToolCall {
		raw, _ := wire.Encode(Part{FunctionCall: &FunctionCall{Name: p.Tool, Args: arguments(p.Args)}})
		return raw
	}
	out, err := appendPart(nil, p)
	if err != nil || len(out) != 1 {
		return nil
	}
	return out[0]
}

// part takes one part of a chunk, compact.
func (s *Stream) part(raw json.RawMessage) error {
	var fields map[string]json.RawMessage // keys as they are: a struct would ignore their case
	if json.Unmarshal(raw, &fields) != nil || fields == nil {
		return wire.Malformed(s.provider, "a part that is not an object")
	}
	thought := string(fields["thought"]) == "true"
	switch {
	case len(fields) == 0:
		return nil
	case fields["functionCall"] != nil:
		return s.function(raw, fields)
	case fields["text"] != nil:
		text, ok := str(fields["text"])
		if !ok {
			break
		}
		more := len(fields) - 1
		if _, ok := fields["thought"]; ok {
			more--
		}
		if text == "" && more == 0 {
			return nil // see the package's comment
		}
		if text == "" && !thought {
			break // for another provider there is nothing in it
		}
		kind := cairn.PartText
		if thought {
			kind = cairn.PartReasoning
		}
		s.said(kind, text, fields["text"], raw, more > 0)
		return nil
	case fields["inlineData"] != nil && !thought:
		b, ok := media(fields["inlineData"])
		if !ok {
			break
		}
		b.raw = raw
		s.parts = append(s.parts, b)
		return nil
	}
	s.parts = append(s.parts, &builder{kind: cairn.PartOpaque, raw: raw, closed: true})
	return nil
}

// media is a part that has data in it.
func media(raw json.RawMessage) (*builder, bool) {
	var blob struct {
		MIMEType string  `json:"mimeType"`
		Data     *[]byte `json:"data"`
	}
	if err := json.Unmarshal(raw, &blob); err != nil || blob.Data == nil || blob.MIMEType == "" {
		return nil, false
	}
	b := &builder{kind: cairn.PartFile, closed: true, mediaType: blob.MIMEType, data: *blob.Data}
	if strings.HasPrefix(blob.MIMEType, "image/") {
		b.kind = cairn.PartImage
	}
	return b, true
}

// str is a JSON string's text.
func str(raw json.RawMessage) (string, bool) {
	var s string
	ok := len(raw) > 1 && raw[0] == '"' && json.Unmarshal(raw, &s) == nil
	return s, ok
}

// said adds text to the part before, if that is of the same kind and neither has
// more in it than text.
func (s *Stream) said(kind cairn.PartKind, text string, literal, raw json.RawMessage, alone bool) {
	at := len(s.parts) - 1
	if alone || at < 0 || s.parts[at].kind != kind || s.parts[at].closed {
		s.parts = append(s.parts, &builder{kind: kind, raw: raw, closed: alone})
		at++
	}
	b := s.parts[at]
	b.text.WriteString(text)
	b.literal = append(b.literal, literal[1:len(literal)-1]...)
	b.pieces++
	s.deltas = append(s.deltas, cairn.Delta{Kind: kind, Index: at, Text: text})
}
