package openai

import (
	"encoding/json"
	"strconv"
	"strings"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/model/wire"
)

// chatCalls are the calls of an answer. Servers disagree about how the pieces of a
// call are marked: by index, by id, by both, or not at all.
type chatCalls struct {
	all     []*chatCall
	byIndex map[int]*chatCall
	used    map[string]bool
}

// chatCall is one call in the making.
type chatCall struct {
	slot   *slot // nil until it has a name or arguments
	id     string
	name   string
	args   strings.Builder
	custom bool
	typ    string
	extra  Object // members of the call that are not the wire's
	inner  Object // members of its function that are not
	raw    Object // the call, if it came whole
	heard  bool   // deltas were given: id and name are fixed
	pieces int
}

// callPiece is a call, or a piece of one.
type callPiece struct {
	Index    *int            `json:"index"`
	ID       json.RawMessage `json:"id"`
	Type     string          `json:"type"`
	Function json.RawMessage `json:"function"`
	Custom   json.RawMessage `json:"custom"`
}

// call takes a call, or a piece of one.
func (f *chatFold) call(v json.RawMessage) {
	o, err := parseObject(v)
	if err != nil {
		return // null stands for no call
	}
	var p callPiece
	_ = tolerate(v, &p) // it is an object
	inner, custom := p.Function, false
	if isNull(inner) && !isNull(p.Custom) {
		inner, custom = p.Custom, true
	}
	fn, _ := parseObject(inner) // none: a piece with an id only
	argsName := "arguments"
	if custom {
		argsName = "input"
	}
	id, name, args := scalar(p.ID), text(fn.Get("name")), argText(fn.Get(argsName))
	c := f.calls.find(&p, id, name)
	c.custom = c.custom || custom
	c.pieces++
	if c.pieces == 1 {
		c.raw = o
		if !f.whole {
			c.raw.remove("index") // it numbers pieces
		}
	}
	if c.id == "" && !c.heard {
		c.id = id
	}
	if name != c.name { // some servers repeat the name with every piece
		c.name += name
	}
	if p.Type != "" {
		c.typ = p.Type
	}
	for _, m := range o {
		switch m.Name {
		case "index", "id", "type", "function", "custom":
		default:
			if !isNull(m.Value) {
				c.extra.merge(m)
			}
		}
	}
	for _, m := range fn {
		if m.Name != "name" && m.Name != argsName && !isNull(m.Value) {
			c.inner.merge(m)
		}
	}
	if c.slot == nil && (c.name != "" || args != "") {
		c.slot = f.slot(cairn.PartToolCall)
		c.slot.call = c
	}
	c.args.WriteString(args)
	f.tell(c, false)
}

// find says which call a piece belongs to.
func (cs *chatCalls) find(p *callPiece, id, name string) *chatCall {
	if p.Index != nil {
		c := cs.byIndex[*p.Index]
		// Another id with another name is another call: some servers give every call
		// of an answer the index 0.
		if c != nil && (id == "" || c.id == "" || id == c.id || name == "") {
			return c
		}
		c = cs.new()
		if cs.byIndex == nil {
			cs.byIndex = map[int]*chatCall{}
		}
		cs.byIndex[*p.Index] = c
		return c
	}
	if id != "" {
		for _, c := range cs.all {
			if c.id == id {
				return c
			}
		}
	}
	if n := len(cs.all); n > 0 && (name == "" || id == "" && cs.all[n-1].name == "") {
		return cs.all[n-1]
	}
	return cs.new()
}

func (cs *chatCalls) new() *chatCall {
	c := &chatCall{}
	cs.all = append(cs.all, c)
	return c
}

// tell gives what can be given of a call's arguments. A name may come in pieces, and
// an id late or never: both are taken as final when the arguments have begun.
func (f *chatFold) tell(c *chatCall, last bool) {
	if c.slot == nil || c.name == "" || c.args.Len() == c.slot.said.Len() || c.id == "" && !last && !c.heard {
		return
	}
	f.settle(c)
	said := c.args.String()[c.slot.said.Len():]
	c.slot.said.WriteString(said)
	f.deltas = append(f.deltas, cairn.Delta{
		Kind: cairn.PartToolCall, Index: c.slot.place, Text: said, CallID: c.id, Tool: c.name,
	})
}

// settle fixes the id of a call: it is there, and no other call has it.
func (f *chatFold) settle(c *chatCall) {
	if c.heard {
		return
	}
	if f.calls.used == nil {
		f.calls.used = map[string]bool{}
	}
	c.heard = true
	c.id = freeID(c.id, c.slot.place, f.calls.used)
	f.calls.used[c.id] = true
}

// close gives the deltas that were held back.
func (f *chatFold) close() []cairn.Delta {
	f.deltas = nil
	for _, c := range f.calls.all {
		f.tell(c, true)
	}
	return f.deltas
}

// part is the finished call.
func (c *chatCall) part(provider string) (cairn.Part, error) {
	if c.name == "" {
		return cairn.Part{}, wire.Malformed(provider, "a call without the name of a tool")
	}
	p := cairn.Part{Kind: cairn.PartToolCall, CallID: c.id, Tool: c.name, Args: c.args.String()}
	own := c.form()
	plain := raw(ChatCall{ID: c.id, Type: "function", Function: ChatCallFunction{p.Tool, p.Args}})
	if string(own) != string(plain) {
		p.Provider, p.Opaque = provider, Object{{"tool_calls", array([]json.RawMessage{own})}}.raw()
	}
	return p, nil
}

// form is the call as the provider sent it, or would have sent it in one piece.
func (c *chatCall) form() json.RawMessage {
	if c.pieces == 1 && !isNull(c.raw.Get("id")) {
		if scalar(c.raw.Get("id")) != c.id {
			c.raw.Set("id", quote(c.id))
		}
		return c.raw.raw()
	}
	typ, member, args := c.typ, "function", "arguments"
	if c.custom {
		member, args = "custom", "input"
	}
	if typ == "" {
		typ = member
	}
	fn := Object{{"name", quote(c.name)}, {args, quote(c.args.String())}}
	o := Object{{"id", quote(c.id)}, {"type", quote(typ)}, {member, append(fn, c.inner...).raw()}}
	return append(o, c.extra...).raw()
}

// argText is the arguments of a call: a string, or JSON that was not put into one.
func argText(v json.RawMessage) string {
	if isNull(v) {
		return ""
	}
	if v[0] == '"' {
		return text(v)
	}
	return string(v)
}

// scalar is an id: a string, or a number of a careless server.
func scalar(v json.RawMessage) string {
	if isNull(v) {
		return ""
	}
	if v[0] == '"' {
		return text(v)
	}
	n, err := strconv.ParseInt(string(v), 10, 64)
	if err != nil {
		return ""
	}
	return strconv.FormatInt(n, 10)
}
