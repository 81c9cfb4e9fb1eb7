package cairn

import (
	"encoding/json"
	"fmt"
	"time"
)

// EventType names a kind of fact.
type EventType string

// Event is a fact about a session. Its meaning never changes: a change of what
// a type means is a new type or a new field.
type Event struct {
	Seq Seq
	At  time.Time
	// Run is the run it belongs to; empty outside runs.
	Run RunID
	// Step is the model or tool call it is about: an effect's id.
	Step EffectID
	Data EventData
}

// Type is the type of the event's data.
func (e Event) Type() EventType { return e.Data.EventType() }

// EventData is the content of an event.
type EventData interface{ EventType() EventType }

// UnknownEvent is an event of a type this binary does not know.
type UnknownEvent struct {
	Type EventType
	Raw  json.RawMessage
}

// EventType is the type that was read.
func (u UnknownEvent) EventType() EventType { return u.Type }

// MarshalJSON writes the data back as they were read.
func (u UnknownEvent) MarshalJSON() ([]byte, error) { return u.Raw, nil }

type eventJSON[D any] struct {
	Seq  Seq       `json:"seq"`
	Type EventType `json:"type"`
	At   time.Time `json:"at"`
	Run  RunID     `json:"run,omitzero"`
	Step EffectID  `json:"step,omitzero"`
	Data D         `json:"data"`
}

// MarshalJSON writes the stored form of an event.
func (e Event) MarshalJSON() ([]byte, error) {
	if e.Data == nil {
		return nil, fmt.Errorf("event %d has no data", e.Seq)
	}
	return json.Marshal(eventJSON[EventData]{e.Seq, e.Type(), e.At, e.Run, e.Step, e.Data})
}

// UnmarshalJSON reads the stored form of an event.
func (e *Event) UnmarshalJSON(b []byte) error {
	var j eventJSON[json.RawMessage]
	if err := json.Unmarshal(b, &j); err != nil {
		return err
	}
	*e = Event{Seq: j.Seq, At: j.At, Run: j.Run, Step: j.Step}
	decode, ok := eventDecoders[j.Type]
	if !ok {
		if j.Type == "" || len(j.Data) == 0 {
			return fmt.Errorf("event %d has no type or no data", j.Seq)
		}
		e.Data = UnknownEvent{j.Type, j.Data}
		return nil
	}
	data, err := decode(j.Data)
	if err != nil {
		return fmt.Errorf("event %d (%s): %w", j.Seq, j.Type, err)
	}
	e.Data = data
	return nil
}

// EventTypes lists the durable types in alphabetical order of their names.
func EventTypes() []EventType { return eventTypes() }
