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
	c.From, c.Note, c.Task, c.Kept, c.Turns = d.KeepFrom, e.Seq, d.Task, d.Plan, rest
	c.Bytes = d.After
	c.Known, c.KnownBytes = 0, 0
	s.Run.Compacted = true
}

// overhead is what instructions and tools add to every request, in bytes.
func overhead(env *Env) int64 {
	n := int64(len(env.Agent.Instructions)) + 1024
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
	return c.Bytes + overhead(env)
}

// promptEstimate is what the next request probably has: three bytes a token.
func (s *State) promptEstimate(env *Env) int64 {
	c := &s.Context
	if c.Known > 0 {
		return c.Known + (c.Bytes-c.KnownBytes)/3
	}
	return (c.Bytes + overhead(env)) / 3
}

// compactPrompt asks for what has to be known after the cut.
const compactPrompt = "The conversation so far is about to be cut, because it no longer fits the context window. Write down everything that " +
	"whoever carries on needs, and nothing else: what the task is and what its conditions are; what was found out, with exact " +
	"names, ids, paths, amounts and numbers; what was done and how it ended, above all what must not be done again; what went " +
	"wrong and why; what is left to do. State only what the conversation shows. Do not call tools and do not carry on with the task yet."

// summaryShare is the part of the window that a summary may take.
const summaryShare = 16

// overflows says whether the next request would not fit.
func (p *planner) overflows(m *cairn.ModelInfo, out int64) bool {
	return m.Window > 0 && p.s.promptEstimate(p.env)+out > m.Window
}

// fit cuts the conversation if the next request would not fit the window: at once,
// or after the model has written down what matters. False: it is being asked for
// that, or it cannot be afforded.
func (p *planner) fit(m *cairn.ModelInfo, out int64) bool {
	if p.s.Run.Compacted || !p.overflows(m, out) {
		return true
	}
	target := half(m, out, p.env)
	if p.summarise(m, out, target) {
		return false
	}
	p.compact(target, "", 0)
	return true
}

// half is the size that a conversation is cut to, in bytes: half of the room in
// the window at three bytes a token, so that a cut lasts.
func half(m *cairn.ModelInfo, out int64, env *Env) int64 {
	return max(0, (m.Window-out)*3/2-overhead(env))
}

// summarise plans the call for a summary. False: there shall be none, or it would
// not fit or help.
func (p *planner) summarise(m *cairn.ModelInfo, out, target int64) bool {
	summary := min(out, max(256, m.Window/summaryShare))
	if p.env.Agent.Context.Compact == cairn.CompactDrop || p.s.Context.Summed ||
		p.s.promptEstimate(p.env)+int64(len(compactPrompt))/3+summary > m.Window {
		return false
	}
	if _, ok := p.s.compaction(target, "", 0); !ok {
		return false
	}
	tokens := p.s.promptBound(p.env, m.Name) + int64(len(compactPrompt)) + framing
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
	target := half(m, p.maxOutput(*m), p.env)
	if m.Window == 0 {
		target = p.s.Context.Bytes / 2
	}
	if text == "" || !p.compact(target, text, answer) {
		p.compact(target, "", 0)
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

// compaction finds where to cut the conversation so that what is kept fits
// target bytes, and makes the event. It shrinks for certain or returns false.
func (s *State) compaction(target int64, summary string, answer cairn.Seq) (cairn.ContextCompacted, bool) {
	c := &s.Context
	// What came after the last answer is never cut: nobody has seen it yet.
	var keep Turn
	for _, t := range c.Turns {
		if t.Seq > c.Answer {
			break
		}
		keep = t
		if c.Bytes-t.Bytes+int64(len(summary)) <= target {
			break
		}
	}
	if keep.Seq == 0 {
		return cairn.ContextCompacted{}, false
	}
	d := cairn.ContextCompacted{KeepFrom: keep.Seq, Task: c.Task, Before: c.Bytes, Summary: answer}
	extra := c.TaskBytes
	if c.Plan != 0 && c.Plan < keep.Seq {
		d.Plan = c.Plan
		extra += c.PlanBytes + framing
	}
	d.Note = fmt.Sprintf("[The conversation between the task above and this point was removed to fit the "+
		"context window: about %d bytes.]", keep.Bytes)
	if summary != "" {
		d.Note = "[The conversation between the task above and this point was removed to fit the context window. " +
			"What was written down before:]\n" + summary
	}
	d.After = c.Bytes - keep.Bytes + extra + int64(len(d.Note)) + framing
	return d, d.After <= d.Before-d.Before/minCut
}

// Bounds of what the model sees of results.
const (
	defaultWindow = 128_000 // tokens, of a model whose window is not known
	minShown      = 1 << 10 // bytes: below it a result says nothing
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
