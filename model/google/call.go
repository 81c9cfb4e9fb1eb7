package google

import (
	"encoding/json"
	"slices"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/model/wire"
)

// function takes a part with a function call: a whole one, or with Vertex AI's
// streamFunctionCallArguments the beginning of one, or the continuation of the one
// that is open. Continuations have no name; the last says no willContinue
// (https://cloud.google.com/vertex-ai/generative-ai/docs/multimodal/function-calling#streaming-fc).
func (s *Stream) function(raw json.RawMessage, fields map[string]json.RawMessage) error {
	var fc FunctionCall
	if json.Unmarshal(fields["functionCall"], &fc) != nil {
		return wire.Malformed(s.provider, "a function call that is not one")
	}
	if string(fc.Args) == "null" {
		fc.Args = nil
	}
	if len(fc.Args) > 0 && fc.Args[0] != '{' {
		return wire.Malformed(s.provider, "a function call whose arguments are not an object")
	}
	if fc.Name != "" {
		s.cutCall() // one that was not ended stays broken
		b := &builder{kind: cairn.PartToolCall, closed: true, callID: s.callID(fc.ID), call: FunctionCall{Name: fc.Name, ID: fc.ID}}
		s.parts = append(s.parts, b)
		if !fc.WillContinue && len(fc.PartialArgs) == 0 {
			b.raw, b.call.Args = raw, fc.Args
			s.called(b, true)
			return nil
		}
		s.open = b
	}
	if s.open == nil {
		if len(fc.PartialArgs) == 0 && len(fc.Args) == 0 {
			return nil // the end of a call that has ended already
		}
		return wire.Malformed(s.provider, "arguments of no function call")
	}
	if err := s.open.extend(&fc, fields["thoughtSignature"]); err != "" {
		return wire.Malformed(s.provider, err)
	}
	if !fc.WillContinue {
		s.closeCall(true)
	}
	return nil
}

// extend adds a piece to a call, or says what is wrong with it.
func (b *builder) extend(fc *FunctionCall, signature json.RawMessage) string {
	if b.signature == "" {
		b.signature, _ = str(signature)
	}
	if b.call.ID == "" {
		b.call.ID = fc.ID
	}
	if len(fc.Args) > 0 {
		b.call.Args = fc.Args
	}
	for i := range fc.PartialArgs {
		if b.args == nil {
			b.args = newTree()
		}
		if !b.args.set(&fc.PartialArgs[i]) {
			return "arguments that contradict each other"
		}
	}
	if b.args != nil && len(b.call.Args) > 0 {
		return "a function call with arguments in pieces and whole"
	}
	return ""
}

// cutCall closes a call that Google did not end before it stopped, or began
// another.
func (s *Stream) cutCall() {
	if s.open != nil {
		s.closeCall(false)
	}
}

// closeCall makes of a call in pieces the part that it would have been in one.
func (s *Stream) closeCall(whole bool) {
	b := s.open
	s.open = nil
	switch {
	case b.args != nil:
		b.call.Args = b.args.encode()
	case len(b.call.Args) == 0:
		b.call.Args = json.RawMessage("{}")
	}
	b.raw, _ = wire.Encode(Part{FunctionCall: &b.call, ThoughtSignature: b.signature}) // valid parts of JSON
	s.called(b, whole)
}

// called ends a call. The arguments of one that was cut may be the half of a path:
// they are left without their last brace, so that nobody takes them for what the
// model meant.
func (s *Stream) called(b *builder, whole bool) {
	if len(b.call.Args) == 0 {
		b.call.Args = json.RawMessage("{}")
	}
	if !whole {
		b.call.Args = b.call.Args[:len(b.call.Args)-1]
	}
	s.deltas = append(s.deltas, cairn.Delta{
		Kind: cairn.PartToolCall, Index: slices.Index(s.parts, b), Text: string(b.call.Args), CallID: b.callID, Tool: b.call.Name,
	})
}
