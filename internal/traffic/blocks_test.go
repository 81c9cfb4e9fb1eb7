package traffic_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/cairn-run/cairn/internal/traffic"
	"github.com/cairn-run/cairn/model/wire"
)

// field is one key of an object; an object is a list of them, because its order is
// compared too.
type (
	field struct {
		key   string
		value json.RawMessage
	}
	object []field
)

func parseObject(raw []byte) (object, error) {
	d := json.NewDecoder(bytes.NewReader(raw))
	if token, err := d.Token(); err != nil || token != json.Delim('{') {
		return nil, fmt.Errorf("not an object: %.80s", raw)
	}
	var o object
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return nil, err
		}
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return nil, err
		}
		o = append(o, field{key.(string), wire.Compact(value)})
	}
	return o, nil
}

func (o object) get(key string) json.RawMessage {
	for _, f := range o {
		if f.key == key {
			return f.value
		}
	}
	return nil
}

// set replaces a value in its place, or puts it at the end.
func (o *object) set(key string, value json.RawMessage) {
	for i := range *o {
		if (*o)[i].key == key {
			(*o)[i].value = value
			return
		}
	}
	*o = append(*o, field{key, value})
}

func (o object) raw() json.RawMessage {
	var b bytes.Buffer
	b.WriteByte('{')
	for i, f := range o {
		if i > 0 {
			b.WriteByte(',')
		}
		key, _ := wire.Encode(f.key) // a string
		b.Write(key)
		b.WriteByte(':')
		b.Write(f.value)
	}
	b.WriteByte('}')
	return b.Bytes()
}

func (o object) str(key string) string {
	var s string
	_ = json.Unmarshal(o.get(key), &s) // what is not a string is ""
	return s
}

// joined appends the text of a JSON string to another, as both are written.
func joined(a, b json.RawMessage) json.RawMessage {
	switch {
	case len(b) < 2 || b[0] != '"':
		return a
	case len(a) < 2 || a[0] != '"':
		return b
	}
	return slices.Concat(a[:len(a)-1], b[1:])
}

func list(raw json.RawMessage) []json.RawMessage {
	var l []json.RawMessage
	_ = json.Unmarshal(raw, &l) // what is not a list is empty
	for i := range l {
		l[i] = wire.Compact(l[i])
	}
	return l
}

func quoted(s string) json.RawMessage {
	raw, _ := wire.Encode(s) // a string
	return raw
}

// events are the payloads of a recorded stream.
func events(e *traffic.Exchange) ([]object, error) {
	var all []object
	for event, err := range wire.Events(bytes.NewReader(e.Body)) {
		if err != nil {
			return nil, err
		}
		if string(event.Data) == "[DONE]" {
			continue
		}
		o, err := parseObject(event.Data)
		if err != nil {
			return nil, err
		}
		all = append(all, o)
	}
	return all, nil
}

// recorded are the blocks of a recorded answer as the provider sent them, or would
// have sent them in one piece: content blocks of Messages, items of Responses, parts
// of generateContent, and of chat the one message.
func recorded(e *traffic.Exchange) ([]json.RawMessage, error) {
	if e.Stream {
		all, err := events(e)
		if err != nil {
			return nil, err
		}
		switch e.Wire {
		case traffic.Chat:
			return foldChat(all), nil
		case traffic.Responses:
			return foldResponses(all), nil
		case traffic.Messages:
			return foldMessages(all)
		default:
			var parts []json.RawMessage
			for _, o := range all {
				parts = append(parts, partsOf(o)...)
			}
			return foldCalls(parts), nil
		}
	}
	o, err := parseObject(e.Body)
	if err != nil {
		return nil, err
	}
	switch e.Wire {
	case traffic.Chat:
		choices := list(o.get("choices"))
		if len(choices) == 0 {
			return nil, nil
		}
		choice, err := parseObject(choices[0])
		return []json.RawMessage{choice.get("message")}, err
	case traffic.Responses:
		return list(o.get("output")), nil
	case traffic.Messages:
		return list(o.get("content")), nil
	default:
		return partsOf(o), nil
	}
}

