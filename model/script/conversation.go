package script

import (
	"strings"

	"github.com/cairn-run/cairn"
)

// conversation is a request with what conditions and templates look at.
type conversation struct {
	messages []cairn.Message
	turn     int    // assistant messages
	end      int    // place of the first message after the last assistant's
	task     string // first user message
	user     string // last user message
	system   string
	noTools  bool
}

func read(r *cairn.ModelRequest) *conversation {
	c := &conversation{messages: r.Messages, system: r.System, noTools: r.Params.NoTools}
	first := true
	for i := range r.Messages {
		switch m := &r.Messages[i]; m.Role {
		case cairn.RoleAssistant:
			c.turn++
			c.end = i + 1
		case cairn.RoleUser:
			c.user = cairn.TextOf(m.Content)
			if first {
				c.task, first = c.user, false
			}
		}
	}
	return c
}

// toolOf is the tool whose result part j of message i is. Where the part does not
// say, it is the call in the same place of the answer before: an id may repeat in
// a session, but not there.
func (c *conversation) toolOf(i, j int) string {
	p := &c.messages[i].Content[j]
	if p.Tool != "" || i == 0 {
		return p.Tool
	}
	for k := range c.messages[i-1].Content {
		if call := &c.messages[i-1].Content[k]; call.Kind == cairn.PartToolCall && call.CallID == p.CallID {
			return call.Tool
		}
	}
	return ""
}

// choose picks the reply to a request; nil: there is none.
func (s *Script) choose(c *conversation) *Reply {
	for i := range s.Cases {
		if s.Cases[i].When.holds(c) {
			return &s.Cases[i].Reply
		}
	}
	if c.turn < len(s.Replies) {
		return &s.Replies[c.turn]
	}
	return s.Default
}

func (w *When) holds(c *conversation) bool {
	return (w.Turn == nil || *w.Turn == c.turn) &&
		(w.NoTools == nil || *w.NoTools == c.noTools) &&
		(w.System == nil || w.System.holds(c.system)) &&
		(w.Task == nil || w.Task.holds(c.task)) &&
		(w.User == nil || w.User.holdsAtEnd(c)) &&
		(w.Result == nil || w.Result.holdsAtEnd(c))
}

func (t *Text) holds(text string) bool {
	return (t.Equals == "" || t.Equals == text) &&
		(t.Contains == "" || strings.Contains(text, t.Contains)) &&
		(t.Glob == "" || globs(t.Glob, text))
}

func (t *Text) holdsAtEnd(c *conversation) bool {
	for _, m := range c.messages[c.end:] {
		if m.Role == cairn.RoleUser && t.holds(cairn.TextOf(m.Content)) {
			return true
		}
	}
	return false
}

func (r *Result) holdsAtEnd(c *conversation) bool {
	for i := c.end; i < len(c.messages); i++ {
		for j, p := range c.messages[i].Content {
			if p.Kind == cairn.PartToolResult &&
				(r.Tool == "" || globs(r.Tool, c.toolOf(i, j))) &&
				(r.IsError == nil || *r.IsError == p.IsError) &&
				r.holds(p.Text) {
				return true
			}
		}
	}
	return false
}

// globs says whether a text is what a pattern describes: * is any characters, ? is
// one. It takes time in proportion to the product of the two lengths at most.
func globs(pattern, text string) bool {
	p, t := []rune(pattern), []rune(text)
	i, j := 0, 0
	star, mark := -1, 0 // the last star, and how much of the text it has taken
	for j < len(t) {
		switch {
		case i < len(p) && p[i] == '*':
			star, mark = i, j
			i++
		case i < len(p) && (p[i] == '?' || p[i] == t[j]):
			i++
			j++
		case star >= 0:
			mark++
			i, j = star+1, mark
		default:
			return false
		}
	}
	for i < len(p) && p[i] == '*' {
		i++
	}
	return i == len(p)
}
