package google

import (
	"encoding/json"
	"math"
	"strings"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/model"
	"github.com/cairn-run/cairn/model/wire"
)

// maxStops is how many stop sequences the API takes
// (https://ai.google.dev/api/generate-content#generationconfig).
const maxStops = 5

// EncodeRequest is the body of a request; see [NewRequest].
func EncodeRequest(provider string, r *cairn.ModelRequest) ([]byte, error) {
	req, err := NewRequest(provider, r)
	if err != nil {
		return nil, err
	}
	return wire.Encode(req)
}

// NewRequest puts a request into Google's form. Provider is the name under which
// this endpoint's own blocks are in the history. CodeInvalid: the wire cannot
// carry something of it.
func NewRequest(provider string, r *cairn.ModelRequest) (*Request, error) {
	if err := r.Validate(); err != nil {
		return nil, invalid(err.Error())
	}
	if len(r.Params.Stop) > maxStops {
		return nil, invalid("there are more than five stop sequences")
	}
	_, name := model.Split(r.Model)
	h := history{provider: provider, signed: generation(name) >= 3}
	for i := range r.Messages {
		if err := h.add(&r.Messages[i]); err != nil {
			return nil, err
		}
	}
	if len(h.contents) == 0 {
		return nil, invalid("the messages are empty")
	}
	req := &Request{Contents: h.contents, GenerationConfig: &GenerationConfig{
		StopSequences:   r.Params.Stop,
		MaxOutputTokens: min(r.Params.MaxOutput, math.MaxInt32), // an int32 in the API
		Temperature:     r.Params.Temperature,
		TopP:            r.Params.TopP,
	}}
	var system []string
	if r.System != "" {
		system = append(system, r.System)
	}
	if len(r.Tools) > 0 {
		tool := Tool{FunctionDeclarations: make([]FunctionDeclaration, len(r.Tools))}
		for i, t := range r.Tools {
			tool.FunctionDeclarations[i] = FunctionDeclaration{Name: t.Name, Description: t.Description, ParametersJSONSchema: t.InputSchema}
		}
		req.Tools = []Tool{tool}
		if r.Params.NoTools {
			req.ToolConfig = &ToolConfig{FunctionCallingConfig{Mode: "NONE"}}
		}
	}
	switch schema := r.Params.OutputSchema; {
	case len(schema) == 0:
	case len(r.Tools) == 0 || h.signed:
		req.GenerationConfig.ResponseMIMEType = "application/json"
		req.GenerationConfig.ResponseJSONSchema = schema
	default:
		// Before Gemini 3, "Function calling with a response mime type:
		// 'application/json' is unsupported"
		// (https://ai.google.dev/gemini-api/docs/structured-output): the model is asked
		// for it in words.
		system = append(system, "When no more function is to be called, answer with one JSON document and nothing else. "+
			"It has to fit this JSON Schema:\n"+string(wire.Compact(schema)))
	}
	if len(system) > 0 {
		req.SystemInstruction = &Content{}
		for _, s := range system {
			raw, err := wire.Encode(Part{Text: &s})
			if err != nil {
				return nil, err
			}
			req.SystemInstruction.Parts = append(req.SystemInstruction.Parts, raw)
		}
	}
	return req, nil
}

func invalid(why string) *cairn.Error {
	return &cairn.Error{Code: cairn.CodeInvalid, Message: "the request cannot be put to Google: " + why, NotDone: true}
}

// history makes contents of messages: one of each, so that the prefix of one turn
// is the prefix of the next. Google takes turns of one role after each other.
type history struct {
	provider string
	// signed: the model refuses a function call without a signature.
	signed   bool
	contents []Content
	calls    []called // of the message before
}

// called is a call that waits for its result: how Google knows it.
type called struct{ name, id string }

func (h *history) add(m *cairn.Message) error {
	c := Content{Role: "user"}
	var err error
	switch m.Role {
	case cairn.RoleAssistant:
		c.Role = "model"
		c.Parts, err = h.answer(m.Content)
	case cairn.RoleTool:
		c.Parts, err = h.results(m.Content)
	default:
		for i := range m.Content {
			if c.Parts, err = appendPart(c.Parts, &m.Content[i]); err != nil {
				break
			}
		}
	}
	if err != nil {
		return err
	}
	// Nothing is left of an answer that was another provider's thoughts, and a turn
	// without parts is refused.
	if len(c.Parts) > 0 {
		h.contents = append(h.contents, c)
	}
	return nil
}

