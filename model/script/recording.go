package script

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/model"
)

// Recording is what models said to requests that were really made. A request is
// known by its [Request]; it gets what was said the first time it was made, and
// one that was never made fails with CodeInvalid.
//
// The attempts at one request have a number: attempt n gets what was recorded as
// attempt n, or as the next one after it where that one was not made (a circuit
// was open, a process died); after the last one the last one is repeated.
type Recording struct {
	Models []cairn.ModelInfo // by full name
	Calls  []Recorded        // in the order in which they ended
}

// Recorded is one attempt at a call, and how it ended.
type Recorded struct {
	Model   string // full name of the model that was asked
	Call    int    // attempts at one call have one number
	Attempt int    // from 1
	Request Request
	Answer  *cairn.ModelAnswer // nil: it failed
	Failure *model.Failure     // nil: it was answered
}

// Request is what a recording knows a request by. It looks at what a model is
// asked: not at who is asked, nor at the cap of the answer, and not at the
// reasoning and the opaque forms in the history, which only their own provider
// is sent. So a request is the same after a switch of the model.
type Request struct {
	Turn int // assistant messages with content that any model is sent
	// Setup is the hash of instructions, tools and parameters, Messages that of the
	// conversation: 128 bits of SHA-256 in hexadecimal digits.
	Setup, Messages string
}

// hashDigits is the length of a hash in a file.
const hashDigits = 32

// RequestOf is what a request is known by in recordings.
func RequestOf(r *cairn.ModelRequest) Request {
	setup := sha256.New()
	digest(setup, "system", r.System)
	for i := range r.Tools {
		t := &r.Tools[i]
		digest(setup, "tool", t.Name, t.Description, string(t.InputSchema))
	}
	params := r.Params
	params.MaxOutput = 0
	p, err := json.Marshal(params)
	if err != nil { // an output schema that is no JSON
		p = params.OutputSchema
	}
	digest(setup, "params", string(p))

	messages := sha256.New()
	turn := 0
	for i := range r.Messages {
		m := &r.Messages[i]
		if m.Role == cairn.RoleAssistant {
			if !slices.ContainsFunc(m.Content, shared) {
				continue
			}
			turn++
		}
		digest(messages, "message", string(m.Role))
		for j := range m.Content {
			if m.Role != cairn.RoleAssistant || shared(m.Content[j]) {
				digestPart(messages, &m.Content[j])
			}
		}
	}
	return Request{Turn: turn, Setup: sum(setup), Messages: sum(messages)}
}

// shared says whether any provider is sent a part of an answer.
func shared(p cairn.Part) bool {
	return p.Kind != cairn.PartOpaque && p.Kind != cairn.PartReasoning && (p.Kind != cairn.PartText || p.Text != "")
}

func digestPart(h hash.Hash, p *cairn.Part) {
	digest(h, "part", string(p.Kind), p.Text, p.CallID, p.Tool, p.Args, fmt.Sprint(p.IsError), p.MediaType, string(p.Data))
	for i := range p.Parts {
		digestPart(h, &p.Parts[i])
	}
	digest(h, "end")
}

// digest adds texts to a hash, each with its length, so that no two lists of them
// look alike.
func digest(h hash.Hash, texts ...string) {
	for _, s := range texts {
		fmt.Fprintf(h, "%d:%s", len(s), s)
	}
	_, _ = h.Write([]byte{'\n'}) // a hash takes all
}

func sum(h hash.Hash) string { return fmt.Sprintf("%x", h.Sum(nil))[:hashDigits] }

// find is what was recorded of an attempt at a request; of one model, or of any
// if none is named. The error says why there is nothing.
func (r *Recording) find(asked Request, of string, attempt int) (*Recorded, error) {
	var best *Recorded
	for i := range r.Calls {
		c := &r.Calls[i]
		if c.Request != asked || of != "" && c.Model != of {
			continue
		}
		if best != nil && c.Call != best.Call {
			continue // the request was made again later
		}
		best = c
		if c.Attempt >= attempt {
			break
		}
	}
	if best == nil {
		return nil, r.missing(asked, of)
	}
	return best, nil
}

// missing says what of a request was not recorded.
func (r *Recording) missing(asked Request, of string) error {
	turn, messages, other := false, false, ""
	for i := range r.Calls {
		c := &r.Calls[i]
		if c.Request == asked && other == "" {
			other = c.Model
		}
		if of != "" && c.Model != of {
			continue
		}
		turn = turn || c.Request.Turn == asked.Turn
		messages = messages || c.Request.Messages == asked.Messages
	}
	switch {
	case other != "":
		return fmt.Errorf("the recording has it of %s, not of %s", other, of)
	case messages:
		return errors.New("the recording has this conversation with other instructions, tools or parameters")
	case turn:
		return fmt.Errorf("the recording has another conversation at turn %d", asked.Turn)
	}
	return fmt.Errorf("the recording has nothing of turn %d", asked.Turn)
}

// info is what is known of a recorded model; empty: of the one that was asked first.
func (r *Recording) info(of string) (cairn.ModelInfo, bool) {
	if asked, answered, ok := strings.Cut(of, servedMark); ok && len(r.Calls) > 0 {
		if asked = strings.TrimSuffix(asked, "/"); asked == "" {
			asked = r.Calls[0].Model
		}
		provider, _ := model.Split(asked)
		of = provider + "/" + answered
	}
	if of == "" && len(r.Calls) > 0 {
		of = r.Calls[0].Model
	}
	for i := range r.Models {
		if r.Models[i].Name == of || of == "" {
			return r.Models[i], true
		}
	}
	return cairn.ModelInfo{}, false
}

