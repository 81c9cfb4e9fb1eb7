package api

import (
	"context"
	"fmt"
	"net/http"
	"slices"

	"github.com/danielgtaylor/huma/v2"

	"github.com/cairn-run/cairn"
	v1 "github.com/cairn-run/cairn/api/v1"
)

// Bounds of a page: what it holds, and how much history is read to fill one that
// asks for few types.
const (
	pageBytes   = 1 << 20
	pageScan    = 20_000
	firstWindow = 128  // events read at first when going backwards
	lastWindow  = 1024 // and at most
)

type (
	eventsInput struct {
		ID     cairn.SessionID   `path:"id" maxLength:"64" doc:"id of the session"`
		After  cairn.Seq         `query:"after" doc:"only events after this sequence number"`
		Before cairn.Seq         `query:"before" doc:"the last events before this sequence number; one beyond the end gives the tail"`
		Limit  int               `query:"limit" minimum:"1" maximum:"1000" default:"100"`
		Types  []cairn.EventType `query:"types" doc:"only these types, separated by commas"`
	}
	eventsOutput struct{ Body v1.EventPage }
)

func (a *API) eventRoutes() {
	tags := []string{"events"}
	operation(a, huma.Operation{
		OperationID: "list-events", Method: http.MethodGet, Path: "/v1/sessions/{id}/events", Tags: tags,
		Summary: "Page through the history of a session, from its start or its tail",
	}, a.listEvents)
	a.streamRoute(tags)
}

func (a *API) listEvents(ctx context.Context, in *eventsInput) (*eventsOutput, error) {
	known := cairn.EventTypes()
	for _, t := range in.Types {
		if !slices.Contains(known, t) {
			return nil, cairn.Errorf(cairn.CodeInvalid, "there is no event type %q: spec/events.json names them all, cairn logs --json shows those of a session", t)
		}
	}
	key := cairn.SessionKey{Tenant: identity(ctx).Tenant, ID: in.ID}
	sum, err := a.summary(ctx, key)
	if err != nil {
		return nil, err
	}
	p := &pager{api: a, key: key, limit: in.Limit, types: in.Types, left: pageScan}
	page := v1.EventPage{Last: sum.Events}
	if in.Before > 0 {
		err = p.backward(ctx, in.After, min(in.Before, sum.Events+1))
	} else {
		err = p.forward(ctx, in.After, cairn.Seq(1<<62))
	}
	if err != nil {
		return nil, fmt.Errorf("events of %s: %w", key, err)
	}
	page.Events = make([]v1.Event, len(p.events))
	copy(page.Events, p.events)
	page.Last = max(page.Last, p.to)
	page.Next = p.to
	if p.from > in.After+1 && p.from > 1 {
		page.Prev = p.from
	}
	return &eventsOutput{page}, nil
}

// pager fills a page of events of chosen types.
type pager struct {
	api    *API
	key    cairn.SessionKey
	limit  int
	types  []cairn.EventType
	left   int // events that may still be read
	bytes  int
	events []v1.Event
	// from and to bound what was looked at, inclusive: the page says all there is
	// to say about it.
	from, to cairn.Seq
}

// wanted says that the page is about events of this type.
func (p *pager) wanted(t cairn.EventType) bool {
	return len(p.types) == 0 || slices.Contains(p.types, t)
}

// forward takes the first wanted events of after < seq < before.
func (p *pager) forward(ctx context.Context, after, before cairn.Seq) error {
	p.from, p.to = after+1, after
	for e, err := range p.api.Journal.Events(ctx, p.key, after) {
		if err != nil {
			return err
		}
		if e.Seq >= before || p.left == 0 {
			break
		}
		p.left--
		if p.wanted(e.Type()) {
			v, err := v1.EventFrom(p.key.ID, e)
			if err != nil {
				return err
			}
			p.bytes += len(v.Data)
			if p.bytes > pageBytes && len(p.events) > 0 {
				break
			}
			p.events = append(p.events, v)
		}
		p.to = e.Seq
		if len(p.events) == p.limit {
			break
		}
	}
	return nil
}

// backward takes the last wanted events of after < seq < before. It reads windows
// from the end, so that the tail of a long history costs no more than that of a
// short one.
func (p *pager) backward(ctx context.Context, after, before cairn.Seq) error {
	p.from, p.to = before, before-1
	for size := cairn.Seq(min(p.limit, firstWindow)); p.from > after+1 && p.left > 0; size = min(2*size, lastWindow) {
		low := after + 1
		if p.from > size {
			low = max(low, p.from-size)
		}
		if err := p.window(ctx, low); err != nil {
			return err
		}
		if p.from > low || len(p.events) == p.limit {
			return nil // full
		}
	}
	return nil
}

// window puts the last wanted events of low <= seq < from before the page, as many
// as it still holds, and moves from down to where it is complete.
func (p *pager) window(ctx context.Context, low cairn.Seq) error {
	var events []v1.Event
	from := low
	for e, err := range p.api.Journal.Events(ctx, p.key, low-1) {
		if err != nil {
			return err
		}
		if e.Seq >= p.from {
			break
		}
		p.left = max(p.left-1, 0)
		if !p.wanted(e.Type()) {
			continue
		}
		v, err := v1.EventFrom(p.key.ID, e)
		if err != nil {
			return err
		}
		events = append(events, v)
		p.bytes += len(v.Data)
		for len(events)+len(p.events) > p.limit || p.bytes > pageBytes && len(events)+len(p.events) > 1 {
			p.bytes -= len(events[0].Data)
			from = events[0].Seq + 1
			if events = events[1:]; len(events) == 0 {
				break
			}
		}
	}
	p.events = append(events, p.events...)
	p.from = from
	return nil
}