// unsigned stands where a call has no signature, because another model made it:
// Gemini 3 refuses the first call of a turn without one, and skips the check for
// this value (https://ai.google.dev/gemini-api/docs/thought-signatures#faqs). It
// is base64 of "skip_thought_signature_validator".
const unsigned = "c2tpcF90aG91Z2h0X3NpZ25hdHVyZV92YWxpZGF0b3I="

// answer encodes what a model said, this provider's own parts verbatim.
func (h *history) answer(parts []cairn.Part) ([]json.RawMessage, error) {
	h.calls = nil
	var out []json.RawMessage
	for i := range parts {
		p := &parts[i]
		own := p.Provider == h.provider && len(p.Opaque) > 0 && json.Valid(p.Opaque)
		switch {
		case p.Kind == cairn.PartToolCall:
			raw, call, err := h.call(p, own)
			if err != nil {
				return nil, err
			}
			h.calls = append(h.calls, call)
			out = append(out, raw)
		case own:
			out = append(out, wire.Compact(p.Opaque))
		case p.Kind == cairn.PartOpaque, p.Kind == cairn.PartReasoning && p.Provider != h.provider:
		default:
			more, err := appendPart(out, p)
			if err != nil { // another model made it
				note := cairn.Text(unseen(p))
				if more, err = appendPart(out, &note); err != nil {
					return nil, err
				}
			}
			out = more
		}
	}
	return out, nil
}

// call encodes a call. Ids that Google did not give do not go to it: it knows
// calls by their order then, and Vertex AI's older models know no ids at all.
func (h *history) call(p *cairn.Part, own bool) (json.RawMessage, called, error) {
	first := len(h.calls) == 0
	if own {
		fields := map[string]json.RawMessage{}
		var fc FunctionCall
		if json.Unmarshal(p.Opaque, &fields) == nil && json.Unmarshal(fields["functionCall"], &fc) == nil && fc.Name != "" {
			raw := wire.Compact(p.Opaque)
			if _, ok := fields["thoughtSignature"]; !ok && first && h.signed {
				raw = append(raw[:len(raw)-1:len(raw)-1], `,"thoughtSignature":"`+unsigned+`"}`...)
			}
			return raw, called{fc.Name, fc.ID}, nil
		}
	}
	part := Part{FunctionCall: &FunctionCall{Name: function(p.Tool), Args: arguments(p.Args)}}
	if first && h.signed {
		part.ThoughtSignature = unsigned
	}
	raw, err := wire.Encode(part)
	return raw, called{name: part.FunctionCall.Name}, err
}

// arguments are the args of a call. They have to be an object: of what the model
// wrote and is none, nothing can be said to Google; the result says what is wrong.
func arguments(args string) json.RawMessage {
	raw := json.RawMessage(strings.TrimSpace(args))
	if len(raw) == 0 || raw[0] != '{' || !json.Valid(raw) {
		return json.RawMessage("{}")
	}
	return wire.Compact(raw)
}

// appendPart encodes text, thoughts, images and files. Text that is empty is left
// out: Vertex AI refuses it.
func appendPart(out []json.RawMessage, p *cairn.Part) ([]json.RawMessage, error) {
	var part Part
	switch p.Kind {
	case cairn.PartText, cairn.PartReasoning:
		if p.Text == "" {
			return out, nil
		}
		part.Text, part.Thought = &p.Text, p.Kind == cairn.PartReasoning
	case cairn.PartImage, cairn.PartFile:
		if s, ok := readable(p); ok {
			if s == "" {
				return out, nil
			}
			part.Text = &s
			break
		}
		if !carried(p.MediaType) {
			return nil, invalid("it takes no files of type " + quote(p.MediaType) + ": send text, PDF, images, audio or video")
		}
		part.InlineData = &Blob{MIMEType: blobType(p.MediaType), Data: p.Data}
	default:
		return nil, invalid("a part of kind " + quote(string(p.Kind)))
	}
	raw, err := wire.Encode(part)
	if err != nil {
		return nil, err
	}
	return append(out, raw), nil
}
