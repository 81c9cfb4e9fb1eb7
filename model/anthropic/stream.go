package anthropic

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/model"
	"github.com/cairn-run/cairn/model/wire"
)

// maxBlocks bounds the blocks of one message.
const maxBlocks = 10_000

// Stream puts a streamed message together. Use [NewStream]; not safe for
// concurrent use.
type Stream struct {
	provider string
	message  *Response
	usage    object
	blocks   []*draft
	final    bool // the usage is not only what was known at the start
	complete bool
	size     int64
}

// NewStream begins to read a message of a provider.
func NewStream(provider string) *Stream { return &Stream{provider: provider} }

// Complete says whether the provider said that the message is. What follows does
// not belong to it.
func (s *Stream) Complete() bool { return s.complete }

// Add takes one event and returns what it adds to the parts of the message. An
// error ends the stream and is a *model.Failure.
func (s *Stream) Add(data []byte) ([]cairn.Delta, error) {
	if s.complete {
		return nil, nil
	}
	if s.size += int64(len(data)); s.size > wire.MaxBody {
		return nil, s.Failure(&cairn.Error{Code: cairn.CodeCut, Message: "the answer of " + s.provider + " is too large"})
	}
	var e Event
	err := json.Unmarshal(data, &e)
	if _, broken := errors.AsType[*json.SyntaxError](err); broken || !bytes.HasPrefix(bytes.TrimLeft(data, " \t\r\n"), []byte("{")) {
		return nil, s.malformed("an event is not a JSON object")
	}
	// Any other error says that a member is of another type: it stays empty.
	if e.isError() {
		return nil, s.Failure(reported(s.provider, data))
	}
	deltas, err := s.take(&e)
	if err != nil {
		return nil, s.malformed(err.Error())
	}
	return deltas, nil
}

func (s *Stream) malformed(what string) error { return s.Failure(wire.Malformed(s.provider, what)) }

func (s *Stream) take(e *Event) ([]cairn.Delta, error) {
	switch e.Type {
	case "message_start":
		return s.start(e)
	case "message_delta", "message_stop", "content_block_start", "content_block_delta", "content_block_stop":
		if s.message == nil {
			return nil, fmt.Errorf("%s comes before message_start", e.Type)
		}
	}
	switch e.Type {
	case "message_delta":
		s.update(e)
	case "message_stop":
		s.complete = true
		var out []cairn.Delta
		for i, d := range s.blocks { // servers forget to stop blocks
			out = append(out, d.stop(i)...)
		}
		return out, nil
	case "content_block_start":
		if e.ContentBlock == nil || e.Index == nil || *e.Index != len(s.blocks) {
			return nil, fmt.Errorf("block %d does not begin in its turn", len(s.blocks))
		}
		return s.open(e.ContentBlock)
	case "content_block_delta":
		d, err := s.block(e)
		if err != nil {
			return nil, err
		}
		return d.add(*e.Index, e.Delta)
	case "content_block_stop":
		d, err := s.block(e)
		if err != nil {
			return nil, err
		}
		return d.stop(*e.Index), nil
	}
	return nil, nil // ping, and what is new
}

// start begins the message. Proxies that repeat a request have been seen to send
// a second start: before anything else it changes nothing, later it would mix two
// messages.
func (s *Stream) start(e *Event) ([]cairn.Delta, error) {
	if s.message != nil && (len(s.blocks) > 0 || s.final) {
		return nil, fmt.Errorf("a second message begins within the first")
	}
	if e.Message == nil {
		return nil, fmt.Errorf("message_start has no message")
	}
	s.message = e.Message
	s.usage, _ = parseObject(e.Message.Usage)
	s.final = e.Message.StopReason != nil
	var out []cairn.Delta
	for i := range e.Message.Content { // a message that is complete at its start
		deltas, err := s.open(&e.Message.Content[i])
		if err != nil {
			return nil, err
		}
		out = append(append(out, deltas...), s.blocks[i].stop(i)...)
	}
	return out, nil
}

// update takes the totals until now: each replaces what was said before, null
// says nothing
// (https://platform.claude.com/docs/en/build-with-claude/streaming#event-types).
func (s *Stream) update(e *Event) {
	var d MessageDelta
	_ = json.Unmarshal(e.Delta, &d) // a member of another type stays empty
	if d.StopReason != nil {
		s.message.StopReason = d.StopReason
	}
	if !isNull(d.StopDetails) {
		s.message.StopDetails = d.StopDetails
	}
	if !isNull(d.Container) {
		s.message.Container = d.Container
	}
	totals, ok := parseObject(e.Usage)
	for _, m := range totals {
		if !isNull(m.value) {
			s.usage.set(m.key, m.value)
		}
	}
	s.final = s.final || ok
}

func (s *Stream) open(b *Block) ([]cairn.Delta, error) {
	if len(s.blocks) == maxBlocks {
		return nil, fmt.Errorf("it has more than %d blocks", maxBlocks)
	}
	d := newDraft(b)
	s.blocks = append(s.blocks, d)
	if b.Type == blockFallback {
		// The block names the model that goes on; an answer in one piece reports that one.
		o, _ := parseObject(b.Raw)
		to, _ := parseObject(o.get("to"))
		if name := to.text("model"); name != "" {
			s.message.Model = name
		}
	}
	return d.first(len(s.blocks) - 1), nil
}

func (s *Stream) block(e *Event) (*draft, error) {
	if e.Index == nil || *e.Index < 0 || *e.Index >= len(s.blocks) {
		return nil, fmt.Errorf("%s is for a block that has not begun", e.Type)
	}
	return s.blocks[*e.Index], nil
}

// Done returns the message, once it is complete. An error is a *model.Failure;
// CodeCut: it is not.
func (s *Stream) Done() (*cairn.ModelAnswer, error) {
	if !s.complete {
		return nil, s.Failure(&cairn.Error{
			Code: cairn.CodeCut, Retryable: true, Message: "the answer of " + s.provider + " broke off before it was complete",
		})
	}
	r := *s.message
	r.Usage = s.rawUsage()
	parts := make([]cairn.Part, len(s.blocks))
	for i, d := range s.blocks {
		parts[i] = d.part(s.provider)
	}
	a, e := r.answer(s.provider, parts)
	if e != nil {
		return nil, s.Failure(e)
	}
	return a, nil
}

func (s *Stream) rawUsage() json.RawMessage {
	if s.usage == nil {
		return nil
	}
	return s.usage.encode()
}

// Failure says that the stream ended with an error, and what is known of its usage
// until then. The count of output tokens at the start of a message is not the
// count of what came after it: once content has begun, the usage is only told
// raw, until the provider corrects it.
func (s *Stream) Failure(e *cairn.Error) *model.Failure {
	f := failure(e, s.rawUsage())
	if !s.final && len(s.blocks) > 0 {
		f.Usage = nil
	}
	return f
}