// servedMark stands before the name of a model that answered for another.
const servedMark = "*/"

// Served is the name by which Info knows the model that answered, where that is
// not the one that was asked: of a recording, whose answers name real models.
func Served(asked, answered string) string { return asked + "/" + servedMark + answered }

// replay plans what was recorded of an attempt.
func (s *Script) replay(name, of string, r *cairn.ModelRequest, attempt int) (*plan, *model.Failure) {
	asked := RequestOf(r)
	c, err := s.Recording.find(asked, of, attempt)
	if err != nil {
		return nil, invalid("script %q: this request was not recorded: %v (it ends with %s; request %s/%s)",
			name, err, ending(r), asked.Setup, asked.Messages)
	}
	p := &plan{delay: s.Delay, stream: s.Stream}
	if c.Failure != nil {
		f := *c.Failure
		e := *f.Err
		f.Err, f.RawUsage = &e, slices.Clone(f.RawUsage)
		if f.Usage != nil {
			u := *f.Usage
			f.Usage = &u
		}
		p.failed = &f
		return p, nil
	}
	a := *c.Answer
	a.Content = slices.Clone(a.Content)
	for i := range a.Content {
		a.Content[i].Data = slices.Clone(a.Content[i].Data)
		a.Content[i].Opaque = slices.Clone(a.Content[i].Opaque)
	}
	a.RawUsage, a.Beside = slices.Clone(a.RawUsage), slices.Clone(a.Beside)
	p.answer = &a
	return p, nil
}

// maxQuoted bounds what a message quotes of a request, in bytes.
const maxQuoted = 80

// ending describes the last message of a request.
func ending(r *cairn.ModelRequest) string {
	if len(r.Messages) == 0 {
		return "nothing"
	}
	m := &r.Messages[len(r.Messages)-1]
	var text strings.Builder
	for i := range m.Content {
		if m.Content[i].Kind == cairn.PartToolResult {
			text.WriteString(m.Content[i].Tool + ": ")
		}
		text.WriteString(m.Content[i].Text + " ")
	}
	s := strings.Join(strings.Fields(text.String()), " ")
	if len(s) > maxQuoted {
		s = s[:runes(s, maxQuoted)] + "…"
	}
	return fmt.Sprintf("%s %q", m.Role, s)
}

func (r *Recording) validate(path string) error {
	bad := func(path, format string, args ...any) error {
		return &cairn.FieldError{Path: path, Problem: fmt.Sprintf(format, args...)}
	}
	for i := range r.Models {
		m := &r.Models[i]
		if _, name := model.Split(m.Name); name == "" {
			return bad(fmt.Sprintf("%s.models[%d].name", path, i), "not a model: write provider/name")
		}
	}
	for i := range r.Calls {
		c := &r.Calls[i]
		at := fmt.Sprintf("%s.calls[%d]", path, i)
		switch {
		case c.Model == "":
			return bad(at+".model", "missing")
		case c.Attempt < 1:
			return bad(at+".attempt", "missing: they count from 1")
		case len(c.Request.Setup) != hashDigits || len(c.Request.Messages) != hashDigits:
			return bad(at+".request", "setup and messages have %d digits", hashDigits)
		case (c.Answer == nil) == (c.Failure == nil):
			return bad(at, "give either answer or fail")
		case c.Failure != nil:
			if err := validateFailure(at+".fail", c.Failure); err != nil {
				return err
			}
		default:
			if err := validateAnswer(at+".answer", c.Answer); err != nil {
				return err
			}
		}
	}
	return nil
}

func validateFailure(path string, f *model.Failure) error {
	switch {
	case f.Err == nil || f.Err.Code == "":
		return &cairn.FieldError{Path: path + ".code", Problem: "missing"}
	case f.Err.RetryAfter < 0:
		return &cairn.FieldError{Path: path + ".retry_after", Problem: "a negative time"}
	case !usageFits(f.Usage):
		return &cairn.FieldError{Path: path + ".usage", Problem: "a negative number, or more reasoning than output"}
	case len(f.RawUsage) > 0 && !json.Valid(f.RawUsage):
		return &cairn.FieldError{Path: path + ".raw_usage", Problem: "not JSON"}
	}
	return nil
}

func validateAnswer(path string, a *cairn.ModelAnswer) error {
	bad := func(field, problem string) error { return &cairn.FieldError{Path: path + field, Problem: problem} }
	switch {
	case a.Stop == "":
		return bad(".stop", "missing")
	case !usageFits(&a.Usage):
		return bad(".usage", "a negative number, or more reasoning than output")
	case len(a.RawUsage) > 0 && !json.Valid(a.RawUsage):
		return bad(".raw_usage", "not JSON")
	}
	for i := range a.Content {
		p := &a.Content[i]
		at := fmt.Sprintf(".content[%d]", i)
		switch p.Kind {
		case cairn.PartText, cairn.PartReasoning, cairn.PartImage, cairn.PartFile:
		case cairn.PartToolCall:
			if p.Tool == "" {
				return bad(at+".tool", "missing")
			}
		case cairn.PartOpaque:
			if len(p.Opaque) == 0 {
				return bad(at+".opaque", "missing")
			}
		default:
			return bad(at+".kind", fmt.Sprintf("%q is nothing a model says: use text, reasoning, tool_call, opaque, image or file", p.Kind))
		}
		if len(p.Opaque) > 0 && !json.Valid(p.Opaque) {
			return bad(at+".opaque", "not JSON")
		}
		if !utf8.ValidString(p.Text) {
			return bad(at+".text", "not UTF-8")
		}
	}
	return nil
}
