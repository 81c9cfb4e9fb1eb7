package traffic_test

import (
	"encoding/json"
	"strconv"
	"strings"

	"github.com/cairn-run/cairn/model/wire"
)

// foldCalls puts together function calls whose arguments Vertex AI streams in
// pieces: a part that names the function, parts that add to its arguments by path,
// and one that says no willContinue, or none
// (https://cloud.google.com/vertex-ai/generative-ai/docs/multimodal/function-calling#streaming-fc).
func foldCalls(parts []json.RawMessage) []json.RawMessage {
	var out []json.RawMessage
	var open, rest object // the call, and what stands beside it in its part
	var root *node
	closeCall := func() {
		if open == nil {
			return
		}
		args := json.RawMessage("{}")
		if root != nil {
			args = root.raw()
		}
		open.set("args", args)
		whole := object{{"functionCall", open.raw()}}
		out = append(out, append(whole, rest...).raw())
		open, rest, root = nil, nil, nil
	}
	for _, raw := range parts {
		part, _ := parseObject(raw)
		call, _ := parseObject(part.get("functionCall"))
		pieces := list(call.get("partialArgs"))
		more := string(call.get("willContinue")) == "true"
		if part.get("functionCall") == nil || call.get("name") != nil && !more && pieces == nil {
			closeCall()
			out = append(out, raw)
			continue
		}
		if call.get("name") != nil {
			closeCall()
			for _, f := range call {
				if f.key != "willContinue" && f.key != "partialArgs" {
					open.set(f.key, f.value)
				}
			}
			for _, f := range part {
				if f.key != "functionCall" {
					rest.set(f.key, f.value)
				}
			}
		}
		for _, piece := range pieces {
			if root == nil {
				root = &node{}
			}
			p, _ := parseObject(piece)
			root.add(strings.FieldsFunc(strings.TrimPrefix(p.str("jsonPath"), "$"), func(r rune) bool { return strings.ContainsRune(".[]", r) }), p)
		}
		if !more {
			closeCall()
		}
	}
	closeCall()
	return out
}

// node is a value that grows.
type node struct {
	keys  []string // of an object, in the order they came
	items map[string]*node
	array bool
	leaf  json.RawMessage
}

func (n *node) add(path []string, piece object) {
	for _, key := range path {
		if n.items == nil {
			n.items = map[string]*node{}
			_, err := strconv.Atoi(key)
			n.array = err == nil
		}
		if n.items[key] == nil {
			n.items[key] = &node{}
			n.keys = append(n.keys, key)
		}
		n = n.items[key]
	}
	for _, f := range piece {
		switch f.key {
		case "stringValue":
			n.leaf = joined(n.leaf, f.value)
		case "numberValue", "boolValue":
			n.leaf = f.value
		case "nullValue":
			n.leaf = json.RawMessage("null")
		}
	}
}

func (n *node) raw() json.RawMessage {
	switch {
	case n.leaf != nil:
		return n.leaf
	case n.array:
		all := make([]json.RawMessage, len(n.keys))
		for i, key := range n.keys {
			all[i] = n.items[key].raw()
		}
		raw, _ := wire.Encode(all) // they are JSON
		return raw
	}
	var o object
	for _, key := range n.keys {
		o.set(key, n.items[key].raw())
	}
	if o == nil {
		return json.RawMessage("{}")
	}
	return o.raw()
}
