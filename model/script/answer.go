package script

import (
	"encoding/json"
	"fmt"
	"slices"
	"unicode/utf8"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/model"
)

// bytesPerToken is the measure of estimated usage.
const bytesPerToken = 4

func tokens(bytes int64) int64 { return (bytes + bytesPerToken - 1) / bytesPerToken }

// PromptTokens is the estimated number of tokens of a request: a quarter of its
// bytes, rounded up.
func PromptTokens(r *cairn.ModelRequest) int64 {
	n := len(r.System)
	for i := range r.Tools {
		t := &r.Tools[i]
		n += len(t.Name) + len(t.Description) + len(t.InputSchema)
	}
	for i := range r.Messages {
		for j := range r.Messages[i].Content {
			n += weight(&r.Messages[i].Content[j])
		}
	}
	return tokens(int64(n))
}

// weight is the size of a part in bytes, with the parts inside it.
func weight(p *cairn.Part) int {
	n := len(p.Text) + len(p.Tool) + len(p.Args) + len(p.Opaque) + len(p.Data)
	for i := range p.Parts {
		n += weight(&p.Parts[i])
	}
	return n
}

// invalid is a script that does not fit the request. No retry helps.
func invalid(format string, args ...any) *model.Failure {
	return &model.Failure{Err: &cairn.Error{
		Code: cairn.CodeInvalid, Message: fmt.Sprintf(format, args...), NotDone: true,
	}}
}

// plan is how an attempt will go: the answer, or the failure in its place.
type plan struct {
	answer *cairn.ModelAnswer
	fail   *Fail          // nil: none
	failed *model.Failure // as it was recorded; nil: none
	delay  cairn.Duration
	stream Stream
}

// plan decides an attempt. It looks at nothing but its arguments. In a recording
// it looks for what one model said, if one is named.
func (s *Script) plan(name, of string, r *cairn.ModelRequest, attempt int) (*plan, *model.Failure) {
	if s.Recording != nil {
		return s.replay(name, of, r, attempt)
	}
	prompt := PromptTokens(r)
	if s.Window > 0 && prompt > s.Window {
		return nil, &model.Failure{Err: &cairn.Error{
			Code: cairn.CodeOverflow, NotDone: true,
			Message: fmt.Sprintf("the prompt has %d tokens and the window of %s %d", prompt, name, s.Window),
		}}
	}
	c := read(r)
	reply := s.choose(c)
	if reply == nil {
		return nil, invalid("script %q has no replies[%d] (the request holds %d assistant messages), "+
			"no case that fits and no default: add one", name, c.turn, c.turn)
	}
	p := &plan{fail: reply.failure(attempt), delay: s.Delay, stream: s.Stream}
	if reply.Delay != nil {
		p.delay = *reply.Delay
	}
	if reply.Stream != nil {
		p.stream = *reply.Stream
	}
	if p.fail != nil && p.fail.AfterBytes == 0 {
		return p, nil // nothing of the reply is needed
	}
	provider, _ := model.Split(r.Model)
	content, err := reply.content(c, provider)
	if err != nil {
		return nil, invalid("script %q, turn %d: %v", name, c.turn, err)
	}
	p.answer = &cairn.ModelAnswer{Model: s.Model, Content: content, Stop: reply.Stop}
	if p.answer.Model == "" {
		p.answer.Model = name
	}
	if p.answer.Stop == "" {
		p.answer.Stop = cairn.StopEnd
		if len(reply.Calls) > 0 {
			p.answer.Stop = cairn.StopToolUse
		}
	}
	if reply.Usage != nil {
		p.answer.Usage = *reply.Usage
	} else {
		limit := r.Params.MaxOutput
		if s.MaxOutput > 0 && (limit <= 0 || s.MaxOutput < limit) {
			limit = s.MaxOutput
		}
		if limit > 0 {
			cut(p.answer, limit)
		}
		p.answer.Usage = estimate(prompt, p.answer.Content)
	}
	if p.answer.RawUsage = slices.Clone(reply.RawUsage); p.answer.RawUsage == nil {
		p.answer.RawUsage = rawUsage(&p.answer.Usage)
	}
	return p, nil
}

// failure is what happens to an attempt (from 1); nil: it succeeds.
func (r *Reply) failure(attempt int) *Fail {
	for i := range r.Fail {
		if attempt -= max(r.Fail[i].Times, 1); attempt <= 0 {
			return &r.Fail[i]
		}
	}
	if len(r.Fail) > 0 && !r.says() {
		return &r.Fail[len(r.Fail)-1]
	}
	return nil
}

