// Package journal is the durable log of sessions: commits guarded by a
// compare-and-set, claims with epochs, an inbox, asks, shared budgets, a tail.
//
// [Driver] is what a store has to do, in bytes; [Journal] is what the rest of
// the runtime uses, in events and inputs. Payloads that are too large for a
// frame go to a blob store on the way in and come back on the way out, so that
// nobody else knows.
package journal

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"iter"

	"github.com/cairn-run/cairn"
)

// MaxInline is the largest event, in bytes of its encoding, that is stored in
// the log itself.
const MaxInline = 64 << 10

// Blobs keeps large payloads by content hash; a Put is durable when it returns.
type Blobs interface {
	Put(ctx context.Context, t cairn.TenantID, b []byte) (cairn.Digest, error)
	Get(ctx context.Context, t cairn.TenantID, d cairn.Digest) ([]byte, error)
}

// Journal is a store that speaks events and inputs.
type Journal struct {
	Store
	blobs Blobs
}

// New returns a journal over a store and a place for large payloads.
func New(s Store, b Blobs) *Journal { return &Journal{Store: s, blobs: b} }

// spilled stands in a frame for an event that went to the blob store.
type spilled struct {
	Seq  cairn.Seq    `json:"seq"`
	Blob cairn.Digest `json:"blob"`
	Size int          `json:"size"`
}

// Encode makes the frame of consecutive events.
func (j *Journal) Encode(ctx context.Context, t cairn.TenantID, events []cairn.Event) (Frame, error) {
	if len(events) == 0 {
		return Frame{}, nil
	}
	var buf bytes.Buffer
	buf.WriteByte('[')
	for i, e := range events {
		if want := events[0].Seq + cairn.Seq(i); e.Seq != want {
			return Frame{}, fmt.Errorf("journal: event %d follows %d", e.Seq, want-1)
		}
		b, err := e.MarshalJSON() // json.Marshal would go over the bytes once more
		if err != nil {
			return Frame{}, fmt.Errorf("journal: encode event %d: %w", e.Seq, err)
		}
		if len(b) > MaxInline {
			d, err := j.blobs.Put(ctx, t, b)
			if err != nil {
				return Frame{}, err
			}
			if b, err = json.Marshal(spilled{e.Seq, d, len(b)}); err != nil {
				return Frame{}, err
			}
		}
		if i > 0 {
			buf.WriteByte(',')
		}
		buf.Write(b)
	}
	buf.WriteByte(']')
	return Frame{First: events[0].Seq, Count: len(events), Data: buf.Bytes()}, nil
}

// Decode returns the events of a frame.
func (j *Journal) Decode(ctx context.Context, t cairn.TenantID, f Frame) ([]cairn.Event, error) {
	events := make([]cairn.Event, 0, max(0, min(f.Count, len(f.Data)/8))) // a corrupt count allocates nothing
	var raw []json.RawMessage
	if err := json.Unmarshal(f.Data, &raw); err != nil {
		return nil, fmt.Errorf("journal: frame at %d: %w", f.First, err)
	}
	for _, b := range raw {
		var s spilled
		if bytes.HasPrefix(b, []byte(`{"seq":`)) && bytes.Contains(b[:min(len(b), 64)], []byte(`"blob":`)) {
			if err := json.Unmarshal(b, &s); err != nil {
				return nil, fmt.Errorf("journal: frame at %d: %w", f.First, err)
			}
			large, err := j.blobs.Get(ctx, t, s.Blob)
			if err != nil {
				return nil, fmt.Errorf("journal: event %d: %w", s.Seq, err)
			}
			b = large
		}
		var e cairn.Event
		if err := e.UnmarshalJSON(b); err != nil {
			return nil, fmt.Errorf("journal: frame at %d: %w", f.First, err)
		}
		if want := f.First + cairn.Seq(len(events)); e.Seq != want {
			return nil, fmt.Errorf("journal: frame at %d holds event %d in place of %d", f.First, e.Seq, want)
		}
		events = append(events, e)
	}
	if len(events) != f.Count {
		return nil, fmt.Errorf("journal: frame at %d holds %d events instead of %d", f.First, len(events), f.Count)
	}
	return events, nil
}

// Events pages through the history after a sequence number.
func (j *Journal) Events(ctx context.Context, s cairn.SessionKey, after cairn.Seq) iter.Seq2[cairn.Event, error] {
	return func(yield func(cairn.Event, error) bool) {
		for f, err := range j.Load(ctx, s, after) {
			if err != nil {
				yield(cairn.Event{}, err)
				return
			}
			events, err := j.Decode(ctx, s.Tenant, f)
			if err != nil {
				yield(cairn.Event{}, err)
				return
			}
			for _, e := range events {
				if e.Seq > after && !yield(e, nil) {
					return
				}
			}
		}
	}
}

// Post delivers an input; see [Driver.Deliver].
func (j *Journal) Post(ctx context.Context, in cairn.Input, fresh *NewSession, ask *AskClose) error {
	l, err := LetterOf(in)
	if err != nil {
		return err
	}
	l.New = fresh
	return j.Deliver(ctx, l, ask)
}

// LetterOf encodes an input. The digest covers what was said and by
// whom, not when, so that a client that tries again is recognised.
func LetterOf(in cairn.Input) (Letter, error) {
	data, err := json.Marshal(in)
	if err != nil {
		return Letter{}, fmt.Errorf("journal: encode input %s: %w", in.ID, err)
	}
	said, err := json.Marshal(in.Data)
	if err != nil {
		return Letter{}, err
	}
	h := sha256.New()
	fmt.Fprintf(h, "%s\n%s\n%s\n%s\n", in.Data.InputKind(), in.From.Kind, in.From.ID, in.ID)
	h.Write(said)
	l := Letter{To: in.To, ID: in.ID, At: in.At, Data: data}
	h.Sum(l.Digest[:0])
	return l, nil
}

// Inputs returns up to max inputs not yet taken, in arrival order.
func (j *Journal) Inputs(ctx context.Context, s cairn.SessionKey, max int) ([]cairn.Input, error) {
	letters, err := j.Inbox(ctx, s, max)
	if err != nil {
		return nil, err
	}
	inputs := make([]cairn.Input, len(letters))
	for i, l := range letters {
		if err := json.Unmarshal(l.Data, &inputs[i]); err != nil {
			return nil, fmt.Errorf("journal: input %s of %s: %w", l.ID, s, err)
		}
	}
	return inputs, nil
}
