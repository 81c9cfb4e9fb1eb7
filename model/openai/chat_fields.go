package openai

import (
	"bytes"
	"encoding/json"
	"strings"
)

// fields are the members of a message that a part stands for. Pieces of a stream
// are joined to what the provider would have sent in one.
type fields struct {
	all []*field
}

// field is one member. What came in one piece keeps its bytes.
type field struct {
	name   string
	pieces int
	raw    json.RawMessage
	text   strings.Builder
	parts  []*detail // of a list
	object Object
}

func (fs *fields) get(name string) *field {
	for _, f := range fs.all {
		if f.name == name {
			return f
		}
	}
	f := &field{name: name}
	fs.all = append(fs.all, f)
	return f
}

// text adds a piece of a string.
func (fs *fields) text(name, said string, raw json.RawMessage) {
	f := fs.get(name)
	f.pieces++
	f.raw = raw
	f.text.WriteString(said)
}

// object merges an object into a member.
func (fs *fields) object(name string, o Object) {
	f := fs.get(name)
	f.pieces++
	for _, m := range o {
		if (m.Name == "transcript" || m.Name == "data") && !isNull(f.object.Get(m.Name)) {
			m.Value = quote(text(f.object.Get(m.Name)) + text(m.Value))
		}
		f.object.Set(m.Name, m.Value)
	}
}

// listed says whether the part is an item of a list of content.
func (fs *fields) listed() bool { return len(fs.all) == 1 && len(fs.all[0].parts) > 0 }

// item takes a part of a list of content whose text is that of a member.
func (fs *fields) item(o Object, member, said string) {
	f := fs.get("content")
	if len(f.parts) == 0 {
		f.parts = append(f.parts, &detail{o: o})
		f.parts[0].add(member, said, true)
		return
	}
	d := f.parts[0]
	d.merge(o, member)
	d.add(member, said, false)
}

// detail takes one of OpenRouter's reasoning_details and returns the text it shows.
// The pieces of a stream belong together if type and index are the same; encrypted
// ones come whole (https://openrouter.ai/docs/use-cases/reasoning-tokens).
func (fs *fields) detail(name string, raw json.RawMessage, whole bool) string {
	f := fs.get(name)
	o, err := parseObject(raw)
	if err != nil {
		f.parts = append(f.parts, &detail{raw: raw})
		return ""
	}
	kind := text(o.Get("type"))
	member := ""
	switch kind {
	case "reasoning.text":
		member = "text"
	case "reasoning.summary":
		member = "summary"
	}
	said := text(o.Get(member))
	key := kind + " " + string(o.Get("index"))
	if !whole && member != "" {
		for i := len(f.parts) - 1; i >= 0; i-- {
			d := f.parts[i]
			if d.key == key {
				d.merge(o, member)
				d.add(member, said, false)
				return said
			}
		}
	}
	d := &detail{o: o, key: key}
	d.add(member, said, true)
	if whole {
		d.raw = raw
	}
	f.parts = append(f.parts, d)
	return said
}

// form is the members as an object.
func (fs *fields) form() Object {
	var o Object
	for _, f := range fs.all {
		var v json.RawMessage
		switch {
		case len(f.parts) > 0:
			items := make([]json.RawMessage, 0, len(f.parts))
			for _, d := range f.parts {
				items = append(items, d.form())
			}
			v = array(items)
		case f.object != nil:
			v = f.object.raw()
		case f.pieces == 1:
			v = f.raw
		default:
			v = quote(f.text.String())
		}
		o = append(o, Member{f.name, v})
	}
	return o
}

// detail is an object of a list whose text comes in pieces.
type detail struct {
	o      Object
	raw    json.RawMessage // it came whole
	key    string          // of reasoning_details, which pieces belong together
	member string
	said   strings.Builder
	joined bool
}

// add takes a piece of the text.
func (d *detail) add(member, said string, first bool) {
	d.member = member
	d.said.WriteString(said)
	d.joined = d.joined || !first
}

// merge takes the other members of a piece: signatures come last.
func (d *detail) merge(o Object, member string) {
	for _, m := range o {
		if m.Name != member && (!isNull(m.Value) || isNull(d.o.Get(m.Name))) {
			d.o.Set(m.Name, m.Value)
		}
	}
}

func (d *detail) form() json.RawMessage {
	if d.raw != nil {
		return d.raw
	}
	if d.joined && d.member != "" {
		said := quote(d.said.String())
		if isList(d.o.Get(d.member)) { // Mistral: thinking is a list of text parts
			said = array([]json.RawMessage{chatText(d.said.String())})
		}
		if d.said.Len() > 0 || !isNull(d.o.Get(d.member)) {
			d.o.Set(d.member, said)
		}
	}
	return d.o.raw()
}

// grow adds the items of one compact list to another, whose memory it takes: a
// stream may add to a list with each of its chunks.
func grow(l, more json.RawMessage) json.RawMessage {
	switch {
	case len(l) == len("[]"):
		return bytes.Clone(more)
	case len(more) == len("[]"):
		return l
	}
	return append(append(l[:len(l)-1], ','), more[1:]...)
}

// merge joins a member that is not known: lists grow, objects are merged, anything
// else is replaced, because it is a label rather than a text.
func (o *Object) merge(m Member) {
	old := o.Get(m.Name)
	switch {
	case isNull(old):
		m.Value = bytes.Clone(m.Value) // it may grow in place
	case isList(old) && isList(m.Value):
		m.Value = grow(old, m.Value)
	default:
		a, err := parseObject(old)
		if err != nil {
			break
		}
		b, err := parseObject(m.Value)
		if err != nil {
			break
		}
		for _, n := range b {
			a.Set(n.Name, n.Value)
		}
		m.Value = a.raw()
	}
	o.Set(m.Name, m.Value)
}