func partsOf(o object) []json.RawMessage {
	candidates := list(o.get("candidates"))
	if len(candidates) == 0 {
		return nil
	}
	candidate, _ := parseObject(candidates[0])
	content, _ := parseObject(candidate.get("content"))
	return list(content.get("parts"))
}

// foldResponses: the last event has the items, or each had its own.
func foldResponses(all []object) []json.RawMessage {
	done := map[string]json.RawMessage{}
	for _, o := range all {
		switch o.str("type") {
		case "response.output_item.done":
			done[string(o.get("output_index"))] = o.get("item")
		case "response.completed", "response.incomplete":
			response, _ := parseObject(o.get("response"))
			if items := list(response.get("output")); len(items) > 0 {
				return items
			}
		}
	}
	items := make([]json.RawMessage, 0, len(done))
	for i := range len(done) {
		items = append(items, done[fmt.Sprint(i)])
	}
	return items
}

// foldMessages puts deltas into the blocks they are of
// (https://docs.anthropic.com/en/docs/build-with-claude/streaming).
func foldMessages(all []object) ([]json.RawMessage, error) {
	var blocks []object
	input := map[int]string{}
	for _, o := range all {
		var at int
		_ = json.Unmarshal(o.get("index"), &at) // of the others it is not looked at
		switch o.str("type") {
		case "message_start": // has blocks already where a program goes on that called tools
			message, _ := parseObject(o.get("message"))
			blocks = nil
			for _, raw := range list(message.get("content")) {
				block, err := parseObject(raw)
				if err != nil {
					return nil, err
				}
				blocks = append(blocks, block)
			}
		case "content_block_start":
			block, err := parseObject(o.get("content_block"))
			if err != nil {
				return nil, err
			}
			blocks = append(blocks, block)
		case "content_block_delta":
			if at >= len(blocks) {
				return nil, fmt.Errorf("a delta of block %d", at)
			}
			delta, err := parseObject(o.get("delta"))
			if err != nil {
				return nil, err
			}
			b := &blocks[at]
			switch delta.str("type") {
			case "text_delta":
				b.set("text", joined(b.get("text"), delta.get("text")))
			case "thinking_delta":
				b.set("thinking", joined(b.get("thinking"), delta.get("thinking")))
			case "signature_delta":
				b.set("signature", joined(b.get("signature"), delta.get("signature")))
			case "input_json_delta":
				input[at] += delta.str("partial_json")
			case "citations_delta":
				old := list(b.get("citations"))
				b.set("citations", array(append(old, delta.get("citation"))))
			case "compaction_delta":
				b.set("content", joined(b.get("content"), delta.get("content")))
				if c := delta.get("encrypted_content"); c != nil {
					b.set("encrypted_content", c)
				}
			default:
				return nil, fmt.Errorf("a delta of type %s", delta.str("type"))
			}
		}
	}
	raw := make([]json.RawMessage, len(blocks))
	for i, b := range blocks {
		if text := input[i]; text != "" {
			b.set("input", wire.Compact(json.RawMessage(text)))
		}
		raw[i] = b.raw()
	}
	return raw, nil
}

func asBytes(all []json.RawMessage) [][]byte {
	b := make([][]byte, len(all))
	for i, raw := range all {
		b[i] = raw
	}
	return b
}

