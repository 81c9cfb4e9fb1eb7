package v1

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/cairn-run/cairn"
)

// Event is a fact about a session in its envelope.
type Event struct {
	// ID is "<session>/<seq>".
	ID      string          `json:"id"`
	Seq     cairn.Seq       `json:"seq"`
	Type    cairn.EventType `json:"type"`
	Session cairn.SessionID `json:"session_id"`
	Run     cairn.RunID     `json:"run_id,omitzero"`
	Step    cairn.EffectID  `json:"step_id,omitzero" doc:"the model or tool call it is about"`
	At      time.Time       `json:"at"`
	Data    json.RawMessage `json:"data" doc:"see events.json for the schema of each type"`
}

// EventFrom puts an event into its envelope.
func EventFrom(s cairn.SessionID, e cairn.Event) (Event, error) {
	data, err := json.Marshal(e.Data)
	if err != nil {
		return Event{}, fmt.Errorf("event %d: %w", e.Seq, err)
	}
	return Event{
		ID: fmt.Sprintf("%s/%d", s, e.Seq), Seq: e.Seq, Type: e.Type(), Session: s,
		Run: e.Run, Step: e.Step, At: e.At, Data: data,
	}, nil
}

// Cairn returns the event in the runtime's own form, with typed data. A type this
// binary does not know is kept as a [cairn.UnknownEvent].
func (e Event) Cairn() (cairn.Event, error) {
	stored, err := json.Marshal(struct {
		Seq  cairn.Seq       `json:"seq"`
		Type cairn.EventType `json:"type"`
		At   time.Time       `json:"at"`
		Run  cairn.RunID     `json:"run,omitzero"`
		Step cairn.EffectID  `json:"step,omitzero"`
		Data json.RawMessage `json:"data"`
	}{e.Seq, e.Type, e.At, e.Run, e.Step, e.Data})
	if err != nil {
		return cairn.Event{}, err
	}
	var out cairn.Event
	return out, json.Unmarshal(stored, &out)
}

// EventPage is a page of events, in order.
type EventPage struct {
	Events []Event `json:"events"`
	// Last is the sequence number of the session's last event when it was read.
	Last cairn.Seq `json:"last" doc:"sequence number of the last event of the session"`
	// Next is the value of after for what follows this page.
	Next cairn.Seq `json:"next" doc:"value of after for the events that follow this page"`
	// Prev is the value of before for what comes before this page; zero: nothing does.
	Prev cairn.Seq `json:"prev,omitzero" doc:"value of before for the events before this page; absent when there are none"`
}

// Names of what a stream carries besides events.
const (
	DeltaMessage   = "message.delta"
	DeltaReasoning = "reasoning.delta"
	DeltaToolCall  = "tool_call.delta"
	DeltaOutput    = "output.delta" // what a tool prints while it runs
	StreamEndName  = "stream.end"
)

// DeltaName is the SSE event name of a piece of this kind.
func DeltaName(k cairn.PartKind) string {
	switch k {
	case cairn.PartReasoning:
		return DeltaReasoning
	case cairn.PartToolCall:
		return DeltaToolCall
	case cairn.PartOutput:
		return DeltaOutput
	default:
		return DeltaMessage
	}
}

// Deltas are the names of all that a stream carries of what is being made.
var Deltas = []string{DeltaMessage, DeltaReasoning, DeltaToolCall, DeltaOutput}

// Delta is a piece of an answer that is still being made, or of what a tool prints
// while it runs. It is live only and has no id; what is recorded at the end is an
// event. Text begins at byte Offset of the text of part Index; a higher Attempt
// starts anew.
type Delta struct {
	Session cairn.SessionID `json:"session_id"`
	Effect  cairn.EffectID  `json:"effect"`
	Attempt int             `json:"attempt"`
	Index   int             `json:"index"`
	Offset  int             `json:"offset"`
	Kind    cairn.PartKind  `json:"kind"`
	Text    string          `json:"text"`
	CallID  string          `json:"call_id,omitzero"`
	Tool    string          `json:"tool,omitzero"`
}

// StreamEnd is the last thing a stream says when it ends by itself: the run is
// over (idle, or a final status), or the server shuts down (closing) and the
// client should come back.
type StreamEnd struct {
	Reason string       `json:"reason" enum:"settled,closing"`
	Status cairn.Status `json:"status,omitzero"`
	Seq    cairn.Seq    `json:"seq"`
}

// Reasons of a StreamEnd.
const (
	EndSettled = "settled"
	EndClosing = "closing"
)

// StreamItem is one thing a stream yields: an event or a delta.
type StreamItem struct {
	Event *Event
	Delta *Delta
}
