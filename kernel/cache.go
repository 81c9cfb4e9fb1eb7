package kernel

import (
	"container/list"
	"context"
	"iter"
	"slices"
	"sync"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/engine"
	"github.com/cairn-run/cairn/journal"
)

// maxHistory bounds the events an owner keeps for rendering, in bytes of text;
// beyond it they are read from the journal for every request.
const maxHistory = 8 << 20

// history is the part of a session that its next request is made of: the events
// from the start of the context, in memory while the session is owned.
type history struct {
	from   cairn.Seq // first event held; zero: none
	events []cairn.Event
	extra  []cairn.Event // the task and the note, when they lie before from
	size   int
}

// add takes committed events.
func (h *history) add(events []cairn.Event) {
	if h.from == 0 || len(events) == 0 {
		return
	}
	h.events = append(h.events, events...)
	for i := range events {
		h.size += eventSize(events[i])
	}
	if h.size > maxHistory {
		*h = history{}
	}
}

// eventSize is roughly what an event holds in memory, in bytes.
func eventSize(e cairn.Event) int {
	n := 256
	var add func([]cairn.Part)
	add = func(parts []cairn.Part) {
		for i := range parts {
			n += 160 + len(parts[i].Text) + len(parts[i].Args) + len(parts[i].Data) + len(parts[i].Opaque)
			add(parts[i].Parts)
		}
	}
	result := func(r *cairn.ToolResult) {
		if r != nil {
			add(r.Content)
			n += len(r.Structured)
		}
	}
	switch d := e.Data.(type) {
	case cairn.MessageCreated:
		add(d.Content)
	case cairn.ModelCompleted:
		add(d.Answer.Content)
	case cairn.ToolCallRequested:
		n += len(d.Args)
	case cairn.ToolCallCompleted:
		result(&d.Result)
	case cairn.ToolCallFailed:
		result(d.Result)
		n += len(d.Error.Message)
	case cairn.EffectReconciled:
		result(d.Result)
	case cairn.ToolCallDenied:
		n += len(d.Reason)
	case cairn.PlanUpdated:
		n += len(d.Plan)
	case cairn.ContextCompacted:
		n += len(d.Note)
	}
	return n
}

// has says whether the events of a manifest are held.
func (h *history) has(m cairn.Manifest) bool {
	if h.from == 0 || h.from > m.From {
		return false
	}
	for _, seq := range m.Apart() {
		if seq == 0 || seq >= h.from {
			continue
		}
		held := false
		for _, e := range h.extra {
			held = held || e.Seq == seq
		}
		if !held {
			return false
		}
	}
	return true
}

// load reads the events of a manifest up to the present.
func (h *history) load(ctx context.Context, j *journal.Journal, s cairn.SessionKey, m cairn.Manifest) error {
	*h = history{from: m.From}
	for _, seq := range m.Apart() {
		if seq == 0 || seq >= m.From {
			continue
		}
		for e, err := range j.Events(ctx, s, seq-1) {
			if err != nil {
				*h = history{}
				return err
			}
			h.extra = append(h.extra, e)
			break
		}
	}
	for e, err := range j.Events(ctx, s, m.From-1) {
		if err != nil {
			*h = history{}
			return err
		}
		h.events = append(h.events, e)
		h.size += eventSize(e)
	}
	return nil
}

// of yields the events of a manifest, in order.
func (h *history) of(m cairn.Manifest) iter.Seq2[cairn.Event, error] {
	return func(yield func(cairn.Event, error) bool) {
		for _, e := range h.extra {
			if slices.Contains(m.Apart(), e.Seq) && !yield(e, nil) {
				return
			}
		}
		for _, e := range h.events {
			wanted := (e.Seq >= m.From && e.Seq <= m.To) || slices.Contains(m.Apart(), e.Seq)
			if wanted && !yield(e, nil) {
				return
			}
		}
	}
}

// stateCache keeps the states of released sessions, the newest up to a number of
// bytes. It is a cache: what it says is only believed when the store's head is
// where the state is.
type stateCache struct {
	mu   sync.Mutex
	max  int
	size int
	by   map[cairn.SessionKey]*list.Element
	list list.List // of *cached, the newest first
}

type cached struct {
	key  cairn.SessionKey
	s    engine.State
	h    history
	size int
}

func (c *stateCache) put(s engine.State, h history) {
	e := &cached{key: s.Key, s: s, h: h, size: 2048 + h.size + 16*len(s.Context.Turns)}
	if e.size > c.max/8 {
		e.h, e.size = history{}, 2048+16*len(s.Context.Turns)
	}
	for i := range s.Calls {
		e.size += 512 + len(s.Calls[i].Args)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.by == nil {
		c.by = map[cairn.SessionKey]*list.Element{}
	}
	c.remove(s.Key)
	c.by[s.Key] = c.list.PushFront(e)
	c.size += e.size
	for c.size > c.max && c.list.Len() > 0 {
		c.remove(c.list.Back().Value.(*cached).key)
	}
}

// take returns a state and forgets it.
func (c *stateCache) take(k cairn.SessionKey) (engine.State, history, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	el := c.by[k]
	if el == nil {
		return engine.State{}, history{}, false
	}
	e := el.Value.(*cached)
	c.remove(k)
	return e.s, e.h, true
}

func (c *stateCache) remove(k cairn.SessionKey) {
	if el := c.by[k]; el != nil {
		c.size -= el.Value.(*cached).size
		c.list.Remove(el)
		delete(c.by, k)
	}
}
