package anthropic

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/model/wire"
)

// draft is a block that is still being streamed.
type draft struct {
	begun     *Block
	text      strings.Builder // of text and thinking
	signature strings.Builder
	input     strings.Builder // of any block with an input
	citations []json.RawMessage
	rest      []*extra
	stopped   bool
}

// maxExtra bounds the members that pieces of unknown kinds add to a block.
const maxExtra = 100

// extra is a member that pieces of other kinds changed.
type extra struct {
	key   string
	text  strings.Builder
	value json.RawMessage // not text
}

func newDraft(b *Block) *draft {
	if b.Raw == nil { // a string in the place of blocks
		own := *b
		own.Raw = own.fields().encode()
		b = &own
	}
	d := &draft{begun: b}
	d.text.WriteString(b.Text + b.Thinking) // a block has one of them
	d.signature.WriteString(b.Signature)
	if b.Type == BlockText {
		o, _ := parseObject(b.Raw)
		_ = json.Unmarshal(o.get("citations"), &d.citations) // null, or a list
	}
	return d
}

// first is what a block says with its start.
func (d *draft) first(i int) []cairn.Delta {
	if d.text.Len() == 0 {
		return nil
	}
	return d.say(i, d.text.String())
}

// say makes a delta of a kind of block that people see.
func (d *draft) say(i int, text string) []cairn.Delta {
	out := cairn.Delta{Index: i, Text: text}
	switch d.begun.Type {
	case BlockText:
		out.Kind = cairn.PartText
	case BlockThinking:
		out.Kind = cairn.PartReasoning
	case BlockToolUse:
		out.Kind, out.CallID, out.Tool = cairn.PartToolCall, d.begun.ID, d.begun.Name
	default:
		return nil
	}
	if text == "" {
		return nil
	}
	return []cairn.Delta{out}
}

// add takes one piece.
func (d *draft) add(i int, raw json.RawMessage) ([]cairn.Delta, error) {
	if d.stopped {
		return nil, fmt.Errorf("block %d goes on after its end", i)
	}
	o, ok := parseObject(raw)
	if !ok {
		return nil, fmt.Errorf("a piece of block %d is not an object", i)
	}
	kind := o.text("type")
	switch {
	case kind == "text_delta" && d.begun.Type == BlockText:
		return d.more(i, o.text("text")), nil
	case kind == "thinking_delta" && d.begun.Type == BlockThinking:
		return d.more(i, o.text("thinking")), nil
	case kind == "signature_delta" && d.begun.Type == BlockThinking:
		d.signature.WriteString(o.text("signature"))
	case kind == "citations_delta" && d.begun.Type == BlockText:
		if c := o.get("citation"); !isNull(c) {
			d.citations = append(d.citations, c)
		}
	case kind == "input_json_delta":
		piece := o.text("partial_json")
		d.input.WriteString(piece)
		return d.say(i, piece), nil
	default:
		if len(d.rest)+len(o) > maxExtra {
			return nil, fmt.Errorf("block %d has too many members", i)
		}
		d.other(o)
	}
	return nil, nil
}

func (d *draft) more(i int, text string) []cairn.Delta {
	d.text.WriteString(text)
	return d.say(i, text)
}

// built are the members of known blocks that pieces of known kinds make: one of
// another kind must not change what was said already.
var built = map[string][]string{
	BlockText:     {"text", "citations"},
	BlockThinking: {"thinking", "signature"},
	BlockToolUse:  {"id", "name", "input"},
}

// other takes a piece of a kind that is not known, or is of a block that is not:
// as with all that are known, text is added and anything else is replaced.
func (d *draft) other(piece object) {
	for _, m := range piece {
		if m.key == "type" || isNull(m.value) || slices.Contains(built[d.begun.Type], m.key) {
			continue
		}
		e := d.extra(m.key)
		var s string
		if json.Unmarshal(m.value, &s) == nil {
			e.text.WriteString(s)
			e.value = nil
		} else {
			e.value = m.value
		}
	}
}

// extra finds or begins a member, with the text that it had at the start.
func (d *draft) extra(key string) *extra {
	for _, e := range d.rest {
		if e.key == key {
			return e
		}
	}
	e := &extra{key: key}
	o, _ := parseObject(d.begun.Raw)
	e.text.WriteString(o.text(key))
	d.rest = append(d.rest, e)
	return e
}

// stop ends the block. A call whose arguments came with its start, or that has
// none, says them now.
func (d *draft) stop(i int) []cairn.Delta {
	if d.stopped {
		return nil
	}
	d.stopped = true
	if d.begun.Type != BlockToolUse || d.input.Len() > 0 {
		return nil
	}
	return d.say(i, d.args())
}

// args are a call's arguments as the model wrote them.
func (d *draft) args() string {
	switch {
	case d.input.Len() > 0:
		return d.input.String()
	case !isNull(d.begun.Input):
		return string(d.begun.Input)
	}
	return "{}"
}

// part is the block as a part of the answer.
func (d *draft) part(provider string) cairn.Part {
	b := readBlock(d.raw(), true)
	p := partOf(provider, &b)
	if p.Kind == cairn.PartToolCall && d.input.Len() > 0 {
		// As the model wrote it, broken or not. If it is broken, the block beside it has
		// what the provider began it with.
		p.Args = d.input.String()
		p.Provider, p.Opaque = "", nil
		keep(provider, &p, b.Raw)
	}
	return p
}

// raw is the block as it had been in an answer in one piece.
func (d *draft) raw() json.RawMessage {
	o, ok := parseObject(d.begun.Raw)
	if !ok {
		return d.begun.Raw
	}
	changed := false
	put := func(key string, value json.RawMessage) {
		o.set(key, value)
		changed = true
	}
	switch text := d.text.String(); {
	case d.begun.Type == BlockText && text != d.begun.Text:
		put("text", quote(text))
	case d.begun.Type == BlockThinking && text != d.begun.Thinking:
		put("thinking", quote(text))
	}
	if s := d.signature.String(); s != d.begun.Signature {
		put("signature", quote(s))
	}
	if s := d.input.String(); s != "" && json.Valid([]byte(s)) {
		put("input", json.RawMessage(s))
	}
	if len(d.citations) > 0 {
		if list, err := wire.Encode(d.citations); err == nil {
			put("citations", list)
		}
	}
	for _, e := range d.rest {
		if e.value == nil {
			put(e.key, quote(e.text.String()))
		} else {
			put(e.key, e.value)
		}
	}
	if !changed {
		return d.begun.Raw
	}
	return o.encode()
}
