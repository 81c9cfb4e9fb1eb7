package engine

import (
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/cairn-run/cairn"
)

// framing is what a message is charged besides its text, in bytes: role, ids and
// separators of a provider's format.
const framing = 64

var zeroTime time.Time

// sizeOf is the size of a message's content in bytes. Of a part that has a
// provider's own form as well, the larger of the two counts: one is sent.
func sizeOf(parts []cairn.Part) int64 {
	n := int64(framing)
	for i := range parts {
		p := &parts[i]
		n += max(int64(len(p.Text)+len(p.Args)+len(p.Tool)+len(p.CallID))+sizeOfData(p), sizeOfOpaque(p)) + 16
		if len(p.Parts) > 0 {
			n += sizeOf(p.Parts)
		}
	}
	return n
}

// What an image or a document counts at most, in bytes: providers charge pictures
// by their area and documents by the page, never by the byte. No provider takes
// more than 10,000 tokens for one picture (OpenAI, original detail: 10,000 patches,
// https://developers.openai.com/api/docs/guides/images-vision) or 600 pages of a document
// (Anthropic, https://platform.claude.com/docs/en/build-with-claude/pdf-support).
const (
	maxImage    = 16 << 10
	maxDocument = 2 << 20
)

func sizeOfData(p *cairn.Part) int64 {
	n := int64(len(p.Data))
	switch {
	case p.Kind == cairn.PartImage:
		return min(n, maxImage)
	case strings.HasPrefix(p.MediaType, "text/"):
		return n
	}
	return min(n, maxDocument)
}

// sizeOfOpaque is the size of a part's own form; a picture in it counts as one.
func sizeOfOpaque(p *cairn.Part) int64 {
	n := int64(len(p.Opaque))
	if p.Kind == cairn.PartImage {
		return min(n, maxImage)
	}
	return n
}

// sizeOfResult is what a tool's result adds to requests.
func sizeOfResult(r *cairn.ToolResult) int64 {
	n := sizeOf(r.Content)
	if r.Shown != nil {
		n -= int64(len(cairn.TextOf(r.Content))) - int64(len(shown(r, 1<<20)))
	}
	return n
}

// addTurn remembers that the conversation can be cut before seq.
func (s *State) addTurn(seq cairn.Seq) {
	turns := append(slices.Clip(s.Context.Turns), Turn{seq, s.Context.Bytes})
	if len(turns) > maxTurns { // thin out the older half
		thin := turns[:0]
		for i, t := range turns {
			if i%2 == 0 || i > maxTurns/2 {
				thin = append(thin, t)
			}
		}
		turns = thin
	}
	s.Context.Turns = turns
}

func (s *State) foldCompacted(e cairn.Event, d cairn.ContextCompacted) {
	c := &s.Context
	var rest []Turn
	for _, t := range c.Turns {
		if t.Seq >= d.KeepFrom {
			rest = append(rest, Turn{t.Seq, t.Bytes + d.After - d.Before})
		}
	}
	c.From, c.Note, c.Task, c.Kept, c.Prior, c.Turns = d.KeepFrom, e.Seq, d.Task, d.Plan, d.Prior, rest
	if d.Summary != 0 {
		c.Summary, c.SummaryBytes = e.Seq, int64(len(d.Note))
	}
	c.Bytes = d.After
	c.Known, c.KnownBytes = 0, 0
	c.Prompt, c.PromptBytes = 0, max(0, c.PromptBytes+d.After-d.Before)
	s.Run.Compacted = true
}

// overhead is what instructions and tools add to every request, in bytes.
func (s *State) overhead(env *Env) int64 {
	n := int64(len(instructions(env.Agent, ""))) + s.Context.ProjectBytes + 1024
	for i := range env.Tools {
		t := &env.Tools[i]
		n += int64(len(t.Name)+len(t.Description)+len(t.InputSchema)) + framing
	}
	return n
}

// promptBound is an upper bound of the tokens the next request has for a model:
// a token is at least one byte of text. What another model counted says nothing.
func (s *State) promptBound(env *Env, model string) int64 {
	c := &s.Context
	if c.Known > 0 && c.Model == model {
		return c.Known + c.Bytes - c.KnownBytes + framing
	}
	return c.Bytes + s.overhead(env)
}