// content renders a reply. Reasoning goes back to the provider that made it, as
// opaque blocks do.
func (r *Reply) content(c *conversation, provider string) ([]cairn.Part, error) {
	fill := func(s string) (any, error) {
		if r.Verbatim {
			return s, nil
		}
		return expand(s, c.value)
	}
	text := func(s string) (string, error) {
		v, err := fill(s)
		if err != nil {
			return "", err
		}
		return asText(v)
	}
	var parts []cairn.Part
	if r.Reasoning != "" {
		s, err := text(r.Reasoning)
		if err != nil {
			return nil, err
		}
		parts = append(parts, cairn.Part{Kind: cairn.PartReasoning, Text: s, Provider: provider})
	}
	for _, o := range r.Opaque {
		p := cairn.Part{Kind: cairn.PartOpaque, Provider: o.Provider, Opaque: slices.Clone(o.Data)}
		if p.Provider == "" {
			p.Provider = provider
		}
		parts = append(parts, p)
	}
	if r.Text != "" {
		s, err := text(r.Text)
		if err != nil {
			return nil, err
		}
		parts = append(parts, cairn.Text(s))
	}
	for i, call := range r.Calls {
		p := cairn.Part{Kind: cairn.PartToolCall, CallID: call.ID, Tool: call.Tool}
		if p.CallID == "" {
			p.CallID = fmt.Sprintf("call_%d_%d", c.turn, i+1)
		}
		switch args := call.Args.(type) {
		case nil:
			p.Args = "{}"
		case string:
			p.Args = args
		default:
			v, err := mapStrings(args, 0, fill)
			if err != nil {
				return nil, err
			}
			b, err := marshal(v)
			if err != nil {
				return nil, err
			}
			p.Args = string(b)
		}
		parts = append(parts, p)
	}
	return parts, nil
}

// cut shortens an answer to a number of tokens: the text that is over is cut
// off, and calls that do not fit whole are left out.
func cut(a *cairn.ModelAnswer, limit int64) {
	left := int(min(limit, 1<<40)) * bytesPerToken
	for i := range a.Content {
		p := &a.Content[i]
		if w := weight(p); w <= left {
			left -= w
			continue
		}
		a.Stop = cairn.StopMaxOutput
		keep := i
		if p.Kind == cairn.PartText || p.Kind == cairn.PartReasoning {
			if p.Text = p.Text[:runes(p.Text, left)]; p.Text != "" {
				keep++
			}
		}
		a.Content = a.Content[:keep]
		return
	}
}

// runes is the length of the longest prefix of at most n bytes that splits no
// character.
func runes(s string, n int) int {
	if n >= len(s) {
		return len(s)
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return n
}

func estimate(prompt int64, content []cairn.Part) cairn.Usage {
	var all, reasoning int
	for i := range content {
		w := weight(&content[i])
		all += w
		if content[i].Kind == cairn.PartReasoning {
			reasoning += w
		}
	}
	return cairn.Usage{Input: prompt, Output: tokens(int64(all)), Reasoning: tokens(int64(reasoning))}
}

func rawUsage(u *cairn.Usage) json.RawMessage {
	b, err := json.Marshal(u)
	if err != nil { // cannot be: numbers only
		return nil
	}
	return b
}

// code is the code of a failure, "" if none was given and none follows.
func (f *Fail) code() cairn.Code {
	switch {
	case f.Code != "":
		return f.Code
	case f.AfterBytes > 0:
		return cairn.CodeCut
	case f.Hang > 0:
		return cairn.CodeTimeout
	}
	return ""
}

// failure is what the attempt ends with.
func (f *Fail) failure() *model.Failure {
	e := &cairn.Error{Code: f.code(), Message: f.Message, RetryAfter: f.RetryAfter}
	if e.Message == "" {
		e.Message = "scripted failure"
	}
	switch e.Code {
	case cairn.CodeRateLimited, cairn.CodeOverloaded, cairn.CodeUnavailable:
		e.Retryable, e.NotDone = true, true
	case cairn.CodeCut, cairn.CodeTimeout:
		e.Retryable = true
	case cairn.CodeAuth, cairn.CodeInvalid, cairn.CodeNotFound, cairn.CodeOverflow:
		e.NotDone = true
	}
	e.NotDone = e.NotDone && f.Usage == nil && f.AfterBytes == 0
	if f.Retryable != nil {
		e.Retryable = *f.Retryable
	}
	if f.NotDone != nil {
		e.NotDone = *f.NotDone
	}
	out := &model.Failure{Err: e}
	if f.Usage != nil {
		u := *f.Usage
		out.Usage, out.RawUsage = &u, rawUsage(&u)
	}
	return out
}
