package traffic_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/internal/traffic"
	"github.com/cairn-run/cairn/model"
)

// errSent ends a call whose request has been seen.
var errSent = errors.New("the request was seen")

// seen keeps the body of the request that a driver sends.
type seen struct{ body []byte }

// RoundTrip implements http.RoundTripper.
func (s *seen) RoundTrip(req *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(req.Body)
	_ = req.Body.Close() // it was in memory
	if err != nil {
		return nil, err
	}
	s.body = body
	return nil, errSent
}

// sent is the body that a request becomes on the wire of an exchange.
func sent(ctx context.Context, e *traffic.Exchange, r *cairn.ModelRequest) ([]byte, error) {
	if err := r.Validate(); err != nil {
		return nil, err
	}
	s := &seen{}
	var last error
	for _, err := range driverOf(e, s).Call(ctx, model.Call{Request: r}) {
		last = err
	}
	if s.body == nil {
		return nil, fmt.Errorf("nothing was sent: %w", last)
	}
	return s.body, nil
}

// turn is an answer and what is said to it.
func turn(content []cairn.Part) []cairn.Message {
	results := cairn.Message{Role: cairn.RoleTool}
	for _, p := range content {
		if p.Kind == cairn.PartToolCall {
			results.Content = append(results.Content, cairn.Part{Kind: cairn.PartToolResult, CallID: p.CallID, Tool: p.Tool, Text: "fine"})
		}
	}
	if len(results.Content) == 0 {
		results = cairn.Message{Role: cairn.RoleUser, Content: []cairn.Part{cairn.Text("go on")}}
	}
	return []cairn.Message{{Role: cairn.RoleAssistant, Content: content}, results}
}