// promptEstimate is what the next request probably has for a model: three bytes a token.
func (s *State) promptEstimate(env *Env, model string) int64 {
	c := &s.Context
	if c.Known > 0 && c.Model == model {
		return c.Known + (c.Bytes-c.KnownBytes)/3
	}
	return (c.Bytes + s.overhead(env)) / 3
}

// compactPrompt asks for what has to be known after the cut.
const compactPrompt = "The conversation so far is about to be cut, because it no longer fits the context window. Write down everything that " +
	"whoever carries on needs, and nothing else: what the task is and what its conditions are; what was found out, with exact " +
	"names, ids, paths, amounts and numbers; what was done and how it ended, above all what must not be done again; what went " +
	"wrong and why; what is left to do. State only what the conversation shows. Do not call tools and do not carry on with the task yet."

// summaryShare is the part of the window that a summary may take.
const summaryShare = 16

// summaryCap is the cap of a summary, of a model whose answers have the cap out.
func summaryCap(m *cairn.ModelInfo, out int64) int64 {
	return min(out, max(256, m.Window/summaryShare))
}

// summaryBound is what promptBound is, of a request for a summary: the last
// request that was answered and the question.
func (s *State) summaryBound(env *Env, model string) int64 {
	c := &s.Context
	question := sizeOf([]cairn.Part{cairn.Text(compactPrompt)})
	if c.Prompt > 0 && c.Model == model {
		return c.Prompt + question
	}
	return c.PromptBytes + s.overhead(env) + question
}

// overflows says whether the next request would not fit. After one that fits, there
// is room to ask for a summary of it.
func (p *planner) overflows(m *cairn.ModelInfo, purpose cairn.Purpose, out int64) bool {
	c := &p.s.Context
	const question = int64(len(compactPrompt)) / 3
	n := p.s.promptEstimate(p.env, m.Name) + out
	switch {
	case purpose == cairn.PurposeCompact && c.Prompt > 0 && c.Model == m.Name:
		n = c.Prompt + question + out
	case purpose == cairn.PurposeCompact:
		n = (c.PromptBytes+p.s.overhead(p.env))/3 + question + out
	case p.env.Agent.Context.Compact != cairn.CompactDrop:
		n += max(0, summaryCap(m, out)+question-out)
	}
	return m.Window > 0 && n > m.Window
}

// fit cuts the conversation if the next request would not fit the window: at once,
// or after the model has written down what matters. False: it is being asked for
// that, or it cannot be afforded.
func (p *planner) fit(m *cairn.ModelInfo, out int64) bool {
	if p.s.Run.Compacted || !p.overflows(m, cairn.PurposeTurn, out) {
		return true
	}
	if p.summarise(m, out) {
		return false
	}
	p.compact(p.half(m), "", 0)
	return true
}

// half is the size that a conversation is cut to, in bytes: half of the room in
// the model's window at three bytes a token, so that a cut lasts. If the window is
// not known, half of what there is.
func (p *planner) half(m *cairn.ModelInfo) int64 {
	if m.Window == 0 {
		return p.s.Context.Bytes / 2
	}
	return max(0, (m.Window-p.maxOutput(*m))*3/2-p.s.overhead(p.env))
}

// refit gives up a retry whose request would not fit the model that is next in
// line, and cuts the conversation for that one. False: it fits, or cannot be cut.
func (p *planner) refit(m *cairn.ModelInfo, out int64) bool {
	retry := p.s.Model
	if m.Name == p.s.Context.Model || !p.overflows(m, retry.Purpose, out) {
		return false
	}
	if _, ok := p.s.compaction(p.half(m), "", 0); !ok {
		return false
	}
	p.about(p.s.effect(retry.Seq), cairn.ModelFailed{Attempt: retry.Attempt, Error: cairn.Error{
		Code: cairn.CodeOverflow, Message: "the request does not fit the context window of " + m.Name, NotDone: true,
	}})
	return p.compact(p.half(m), "", 0)
}

