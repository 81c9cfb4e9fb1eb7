package engine

import (
	"fmt"
	"slices"
	"time"

	"github.com/cairn-run/cairn"
)

// framing is what a message is charged besides its text, in bytes: role, ids and
// separators of a provider's format.
const framing = 64

var zeroTime time.Time

// sizeOf is the size of a message's content in bytes.
func sizeOf(parts []cairn.Part) int64 {
	n := int64(framing)
	for i := range parts {
		p := &parts[i]
		n += int64(len(p.Text)+len(p.Args)+len(p.Tool)+len(p.CallID)+len(p.Data)+len(p.Opaque)) + 16
		if len(p.Parts) > 0 {
			n += sizeOf(p.Parts)
		}
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
	c.From, c.Note, c.Task, c.Turns = d.KeepFrom, e.Seq, d.Task, rest
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

// compaction finds where to cut the conversation so that what is kept fits
// target bytes, and makes the event. It shrinks for certain or returns false.
func (s *State) compaction(target int64) (cairn.ContextCompacted, bool) {
	c := &s.Context
	// What came after the last answer is never cut: nobody has seen it yet.
	var keep Turn
	for _, t := range c.Turns {
		if t.Seq > c.Answer {
			break
		}
		keep = t
		if c.Bytes-t.Bytes <= target {
			break
		}
	}
	if keep.Seq == 0 {
		return cairn.ContextCompacted{}, false
	}
	d := cairn.ContextCompacted{KeepFrom: keep.Seq, Task: c.Task, Before: c.Bytes}
	d.Note = fmt.Sprintf("[The conversation between the task above and this point was removed to fit the "+
		"context window: about %d bytes.]", keep.Bytes)
	d.After = c.Bytes - keep.Bytes + c.TaskBytes + int64(len(d.Note)) + framing
	return d, d.After < d.Before
}