// TestHistoryGoesBackVerbatim decodes every recorded answer and puts it into the
// next request to the same provider: each block has to be there byte for byte.
// What is not, because the API takes no such field, is counted in history.txt.
func TestHistoryGoesBackVerbatim(t *testing.T) {
	t.Parallel()
	c := traffic.Load(t)
	blocks, answers := 0, 0
	gone := map[string]int{}
	for i := range c.Exchanges {
		e := &c.Exchanges[i]
		h, err := decode(t.Context(), e)
		if err != nil || h.answer == nil {
			continue // TestEveryExchangeDecodes says why
		}
		if len(h.answer.Content) == 0 {
			gone["answers without content"]++
			continue
		}
		answers++
		r := ask(e)
		r.Messages = append(r.Messages, turn(h.answer.Content)...)
		body, err := sent(t.Context(), e, r)
		if err != nil {
			t.Errorf("%s: %v", e.Name, err)
			continue
		}
		again, err := sent(t.Context(), e, r)
		if err != nil || !bytes.Equal(body, again) {
			t.Errorf("%s: the same request gave other bytes (%v)", e.Name, err)
		}
		want, err := recorded(e)
		if err != nil {
			t.Errorf("%s: %v", e.Name, err)
			continue
		}
		got, err := history(e.Wire, body)
		if err != nil {
			t.Errorf("%s: %v", e.Name, err)
			continue
		}
		blocks += len(want)
		for _, problem := range compareBlocks(e, want, got, gone) {
			t.Errorf("%s: %s", e.Name, problem)
		}
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%d blocks of %d answers went back.\n\nOf them not as they had come:\n", blocks, answers)
	for _, k := range slices.Sorted(maps.Keys(gone)) {
		fmt.Fprintf(&b, "%6d %s\n", gone[k], k)
	}
	golden(t, "history.txt", b.String())
}

// history are the blocks of the assistant's turn in a request of one turn.
func history(w traffic.Wire, body []byte) ([]json.RawMessage, error) {
	o, err := parseObject(body)
	if err != nil {
		return nil, err
	}
	switch w {
	case traffic.Chat:
		for _, raw := range list(o.get("messages")) {
			if m, _ := parseObject(raw); m.str("role") == "assistant" {
				return []json.RawMessage{raw}, nil
			}
		}
	case traffic.Responses:
		var items []json.RawMessage
		for i, raw := range list(o.get("input")) {
			if item, _ := parseObject(raw); i > 0 && item.str("role") != "user" && item.str("output") != "fine" {
				items = append(items, raw)
			}
		}
		return items, nil
	case traffic.Messages:
		for _, raw := range list(o.get("messages")) {
			if m, _ := parseObject(raw); m.str("role") == "assistant" {
				return list(m.get("content")), nil
			}
		}
	default:
		for _, raw := range list(o.get("contents")) {
			if m, _ := parseObject(raw); m.str("role") == "model" {
				return list(m.get("parts")), nil
			}
		}
	}
	return nil, errors.New("no turn of the assistant in the request")
}

// compareBlocks says which blocks did not go back byte for byte. What may not is
// counted in gone.
func compareBlocks(e *traffic.Exchange, want, got []json.RawMessage, gone map[string]int) []string {
	switch e.Wire {
	case traffic.Chat:
		return compareMessage(e, want[0], got[0], gone)
	case traffic.Generate:
		want = sendable(e, want, gone)
	case traffic.Messages:
		want = slices.DeleteFunc(want, func(raw json.RawMessage) bool {
			b, _ := parseObject(raw)
			blank := b.str("type") == "text" && strings.TrimSpace(b.str("text")) == ""
			if blank {
				gone["messages: a text of nothing but white space, which the API refuses"]++
			}
			return blank
		})
	}
	var problems []string
	if diff := cmp.Diff(texts(want), texts(got)); diff != "" {
		problems = append(problems, "(-provider's +ours)\n"+diff)
	}
	return problems
}

func texts(all []json.RawMessage) []string {
	s := make([]string, len(all))
	for i, raw := range all {
		s[i] = string(raw)
	}
	return s
}

// sendable are the parts of a generateContent answer as they may go back: without
// the empty texts that streams end with, and with the pieces of a streamed text, or
// thought, as the one part that they are outside a stream. A part with anything
// else in it, such as a signature, is not touched.
func sendable(e *traffic.Exchange, parts []json.RawMessage, gone map[string]int) []json.RawMessage {
	var out []json.RawMessage
	last := "" // the kind of text the last part is, "" if it is not only text
	for _, raw := range parts {
		o, _ := parseObject(raw)
		kind := ""
		if text := o.get("text"); text != nil && (len(o) == 1 || len(o) == 2 && string(o.get("thought")) == "true") {
			kind = fmt.Sprint("text ", len(o))
			if string(text) == `""` {
				gone["generate: an empty text, which Vertex AI refuses"]++
				continue
			}
		}
		if kind != "" && kind == last && e.Stream {
			before, _ := parseObject(out[len(out)-1])
			before.set("text", joined(before.get("text"), o.get("text")))
			out[len(out)-1] = before.raw()
			continue
		}
		last = kind
		out = append(out, raw)
	}
	return out
}

// compareMessage compares the one message of a chat answer, key by key. A stream
// does not say how its pieces would be escaped, and in which order their keys would
// stand, in one message: of those the values are compared.
func compareMessage(e *traffic.Exchange, want, got json.RawMessage, gone map[string]int) []string {
	w, err := parseObject(want)
	if err != nil {
		return []string{err.Error()}
	}
	g, err := parseObject(got)
	if err != nil {
		return []string{err.Error()}
	}
	var problems []string
	for _, f := range w {
		back := g.get(f.key)
		switch {
		case bytes.Equal(f.value, back), e.Stream && back != nil && cmp.Equal(decoded(f.value), decoded(back)):
		case back == nil:
			value := "a value"
			if v := string(f.value); v == "null" || v == `""` || v == "[]" || v == "{}" {
				value = v
			}
			gone[fmt.Sprintf("chat: %s: %s (%s)", f.key, value, e.Provider)]++
		case f.key == "content" && string(f.value) == `""` && string(back) == "null":
			gone["chat: content: \"\" beside calls, null goes back"]++
		case f.key == "tool_calls" && cmp.Equal(mended(f.value, back, gone), decoded(back)):
		default:
			problems = append(problems, fmt.Sprintf("%s (-provider's +ours)\n%s", f.key, cmp.Diff(string(f.value), string(back))))
		}
	}
	for _, f := range g {
		if w.get(f.key) == nil {
			gone[fmt.Sprintf("chat: %s: %s goes back, which had not come (%s)", f.key, clip(string(f.value)), e.Provider)]++
		}
	}
	return problems
}

func decoded(raw json.RawMessage) any {
	var v any
	_ = json.Unmarshal(raw, &v) // what is not JSON is nil
	return v
}

// mended are calls as a request may hold them: an id is there and not too long for
// OpenAI, and arguments are an object.
func mended(calls, back json.RawMessage, gone map[string]int) any {
	const longest = 40
	v := decoded(calls)
	all, _ := v.([]any)
	ours, _ := decoded(back).([]any)
	for i, one := range all {
		call, _ := one.(map[string]any)
		function, _ := call["function"].(map[string]any)
		id, _ := call["id"].(string)
		if (id == "" || len(id) > longest) && i < len(ours) {
			gone["chat: the id of a call, which is missing or longer than the 40 characters that OpenAI takes"]++
			other, _ := ours[i].(map[string]any)
			call["id"] = other["id"]
		}
		if function["arguments"] == nil || function["arguments"] == "" {
			gone["chat: arguments that are empty, which are to be an object"]++
			function["arguments"] = "{}"
		}
	}
	return v
}

// TestPrefixStaysStable adds a turn to a recorded one: what was sent before is sent
// again byte for byte, so that the provider finds it in its cache.
func TestPrefixStaysStable(t *testing.T) {
	t.Parallel()
	c := traffic.Load(t)
	for i := range c.Exchanges {
		e := &c.Exchanges[i]
		h, err := decode(t.Context(), e)
		if err != nil || h.answer == nil || len(h.answer.Content) == 0 {
			continue
		}
		r := ask(e)
		r.System = "Be brief."
		r.Tools = []cairn.ToolDef{{Name: "add", Description: "adds", InputSchema: json.RawMessage(`{"type":"object","properties":{"b":{},"a":{}}}`)}}
		r.Messages = append(r.Messages, turn(h.answer.Content)...)
		before, err := sent(t.Context(), e, r)
		if err != nil {
			t.Errorf("%s: %v", e.Name, err)
			continue
		}
		r.Messages = append(r.Messages, turn([]cairn.Part{cairn.Text("Well.")})...)
		after, err := sent(t.Context(), e, r)
		if err != nil {
			t.Errorf("%s: %v", e.Name, err)
			continue
		}
		if err := samePrefix(e.Wire, before, after); err != nil {
			t.Errorf("%s: %v", e.Name, err)
		}
	}
}

// samePrefix compares everything but the conversation, and that turn by turn.
// Marks for the cache move with the end of the conversation and are not part of
// what is cached.
func samePrefix(w traffic.Wire, before, after []byte) error {
	mark := []byte(`,"cache_control":{"type":"ephemeral"}`)
	a, err := parseObject(bytes.ReplaceAll(before, mark, nil))
	if err != nil {
		return err
	}
	b, err := parseObject(bytes.ReplaceAll(after, mark, nil))
	if err != nil {
		return err
	}
	turns := map[traffic.Wire]string{traffic.Chat: "messages", traffic.Responses: "input", traffic.Messages: "messages", traffic.Generate: "contents"}[w]
	if len(a) != len(b) {
		return errors.New("the requests have different fields")
	}
	for i := range a {
		if a[i].key != b[i].key {
			return fmt.Errorf("%s became %s", a[i].key, b[i].key)
		}
		if a[i].key != turns {
			if !bytes.Equal(a[i].value, b[i].value) {
				return fmt.Errorf("%s changed", a[i].key)
			}
			continue
		}
		old, grown := list(a[i].value), list(b[i].value)
		if len(grown) < len(old) {
			return fmt.Errorf("%d turns became %d", len(old), len(grown))
		}
		if diff := cmp.Diff(texts(old), texts(grown[:len(old)])); diff != "" {
			return errors.New("a turn changed (-before +after)\n" + diff)
		}
	}
	return nil
}