// summarise plans the call for a summary. False: there shall be none, or it would
// not fit or help.
func (p *planner) summarise(m *cairn.ModelInfo, out int64) bool {
	summary := summaryCap(m, out)
	if p.env.Agent.Context.Compact == cairn.CompactDrop || p.s.Context.Summed || p.overflows(m, cairn.PurposeCompact, summary) {
		return false
	}
	if _, ok := p.s.compaction(p.half(m), "", 0); !ok {
		return false
	}
	tokens := p.s.summaryBound(p.env, m.Name)
	reserve := m.Bound(p.now, tokens, summary)
	if !p.afford(reserve) {
		return true
	}
	p.emit(cairn.MessageCreated{Content: []cairn.Part{cairn.Text(compactPrompt)}, Origin: originRuntime, Purpose: cairn.PurposeCompact})
	manifest := p.manifest()
	manifest.Params = cairn.ModelParams{MaxOutput: summary, NoTools: true}
	p.about(p.next(), cairn.ModelRequested{
		Attempt: 1, Model: m.Name, Purpose: cairn.PurposeCompact, Manifest: manifest, Reserved: reserve, Tokens: tokens,
	})
	return true
}

// summed cuts the conversation with the summary that was asked for, if it is one.
func (p *planner) summed(m *cairn.ModelInfo, answer cairn.Seq, a *cairn.ModelAnswer) {
	text := cairn.TextOf(a.Content)
	if a.Stop == cairn.StopRefusal || calls(a.Content) > 0 {
		text = ""
	}
	if text == "" || !p.compact(p.half(m), text, answer) {
		p.compact(p.half(m), "", 0)
	}
}

// compact cuts the conversation once; false: it cannot be cut.
func (p *planner) compact(target int64, summary string, answer cairn.Seq) bool {
	d, ok := p.s.compaction(target, summary, answer)
	if ok {
		p.emit(d)
	}
	return ok
}

// minCut is the part of a conversation that a cut has to remove at least: one that
// removes next to nothing is only followed by another.
const minCut = 8

// compaction finds where to cut the conversation so that what is left, with the
// task, the plan and the note, fits target bytes, and makes the event. It shrinks
// for certain or returns false.
func (s *State) compaction(target int64, summary string, answer cairn.Seq) (d cairn.ContextCompacted, ok bool) {
	for _, t := range s.Context.Turns {
		if t.Seq > s.Context.Answer { // what came after the last answer is never cut: nobody has seen it yet
			break
		}
		d, ok = s.cutAt(t, summary, answer), true
		if d.After <= target {
			break
		}
	}
	return d, ok && d.After <= d.Before-d.Before/minCut
}

// cutAt makes the event that cuts the conversation before a turn.
func (s *State) cutAt(t Turn, summary string, answer cairn.Seq) cairn.ContextCompacted {
	c := &s.Context
	d := cairn.ContextCompacted{KeepFrom: t.Seq, Task: c.Task, Before: c.Bytes, Summary: answer}
	extra := c.TaskBytes
	if c.Plan != 0 && c.Plan < t.Seq {
		d.Plan = c.Plan
		extra += c.PlanBytes + framing
	}
	d.Note = fmt.Sprintf("[The conversation between the task above and this point was removed to fit the "+
		"context window: about %d bytes.]", t.Bytes)
	if summary == "" && c.Summary != 0 { // it was made of all that came before it
		d.Prior = c.Summary
		extra += c.SummaryBytes + framing
	}
	if summary != "" {
		d.Note = "[The conversation between the task above and this point was removed to fit the context window. " +
			"What was written down before:]\n" + summary
	}
	d.After = c.Bytes - t.Bytes + extra + int64(len(d.Note)) + framing
	return d
}

// Bounds of what the model sees of results.
const (
	defaultWindow = 128_000 // tokens, of a model whose window is not known
	minShown      = 256     // bytes: below it a result says nothing
)

// show caps what the model sees of a result's text. The calls of one answer share
// a quarter of the window, so that no batch fills it.
func (p *planner) show(given *cairn.ToolResult) *cairn.ToolResult {
	if given == nil {
		return nil
	}
	r := *given
	r.Shown = nil // the engine's to say
	all := p.env.Agent.Context.Results
	if all == 0 {
		m := p.env.model(p.nextModel())
		window := m.Window
		if window == 0 {
			window = defaultWindow
		}
		all = window / 4 * 3 // a quarter of it, at three bytes a token
	}
	limit := max(minShown, all/int64(max(1, p.s.Context.Batch)))
	text := cairn.TextOf(r.Content)
	n := int64(len(text))
	if n <= limit {
		return &r
	}
	head, tail := limit*2/3, limit/3
	for head > 0 && !utf8.RuneStart(text[head]) {
		head--
	}
	for tail > 0 && !utf8.RuneStart(text[n-tail]) {
		tail--
	}
	r.Shown = &cairn.Shown{Head: head, Tail: tail}
	return &r
}