// foldChat puts the deltas of a chat stream into one message: strings grow, calls
// grow by their index, lists get longer, and of the rest the last counts.
func foldChat(all []object) []json.RawMessage {
	var message object
	var calls, details, content []object
	index := map[string]int{}
	for _, o := range all {
		choices := list(o.get("choices"))
		if len(choices) == 0 {
			continue
		}
		choice, _ := parseObject(choices[0])
		delta, _ := parseObject(choice.get("delta"))
		for _, f := range delta {
			old := message.get(f.key)
			switch {
			case f.key == "tool_calls":
				for _, piece := range list(f.value) {
					call, _ := parseObject(piece)
					calls = foldCall(calls, index, call)
				}
			case f.key == "reasoning_details":
				for _, piece := range list(f.value) {
					detail, _ := parseObject(piece)
					details = foldDetail(details, detail)
				}
			case f.key == "content" && (f.value[0] == '[' || content != nil):
				content = foldContent(content, f.value)
			case string(f.value) == "null":
				if old == nil {
					message.set(f.key, f.value)
				}
			case f.key == "role":
				message.set(f.key, f.value)
			case f.value[0] == '"':
				message.set(f.key, joined(old, f.value))
			case f.value[0] == '[':
				message.set(f.key, array(append(list(old), list(f.value)...)))
			default:
				message.set(f.key, f.value)
			}
		}
	}
	for key, objects := range map[string][]object{"tool_calls": calls, "reasoning_details": details, "content": content} {
		if len(objects) > 0 {
			raw := make([]json.RawMessage, len(objects))
			for i, o := range objects {
				raw[i] = o.raw()
			}
			message.set(key, array(raw))
		}
	}
	return []json.RawMessage{message.raw()}
}

func array(items []json.RawMessage) json.RawMessage {
	return slices.Concat([]byte("["), bytes.Join(asBytes(items), []byte(",")), []byte("]"))
}

// foldDetail adds a piece of OpenRouter's reasoning to the detail of its type and
// index (https://openrouter.ai/docs/use-cases/reasoning-tokens).
func foldDetail(details []object, piece object) []object {
	for i := len(details) - 1; i >= 0 && piece.str("type") != "reasoning.encrypted"; i-- {
		d := &details[i]
		if d.str("type") != piece.str("type") || string(d.get("index")) != string(piece.get("index")) {
			continue
		}
		for _, f := range piece {
			switch {
			case f.key == "text" || f.key == "summary":
				d.set(f.key, joined(d.get(f.key), f.value))
			case string(f.value) != "null":
				d.set(f.key, f.value)
			}
		}
		return details
	}
	return append(details, slices.Clone(piece))
}

// foldContent adds to content that is a list, as Mistral's is where it thinks: a
// text to the text before it, thinking to the thinking before it.
func foldContent(content []object, value json.RawMessage) []object {
	pieces := list(value)
	if value[0] == '"' {
		pieces = []json.RawMessage{object{{"type", quoted("text")}, {"text", value}}.raw()}
	}
	for _, raw := range pieces {
		piece, _ := parseObject(raw)
		kind := piece.str("type")
		if len(content) == 0 || content[len(content)-1].str("type") != kind || kind != "text" && kind != "thinking" {
			if kind != "text" || piece.str("text") != "" {
				content = append(content, piece)
			}
			continue
		}
		last := &content[len(content)-1]
		if kind == "text" {
			last.set("text", joined(last.get("text"), piece.get("text")))
			continue
		}
		before, more := list(last.get("thinking")), list(piece.get("thinking"))
		if len(before) == 1 && len(more) == 1 {
			a, _ := parseObject(before[0])
			b, _ := parseObject(more[0])
			a.set("text", joined(a.get("text"), b.get("text")))
			last.set("thinking", array([]json.RawMessage{a.raw()}))
		}
	}
	return content
}

// foldCall adds a piece to the call of its index, or of its id where there is no
// index; without either every piece is a call.
func foldCall(calls []object, index map[string]int, piece object) []object {
	key := string(piece.get("index"))
	if key == "" || key == "null" {
		key = fmt.Sprint("id ", piece.str("id"), len(calls))
	}
	at, known := index[key]
	if !known {
		at = len(calls)
		index[key] = at
		calls = append(calls, nil)
	}
	call := &calls[at]
	for _, f := range piece {
		switch {
		case f.key == "index" || string(f.value) == "null":
		case f.key == "function":
			function, _ := parseObject(call.get("function"))
			part, _ := parseObject(f.value)
			for _, g := range part {
				if g.key == "name" && strings.Trim(string(function.get("name")), `"`) != "" {
					continue // repeated by some
				}
				function.set(g.key, joined(function.get(g.key), g.value))
			}
			call.set("function", function.raw())
		case call.get(f.key) == nil || call.str(f.key) == "":
			call.set(f.key, f.value)
		}
	}
	return calls
}
